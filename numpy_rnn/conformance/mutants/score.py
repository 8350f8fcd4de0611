"""The score board: every mutant and the check that catches it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_rnn.conformance.case import INTERMEDIATES, format_errors
from numpy_rnn.conformance.definition import Definition, window_update
from numpy_rnn.conformance.mutants.catalogue import Mutant, trace
from numpy_rnn.conformance.random_cases import RandomDraw, random_recipe, random_run
from numpy_rnn.conformance.traces.divergence import EQUATIONS, TENSORS
from numpy_rnn.conformance.traces.drive import is_bounded
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.window_checks import check_global, check_local

MAX_CASES = 500
Violation = (
    tuple[str, float] | None
)  # the first tensor in causal order above its bound, and error / bound


class Score(NamedTuple):
    """The score of one mutant at one level."""

    mutant: Mutant
    level: str
    tensor: str | None  # the first in causal order that exceeds its bound; None: it survived
    cases: int  # the number of cases until then
    factor: float  # error / bound


def levels(mutant: Mutant) -> tuple[str, ...]:
    """The levels at which a mutant is visible: L1 and L2, or L3 if its mistake is in the training loop."""
    return ("L3",) if mutant.in_run else ("L1", "L2")


def score(mutant: Mutant, level: str, seed: int) -> Score:
    """Check a mutant on random cases, the same for all, until one exceeds a bound of this level."""
    for cases in range(1, MAX_CASES + 1):
        with np.errstate(all="ignore"):  # a wrong gradient may well overflow
            found = violation(level, mutant.definition, (seed, cases))
        if found is not None:
            return Score(mutant, level, found[0], cases, found[1])
    return Score(mutant, level, None, MAX_CASES, 0.0)


def violation(level: str, of: Definition, seed: tuple[int, ...]) -> Violation:
    """The violation of a bound by a definition, in the random case, or run at L3, of this seed."""
    if level == "L3":
        run = random_run(RandomDraw(*seed))
        return first_violation(judge(trace(of, run)).worst) if is_bounded(run) else None
    case = random_recipe(RandomDraw(*seed)).case()
    report = window_update(case, of=of)
    if faults := format_errors(case, report, True, True):  # a number that is not finite
        return faults[0].split("[")[0].split()[0], np.inf
    if level == "L1":
        return first_violation(check_local(case, report))
    black_box = {name: report[name] for name in report if name not in INTERMEDIATES}
    return first_violation(check_global(case, black_box))


def first_violation(ratios: Mapping[str, npt.ArrayLike]) -> Violation:
    """The first tensor in causal order above its bound, and error / bound."""
    for name in TENSORS:
        if name in ratios and not np.max(ratios[name], initial=0) <= 1:
            return name, float(np.max(ratios[name]))
    return None


def text(scores: list[Score]) -> str:
    """The board, a line per mutant and level, and the number of survivors."""
    lines = [f"{'mutant':46} level  caught at       cases  error / bound"]
    for mutant, level, tensor, cases, factor in scores:
        caught = "SURVIVED" if tensor is None else f"{tensor} ({EQUATIONS.get(tensor, 'form')})"
        is_there = tensor is None or EQUATIONS.get(tensor) == EQUATIONS[mutant.stage]
        remark = "" if is_there else f"  (the mistake is in {mutant.stage})"
        lines.append(f"{mutant.name:46} {level:5}  {caught:17} {cases:4}  {factor:9.1e}{remark}")
    survived = sum(score.tensor is None for score in scores)
    lines.append(
        f"{len({s.mutant.name for s in scores})} mutants, {len(scores)} trials, {survived} survived"
    )
    return "\n".join(lines)
