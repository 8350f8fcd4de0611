"""Fits: a case and its report, and the number with which a mutant gives that report.

A mutant explains reports if it gives every number that is wrong, in every case, up to
rounding. Its number, such as a factor, is measured in each case; then it is one number,
or one product of sizes, in all of them.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step, tree_map
from numpy_rnn.common.texts import join_names
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import Operand
from numpy_rnn.conformance.arithmetics.numpy_arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import FIELDS, NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    apply_step,
    window_update,
)
from numpy_rnn.conformance.mutants.edits import (
    CASE,
    RECORD,
    STEP_FIELDS,
    Equations,
    Mutant,
    Replacement,
)

MAX_RESIDUAL = 1e-10  # the part of the numbers that a mutant may leave, in float64
# units in the last place of the largest number, by which right tensors may differ
ROUNDING = 200.0
CLEAR_DEVIATION = 30.0  # of a wrong tensor, in units of what right ones may differ
ITERATIONS = 12  # of the solver
MOST_LEFT = 0.95  # of the difference, by a linear prediction
FACTORS = "2KBOTH"  # 2, and sizes by which a wrong reduction multiplies
# Products of up to four of them, as their powers; the simplest first.
POWERS = sorted(
    (
        powers
        for powers in product((1, -1, 0), repeat=len(FACTORS))
        if 0 < np.abs(powers).sum() < 5
    ),
    key=lambda powers: (np.abs(powers).sum(), powers),
)
# The words for all tensors of a kind, by the prefix of their names.
KINDS = {"d": "gradients", "v": "velocities", "": "parameters"}
RIGHT_STEP: Equations = {"updated": DEFINITION.updated}


class Edited(NumpyArithmetic):
    """Arrays of a fit, which are changed when they are recorded."""

    def __init__(self, fit: "Fit", change: Replacement | None):
        """Take the change of recorded arrays."""
        super().__init__(np.float64)
        self.fit, self.change = fit, change

    def record(self, name: str, t: int | None, value: Operand) -> Operand:
        """Record a tensor, changed, and return it."""
        if self.change is not None:
            value = self.change(self, name, t, value)
        return super().record(name, t, value)


class Fit:
    """A case and its report, and the right values of the same tensors, all in float64.

    index: that of the update in its run.
    """

    def __init__(self, case: WindowCase, report: NamedArrays, index: int = -1):
        """Compute the right values of a case and of its step."""
        self.index, arrays = index, cases.with_rows(case)
        self.step: Step | None = case.step
        self.case = arrays._replace(h_0=cases.initial_state_of(case), step=None)
        for name in ("params", "velocity", "x", "target", "h_0"):
            value = tree_map(np.float64, getattr(self.case, name))
            self.case = self.case._replace(**{name: value})
        self.report, step = NamedArrays(), NamedArrays()
        for name, array in report.items():
            self.report[name] = np.asarray(array, np.float64)
        with np.errstate(all="ignore"):
            self.right = window_update(self.case)
            if self.step is not None:
                step = self.values(RIGHT_STEP)
        known = self.report.keys() & (self.right | step).keys()
        self.right.update(step)
        self.flow = known - step.keys()
        self.eps, terms = np.finfo(case.dtype).eps, len(case.x) * self.case.h_0.size
        self.unit = ROUNDING * self.eps * max(1.0, (terms / 100) ** 0.5)
        self.wrong = {name for name in known if self.is_off(name, self.report)}

    def values(self, equations: Equations) -> NamedArrays:
        """Return the tensors of the window by other equations; those of the step, with
        the reported gradients, if the equations are of the step.
        """
        n, change = Edited(self, equations.get(RECORD)), equations.get(CASE)
        others = equations.keys() - {RECORD, CASE}
        of = Definition(**{name: equations[name] for name in others})
        if self.step is not None and others & STEP_FIELDS:
            p = present(self.case.params)
            d = {name: self.report["d" + name] for name in p}
            apply_step(n, p, d, present(self.case.velocity), self.step, of)
            return n.report()
        case = change(self) if change else self.case
        return self.report if case is None else window_update(case, n, of)

    def explains(self, values: NamedArrays, names: Iterable[str]) -> bool:
        """Return whether these are the reported numbers of these tensors."""
        for name in names:
            if name not in values:
                return False  # as velocities without momentum
            reported, value = self.report[name], values[name]
            if np.shape(value) != np.shape(reported) or not np.isfinite(value).all():
                return False  # what is not finite would allow anything
            if largest(value - reported) > self.allowed(name, value):
                return False
        return True

    def is_off(self, name: str, values: NamedArrays) -> bool:
        """Return whether a tensor is not the right one."""
        value, right = values[name], self.right[name]
        size = max(largest(value), largest(right))
        return largest(value - right) > CLEAR_DEVIATION * self.unit * size

    def allowed(self, name: str, value: NumpyArray) -> float:
        """Return the difference between reported numbers and those of a mutant that
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
        """Return tensors as one vector, in units of what they are off. Where there is
        none, it is the right one.
        """
        every = self.right | values
        parts = [np.ravel(every[name] / self.difference(name)) for name in names]
        return np.concatenate(parts)

    def measure(self, mutant: Mutant, names: Sequence[str]) -> "Measured | None":
        """Return the number for which a mutant comes nearest to the wrong tensors, and
        its error, by the secant method; None if no number does.
        """

        def values(number: float) -> NumpyArray:
            """Return the tensors of the mutant as a vector."""
            return self.vector(self.values(mutant.with_number(number)), names)

        reported, number = self.vector(self.report, names), mutant.start
        off = [largest(self.report[name]) / self.difference(name) for name in names]
        rounding = self.unit / 50 * max(off) * len(reported) ** 0.5
        for _ in range(ITERATIONS):
            value = values(number)
            near = 1e-6 * max(abs(number), 1e-2)
            slope = (values(number + near) - value) / near
            square, rest = float(slope @ slope), reported - value
            if not 0 < square < np.inf:
                return None
            change, error = float(slope @ rest) / square, rounding / square**0.5
            number += change
            if abs(change) <= error:
                return Measured(self, number, error)
            remains = np.linalg.norm(rest - change * slope)
            if remains > MOST_LEFT * np.linalg.norm(rest):
                return None
        return None


def largest(array: NumpyArray) -> float:
    """Return the largest absolute value."""
    return float(np.abs(array).max(initial=0))


class Measured(NamedTuple):
    """A number that was measured, and its error."""

    fit: Fit
    number: float
    error: float

    def is_near(self, other: float, rtol: float) -> bool:
        """Return whether another number is the same up to the error."""
        return abs(self.number - other) <= self.error + rtol * abs(other)


Common = tuple[str, list[float]]  # a number in words, and that of every fit
NOTHING: Common = ("", [])


def common_number(
    fits: Sequence[Fit], measured: Sequence[Measured], rtol: float, is_factor: bool
) -> Common:
    """Return the product of sizes that all of these are, or the number; "" if they are
    different. is_factor: whether it may be a product.
    """
    tables = {fit: products(fit) for fit in fits}
    for text in tables[fits[0]] if is_factor else ():
        is_one = all(tables[each.fit][text] == 1 for each in measured)
        near = (each.is_near(tables[each.fit][text], rtol) for each in measured)
        if not is_one and all(near):
            return text, [table[text] for table in tables.values()]
    best = min(measured, key=lambda each: each.error)
    share = 4 * best.error / abs(best.number)
    near = (each.is_near(best.number, rtol) for each in measured)
    if best.is_near(1.0, rtol) or not 0 < share < 1 or not all(near):
        return NOTHING
    digits = min(6, -int(np.log10(share)))
    return format(best.number, f".{digits}g"), [best.number] * len(fits)


def products(fit: Fit) -> dict[str, float]:
    """Return usual factors, and products of up to three sizes, by their text; the
    simplest first.
    """
    sizes = cases.case_sizes(fit.case) | {"2": 2}
    known = {"-1": -1.0, "1/ln 2": 1 / np.log(2)}
    known["η"] = np.nan if fit.step is None else float(fit.step.learning_rate)
    for powers in POWERS:
        above = [n for n, power in zip(FACTORS, powers) if power == 1]
        below = [n for n, power in zip(FACTORS, powers) if power == -1]
        text = "·".join(above) or "1"
        if below:
            text += f"/({'·'.join(below)})" if len(below) > 1 else f"/{below[0]}"
        known[text] = prod(sizes[n] for n in above) / prod(sizes[n] for n in below)
    for letters in ("KB", "KBO"):  # as of a sample variance
        n = prod(sizes[letter] for letter in letters)
        text = "·".join(letters)
        known[f"{text}/({text} − 1)"] = n / (n - 1) if n > 1 else np.nan
    return known


def subject(fits: Sequence[Fit], wrong: set[str]) -> str:
    """Return the tensors that are wrong in words: of all of a kind, their kind."""
    texts, others = list[str](), {*wrong}
    for prefix, kind in KINDS.items():
        names = [prefix + name for name in FIELDS if prefix + name in fits[0].report]
        found = [name for name in names if name in wrong]
        texts += [kind] if found and found == names else found
        others -= {*names}
    return join_names([*texts, *sorted(others)])
