"""What is studied, and what is made of it: one network, its weights along one run of training, and the findings."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.format import to_jsonable
from numpy_rnn.common.errors import Diverged, InputError
from numpy_rnn.common.records import Parameters

MAX_STEPS = 40  # that are studied, unless --steps asks for more
MAX_MATRIX_SIZE = 2**27  # numbers of the component matrix: a gibibyte
DIVERGED_FACTOR = 1000  # times the loss of the untrained network: a network that is there has diverged
MAX_DERIVATIVE = 1e30  # derivative of the untrained network: the study squares and multiplies them
ROUND_EPOCHS = (1, 2, 5)  # times a power of ten: the epochs whose weights are kept


class Snapshot(NamedTuple):
    """The parameters after so many epochs, in float64."""

    epoch: int  # 0: as drawn
    params: Parameters


class Setting(NamedTuple):
    """The run that is studied. All arrays are float64, which represents the float32 of the run exactly."""

    name: str  # of the series
    configuration: Configuration  # of the run: one network, one learning rate
    seeds: int  # how many networks every statement about training rests on
    experiment: Experiment  # of the run, in its own dtype: the steps that are studied, none held out
    x: np.ndarray  # (T, 1, D)
    target: np.ndarray  # (T, 1, D)
    h_0: np.ndarray  # (1, H)
    snapshots: tuple[Snapshot, ...]  # along the run, the first as drawn and the last at its end

    @property
    def start(self) -> Parameters:
        """The parameters before training."""
        return self.snapshots[0].params

    @property
    def end(self) -> Parameters:
        """The parameters after training."""
        return self.snapshots[-1].params

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of `forward` and, with the reduction, of `bptt`."""
        return {"nonlinearity": self.configuration.nonlinearity}


def setting_of(experiment: Experiment, configuration: Configuration, seeds: int, steps: int | None = None) -> Setting:
    """Train the run on the first `steps` steps of the series (all, but at most 40) and keep its weights along the way.

    Raises InputError on several learning rates or networks, on a component matrix that would not fit into memory, and
    where all derivatives of the untrained network are zero or one is too large; Diverged when parameters are not finite
    at one of the epochs of `snapshot_epochs`, or the loss of a pass is far above that of the untrained network.
    """
    if configuration.rates():
        raise InputError(
            f"{len(configuration.rates())} learning rates are given: expected one; the study is about one run"
        )
    if experiment.params.W_hh.ndim > 2:
        raise InputError(
            f"the weights are of {experiment.params.W_hh.shape[0]} networks: expected those of one;"
            " the study is about one run"
        )
    if configuration.nonlinearity not in ("tanh", "relu"):
        raise InputError(
            f"the nonlinearity is {configuration.nonlinearity}: expected tanh or relu, those that the study has"
            " witnesses of"
        )
    experiment = experiment.trained()
    steps = min(len(experiment.x), MAX_STEPS if steps is None else steps)
    size = sum(theta.size for theta in experiment.params if theta is not None)
    if steps**2 * size > 2 * MAX_MATRIX_SIZE:
        raise InputError(
            f"{steps} steps and {size} parameters make a component matrix of {steps**2 * size / 2 * 8 / 2**30:.0f} GiB:"
            " expected 1 at most; choose fewer --steps, or a smaller --hidden-size"
        )
    experiment = experiment._replace(x=experiment.x[:steps], target=experiment.target[:steps])
    x, target, h_0 = (v.astype(np.float64) for v in experiment[1:4])
    _check_gradient(in_float64(experiment.params), x, target, h_0, configuration)
    snapshots = tuple(_snapshots(experiment, configuration))
    _check_losses(snapshots, x, target, h_0, configuration)
    return Setting(experiment.name, configuration, seeds, experiment, x, target, h_0, snapshots)


def snapshot_epochs(epochs: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50 and so on, and the last."""
    result = {0, epochs}
    power = 1
    while power <= epochs:
        result |= {n * power for n in ROUND_EPOCHS if n * power <= epochs}
        power *= 10
    return sorted(result)


def in_float64(params: Parameters) -> Parameters:
    """The same numbers in float64."""
    return Parameters(*(None if theta is None else theta.astype(np.float64) for theta in params))


def _snapshots(experiment, configuration):
    wanted = snapshot_epochs(configuration.epochs)
    yield Snapshot(0, in_float64(experiment.params))
    h_0 = None if experiment.params.h_0 is not None else experiment.h_0
    with np.errstate(over="ignore", invalid="ignore"):
        series = experiment.x, experiment.target
        options = configuration.train_options()
        for update in numpy_rnn.train(experiment.params, *series, h_0, **options, yield_every="epoch"):
            if update.epoch in wanted:
                if not all(np.isfinite(theta).all() for theta in update.parameters if theta is not None):
                    raise _diverged(f"before the end of epoch {update.epoch}", configuration)
                yield Snapshot(update.epoch, in_float64(update.parameters))


def _check_gradient(params, x, target, h_0, configuration):
    h_0 = h_0 if params.h_0 is None else params.h_0
    options = {"nonlinearity": configuration.nonlinearity}
    with np.errstate(over="ignore", invalid="ignore"):
        activations = numpy_rnn.forward(params, x, h_0, **options)
        gradients = numpy_rnn.bptt(params, activations, target, **options)
        largest = np.max([np.abs(d).max() for d in gradients if d is not None])
    if not 0 < largest <= MAX_DERIVATIVE:
        raise InputError(
            f"the largest derivative of the loss by the initial weights is {largest:.3g}: expected a number above 0 and"
            f" {MAX_DERIVATIVE:g} at most; choose other weights, or --standardize the series"
        )


def _check_losses(snapshots, x, target, h_0, configuration):
    """Raise Diverged on finite parameters whose loss is far above that of the untrained network, and of zeros."""
    losses = []
    with np.errstate(over="ignore", invalid="ignore"):
        for epoch, params in snapshots:
            h = h_0 if params.h_0 is None else params.h_0
            y = numpy_rnn.forward(params, x, h, nonlinearity=configuration.nonlinearity).y
            losses.append(float(numpy_rnn.half_squared_error(y, target)))
            if not losses[-1] <= DIVERGED_FACTOR * max(losses[0], float(np.square(target).sum()) / 2):
                raise _diverged(f"by epoch {epoch}, where the loss is {losses[-1]:.3g}", configuration)


def _diverged(where, configuration):
    ways = [f"a --learning-rate smaller than {configuration.learning_rate:g}"]
    if configuration.max_norm is None:
        ways.append("clipping by --max-norm 1")
    if configuration.weight_decay:
        ways.append(f"a --weight-decay smaller than {configuration.weight_decay:g}")
    return Diverged(f"the run diverged {where}: there is nothing to study; try {', or '.join(ways)}")


Findings = dict[str, Any]  # the numbers of the whole study, by part, as plain values for JSON


class Drawing(NamedTuple):
    """One figure. Caption and text are made from the findings, so that no number is typed in."""

    name: str  # of its files, and of its place on the page
    size: tuple[float, float]  # inches
    draw: Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure
    caption: Callable[[Findings], str]  # one to three sentences
    alternative: Callable[[Findings], str]  # the alternative text


class Table(NamedTuple):
    """One table of the page."""

    name: str
    caption: str
    head: list[str]
    rows: list[list[str]]


DIGITS = 7  # significant ones, of the numbers in study.json


def rounded(value: Any) -> Any:
    """The value for JSON, as `to_jsonable` writes it, with seven significant digits."""
    return to_jsonable(value, DIGITS)
