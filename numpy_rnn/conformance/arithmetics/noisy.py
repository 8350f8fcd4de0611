"""Monte Carlo arithmetic: the definition with a random error in every operation estimates what rounding does.

Every operation of a float64 computation is given a random relative error of at most u, the unit roundoff of the dtype
under test. The spread of a few samples is the size of the rounding error of any correct computation in that dtype. It
is an estimate, not a bound; but where many steps or units make the worst-case bound useless, it still has the size of
the true error.

A sum of n terms in any order, one after the other too, has the error u √n √(Σ v² + s²/3), where s is the sum: √n √Σ v²
where the terms have both signs, and √(n/3) |s| where they have one. The error of a tanh may have one sign everywhere:
each sample has half of what is allowed, times one random number for all its states.

Source: Parker 1997, Monte Carlo arithmetic, UCLA CSD-970002; Denis, de Oliveira Castro and Petit 2016, Verificarlo,
IEEE ARITH 23; Higham and Mary 2019, A new approach to probabilistic rounding error analysis, SIAM Journal on Scientific
Computing 41 (5).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.conversion import convert
from numpy_rnn.common.records import NumpyArray, WindowCase
from numpy_rnn.conformance.arithmetics.arithmetic import Dtype
from numpy_rnn.conformance.arithmetics.bounds import TAU, TanhError
from numpy_rnn.conformance.arithmetics.floats import Floats, joined

SAMPLES = 8
KINK = 8.0  # spreads of a pre-activation within which relu' may be 0 or 1
EXACT = {
    np.maximum,
    np.minimum,
    np.negative,
    np.absolute,
    np.positive,
    np.greater,
    np.less,
    np.equal,
    np.sign,
}


def sampled(case: WindowCase) -> WindowCase:
    """The case with one more leading axis of its parameters and velocities, that of the samples."""

    def repeated(array: NumpyArray) -> NumpyArray:
        return np.broadcast_to(array, (SAMPLES, *array.shape))

    params, velocity = convert(repeated, case.params), convert(repeated, case.velocity)
    step = case.step
    if step is not None and np.ndim(step.learning_rate):
        step = step._replace(learning_rate=repeated(np.asarray(step.learning_rate)))
    return case._replace(params=params, velocity=velocity, step=step)


class NoisyArray(np.ndarray):
    """An array of float64 whose operations have random relative errors."""

    noise: "Noisy"

    def __array_finalize__(self, other: object) -> None:
        self.noise = getattr(other, "noise", None)  # type: ignore[assignment]

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        plain = [np.asarray(each) if isinstance(each, NoisyArray) else each for each in inputs]
        result = getattr(ufunc, method)(*plain, **keywords)
        if ufunc in EXACT or result.dtype.kind != "f":
            return result if ufunc not in EXACT else self.noise.given(result)
        if method == "reduce" and ufunc is np.add:
            squares = np.square(plain[0]).sum(
                axis=keywords.get("axis"), keepdims=keywords.get("keepdims", False)
            )
            return self.noise.rounded(result, squares, plain[0].size / max(result.size, 1))
        return self.noise.rounded(result, np.square(result), 1)


class Noisy(Floats):
    """Random roundings to a dtype, of a case that is `sampled`. reported: as for `Bounds`."""

    def __init__(
        self,
        dtype: Dtype,
        tau: TanhError = TAU,
        reported: dict[str, NumpyArray] | None = None,
        seed: int = 0,
    ):
        super().__init__(dtype)
        self.tau = tau
        limits = np.finfo(dtype)
        self.reported, self.u, self.smallest = (
            reported or {},
            float(limits.eps) / 2,
            float(limits.smallest_normal),
        )
        self.generator = np.random.default_rng(seed)
        self.tilt = self.generator.uniform(-1, 1, SAMPLES)  # of tanh, by sample

    def given(self, array: NumpyArray, /) -> NumpyArray:
        """The numbers, of which each sample reads the subnormal ones as they are or as zeros."""
        value = np.asarray(array, np.float64)
        is_tiny = (np.abs(value) < self.smallest) & (value != 0)
        if is_tiny.any():
            shape = (
                (SAMPLES, *value.shape[1:])
                if value.ndim > 2 and value.shape[0] == 1
                else value.shape
            )
            value = np.where(is_tiny & (self.generator.random(shape) < 0.5), 0.0, value)
        noisy = value.view(NoisyArray)
        noisy.noise = self
        return noisy

    def see(self, name: str, t: int | None, value: NumpyArray) -> NumpyArray:
        super().see(name, t, np.asarray(value))
        if name not in self.reported:
            return value
        return self.given(
            np.broadcast_to(
                self.reported[name] if t is None else self.reported[name][t - 1], value.shape
            )
        )

    def rounded(self, value: NumpyArray, squares: NumpyArray, n: float) -> NumpyArray:
        """A sum of n terms, whose squares have this sum, with a random error; n = 1: any other operation."""
        size = np.abs(value) if n <= 1 else np.sqrt(n * (squares + np.square(value) / 3))
        return self.given(value + self.u * size * self.generator.uniform(-1, 1, np.shape(value)))

    def affine(
        self, products: Sequence[tuple[NumpyArray, NumpyArray]], *biases: NumpyArray | None
    ) -> NumpyArray:
        """One sum."""
        left, right = (joined([pair[side] for pair in products], -1 - side) for side in (0, 1))
        value, squares, n = left @ right, np.square(left) @ np.square(right), left.shape[-1]
        for row in [np.asarray(b)[..., None, :] for b in biases if b is not None]:
            value, squares, n = value + row, squares + np.square(row), n + 1
        return self.rounded(value, squares, max(n, 2))

    def total(self, steps: Sequence[NumpyArray]) -> NumpyArray:
        rows = joined(steps, -2)
        rows = np.broadcast_to(
            rows, (SAMPLES, *rows.shape[1:])
        )  # a given dy is the same for all samples
        return self.rounded(rows.sum(axis=-2), np.square(rows).sum(axis=-2), rows.shape[-2])

    def phi(self, a: NumpyArray, nonlinearity: str) -> NumpyArray:
        h = super().phi(a, nonlinearity)
        if nonlinearity == "relu":
            return h
        values, tilt = np.asarray(h), self.u * self.tilt.reshape(-1, *(1,) * (h.ndim - 1))
        return self.given(
            values + tilt * (self.tau.relative / 2 * np.abs(values) + self.tau.absolute)
        )

    def by_slope(
        self, dh: NumpyArray, a: NumpyArray, h: NumpyArray, nonlinearity: str
    ) -> NumpyArray:
        """dh ∘ φ'(a); for relu any slope where a may be on both sides of the kink."""
        if nonlinearity != "relu":
            return super().by_slope(dh, a, h, nonlinearity)
        spread = np.std(np.asarray(a), axis=0) if "a" not in self.reported else 0.0
        is_open = (np.abs(np.asarray(a)) <= KINK * spread) & (spread > 0)
        slope = np.where(is_open, self.generator.integers(0, 2, a.shape), np.asarray(h) > 0)
        return self.given(np.asarray(dh) * slope)
