"""Fits: a case and its report, which tensors are wrong, and the number with which a
mutant comes nearest to them.

A mutant explains a fit if it gives every number that is wrong, up to rounding. Its
number, such as a factor, is one number, or one product of sizes, in all fits.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from math import prod
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import join_names
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import (
    GRADIENT_AXES,
    UPDATED,
    NamedArrays,
    WindowCase,
    case_sizes,
    initial_state_of,
    with_rows,
)
from numpy_rnn.conformance.definition import Definition, window_update
from numpy_rnn.conformance.mutants.edits import Equations, Mutant

# By how many units in the last place of its largest number a tensor may differ from
# another way to compute it, over 100 terms or fewer; as the root of their number beyond
ROUNDING = 200.0
USUAL_TERMS = 100
RIGHT_ROUNDING = 4.0  # what the right tensor adds to that, where a wrong one is small
CLEAR_DEVIATION = 30.0  # of a wrong tensor, in units of what right ones may differ
MANY = 4  # numbers of a fit, that one number does not explain by chance
LARGEST_ERROR = 1e-3  # of a number, as a share of it
MOST_DIGITS = 6  # of a number in words
FACTORS = "2KBOTH"  # 2, and sizes by which a wrong reduction multiplies
MOST_FACTORS = 4  # of a product


class Fit:
    """A case and its report, and the right values of the same tensors, all in float64.

    index: that of the update in its run.
    """

    def __init__(self, case: WindowCase, report: NamedArrays, index: int = -1):
        """Compute the right values of a case and of its step."""
        rows = with_rows(case)
        h_0 = initial_state_of(case)
        arrays = (rows.params, rows.x, rows.target, h_0, case.velocity)
        params, x, target, h_0, velocity = tree_map(np.float64, arrays)
        self.case = WindowCase(
            params, x, target, h_0, case.objective, case.step, velocity
        )
        self.index = index
        self.report = {n: np.asarray(v, np.float64) for n, v in report.items()}
        with np.errstate(all="ignore"):
            self.right = self.values({})
        known = self.report.keys() & self.right.keys()
        self.window_names = known - UPDATED
        eps = float(np.finfo(case.dtype).eps)
        terms = len(case.x) * self.case.h_0.size
        self.ulp: float = eps * max(1.0, (terms / USUAL_TERMS) ** 0.5)
        self.wrong = {name for name in known if self.is_off(name, self.report)}

    def values_by(self, mutant: "Mutant | LoopMutant", number: float) -> NamedArrays:
        """Return the tensors by a mutant, with this number if it has one."""
        if isinstance(mutant, LoopMutant):
            return mutant.change(self)
        return self.values(mutant.with_number(number))

    def values(self, equations: Equations) -> NamedArrays:
        """Return the tensors by other equations. The step starts from the reported
        gradients.
        """
        reported = {d: self.report[d] for d in GRADIENT_AXES if d in self.report}
        n = NumpyArithmetic(np.float64, reported)
        return window_update(self.case, n, Definition(**equations))

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
        """Return tensors as one vector, in units of the difference that is allowed.
        Where there is none, it is the right one.
        """
        tensors = self.right | values
        parts = [np.zeros(0)]
        for name in names:
            allowed = self.allowed(name, self.report[name])
            parts.append(np.ravel(tensors[name] / allowed))
        return np.concatenate(parts)


class LoopMutant(NamedTuple):
    """A mistake of a training loop: other tensors of an update."""

    name: str  # with {names} for the tensors that are wrong
    change: Callable[[Fit], NamedArrays]  # of the fit of an update
    is_forward: bool = False  # no equation is another one


def largest(array: NumpyArray) -> float:
    """Return the largest absolute value."""
    return float(np.abs(array).max(initial=0))


def subject(fits: Sequence[Fit], wrong: set[str]) -> str:
    """Return the tensors that are wrong in words; all gradients as such."""
    gradients = GRADIENT_AXES.keys() & fits[0].report.keys()
    texts = list[str]()
    if gradients and gradients <= wrong:
        texts.append("gradients")
        wrong = wrong - gradients
    return join_names([*texts, *(name for name in fits[0].right if name in wrong)])


# The number of a mutant


class CommonNumber(NamedTuple):
    """A number that all fits have in common, in words, and its value for each."""

    text: str
    values: Sequence[float]


def measured_number(
    mutant: Mutant | LoopMutant, fits: Sequence[Fit], wrong: set[str]
) -> CommonNumber | None:
    """Return the number with which a mutant, linear in it, gives the wrong tensors of
    all fits: a product of sizes, or the same number in all of them.
    """
    slopes = list[NumpyArray]()
    changes = list[NumpyArray]()  # from the mutant with 0 to the reported numbers
    for fit in fits:
        names = sorted(fit.wrong & wrong)
        at_0 = fit.vector(fit.values_by(mutant, 0.0), names)
        at_1 = fit.vector(fit.values_by(mutant, 1.0), names)
        slopes.append(at_1 - at_0)
        changes.append(fit.vector(fit.report, names) - at_0)
    slope = np.concatenate(slopes)
    size = float(np.linalg.norm(slope))
    if not 0 < size < np.inf:
        return None  # the number changes nothing
    number = float(slope @ np.concatenate(changes)) / size**2
    error = RIGHT_ROUNDING / ROUNDING * len(slope) ** 0.5 / size
    wrong_fits = sum(len(change) > 0 for change in changes)
    if len(slope) < MANY and wrong_fits < 2:
        return None  # a number of its own explains any number
    if not error <= LARGEST_ERROR * abs(number):
        return None
    digits = min(MOST_DIGITS, -int(np.log10(4 * error / abs(number))))
    constant = CommonNumber(f"{number:.{digits}g}", [number] * len(fits))
    # A step knows no sizes.
    usual = [] if wrong <= UPDATED else products(fits)
    for candidate in (*usual, constant):
        rest = (
            largest(change - value * slope)
            for change, value, slope in zip(changes, candidate.values, slopes)
        )
        if all(difference <= 1 for difference in rest):
            return None if candidate.text == "1" else candidate
    return None


def products(fits: Sequence[Fit]) -> list[CommonNumber]:
    """Return usual factors: products of sizes and their inverses, the simplest
    first.
    """
    tables = [case_sizes(fit.case) | {"2": 2} for fit in fits]
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
