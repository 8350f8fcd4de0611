"""Rounding bounds: values with a bound E of the difference of any correct computation
of them.

Correct is what rounds every operation to nearest, in the case's dtype or a wider one:
sums in any order, with or without fused multiply-add, subnormal numbers kept or flushed
to zero, 1 − h² by any of its factorisations, "mean" by division or by a product with
the reciprocal. Excluded are products of matrices by fewer multiplications (Strassen)
and numbers out of the dtype's range.

The SGD step is correct by its equations, with η, the other options, 10⁻⁶ and 10⁻⁸ (the
float64 of that name) rounded to the dtype or kept in float64. By its definition η is
rounded, so the value is that with the rounded η, and E has |η − η̃||δ| more: code in
float32 that keeps η in double, as C, Java and JavaScript do, is correct. A norm that
overflows because its squares do is not: it makes the factor 0, and then there is no
step at all.

The values are computed in float64, and its own rounding, the same formulas with the
unit roundoff of float64, is part of E. `reported`: the tensors of an implementation.
With them every equation starts from the reported numbers, so that a faulty equation is
found by itself, an error that it passes on does not count again, and the bounds do not
loosen with width or depth (level L1). Without them E is carried through the whole
window (level L2).
"""

from collections.abc import Sequence

import numpy as np

from numpy_rnn.common.records import NumpyArray, Step
from numpy_rnn.conformance.arithmetics.arithmetic import (
    ADAGRAD_OFFSET,
    NORM_OFFSET,
    AnyDtype,
    nonlinearity_of,
)
from numpy_rnn.conformance.arithmetics.rounding import (
    UPWARDS,
    BoundedArray,
    Real,
    Rounding,
    root_of_squares,
)

# The largest error of a usual tanh: NumPy 1.4, torch 0.75, glibc 2.1, JAX 7.
STRICT_TANH_ULPS = 8
TAU = 2.0 * STRICT_TANH_ULPS  # τ: tanh is off by τ u of its value at most
CHECKER_TAU = 4.0  # NumPy's own, in float64
ROWS_AND_STEPS = (0, -2, -1)  # the axes of the terms of a loss


class Bounds(Rounding):
    """Values of one window with their bounds. tau: the error of tanh; reported: given
    tensors.
    """

    def __init__(
        self,
        dtype: AnyDtype,
        tau: float = TAU,
        reported: dict[str, NumpyArray] | None = None,
    ):
        """Make the bounds of a dtype."""
        super().__init__(dtype, reported)
        self.tau = tau

    def stack(self, values: Sequence[BoundedArray]) -> BoundedArray:
        """Return values of steps as one array, time first."""
        value = np.stack(np.broadcast_arrays(*(v.value for v in values)))
        E = np.stack(np.broadcast_arrays(*(v.E for v in values)))
        return BoundedArray(value, E, self)

    def zeros(self, value: BoundedArray) -> BoundedArray:
        """Return zeros like the value."""
        return value.map(np.zeros_like)

    def affine(
        self,
        products: Sequence[tuple[BoundedArray, BoundedArray]],
        bias: BoundedArray | None = None,
    ) -> BoundedArray:
        """Return one sum: the bias is one more row of the right matrix, for a one in
        the left one.
        """
        left = [A for A, _ in products]
        right = [B for _, B in products]
        if bias is not None:
            left.append(self.from_input(np.ones((*left[0].shape[:-1], 1))))
            right.append(bias.map(lambda array: array[..., None, :]))
        return self.product(self.join(left, -1), self.join(right, -2))

    def total(self, steps: Sequence[BoundedArray]) -> BoundedArray:
        """Return the sum over steps and sequences."""
        return self.sum(self.join(steps, -2))

    def phi(self, a: BoundedArray, nonlinearity: str) -> BoundedArray:
        """Return φ(a), (F2).

        With a' the steepest number within E_a, and r the most that the column
        `roundings` is there,

            E = e + τu (|h| + e + r),  e = φ'(a') E_a

        For relu E is E_a, and 0 on its dead side. r of the logistic function is ½: it
        is 1/(1 + exp(−a)), exp(a)/(1 + exp(a)) or ½ + ½ tanh(a/2), whose terms cancel.
        So much is allowed where h is smaller.
        """
        row = nonlinearity_of(nonlinearity)
        h = row.phi(a.value)
        if row.has_kink:
            return BoundedArray(h, np.where(a.value < -a.E, 0.0, a.E), self)
        inherited = row.steepest(a.value, a.E) * a.E
        max_abs = np.abs(h) + inherited
        max_abs = max_abs + row.roundings(a.value, a.E)
        tau_u = self.tau * self.u + CHECKER_TAU * self.checker_u
        rounding = tau_u * max_abs + self.flushes(max_abs > 0)
        return self.bounded(h, inherited + rounding)

    def by_slope(
        self, dh: BoundedArray, a: BoundedArray, h: BoundedArray, nonlinearity: str
    ) -> BoundedArray:
        """Return dh ∘ φ'(a), (B3).

        It is a product with the slope D = φ'(a), computed from h, which is near φ(a) or
        reported, or from a. The bound of the slope is the larger of the two, and what a
        flush of it loses.

        From h, tanh' is 1 − h². With c = |h| + E_h its bound is

            e + γ_3 (|D| + e),  e = 2|h| E_h + E_h² + γ_2 max(c, c²) + |1 − h² − D|

        which covers (1−h)(1+h), dh − dh·h² and (dh + dh·h)(1−h) too. The logistic
        function's h(1 − h) has |1 − 2h| for 2|h|, which covers dh·h − dh·h² too. For
        another slope, max(c, c²) is the column `slope_roundings`.

        From a, tanh' is 1/cosh²(a). With s the steepest slope within E_a its bound is

            s (2 E_a + γ_{2τ+3})

        as its derivative is at most twice itself, and cosh may be as inaccurate as
        tanh. That of the logistic function is ¼/cosh²(a/2).

        relu' is unknown where |a| ≤ E_a, so its bound is 1 there.
        """
        row = nonlinearity_of(nonlinearity)
        D = row.slope_of_a(a.value)
        c = h.max_abs
        if row.has_kink:
            is_open = (np.abs(a.value) <= a.E) & (a.E > 0)
            return dh * BoundedArray(D, is_open * 1.0, self)
        e = h.E * (row.change(h.value) + h.E) + self.gamma(2) * row.slope_roundings(c)
        e = e + np.abs(row.slope(a.value, h.value) - D)
        by_h = e + self.gamma(3) * (D + e)
        rounding = self.gamma(2 * self.tau + 3)
        by_a = row.steepest(a.value, a.E) * (row.curvature * a.E + rounding)
        return dh * self.bounded(D, np.maximum(by_h, by_a) + self.flushes(1))

    def mean(self, terms: BoundedArray, C: float) -> BoundedArray:
        """Return a sum over the rows, whose terms may be divided by C one by one."""
        count = (terms.max_abs > 0).sum(axis=ROWS_AND_STEPS)
        return self.divided(self.sum(terms, ROWS_AND_STEPS), C, count)

    def divided(self, values: BoundedArray, C: float, terms: Real = 1) -> BoundedArray:
        """Return values / C, by a division or two roundings of a product with 1/C."""
        if C == 1:
            return values
        scaled = values.map(lambda array: array / C)
        flushed = self.flushes(terms) * (values.max_abs > 0)
        rounding = self.gamma(2) * scaled.max_abs + flushed
        return self.bounded(scaled.value, scaled.E + rounding)

    def softmax(self, y: BoundedArray) -> tuple[BoundedArray, BoundedArray]:
        """Return log p and p = softmax(y), along the last axis.

        With τ, the error of exp and log in units of u of their value, that of tanh, and
        for each row of outputs y, that are off by E at most,

            m = max y,  z = y − m ≤ 0,  S = Σ_k exp(z_k),  log p = z − log S,
            p = exp(z) / S

        Errors are followed on the logarithm, where those of factors add up: a rounding,
        (1 + δ) with |δ| ≤ u, moves it by γ_1 at most, τ of them by γ_τ, and ỹ_k for y_k
        by E_k. With Ē = max_k E_k, of exp(z̃_k), a shift and an exponential; of S̃, the
        mean error of its terms, and a sum; and of log S̃:

            e_k = E_k + γ_1 (|z_k| + E_k + Ē) + γ_τ
            s   = log Σ_k p_k exp(e_k) + γ_O + flushes
            l   = s + γ_τ (log S + s)

        Of log p̃_k and p̃_k: the maximum added to log S̃, the difference, an exponential
        or a division; and of log p̃_k as the logarithm of p̃_k:

            d_k = e_k + l + γ_1 (|m| + Ē + log S + l)
                  + γ_1 (|log p_k| + e_k + l) + γ_τ + γ_2
            D_k = d_k + γ_τ (|log p_k| + d_k)

        Correct is therefore: exp(z)/S, exp(z − log S), exp(y − (m + log S)), and where
        no exponential leaves the range, the same without the shift. p̃ is off by
        p (exp(d) − 1), and by 1 at most; and by γ_{O+6} p (1 + p) for automatic
        differentiation, in which a sum of O terms and the division by C, of p and of a
        target of 1, come before their difference. A loss from −log p̃ is correct only
        where p̃ is not flushed to zero.

        Source: Blanchard, Higham and Higham 2021, Accurately computing the log-sum-exp
        and softmax functions, IMA Journal of Numerical Analysis 41.
        """
        gamma = self.gamma
        tau = self.tau
        E = y.E
        O = y.shape[-1]
        m = y.value.max(axis=-1, keepdims=True)
        z = y.value - m
        E_max = E.max(axis=-1, keepdims=True)
        log_S = np.log(np.exp(z).sum(axis=-1, keepdims=True))
        log_p = z - log_S
        e = E + gamma(1) * (np.abs(z) + E + E_max) + gamma(tau)
        grown = log_p + e
        most = grown.max(axis=-1, keepdims=True)  # so that no exponential overflows
        s = most + np.log(np.exp(grown - most).sum(axis=-1, keepdims=True))
        s = s + gamma(O) + self.flushes(O)
        l = s + gamma(tau) * (log_S + s)
        d = e + l + gamma(1) * (np.abs(m) + E_max + log_S + l)
        d = d + gamma(1) * (np.abs(log_p) + e + l) + gamma(tau) + gamma(2)
        p = np.exp(log_p)
        largest = np.exp(np.minimum(log_p + d, 0))  # where p itself underflows, too
        E_p = np.where(d < 1, p * np.expm1(np.minimum(d, 1)), largest)
        E_p = E_p + gamma(O + 6) * (p + E_p) * (1 + p) + self.flushes(4)
        D = d + gamma(tau) * (np.abs(log_p) + d)
        return self.bounded(log_p, D), self.bounded(p, E_p)

    def rate(self, step: Step, theta: BoundedArray) -> BoundedArray:
        """Return η, rounded to the dtype or not; the value is the rounded one."""
        rate = np.asarray(step.learning_rate, np.float64)
        rounded = rate.astype(self.dtype).astype(np.float64)
        error = np.abs(rate - rounded)
        bounded: BoundedArray = self.expand(self.from_input(rounded, error), theta)
        return bounded

    def norm(self, gradients: Sequence[BoundedArray]) -> BoundedArray:
        """Return the norm n, (U2).

        E is e + (ρ + γ_2(1+ρ))(n + e) + √(what N squares lose by flushes), with
        e = √ΣE², as the norm of a difference bounds the difference of the norms, for N
        numbers that are not 0. Their squares have N roundings each in one sum, N + 3 at
        most by the norms of the tensors, and two more where every number is divided by
        the largest; (1+γ)^½ leaves ρ = 1 − (1−γ)^½. The root rounds, and so does the
        product with the largest. Here the numbers, and the errors, are scaled, so that
        no square leaves the range of float64.
        """
        flat = [g.reshape(*g.shape[: self.axes], -1) for g in gradients]
        value = np.concatenate([g.value for g in flat], axis=-1)
        E = np.concatenate([g.E for g in flat], axis=-1)
        max_abs = np.abs(value) + E
        gamma = self.gamma
        n = root_of_squares(value, -1)[..., 0]
        e = root_of_squares(E, -1)[..., 0]
        terms = (max_abs > 0).sum(axis=-1)
        rho = gamma(terms + 5) / (1 + np.sqrt(1 - np.minimum(gamma(terms + 5), 1)))
        flushed = np.sqrt(self.flushes(terms)) + self.flushes(terms) * n
        return self.bounded(n, e + (rho + gamma(2) * (1 + rho)) * (n + e) + flushed)

    def factor(self, norm: BoundedArray, max_norm: float) -> BoundedArray:
        """Return the factor f = min(1, c) with c = M/m, m = n + 10⁻⁶, (U3).

        E is f·r, or 0 where no c̃ is below 1.
        r bounds |c̃ − c|/c: 1 + r = (1 + |M̃ − M|/M)(1 + γ_2)(1 + E_m/(m − E_m)). Where
        c̃ may lie on both sides of 1, f̃ still moves by f·r at most, since upwards it
        stops at 1; and as 0 ≤ f̃ ≤ 1, E is at most 1. A max_norm that is infinite in
        the dtype clips nothing.
        """
        M = self.constant(max_norm)
        m = norm + self.constant(NORM_OFFSET)
        f = np.minimum(1, M.value / m.value)
        if max_norm > self.largest:
            return BoundedArray(f, np.where(m.max_abs < max_norm, 0.0, 1.0), self)
        rounding = self.gamma(2)
        flushed = self.flushes(1)
        lowest = (M.value - M.E) * (1 - rounding) / m.max_abs - flushed
        r_M = rounding + (1 + rounding) * M.E / M.value
        least = m.value - m.E
        r = r_M + (1 + r_M) * m.E / np.where(least > 0, least, 1)
        unknown = np.where(np.isfinite(m.value), 1.0, np.nan)
        E = np.where(least > 0, np.minimum((f * r + flushed) * UPWARDS, 1), unknown)
        return BoundedArray(f, np.where(lowest > UPWARDS, 0.0, E), self)

    def clip(self, g: BoundedArray, max_value: float) -> BoundedArray:
        """Return g within ±c, (U7).

        Nothing rounds: E is E_g where g is surely within the limit, E_c where surely
        beyond it, and between the larger of the two, as the median of −c, g and c moves
        by no more than the largest of their moves. A limit that is infinite in the
        dtype clips nothing.
        """
        if max_value > self.largest:
            return g
        limit = self.constant(max_value)
        inside = g.max_abs < limit.value - limit.E
        outside = np.abs(g.value) - g.E > limit.max_abs
        E = np.where(inside, g.E, np.where(outside, limit.E, np.maximum(g.E, limit.E)))
        return self.bounded(np.clip(g.value, -limit.value, limit.value), E)

    def by_root(self, g: BoundedArray, squares: BoundedArray) -> BoundedArray:
        """Return s = g/r, r = √m, m = v + 10⁻⁸, (U9).

        E is (E_g + |s|(1+γ_1) e + γ_3 (|g| + E_g)) / r_low.
        |g̃/r̃ − g/r| ≤ (E_g + |s||r̃ − r|)/r̃. √m̃ is off by e = |√(m ± E_m) − √m| at
        most, and no sum of squares is below 0, so that m̃ is 10⁻⁸(1 − γ_2) at
        least. γ_3: the root, and a division, or a reciprocal and a product.
        """
        m = squares + self.constant(ADAGRAD_OFFSET)
        low = np.maximum(m.value - m.E, ADAGRAD_OFFSET * (1 - self.gamma(2)))
        r = np.sqrt(m.value)
        r_low = np.sqrt(low)
        e = np.maximum(r - r_low, np.sqrt(m.max_abs) - r)
        s = g.value / r
        rounding = np.abs(s) * (1 + self.gamma(1)) * e + self.gamma(3) * g.max_abs
        return self.bounded(s, (g.E + rounding) / r_low + self.flushes(1))
