"""The effect of a mutant on training: the runs that show it, and one verdict, for disagreements and mistakes alike.

Every mutant is compared with the definition on the same networks, over the same updates, by the same measure: the loss
of a pass. So an algorithm that is both a disagreement and a mistake has one number and one verdict.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn import reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.mutants.catalogue import load
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import Judgement, judge
from numpy_rnn.study.setting import Setting, rounded
from numpy_rnn.study.training.learning_curves import LearningCurve, draw_networks, learning_curve, quantiles, summary

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
