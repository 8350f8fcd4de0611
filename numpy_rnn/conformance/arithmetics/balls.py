"""Ball arithmetic: the definition on numbers with rigorous radii gives enclosures of every tensor, the oracle.

A ball is a midpoint and a radius. The numbers of the case are exact, and every operation carries its error along. The
precision is doubled until the radii are far below the rounding of float64. Tensors are arrays of flint.arb.

Source: Johansson 2017, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, IEEE Transactions on
Computers 66 (8); Rump 2010, Verification methods, Acta Numerica 19, section 5.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray, Step, WindowCase
from numpy_rnn.conformance.arithmetics.arithmetic import Dtype
from numpy_rnn.conformance.arithmetics.floats import SMALL, TINY, Floats
from numpy_rnn.conformance.case import present, required_outputs
from numpy_rnn.conformance.definition import DEFINITION, Definition, window_update

PRECISION = 128  # bits at first
MAX_PRECISION = 2**15
MAX_RELATIVE_RADIUS = (
    2.0**-96
)  # a radius relative to its value; the rounding of `low` alone gives 2**-106
SUBNORMAL = 5e-324  # the smallest number above 0


Ball = Any  # flint.arb, which has no types


class Enclosure(NamedTuple):
    """A tensor of real numbers, each of them within `radius` of high + low. All three arrays are float64."""

    high: np.ndarray  # the float64 nearest to the midpoint
    low: np.ndarray  # the float64 nearest to what `high` leaves
    radius: np.ndarray  # 0 where the number is known to be 0

    def difference(self, reported: NumpyArray) -> np.ndarray:
        """reported − value, to within the radius and a relative 2⁻⁵²: the first difference is exact if it is small."""
        return (np.asarray(reported, np.float64) - self.high) - self.low


class Uncertain(Exception):
    """A ball that does not say on which side of the kink of a relu it is."""


def oracle(case: WindowCase, of: Definition = DEFINITION) -> dict[str, Enclosure]:
    """The enclosure of every tensor that this case may require, with a radius below 2⁻⁹⁶ of the value.

    The learning rate is rounded to the case's dtype, other options are not. Below its range, float64 is 0.

    Raises InputError without python-flint, on NaN or infinity, and on a case that overflows float64.
    """
    flint = load_flint()
    arrays = {
        **present(case.params),
        "x": case.x,
        "target": case.target,
        "h_0": case.h_0,
        "weights": case.weights,
    }
    arrays |= {"v" + name: v for name, v in present(case.velocity).items()}
    arrays["η"] = None if case.step is None else case.step.learning_rate
    for name, array in arrays.items():
        if array is not None and not np.isfinite(array).all():
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
    precision = PRECISION
    while precision <= MAX_PRECISION:
        enclosures = None
        with flint.ctx.workprec(precision):
            try:
                report = window_update(case, Balls(case.params.W_hh.dtype), of)
                enclosures = _enclosures(
                    {
                        name: np.array(report[name], object)
                        for name in required_outputs(case, True, True)
                    }
                )
            except Uncertain:
                pass
        if enclosures is not None:
            return enclosures
        precision *= 2
    raise InputError(
        f"this case is not enclosed at {MAX_PRECISION} bits: it overflows float64, or relu' depends on a cancellation"
    )


def load_flint() -> Any:
    """The module flint, which only ball arithmetic needs."""
    try:
        import flint
    except ImportError as error:
        raise InputError(
            "python-flint is not installed: ball arithmetic needs it; run `pip install python-flint`"
        ) from error
    return flint


def each(f: Callable[[Ball], Ball]) -> np.ufunc:
    """The function of arrays that is f of every ball."""
    return np.frompyfunc(f, 1, 1)


class Balls(Floats):
    """Arrays of balls, at flint's present precision."""

    def __init__(self, dtype: Dtype):
        super().__init__(dtype)
        self.ball = load_flint().arb

    def given(self, array: NumpyArray, /) -> NumpyArray:
        return each(self.ball)(np.asarray(array, np.float64))

    def zeros(self, value: NumpyArray) -> NumpyArray:
        return self.given(np.zeros(value.shape))

    def phi(self, a: NumpyArray, nonlinearity: str) -> NumpyArray:
        return each(_relu)(a) if nonlinearity == "relu" else super().phi(a, nonlinearity)

    def by_slope(
        self, dh: NumpyArray, a: NumpyArray, h: NumpyArray, nonlinearity: str
    ) -> NumpyArray:
        if nonlinearity == "relu":
            return dh * each(lambda ball: int(_relu(ball) > 0))(h)
        return super().by_slope(dh, a, h, nonlinearity)

    def log_softmax(self, y: NumpyArray) -> NumpyArray:
        """log p, shifted by the y whose midpoint is the largest, so that its own exponential is exactly 1."""
        largest = np.asarray(y, np.float64).argmax(axis=-1)[..., None]
        z = y - np.take_along_axis(y, largest, axis=-1)
        z = np.where(np.arange(y.shape[-1]) == largest, self.ball(0), z)
        return z - each(self.ball.log)(
            np.asarray(each(self.ball.exp)(z).sum(axis=-1, keepdims=True))
        )

    def constant(self, number: float) -> Ball:
        return self.ball(number)

    def rate(self, step: Step, theta: NumpyArray) -> Ball:
        return self.ball(float(self.dtype.type(step.learning_rate)))

    def expand(self, per_network: Any, array: Any) -> Any:
        return per_network

    def norm(
        self, gradients: Sequence[NumpyArray]
    ) -> Ball:  # of squares: not negative, though their ball may be
        return sum(((g * g).sum() for g in gradients), self.ball(0)).nonnegative_part().sqrt()

    def factor(self, norm: Ball, max_norm: float) -> Ball:
        return (self.ball(max_norm) / (norm + self.ball(SMALL))).min(self.ball(1))

    def clip(self, g: NumpyArray, max_value: float) -> NumpyArray:
        return each(lambda number: number.min(self.ball(max_value)).max(-self.ball(max_value)))(g)

    def by_root(self, g: NumpyArray, squares: NumpyArray) -> NumpyArray:
        return g / each(lambda square: (square.nonnegative_part() + self.ball(TINY)).sqrt())(
            squares
        )


def _relu(a: Ball) -> Ball:
    """max(a, 0) of a ball. Raises Uncertain where it may be on both sides."""
    if a > 0:
        return a
    if a < 0 or a.is_zero():
        return 0 * a
    raise Uncertain


def _enclosures(tensors: dict[str, NumpyArray]) -> dict[str, Enclosure] | None:
    """Arrays of the balls; None if a radius is too large."""
    flat = np.concatenate([tensor.ravel() for tensor in tensors.values()])
    high = flat.astype(np.float64)
    if not np.isfinite(high).all():
        return None
    rests = flat - high
    low = rests.astype(np.float64)
    # In addition to the radius of the ball: the rounding of `low`, and of what is below the range of float64.
    below = np.array([0.0 if ball.is_zero() else SUBNORMAL for ball in flat])
    radius = np.array([float(rest.rad()) for rest in rests])
    radius = (radius + 2.0**-53 * np.abs(low) + 2 * below) * (1 + 2.0**-50)
    if not (radius <= MAX_RELATIVE_RADIUS * np.abs(high) + 4 * below).all():
        return None
    stops = np.cumsum([tensor.size for tensor in tensors.values()])[:-1]
    parts = zip(*(np.split(part, stops) for part in (high, low, radius)))
    return {
        n: Enclosure(*(v.reshape(tensors[n].shape) for v in part))
        for n, part in zip(tensors, parts)
    }
