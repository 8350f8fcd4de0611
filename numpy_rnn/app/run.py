"""One run, from its initial state to its result: the losses of its epochs, and where it diverged, if it did."""

from array import array
from collections.abc import Iterator
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.checkpoint import Checkpoint, fingerprint
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.results import Result, predict
from numpy_rnn.common.errors import Diverged, InputError
from numpy_rnn.common.records import Gradients, Parameters, Run, State

MAX_UPDATES = (
    256  # per yield, also of the smallest network: to locate a divergence they are made again
)
MAX_WORK = 5 * 10**7  # weights times steps, per yield: Ctrl-C waits for them, about 0.2 s
STEP_WORK = 10**4  # of the overhead of one step, in weights
ORDER = (
    "a",
    "h",
    "y",
    "loss",
    "dy",
    "dh",
    "da",
)  # of computation; after them gradients, velocity, parameters
RECORDS = ("loss", "gradients", "parameters", "velocity", "activations", "adjoints")
KEPT = 0.999  # of the smoothed loss, at each update
REMEDIES = "try a lower --learning-rate, gradient clipping with --max-norm, or --standardize"
OVERFLOWS = np.errstate(
    over="ignore", invalid="ignore"
)  # non-finite values are reported as a divergence


def updates_per_yield(params: Parameters, k2: int) -> int:
    """The `yield_every` of a run, by its sizes and not the clock: a resumed run has the same."""
    work = k2 * (STEP_WORK + sum(theta.size for theta in params[:3]))
    return max(1, min(MAX_UPDATES, MAX_WORK // work))


def random_loss(experiment: Experiment, configuration: Configuration) -> float:
    """The loss of an update on a text whose every output gives all characters the same probability."""
    return float(
        np.log(len(experiment.alphabet or ""))
        * (configuration.k1 if configuration.reduction == "sum" else 1)
    )


class Divergence(NamedTuple):
    """The first tensor of a network that is not finite."""

    network: int  # from 0, in C order over the axes of the ensemble; 0 for a single network
    epoch: int
    number: int  # the update within the epoch
    tensor: str

    def __str__(self) -> str:
        return f"epoch {self.epoch}, update {self.number}: {self.tensor} is not finite"


def nonfinite_networks(losses: np.ndarray, params: Parameters) -> np.ndarray:
    """Shape E: True where one of the losses (n, *E) or a parameter, of either package, is not finite."""
    bad = ~np.isfinite(losses).all(axis=0)
    for theta in params:
        if theta is not None:
            bad = bad | ~np.isfinite(np.asarray(theta)).all(axis=tuple(range(bad.ndim, theta.ndim)))
    return np.asarray(bad)


def begin(rnn: Any, run: Run, state: State | None = None, **options: Any) -> Any:
    """The updates of a run by a package, from its start or from a state on; the series is not copied."""
    x, target = (rnn.from_numpy(series, copy=False) for series in (run.x, run.target))
    params, h_0, weights, resume = (
        None if value is None else rnn.from_numpy(value)
        for value in (run.params, run.h_0, run.weights, state)
    )
    return rnn.train(
        params, x, target, h_0, weights=weights, resume=resume, **run.options.keywords(), **options
    )


def locate(
    rnn: Any, run: Run, state: State | None, diverged: np.ndarray, until: tuple[int, int]
) -> list[Divergence]:
    """The first tensor that is not finite of each of these networks (shape E), in the order of the updates.

    The few updates from the state, in which these networks were finite, until (epoch, number) are made again with a
    record. The first one after which a network is not finite is examined.
    """
    located: list[Divergence] = []
    pending = np.array(diverged)
    for recorded in begin(rnn, run, state, record=True):
        update = recorded.replace(
            **{name: rnn.to_numpy(getattr(recorded, name)) for name in RECORDS}
        )
        place = update.epoch, update.number
        bad = nonfinite_networks(update.loss[None], update.parameters) | (place == until)
        for index in map(tuple, np.argwhere(pending & bad)):
            network = int(np.ravel_multi_index(index, pending.shape)) if index else 0
            located.append(Divergence(network, *place, _first_nonfinite(update, index)))
            pending[index] = False
        if not pending.any():
            break
    return located


def _first_nonfinite(update: Any, network: tuple[int, ...]) -> str:
    """The first tensor in a recorded update of one network that is not finite."""
    of_steps = {**update.activations._asdict(), **update.adjoints._asdict()}
    tensors = {
        name: update.loss if name == "loss" else np.moveaxis(of_steps[name], 0, -1)
        for name in ORDER
    }
    for prefix, group in (("d", update.gradients), ("v", update.velocity), ("", update.parameters)):
        tensors |= {
            prefix + name: theta
            for name, theta in zip(Parameters._fields, group or ())
            if theta is not None
        }
    bad = (name for name, values in tensors.items() if not np.isfinite(values[network]).all())
    return next(bad, "loss")  # where the sums of a machine are not reproducible


class Progress(NamedTuple):
    """What happened since the yield before."""

    epoch: int  # of the latest update
    number: int  # of the latest update, in its epoch
    losses: np.ndarray  # (n, *E) float64 of the n updates; NaN for networks that have diverged
    epoch_loss: np.ndarray | None  # (*E) if an epoch has ended
    smoothed: list[float]  # of a text, the smoothed loss after each update
    diverged: list[Divergence]  # of an ensemble of which other networks continue


class Trainer:
    """A run in progress: an iterable of its Progress. Between two of them, `checkpoint` is its state.

    A network of an ensemble that diverges is left out from then on: its losses are NaN, and its parameters 0.
    """

    @OVERFLOWS
    def __init__(
        self,
        rnn: Any,
        experiment: Experiment,
        configuration: Configuration,
        resumed: Checkpoint | None = None,
    ):
        """Raises InputError if options and data do not agree."""
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.run, self.E = experiment.run(configuration.run_options()), experiment.networks
        self.state: State | None = (
            None  # after the latest update, of NumPy, with zeros for networks that diverged
        )
        self._losses = array("d")  # of the finished epochs
        self.partial = np.zeros(self.E)  # the sum of the losses so far of the unfinished epoch
        is_text = experiment.alphabet is not None and not self.E
        self.smoothed = random_loss(experiment, configuration) if is_text else None
        if resumed is not None:
            if resumed.series != self.series:
                raise InputError(
                    f"it was trained on another series: expected {experiment.name} unchanged"
                )
            self._losses.extend(resumed.losses.ravel())
            self.state, self.partial, self.smoothed = (
                resumed.state,
                resumed.partial,
                resumed.smoothed,
            )
        every = updates_per_yield(experiment.params, configuration.k2)
        self.training = begin(rnn, self.run, self.state, yield_every=every)
        done = (0, 0) if self.state is None else (self.state.epoch, self.state.number)
        self.progress = Progress(*done, np.zeros((0, *self.E)), None, [], [])

    @property
    def diverged(self) -> np.ndarray:
        """Shape E: True for the networks that have diverged."""
        return np.isnan(self.partial)

    @property
    def losses(self) -> np.ndarray:
        """The losses of the finished epochs, (epochs, *E)."""
        return np.array(self._losses).reshape(len(self._losses) // prod(self.E), *self.E)

    @cached_property
    def series(self) -> str:
        """The fingerprint of the training data."""
        return fingerprint(self.run.x, self.run.target)

    @property
    def updates_per_epoch(self) -> int:
        """The number of updates of one epoch."""
        return -(-len(self.run.x) // self.configuration.k1)

    @property
    def updates(self) -> int:
        """The number of updates so far, from the beginning of the run."""
        return max(0, self.progress.epoch - 1) * self.updates_per_epoch + self.progress.number

    def parameters(self) -> Parameters:
        """The current parameters, as NumPy arrays in C order: the rounding of predictions depends on the order."""
        params = self.run.params if self.state is None else self.state.parameters
        return Parameters(
            *(None if theta is None else np.ascontiguousarray(theta) for theta in params)
        )

    def checkpoint(self) -> Checkpoint | None:
        """The state of the run, to be saved; None before the first update."""
        if self.state is None:
            return None
        rest = self.experiment.alphabet, self.smoothed
        return Checkpoint(
            self.configuration, self.series, self.state, self.losses, self.partial, *rest
        )

    def __iter__(self) -> Iterator[Progress]:
        """Make all updates. Raises Diverged if all networks diverge; the state is then one before that."""
        return iter(self._advance, None)

    @OVERFLOWS
    def _advance(self) -> Progress | None:
        """Make the updates up to the next yield; None at the end."""
        update = next(self.training, None)
        if update is None:
            return None
        losses = self.rnn.to_numpy(update.loss[None] if update.losses is None else update.losses)
        losses = np.where(self.diverged, np.nan, np.asarray(losses, np.float64))
        latest, located = self.training.state(), list[Divergence]()
        diverged = nonfinite_networks(losses, latest.parameters) & ~self.diverged
        if diverged.any():
            located = locate(
                self.rnn, self.run, self.state, diverged, (update.epoch, update.number)
            )
            if (self.diverged | diverged).all():
                subject = (
                    "every network diverged, the last one: " if self.E else "the run diverged: "
                )
                raise Diverged(f"{subject}{self.described(located[-1])}; {REMEDIES}")
            losses = np.where(diverged, np.nan, losses)
        # Added one by one, so that the sum does not depend on how many updates there are per yield.
        terms = (
            losses
            if self.configuration.reduction == "sum"
            else losses * self._shares(update, len(losses))
        )
        self.partial = np.cumsum(np.concatenate([self.partial[None], terms]), axis=0)[-1]
        self.state = self._without_diverged(self.rnn.to_numpy(latest))
        epoch_loss = None
        if update.window.stop == len(self.run.x):
            epoch_loss = self.partial
            self._losses.extend(np.ravel(epoch_loss))
            self.partial = np.where(self.diverged, np.nan, 0.0)
        smoothed: list[float] = []
        if self.smoothed is not None:
            for loss in losses.tolist():
                self.smoothed = self.smoothed * KEPT + loss * (1 - KEPT)
                smoothed.append(self.smoothed)
        self.progress = Progress(update.epoch, update.number, losses, epoch_loss, smoothed, located)
        return self.progress

    def _shares(self, update: Any, updates: int) -> np.ndarray:
        """The factors of the means of updates in that of an epoch; the last update of one may have fewer steps."""
        steps = np.full(updates, float(self.configuration.k1))
        steps[-1] = update.window.loss_steps
        return (steps / len(self.run.x)).reshape(-1, *(1 for _ in self.E))

    def _without_diverged(self, state: State) -> State:
        """The state, with zeros for the networks that diverged."""
        if not self.diverged.any():
            return state

        def kept(array: Any) -> Any:
            mask = self.diverged.reshape(*self.E, *(1 for _ in range(np.ndim(array) - len(self.E))))
            return None if array is None else np.where(mask, array.dtype.type(0), array)

        velocity = None if state.velocity is None else Gradients(*map(kept, state.velocity))
        return state._replace(
            h=kept(state.h), parameters=Parameters(*map(kept, state.parameters)), velocity=velocity
        )

    def described(self, divergence: Divergence) -> str:
        """Where a network diverged; of an ensemble also which one it is."""
        if not self.E:
            return str(divergence)
        which = ""
        if self.configuration.networks is not None:
            which = f" (seed {self.configuration.seed + divergence.network})"
        return f"network {divergence.network + 1} of {prod(self.E)}{which}, {divergence}"

    @OVERFLOWS
    def result(self, generate: int) -> Result:
        """The predictions, with `generate` free-running values. Raises Diverged if no network has finite ones."""
        predicted = predict(
            self.rnn, self.parameters(), self.experiment, self.run.options.objective, generate
        )
        result = Result(self.losses, *predicted)
        if not result.converged().any():
            epoch = self.configuration.epochs
            raise Diverged(f"the predictions after epoch {epoch} are not finite; {REMEDIES}")
        return result
