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
from numpy_rnn.conformance.gradients.roundings import rounding
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


def scale_of(array: Array) -> float:
    """Return the root mean square of the elements, 1 if they are 0."""
    return norm(array) / array.size**0.5 or 1.0


def perturbed(params: Params, relative: float, random: np.random.Generator) -> Params:
    """Return the parameters with a random relative change of each number."""
    changed = {}
    for name, array in params.items():
        changed[name] = array * (1 + relative * random.uniform(-1, 1, array.shape))
    return changed


class LossDerivative:
    """The derivatives of the loss of a function at one point."""

    def __init__(self, function: UserFunction, params: Params, loss: float):
        self.function, self.params, self.loss = function, params, loss
        self.random = np.random.default_rng(1)
        self.data_dtype: type = np.float64
        name = next(iter(params))
        if np.isnan(self._complex_step(name, params[name], params)):
            # Helps code whose buffers are like its data.
            self.data_dtype = np.complex128

    def along(self, name: str, directions: Array) -> Derivatives:
        """Compute the derivatives along directions of a parameter, the first axis."""
        values = np.full(len(directions), np.nan)
        for index, v in enumerate(directions):
            values[index] = self._complex_step(name, v, self.params)
            if np.isnan(values[index]):
                break
        else:
            error = self._rounding_error(name, directions, values)
            witness = self._difference(name, directions[0])
            allowed = SPREADS * (error + witness.error) + ROUNDOFF * abs(values[0])
            if abs(witness.value - values[0]) <= allowed < np.inf:
                return Derivatives(values, error, "complex step")
        first = self._difference(name, directions[0])
        found = [first]
        for v in directions[1:]:
            found.append(self._difference(name, v, first.step))
        values = np.array([each.value for each in found])
        error = max(each.error for each in found)
        return Derivatives(values, error, "differences")

    def _complex_step(self, name: str, direction: Array, params: Params) -> float:
        """Compute one derivative by complex step; NaN where that fails."""
        params = params | {name: params[name] + 1j * COMPLEX_STEP * direction}
        try:
            found = self.function.evaluate(params, np.complex128, self.data_dtype)
        except Exception:  # the user's code may raise anything
            return np.nan
        return float(np.imag(found.loss)) / COMPLEX_STEP

    def _rounding_error(self, name: str, directions: Array, values: Array) -> float:
        """Estimate the error of a complex step from runs with other roundings."""
        changes = []
        for repeat in range(REPEATS):
            index = repeat % len(values)
            nearby = perturbed(self.params, 2 * ROUNDOFF, self.random)
            # Backwards, which shows a kink at this very point.
            with rounding(repeat):
                backwards = self._complex_step(name, -directions[index], nearby)
            changes.append(values[index] + backwards)
        return norm(np.array(changes)) / REPEATS**0.5

    def _difference(
        self, name: str, direction: Array, last: int = STEPS - 1
    ) -> Difference:
        """Compute one derivative by differences.

        last: the smallest step, where it is known from another direction; otherwise the
        one with the smallest error is looked for.
        """
        scale = scale_of(self.params[name])
        first = 0 if last == STEPS - 1 else max(last - ORDERS + 1, 0)
        row: list[float] = []
        best = Difference(0.0, np.inf, 0)
        for index in range(first, last + 1):
            step = scale * LARGEST_STEP * 4.0**-index
            change = self._loss_at(name, step * direction)
            change -= self._loss_at(name, -step * direction)
            rounding = ROUNDOFF * abs(self.loss) / step
            if change == 0 and index == 0:
                best = Difference(0.0, rounding, 0)
            last_row, row = row, [change / (2 * step)]
            for order, before in enumerate(last_row[: ORDERS - 1]):
                gain = (row[order] - before) / (16.0 ** (order + 1) - 1)
                row.append(row[order] + gain)
                error = max(abs(gain), abs(row[-1] - before), rounding)
                # A loss that does not change at all says nothing: it may be rounded.
                if change != 0 and error < best.error:
                    best = Difference(row[-1], error, index)
        return best

    def _loss_at(self, name: str, change: Array) -> float:
        params = self.params | {name: self.params[name] + change}
        return float(np.real(self.function.evaluate(params).loss))
