"""Numbers whose operations all round in one direction: the largest errors there are."""

import math
from fractions import Fraction
from functools import total_ordering

import numpy as np

from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import with_rows
from numpy_rnn.conformance.definition import window_update
from tests.helpers.ways import ARRAYS

ULPS = 7  # the error of tanh, exp and log, of the 8 ulps that are allowed
# The unit roundoffs, as exact numbers.
U = {np.float32: 2.0**-24, np.float64: Fraction(1, 2**53)}


def operation(f):
    """Return a method of Skewed: f of two exact numbers, rounded."""

    def method(self, other):
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self.rounded(f(self.value, self.exact(other)))

    return method


def function(f):
    """Return a method of Skewed: f with an error of ULPS."""

    def method(self):
        value = exact_number(f(float(self.value)), self.dtype)
        return self.rounded(value * (1 + self.direction() * 2 * ULPS * U[self.dtype]))

    return method


@total_ordering
class Skewed:
    """A number that rounds in a direction, as far as the unit roundoff allows it.

    direction: returns 1 or −1 for each operation.
    """

    def __init__(self, value, dtype, direction):
        self.value, self.dtype, self.direction = value, dtype, direction

    def rounded(self, exact):
        """Round in the direction if that is within u |exact|, or else to nearest."""
        nearest, toward = self.dtype(float(exact)), self.direction()
        if (exact_number(nearest, self.dtype) - exact) * toward < 0:
            other = np.nextafter(nearest, self.dtype(toward * np.inf))
            error = abs(exact_number(other, self.dtype) - exact)
            if error <= U[self.dtype] * abs(exact):
                nearest = other
        return Skewed(exact_number(nearest, self.dtype), self.dtype, self.direction)

    def exact(self, other):
        """Return another operand as an exact number."""
        if isinstance(other, Skewed):
            return other.value
        return exact_number(other, self.dtype)

    __add__ = __radd__ = operation(lambda a, b: a + b)
    __mul__ = __rmul__ = operation(lambda a, b: a * b)
    __sub__ = operation(lambda a, b: a - b)
    __rsub__ = operation(lambda a, b: b - a)
    __truediv__ = operation(lambda a, b: a / b)
    __rtruediv__ = operation(lambda a, b: b / a)
    tanh = function(math.tanh)
    exp = function(math.exp)
    log = function(math.log)
    log1p = function(math.log1p)
    expm1 = function(math.expm1)

    def sqrt(self):
        return self.rounded(exact_number(math.sqrt(float(self.value)), self.dtype))

    def __neg__(self):
        return Skewed(-self.value, self.dtype, self.direction)

    def __eq__(self, other):
        return self.value == self.exact(other)

    def __lt__(self, other):
        return self.value < self.exact(other)

    def __float__(self):
        return float(self.value)


def exact_number(number, dtype):
    """Return the number in an arithmetic that is much more exact than the dtype."""
    if dtype is np.float32:
        return float(number)
    return Fraction(*float(number).as_integer_ratio())


def skewed_report(case, direction):
    """Compute the report of a case by the definition in skewed numbers."""
    case, dtype = with_rows(case), case.dtype.type

    def skewed(number):
        return Skewed(exact_number(number, dtype), dtype, direction)

    changed = {}
    for name in ARRAYS:
        changed[name] = tree_map(np.frompyfunc(skewed, 1, 1), getattr(case, name))
    step = case.step._replace(learning_rate=float(dtype(case.step.learning_rate)))
    if step.max_value is not None:
        step = step._replace(max_value=float(dtype(step.max_value)))
    report = window_update(case._replace(**changed, step=step))
    return {name: np.array(v).astype(float).astype(dtype) for name, v in report.items()}
