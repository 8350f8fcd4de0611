"""Learning curves by the length of the truncation, and the effect of a mutant on them.

Every mutant is compared with the definition on the same networks, over the same updates, by the same measure: the loss
of a pass. So an algorithm that is both a disagreement and a mistake has one number and one verdict.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import draw_parameters
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.mutants.catalogue import load
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import Judgement, judge
from numpy_rnn.elman import forward
from numpy_rnn.loss import half_squared_error
from numpy_rnn.study.setting import DIVERGED_FACTOR, Setting, in_float64, rounded

MAX_POINTS = 60  # at which a curve is known, between its first and its last
BAND = (0.1, 0.5, 0.9)


class LearningCurve(NamedTuple):
    """The training of a set of networks. The loss is Σ_t ℓ_t of one pass over the series with the current weights.

    The loss that `train` reports for an epoch uses the weights of each update, whose number depends on k1, and a mutant
    may report a wrong one. This loss is the same function of the weights for all.
    """

    epochs: list[int]  # 0: as drawn
    losses: np.ndarray  # (epochs, *E), infinite where a network has diverged
    parameters: list[Parameters]  # at these epochs, (*E, ..)


def curve_epochs(epochs: int) -> list[int]:
    """The first, the last, and some in between: close together at first, where most happens."""
    if epochs == 0:
        return [0]
    between = np.geomspace(1, epochs, MAX_POINTS // 2), np.linspace(1, epochs, MAX_POINTS // 2)
    return sorted({0, epochs, *(int(epoch) for part in between for epoch in np.rint(part))})


def draw_networks(setting: Setting, networks: int, bias: bool | None = None, dtype: str | None = None) -> Parameters:
    """Draw networks with successive seeds from that of the configuration, with zero biases where `bias` asks for them.

    The weights of the run may come from a file; these are always drawn.
    """
    params, configuration = setting.experiment.params, setting.configuration
    D, O = params.W_xh.shape[-2], params.W_hy.shape[-1]
    members = draw_parameters(
        D,
        params.W_hh.shape[-1],
        O,
        bias=params.b_h is not None if bias is None else bias,
        dtype=dtype or str(params.W_hh.dtype),
        seed=configuration.seed,
        networks=networks,
    )
    if params.h_0 is None:
        return members
    return members._replace(h_0=np.zeros((networks, *params.h_0.shape), members.W_hh.dtype))


def updates_of(
    rnn: Any, params: Parameters, setting: Setting, configuration: Configuration, yield_every: int | str = 1
):
    """The updates of a run of `rnn`, a package with the functions of numpy_rnn, over the series of the setting."""
    dtype = params.W_hh.dtype
    x, target, h_0 = (array.astype(dtype) for array in (setting.x, setting.target, setting.h_0))
    given = None if params.h_0 is not None else h_0
    return rnn.train(params, x, target, given, **configuration.train_options(), yield_every=yield_every)


def learning_curve(rnn: Any, params: Parameters, setting: Setting, configuration: Configuration) -> LearningCurve:
    """Train, and keep the weights after some of the epochs, however many updates an epoch has."""
    wanted = curve_epochs(configuration.epochs)
    yield_every = "epoch" if rnn is numpy_rnn else 1  # the last window of a wrong epoch may be any
    kept, epoch, latest = {}, 0, params
    with np.errstate(all="ignore"):
        for update in updates_of(rnn, params, setting, configuration, yield_every):
            if update.epoch != epoch and epoch in wanted:
                kept[epoch] = latest
            epoch, latest = update.epoch, update.parameters
        kept[epoch] = latest
    epochs = sorted(kept)
    parameters = [kept[epoch] for epoch in epochs]
    losses = losses_of_a_pass(parameters, setting, configuration)
    return LearningCurve(epochs, np.where(losses > DIVERGED_FACTOR * losses[0], np.inf, losses), parameters)


def losses_of_a_pass(parameters: list[Parameters], setting: Setting, configuration: Configuration) -> np.ndarray:
    """Σ_t ℓ_t (L1) of one pass, in float64: a list of M with E networks each → (M, *E); infinite for NaN."""
    stacked: Parameters = Parameters(*(None if theta[0] is None else np.stack(theta) for theta in zip(*parameters)))
    stacked = in_float64(stacked)
    options: dict[str, Any] = {"nonlinearity": configuration.nonlinearity}
    h_0 = setting.h_0 if stacked.h_0 is None else stacked.h_0
    with np.errstate(all="ignore"):
        y = forward(stacked, setting.x, h_0, **options).y
        losses = half_squared_error(y, setting.target)
    return np.where(np.isfinite(losses), losses, np.inf)


def summary(of: LearningCurve) -> dict:
    """A learning curve as plain values: the median and the band from the 10th to the 90th percentile over all networks.

    A network that diverged has an infinite loss, and is among the worst in every quantile; None is infinite.
    """
    low, median, high = quantiles(of.losses)
    first, last = of.losses[0], of.losses[-1]
    return {
        "epochs": of.epochs,
        "low": rounded(low),
        "median": rounded(median),
        "high": rounded(high),
        "final": rounded(last),
        "final_median": rounded(median)[-1],
        "diverged": int(np.isinf(last).sum()),
        "worse_than_untrained": int((np.isfinite(last) & (last > first)).sum()),
        "networks": len(last),
    }


def quantiles(losses: np.ndarray) -> np.ndarray:
    """10th percentile, median and 90th percentile over the last axis, (3, ...); infinite values are the largest.

    Every quantile is the value of one network, as nothing lies between a number and infinity.
    """
    return np.quantile(losses, BAND, axis=-1, method="inverted_cdf")


LENGTHS = (1, 2, 3, 5, 10)  # and all steps of the series


def lengths(steps: int) -> list[int]:
    """The k of the runs: some short ones, and the whole series."""
    return sorted({k for k in LENGTHS if k < steps} | {steps})


def by_k(setting: Setting) -> dict:
    """For every k, TBPTT(k, k) and TBPTT(1, k) of the same networks, with the run's other options."""
    params = draw_networks(setting, setting.seeds)
    ks = lengths(len(setting.x))

    def train(k1, k2):
        configuration = setting.configuration.changed(k1=k1, k2=k2)
        return {"k1": k1, "k2": k2, "k": k2} | summary(learning_curve(numpy_rnn, params, setting, configuration))

    chunks = [train(k, k) for k in ks]
    sliding = [chunks[0] if k == 1 else train(1, k) for k in ks]
    configuration = setting.configuration
    return {
        "ks": ks,
        "steps": len(setting.x),
        "seeds": setting.seeds,
        "first_seed": configuration.seed,
        "epochs": configuration.epochs,
        "learning_rate": configuration.learning_rate,
        "reduction": configuration.reduction,
        "mean": configuration.reduction == "mean",
        "from_file": configuration.weights is not None,
        "chunks": chunks,
        "sliding": sliding,
        "best_chunks": _best(chunks),
        "best_sliding": _best(sliding),
        "any_diverged": any(run["diverged"] for run in chunks + sliding),
        "diverged": _diverged(chunks, sliding),
    }


def _best(runs):
    """The k with the lowest median final loss, of those whose median network did not diverge, or None."""
    finite = [run for run in runs if run["final_median"] is not None]
    return min(finite, key=lambda run: run["final_median"])["k"] if finite else None


def _diverged(chunks, sliding):
    runs = [(run, "chunks") for run in chunks] + [(run, "sliding window") for run in sliding if run["k"] > 1]
    return [{"kind": kind, "k": run["k"], "diverged": run["diverged"]} for run, kind in runs if run["diverged"]]


OVERLAP = 5  # steps of the window, where windows have to overlap
MAX_UPDATES = 2000  # of a run with k1 = 1: there are many mutants
JUDGED_EPOCHS = 2  # the second shows what is carried over from the first
LEARNS = 2.0  # largest ratio of the final losses, mutant to definition
SAME = 1.01  # ratio up to which, either way, two loss curves look the same


class DemoRun(NamedTuple):
    """A run that may show a mutant: how it differs from the configured one."""

    name: str
    changes: dict[str, Any]  # of the configuration
    bias: bool | None = None  # None: as configured
    dtype: str | None = None  # None: as configured
    ensemble: bool = False  # whether the suite judges an ensemble, not one network
    learned: bool = False  # whether h_0 is

    def configuration(self, setting: Setting) -> Configuration:
        """The configuration, with the epochs of `epochs_of`."""
        return setting.configuration.changed(**self.changes, epochs=epochs_of(setting))

    def networks(self, setting: Setting, number: int) -> Parameters:
        """An ensemble of so many networks, as `draw_networks` draws them."""
        params = draw_networks(setting, number, self.bias, self.dtype)
        if self.learned and params.h_0 is None:
            params = params._replace(h_0=np.zeros((number, *setting.h_0.shape), params.W_hh.dtype))
        return params


def epochs_of(setting: Setting) -> int:
    """The epochs of every run: those of the configuration, but at most as many as make MAX_UPDATES with k1 = 1."""
    return min(setting.configuration.epochs, max(1, MAX_UPDATES // len(setting.x)))


def named_runs(setting: Setting) -> dict[str, DemoRun]:
    """The runs by key, in the order in which they are tried."""
    steps, configuration = len(setting.x), setting.configuration
    k = min(OVERLAP, steps)
    sliding, chunks, blocks = {"k1": 1, "k2": k}, {"k1": k, "k2": k}, {"k1": min(3, steps), "k2": k}
    momentum = {"momentum": 0.5, "dampening": 0.25, "nesterov": False, "weight_decay": 0.001, "max_norm": 0.5}
    nesterov = {"momentum": 0.5, "dampening": 0.0, "nesterov": True}
    rate = {"learning_rate": 0.2 * np.asarray(configuration.learning_rate).item()}
    window, block = f"k1 = 1, k2 = {k}", f"k1 = {blocks['k1']}, k2 = {k}"
    return {
        "configured": DemoRun("as configured", {}),
        "sliding": DemoRun(window, sliding),
        "chunks": DemoRun(f"k1 = {k}, k2 = {k}", chunks),
        "biases": DemoRun(f"{window}, biases", sliding, True),
        "float64": DemoRun(f"float64, {window}, biases, max_norm", sliding | {"max_norm": 0.5}, True, "float64"),
        "mean": DemoRun(f"{block}, mean", blocks | {"reduction": "mean"}, True),
        "sum": DemoRun(f"{block}, sum", blocks | {"reduction": "sum"}, True),
        "relu": DemoRun(f"relu, {window}", sliding | rate | {"nonlinearity": "relu"}, True),
        "momentum": DemoRun(
            "momentum, dampening, decay, max_norm, learned h₀", sliding | rate | momentum, True, learned=True
        ),
        "nesterov": DemoRun("nesterov", sliding | rate | nesterov, True),
        "ensemble": DemoRun("an ensemble, max_norm", {"max_norm": 0.5}, ensemble=True),
    }


class Outcome(NamedTuple):
    """Learning curves of the definition and of a mutant, on the same networks."""

    right: LearningCurve
    wrong: LearningCurve

    def findings(self) -> dict[str, Any]:
        """As plain values: both curves, the ratio of the final losses (median and band over networks), the verdict.

        The ratio is taken per network, where the definition's loss is finite and not zero.
        """
        right, wrong = self.right.losses[-1], self.wrong.losses[-1]
        kept = np.isfinite(right) & (right > 0)
        ratios = quantiles(wrong[kept] / right[kept]) if kept.any() else np.full(3, np.nan)
        medians = quantiles(self.wrong.losses)[1]
        return {
            "right": summary(self.right),
            "wrong": summary(self.wrong),
            "ratio": dict(zip(("low", "median", "high"), rounded(ratios))),
            "verdict": verdict(ratios[1], medians[-1], medians[0]) if self.right.epochs != [0] else "not trained",
        }


class Outcomes:
    """Outcomes of mutants on the runs of a setting; each run of the definition is made once."""

    def __init__(self, setting: Setting):
        self.setting, self.runs = setting, named_runs(setting)
        self.definition = cache(lambda run: self._train(reference, run))
        self.of = cache(lambda mutant, run: Outcome(self.definition(run), self._train(load(mutant), run)))

    def _train(self, rnn, run):
        params = self.runs[run].networks(self.setting, self.setting.seeds)
        return learning_curve(rnn, params, self.setting, self.runs[run].configuration(self.setting))


def verdict(ratio: float, final: float, untrained: float) -> str:
    """The verdict on a mutant. ratio: median over the networks of the ratio of the final losses, mutant to definition;
    final, untrained: median loss with the mutant, after and before training.
    """
    if np.isnan(ratio):
        return "the correct run diverged"
    if not np.isfinite(final):
        return "diverged"
    if 1 / SAME <= ratio <= SAME:
        return "the same"
    if ratio < 1:
        return "lower loss"
    if ratio <= LEARNS:
        return "learns"
    return "learns less" if final < untrained / LEARNS else "does not learn"


def judge_demo_run(rnn: Any, demo: DemoRun, setting: Setting) -> Judgement:
    """The verdict of the equivalence suite on the first epochs of a run of `rnn`, with one network or an ensemble.

    Raises InputError when the run makes no update, so that there is nothing to judge.
    """
    configuration = demo.configuration(setting)
    configuration = configuration.changed(epochs=min(JUDGED_EPOCHS, max(1, configuration.epochs)))
    params = demo.networks(setting, 2 if demo.ensemble else 1)
    if not demo.ensemble:
        params = Parameters(*(None if theta is None else theta[0] for theta in params))
    x, target, h_0 = (v.astype(params.W_hh.dtype) for v in (setting.x, setting.target, setting.h_0))
    experiment = setting.experiment._replace(
        x=x, target=target, h_0=h_0 if params.h_0 is None else params.h_0, params=params
    )
    configuration = configuration.changed(learn_initial_state=params.h_0 is not None)
    with np.errstate(all="ignore"):
        trace = trace_of(rnn, experiment, configuration)
        if "epoch" not in trace:
            raise InputError(f"{rnn.__name__} has made no update: expected one to be judged")
        return judge(trace)
