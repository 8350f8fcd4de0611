"""The rounding of the losses, (L1) to (L4) and (B1): half the squared error, and softmax cross-entropy.

With τ, the error of exp and log in units of u of their value, that of tanh, and of each row of outputs y, that are off
by E at most,

    m = max y,    z = y − m ≤ 0,    S = Σ_k exp(z_k),    log p = z − log S,    p = exp(z) / S

Errors are followed on the logarithm, where those of factors add up: a rounding, (1 + δ) with |δ| ≤ u, moves it by γ_1
at most, τ of them by γ_τ, and ỹ_k for y_k by E_k. With Ē = max_k E_k,

    e_k = E_k + γ_1 (|z_k| + E_k + Ē) + γ_τ              of exp(z̃_k): the shift, and the exponential
    s   = log Σ_k p_k exp(e_k) + γ_O + flushes           of S̃: a mean of its terms' errors, and their sum
    l   = s + γ_τ (log S + s)                            of log S̃
    d_k = e_k + l + γ_1 (|m| + Ē + log S + l)            of log p̃_k, and of p̃_k: the maximum added back to log S̃,
          + γ_1 (|log p_k| + e_k + l) + γ_τ + γ_2        the difference, an exponential or a division
    D_k = d_k + γ_τ (|log p_k| + d_k)                    of log p̃_k as the logarithm of p̃_k

Correct is therefore: exp(z)/S, exp(z − log S), exp(y − (m + log S)), and where no exponential leaves the range, the
same without the shift. p̃ is off by p (exp(d) − 1), and by 1 at most. A loss from −log p̃ is correct only where p̃ is not
flushed to zero.

The product with a weight and the division by N may come before the difference p − target, as in automatic
differentiation, so their roundings are in units of p + target.

Source: Blanchard, Higham and Higham 2021, Accurately computing the log-sum-exp and softmax functions, IMA Journal of
Numerical Analysis 41.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.arithmetics.rounding import Near, Real, Rounding

MAX_EXPONENT = 700.0  # exp of more is near the end of float64


class Softmax(NamedTuple):
    """p and log p of rows of outputs, and their errors."""

    p: np.ndarray
    E_p: np.ndarray
    log_p: np.ndarray
    E_log_p: np.ndarray  # D


def softmax(y: np.ndarray, E: np.ndarray, arithmetic: Rounding, tau: float) -> Softmax:
    """p = softmax(y) along the last axis, in float64, and how far a correct computation may be off."""
    gamma, flushes = arithmetic.gamma, arithmetic.flushes
    m = y.max(axis=-1, keepdims=True)
    z, E_max = y - m, E.max(axis=-1, keepdims=True)
    terms = np.exp(z)
    S = terms.sum(axis=-1, keepdims=True)
    log_S, p, O = np.log(S), terms / S, y.shape[-1]
    log_p = z - log_S
    e = E + gamma(1) * (np.abs(z) + E + E_max) + gamma(tau)
    grown = log_p + e  # log Σ_k p_k exp(e_k), without overflow, and where a p_k underflows
    most = grown.max(axis=-1, keepdims=True)
    s = most + np.log(np.exp(grown - most).sum(axis=-1, keepdims=True)) + gamma(O) + flushes(O)
    l = s + gamma(tau) * (log_S + s)
    d = e + l + gamma(1) * (np.abs(m) + E_max + log_S + l)
    d = d + gamma(1) * (np.abs(log_p) + e + l) + gamma(tau) + gamma(2)
    E_p = np.minimum(p * np.expm1(np.minimum(d, MAX_EXPONENT)), 1) + flushes(1)
    return Softmax(p, E_p, log_p, d + gamma(tau) * (np.abs(log_p) + d))


class Terms(NamedTuple):
    """The operands of a loss: outputs and targets (K, ..., B, O), weights (K, ..., B, 1) or one number, and N."""

    y: Near
    target: Near
    weights: Near
    N: Real  # the divisor of (L2), a number or (1, ..., 1, 1)
    mean: bool

    @property
    def roundings(self) -> int:
        """The roundings of a division by N: none for a sum; by a product with 1/N two, and the sum of the weights."""
        K, B = self.y.shape[0], self.y.shape[-2]
        return 0 if not self.mean else 2 + K * B * (self.weights.ndim > 0)

    def total(self, v: NumpyArray) -> NumpyArray:
        """Σ v / N over steps, sequences and outputs."""
        return (v / self.N).sum(axis=(0, -2, -1))


def squared_error(of: Terms, arithmetic: Rounding, tau: float) -> tuple[Near, Near]:
    """The loss, (L1) and (L2), and dy, (B1), of errors e = y − target.

    Where e is off by E, its square is by (2|e| + E) E.

    If there are weights and not one number, products with them may round four times. Terms that are 0 round nothing.
    """
    y, target, weights, N, _ = of
    w, most, error, E = weights.value, weights.max_abs, y.value - target.value, y.E + target.E
    roundings = of.roundings + (4 if w.ndim else 0)
    rounds = most * (np.abs(error) + E) > 0
    terms = rounds.sum(axis=(0, -2, -1))
    E, square = E + arithmetic.flushes(rounds), np.square(error)
    E_square = most * (2 * np.abs(error) + E) * E + weights.E * square
    total, E_total = 0.5 * of.total(w * square), 0.5 * of.total(E_square)
    E_dy = (most * E + weights.E * np.abs(error)) / N + arithmetic.flushes(rounds)
    loss = with_rounding(
        terms + 2 + roundings, total, E_total + arithmetic.flushes(terms), arithmetic
    )
    return loss, with_rounding(1 + roundings, w * error / N, E_dy, arithmetic)


def with_rounding(n: Real, value: NumpyArray, E: NumpyArray, arithmetic: Rounding) -> Near:
    """A value whose terms have one sign, so that its relative error is at most γ_n; E comes on top."""
    return arithmetic.near(value, arithmetic.gamma(n) * (np.abs(value) + E) + E)


def cross_entropy(of: Terms, arithmetic: Rounding, tau: float) -> tuple[Near, Near]:
    """The loss, the sum (L2) of (L4) of every row, −w Σ_o target log p; and dy, (B1), w (p Σ_o target − target) / N.

    target: classes as rows of 0 and 1.
    """
    gamma, flushes, (y, target, weights, N, _) = arithmetic.gamma, arithmetic.flushes, of
    K, B, O = y.shape[0], y.shape[-2], y.shape[-1]
    w, most = weights.value, weights.max_abs
    p, E_p, log_p, E_log_p = softmax(y.value, y.E, arithmetic, tau)
    total, E_total = (v.sum(axis=-1, keepdims=True) for v in (target.value, target.E))

    terms = target.value * -log_p
    E_terms = target.value * E_log_p + target.E * (np.abs(log_p) + E_log_p)
    row, E_row = (v.sum(axis=-1, keepdims=True) for v in (terms, E_terms))
    E_row = E_row + gamma(O + 2) * (row + E_row) + flushes(O)
    E_row = most * E_row + weights.E * row
    loss, E_loss = of.total(w * row), of.total(E_row)
    E_loss = E_loss + gamma(K * B + 2 + of.roundings) * (loss + E_loss) + flushes(K * B)

    p_most = p + E_p
    inner = total * E_p + E_total * p_most + target.E
    size = (total + E_total) * p_most + target.max_abs
    E_dy = most * (inner + gamma(O + 4 + of.roundings) * size) + weights.E * size
    return arithmetic.near(loss, E_loss), arithmetic.near(
        w * (p * total - target.value) / N, E_dy / N + flushes(4)
    )


Bound = Callable[[Terms, Rounding, float], tuple[Near, Near]]
LOSSES: dict[str, Bound] = {
    "squared_error": squared_error,
    "cross_entropy": cross_entropy,
}
