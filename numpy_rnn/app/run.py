"""One run, from its initial state to its result, with checks for divergence and interruption."""

from collections.abc import Callable
from contextlib import closing
from functools import cached_property
from math import prod
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.checkpoint import Checkpoint, fingerprint
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.divergence import (
    Divergence,
    LocatedDivergence,
    ResumePoint,
    begin,
    locate_divergence,
    nonfinite_networks,
)
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.results import Losses, Result, initial_smoothed, predict, smoothed_losses
from numpy_rnn.common.errors import Diverged, Interrupted
from numpy_rnn.common.records import Parameters

MAX_UPDATES = 256  # per yield, also of the smallest network: a divergence is located by repeating them
SECONDS = 0.2  # that they take at most, approximately: Ctrl-C waits for them
STEP_SECONDS = 5e-5  # overhead of one step of one window, of the slower backend
FLOPS = 2e9  # per second, of a slow core
MAX_NAMED = 3  # networks in one line


def updates_per_yield(params: Parameters, k2: int) -> int:
    """The `yield_every` of a run on one sequence. It depends on sizes and not on the clock, so that a resumed run has
    the same.
    """
    *E, D, H = params.W_xh.shape
    O = params.W_hy.shape[-1]
    flops = 6 * prod(E) * H * (D + H + O)  # of a step: two per weight in the forward pass, four in the backward pass
    return max(1, min(MAX_UPDATES, int(SECONDS / (k2 * (STEP_SECONDS + flops / FLOPS)))))


class Hooks(NamedTuple):
    """Functions that a run calls after every `yield_every` updates and after every epoch."""

    on_epoch: Callable[[int, np.ndarray], Any] | None = None  # (epoch, loss of shape E), after every epoch
    on_update: Callable[[Any], Any] | None = None  # (Update with all its arrays, as NumPy arrays)
    on_progress: Callable[[int, Any, int], Any] | None = None  # (epoch, loss of the latest update, updates made)
    on_smoothed: Callable[[Any, np.ndarray], Any] | None = None  # (State, smoothed losses (n, *E)), of a text
    on_divergence: Callable[[Divergence], Any] | None = None  # of one network of an ensemble; the others continue
    save: Callable[[Checkpoint], Any] | None = None  # when `is_save_due`, and at the end
    is_save_due: Callable[[], bool] = lambda: False
    yield_every: int | None = None  # updates; None: 1 with on_update, or else as many as take a fraction of a second
    stop_signal: Callable[[], int | None] = lambda: None  # the number of the signal that asks the run to stop, or None


NOTHING = Hooks()


class RunSnapshot(NamedTuple):
    """A point to resume from, and at that point the sum of the losses of the epoch so far and the smoothed loss."""

    point: ResumePoint
    partial: np.ndarray
    smoothed: np.ndarray | None


class Run:
    """A run in progress: `train` makes its updates; `checkpoint` is its state between two updates."""

    def __init__(
        self,
        rnn: ModuleType,
        experiment: Experiment,
        configuration: Configuration,
        hooks: Hooks,
        resumed: Checkpoint | None = None,
    ):
        self.rnn, self.configuration, self.hooks = rnn, configuration, hooks
        self.experiment, self.options = experiment.trained(), configuration.train_options()
        self.E = experiment.params.W_hh.shape[:-2]
        self.point = ResumePoint(experiment.params, None)
        self.clips = configuration.max_norm is not None
        self.losses = Losses(self.E)  # of the finished epochs
        self.partial = np.zeros(self.E)  # the sum so far of the unfinished epoch
        self.smoothed = initial_smoothed(experiment, configuration)
        self.diverged: dict[int, LocatedDivergence] = {}  # by network
        if resumed is not None:
            self.point = ResumePoint(resumed.state.parameters, resumed.state)
            self.losses = Losses(self.E, resumed.epochs, resumed.losses)
            self.partial, self.smoothed = resumed.partial, resumed.smoothed
            self.diverged = {d.network: LocatedDivergence(d, self._params_of(d.network)) for d in resumed.diverged}
        record, yield_every = hooks.on_update is not None, hooks.yield_every
        if yield_every is None:
            yield_every = 1 if record else updates_per_yield(experiment.params, configuration.k2)
        self.training = begin(rnn, self.experiment, self.options, self.point, record, yield_every)

    def train(self) -> Parameters:
        """Make all updates. Returns the final parameters; of networks that diverged, the last finite ones.

        Raises Diverged if all networks diverge, and Interrupted if `hooks.stop_signal` returns a signal.
        """
        rnn, hooks = self.rnn, self.hooks
        finite = self._snapshot(self.point)
        for update in self.training:
            losses, smoothed = self._add(update)
            is_epoch = update.window.stop == len(self.experiment.x)
            signal, is_due = hooks.stop_signal(), hooks.is_save_due()
            state = rnn.to_numpy(self.training.state())
            nonfinite = nonfinite_networks(
                losses, state.parameters, rnn.to_numpy(update.gradients) if self.clips else None
            )
            if nonfinite.any():
                self._diverge(nonfinite, finite, update)
            if is_epoch:
                self._end_epoch()
            if hooks.on_update is not None:
                hooks.on_update(rnn.to_numpy(update))
            if is_epoch and hooks.on_epoch is not None:
                hooks.on_epoch(update.epoch, self.losses.latest)
            finite = self._snapshot(ResumePoint(state.parameters, state))
            if hooks.on_smoothed is not None:
                hooks.on_smoothed(state, smoothed)
            if hooks.on_progress is not None:
                hooks.on_progress(update.epoch, losses[-1], len(losses))
            if is_due and hooks.save is not None:
                hooks.save(self._checkpoint(finite))
            if signal is not None:
                raise Interrupted(signal, self._checkpoint(finite))
        if hooks.save is not None and (checkpoint := self.checkpoint()) is not None:
            hooks.save(checkpoint)
        latest = self.training.latest
        params = self._patched(self.point.params if latest is None else rnn.to_numpy(latest.parameters))
        # In C order, as parameters that are read from a file: the rounding of predictions may depend on it.
        return Parameters(*(None if theta is None else np.ascontiguousarray(theta) for theta in params))

    def checkpoint(self) -> Checkpoint | None:
        """The state of the run, to be saved; None before the first update."""
        state = self.point.state if self.training.latest is None else self.rnn.to_numpy(self.training.state())
        return None if state is None else self._checkpoint(self._snapshot(ResumePoint(state.parameters, state)))

    @cached_property
    def series(self) -> str:
        """The fingerprint of the training data."""
        return fingerprint(self.experiment.x, self.experiment.target)

    def _add(self, update):
        """Add the losses of the updates since the last yield, of which `update` is the latest, to those of the epoch.

        Returns them, (n, *E) in float64; NaN for networks that have diverged. Of a text also the smoothed losses.
        """
        of_each = update.loss[None] if update.losses is None else update.losses
        losses = np.array(self.rnn.to_numpy(of_each), np.float64, order="C")
        if self.diverged:
            losses.reshape(len(losses), -1)[:, list(self.diverged)] = np.nan  # whatever their losses are
        terms = losses
        if self.configuration.reduction == "mean":
            loss_steps = np.full(len(losses), self.configuration.k1)
            loss_steps[-1] = update.window.loss_steps  # fewer in the last window of an epoch
            terms = losses * (loss_steps / len(self.experiment.x)).reshape(-1, *(1 for _ in self.E))
        # Added one by one, so that the sum does not depend on how many updates there are per yield.
        self.partial = np.cumsum(np.concatenate([self.partial[None], terms]), axis=0)[-1]
        if self.smoothed is None:
            return losses, None
        smoothed = smoothed_losses(self.smoothed, losses)
        self.smoothed = smoothed[-1]
        return losses, smoothed

    def _end_epoch(self):
        self.losses.append(self.partial)
        self.partial = np.zeros(self.E)

    def _snapshot(self, point):
        return RunSnapshot(point, self.partial, self.smoothed)

    def _checkpoint(self, snapshot):
        """Every epoch ends with a yield, so no epoch has ended since the snapshot."""
        diverged = tuple(located.divergence for located in self.diverged.values())
        state, (losses, epochs) = self._finite(snapshot.point.state), (self.losses.array(), self.losses.epochs)
        of_text = self.experiment.alphabet, snapshot.smoothed
        return Checkpoint(self.configuration, self.series, state, losses, snapshot.partial, diverged, epochs, *of_text)

    def _finite(self, state):
        """The state with finite values for the networks that diverged: zeros, and their last finite parameters."""
        known = list(self.diverged)
        if not known:
            return state
        h, velocity = state.h.copy(), state.velocity
        h.reshape(-1, *h.shape[-2:])[known] = 0
        if velocity is not None:
            velocity = Parameters(*(None if v is None else self._with(v, known, 0) for v in velocity))
        return state._replace(h=h, velocity=velocity, parameters=self._patched(state.parameters))

    def _params_of(self, network):
        axes = len(self.E)
        parts = (None if p is None else p.reshape(-1, *p.shape[axes:])[network] for p in self.point.params)
        return Parameters(*parts)

    def _with(self, theta, networks, values):
        theta = theta.copy()
        theta.reshape(-1, *theta.shape[len(self.E) :])[networks] = values
        return theta

    def _patched(self, params):
        """The parameters, with the last finite ones for the networks that diverged."""
        for network, located in self.diverged.items():
            pairs = zip(params, located.params)
            params = Parameters(*(None if p is None else self._with(p, [network], last) for p, last in pairs))
        return params

    def _diverge(self, nonfinite, finite, update):
        """Locate where networks that are not finite now, and were in the snapshot `finite`, diverged.

        Raises Diverged if no network is left; otherwise the run continues without these, and `on_divergence` is called
        for each.
        """
        known = np.isin(np.arange(nonfinite.size), list(self.diverged)).reshape(nonfinite.shape)
        new = nonfinite & ~known
        if not new.any():
            return
        params, state = finite.point
        point = finite.point if state is None else ResumePoint(self._patched(params), self._finite(state))
        until = (update.epoch, update.number)
        located = locate_divergence(self.rnn, self.experiment, self.options, point, new, until)
        located = [LocatedDivergence(self._described(divergence), params) for divergence, params in located]
        self.diverged |= {each.divergence.network: each for each in located}
        if nonfinite.ndim:
            self.partial.reshape(-1)[list(self.diverged)] = np.nan  # also if the loss itself is still finite
        is_over = len(self.diverged) == nonfinite.size
        last = located[-1].divergence
        for divergence, _ in located:
            is_latest = (divergence.epoch, divergence.number) == (last.epoch, last.number)
            if self.hooks.on_divergence is not None and not (is_over and is_latest):
                self.hooks.on_divergence(divergence)
        if is_over:
            if nonfinite.ndim and update.window.stop == len(self.experiment.x):
                self._end_epoch()
            message = explanation([each.divergence for each in self.diverged.values()], self.configuration)
            raise Diverged(message, self.checkpoint() if nonfinite.ndim else self._before(finite, last))

    def _described(self, divergence):
        """With the learning rate and the seed of the network, which distinguish it from the others."""
        rates, configuration = self.configuration.rates(), self.configuration
        index = np.unravel_index(divergence.network, self.E)
        rate = rates[index[0]] if rates else None
        seed = None if configuration.networks is None else configuration.seed + int(index[-1])
        return divergence._replace(rate=rate, seed=seed)

    def _before(self, finite, divergence):
        """The checkpoint of a single network before it diverged, found by repeating the updates from a snapshot on."""
        self.diverged = {}
        self.partial, self.smoothed = finite.partial, finite.smoothed
        point = finite.point
        repeated = begin(self.rnn, self.experiment, self.options, point)
        with closing(iter(repeated)) as updates:
            for update in updates:
                if (update.epoch, update.number) == (divergence.epoch, divergence.number):
                    break
                self._add(update)
                state = self.rnn.to_numpy(repeated.state())
                point = ResumePoint(state.parameters, state)
        return None if point.state is None else self._checkpoint(self._snapshot(point))


def explanation(divergences: list[Divergence], configuration: Configuration) -> str:
    """One line: where the networks diverged, and what to try."""
    rates = configuration.rates() or (configuration.learning_rate,)
    remedies = [f"a --learning-rate below {min(rates):g}"]
    if configuration.max_norm is None and configuration.max_value is None:
        remedies.append("gradient clipping with --max-norm 1")
    if configuration.data is not None and not configuration.standardize:
        remedies.append("--standardize")
    what = "; ".join(map(str, divergences[:MAX_NAMED]))
    more = f" and {len(divergences) - MAX_NAMED} more" if len(divergences) > MAX_NAMED else ""
    subject = "the run" if divergences[0].of == 1 else "every network"
    return f"{subject} diverged: {what}{more}; try {', or '.join(remedies)}"


def run(
    rnn: ModuleType,
    experiment: Experiment,
    configuration: Configuration,
    generate: int = 0,
    hooks: Hooks = NOTHING,
    resumed: Checkpoint | None = None,
) -> Result:
    """Train with the backend `rnn`, then predict one step ahead and generate; on a text nothing is predicted.

    resumed: the checkpoint to continue from; the experiment and the configuration are those of that run, see
    `check_can_resume`.

    Raises Diverged if all networks diverge, and Interrupted if `hooks.stop_signal` returns a signal.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # non-finite values are reported as a divergence
        training = Run(rnn, experiment, configuration, hooks, resumed)
        params = training.train()

        def check():
            if (signal := hooks.stop_signal()) is not None:
                raise Interrupted(signal, training.checkpoint())

        phi = configuration.nonlinearity
        x, h_0, held_out = experiment.x, experiment.h_0, experiment.held_out
        if experiment.alphabet is None:
            of_params = rnn.from_numpy(params)
            y, generated = predict(rnn, of_params, x, h_0, generate, phi, held_out, check, configuration.loss)
        else:
            y = generated = np.zeros((0, *params.W_hy.shape[:-2], 1, len(experiment.alphabet)))
        check()
    losses = training.losses
    diverged = tuple(located.divergence for located in training.diverged.values())
    result = Result(losses.array(), params, y, generated, diverged, np.array(losses.epochs, int))
    if not result.converged().any():
        raise Diverged(
            f"the predictions after epoch {configuration.epochs} are not finite, as the weights are too large; try a"
            " smaller --learning-rate, gradient clipping with --max-norm 1, or --weight-decay",
            training.checkpoint(),
        )
    return result
