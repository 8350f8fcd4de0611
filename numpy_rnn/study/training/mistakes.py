"""Every known mistake of the equivalence suite: what it does to training, and which check catches it."""

from collections.abc import Iterable
from functools import cache

import numpy as np

from numpy_rnn import reference
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load
from numpy_rnn.conformance.mutants.score import LEVELS, score
from numpy_rnn.conformance.traces.first_divergence import EQUATIONS
from numpy_rnn.study.setting import Setting
from numpy_rnn.study.training.courses import Course, course, plain, plain_number, quantiles
from numpy_rnn.study.training.shown_by import Shown, runs, short_judgement
from numpy_rnn.study.training.wrong_lines import wrong_lines

NETWORKS = 3  # the configured seed and the next ones
LEARNS = 2.0  # times the right run's final loss, at most
SAME = 1.01  # times, either way: what it does to the loss is not to be seen on a curve


def mistakes(setting: Setting, mutants: Iterable[Mutant] = MUTANTS) -> list[dict]:
    """One dict a mutant, in the suite's order."""
    tried = runs(setting)

    @cache
    def right_course(index):
        return _course(reference, tried[index], setting)

    found = []
    for mutant in mutants:
        about = {"name": mutant.name, "stage": mutant.stage, "lines": wrong_lines(mutant)}
        index, check = _first_shown(mutant, tried, setting)
        if index is None:
            found.append(about | _by_case(mutant))
            continue
        right, wrong = right_course(index), _course(load(mutant), tried[index], setting)
        found.append(about | {"shown_by": tried[index].name, "caught": check} | _compared(right, wrong))
    return found


def _first_shown(mutant, tried, setting):
    """The first run in which the suite catches the mutant, and what it says."""
    for index, shown in enumerate(tried):
        try:
            first = short_judgement(load(mutant), shown, setting).first
        except ValueError:  # a mistake that this run's shapes do not admit, or that leaves no update of it
            continue
        if first is not None:
            return index, {
                "level": "L1, in lockstep",
                "tensor": first.tensor,
                "equation": first.equation,
                "epoch": first.epoch,
                "update": first.number,
                "ratio": plain_number(first.ratio),
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
        "ratio": plain_number(of_case.factor),
    }
    return {"shown_by": None, "caught": caught, "right": None, "wrong": None, "ratio": None, "verdict": "not in a run"}


def _course(rnn, shown: Shown, setting: Setting) -> Course:
    courses = [course(rnn, of, setting, shown.configuration(setting)) for of in shown.networks(setting, NETWORKS)]
    losses = np.concatenate([one.losses.reshape(len(one.losses), -1) for one in courses], axis=-1)
    return Course(courses[0].epochs, losses, [])


def _compared(right: Course, wrong: Course) -> dict:
    """The median curves, and how the final losses compare."""
    medians = [quantiles(of.losses)[1] for of in (right, wrong)]
    with np.errstate(all="ignore"):
        ratios = wrong.losses[-1] / right.losses[-1]
    kept = ratios[np.isfinite(right.losses[-1]) & (right.losses[-1] > 0)]
    ratio = float(quantiles(kept)[1]) if kept.size else np.nan
    return {
        "right": {"epochs": right.epochs, "median": plain(medians[0])},
        "wrong": {"epochs": wrong.epochs, "median": plain(medians[1])},
        "ratio": plain_number(ratio),
        "verdict": verdict(ratio, medians[1][-1], medians[1][0]) if right.epochs != [0] else "not trained",
    }


def verdict(ratio: float, final: float, untrained: float) -> str:
    """What became of the median network. ratio: of its final loss to the right one's, in the median of the networks."""
    if np.isnan(ratio):
        return "the right run diverged"
    if not np.isfinite(final):
        return "diverged"
    if 1 / SAME <= ratio <= SAME:
        return "the same"
    if ratio < 1:
        return "lower loss"
    if ratio <= LEARNS:
        return "learns"
    return "learns less" if final < untrained / LEARNS else "does not learn"
