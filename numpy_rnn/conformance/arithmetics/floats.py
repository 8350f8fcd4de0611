"""The operations of the definition on arrays of NumPy, real or complex: the values that its equations give.

The other arithmetics override these operations. Those with a name are the ones whose correct forms differ, or which
other numbers compute otherwise; + − × are the operators of the numbers themselves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.arithmetics.nonlinearities import choose, nonlinearity_of
from numpy_rnn.conformance.case import SHAPES

SMALL = 1e-6  # added to the norm, (U3)
TINY = 1e-8  # added to the sum of squares, (U9)


class Floats:
    """Arrays of floats, or of complex numbers, of one window. dtype: of the parameters, to which the rate is rounded.

    axes: the number of leading axes of the parameters, those of networks or updates. seen: the tensors so far, by their
    names and steps.
    """

    def __init__(self, dtype: Any):
        self.dtype, self.axes = np.dtype(dtype), 0
        self.seen: dict[str, dict[int | None, Any]] = {}

    # -- the border ---------------------------------------------------------------------------------------------------

    def given(self, array: Any) -> Any:
        """The numbers of an input."""
        return array

    def see(self, name: str, t: int | None, value: Any) -> Any:
        """Note the value of a tensor at a step, and return the value with which the equations go on."""
        self.seen.setdefault(name, {})[t] = value
        return value

    def stack(self, values: Sequence[Any]) -> Any:
        """Values of several steps, the axis of time first; a given dy has no axes of networks."""
        return np.stack(np.broadcast_arrays(*values, subok=True))

    def report(self) -> dict[str, Any]:
        """The tensors by name. Those with steps have the axis of time first."""
        ordered = {name: self.seen[name] for name in SHAPES if name in self.seen}
        return {n: v[None] if None in v else self.stack([v[t] for t in sorted(v)]) for n, v in ordered.items()}  # type: ignore[type-var]

    def with_axes(self, array: np.ndarray) -> np.ndarray:
        """An array (B, N) that all networks share as (1, .., 1, B, N), with as many axes as the parameters."""
        return array.reshape(*(1,) * (self.axes + 2 - array.ndim), *array.shape)

    def zeros(self, value: Any) -> Any:
        """Zeros like a value."""
        return np.zeros_like(value)

    # -- the network --------------------------------------------------------------------------------------------------

    def affine(self, products: Sequence[tuple[Any, Any]], *biases: Any) -> Any:
        """The sum of products of matrices, and of biases that are not None: one sum, in any order."""
        total = sum(A @ B for A, B in products)
        for b in biases:
            total = total if b is None else total + b[..., None, :]
        return total

    def total(self, steps: Sequence[Any]) -> Any:
        """The sum over steps and sequences, in any order."""
        return sum(value.sum(axis=-2) for value in steps)

    def phi(self, a: Any, nonlinearity: str) -> Any:
        """φ(a)."""
        return nonlinearity_of(nonlinearity).phi(a)

    def by_slope(self, dh: Any, a: Any, h: Any, nonlinearity: str) -> Any:
        """dh ∘ φ'(a), by any factorisation."""
        return dh * nonlinearity_of(nonlinearity).slope(a, h)

    # -- the loss -----------------------------------------------------------------------------------------------------

    def loss_and_error(self, y: Any, target: Any, weights: Any, objective: Objective) -> tuple[Any, Any]:
        """L and dy of the steps with a loss, (K, ..., B, O); weights (K, ..., B, 1), or one number."""
        N = self.divisor(y, weights, objective)
        losses, errors = choose(LOSSES, objective.loss, "loss")(self, y, target)
        total = (weights * losses).sum(axis=(0, -2, -1))
        return total / (N if np.ndim(N) == 0 else N[0, ..., 0, 0]), weights * errors / N  # (L2), (B1)

    def divisor(self, y: Any, weights: Any, objective: Objective) -> Any:
        """N of (L2), a number or (1, ..., 1, 1): for "mean" the sum of the weights of all terms, or 1 if they are 0."""
        if objective.reduction == "sum":
            return 1.0
        if objective.reduction != "mean":
            raise InputError(f"{objective.reduction!r} is no reduction that is known here: expected sum or mean")
        K, B, O = y.shape[0], y.shape[-2], y.shape[-1]
        terms = O if objective.loss == "squared_error" else 1
        if np.ndim(weights) == 0:
            return float(K * B * terms)
        N = weights.sum(axis=(0, -2, -1), keepdims=True) * terms
        return np.where(N == 0, np.ones_like(N), N)

    def log_softmax(self, y: Any) -> Any:
        """log p."""
        z = y - y.real.max(axis=-1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))

    # -- the step -----------------------------------------------------------------------------------------------------

    def constant(self, number: float) -> Any:
        """An option of the step, rounded to the dtype or not."""
        return number

    def rate(self, step: Step, theta: Any) -> Any:
        """η, rounded to the dtype, with the axes of a parameter."""
        return self.expand(np.asarray(step.learning_rate, self.dtype), theta)

    def expand(self, per_network: Any, array: Any) -> Any:
        """A number per network, with the axes of an array of all networks."""
        if np.ndim(per_network) == 0:
            return per_network
        return per_network.reshape(*per_network.shape, *(1,) * (array.ndim - per_network.ndim))

    def add(self, *terms: Any) -> Any:
        """The sum of terms, in any order."""
        return sum(terms)

    def norm(self, gradients: Sequence[Any]) -> Any:
        """The norm of all gradients of a network."""
        return np.sqrt(sum((g * g).sum(axis=tuple(range(self.axes, g.ndim))) for g in gradients))  # (U2)

    def factor(self, norm: Any, max_norm: float) -> Any:
        """The factor that clips."""
        return np.minimum(1, max_norm / (norm + SMALL))  # (U3)

    def clip(self, g: Any, max_value: float) -> Any:
        """Each number within ±max_value."""
        return np.clip(g, -max_value, max_value)  # (U7)

    def by_root(self, g: Any, squares: Any) -> Any:
        """g divided by the root of the sum of squares."""
        return g / np.sqrt(squares + TINY)  # (U9)


def squared_error(n: Floats, y: Any, target: Any) -> tuple[Any, Any]:
    """The terms of the loss, and of dy, before weights and division."""
    return 0.5 * (y - target) * (y - target), y - target  # (L1), (B1)


def cross_entropy(n: Floats, y: Any, target: Any) -> tuple[Any, Any]:
    """The same of softmax cross-entropy."""
    log_p = n.log_softmax(y)  # (L3)
    return -(target * log_p), np.exp(log_p) * target.sum(axis=-1, keepdims=True) - target  # (L4), (B1)


LOSSES: dict[str, Any] = {"squared_error": squared_error, "cross_entropy": cross_entropy}
