"""Every known mistake of the equivalence suite: what it does to training, and which check catches it."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, mutated_source
from numpy_rnn.conformance.mutants.score import LEVELS, score
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.first_divergence import EQUATIONS
from numpy_rnn.conformance.traces.judge import Judgement, judge
from numpy_rnn.study.findings import to_jsonable
from numpy_rnn.study.setting import Setting
from numpy_rnn.study.training.disagreements import OVERLAP, disagreements
from numpy_rnn.study.training.learning_curves import (
    LearningCurve,
    by_k,
    draw_networks,
    learning_curve,
    quantiles,
)

JUDGED_EPOCHS = 2  # epochs: the second shows what is carried over from the first
MAX_UPDATES = 1000  # of a run that shows a mistake: there are many of them


class DemoRun(NamedTuple):
    """One run: what is other than in the configured one, and how its networks are drawn."""

    name: str
    changes: dict[str, Any]  # of the configuration
    bias: bool | None = None  # None: as configured
    dtype: str | None = None  # None: as configured
    together: bool = False  # the networks as one ensemble, and not one by one
    learned: bool = False  # whether h_0 is

    def configuration(self, setting: Setting) -> Configuration:
        """In full, but for at most so many updates."""
        changed = setting.configuration.changed(**self.changes)
        updates = -(-len(setting.x) // changed.k1)
        return changed.changed(epochs=min(changed.epochs, max(1, MAX_UPDATES // updates)))

    def networks(self, setting: Setting, number: int) -> list[Parameters]:
        """So many networks: one by one, or as one ensemble."""
        params = draw_networks(setting, number, self.bias, self.dtype)
        if self.learned and params.h_0 is None:
            params = params._replace(h_0=np.zeros((number, *setting.h_0.shape), params.W_hh.dtype))
        if self.together:
            return [params]
        return [Parameters(*(None if v is None else v[n] for v in params)) for n in range(number)]


def demo_runs(setting: Setting) -> tuple[DemoRun, ...]:
    """In the order in which they are tried."""
    steps, configuration = len(setting.x), setting.configuration
    sliding = {"k1": 1, "k2": min(OVERLAP, steps)}
    chunks = {"k1": min(3, steps), "k2": min(OVERLAP, steps)}
    momentum = {"momentum": 0.5, "dampening": 0.25, "nesterov": False, "weight_decay": 0.001, "max_norm": 0.5}
    rate = {"learning_rate": 0.2 * np.asarray(configuration.learning_rate).item()}
    return (
        DemoRun("as configured", {}),
        DemoRun("k1 = 1, k2 = {k2}, biases".format(**sliding), sliding, True),
        DemoRun(
            "float64, k1 = 1, k2 = {k2}, biases, max_norm".format(**sliding),
            sliding | {"max_norm": 0.5},
            True,
            "float64",
        ),
        DemoRun("k1 = {k1}, k2 = {k2}, mean".format(**chunks), chunks | {"reduction": "mean"}, True),
        DemoRun("k1 = {k1}, k2 = {k2}, sum".format(**chunks), chunks | {"reduction": "sum"}, True),
        DemoRun("relu, k1 = 1, k2 = {k2}".format(**sliding), sliding | rate | {"nonlinearity": "relu"}, True),
        DemoRun("momentum, dampening, decay, max_norm, learned h₀", sliding | rate | momentum, True, learned=True),
        DemoRun("nesterov", sliding | rate | {"momentum": 0.5, "dampening": 0.0, "nesterov": True}, True),
        DemoRun("an ensemble, max_norm", {"max_norm": 0.5}, together=True),
    )


def judge_demo_run(rnn: Any, demo: DemoRun, setting: Setting) -> Judgement:
    """The equivalence suite's verdict on the first epochs of such a run of `rnn`.

    Raises InputError when the run makes no update, so that there is nothing to judge.
    """
    configuration = demo.configuration(setting)
    configuration = configuration.changed(epochs=min(JUDGED_EPOCHS, max(1, configuration.epochs)))
    params = demo.networks(setting, 2 if demo.together else 1)[0]
    dtype = params.W_hh.dtype
    x, target, h_0 = (v.astype(dtype) for v in (setting.x, setting.target, setting.h_0))
    experiment = setting.experiment._replace(
        x=x, target=target, h_0=h_0 if params.h_0 is None else params.h_0, params=params
    )
    configuration = configuration.changed(learn_initial_state=params.h_0 is not None)
    with np.errstate(all="ignore"):
        trace = trace_of(rnn, experiment, configuration)
        if "epoch" not in trace:
            raise InputError(f"{rnn.__name__} has made no update: expected one to be judged")
        return judge(trace)


def compare_lines(mutant: Mutant) -> list[dict]:
    """One dict a place: "module", the "right" lines of numpy_rnn, and the "wrong" ones of the mutant."""
    folder = Path(numpy_rnn.__file__).parent
    result = []
    for module in dict.fromkeys(module for module, _, _ in mutant.changes):
        right = (folder / f"{module}.py").read_text(encoding="utf-8")
        wrong = mutated_source(mutant, module, right)
        lines = right.splitlines(), wrong.splitlines()
        for kind, *ends in SequenceMatcher(None, *lines, autojunk=False).get_opcodes():
            if kind != "equal":
                result.append({"module": f"{module}.py"} | _beside(*lines, *ends))
    return result


def _beside(right, wrong, start, stop, wrong_start, wrong_stop):
    """Both, less the indentation that they share; where lines are only added, the line before them is shown too."""
    if start == stop and start > 0:
        start, wrong_start = start - 1, wrong_start - 1
    sides = right[start:stop], wrong[wrong_start:wrong_stop]
    together = dedent("\n".join(sides[0] + sides[1])).split("\n")
    return {"right": "\n".join(together[: len(sides[0])]), "wrong": "\n".join(together[len(sides[0]) :])}


NETWORKS = 3  # the configured seed and the next ones
LEARNS = 2.0  # times the right run's final loss, at most
SAME = 1.01  # times, either way: what it does to the loss is not to be seen on a curve


def mistakes(setting: Setting, mutants: Iterable[Mutant] = MUTANTS) -> list[dict]:
    """One dict a mutant, in the suite's order."""
    tried = demo_runs(setting)

    @cache
    def right_curve(index):
        return _learning_curve(reference, tried[index], setting)

    result = []
    for mutant in mutants:
        about = {"name": mutant.name, "stage": mutant.stage, "lines": compare_lines(mutant)}
        index, check = _first_shown(mutant, tried, setting)
        if index is None:
            result.append(about | _by_case(mutant))
            continue
        right, wrong = right_curve(index), _learning_curve(load(mutant), tried[index], setting)
        result.append(about | {"shown_by": tried[index].name, "caught": check} | _compared(right, wrong))
    return result


def _first_shown(mutant, tried, setting):
    """The first run in which the suite catches the mutant, and its verdict."""
    for index, demo in enumerate(tried):
        try:
            first = judge_demo_run(load(mutant), demo, setting).first
        except ValueError:  # a mistake that this run's shapes do not admit, or that leaves no update of it
            continue
        if first is not None:
            return index, {
                "level": "L1, in lockstep",
                "tensor": first.tensor,
                "equation": first.equation,
                "epoch": first.epoch,
                "update": first.number,
                "ratio": to_jsonable(first.ratio),
            }
    return None, None


def _by_case(mutant: Mutant) -> dict:
    """What a run of one sequence does not show, a random case of the score board does."""
    level = LEVELS[mutant.level][0]
    of_case = score(mutant, level)
    caught = {
        "level": level,
        "tensor": of_case.tensor,
        "equation": EQUATIONS.get(of_case.tensor or "", "form"),
        "epoch": None,
        "update": None,
        "ratio": to_jsonable(of_case.factor),
    }
    return {"shown_by": None, "caught": caught, "right": None, "wrong": None, "ratio": None, "verdict": "not in a run"}


def _learning_curve(rnn, demo: DemoRun, setting: Setting) -> LearningCurve:
    courses = [learning_curve(rnn, of, setting, demo.configuration(setting)) for of in demo.networks(setting, NETWORKS)]
    losses = np.concatenate([one.losses.reshape(len(one.losses), -1) for one in courses], axis=-1)
    return LearningCurve(courses[0].epochs, losses, [])


def _compared(right: LearningCurve, wrong: LearningCurve) -> dict:
    """The median curves, and how the final losses compare."""
    medians = [quantiles(of.losses)[1] for of in (right, wrong)]
    with np.errstate(all="ignore"):
        ratios = wrong.losses[-1] / right.losses[-1]
    kept = ratios[np.isfinite(right.losses[-1]) & (right.losses[-1] > 0)]
    ratio = float(quantiles(kept)[1]) if kept.size else np.nan
    return {
        "right": {"epochs": right.epochs, "median": to_jsonable(medians[0])},
        "wrong": {"epochs": wrong.epochs, "median": to_jsonable(medians[1])},
        "ratio": to_jsonable(ratio),
        "verdict": verdict(ratio, medians[1][-1], medians[1][0]) if right.epochs != [0] else "not trained",
    }


def verdict(ratio: float, final: float, untrained: float) -> str:
    """What became of the median network. ratio: of its final loss to the right one's, in the median of the networks."""
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


def measure_training(setting: Setting, mutants: Iterable[Mutant] = MUTANTS) -> dict:
    """Loss curves by k, the disagreements, and the mistakes, as plain values for JSON."""
    result = mistakes(setting, mutants)
    return {
        "by_k": by_k(setting),
        "disagreements": disagreements(setting),
        "mistakes": result,
        "counts": counts_of(result),
        "limits": {"networks": NETWORKS, "learns": LEARNS, "same": SAME, "updates": MAX_UPDATES},
    }


def counts_of(mistakes: list[dict]) -> dict:
    """How many mistakes there are of every kind of outcome, under names for the page's text."""
    verdicts = [mistake["verdict"] for mistake in mistakes]
    good = ("the same", "lower loss", "learns")
    return {
        "all": len(verdicts),
        "in_a_run": len(verdicts) - verdicts.count("not in a run"),
        "learns": sum(verdict in good for verdict in verdicts),
        "same": verdicts.count("the same"),
        "caught": sum(mistake["caught"]["tensor"] is not None for mistake in mistakes),
        "by_case": verdicts.count("not in a run"),
        "less": verdicts.count("learns less"),
        "not": verdicts.count("does not learn"),
        "diverged": verdicts.count("diverged"),
    }
