"""The subject of a study: one training run of one network, and its weights along the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.common.errors import Diverged, InputError
from numpy_rnn.common.records import Nonlinearity, Parameters, Run, RunOptions, Update

MAX_STEPS = 40  # that are studied, unless --steps asks for more
MAX_MATRIX_SIZE = 2**27  # numbers of the component matrix: a gibibyte
DIVERGED_FACTOR = 1000  # times the loss of the untrained network: above it, a network has diverged
MAX_DERIVATIVE = 1e30  # derivative of the untrained network: the study squares and multiplies them
ROUND_EPOCHS = (1, 2, 5)  # times a power of ten: the epochs whose weights are kept


class Snapshot(NamedTuple):
    """The parameters after a number of epochs, in float64."""

    epoch: int  # 0: as drawn
    params: Parameters


@dataclass(frozen=True)
class Subject:
    """The run that is studied. Arrays in float64 have the numbers of the run exactly."""

    name: str  # of the series
    run: Run  # in its own dtype, on the steps that are studied
    seed: int
    networks: int  # on which statements about training rest
    snapshots: tuple[Snapshot, ...]  # from the untrained network to the trained one
    x: np.ndarray  # (T, 1, D) float64
    target: np.ndarray  # (T, 1, O) float64
    h_0: np.ndarray  # (1, H) float64

    @property
    def start(self) -> Parameters:
        """The parameters before training."""
        return self.snapshots[0].params

    @property
    def end(self) -> Parameters:
        """The parameters after training."""
        return self.snapshots[-1].params

    @property
    def options(self) -> RunOptions:
        """The options of the run."""
        return self.run.options

    @property
    def nonlinearity(self) -> Nonlinearity:
        """The nonlinearity of the network."""
        return self.run.options.objective.nonlinearity

    def initial_state(self, params: Parameters) -> np.ndarray:
        """h_0 of these parameters, learned or not."""
        return self.h_0 if params.h_0 is None else params.h_0

    def run_of(self, params: Parameters, options: RunOptions) -> Run:
        """A run of these parameters on the series, in their dtype."""
        x, target, h_0 = (
            array.astype(params.W_hh.dtype) for array in (self.x, self.target, self.h_0)
        )
        return Run(params, x, target, h_0 if params.h_0 is None else None, None, options)

    def train(self, params: Parameters, options: RunOptions, **more: Any) -> Iterator[Update]:
        """The updates of such a run by numpy_rnn."""
        params, x, target, h_0, *_ = self.run_of(params, options)
        return numpy_rnn.train(params, x, target, h_0, **options.keywords(), **more)


def changed(options: RunOptions, **changes: Any) -> RunOptions:
    """The options with other values, by the names of the keyword arguments of `train`; ValueError on another name."""
    parts = [
        part._replace(**{k: changes.pop(k) for k in part._fields if k in changes})
        for part in options
    ]  # type: ignore
    if changes:
        raise ValueError(f"no options: {', '.join(changes)}")
    return RunOptions(*parts)  # type: ignore


def subject_of(name: str, run: Run, seed: int, networks: int, steps: int | None = None) -> Subject:
    """Train the run on the first `steps` steps of the series (all, but at most 40) and keep its weights along the way.

    Raises InputError on several learning rates or networks, on a component matrix that would not fit into memory, and
    where all derivatives of the untrained network are zero or one is too large; Diverged when parameters are not finite
    at one of the epochs of `snapshot_epochs`, or the loss of a pass is far above that of the untrained network.
    """
    rates, nonlinearity = (
        np.size(run.options.step.learning_rate),
        run.options.objective.nonlinearity,
    )
    if rates > 1:
        raise InputError(
            f"{rates} learning rates are given: expected one; the study is about one run"
        )
    if run.params.W_hh.ndim > 2:
        raise InputError(
            f"the weights are of {run.params.W_hh.shape[0]} networks: expected those of one; the study is about one run"
        )
    if nonlinearity not in ("tanh", "relu"):
        raise InputError(
            f"the nonlinearity is {nonlinearity}: expected tanh or relu, those that the study has witnesses of"
        )
    steps = min(len(run.x), MAX_STEPS if steps is None else steps)
    size = sum(theta.size for theta in run.params if theta is not None)
    if steps**2 * size > 2 * MAX_MATRIX_SIZE:
        raise InputError(
            f"{steps} steps and {size} parameters make a component matrix of {steps**2 * size / 2 * 8 / 2**30:.0f} GiB:"
            " expected 1 at most; choose fewer --steps, or a smaller --hidden-size"
        )
    run = run._replace(x=run.x[:steps], target=run.target[:steps])
    h_0: Any = run.params.h_0 if run.h_0 is None else run.h_0
    x, target, h_0 = (v.astype(np.float64) for v in (run.x, run.target, h_0))
    start = Snapshot(0, in_float64(run.params))
    subject = Subject(name, run, seed, networks, (start,), x, target, h_0)
    with np.errstate(over="ignore", invalid="ignore"):
        _check_gradient(subject)
        subject = Subject(
            name, run, seed, networks, (start, *_later_snapshots(subject)), x, target, h_0
        )
        check_losses(subject)
    return subject


def snapshot_epochs(epochs: int) -> list[int]:
    """0, 1, 2, 5, 10, 20, 50 and so on, and the last."""
    powers = (10**power for power in range(len(str(epochs))))
    return sorted(
        {0, epochs, *(n * power for power in powers for n in ROUND_EPOCHS if n * power <= epochs)}
    )


def in_float64(params: Parameters) -> Parameters:
    """The same numbers in float64."""
    return Parameters(*(None if theta is None else theta.astype(np.float64) for theta in params))


def _later_snapshots(subject):
    wanted = snapshot_epochs(subject.options.schedule.epochs)
    for update in subject.train(subject.run.params, subject.options, yield_every="epoch"):
        if update.epoch in wanted:
            if not all(
                np.isfinite(theta).all() for theta in update.parameters if theta is not None
            ):
                raise _diverged(f"before the end of epoch {update.epoch}", subject.options)
            yield Snapshot(update.epoch, in_float64(update.parameters))


def _check_gradient(subject):
    params, options = subject.start, {"nonlinearity": subject.nonlinearity}
    activations = numpy_rnn.forward(params, subject.x, subject.initial_state(params), **options)
    gradients = numpy_rnn.bptt(params, activations, subject.target, **options)
    largest = np.max([np.abs(d).max() for d in gradients if d is not None])
    if not 0 < largest <= MAX_DERIVATIVE:
        raise InputError(
            f"the largest derivative of the loss by the initial weights is {largest:.3g}: expected a number above 0 and"
            f" {MAX_DERIVATIVE:g} at most; choose other weights, or --standardize the series"
        )


def check_losses(subject: Subject) -> None:
    """Raise Diverged on finite parameters whose loss is far above that of the untrained network, and of zeros."""
    untrained = None
    for epoch, params in subject.snapshots:
        h_0 = subject.initial_state(params)
        y = numpy_rnn.forward(params, subject.x, h_0, nonlinearity=subject.nonlinearity).y
        loss = float(numpy_rnn.half_squared_error(y, subject.target))
        untrained = loss if untrained is None else untrained
        if not loss <= DIVERGED_FACTOR * max(untrained, float(np.square(subject.target).sum()) / 2):
            raise _diverged(f"by epoch {epoch}, where the loss is {loss:.3g}", subject.options)


def _diverged(where, options):
    clipping = ", or clipping by --max-norm 1" if options.step.max_norm is None else ""
    return Diverged(
        f"the run diverged {where}: there is nothing to study; try a smaller --learning-rate{clipping}"
    )
