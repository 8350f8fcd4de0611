"""The parts of the conformance suite that the study uses: bounds, ball arithmetic, mutants, and verdicts on runs.

No other module of the study imports `numpy_rnn.conformance`.
"""

import ast
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Activations, Adjoints, Run, Update, WindowCase
from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.bounds import loss_bounds
from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios, stages
from numpy_rnn.conformance.bounds.oracle import Enclosure, oracle
from numpy_rnn.conformance.bounds.rounding import Rounding, sech_squared
from numpy_rnn.conformance.bounds.step import StepBounds
from numpy_rnn.conformance.case import initial_state, parameters_from, present
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, SOURCE, Mutant, load, named, trace
from numpy_rnn.conformance.mutants.score import levels, score
from numpy_rnn.conformance.plain_rnn import Recorded
from numpy_rnn.conformance.traces.divergence import EQUATIONS
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.study.findings import Caught

__all__ = ["MUTANTS", "Mutant", "Recorded", "Values", "initial_state", "named", "plain_rnn", "present",
           "ratios", "sech_squared"]  # fmt: skip

Values = dict[str, np.ndarray]
Report = dict[str, Any]
ROUNDING = Rounding(np.float64)


# -- bounds -----------------------------------------------------------------------------------------------------------


def stage_bounds(case: WindowCase, hand: Values) -> Values:
    """The rounding error of each stage alone, given the values by hand that enter it (level L1)."""
    return {name: limit for name, (_, limit) in stages(_without_step(case), hand, TAU).items()}


def enclosures(case: WindowCase) -> dict[str, Enclosure]:
    """Every tensor in ball arithmetic. Raises InputError without python-flint, and where the balls stay too wide."""
    return oracle(_without_step(case))


def step_bounds(case: WindowCase, gradients: np.ndarray) -> Values:
    """The rounding error of every stage of a step, given these gradients; all parameters are one row."""
    of = StepBounds(case, ROUNDING)
    given = of.given(gradients)
    g = of.decayed(given)
    velocity = of.velocity(g)
    updated = of.updated(given, velocity)
    E = {"norm": of.norm(given).E[0], "clipped": of.clipped(given).E, "g": g.E, "delta": of.direction(g, velocity).E}
    return E | ({} if velocity is None else {"v": velocity.E}) | {"theta": of.row(updated[n].E for n in of.names)}


def softmax_bounds(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rounding error of softmax(y), log softmax(y), and its rounding error."""
    of = loss_bounds.softmax(y, np.zeros_like(y), ROUNDING, TAU.relative)
    return of.E_p, of.log_p, of.E_log_p


def _without_step(case: WindowCase) -> WindowCase:
    return case._replace(step=None)  # type: ignore[arg-type]


# -- programs ---------------------------------------------------------------------------------------------------------


class Program(NamedTuple):
    """A training loop and its window: `plain_rnn`, a mutant of it, or another program."""

    train: Callable[[Run, Callable[[WindowCase], tuple[Report, Any]]], Iterator[Recorded]]
    window_update: Callable[[WindowCase], Report]  # all tensors of a window and its step, by their names in a report


def mutant(name: str) -> ModuleType:
    """The mutant of this name, a module that is used as a program."""
    return load(named(name))


def updates(program: Program | ModuleType, run: Run) -> Iterator[Update]:
    """The updates of a run, as `numpy_rnn.train` yields them with `record=True`, but for the velocity."""

    def compute(case):
        report = program.window_update(case)
        return report, report["h"]

    for epoch, number, window, initial, report in program.train(run, compute):
        h = np.concatenate((np.broadcast_to(initial, report["h"].shape[1:])[None], report["h"]))
        activations = Activations(run.x[window.start : window.stop], report["a"], h, report["y"])
        adjoints = Adjoints(*(report[name] for name in Adjoints._fields))
        params = parameters_from(report)
        gradients = parameters_from({name: report["d" + name] for name in present(params)})
        yield Update(epoch, number, window, report["loss"], gradients, params, None, activations, adjoints)


def judge_run(program: Program | ModuleType, run: Run) -> Caught | None:
    """The first tensor of a run that exceeds its bound in lockstep; None if none does.

    Raises ValueError on a run whose shapes a mutant does not admit.
    """
    with np.errstate(all="ignore"):
        first = judge(trace(program, run)).first  # type: ignore[arg-type]
    if first is None:
        return None
    return Caught(first.tensor, first.equation)


def judge_case(mutant: Mutant) -> Caught:
    """The first tensor of a random case of the score board that exceeds its bound."""
    of = score(mutant, levels(mutant)[0], seed=1)
    return Caught(of.tensor, EQUATIONS.get(of.tensor or "", "form"))


MAX_LINES = 16  # of a function that is shown whole
AROUND = 6, 4  # lines before and after the wrong ones of a longer function


def wrong_functions(mutant: Mutant) -> list[str]:
    """The functions of a mutant that have a wrong line, or the part around it of a long one.

    Docstrings, types of arguments and the ids of equations are left out.
    """
    right, source, result = SOURCE.read_text(encoding="utf-8").splitlines(), mutant.source(), []
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef):
            continue
        first = function.body[ast.get_docstring(function) is not None]
        lines = source.splitlines()[first.lineno - 1 : function.end_lineno]
        wrong = [number for number, line in enumerate(lines) if line not in right]
        if wrong and len(lines) > MAX_LINES:
            start, stop = max(0, wrong[0] - AROUND[0]), wrong[-1] + AROUND[1]
            lines = ["    ..."] * (start > 0) + lines[start:stop] + ["    ..."] * (stop < len(lines))
        head = f"def {function.name}({', '.join(argument.arg for argument in function.args.args)}):"
        result += [re.sub(r"  # \(.*", "", "\n".join([head, *lines]))] if wrong else []
    return result
