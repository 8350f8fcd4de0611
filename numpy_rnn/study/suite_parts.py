"""The parts of the conformance suite that the study uses: its definition and arithmetics, mutants, verdicts on runs.

No other module of the study imports `numpy_rnn.conformance`.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import cache, partial
from math import isqrt
from textwrap import dedent
from typing import Any

import numpy as np

from numpy_rnn.common.records import Activations, Adjoints, Objective, Run, Update, WindowCase
from numpy_rnn.conformance.arithmetics.arithmetic import Arithmetic
from numpy_rnn.conformance.arithmetics.balls import Enclosure, oracle
from numpy_rnn.conformance.arithmetics.bounds import TAU, Bounds
from numpy_rnn.conformance.arithmetics.floats import (
    SMALL,
    TINY,
    Floats,
    cross_entropy,
    squared_error,
)
from numpy_rnn.conformance.arithmetics.nonlinearities import sech_squared
from numpy_rnn.conformance.arithmetics.rounding import Near
from numpy_rnn.conformance.case import initial_state, parameters_from, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    Recorded,
    train,
    update,
    window_update,
)
from numpy_rnn.conformance.mutants import catalogue
from numpy_rnn.conformance.mutants.catalogue import MUTANTS, Mutant, Stale, named
from numpy_rnn.conformance.mutants.score import levels, score
from numpy_rnn.conformance.traces.divergence import EQUATIONS
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.recorder import record
from numpy_rnn.conformance.window_checks import ratios
from numpy_rnn.study.findings import Caught

__all__ = ["MUTANTS", "Definition", "Mutant", "Recorded", "Stale", "cross_entropy", "initial_state", "named", "present",
           "ratios", "sech_squared", "squared_error", "window_update"]  # fmt: skip

Values = dict[str, np.ndarray]
FORWARD = DEFINITION._replace(backward=lambda n, w, p, nonlinearity, of: {})


# -- arithmetics ------------------------------------------------------------------------------------------------------


class Moved(Floats):
    """Floats or complex numbers, with something added to tensors at some steps. added: by name and step, from 1."""

    def __init__(self, added: dict[tuple[str, int], Any]):
        super().__init__(np.float64)
        self.added = added

    def see(self, name: str, t: int | None, value: Any) -> Any:
        return super().see(
            name, t, value + self.added[name, t] if t and (name, t) in self.added else value
        )

    def stack(self, values: Any) -> Any:
        return np.stack(np.broadcast_arrays(*values))

    def phi(
        self, a: Any, nonlinearity: str
    ) -> Any:  # the slope of relu at 0 is 0, whatever the imaginary part is
        return (
            np.where(a.real > 0, a, 0) if nonlinearity == "relu" else super().phi(a, nonlinearity)
        )


class Fractions(Floats):
    """Fractions, of a step. A root is rounded to a relative 2⁻³⁰⁰."""

    def __init__(self) -> None:
        super().__init__(np.float64)

    def given(self, array: Any) -> Any:
        return np.frompyfunc(Fraction, 1, 1)(array)

    def constant(self, number: float) -> Any:
        return Fraction(number)

    def rate(self, step: Any, theta: Any) -> Any:
        return Fraction(float(step.learning_rate))

    def norm(self, gradients: Any) -> Any:
        return root(sum(((g * g).sum() for g in gradients), Fraction()))

    def factor(self, norm: Any, max_norm: float) -> Any:
        return min(Fraction(1), Fraction(max_norm) / (norm + Fraction(SMALL)))

    def clip(self, g: Any, max_value: float) -> Any:
        return super().clip(g, Fraction(max_value))  # type: ignore[arg-type]

    def by_root(self, g: Any, squares: Any) -> Any:
        return g / np.frompyfunc(root, 1, 1)(squares + Fraction(TINY))


BITS = 300  # of a root, after its first


def root(number: Fraction) -> Fraction:
    """√number from below, to a relative 2⁻³⁰⁰."""
    if not number:
        return number
    shift = max(
        0, BITS + (number.denominator.bit_length() - number.numerator.bit_length()) // 2 + 1
    )
    return Fraction(isqrt((number.numerator << 2 * shift) // number.denominator), 1 << shift)


# -- values and bounds ------------------------------------------------------------------------------------------------


def rounding(reported: Values | None = None) -> Bounds:
    """The bounds of float64 around true values."""
    return Bounds(np.float64, TAU, reported, own=0.0)


def stage_bounds(case: WindowCase, hand: Values) -> Values:
    """The rounding error of each stage alone, given the values by hand that enter it (level L1)."""
    near = window_update(_without_step(case), rounding(hand))
    return {name: value.E for name, value in near.items()}


def enclosures(case: WindowCase) -> dict[str, Enclosure]:
    """Every tensor in ball arithmetic. Raises InputError without python-flint, and where the balls stay too wide."""
    return oracle(_without_step(case))


def _without_step(case: WindowCase) -> WindowCase:
    return case._replace(step=None)  # type: ignore[arg-type]


def bounds_of_losses(
    y: np.ndarray, E: np.ndarray, target: np.ndarray, objective: Objective
) -> list[tuple[Near, Near]]:
    """ℓ_t and dy_t of each step alone, with their bounds; y, off by E at most, and target: (K, B, O)."""
    n = rounding()
    steps = (slice(k, k + 1) for k in range(len(y)))
    return [
        n.loss_and_error(Near(y[k], E[k], n.rounding), n.given(target[k]), n.given(1.0), objective)
        for k in steps
    ]


def stages_of_step(n: Arithmetic[Any], case: WindowCase, gradients: Any) -> dict[str, list[Any]]:
    """Every stage of a step, given these gradients, in numbers of an arithmetic: arrays, one for each parameter."""
    p, d = (
        {name: n.given(v) for name, v in present(part).items()} for part in (case.params, gradients)
    )
    noted: dict[str, list[Any]] = {
        name: [] for name in ("clipped", "decayed", "velocity", "direction")
    }

    def noting(stage: str, *arguments: Any) -> Any:
        noted[stage].append(getattr(DEFINITION, stage)(*arguments))
        return noted[stage][-1]

    of = DEFINITION._replace(**{stage: partial(noting, stage) for stage in noted})
    theta = update(n, p, d, present(case.velocity), case.step, of)
    (clipped,), g, v, delta = noted.values()
    name = "clipped" if case.step.max_value is None else "by value"
    stages = {
        "norm": [n.norm([*d.values()])],
        name: [*clipped.values()],
        "g": g,
        "v": v,
        "delta": delta,
    }
    return {
        stage: parts for stage, parts in (stages | {"theta": [*theta.values()]}).items() if parts
    }


# -- programs ---------------------------------------------------------------------------------------------------------

Program = Callable[[Run], Iterator[Recorded]]  # a training loop


def trained(
    run: Run,
    of: Definition = DEFINITION,
    changed: Callable[[WindowCase], WindowCase] = lambda case: case,
):
    """The updates of a run by a definition. changed: what it makes of each window."""

    def compute(case: WindowCase) -> tuple[dict[str, Any], Any]:
        report = window_update(changed(case), of=of)
        return report, report["h"]

    return train(run, compute, of)


def updates(program: Program, run: Run) -> Iterator[Update]:
    """The updates of a run, as `numpy_rnn.train` yields them with `record=True`, but for the velocity."""
    for epoch, number, window, initial, report in program(run):
        h = np.concatenate((np.broadcast_to(initial, report["h"].shape[1:])[None], report["h"]))
        activations = Activations(run.x[window.start : window.stop], report["a"], h, report["y"])
        adjoints = Adjoints(*(report[name] for name in Adjoints._fields))
        params = parameters_from(report)
        gradients = parameters_from({name: report["d" + name] for name in present(params)})
        yield Update(
            epoch, number, window, report["loss"], gradients, params, None, activations, adjoints
        )


def judge_run(program: Program, run: Run) -> Caught | None:
    """The first tensor of a run that exceeds its bound in lockstep; None if none does.

    Raises ValueError on a run whose shapes a mutant does not admit.
    """
    with np.errstate(all="ignore"):
        first = judge(record(run, program(run))).first
    return first and Caught(first.tensor, first.equation)


def judge_case(mutant: Mutant) -> Caught:
    """The first tensor of a random case of the score board that exceeds its bound."""
    of = score(mutant, levels(mutant)[0], seed=1)
    return Caught(of.tensor, EQUATIONS.get(of.tensor or "", "form"))


# -- the lines of mutants ---------------------------------------------------------------------------------------------

MAX_LINES = 12  # of a correct function that is shown


def changes(mutant: Mutant) -> list[tuple[str, str]]:
    """Each function of the definition that a mutant replaces, and the wrong one, or the call that makes it."""
    result, entry = [], _entries()[mutant.name]
    for field, value in (
        (one.arg, one.value) for one in entry.keywords if one.arg in mutant.functions
    ):
        correct = _text(_parsed(getattr(DEFINITION, field)))
        if len(lines := correct.splitlines()) > MAX_LINES:
            correct = f"{lines[0]}\n    ..."
        if isinstance(value, ast.Lambda):
            wrong = _text(ast.FunctionDef(field, value.args, [ast.Return(value.body)], []))
        elif isinstance(value, ast.Call):
            wrong = f"{field} = {_text(value)}\n\n{_text(_parsed(getattr(catalogue, ast.unparse(value.func))))}"
        else:
            wrong = _text(_parsed(mutant.functions[field], field))
        result.append((correct, wrong))
    return result


@cache
def _entries() -> dict[str, Any]:
    """The calls of the catalogue that make its mutants, by their names."""
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(catalogue)))
        if isinstance(node, ast.Call)
    ]
    return {getattr(call.args[0], "value", ""): call for call in calls if call.args}


def _parsed(function: Any, name: str | None = None) -> Any:
    node: Any = ast.parse(dedent(inspect.getsource(function))).body[0]
    node.name = name or node.name
    return node


def _text(node: Any) -> str:
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef):
            one.returns = None
            one.body = one.body[ast.get_docstring(one) is not None :]
        elif isinstance(one, ast.arg):
            one.annotation = None
    return ast.unparse(ast.fix_missing_locations(node)).replace("'", '"')
