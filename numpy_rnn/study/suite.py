"""The parts of the equivalence suite that the study uses: bounds, ball arithmetic, mutants, and verdicts on runs.

No other module of the study imports `numpy_rnn.conformance`.
"""

import ast
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.records import Run, SgdOptions, Step, WindowCase
from numpy_rnn.conformance.bounds import loss_bounds
from numpy_rnn.conformance.bounds.global_bounds import TAU, sech_squared
from numpy_rnn.conformance.bounds.local_bounds import ratios, stages
from numpy_rnn.conformance.bounds.oracle import Enclosure, oracle
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.bounds.step import Step as StepBounds
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, load, mutated_source, named
from numpy_rnn.conformance.mutants.score import LEVELS, score
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.first_divergence import EQUATIONS
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.study.findings import Caught, ChangedLines

__all__ = ["MUTANTS", "Enclosure", "Mutant", "Values", "named", "ratios", "sech_squared"]

Values = dict[str, np.ndarray]
ROUNDING = Rounding(np.float64)


# -- bounds -----------------------------------------------------------------------------------------------------------


def stage_bounds(case: WindowCase, hand: Values) -> Values:
    """The rounding error of each stage alone, given the values by hand that enter it (level L1)."""
    return {name: limit for name, (_, limit) in stages(_case(_with_plain_step(case)), hand, TAU).items()}


def enclosures(case: WindowCase) -> dict[str, Enclosure]:
    """Every tensor in ball arithmetic. Raises InputError without python-flint, and where the balls stay too wide."""
    return oracle(_case(_with_plain_step(case)))


def step_bounds(case: WindowCase, gradients: np.ndarray) -> Values:
    """The rounding error of every stage of a step, given these gradients; all parameters are one row."""

    def settled(velocity):
        return velocity

    of = StepBounds(_case(case), ROUNDING)
    plain = StepBounds(_case(case)._replace(sgd=SgdOptions(weight_decay=case.step.weight_decay)), ROUNDING)
    given = of.given(gradients)
    clipped = of.clipped(given)
    delta, velocity = of.direction(clipped, settled)
    E = {"norm": of.norm(given).E[0], "clipped": clipped.E, "delta": delta.E}
    E["g"] = plain.direction(clipped, settled)[0].E
    if velocity is not None:
        E["v"] = velocity.E
    updated = of.updated(given, settled)
    return E | {"theta": of.row(updated[name].E for name in of.names)}


def softmax_bounds(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rounding error of softmax(y), log softmax(y), and its rounding error."""
    of = loss_bounds.softmax(y, np.zeros_like(y), ROUNDING, TAU)
    return of.E_p, of.log_p, of.E_log_p


def _with_plain_step(case: WindowCase) -> WindowCase:
    """The window alone: its step needs no velocity."""
    return case._replace(step=Step(case.step.learning_rate))


def _case(case: WindowCase) -> Case:
    """The suite's record of a window."""
    h_0: Any = case.params.h_0 if case.h_0 is None else case.h_0
    sgd = SgdOptions(**{name: getattr(case.step, name) for name in SgdOptions._fields})
    objective = case.objective
    return Case(case.params, case.x, case.target, h_0, case.step.learning_rate, objective.nonlinearity,
                objective.reduction, sgd, case.velocity, objective.loss, case.weights)  # fmt: skip


# -- mutants ----------------------------------------------------------------------------------------------------------


def mutant(name: str) -> ModuleType:
    """A mutant as a package with the functions of numpy_rnn."""
    return load(named(name))


def judge_run(rnn: Any, run: Run) -> Caught | None:
    """The first tensor of a run of `rnn` that exceeds its bound in lockstep; None if none does.

    Raises ValueError on a run whose shapes the mutant does not admit, and on one without an update.
    """
    options = run.options
    configuration = Configuration(
        **options.schedule._asdict(),
        **options.objective._asdict(),
        **options.step._asdict(),
        learn_initial_state=run.params.h_0 is not None,
    )
    h_0: Any = run.params.h_0 if run.h_0 is None else run.h_0
    with np.errstate(all="ignore"):
        trace = trace_of(rnn, Experiment("", run.x, run.target, h_0, run.params), configuration)
        if "epoch" not in trace:
            raise ValueError(f"{rnn.__name__} has made no update: expected one to be judged")
        first = judge(trace).first
    if first is None:
        return None
    return Caught(first.tensor, first.equation, first.ratio, first.epoch, first.number)


def judge_case(mutant: Mutant) -> Caught:
    """The first tensor of a random case of the score board that exceeds its bound."""
    of = score(mutant, LEVELS[mutant.level][0])
    return Caught(of.tensor, EQUATIONS.get(of.tensor or "", "form"), of.factor)


def changed_lines(mutant: Mutant) -> list[ChangedLines]:
    """The lines of numpy_rnn that the mutant changes, place by place, and its own."""
    result = []
    for module in dict.fromkeys(module for module, _, _ in mutant.changes):
        right = _source(module)
        lines = right.splitlines(), mutated_source(mutant, module, right).splitlines()
        for kind, *ends in SequenceMatcher(None, *lines, autojunk=False).get_opcodes():
            if kind != "equal":
                result.append(ChangedLines(f"{module}.py", *_dedented(*lines, *ends)))
    return result


def _dedented(right, wrong, start, stop, wrong_start, wrong_stop):
    """Both, less the indentation that they share; where lines are only added, the line before them is shown too."""
    if start == stop and start > 0:
        start, wrong_start = start - 1, wrong_start - 1
    sides = right[start:stop], wrong[wrong_start:wrong_stop]
    together = dedent("\n".join(sides[0] + sides[1])).split("\n")
    return "\n".join(together[: len(sides[0])]), "\n".join(together[len(sides[0]) :])


def wrong_functions(mutant: Mutant) -> list[str]:
    """The functions of a mutant that have a wrong line, with the names of their arguments and without docstrings."""
    result: dict[str, None] = {}
    for module, _, wrong in mutant.changes:
        source = mutated_source(mutant, module, _source(module))
        line = source[: source.index(wrong)].count("\n") + 1
        functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
        around = [node for node in functions if node.lineno <= line <= (node.end_lineno or 0)]
        if around:
            function = max(around, key=lambda node: node.lineno)
            body = function.body[ast.get_docstring(function) is not None :]
            arguments = ", ".join(argument.arg for argument in function.args.args)
            lines = source.splitlines()[body[0].lineno - 1 : function.end_lineno]
            result["\n".join([f"def {function.name}({arguments}):", *lines])] = None
    return list(result)


@cache
def _source(module: str) -> str:
    return Path(numpy_rnn.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
