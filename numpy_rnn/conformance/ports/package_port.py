"""A package with the functions of numpy_rnn as a port: its windows by the functions, its runs by `train`."""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Parameters, Run
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.case import present, second_bias_as_input
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, EVERYTHING
from numpy_rnn.conformance.traces.recorder import RecordedRun, Recorder


class PackagePort:
    """A package as a port with every capability."""

    capabilities, abilities, tau = CAPABILITIES, EVERYTHING, TAU
    dtypes = ("float32", "float64")

    def __init__(self, rnn: Any):
        self.rnn, self.name = rnn, rnn.__name__

    def window_update(
        self, params, x, target, h_0, *, learning_rate, nonlinearity="tanh", reduction="sum", loss="squared_error",
        weights=None, velocity=None, max_norm=None, max_value=None, **options,
    ):  # fmt: skip
        """One window and its SGD step. options: those of `direction`."""
        rnn = self.rnn
        theta, x, target, h_0, weights = map(
            rnn.from_numpy, (Parameters(**params), x, target, h_0, weights)
        )
        objective: dict[str, Any] = {"loss": loss, "weights": weights, "reduction": reduction}
        activations = rnn.forward(theta, x, h_0, nonlinearity=nonlinearity)
        losses = {"squared_error": rnn.half_squared_error, "cross_entropy": rnn.cross_entropy}[loss]
        L = losses(activations.y[-len(target) :], target, reduction=reduction, weights=weights)
        flow = rnn.adjoints(theta, activations, target, nonlinearity=nonlinearity, **objective)
        gradients = clipped = rnn.bptt(
            theta, activations, target, nonlinearity=nonlinearity, **objective
        )
        if max_norm is not None:
            clipped = rnn.clip_by_global_norm(gradients, max_norm)
        elif max_value is not None:
            clipped = rnn.clip_by_value(gradients, max_value)
        if velocity is not None:
            velocity = rnn.from_numpy(Parameters(**dict.fromkeys(Parameters._fields) | velocity))
        delta, v = rnn.direction(theta, clipped, velocity, **options)
        updated = rnn.sgd(theta, delta, learning_rate)
        report = {"loss": L, "a": activations.a, "h": activations.h[1:], "y": activations.y}
        for prefix, arrays in (("", flow), ("d", gradients), ("v", v), ("", updated)):
            report |= {prefix + name: array for name, array in present(arrays).items()}
        return {name: np.asarray(rnn.to_numpy(array)) for name, array in report.items()}

    def check(self, run: Run) -> None:
        """Every run is supported."""

    def trace(self, run: Run) -> RecordedRun:
        """The run of the package's `train`, whose numbers may overflow. A second bias is trained as one more input."""
        rnn, recorder = self.rnn, Recorder(run)
        params, x, target, h_0, weights = map(rnn.from_numpy, second_bias_as_input(run)[:5])
        with np.errstate(all="ignore"):
            for update in rnn.train(
                params, x, target, h_0, weights=weights, record=True, **run.options.keywords()
            ):
                recorder.append(update)
        updates = recorder.recorded().updates
        if getattr(run.params, "b_hh", None) is not None:
            for name in [name for name in ("dW_xh", "vW_xh", "W_xh") if name in updates]:
                *_, updates[name.replace("W_xh", "b_hh")] = np.moveaxis(updates[name], -2, 0)
                updates[name] = updates[name][..., :-1, :]
            updates["dx"] = updates["dx"][..., :-1]
        return RecordedRun(run, updates)
