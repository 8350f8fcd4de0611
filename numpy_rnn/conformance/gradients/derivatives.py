"""The derivative of a loss by one parameter, along directions, in float64.

By complex step where the function computes with complex numbers: Im L(θ + ihv) / h has
no cancellation, so that h is as small as one likes. The derivative along the first
direction is compared with differences, which shows code that drops or conjugates the
imaginary part without a warning. Elsewhere by central differences with Richardson
extrapolation, whose error is estimated as in Ridders' method.

Rounding errors are estimated from runs of the user's code in which the processor rounds
in other directions: see rounding_runs.py.

Sources: Squire and Trapp 1998, Using complex variables to estimate derivatives of real
functions, SIAM Review 40 (1); Ridders 1982, Accurate computation of F'(x) and F'(x)
F''(x), Advances in Engineering Software 4 (2).
"""

from typing import NamedTuple

import numpy as np
from numpy.linalg import norm

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.rounding_runs import ROUNDOFF, with_other_roundings
from numpy_rnn.conformance.user_function import ArraysByName, UserFunction
from numpy_rnn.conformance.window_checks import SPREADS

IMAGINARY_STEP = 2.0**-100
LARGEST_STEP = 0.25  # of differences, in units of the parameter's own size
DIFFERENCE_COUNT = 13  # of differences, each a quarter of the one before
REPEATS = 4  # evaluations of a derivative with other roundings
DIRECTIONS = 8
SEED = 2347  # of directions that span every tensor of up to eight elements


class Difference(NamedTuple):
    """A derivative by differences."""

    value: float
    error: float  # as Ridders estimates it
    steps: NumpyArray


class LossDerivative:
    """The derivatives of a loss by one parameter, along random directions of ±1.

    Attributes: values, along the directions; error, what rounding and truncation may
    change one of them by; method; scale, the size of an element of the parameter.
    """

    def __init__(
        self, function: UserFunction, params: ArraysByName, name: str, loss: float
    ):
        self.function = function
        self.params = params
        self.name = name
        self.loss = loss
        array = params[name]
        random = np.random.default_rng(SEED)
        self.directions = random.choice([-1.0, 1.0], (DIRECTIONS, *array.shape))
        self.scale = norm(array) / max(array.size, 1) ** 0.5 or 1.0
        steps = self.scale * LARGEST_STEP * 4.0 ** -np.arange(DIFFERENCE_COUNT)
        first = self._difference(self.directions[0], steps)
        self.steps = first.steps
        self.method = "complex step"
        self.values = np.array([self.along(v) for v in self.directions])
        self.error = self._error_of_complex_step()
        allowed = SPREADS * (self.error + first.error)
        if not abs(first.value - self.values[0]) <= allowed < np.inf:
            self.method = "differences"
            differences = [self._difference(v, self.steps) for v in self.directions]
            self.values = np.array([difference.value for difference in differences])
            self.error = max(difference.error for difference in differences)

    def products(self, gradient: NumpyArray) -> NumpyArray:
        """Return the products of the directions and a gradient."""
        return np.tensordot(self.directions, gradient, gradient.ndim)

    def along(self, direction: NumpyArray) -> float:
        """Return the derivative along a direction."""
        if self.method == "complex step":
            return self._complex_step(direction, self.params)
        return self._difference(direction, self.steps).value

    def _complex_step(self, direction: NumpyArray, params: ArraysByName) -> float:
        """Compute one derivative by complex step; NaN where that fails."""
        point = {name: array + 0j for name, array in params.items()}
        point[self.name] += 1j * IMAGINARY_STEP * direction
        try:
            loss = self.function.evaluate(point).loss
        except Exception:  # the user's code may raise anything
            return np.nan
        return float(np.imag(loss)) / IMAGINARY_STEP

    def _error_of_complex_step(self) -> float:
        """Estimate the rounding error from runs with other roundings."""
        total = self.directions.sum(axis=0)

        def backwards(nearby: ArraysByName) -> float:
            """Compute the derivative along −total, which shows a kink at this point."""
            return self._complex_step(-total, nearby)

        samples = with_other_roundings(backwards, self.params, REPEATS)
        errors = np.array(samples) + self.values.sum()
        error: float = norm(errors) / REPEATS**0.5
        return error

    @np.errstate(all="ignore")
    def _difference(self, direction: NumpyArray, steps: NumpyArray) -> Difference:
        """Compute one derivative by differences, of the steps with the least error."""
        ahead = self._changes_of_loss(direction, steps)
        behind = self._changes_of_loss(direction, -steps)
        once, slope = extrapolated((ahead - behind) / (2 * steps), 16)
        # The difference of the slopes to both sides, 0 where the loss has no kink.
        _, kink = extrapolated((ahead + behind) / (2 * steps), 4)
        quantum = ROUNDOFF * abs(self.loss)
        if ahead.any() and not ahead.all():
            # The loss is rounded to what it changes by at other steps.
            quantum = np.abs(ahead[ahead != 0]).min()
        errors = np.max([np.abs(slope - once), np.abs(kink)], axis=0)
        errors += quantum / steps[2:]
        # Relative: the slopes of large steps are small where the loss is bounded.
        best = np.nan_to_num(errors / np.abs(slope), nan=np.inf).argmin()
        return Difference(slope[best], errors[best], steps[best : best + 3])

    def _changes_of_loss(self, direction: NumpyArray, steps: NumpyArray) -> NumpyArray:
        """Return the changes of the loss by these steps along a direction."""
        changes = []
        for step in steps:
            changed = self.params[self.name] + step * direction
            loss = self.function.evaluate(self.params | {self.name: changed}).loss
            changes.append(loss - self.loss)
        return np.real(changes)


def extrapolated(values: NumpyArray, factor: float) -> tuple[NumpyArray, NumpyArray]:
    """Extrapolate to steps of 0, once and twice. The first error falls by the factor
    with each step, the second one 16 times faster.
    """
    once = values[1:] + np.diff(values) / (factor - 1)
    twice = once[1:] + np.diff(once) / (16 * factor - 1)
    return once[:-1], twice
