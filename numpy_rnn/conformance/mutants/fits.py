"""Fits: a case and its report, which tensors are wrong, and the number with which a
mutant comes nearest to them.

A mutant explains a fit if it gives every number that is wrong, up to rounding. Its
number, such as a factor, is one number, or one product of sizes, in all fits.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import join_names
from numpy_rnn.common.trees import tree_map
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
    STEP_EQUATIONS,
    Equations,
    Mutant,
    Replacement,
)

MAX_RESIDUAL = 1e-10  # the part of the numbers that a mutant may leave, in float64
# By how many units in the last place of its largest number a tensor may differ from
# another way to compute it, over 100 terms or fewer; as the root of their number beyond
ROUNDING = 200.0
USUAL_TERMS = 100
RIGHT_ROUNDING = 4.0  # what the right tensor adds to that, where a wrong one is small
CLEAR_DEVIATION = 30.0  # of a wrong tensor, in units of what right ones may differ
ITERATIONS = 12  # of the solver
CHANGE = 1e-6  # of a number, by which a slope is measured, relative to it
SMALLEST_NUMBER = 1e-2  # as which a number near 0 counts there
MOST_LEFT = 0.95  # of the difference, by a linear prediction
MANY = 4  # numbers of a fit, that one number does not explain by chance
DOUBLE_RTOL = 1e-6  # of numbers that are equal, measured by reports in float64
SINGLE_RTOL = 1e-3  # in float32
MOST_DIGITS = 6  # of a number in words
FACTORS = "2KBOTH"  # 2, and sizes by which a wrong reduction multiplies
MOST_FACTORS = 4  # of a product
# The powers of the factors in products; the simplest first.
POWERS = sorted(
    (
        powers
        for powers in product((1, -1, 0), repeat=len(FACTORS))
        if 0 < np.abs(powers).sum() <= MOST_FACTORS
    ),
    key=lambda powers: (np.abs(powers).sum(), powers),
)
# The words for all tensors of a kind, by the prefix of their names.
TENSOR_KINDS = {"d": "gradients", "v": "velocities", "": "parameters"}
RIGHT_STEP: Equations = {"updated": DEFINITION.updated}


class EditedArithmetic(NumpyArithmetic):
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


class Measurement(NamedTuple):
    """The number that was measured in a fit, and its error."""

    fit: "Fit"
    value: float
    error: float

    def is_near(self, other: float, rtol: float) -> bool:
        """Return whether another number is the same up to the error."""
        return abs(self.value - other) <= self.error + rtol * abs(other)


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

    @property
    def is_single(self) -> bool:
        """Return whether the port rounds to float32."""
        return self.eps > float(np.finfo(np.float64).eps)

    def values(self, equations: Equations) -> NamedArrays:
        """Return the tensors of the window by other equations; those of the step, with
        the reported gradients, if the equations are of the step.
        """
        n = EditedArithmetic(self, equations.get(RECORD))
        others = equations.keys() - {RECORD, CASE}
        definition = Definition(**{name: equations[name] for name in others})
        if self.step is not None and others & STEP_EQUATIONS:
            p = present(self.case.params)
            d = {name: self.report["d" + name] for name in p}
            apply_step(n, p, d, present(self.case.velocity), self.step, definition)
            return n.report()
        case = equations[CASE](self) if CASE in equations else self.case
        return self.report if case is None else window_update(case, n, definition)

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
        size = largest(self.report[name])
        rounding = ROUNDING * self.ulp * max(size, largest(value))
        rounding += RIGHT_ROUNDING * self.ulp * largest(self.right[name])
        return max(MAX_RESIDUAL * min(size, self.difference(name)), rounding)

    def difference(self, name: str) -> float:
        """Return by how much a reported tensor is off."""
        return largest(self.report[name] - self.right[name])

    def vector(self, values: NamedArrays, names: Sequence[str]) -> NumpyArray:
        """Return tensors as one vector, in units of what they are off. Where there is
        none, it is the right one.
        """
        tensors = self.right | values
        parts = [np.ravel(tensors[name] / self.difference(name)) for name in names]
        return np.concatenate(parts)

    def measure(self, mutant: Mutant, names: Sequence[str]) -> Measurement | None:
        """Return the number for which a mutant comes nearest to the wrong tensors, and
        its error, by the secant method; None if no number does.
        """

        def values(number: float) -> NumpyArray:
            """Return the tensors of the mutant as a vector."""
            return self.vector(self.values(mutant.with_number(number)), names)

        reported = self.vector(self.report, names)
        rounding = RIGHT_ROUNDING * self.ulp * largest(reported) * len(reported) ** 0.5
        number = mutant.start
        for _ in range(ITERATIONS):
            value = values(number)
            near = CHANGE * max(abs(number), SMALLEST_NUMBER)
            slope = (values(number + near) - value) / near
            square = float(slope @ slope)
            if not 0 < square < np.inf:
                return None
            rest = reported - value
            change = float(slope @ rest) / square
            error = rounding / square**0.5
            number += change
            if abs(change) <= error:
                return Measurement(self, number, error)
            remains = np.linalg.norm(rest - change * slope)
            if remains > MOST_LEFT * np.linalg.norm(rest):
                return None
        return None


def largest(array: NumpyArray) -> float:
    """Return the largest absolute value."""
    return float(np.abs(array).max(initial=0))


def subject(fits: Sequence[Fit], wrong: set[str]) -> str:
    """Return the tensors that are wrong in words: of all of a kind, their kind."""
    texts = list[str]()
    others = {*wrong}
    for prefix, kind in TENSOR_KINDS.items():
        names = [prefix + name for name in FIELDS if prefix + name in fits[0].report]
        if names and wrong.issuperset(names):
            texts.append(kind)
        else:
            texts += [name for name in names if name in wrong]
        others -= {*names}
    return join_names([*texts, *sorted(others)])


# The number of a mutant.


class CommonNumber(NamedTuple):
    """A number that all fits have in common, in words, and its value for each."""

    text: str
    values: list[float]


def measured_number(
    mutant: Mutant, fits: Sequence[Fit], wrong: set[str]
) -> CommonNumber | None:
    """Return the number with which a mutant comes nearest to the wrong tensors, if it
    is the same in all fits.
    """
    is_single = any(fit.is_single for fit in fits)
    rtol = SINGLE_RTOL if is_single else DOUBLE_RTOL
    measurements = list[Measurement]()
    count = 0
    for fit in fits:
        names = sorted(fit.wrong & wrong)
        if not names:
            continue
        measurement = fit.measure(mutant, names)
        if measurement is None:
            return None
        count += sum(fit.report[name].size for name in names)
        if measurement.error < rtol * max(abs(measurement.value), rtol):
            measurements.append(measurement)
    if not measurements or (count < MANY and len(measurements) < 2):
        return None  # a number of its own explains any number
    common = None
    is_of_step = bool(mutant.fields & STEP_EQUATIONS)  # which knows no sizes
    if "× {number}" in mutant.name and not is_of_step:
        common = common_product(fits, measurements, rtol)
    return common or common_constant(fits, measurements, rtol)


def common_product(
    fits: Sequence[Fit], measurements: Sequence[Measurement], rtol: float
) -> CommonNumber | None:
    """Return the simplest product of sizes that all of these are, if there is one."""
    tables = {fit: products(fit) for fit in fits}
    for text in tables[fits[0]]:
        expected = [tables[measurement.fit][text] for measurement in measurements]
        pairs = zip(measurements, expected)
        are_near = all(number.is_near(value, rtol) for number, value in pairs)
        if are_near and set(expected) != {1}:
            return CommonNumber(text, [table[text] for table in tables.values()])
    return None


def common_constant(
    fits: Sequence[Fit], measurements: Sequence[Measurement], rtol: float
) -> CommonNumber | None:
    """Return the number that all of these are, with the digits that are sure."""
    best = min(measurements, key=lambda measurement: measurement.error)
    share = 4 * best.error / abs(best.value)  # below half a unit of the last digit
    if best.is_near(1.0, rtol) or not 0 < share < 1:
        return None
    if not all(number.is_near(best.value, rtol) for number in measurements):
        return None
    digits = min(MOST_DIGITS, -int(np.log10(share)))
    return CommonNumber(f"{best.value:.{digits}g}", [best.value] * len(fits))


def products(fit: Fit) -> dict[str, float]:
    """Return usual factors, and products of sizes, by their text; the simplest
    first.
    """
    sizes = cases.case_sizes(fit.case) | {"2": 2}
    numbers = {"-1": -1.0}
    numbers["η"] = np.nan if fit.step is None else float(fit.step.learning_rate)
    for powers in POWERS:
        above = [letter for letter, power in zip(FACTORS, powers) if power == 1]
        below = [letter for letter, power in zip(FACTORS, powers) if power == -1]
        text = "·".join(above) or "1"
        if len(below) > 1:
            text += f"/({'·'.join(below)})"
        elif below:
            text += f"/{below[0]}"
        numerator = prod(sizes[letter] for letter in above)
        numbers[text] = numerator / prod(sizes[letter] for letter in below)
    for letters in ("KB", "KBO"):  # as of a sample variance
        n = prod(sizes[letter] for letter in letters)
        text = "·".join(letters)
        numbers[f"{text}/({text} − 1)"] = n / (n - 1) if n > 1 else np.nan
    return numbers
