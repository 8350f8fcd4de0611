"""The operations that the definition is written in, for numbers of any kind: what an arithmetic provides."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray, Objective, Step
from numpy_rnn.conformance.case import SHAPES

Dtype = npt.DTypeLike


class Numbers(Protocol):
    """An array of numbers: its operators round, enclose, or carry a bound, as its arithmetic does."""

    @property
    def mT(self) -> Any:
        """Transposed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""

    def __neg__(self) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...


N = TypeVar("N", bound=Numbers)


class Arithmetic(Protocol[N]):
    """The numbers of one window. dtype: of the parameters, to which the rate is rounded.

    axes: the number of leading axes of the parameters, those of networks or updates. seen: the tensors so far, by their
    names and steps. Operations with a name are those whose correct forms differ, or which other numbers compute
    otherwise; + − × are the operators of the numbers themselves.
    """

    dtype: np.dtype[Any]
    axes: int
    seen: dict[str, dict[int | None, N]]

    # -- the border ---------------------------------------------------------------------------------------------------

    def given(self, array: NumpyArray, /) -> N:
        """The numbers of an input."""

    def see(self, name: str, t: int | None, value: N) -> N:
        """Note the value of a tensor at a step, and return the value with which the equations go on."""
        self.seen.setdefault(name, {})[t] = value
        return value

    def stack(self, values: Sequence[N]) -> N:
        """Values of several steps, the axis of time first; a given dy has no axes of networks."""

    def report(self) -> dict[str, N]:
        """The tensors by name. Those with steps have the axis of time first."""
        ordered = {name: self.seen[name] for name in SHAPES if name in self.seen}
        return {
            n: v[None] if None in v else self.stack([v[t] for t in sorted(v)])
            for n, v in ordered.items()
        }  # type: ignore[type-var]

    def with_axes(self, array: NumpyArray) -> NumpyArray:
        """An array (B, N) that all networks share as (1, .., 1, B, N), with as many axes as the parameters."""
        return array.reshape(*(1,) * (self.axes + 2 - array.ndim), *array.shape)

    def zeros(self, value: N) -> N:
        """Zeros like a value."""

    # -- the network --------------------------------------------------------------------------------------------------

    def affine(self, products: Sequence[tuple[N, N]], *biases: N | None) -> N:
        """The sum of products of matrices, and of biases that are not None: one sum, in any order."""

    def total(self, steps: Sequence[N]) -> N:
        """The sum over steps and sequences, in any order."""

    def phi(self, a: N, nonlinearity: str) -> N:
        """φ(a)."""

    def by_slope(self, dh: N, a: N, h: N, nonlinearity: str) -> N:
        """dh ∘ φ'(a), by any factorisation."""

    def loss_and_error(self, y: N, target: N, weights: N, objective: Objective) -> tuple[N, N]:
        """L and dy of the steps with a loss, (K, ..., B, O); weights (K, ..., B, 1), or one number."""

    def divisor(self, y: Numbers, weights: Any, objective: Objective) -> Any:
        """N of (L2), a number or (1, ..., 1, 1): for "mean" the sum of the weights of all terms, or 1 if they are 0."""
        if objective.reduction == "sum":
            return 1.0
        if objective.reduction != "mean":
            raise InputError(
                f"{objective.reduction!r} is no reduction that is known here: expected sum or mean"
            )
        K, B, O = y.shape[0], y.shape[-2], y.shape[-1]
        terms = O if objective.loss == "squared_error" else 1
        if np.ndim(weights) == 0:
            return float(K * B * terms)
        N = weights.sum(axis=(0, -2, -1), keepdims=True) * terms
        return np.where(N == 0, np.ones_like(N), N)

    # -- the step -----------------------------------------------------------------------------------------------------

    def constant(self, number: float) -> Any:
        """An option of the step, rounded to the dtype or not."""

    def rate(self, step: Step, theta: N) -> Any:
        """η, rounded to the dtype, with the axes of a parameter."""

    def expand(self, per_network: Any, array: Any) -> Any:
        """A number per network, with the axes of an array of all networks."""
        if np.ndim(per_network) == 0:
            return per_network
        return per_network.reshape(*per_network.shape, *(1,) * (array.ndim - per_network.ndim))

    def add(self, *terms: N) -> N:
        """The sum of terms, in any order."""

    def norm(self, gradients: Sequence[N]) -> N:
        """The norm of all gradients of a network."""

    def factor(self, norm: N, max_norm: float) -> N:
        """The factor that clips."""

    def clip(self, g: N, max_value: float) -> N:
        """Each number within ±max_value."""

    def by_root(self, g: N, squares: N) -> N:
        """g divided by the root of the sum of squares."""
