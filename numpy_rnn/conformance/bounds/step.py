"""Rounding errors of one SGD step, (U1) to (U9). Both levels use these formulas, each with its own arithmetic.

Correct is what computes (U1) to (U9) as they stand, every operation rounded to nearest, in the dtype or a wider one,
with or without fused multiply-add: the norm from the squares of all numbers in any order, or from the norms of the
tensors, and in both cases of the numbers as they are, or scaled so that no square overflows; the quotient by a division
or by a product with the reciprocal; η, μ, τ, λ, max_norm, max_value, 10⁻⁶ and 10⁻⁸ (the float64 of that name) rounded
to the dtype or kept in float64. By its definition η is rounded, so the exact value is that with the rounded η, and E
has |η − η̃||δ| more: code in float32 that keeps η in double, as C, Java and JavaScript do, is correct. A norm that
overflows because its squares do is not: it makes the factor 0, and then there is no step at all.
"""

from collections.abc import Iterable
from math import prod

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.bounds.rounding import UPWARDS, Near, Rounding
from numpy_rnn.conformance.case import RateInVelocity, present

SMALL = 1e-6  # added to the norm, (U3)
TINY = 1e-8  # added to the sum of squares, (U9)


class StepBounds:
    """The step of a case, or of stacked ones. The numbers of all parameters are one row, (..., N).

    The leading axes are those of updates and networks.
    """

    def __init__(self, case: WindowCase, arithmetic: Rounding):
        self.case, self.arithmetic, self.dtype = case, arithmetic, case.params.W_hh.dtype
        self.names = list(present(case.params))
        self.shapes = [getattr(case.params, name).shape for name in self.names]
        self.axes = case.params.W_hh.ndim - 2  # leading ones
        self.has_rate_inside = isinstance(case.step, RateInVelocity)
        self.given, self.scalar = arithmetic.given, arithmetic.scalar
        self.times, self.plus = arithmetic.times, arithmetic.plus
        self.theta = self.given(self.row(getattr(case.params, name) for name in self.names))

    def row(self, arrays: Iterable[np.ndarray]) -> np.ndarray:
        """Arrays of the shapes of the parameters, in their order, as one row."""
        rows = (np.asarray(array).reshape(*shape[: self.axes], -1) for array, shape in zip(arrays, self.shapes))
        return np.concatenate(list(rows), axis=-1)

    def by_name(self, prefix: str, row: Near) -> dict[str, Near]:
        """The parts of a row in the shapes of the parameters, by their names after a prefix."""
        stops = np.cumsum([prod(shape[self.axes :]) for shape in self.shapes])
        names = zip(self.names, self.shapes, (0, *stops[:-1]), stops)
        return {prefix + n: Near(*(v[..., i:j].reshape(shape) for v in row)) for n, shape, i, j in names}

    def norm(self, gradient: Near) -> Near:
        """(U2), of the last axis, (..., 1): e + (ρ + γ_2(1+ρ))(n + e) + √(what N squares lose by flushes).

        e = √ΣE², as the norm of a difference bounds the difference of the norms. N numbers are not 0. Their squares
        have N roundings each in one sum, N + 3 at most by the norms of the tensors, and two more where every number is
        divided by the largest; (1+γ)^½ leaves ρ = 1 − (1−γ)^½. The root rounds, and so does the product with the
        largest. Here all numbers are scaled by a power of two, so that no square leaves the range of float64.
        """
        max_abs, gamma = gradient.max_abs, self.arithmetic.gamma
        _, exponent = np.frexp(max_abs.max(axis=-1, keepdims=True))
        squares = (np.square(np.ldexp(v, -exponent)) for v in gradient)
        n, e = (np.ldexp(np.sqrt(v.sum(axis=-1, keepdims=True)), exponent) for v in squares)
        terms = (max_abs > 0).sum(axis=-1, keepdims=True)
        rho = gamma(terms + 5) / (1 + np.sqrt(1 - gamma(terms + 5)))
        flushed = np.sqrt(self.arithmetic.flushes(terms)) + self.arithmetic.flushes(terms) * n
        return Near(n, (e + (rho + gamma(2) * (1 + rho)) * (n + e) + flushed) * UPWARDS)

    def factor(self, norm: Near, max_norm: float) -> Near:
        """(U3). f = min(1, c) with c = M/m, m = n + 10⁻⁶: E = f·r, or 0 where no c̃ is below 1, as then f̃ = 1.

        r bounds |c̃ − c|/c: 1 + r = (1 + |M̃ − M|/M)(1 + γ_2)(1 + E_m/(m − E_m)). Where c̃ may lie on both sides of 1, f̃
        still moves by f·r at most, since upwards it stops at 1; and as 0 ≤ f̃ ≤ 1, E is at most 1.
        """
        M, m = self.scalar(max_norm), self.plus(norm, self.scalar(SMALL))
        own, flushed = self.arithmetic.gamma(2), self.arithmetic.flushes(1)
        lowest = (M.value - M.E) * (1 - own) / m.max_abs - flushed
        own = own + (1 + own) * M.E / M.value
        least = m.value - m.E
        r = own + (1 + own) * m.E / np.where(least > 0, least, 1)
        f = np.minimum(1, M.value / m.value)
        E = np.where(least > 0, np.minimum((f * r + flushed) * UPWARDS, 1), np.where(np.isfinite(m.value), 1.0, np.nan))
        return Near(f, np.where(lowest > UPWARDS, 0.0, E))

    def clipped(self, gradient: Near) -> Near:
        """(U2), (U3), (U7). Raises InputError where so many numbers have no γ."""
        numbers, (*_, max_norm, max_value) = gradient.value.shape[-1], self.case.step
        largest = float(np.finfo(self.dtype).max)  # a limit above it is infinite in the dtype, or as given: none
        if max_value is not None:
            return gradient if max_value > largest else self.clamped(gradient, self.scalar(max_value))
        if max_norm is None or max_norm > largest * numbers:
            return gradient
        if numbers * np.finfo(self.dtype).eps > 0.5:
            raise InputError(f"a norm of {numbers} numbers in {self.dtype} has no bound: expected fewer, or float64")
        return self.times(self.factor(self.norm(gradient), max_norm), gradient)

    def clamped(self, gradient: Near, limit: Near) -> Near:
        """(U7). Nothing rounds: E_v where the gradient is surely within the limit, E_c where it is surely beyond it.

        Between, the larger of the two, as the median of −c, v and c moves by no more than the largest of their moves.
        """
        value, c = gradient.value, limit.value
        inside = np.abs(value) + gradient.E < c - limit.E
        outside = np.abs(value) - gradient.E > c + limit.E
        E = np.where(inside, gradient.E, np.where(outside, limit.E, np.maximum(gradient.E, limit.E)))
        return Near(np.clip(value, -c, c), E * UPWARDS)

    def rate(self) -> Near:
        """−η, rounded to the dtype or not; the exact value is the rounded one."""
        rate, dtype = np.asarray(self.case.step.learning_rate, np.float64)[..., None], self.dtype.type
        rounded = rate.astype(dtype).astype(np.float64)
        return Near(-rounded, np.abs(rate - rounded) + self.given(rounded).E)

    def decayed(self, gradient: Near) -> Near:
        """The clipped gradient with weight decay: (U2) to (U4), (U7); times −η where the velocity has that factor."""
        g, decay = self.clipped(gradient), self.case.step.weight_decay
        g = self.plus(g, self.times(self.scalar(decay), self.theta)) if decay else g
        return self.times(self.rate(), g) if self.has_rate_inside else g

    def velocity(self, g: Near) -> Near | None:
        """(U5) or (U8), of a decayed gradient. None if there is no velocity; g itself at a parameter's first update."""
        step = self.case.step
        if not step.has_velocity:
            return None
        former = [getattr(self.case.velocity, name, None) for name in self.names]
        before = self.given(self.row(np.zeros(s) if v is None else v for v, s in zip(former, self.shapes)))
        if step.adagrad:
            return self.plus(before, self.times(g, g))
        share = self.plus(self.given(1.0), self.scalar(-step.dampening))  # 1 − τ
        v = self.plus(self.times(self.scalar(step.momentum), before), self.times(share, g))
        first = self.row(np.full(s, v is None) for v, s in zip(former, self.shapes))
        return Near(*(np.where(first, *parts) for parts in zip(g, v)))

    def direction(self, g: Near, velocity: Near | None) -> Near:
        """(U6), (U9), from a decayed gradient and the velocity that the step uses."""
        if velocity is None:
            return g
        if self.case.step.adagrad:
            return self.by_root(g, velocity)
        momentum = self.scalar(self.case.step.momentum)
        return self.plus(g, self.times(momentum, velocity)) if self.case.step.nesterov else velocity

    def by_root(self, d: Near, v: Near) -> Near:
        """(U9). s = d/r with r = √m, m = v + 10⁻⁸: E = (E_d + |s|(1 + γ_1) e + γ_3 (|d| + E_d)) / r_low.

        |d̃/r̃ − d/r| ≤ (E_d + |s||r̃ − r|)/r̃. √m̃ is off by e = |√(m ± E_m) − √m| at most, and no sum of squares is below
        0, so that m̃ is 10⁻⁸(1 − γ_2) at least. γ_3: the root, and a division, or a reciprocal and a product.
        """
        gamma, flushed = self.arithmetic.gamma, self.arithmetic.flushes(1)
        m = self.plus(v, self.scalar(TINY))
        low = np.maximum(m.value - m.E, TINY * (1 - gamma(2)))
        r, r_low, r_high = np.sqrt(m.value), np.sqrt(low), np.sqrt(m.value + m.E)
        s, e = d.value / r, np.maximum(r - r_low, r_high - r)
        return Near(s, ((d.E + np.abs(s) * (1 + gamma(1)) * e + gamma(3) * d.max_abs) / r_low + flushed) * UPWARDS)

    def updated(self, gradient: Near, velocity: Near | None = None) -> dict[str, Near]:
        """The velocities and the new parameters, by name. velocity: the one that the direction is computed from."""
        g = self.decayed(gradient)
        computed, delta = self.velocity(g), self.direction(g, velocity)
        delta = delta if self.has_rate_inside else self.times(self.rate(), delta)
        updated = self.plus(self.theta, delta)
        if self.has_rate_inside and self.case.step.nesterov and velocity is not None:  # three terms, in any order
            terms = g, self.times(self.scalar(self.case.step.momentum), velocity)
            partial = np.maximum(*(np.abs(self.theta.value + term.value) + term.E for term in terms))
            updated = Near(updated.value, updated.E + self.arithmetic.gamma(1) * partial * UPWARDS)
        return ({} if computed is None else self.by_name("v", computed)) | self.by_name("", updated)
