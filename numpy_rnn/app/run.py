"""One run, from its initial state to its result: watched, and stopped where it diverges or is interrupted."""

from collections.abc import Callable
from contextlib import closing
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.checkpoint import Checkpoint, fingerprint
from numpy_rnn.app.divergence import Divergence, Found, Start, bad_networks, begin, trace_back
from numpy_rnn.app.results import Losses, Result, predict
from numpy_rnn.common.errors import Diverged, Interrupted
from numpy_rnn.common.records import Parameters

MOST_UPDATES = 256  # also of the smallest network: a divergence is found by making them once more
SECONDS = 0.2  # that they take at most, about: Ctrl-C has to wait for them
OF_A_STEP = 5e-5  # seconds: the calls of one step of one window, of the slower backend
FLOPS = 2e9  # a second, of a slow core


def updates_at_once(params: Parameters, k2: int) -> int:
    """The `yield_every` of a run on one sequence. By sizes and not by the clock: a run that is resumed has the same."""
    *E, D, H = params.W_xh.shape
    O = params.W_hy.shape[-1]
    of_a_step = 6 * prod(E) * H * (D + H + O)  # flops: two a weight in the forward pass, four in the backward pass
    return max(1, min(MOST_UPDATES, int(SECONDS / (k2 * (OF_A_STEP + of_a_step / FLOPS)))))


MOST_NAMED = 3  # networks in one line


class Hooks(NamedTuple):
    """What is to be called while a run is going on, and how often: after every `at_once` updates and every epoch."""

    on_epoch: Callable[[int, np.ndarray], Any] | None = None  # (epoch, loss of shape E), after every epoch
    on_update: Callable[[Any], Any] | None = None  # (Update with all its arrays, as NumPy arrays)
    on_progress: Callable[[int, Any, int], Any] | None = None  # (epoch, loss of the latest update, updates made)
    on_divergence: Callable[[Divergence], Any] | None = None  # of one network of an ensemble; the others go on
    save: Callable[[Checkpoint], Any] | None = None  # now and then, at the end, and when the run is broken off
    is_time: Callable[[], bool] = lambda: False  # whether a checkpoint is due
    at_once: int | None = None  # updates; None: 1 with on_update, or else as many as take a fraction of a second
    stopped: Callable[[], int | None] = lambda: None  # whether to break off now, and by which signal


NOTHING = Hooks()


class Run:
    """A run under way: `train` makes its updates, `checkpoint` tells where it stands between two of them."""

    def __init__(self, rnn, experiment, configuration, hooks, resumed: Checkpoint | None = None):
        self.rnn, self.configuration, self.hooks = rnn, configuration, hooks
        self.experiment, self.options = experiment.trained(), configuration.train_options()
        self.E = experiment.params.W_hh.shape[:-2]
        self.start = Start(experiment.params, None)
        self.clips = configuration.max_norm is not None
        self.losses = Losses(self.E)  # of the epochs that are done
        self.partial = np.zeros(self.E)  # of the one that is not
        self.found: dict[int, Found] = {}  # the networks that have diverged
        if resumed is not None:
            self.start = Start(resumed.state.parameters, resumed.state)
            self.losses = Losses(self.E, resumed.epochs, resumed.losses)
            self.partial = resumed.partial
            self.found = {d.network: Found(d, self._params_of(d.network)) for d in resumed.diverged}
        record, at_once = hooks.on_update is not None, hooks.at_once
        if at_once is None:
            at_once = 1 if record else updates_at_once(experiment.params, configuration.k2)
        self.training = begin(rnn, self.experiment, self.options, self.start, record, at_once)

    def train(self) -> Parameters:
        """Make all updates. Returns the parameters after the last, of networks that diverged the last finite ones.

        Raises Diverged when no network is left, Interrupted when `hooks.stopped` says so.
        """
        rnn, hooks = self.rnn, self.hooks
        good = self._standing(self.start)
        for update in self.training:
            losses = self._add(update)
            is_epoch = update.window.stop == len(self.experiment.x)
            signal, is_due = hooks.stopped(), hooks.save is not None and hooks.is_time()
            state = rnn.to_numpy(self.training.state())
            bad = bad_networks(losses, state.parameters, rnn.to_numpy(update.gradients) if self.clips else None)
            if bad.any():
                self._diverge(bad, good, update)
            if is_epoch:
                self._end_epoch()
            if hooks.on_update is not None:
                hooks.on_update(rnn.to_numpy(update))
            if is_epoch and hooks.on_epoch is not None:
                hooks.on_epoch(update.epoch, self.losses.latest)
            good = self._standing(Start(state.parameters, state))
            if hooks.on_progress is not None:
                hooks.on_progress(update.epoch, losses[-1], len(losses))
            if is_due:
                hooks.save(self._checkpoint(good))
            if signal is not None:
                raise Interrupted(signal, self._checkpoint(good))
        if hooks.save is not None and (checkpoint := self.checkpoint()) is not None:
            hooks.save(checkpoint)
        latest = self.training.latest
        params = self._patched(self.start.params if latest is None else rnn.to_numpy(latest.parameters))
        # In one order of memory, as they are when read from a file: the rounding of predictions may depend on it.
        return Parameters(*(None if theta is None else np.ascontiguousarray(theta) for theta in params))

    def checkpoint(self) -> Checkpoint | None:
        """Where the run stands, to be saved; None before its first update."""
        state = self.start.state if self.training.latest is None else self.rnn.to_numpy(self.training.state())
        return None if state is None else self._checkpoint(self._standing(Start(state.parameters, state)))

    @cached_property
    def series(self) -> str:
        """The fingerprint of what is trained on."""
        return fingerprint(self.experiment.x, self.experiment.target)

    def _add(self, update):
        """Add the losses of the updates that were made at once, the latest one `update`, to the sum of the epoch.

        Returns them, (n, *E) in float64, NaN for the networks that have diverged.
        """
        of_each = update.loss[None] if update.losses is None else update.losses
        losses = np.array(self.rnn.to_numpy(of_each), np.float64, order="C")
        if self.found:
            losses.reshape(len(losses), -1)[:, list(self.found)] = np.nan  # whatever the rest of their numbers comes to
        terms = losses
        if self.configuration.reduction == "mean":
            counted = np.full(len(losses), self.configuration.k1)
            counted[-1] = update.window.loss_steps  # fewer in the last window of an epoch
            terms = losses * (counted / len(self.experiment.x)).reshape(-1, *(1 for _ in self.E))
        # One after the other, so that it doesn't matter how many come at once.
        self.partial = np.cumsum(np.concatenate([self.partial[None], terms]), axis=0)[-1]
        return losses

    def _end_epoch(self):
        self.losses.append(self.partial)
        self.partial = np.zeros(self.E)

    def _standing(self, start):
        return Standing(start, self.partial)

    def _checkpoint(self, standing):
        """No epoch has ended since then: the run is looked at at the end of each."""
        diverged = tuple(found.divergence for found in self.found.values())
        state, (losses, epochs) = self._finite(standing.start.state), (self.losses.array(), self.losses.epochs)
        return Checkpoint(self.configuration, self.series, state, losses, standing.partial, diverged, epochs)

    def _finite(self, state):
        """The state, without what is left of those of the networks that diverged, but for their last parameters."""
        known = list(self.found)
        if not known:
            return state
        h, velocity = state.h.copy(), state.velocity
        h.reshape(-1, *h.shape[-2:])[known] = 0
        if velocity is not None:
            velocity = Parameters(*(None if v is None else self._with(v, known, 0) for v in velocity))
        return state._replace(h=h, velocity=velocity, parameters=self._patched(state.parameters))

    def _params_of(self, network):
        axes = len(self.E)
        parts = (None if p is None else p.reshape(-1, *p.shape[axes:])[network] for p in self.start.params)
        return Parameters(*parts)

    def _with(self, theta, networks, values):
        theta = theta.copy()
        theta.reshape(-1, *theta.shape[len(self.E) :])[networks] = values
        return theta

    def _patched(self, params):
        """The parameters, with the last finite ones for the networks that diverged."""
        for network, found in self.found.items():
            pairs = zip(params, found.params)
            params = Parameters(*(None if p is None else self._with(p, [network], last) for p, last in pairs))
        return params

    def _diverge(self, bad, good, update):
        """Find out where the networks that are newly bad went bad, and go on without them if others are left.

        `on_divergence` is told of those after which others went on.
        """
        new = bad & ~np.isin(np.arange(bad.size), list(self.found)).reshape(bad.shape)
        if not new.any():
            return
        params, state = good.start
        start = good.start if state is None else Start(self._patched(params), self._finite(state))
        found = trace_back(self.rnn, self.experiment, self.options, start, new, (update.epoch, update.number))
        found = [Found(self._described(divergence), params) for divergence, params in found]
        self.found |= {f.divergence.network: f for f in found}
        if bad.ndim:
            self.partial.reshape(-1)[list(self.found)] = np.nan  # also where the loss itself was still finite
        is_over = len(self.found) == bad.size
        last = found[-1].divergence
        for divergence, _ in found:
            is_latest = (divergence.epoch, divergence.number) == (last.epoch, last.number)
            if self.hooks.on_divergence is not None and not (is_over and is_latest):
                self.hooks.on_divergence(divergence)
        if is_over:
            if bad.ndim and update.window.stop == len(self.experiment.x):
                self._end_epoch()
            message = explanation([f.divergence for f in self.found.values()], self.configuration)
            raise Diverged(message, self.checkpoint() if bad.ndim else self._before(good, last))

    def _described(self, divergence):
        """With what tells this network from the others."""
        rates, configuration = self.configuration.rates(), self.configuration
        index = np.unravel_index(divergence.network, self.E)
        rate = rates[index[0]] if rates else None
        seed = None if configuration.networks is None else configuration.seed + int(index[-1])
        return divergence._replace(rate=rate, seed=seed)

    def _before(self, good, divergence):
        """The checkpoint of a single network before it diverged: the updates since it was good are made once more."""
        self.found = {}
        self.partial = good.partial
        start = good.start
        again = begin(self.rnn, self.experiment, self.options, start)
        with closing(iter(again)) as updates:
            for update in updates:
                if (update.epoch, update.number) == (divergence.epoch, divergence.number):
                    break
                self._add(update)
                state = self.rnn.to_numpy(again.state())
                start = Start(state.parameters, state)
        return None if start.state is None else self._checkpoint(self._standing(start))


class Standing(NamedTuple):
    """A start, and what had been counted by then."""

    start: Start
    partial: np.ndarray


def explanation(divergences, configuration) -> str:
    """One line: where it began, and what to try."""
    rates = configuration.rates() or (configuration.learning_rate,)
    ways = [f"a --learning-rate smaller than {min(rates):g}"]
    if configuration.max_norm is None:
        ways.append("clipping by --max-norm 1")
    if configuration.data is not None and not configuration.standardize:
        ways.append("--standardize")
    what = "; ".join(map(str, divergences[:MOST_NAMED]))
    more = f" and {len(divergences) - MOST_NAMED} more" if len(divergences) > MOST_NAMED else ""
    whose = "the run" if divergences[0].of == 1 else "every network"
    return f"{whose} diverged: {what}{more}; try {', or '.join(ways)}"


def run(rnn, experiment, configuration, generate=0, hooks=NOTHING, resumed: Checkpoint | None = None) -> Result:
    """Train with the backend `rnn`, then predict one step ahead and generate.

    resumed: where to go on; the experiment and the configuration are those of that run, see `check_goes_on`.

    Raises Diverged when no network is left whose numbers are finite, and Interrupted when `hooks.stopped` says so.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what diverges is reported in our own words
        under_way = Run(rnn, experiment, configuration, hooks, resumed)
        params = under_way.train()

        def check():
            if (signal := hooks.stopped()) is not None:
                raise Interrupted(signal, under_way.checkpoint())

        phi = configuration.nonlinearity
        x, h_0, held_out = experiment.x, experiment.h_0, experiment.held_out
        y, generated = predict(rnn, rnn.from_numpy(params), x, h_0, generate, phi, held_out, check)
        check()
    losses = under_way.losses
    diverged = tuple(found.divergence for found in under_way.found.values())
    result = Result(losses.array(), params, y, generated, diverged, np.array(losses.epochs, int))
    if not result.converged().any():
        raise Diverged(
            f"the predictions after epoch {configuration.epochs} are not finite: the weights have grown too large; try"
            " a smaller --learning-rate, clipping by --max-norm 1, or --weight-decay",
            under_way.checkpoint(),
        )
    return result
