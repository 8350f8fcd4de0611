"""One run, from its initial state to its result: the sum of the losses of its epochs, and checks for divergence."""

from array import array
from collections.abc import Iterator
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.checkpoint import Checkpoint, fingerprint
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.locate_divergence import Divergence, begin, locate, nonfinite_networks
from numpy_rnn.app.results import Result, predict
from numpy_rnn.common.errors import Diverged, InputError
from numpy_rnn.common.records import Gradients, Parameters, State

MAX_UPDATES = 256  # per yield, also of the smallest network: to locate a divergence they are made again
MAX_WORK = 5 * 10**7  # weights times steps, per yield: Ctrl-C waits for them, about 0.2 s
STEP_WORK = 10**4  # of the overhead of one step, in weights
KEPT = 0.999  # of the smoothed loss, at each update
OVERFLOWS = np.errstate(over="ignore", invalid="ignore")  # non-finite values are reported as a divergence


def updates_per_yield(params: Parameters, k2: int) -> int:
    """The `yield_every` of a run on one sequence. It depends on sizes and not on the clock, so that a resumed run has
    the same.
    """
    work = k2 * (STEP_WORK + sum(theta.size for theta in params[:3]))
    return max(1, min(MAX_UPDATES, MAX_WORK // work))


def random_loss(experiment: Experiment, configuration: Configuration) -> float:
    """The loss of an update on a text whose every output gives all characters the same probability."""
    return float(np.log(len(experiment.alphabet or "")) * (configuration.k1 if configuration.reduction == "sum" else 1))


class Progress(NamedTuple):
    """What happened since the yield before."""

    epoch: int  # of the latest update
    number: int  # of the latest update, in its epoch
    losses: np.ndarray  # (n, *E) float64 of the n updates; NaN for networks that have diverged
    epoch_loss: np.ndarray | None  # (*E) if an epoch has ended
    smoothed: list[float]  # of a text, the smoothed loss after each update
    diverged: list[Divergence]  # of an ensemble of which other networks continue
    update: Any  # the latest one, of the package


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
        record: bool = False,
    ):
        """record: yield every update, with its activations and adjoints.

        Raises InputError on options that no run can have, or that do not agree with the data.
        """
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.run, self.E = experiment.run(configuration.run_options()), experiment.networks
        self._state: State | None = None  # of NumPy
        self._latest: State | None = None  # of the package, not yet converted; None: `_state` is the latest
        self._losses = array("d")  # of the finished epochs
        self.partial = np.zeros(self.E)  # the sum of the losses so far of the unfinished epoch
        is_text = experiment.alphabet is not None and not self.E
        self.smoothed = random_loss(experiment, configuration) if is_text else None
        if resumed is not None:
            if resumed.series != self.series:
                raise InputError(f"it was trained on another series: expected {experiment.name} unchanged")
            self._losses.extend(resumed.losses.ravel())
            self._state, self.partial, self.smoothed = resumed.state, resumed.partial, resumed.smoothed
        every = 1 if record else updates_per_yield(experiment.params, configuration.k2)
        self.training = begin(rnn, self.run, self.state, record=record, yield_every=every)
        done = (0, 0) if self.state is None else (self.state.epoch, self.state.number)
        self.progress = Progress(*done, np.zeros((0, *self.E)), None, [], [], None)

    @property
    def diverged(self) -> np.ndarray:
        """Shape E: True for the networks that have diverged."""
        return np.isnan(self.partial)

    @property
    def state(self) -> State | None:
        """The state after the latest update, of NumPy, with zeros for the networks that diverged; None before it."""
        if self._latest is not None:
            self._state, self._latest = self._without_diverged(self.rnn.to_numpy(self._latest)), None
        return self._state

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
        return Parameters(*(None if theta is None else np.ascontiguousarray(theta) for theta in params))

    def checkpoint(self) -> Checkpoint | None:
        """The state of the run, to be saved; None before the first update."""
        if self.state is None:
            return None
        rest = self.experiment.alphabet, self.smoothed
        return Checkpoint(self.configuration, self.series, self.state, self.losses, self.partial, *rest)

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
            located = self._leave_out(diverged, (update.epoch, update.number))
            losses = np.where(self.diverged, np.nan, losses)
        self._latest = latest
        # Added one by one, so that the sum does not depend on how many updates there are per yield.
        terms = losses if self.configuration.reduction == "sum" else losses * self._shares(update, len(losses))
        self.partial = np.cumsum(np.concatenate([self.partial[None], terms]), axis=0)[-1]
        epoch_loss = None
        smoothed: list[float] = []
        if update.window.stop == len(self.run.x):
            epoch_loss = self.partial
            self._losses.extend(np.ravel(epoch_loss))
            self.partial = np.where(self.diverged, np.nan, 0.0)
        if self.smoothed is not None:
            for loss in losses.tolist():
                self.smoothed = self.smoothed * KEPT + loss * (1 - KEPT)
                smoothed.append(self.smoothed)
        self.progress = Progress(update.epoch, update.number, losses, epoch_loss, smoothed, located, update)
        return self.progress

    def _shares(self, update: Any, updates: int) -> np.ndarray:
        """The factors of the means of updates in that of an epoch; the last update of one may have fewer steps."""
        steps = np.full(updates, float(self.configuration.k1))
        steps[-1] = update.window.loss_steps
        return (steps / len(self.run.x)).reshape(-1, *(1 for _ in self.E))

    def _leave_out(self, diverged: np.ndarray, until: tuple[int, int]) -> list[Divergence]:
        """Leave out networks that have diverged since the last yield. Raises Diverged if no network remains."""
        located = locate(self.rnn, self.run, self.state, diverged, until)
        remain = ~(self.diverged | diverged)
        if not remain.any():
            subject = "every network diverged, the last one: " if self.E else "the run diverged: "
            raise Diverged(f"{subject}{self.described(located[-1])}; try {self._remedies()}")
        self.partial = np.where(diverged, np.nan, self.partial)
        return located

    def _without_diverged(self, state: State) -> State:
        """The state, with zeros for the networks that diverged."""
        if not self.diverged.any():
            return state

        def kept(array: Any) -> Any:
            mask = self.diverged.reshape(*self.E, *(1 for _ in range(np.ndim(array) - len(self.E))))
            return None if array is None else np.where(mask, array.dtype.type(0), array)

        velocity = None if state.velocity is None else Gradients(*map(kept, state.velocity))
        return state._replace(h=kept(state.h), parameters=Parameters(*map(kept, state.parameters)), velocity=velocity)

    def described(self, divergence: Divergence) -> str:
        """Where a network diverged; of an ensemble also which one it is."""
        if not self.E:
            return str(divergence)
        which = ""
        if rates := self.configuration.rates():
            which = f" (learning rate {rates[divergence.network]:g})"
        elif self.configuration.networks is not None:
            which = f" (seed {self.configuration.seed + divergence.network})"
        return f"network {divergence.network + 1} of {prod(self.E)}{which}, {divergence}"

    def _remedies(self) -> str:
        """The remedies, in words."""
        configuration = self.configuration
        remedies = [f"a --learning-rate below {min(configuration.rates() or (configuration.learning_rate,)):g}"]
        if configuration.max_norm is None and configuration.max_value is None:
            remedies.append("gradient clipping with --max-norm 1")
        if configuration.data is not None and not configuration.standardize:
            remedies.append("--standardize")
        return ", or ".join(remedies)

    @OVERFLOWS
    def result(self, generate: int) -> Result:
        """The result of a finished run on a series: predictions with the final weights, and `generate` free-running
        values. Raises Diverged if none of them is finite.
        """
        predicted = predict(self.rnn, self.parameters(), self.experiment, self.run.options.objective, generate)
        result = Result(self.losses, *predicted)
        if not result.converged().any():
            epoch = self.configuration.epochs
            raise Diverged(f"the predictions after epoch {epoch} are not finite; try {self._remedies()}")
        return result
