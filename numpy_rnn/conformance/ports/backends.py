"""This project's own backends as ports."""

import importlib
from operator import attrgetter

import numpy as np

from numpy_rnn.common.errors import one_line
from numpy_rnn.common.records import Parameters, SgdOptions, State, Update
from numpy_rnn.common.windows import Window
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, PortFault
from numpy_rnn.conformance.traces.drive import trace_of


class PackagePort:
    """A package with the functions of numpy_rnn as a port with every capability."""

    capabilities = CAPABILITIES
    dtypes = ("float32", "float64")
    tanh_ulps = None
    lacks = ()

    def __init__(self, rnn):
        self.rnn = rnn
        self.name = rnn.__name__

    def window_update(
        self,
        params,
        x,
        target,
        h_0,
        *,
        learning_rate,
        nonlinearity="tanh",
        reduction="sum",
        velocity=None,
        weights=None,
        loss="squared_error",
        **sgd,
    ):
        """One window and its SGD step. sgd: the fields of SgdOptions."""
        rnn = self.rnn
        theta = rnn.from_numpy(Parameters(**params))
        x, target, h_0 = map(rnn.from_numpy, (x, target, h_0))
        if velocity is not None:
            velocity = rnn.from_numpy(Parameters(**dict.fromkeys(Parameters._fields) | velocity))
        options = {"nonlinearity": nonlinearity, "reduction": reduction, "loss": loss}
        options["weights"] = None if weights is None else rnn.from_numpy(weights)
        return report_of(rnn.to_numpy(self._update(theta, x, target, h_0, velocity, learning_rate, options, sgd)))

    def _update(self, theta, x, target, h_0, velocity, learning_rate, options, sgd):
        """The update of this window."""
        rnn = self.rnn
        of_loss = {name: options[name] for name in ("reduction", "weights")}
        activations = rnn.forward(theta, x, h_0, nonlinearity=options["nonlinearity"])
        loss_of = rnn.cross_entropy if options["loss"] == "cross_entropy" else rnn.half_squared_error
        loss = loss_of(activations.y[-len(target) :], target, **of_loss)
        gradients = rnn.bptt(theta, activations, target, **options)
        adjoints = rnn.adjoints(theta, activations, target, **options)
        of_direction = {name: option for name, option in sgd.items() if name not in ("max_norm", "max_value")}
        to_step = gradients
        if sgd.get("max_norm") is not None:
            to_step = rnn.clip_by_global_norm(gradients, sgd["max_norm"])
        elif sgd.get("max_value") is not None:
            to_step = rnn.clip_by_value(gradients, sgd["max_value"])
        s, velocity = rnn.direction(theta, to_step, velocity, **of_direction)
        updated = rnn.sgd(theta, s, learning_rate)
        return Update(1, 1, _window(x, target), loss, gradients, updated, velocity, activations, adjoints)


class EnginePort(PackagePort):
    """The engine: its windows are computed by the code of its `train`, not by functions of the reference.

    A window may have a loss at any number of its steps, also if no schedule of `train` has such a window. Runs of
    several updates are those of `train`, not single windows.
    """

    def _update(self, theta, x, target, h_0, velocity, learning_rate, options, sgd):
        training = importlib.import_module(self.rnn.train.__module__)
        (T, *_), K = x.shape, len(target)
        rate = np.asarray(learning_rate, theta.W_hh.dtype)
        nonlinearity, reduction, loss, weights = options.values()
        objective = training.objective_of(reduction, loss, target, weights)
        of_window = training.rows_of_window(theta)(x, target, None if weights is None else weights[..., None])
        start, given = State(1, 0, Window(0, 0, 0), None, theta, velocity), None if theta.h_0 is not None else h_0
        settings = training.Settings(
            given, K, T, T, rate, SgdOptions(**sgd), nonlinearity, objective, True, 1, attrgetter("stop")
        )
        run = training.ensemble(start, 0, settings, lambda *steps: of_window)
        window = [(training.Piece(0, T), [_window(x, target)])]
        ((update, _),) = run.updates(1, [training.Segment(1, window)])
        return update

    def trace(self, experiment, configuration) -> dict:
        """The trace of a run of the engine's `train`. Raises PortFault if the run fails."""
        try:
            return trace_of(self.rnn, experiment, configuration)
        except Exception as error:
            raise PortFault(f"{self.name}: train raises {type(error).__name__}: {one_line(str(error))}") from error


PORTS = {"numpy_rnn.engine": EnginePort}


def port_of(rnn) -> PackagePort:
    """The port of a package with the functions of numpy_rnn."""
    return PORTS.get(rnn.__name__, PackagePort)(rnn)


def _window(x, target):
    return Window(0, len(x) - len(target), len(x))


def report_of(update: Update) -> dict[str, np.ndarray]:
    """An update, in NumPy, under the names of the trace."""
    arrays = {"loss": np.asarray(update.loss), **_named("", update.activations), **_named("", update.adjoints)}
    del arrays["x"]
    arrays["h"] = arrays["h"][1:]
    arrays |= _named("d", update.gradients) | _named("", update.parameters)
    return arrays if update.velocity is None else arrays | _named("v", update.velocity)


def _named(prefix, arrays):
    return {prefix + name: array for name, array in arrays._asdict().items() if array is not None}
