"""Traces of runs: of packages with a training loop, and of ports, which are called once per update; and their drift.

Over thousands of updates no rigorous bound is useful: some initial weights amplify rounding enormously, because
training is chaotic and not because of a fault. So the free-running drift of two implementations is compared with the
spread of reference runs whose initial weights differ by one unit in the last place, up or down at random.
"""

from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.app.run import Trainer
from numpy_rnn.app.trace import Recorder
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Gradients, Parameters, SgdOptions
from numpy_rnn.common.windows import windows
from numpy_rnn.conformance.case import (
    TWO_BIASES,
    Case,
    TwoBiases,
    format_errors,
    one_bias,
    parameters_of,
    required_outputs,
)
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, GIVEN_DY, PortFault
from numpy_rnn.conformance.truncations import Truncation, gradients_of, truncation_of, with_truncation
from numpy_rnn.elman import forward

REFERENCES = 16
# A choice, not a bound. Between numpy_rnn and torch_rnn the ratio was at most 1.0 in 400 runs of 30 epochs (those of
# `recipes.random_run`), and 1.7 in longer ones; a learning rate that is off by 0.1 % makes it more than a million.
ALARM = 8.0
FLOOR = 4  # units of roundoff of the loss, because the spread may be 0 in the first epochs


class Drift(NamedTuple):
    """By epoch: the largest difference so far from the first loss curve, of the others and of the references."""

    drift: np.ndarray  # (epochs,)
    spread: np.ndarray  # (epochs,)

    @property
    def ratio(self) -> float:
        """The largest drift / spread; above ALARM, rounding does not explain the drift."""
        with np.errstate(over="ignore"):
            return float(np.max(self.drift / self.spread, initial=0.0))


def measure(losses, others, experiment, configuration, seed: int = 0) -> Drift:
    """The drift between the losses (epochs,) of a run of one network and those of other runs of the same experiment.

    numpy_rnn trains all reference runs at once, as an ensemble.
    """
    generator = np.random.default_rng(seed)
    params = Parameters(*(None if p is None else _moved(p, generator) for p in experiment.params))
    trainer = Trainer(numpy_rnn, experiment._replace(params=params), configuration)
    for _ in trainer:
        pass
    curves = trainer.losses
    spread = np.abs(curves[:, 1:] - curves[:, :1]).max(axis=1)
    floor = FLOOR * np.finfo(params.W_hh.dtype).eps / 2 * np.abs(curves[:, 0])
    drift = np.abs(np.asarray(losses) - np.asarray(others)).max(axis=0)
    return Drift(np.maximum.accumulate(drift), np.maximum.accumulate(np.maximum(spread, floor)))


def _moved(theta, generator):
    """REFERENCES + 1 copies; in all but the first, every element is moved up or down by an ulp."""
    copies = np.repeat(theta[None], REFERENCES + 1, axis=0)
    direction = generator.choice([-np.inf, np.inf], copies[1:].shape).astype(theta.dtype)
    copies[1:] = np.nextafter(copies[1:], direction)
    return copies


MAX_MAGNITUDE = 1e12  # its square is still far from float32's largest number, 3e38


def trace_of(rnn, experiment, configuration) -> dict:
    """The trace of a run of a package with the functions of numpy_rnn; its numbers may overflow."""
    experiment = experiment.trained()._replace(params=one_bias(experiment.params))
    recorder = Recorder(experiment, configuration)
    x, target, h_0, params = map(rnn.from_numpy, experiment[1:5])
    if params.h_0 is not None:
        h_0 = None  # it is learned
    options = configuration.train_options() | {"record": True}
    if experiment.weights is not None:
        options["weights"] = rnn.from_numpy(experiment.weights)
    with np.errstate(all="ignore"):
        for update in rnn.train(params, x, target, h_0, **options):
            recorder.append(rnn.to_numpy(update))
    return recorder.arrays()


def is_bounded(experiment, configuration) -> bool:
    """Whether numpy_rnn's run stays far within the range of float32, so that the run of every correct port does.

    A run of a correct port may diverge, and then there is nothing to compare.
    """
    trace = trace_of(numpy_rnn, experiment, configuration)
    floats = (array for array in trace.values() if array.dtype.kind == "f")
    return all((np.abs(array) < MAX_MAGNITUDE).all() for array in floats)


def trace_of_port(port, experiment, configuration, timeout: float = 10.0, truncation: str | None = None) -> dict:
    """The trace of a port that is called for every window of the schedule.

    The initial state of a window is the state that the port reported in the window before; if the port does not report
    its states, it is computed by numpy_rnn from the port's parameters at that time.

    truncation: the name of one of `truncations.py` under which the trace is judged; None: that of the port.

    Raises InputError on a dtype or option that the port does not support and on an ensemble; PortFault, with the epoch
    and update, if the port fails or its report has an invalid format.
    """
    asked = check_port(port, experiment, configuration, truncation)
    experiment = experiment.trained()
    b_h = experiment.params.b_h
    if TWO_BIASES in port.capabilities and b_h is not None and len(experiment.params) == len(Parameters._fields):
        experiment = experiment._replace(params=TwoBiases(**experiment.params._asdict(), b_hh=np.zeros_like(b_h)))
    recorder = Recorder(experiment, configuration)
    run = _Driven(port, experiment, configuration, timeout, asked)
    schedule = list(windows(len(experiment.x), configuration.k1, configuration.k2))
    for epoch in range(1, configuration.epochs + 1):
        for number, window in enumerate(schedule, start=1):
            initial, report = run.update(window, f"epoch {epoch}, update {number}")
            recorder.append_report(epoch, number, window, initial, report)
    return recorder.arrays() if asked is None else with_truncation(recorder.arrays(), asked)


def check_port(port, experiment, configuration, truncation: str | None = None) -> Truncation | None:
    """The truncation under which the trace of a port is judged, as in `trace_of_port`.

    Raises InputError unless the port supports this run.
    """
    experiment = experiment.trained()
    params, sgd = experiment.params, configuration.sgd_options()
    if params.W_hh.ndim > 2:
        raise InputError("a port takes one network at a time: expected a run without --seeds")
    dtype = params.W_hh.dtype
    if str(dtype) not in port.dtypes:
        raise InputError(f"{port.name} does not support {dtype}: choose --dtype {' or '.join(port.dtypes)}")
    variants = (configuration.nonlinearity, configuration.reduction, "bias" if params.b_h is not None else "")
    sgd = configuration.sgd_options()
    changed = [name for name, value in sgd._asdict().items() if value != SgdOptions._field_defaults[name]]
    schedule = list(windows(len(experiment.x), configuration.k1, configuration.k2))
    if any(window.start > 0 for window in schedule) or experiment.h_0.any():
        changed.append("h_0")
    if any(window.loss_start > window.start for window in schedule):
        changed.append("older steps")
    if any(window.stop - window.loss_start > 1 for window in schedule):
        changed.append("many losses")
    is_class = {name: getattr(experiment, name).dtype.kind in "iu" for name in ("x", "target")}
    changed += [] if is_class["x"] else ["vector_inputs"]
    if GIVEN_DY not in port.capabilities:
        of_vectors = [] if is_class["target"] else ["distributions"]
        changed += of_vectors if configuration.loss == "cross_entropy" else ["squared_error"]
    if experiment.h_0.shape[-2] > 1:
        changed.append("batch")
    for option in (*variants, *changed):
        if option in port.lacks:
            raise InputError(f"{port.name} lacks {option!r}: choose a run without it")
    for capability, is_asked, what in (
        (
            "sgd_options",
            sgd._replace(max_value=None, adagrad=False) != SgdOptions(),
            "momentum, weight decay and clipping",
        ),
        ("learned_h_0", params.h_0 is not None, "a learned initial state"),
        ("sigmoid", configuration.nonlinearity == "sigmoid", "the logistic function"),
        ("clip_by_value", sgd.max_value is not None, "clipping by value"),
        ("adagrad", sgd.adagrad, "Adagrad"),
        ("cross_entropy", configuration.loss == "cross_entropy", "cross-entropy"),
        ("class_inputs", experiment.x.dtype.kind in "iu", "classes as inputs"),
        ("loss_weights", experiment.weights is not None, "loss weights"),
    ):
        if capability in OF_LOSS and GIVEN_DY in port.capabilities:
            continue  # numpy_rnn computes the loss
        if is_asked and capability not in port.capabilities:
            raise InputError(f"{port.name} does not declare {capability!r}: choose a run without {what}")
    asked = truncation_of(getattr(port, "truncation", "") if truncation is None else truncation)
    if asked is not None and asked.kind == "stale":
        raise InputError("a port computes a whole window: expected a trace for the truncation 'stale'")
    return asked


OF_LOSS = ("cross_entropy", "loss_weights")  # capabilities that a port that is given dy does not need


class _Driven:
    """A port and the current state of its run."""

    def __init__(self, port, experiment, configuration, timeout, truncation):
        self.truncation = truncation
        self.port, self.experiment, self.configuration, self.timeout = port, experiment, configuration, timeout
        self.sgd = configuration.sgd_options()
        self.params, self.velocity = experiment.params, None
        self.learns = self.params.h_0 is not None

    def update(self, window, where):
        """Call the port for one window: the initial state of the window, and the report."""
        start, loss_start, stop = window
        if start == 0:
            self.states, self.first = [self.params.h_0 if self.learns else self.experiment.h_0], 0
        case = Case(
            self.params,
            self.experiment.x[start:stop],
            self.experiment.target[loss_start:stop],
            self.states[start - self.first],
            self.configuration.learning_rate,
            self.configuration.nonlinearity,
            self.configuration.reduction,
            self.sgd,
            self.velocity,
            self.configuration.loss,
            None if self.experiment.weights is None else self.experiment.weights[loss_start:stop],
        )
        case = case._replace(truncation=self.truncation)
        if self.learns and start > 0:
            case = _without_h_0(case)
        intermediates, input_gradients = (name in self.port.capabilities for name in CAPABILITIES[:2])
        report = validated_report(self.port, self._asked(case), intermediates, self.timeout, where)
        report |= self._added(case, report)
        intermediates = intermediates and GIVEN_DY not in self.port.capabilities  # their dy is not from the port's y
        report = {
            name: report[name] for name in required_outputs(case, intermediates, input_gradients)
        }  # the same in all updates
        if self.learns and start > 0:
            report = {"dh_0": np.zeros_like(case.h_0)} | report | self._kept()
        later = report["h"] if intermediates else _states(case)
        self.states, self.first = [case.h_0, *later], start
        self.params = parameters_of(report)
        if self.sgd.has_velocity:
            self.velocity = parameters_of(report, "v")
        return case.h_0, report

    def _asked(self, case):
        """The case as the port gets it. In place of a target it may get numpy_rnn's dy."""
        if GIVEN_DY in self.port.capabilities:
            options = {"nonlinearity": case.nonlinearity, **self._of_loss(case), "loss": case.loss}
            params = one_bias(case.params)
            self.activations = forward(params, case.x, case.h_0, nonlinearity=case.nonlinearity)
            dy = numpy_rnn.adjoints(params, self.activations, case.target, **options).dy
            case = case._replace(target=dy[-len(case.target) :], given_dy=True, loss="squared_error", weights=None)
        lacks = self.port.lacks
        return case._replace(has_step="step" not in lacks, has_h_0="h_0" not in lacks)

    def _of_loss(self, case):
        return {"reduction": case.reduction, "weights": case.weights}

    def _added(self, case, report):
        """What numpy_rnn computes for a port without a loss, a step or a first state, from the port's gradients."""
        added = {}
        if "h_0" in self.port.lacks and "dx" in report and "dh_0" not in report:
            da_1 = report["da"][0] @ case.params.W_hh.T if "da" in report else None
            added["dh_0"] = gradients_of(case)["dh_0"] if da_1 is None else da_1
        if GIVEN_DY in self.port.capabilities:
            y = self.activations.y[-len(case.target) :]
            loss_of = numpy_rnn.cross_entropy if case.loss == "cross_entropy" else numpy_rnn.half_squared_error
            added["loss"] = loss_of(y, case.target, **self._of_loss(case))
        if "step" in self.port.lacks:
            names = [name for name, theta in case.params._asdict().items() if theta is not None]
            gradients = Gradients(*(report["d" + name] if name in names else None for name in Parameters._fields))
            updated = numpy_rnn.sgd(Parameters(*case.params[:6]), gradients, case.learning_rate)
            added |= {name: theta for name, theta in updated._asdict().items() if theta is not None}
            if "b_hh" in names:
                added["b_hh"] = case.params.b_hh - case.dtype.type(case.learning_rate) * report["db_hh"]
        return added

    def _kept(self):
        """The learned initial state and its velocity, unchanged by a window that does not start from it."""
        velocity = {} if self.velocity is None else {"vh_0": self.velocity.h_0}
        return {"h_0": self.params.h_0} | velocity


def _without_h_0(case):
    velocity = case.velocity and case.velocity._replace(h_0=None)
    return case._replace(params=case.params._replace(h_0=None), velocity=velocity)


def validated_report(port, case, intermediates, timeout, where) -> dict:
    """A port's report on a case, in a valid format. Raises PortFault otherwise; `where` is part of its message."""
    report, verdict = call_port(port, case, timeout)
    if report is None:
        raise PortFault(f"{port.name}, {where}: {verdict}")
    faults = format_errors(case, report, intermediates, "input_gradients" in getattr(port, "capabilities", ()))
    if faults:
        raise PortFault(f"{port.name}, {where}: {faults[0]}")
    return {"dy": case.dy} | report if case.given_dy and intermediates else report


def _states(case):
    return forward(one_bias(case.params), case.x, case.h_0, nonlinearity=case.nonlinearity).h[1:]
