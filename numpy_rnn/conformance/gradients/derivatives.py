"""The derivative of a loss along a direction of one parameter, in float64.

By complex step where the function computes with complex numbers: Im L(θ + ihv) / h has
no cancellation, so that h is as small as one likes. The derivative along the first
direction of every parameter is compared with differences, which shows code that drops
or conjugates the imaginary part without a warning. Elsewhere by central differences
with Richardson extrapolation, whose error is estimated as in Ridders' method.

Sources: Squire and Trapp 1998, Using complex variables to estimate derivatives of real
functions, SIAM Review 40 (1); Ridders 1982, Accurate computation of F'(x) and F'(x)
F''(x), Advances in Engineering Software 4 (2).
"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.conformance.gradients.user_function import Params, UserFunction
from numpy_rnn.conformance.window_checks import SPREADS

COMPLEX_STEP = 2.0**-100
LARGEST_STEP = 0.25  # of differences, in units of the parameter's own size
STEPS = 13  # of differences, each a quarter of the one before
ORDERS = 3  # of extrapolation
ROUNDOFF = 2.0**-53  # of float64
REPEATS = 4  # evaluations of a derivative with other roundings


class Difference(NamedTuple):
    """A derivative by differences."""

    value: float
    error: float  # the estimate of Ridders
    step: int  # the smallest of its steps


class Derivatives(NamedTuple):
    """The derivatives of the loss along several directions of one parameter."""

    values: Array
    error: float  # what rounding and truncation may change one of them by
    method: str


def norm(array: Array) -> float:
    """Return the 2-norm of all elements."""
    return float(np.linalg.norm(np.ravel(array)))


def perturbed(params: Params, relative: float, random: np.random.Generator) -> Params:
    """Return the parameters with a random relative change of each number."""
    changed = {}
    for name, array in params.items():
        change = relative * random.uniform(-1, 1, array.shape)
        changed[name] = array * (1 + change)
    return changed


class LossDerivative:
    """The derivatives of the loss of a function at one point."""

    def __init__(self, function: UserFunction, params: Params):
        self.function, self.params = function, params
        self.loss = float(function.loss(params, np.float64))
        self.random = np.random.default_rng(1)
        self.data_dtype = self._complex_data_dtype()

    def _complex_data_dtype(self) -> type | None:
        """Return the dtype of data with which complex parameters work, if there is one.

        Complex data help code whose buffers are like its data.
        """
        for data_dtype in (np.float64, np.complex128):
            try:
                loss = self.function.loss(self.params, np.complex128, data_dtype)
            except Exception:  # the user's code may raise anything
                continue
            if np.isfinite(loss):
                return data_dtype
        return None

    def along(self, name: str, directions: Array) -> Derivatives:
        """Compute the derivatives along directions of a parameter, the first axis."""
        if self.data_dtype is not None:
            found = self._by_complex_step(name, directions)
            if found is not None:
                return found
        return self._by_differences(name, directions)

    def complex_step(self, name: str, direction: Array, params: Params) -> float:
        """Compute one derivative by complex step; NaN where that fails."""
        imaginary = COMPLEX_STEP * direction * 1j
        params = params | {name: params[name] + imaginary}
        try:
            loss = self.function.loss(params, np.complex128, self.data_dtype)
        except Exception:
            return np.nan
        return float(np.imag(loss)) / COMPLEX_STEP

    def _by_complex_step(self, name: str, directions: Array) -> Derivatives | None:
        steps = [self.complex_step(name, v, self.params) for v in directions]
        values = np.array(steps)
        changes = []
        for index in range(REPEATS):
            v = directions[index % len(directions)]
            nearby = perturbed(self.params, 2 * ROUNDOFF, self.random)
            # Backwards, which shows a kink at this very point.
            repeated = -self.complex_step(name, -v, nearby)
            changes.append(repeated - values[index % len(values)])
        error = norm(np.array(changes)) / REPEATS**0.5
        witness = self.difference(name, directions[0])
        allowed = SPREADS * (error + witness.error) + ROUNDOFF * abs(values[0])
        if not np.isfinite(error) or not np.isfinite(values).all():
            return None
        if abs(witness.value - values[0]) > allowed:
            return None
        return Derivatives(values, error, "complex step")

    def _by_differences(self, name: str, directions: Array) -> Derivatives:
        first = self.difference(name, directions[0])
        found = [first]
        for v in directions[1:]:
            found.append(self.difference(name, v, first.step))
        values = np.array([each.value for each in found])
        error = max(each.error for each in found)
        return Derivatives(values, error, "differences")

    def difference(
        self, name: str, direction: Array, last: int | None = None
    ) -> Difference:
        """Compute one derivative by differences.

        last: the smallest step, where it is known from another direction; otherwise the
        one with the smallest error is looked for.
        """
        scale = norm(self.params[name]) / self.params[name].size ** 0.5 or 1.0
        first, end = 0, STEPS
        if last is not None:
            first, end = max(last - ORDERS + 1, 0), last + 1
        row: list[float] = []
        best = Difference(0.0, np.inf, 0)
        for index in range(first, end):
            step = LARGEST_STEP * 4.0**-index
            high = self._loss_at(name, direction * (step * scale))
            low = self._loss_at(name, direction * (-step * scale))
            last_row, row = row, [(high - low) / (2 * step * scale)]
            rounding = ROUNDOFF * abs(self.loss) / (step * scale)
            if high == low and index == 0:
                best = Difference(0.0, rounding, 0)
            for order in range(min(len(last_row), ORDERS - 1)):
                gain = (row[order] - last_row[order]) / (16.0 ** (order + 1) - 1)
                row.append(row[order] + gain)
                error = abs(gain), abs(row[-1] - last_row[order]), rounding
                # A loss that does not change at all says nothing: it may be rounded.
                if high != low and max(error) < best.error:
                    best = Difference(row[-1], max(error), index)
        return best

    def _loss_at(self, name: str, change: Array) -> float:
        params = self.params | {name: self.params[name] + change}
        return float(np.real(self.function.loss(params, np.float64)))
