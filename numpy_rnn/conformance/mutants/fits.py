"""Fits: a case and its report, which tensors are wrong, and the number with which a
mutant comes nearest to them.

A mutant explains a fit if it gives every number that is wrong, up to rounding. Its
number, such as a factor, is one number, or one product of sizes, in all fits.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import join_names
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import FIELDS, NamedArrays, WindowCase, present
from numpy_rnn.conformance.definition import (
    DEFINITION,
    Definition,
    apply_step,
    window_update,
)
from numpy_rnn.conformance.mutants.edits import (
    STEP_EQUATIONS,
    VALUES,
    Equations,
    Mutant,
)

# By how many units in the last place of its largest number a tensor may differ from
# another way to compute it, over 100 terms or fewer; as the root of their number beyond
ROUNDING = 200.0
USUAL_TERMS = 100
RIGHT_ROUNDING = 4.0  # what the right tensor adds to that, where a wrong one is small
CLEAR_DEVIATION = 30.0  # of a wrong tensor, in units of what right ones may differ
MANY = 4  # numbers of a fit, that one number does not explain by chance
DOUBLE_RTOL = 1e-6  # of numbers that are equal, measured by reports in float64
SINGLE_RTOL = 1e-3  # in float32
MOST_DIGITS = 6  # of a number in words
FACTORS = "2KBOTH"  # 2, and sizes by which a wrong reduction multiplies
MOST_FACTORS = 4  # of a product
RIGHT_STEP: Equations = {"updated": DEFINITION.updated}


class Measurement(NamedTuple):
    """The number that was measured in a fit, and its relative error."""

    value: float
    error: float


class Fit:
    """A case and its report, and the right values of the same tensors, all in float64.

    index: that of the update in its run.
    """

    def __init__(self, case: WindowCase, report: NamedArrays, index: int = -1):
        """Compute the right values of a case and of its step."""
        arrays = cases.with_rows(case)
        arrays = arrays._replace(h_0=cases.initial_state_of(case), step=None)
        for name in ("params", "velocity", "x", "target", "h_0"):
            value = tree_map(np.float64, getattr(arrays, name))
            arrays = arrays._replace(**{name: value})
        self.case, self.step, self.index = arrays, case.step, index
        self.report = NamedArrays()
        for name, array in report.items():
            self.report[name] = np.asarray(array, np.float64)
        step = NamedArrays()
        with np.errstate(all="ignore"):
            self.right = window_update(self.case)
            if self.step is not None:
                step = self.values(RIGHT_STEP)
        self.right.update(step)
        known = self.report.keys() & self.right.keys()
        self.window_names = known - step.keys()
        self.eps = float(np.finfo(case.dtype).eps)
        terms = len(case.x) * self.case.h_0.size
        self.ulp: float = self.eps * max(1.0, (terms / USUAL_TERMS) ** 0.5)
        self.wrong = {name for name in known if self.is_off(name, self.report)}

    def values(self, equations: Equations) -> NamedArrays:
        """Return the tensors of the window by other equations; those of the step, with
        the reported gradients, if the equations are of the step.
        """
        if VALUES in equations:
            values: NamedArrays = equations[VALUES](self)
            return values
        definition = Definition(**equations)
        if self.step is None or not equations.keys() & STEP_EQUATIONS:
            return window_update(self.case, definition=definition)
        n = NumpyArithmetic(np.float64)
        p = present(self.case.params)
        d = {name: self.report["d" + name] for name in p}
        apply_step(n, p, d, present(self.case.velocity), self.step, definition)
        return n.report()

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
        return largest(value - right) > CLEAR_DEVIATION * ROUNDING * self.ulp * size

    def allowed(self, name: str, value: NumpyArray) -> float:
        """Return the difference between reported numbers and those of a mutant that
        explains them.
        """
        size = max(largest(self.report[name]), largest(value))
        rounding = ROUNDING * size + RIGHT_ROUNDING * largest(self.right[name])
        return self.ulp * rounding

    def vector(self, values: NamedArrays, names: Iterable[str]) -> NumpyArray:
        """Return tensors as one vector, in units of what they are off. Where there is
        none, it is the right one.
        """
        tensors = self.right | values
        parts = list[NumpyArray]()
        for name in names:
            difference = largest(self.report[name] - self.right[name])
            parts.append(np.ravel(tensors[name] / difference))
        return np.concatenate(parts)

    def measure(self, mutant: Mutant, names: Sequence[str]) -> Measurement | None:
        """Return the number for which a mutant comes nearest to the wrong tensors, and
        its error; None if the number changes nothing. The mutant is linear in it.
        """

        def values(number: float) -> NumpyArray:
            """Return the tensors of the mutant as a vector."""
            return self.vector(self.values(mutant.with_number(number)), names)

        reported = self.vector(self.report, names)
        at_zero = values(0.0)
        slope = values(1.0) - at_zero
        square = float(slope @ slope)
        if not 0 < square < np.inf:
            return None
        rounding = RIGHT_ROUNDING * self.ulp * largest(reported) * len(reported) ** 0.5
        number = float(slope @ (reported - at_zero)) / square
        error = rounding / square**0.5
        return Measurement(number, error / abs(number) if number else np.inf)


def largest(array: NumpyArray) -> float:
    """Return the largest absolute value."""
    return float(np.abs(array).max(initial=0))


def subject(fits: Sequence[Fit], wrong: set[str]) -> str:
    """Return the tensors that are wrong in words; all gradients as such."""
    gradients = {"d" + name for name in FIELDS} & fits[0].report.keys()
    texts = list[str]()
    if gradients and gradients <= wrong:
        texts.append("gradients")
        wrong = wrong - gradients
    return join_names([*texts, *(name for name in fits[0].right if name in wrong)])


# The number of a mutant.


class CommonNumber(NamedTuple):
    """A number that all fits have in common, in words, and its value for each."""

    text: str
    values: Sequence[float]


def measured_number(
    mutant: Mutant, fits: Sequence[Fit], wrong: set[str]
) -> CommonNumber | None:
    """Return the number with which a mutant comes nearest to the wrong tensors, if it
    is the same in all fits.
    """
    eps = max(fit.eps for fit in fits)
    rtol = SINGLE_RTOL if eps > np.finfo(np.float64).eps else DOUBLE_RTOL
    measured = np.full(len(fits), np.nan)  # where it is measured well
    best = Measurement(1.0, np.inf)
    count = 0
    for index, fit in enumerate(fits):
        names = sorted(fit.wrong & wrong)
        if not names:
            continue
        measurement = fit.measure(mutant, names)
        if measurement is None:
            return None
        count += sum(fit.report[name].size for name in names)
        if measurement.error < rtol:
            measured[index] = measurement.value
        best = min(best, measurement, key=lambda measurement: measurement.error)
    is_measured = np.isfinite(measured)
    if not is_measured.any() or (count < MANY and is_measured.sum() < 2):
        return None  # a number of its own explains any number
    digits = min(MOST_DIGITS, -int(np.log10(4 * best.error)))  # that are sure
    constant = CommonNumber(f"{best.value:.{digits}g}", [best.value] * len(fits))
    one = CommonNumber("1", [1.0] * len(fits))
    # A step knows no sizes.
    usual = [] if mutant.fields & STEP_EQUATIONS else products(fits)
    for candidate in (one, *usual, constant):
        # Both are measured: each is off by rtol at most.
        is_near = np.isclose(measured, candidate.values, 2 * rtol, atol=0.0)
        if is_near[is_measured].all():
            return None if candidate is one else candidate
    return None


def products(fits: Sequence[Fit]) -> list[CommonNumber]:
    """Return usual factors: products of sizes and their inverses, the simplest
    first.
    """
    tables = [cases.case_sizes(fit.case) | {"2": 2} for fit in fits]
    numbers = list[CommonNumber]()
    for count in range(1, MOST_FACTORS + 1):
        for letters in combinations(FACTORS, count):
            text = "·".join(letters)
            divisor = text if count == 1 else f"({text})"
            values = [prod(sizes[letter] for letter in letters) for sizes in tables]
            inverses = [1 / value for value in values]
            numbers.append(CommonNumber(text, values))
            numbers.append(CommonNumber(f"1/{divisor}", inverses))
    return numbers
