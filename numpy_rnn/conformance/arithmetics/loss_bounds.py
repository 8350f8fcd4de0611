"""The rounding of the losses, (L1) to (L4) and (B1): half the squared error, and cross-entropy.

With τ, the error of exp and log in units of u of their value, that of tanh, and for each row of
outputs y, that are off by E at most,

    m = max y,    z = y − m ≤ 0,    S = Σ_k exp(z_k),    log p = z − log S,    p = exp(z) / S

Errors are followed on the logarithm, where those of factors add up: a rounding, (1 + δ) with
|δ| ≤ u, moves it by γ_1 at most, τ of them by γ_τ, and ỹ_k for y_k by E_k. With Ē = max_k E_k,

    e_k = E_k + γ_1 (|z_k| + E_k + Ē) + γ_τ              of exp(z̃_k): the shift and the exponential
    s   = log Σ_k p_k exp(e_k) + γ_O + flushes           of S̃: a mean of its terms' errors, a sum
    l   = s + γ_τ (log S + s)                            of log S̃
    d_k = e_k + l + γ_1 (|m| + Ē + log S + l)            of log p̃_k, and of p̃_k: the maximum added
          + γ_1 (|log p_k| + e_k + l) + γ_τ + γ_2        to log S̃, the difference, an exponential
                                                         or a division
    D_k = d_k + γ_τ (|log p_k| + d_k)                    of log p̃_k as the logarithm of p̃_k

Correct is therefore: exp(z)/S, exp(z − log S), exp(y − (m + log S)), and where no exponential
leaves the range, the same without the shift. p̃ is off by p (exp(d) − 1), and by 1 at most. A loss
from −log p̃ is correct only where p̃ is not flushed to zero. The division by N may come before the
difference p − target, as in automatic differentiation, so its roundings are in units of p + target.

Source: Blanchard, Higham and Higham 2021, Accurately computing the log-sum-exp and softmax
functions, IMA Journal of Numerical Analysis 41.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.arithmetics.rounding import Near, Real, Rounding


class Terms(NamedTuple):
    """The operands of a loss: outputs and targets (K, ..., B, O), and the divisor N of (L2)."""

    y: Near
    target: Near
    N: float
    divisions: int  # roundings of the division by N: by a product with 1/N two; none for a sum


class Softmax(NamedTuple):
    """p and log p of rows of outputs, and their errors."""

    p: NumpyArray
    E_p: NumpyArray
    log_p: NumpyArray
    E_log_p: NumpyArray  # D


def softmax(y: NumpyArray, E: NumpyArray, rounding: Rounding, tau: float) -> Softmax:
    """p = softmax(y) along the last axis, in float64, and the error of a correct computation."""
    gamma, flushes = rounding.gamma, rounding.flushes
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
    most = np.exp(np.minimum(log_p + d, 0))  # where p itself underflows, too
    E_p = np.where(d < 1, p * np.expm1(np.minimum(d, 1)), most) + flushes(1)
    return Softmax(p, E_p, log_p, d + gamma(tau) * (np.abs(log_p) + d))


def squared_error(of: Terms, rounding: Rounding, tau: float) -> tuple[Near, Near]:
    """The loss, (L1) and (L2), and dy, (B1), of errors e = y − target.

    Where e is off by E, its square is by (2|e| + E) E. Terms that are 0 round nothing.
    """
    error, E = of.y.value - of.target.value, of.y.E + of.target.E
    rounds = np.abs(error) + E > 0
    terms = rounds.sum(axis=(0, -2, -1))
    E = E + rounding.flushes(rounds)
    squares, E_squares = np.square(error), (2 * np.abs(error) + E) * E
    loss, E_loss = (0.5 * (v / of.N).sum(axis=(0, -2, -1)) for v in (squares, E_squares))
    E_loss = E_loss + rounding.flushes(terms)
    dy, E_dy = error / of.N, E / of.N + rounding.flushes(rounds)
    return (
        with_rounding(terms + 2 + of.divisions, loss, E_loss, rounding),
        with_rounding(1 + of.divisions, dy, E_dy, rounding),
    )


def with_rounding(n: Real, value: NumpyArray, E: NumpyArray, rounding: Rounding) -> Near:
    """A value whose terms have one sign, so that its relative error is at most γ_n, plus E."""
    return rounding.near(value, rounding.gamma(n) * (np.abs(value) + E) + E)


def cross_entropy(of: Terms, rounding: Rounding, tau: float) -> tuple[Near, Near]:
    """The loss, the sum (L2) of −log p of every row's class (L4), and dy, (B1), (p − target) / N.

    target: classes as rows of 0 and 1.
    """
    gamma, flushes, target = rounding.gamma, rounding.flushes, of.target.value
    K, B, O = target.shape[0], target.shape[-2], target.shape[-1]
    p, E_p, log_p, E_log_p = softmax(of.y.value, of.y.E, rounding, tau)
    row, E_row = ((target * v).sum(axis=-1, keepdims=True) for v in (-log_p, E_log_p))
    E_row = E_row + gamma(O + 2) * (row + E_row) + flushes(O)
    loss, E_loss = ((v / of.N).sum(axis=(0, -2, -1)) for v in (row, E_row))
    E_loss = E_loss + gamma(K * B + 2 + of.divisions) * (loss + E_loss) + flushes(K * B)
    E_dy = E_p + gamma(O + 4 + of.divisions) * (p + E_p + target)
    dy = rounding.near((p - target) / of.N, E_dy / of.N + flushes(4))
    return rounding.near(loss, E_loss), dy


Bound = Callable[[Terms, Rounding, float], tuple[Near, Near]]
LOSSES: dict[str, Bound] = {"squared_error": squared_error, "cross_entropy": cross_entropy}
