"""Fits: a case and its report, and the number with which a mistake gives that report.

A mistake explains reports if it gives every number that is wrong, in every case, up to
rounding. Its own number, such as a factor, is solved for in each case; then it is one
number, or one product of sizes, in all of them.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise, product
from math import prod
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, tree_map
from numpy_rnn.common.texts import join_names
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import Operand
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import FIELDS, NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import (
    Definition,
    apply_step,
    window_update,
)
from numpy_rnn.conformance.mutants.edits import RECORD

MAX_RESIDUAL = 1e-10  # the part of the numbers that a mistake may leave, in float64
# units in the last place of the largest number, by which right tensors may differ
ROUNDING = 200.0
CLEAR_DEVIATION = 30.0  # of a wrong tensor, in units of what right ones may differ
ITERATIONS = 12  # of the solver
LEAST_GAIN = 0.9  # what an iteration leaves at most of the difference
MOST_LEFT = 0.95  # by a linear prediction
CONVERGED = 1e-3  # of what is wrong
SIZE_LETTERS = "KBOTH"  # sizes by which a wrong reduction multiplies
# Products of up to three of them, as their powers; the simplest first.
POWERS = sorted(
    (
        powers
        for powers in product((1, -1, 0), repeat=5)
        if 0 < np.abs(powers).sum() < 4
    ),
    key=lambda powers: (np.abs(powers).sum(), powers),
)
# The words for all tensors of a kind, and for some of them.
SUBJECTS = {
    "d": ("gradients", "{}"),
    "v": ("velocities", "{}"),
    "": ("step", "step of {}"),
}


class Edited(NumpyArithmetic):
    """Arrays that are changed when they are recorded, by a change among the equations
    of a mistake.
    """

    def __init__(self, case: WindowCase, equations: dict[str, Any]):
        """Take the change of recorded arrays from the equations."""
        super().__init__(np.float64)
        self.steps, self.params = len(case.x), case.params
        self.change = equations.get(RECORD)

    def record(self, name: str, t: int | None, value: Operand) -> Operand:
        """Record a tensor, changed, and return it."""
        if self.change is not None:
            value = self.change(self, name, t, value)
        return super().record(name, t, value)


def definition_of(equations: dict[str, Any]) -> Definition:
    """Return the definition with the equations of a mistake."""
    return Definition(**{n: each for n, each in equations.items() if n != RECORD})


class Fit:
    """A case and its report, and the right values of the same tensors, all in float64.

    index: that of the update in its run.
    """

    def __init__(self, case: WindowCase, report: NamedArrays, index: int = -1):
        """Compute the right values of a case and of its step."""
        self.index, self.step, rows = index, case.step, cases.with_rows(case)
        arrays = rows._replace(h_0=cases.initial_state_of(case), step=None)  # type: ignore[arg-type]
        changed = {}
        for name in ("params", "velocity", "x", "target", "h_0"):
            value = getattr(arrays, name)
            changed[name] = tree_map(lambda array: array.astype(np.float64), value)
        self.case = arrays._replace(**changed)
        self.report = NamedArrays()
        for name, array in report.items():
            self.report[name] = np.asarray(array, np.float64)
        step = NamedArrays()
        with np.errstate(all="ignore"):
            self.right = window_update(self.case)
            if self.step is not None:
                step = self.step_of({})
        self.right.update(step)  # from the reported gradients
        known = self.report.keys() & self.right.keys()
        self.stepped, self.flow = step.keys() & known, known - step.keys()
        self.eps, terms = np.finfo(case.dtype).eps, len(rows.x) * self.case.h_0.size
        self.unit = ROUNDING * self.eps * max(1.0, (terms / 100) ** 0.5)
        self.wrong = set[str]()
        for name in known:
            if self.is_off(name, self.report):
                self.wrong.add(name)

    def window_of(self, equations: dict[str, Any]) -> NamedArrays:
        """Return the window by other equations."""
        n, of = Edited(self.case, equations), definition_of(equations)
        return window_update(self.case, n, of)

    def step_of(self, equations: dict[str, Any]) -> NamedArrays:
        """Return the velocities and parameters after a step by other equations, with
        the reported gradients.
        """
        n, of = Edited(self.case, equations), definition_of(equations)
        p = present(self.case.params)
        d = {name: self.report["d" + name] for name in p}
        apply_step(n, p, d, present(self.case.velocity), self.step, of)
        return n.report()

    def explains(self, values: NamedArrays, names: Iterable[str]) -> bool:
        """Return whether these are the reported numbers of these tensors."""
        for name in names:
            own, value = self.report[name], values[name]
            if np.shape(value) != np.shape(own) or not np.isfinite(value).all():
                return False  # what is not finite would allow anything
            if largest(value - own) > self.allowed(name, value):
                return False
        return True

    def is_off(self, name: str, values: NamedArrays) -> bool:
        """Return whether a tensor is not the right one."""
        value, right = values[name], self.right[name]
        size = max(largest(value), largest(right))
        return largest(value - right) > CLEAR_DEVIATION * self.unit * size

    def allowed(self, name: str, value: NumpyArray) -> float:
        """Return the difference between reported numbers and those of a mistake that
        explains them.
        """
        size, wrong = largest(self.report[name]), self.difference(name)
        rounding = self.unit * max(size, largest(value))
        rounding += self.unit / 50 * largest(self.right[name])
        return max(MAX_RESIDUAL * min(size, wrong), rounding)

    def difference(self, name: str) -> float:
        """Return by how much a reported tensor is off."""
        return largest(self.report[name] - self.right[name])

    def vector(self, values: NamedArrays, names: Sequence[str]) -> NumpyArray:
        """Return tensors as one vector, in units of what they are off."""
        parts = [np.ravel(values[name] / self.difference(name)) for name in names]
        return np.concatenate(parts)

    def solve(
        self,
        values: Callable[["Fit", float], NamedArrays],
        number: float,
        names: Sequence[str],
    ) -> tuple[float, float] | None:
        """Return the number for which a mistake comes nearest to the wrong tensors, and
        its error, by the secant method from a first number; or None.
        """
        names = [name for name in names if name in self.wrong]
        own, left, change, error = self.vector(self.report, names), np.inf, 0.0, np.inf
        off = [largest(self.report[name]) / self.difference(name) for name in names]
        rounding = self.unit / 50 * max(off) * len(own) ** 0.5
        for _ in range(ITERATIONS):
            tried = number + change
            value = self.vector(values(self, tried), names)
            rest = own - value
            size = float(np.linalg.norm(rest))
            if not size <= LEAST_GAIN * left:
                break
            number, left = tried, size
            near = 1e-6 * max(abs(number), 1e-2)
            moved = self.vector(values(self, number + near), names)
            slope = (moved - value) / near
            square = float(slope @ slope)
            if square == 0:
                return None
            change, error = float(slope @ rest) / square, rounding / square**0.5
            remains = float(np.linalg.norm(rest - change * slope))
            if size > CONVERGED and remains > MOST_LEFT * size:
                return None
        return number, error


def largest(array: NumpyArray) -> float:
    """Return the largest absolute value."""
    return float(np.abs(array).max(initial=0))


class Hypothesis(NamedTuple):
    """What a report may come from."""

    plain: str  # words for the number `at`, or for a mistake without a number
    values: Callable[[Fit, float], NamedArrays]
    at: float = 0.0
    words: str = ""  # with {number}; {names} are the tensors that are wrong
    start: float | Callable[[Fit], float] = 1.0
    is_forward: bool = False  # then gradients may be those of autograd

    def explains(
        self, fits: Sequence[Fit], numbers: Sequence[float], wrong: Iterable[str]
    ) -> bool:
        """Return whether it gives these tensors of every fit with its number."""
        for fit, number in zip(fits, numbers):
            if not fit.explains(self.values(fit, number), wrong):
                return False
        return True


class Measured(NamedTuple):
    """A number that was solved for, and its error."""

    fit: Fit
    number: float
    error: float

    def is_near(self, other: float, rtol: float) -> bool:
        """Return whether another number is the same up to the error."""
        return abs(self.number - other) <= self.error + rtol * abs(other)


def same_number(
    fits: Sequence[Fit], measured: Sequence[Measured], rtol: float
) -> tuple[str, list[float]]:
    """Return the number that all of these are, in words and for every fit, or ""."""
    best = min(measured, key=lambda each: each.error)
    share = 4 * best.error / abs(best.number)
    if best.is_near(1.0, rtol) or not 0 < share < 1:
        return "", []
    if not all(each.is_near(best.number, rtol) for each in measured):
        return "", []
    digits = min(6, -int(np.log10(share)))
    return format(best.number, f".{digits}g"), [best.number] * len(fits)


def same_product(
    fits: Sequence[Fit], measured: Sequence[Measured], rtol: float
) -> tuple[str, list[float]]:
    """Return the product of sizes that all of these are, in words and for every fit, or
    "".
    """
    tables = [products(fit) for fit in fits]
    own = [products(each.fit) for each in measured]
    for text in tables[0]:
        is_one = all(np.isclose(table[text], 1.0) for table in own)
        near = (each.is_near(t[text], rtol) for each, t in zip(measured, own))
        if not is_one and all(near):
            return text, [table[text] for table in tables]
    return "", []


def falling_numbers(
    fits: Sequence[Fit], measured: Sequence[Measured], rtol: float
) -> tuple[str, list[float]]:
    """Return the first and the last of numbers that fall from update to update from 1,
    in words, and the number of every fit, or "".
    """
    known = {each.fit.index: each.number for each in measured}
    over_time = [known.get(i, 1.0) for i in sorted(fit.index for fit in fits)]
    falls = all(later <= (1 + rtol) * number for number, later in pairwise(over_time))
    if not falls or fits[0].index < 0:
        return "", []
    numbers = [known.get(fit.index, 1.0) for fit in fits]
    return f"{over_time[0]:.3g} to {over_time[-1]:.3g}", numbers


def products(fit: Fit) -> dict[str, float]:
    """Return usual factors, and products of up to three sizes, by their text; the
    simplest first.
    """
    sizes = cases.case_sizes(fit.case)
    known = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "1/ln 2": 1 / np.log(2)}
    known["η"] = np.nan if fit.step is None else float(fit.step.learning_rate)
    for number, times in (("", 1.0), ("2", 2.0), ("½", 0.5)):
        for powers in POWERS:
            above = [n for n, power in zip(SIZE_LETTERS, powers) if power == 1]
            below = [n for n, power in zip(SIZE_LETTERS, powers) if power == -1]
            text = "·".join([number] * bool(number) + above) or "1"
            if below:
                text += f"/({'·'.join(below)})" if len(below) > 1 else f"/{below[0]}"
            product_above = prod(sizes[n] for n in above)
            known[text] = times * product_above / prod(sizes[n] for n in below)
    for letters in ("B", "K", "KB", "KBO"):  # as of a sample variance
        n = prod(sizes[letter] for letter in letters)
        text = "·".join(letters)
        known[f"{text}/({text} − 1)"] = n / (n - 1) if n > 1 else np.nan
    return known


def subject(fits: Sequence[Fit], wrong: Iterable[str]) -> str:
    """Return the tensors that are wrong in words: of all of a kind, their kind."""
    texts = []
    wrong = {*wrong}
    for prefix, (every, some) in SUBJECTS.items():
        members = [prefix + name for name in FIELDS if prefix + name in fits[0].report]
        own = [name for name in members if name in wrong]
        if own:
            texts.append(every if own == members else some.format(", ".join(own)))
        wrong -= {*own}
    return join_names([*texts, *sorted(wrong)])
