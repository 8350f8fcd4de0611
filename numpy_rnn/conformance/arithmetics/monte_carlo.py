"""Monte Carlo arithmetic: random errors in every operation estimate the rounding of a
computation.

Every operation of a float64 computation has a random relative error of at most u, the
unit roundoff of the dtype under test, and an operation on single numbers a second one
that is the same for all numbers of a tensor, as equal numbers round alike. The spread
of a few samples is the size of the rounding error of any correct computation in that
dtype. It is an estimate, not a bound; but where many steps or units make the worst-case
bound useless, it still has the size of the true error.

Half of the samples flush subnormal numbers to zero, and all lose a smallest normal
number for each term of a sum, whose products may be flushed.

A sum of n terms in any order, one after the other too, has the error u √n √(Σ v² + s²),
where s is the sum: √n √Σ v² where the terms have both signs, and √n |s| where they have
one. Independent roundings would give √(n/3) |s|, but those of equal terms are not
independent. The error of a tanh may have the sign of its value everywhere, as it is an
odd function: each sample has half of what is allowed, times one random number for all
its states.

Source: Parker 1997, Monte Carlo arithmetic, UCLA CSD-970002; Denis, de Oliveira Castro
and Petit 2016, Verificarlo, IEEE ARITH 23; Higham and Mary 2019, A new approach to
probabilistic rounding error analysis, SIAM Journal on Scientific Computing 41 (5).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.arithmetic import (
    AnyDtype,
    NumpyArithmetic,
    join,
    nonlinearity_of,
)
from numpy_rnn.conformance.arithmetics.bounds import TAU
from numpy_rnn.conformance.arithmetics.rounding import root_of_squares
from numpy_rnn.conformance.case import WindowCase

SAMPLE_COUNT = 8
FLUSHES = np.arange(SAMPLE_COUNT) % 2 == 0  # the samples that flush
# The samples whose slope is computed from a, not from h.
BY_A = np.arange(SAMPLE_COUNT) % 4 < 2
KINK = 8.0  # spreads of a pre-activation within which relu' may be 0 or 1
OPEN = np.linspace(0, 1, SAMPLE_COUNT)  # the share of such slopes that are 1
# Operations that do not round.
EXACT_UFUNCS = {np.maximum, np.minimum, np.negative, np.absolute, np.positive}


def sampled(case: WindowCase) -> WindowCase:
    """Return the case with one more leading axis of its parameters and velocities, that
    of the samples.
    """
    params, velocity, step = tree_map(
        lambda array: np.broadcast_to(array, (SAMPLE_COUNT, *array.shape)),
        (case.params, case.velocity, case.step),
    )
    return case._replace(params=params, velocity=velocity, step=step)


def spread_of(
    samples: NumpyArray, axis: int, center: NumpyArray | None = None
) -> NumpyArray:
    """Return the root mean square of deviations along an axis, of tiny numbers too.

    They are deviations from `center`, the exact values, or from the mean. Where half of
    the samples flush what the others amplify, the mean may be far from both.
    """
    if center is None:
        center = samples.mean(axis=axis)
    deviations = samples - np.expand_dims(center, axis)
    size = root_of_squares(deviations, axis).squeeze(axis)
    spread: NumpyArray = size / np.sqrt(samples.shape[axis])
    return spread


def repeats(terms: NumpyArray, u: float) -> NumpyArray:
    """Return the mean number of terms that are equal in a sum along axis −2; zeros are
    no terms.
    """
    mantissa, exponent = np.frexp(terms)
    # Terms that differ by roundings alone are equal.
    rounded = np.ldexp(np.rint(mantissa / (64 * u)), exponent)
    ordered = np.sort(rounded, axis=-2)
    index = np.arange(ordered.shape[-2])[:, None]
    is_new = np.diff(ordered, axis=-2, prepend=np.nan) != 0
    repetition = index - np.maximum.accumulate(np.where(is_new, index, 0), axis=-2)
    is_term = ordered != 0
    # 1 + 3 + .. + (2m − 1) = m²
    m_squared = np.where(is_term, 2 * repetition + 1, 0).sum(axis=-2)
    mean: NumpyArray = m_squared / np.maximum(is_term.sum(axis=-2), 1)
    return mean


class MonteCarloArray(np.ndarray):
    """An array of float64 whose operations have random relative errors."""

    noise: "MonteCarloArithmetic"

    def __array_finalize__(self, other: object) -> None:
        """Keep the noise of the array of which this one is a view."""
        self.noise = getattr(other, "noise", None)  # type: ignore[assignment]

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any
    ) -> Any:
        """Compute an operation of NumPy, with random errors where it rounds."""
        plain = [self.noise.plain(operand) for operand in inputs]
        result = getattr(ufunc, method)(*plain, **keywords)
        if result.dtype.kind != "f":
            return result
        if ufunc in EXACT_UFUNCS:
            return self.noise.from_input(result)
        if method == "reduce" and ufunc is np.add:
            squares = np.add.reduce(np.square(plain[0]), **keywords)
            n = plain[0].size // max(result.size, 1)
            last = np.atleast_1d(keywords.get("axis", -1))
            terms = np.moveaxis(plain[0], last, range(-len(last), 0)).reshape(-1, n, 1)
            m = repeats(terms, self.noise.u).reshape(result.shape)
            return self.noise.rounded_sum(result, squares, n, m)
        return self.noise.rounded(result, np.abs(result), 1)


class MonteCarloArithmetic(NumpyArithmetic):
    """Random roundings to a dtype, of a case that is `sampled`. reported: as for
    `Bounds`.
    """

    def __init__(
        self,
        dtype: AnyDtype,
        tau: float = TAU,
        reported: dict[str, NumpyArray] | None = None,
        seed: int = 0,
    ):
        """Draw the error of tanh in each sample."""
        super().__init__(dtype, reported)
        limits = np.finfo(dtype)
        self.u, self.smallest = float(limits.eps) / 2, float(limits.smallest_normal)
        self.tau = tau
        self.generator = np.random.default_rng(seed)
        self.tilt = self.generator.uniform(-1, 1, SAMPLE_COUNT)  # of tanh, by sample

    def from_input(
        self, array: NumpyArray, error: NumpyArray | float = 0.0
    ) -> NumpyArray:
        """Return the numbers; half of the samples read subnormal ones as zeros."""
        value = np.asarray(array, np.float64)
        if np.any(error):
            value = value + error * self.generator.uniform(-1, 1, value.shape)
        is_tiny = (np.abs(value) < self.smallest) & (value != 0)
        if is_tiny.any():
            value = np.where(is_tiny & self.per_sample(value, FLUSHES), 0.0, value)
        noisy = value.view(MonteCarloArray)
        noisy.noise = self
        return noisy

    def per_sample(self, value: NumpyArray, numbers: NumpyArray) -> NumpyArray:
        """Return a number for each sample, along their axis: the first, or that after
        time.
        """
        axis = int(value.ndim == self.axes + 3)
        shape = [1] * value.ndim
        shape[axis] = SAMPLE_COUNT
        return numbers.reshape(shape)

    def plain(self, operand: Any) -> Any:
        """Return the numbers of an operand. Raises TypeError if it is an array without
        noise.

        Functions of NumPy that are no ufuncs, such as np.stack, drop the noise.
        """
        if isinstance(operand, MonteCarloArray):
            return np.asarray(operand)
        if isinstance(operand, np.ndarray) and operand.dtype.kind == "f":
            raise TypeError("an operand has no noise: expected one of `from_input`")
        return operand

    def stack(self, values: Sequence[NumpyArray]) -> NumpyArray:
        """Return values of steps as one array, time first."""
        return self.from_input(super().stack([self.plain(value) for value in values]))

    def report(self) -> dict[str, NumpyArray]:
        """Return the tensors by name, as arrays without noise."""
        return {name: np.asarray(value) for name, value in super().report().items()}

    def rounded(self, value: NumpyArray, size: NumpyArray, n: float) -> NumpyArray:
        """Return the result of an operation on n terms, with a random error of this
        size in units of u.
        """
        tiny = n * self.smallest
        if (np.abs(value) * self.u < tiny).any():
            lost = np.minimum(np.abs(value), tiny) * np.sign(value)
            value = value - lost * self.per_sample(value, FLUSHES)
        noise = 2 * self.generator.random(value.shape, np.float32) - 1
        if n <= 1:  # equal numbers round alike
            alike = self.generator.uniform(-1, 1, SAMPLE_COUNT)
            noise = noise + self.per_sample(value, alike)
        # A sum whose terms are all 0 is exact.
        error = self.u * size + tiny * (size > 0)
        return self.from_input(value + error * noise)

    def rounded_sum(
        self, value: NumpyArray, squares: NumpyArray, n: int, m: NumpyArray
    ) -> NumpyArray:
        """Return a sum of n terms, each of which occurs m times, and whose squares have
        this sum.
        """
        size = np.abs(value)
        if n > 1:
            size = np.hypot(np.sqrt(squares), value) * np.sqrt(n * m)
        return self.rounded(value, size, n)

    def affine(
        self,
        products: Sequence[tuple[NumpyArray, NumpyArray]],
        bias: NumpyArray | None = None,
    ) -> NumpyArray:
        """Return Σ A B, and the bias, for every row."""
        left = join([self.plain(A) for A, _ in products], -1)
        right = join([self.plain(B) for _, B in products], -2)
        value = left @ right
        n = left.shape[-1] + 1
        # Those of the last sample, which does not flush.
        squares = np.square(left[-1:]) @ np.square(right[-1:])
        if bias is not None:
            row = self.plain(bias)[..., None, :]
            value = value + row
            squares = squares + np.square(row[-1:])
        # Terms are equal where a column and a row are. A weighted sum of each is its
        # key.
        i = np.sqrt(np.arange(2.0, left.shape[-2] + 2))
        j = np.sqrt(np.arange(2.0, right.shape[-1] + 2))
        m = repeats(((i @ left[-1:]) * (right[-1:] @ j))[..., None], self.u)
        return self.rounded_sum(value, squares, n, m[..., None])

    def total(self, steps: Sequence[NumpyArray]) -> NumpyArray:
        """Return the sum over steps and sequences."""
        rows = join([self.plain(value) for value in steps], -2)
        value = rows.sum(axis=-2)
        squares = np.square(rows).sum(axis=-2)
        m = repeats(rows[-1:], self.u)
        return self.rounded_sum(value, squares, rows.shape[-2], m)

    def rate(self, step: Step, theta: NumpyArray) -> NumpyArray:
        """Return η as numbers of the case."""
        return self.from_input(super().rate(step, theta))

    def phi(self, a: NumpyArray, nonlinearity: str) -> NumpyArray:
        """Return φ(a)."""
        h: NumpyArray = super().phi(a, nonlinearity)
        if nonlinearity_of(nonlinearity).has_kink:
            return h
        values = self.plain(h)
        tilt = self.u * self.per_sample(h, self.tilt)
        return self.from_input(values * (1 + tilt * self.tau / 2))

    def by_slope(
        self, dh: NumpyArray, a: NumpyArray, h: NumpyArray, nonlinearity: str
    ) -> NumpyArray:
        """Return dh ∘ φ'(a), from a or from h; for relu any slope near the kink."""
        row = nonlinearity_of(nonlinearity)
        if not row.has_kink:
            tilt = self.u * self.tau * self.per_sample(a, self.tilt)
            slope = row.slope_of_a(self.plain(a)) * (1 + tilt)  # of a cosh, squared
            by_h = dh * row.slope(a, h)
            by_a = dh * self.from_input(slope)
            return self.from_input(np.where(self.per_sample(a, BY_A), by_a, by_h))
        a = self.plain(a)
        spread = spread_of(a, 0) if "a" not in self.reported else 0.0
        is_near = (np.abs(a) <= KINK * spread) & (spread > 0)
        is_open = self.generator.random(a.shape) < self.per_sample(a, OPEN)
        return self.from_input(
            self.plain(dh) * np.where(is_near, is_open, self.plain(h) > 0)
        )
