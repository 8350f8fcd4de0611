"""Exact numbers: cases in which nothing rounds, so that the last bit of every number is checked (level L0).

The unit of numbers is the largest power of two of which all are multiples; of a sum of products it is the smallest of
its terms. If the absolute values of the terms of a sum add up to at most 2²⁴ units, every partial sum, in any order,
with or without fused multiply-add, is a number of float32. The definition on these numbers gives the values, or raises
`Rounds` where a number may leave 24 bits. relu, the squared error and steps whose options are powers of two are exact;
tanh, the logistic function, softmax, the norm and Adagrad's root are not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.records import NumpyArray, Objective, WindowCase
from numpy_rnn.conformance.arithmetics.floats import Floats, joined
from numpy_rnn.conformance.arithmetics.nonlinearities import choose
from numpy_rnn.conformance.definition import window_update

LARGEST = 2.0**24  # units
FINEST = 2.0**-40  # a unit that no exact case has
SUMS = (np.add, np.subtract)


class Rounds(Exception):
    """A number may have more than 24 bits."""


def exact_report(case: WindowCase) -> dict[str, NumpyArray] | None:
    """The values of all tensors of a case in which nothing rounds; None if something may."""
    try:
        return {
            name: np.asarray(v)
            for name, v in window_update(case, Exact(case.params.W_hh.dtype)).items()
        }
    except Rounds:
        return None


def units(v: NumpyArray) -> NumpyArray:
    """The largest powers of two of which these numbers are multiples; infinity for 0."""
    parts, exponents = np.frexp(v)
    whole = (parts * 2.0**53).astype(np.int64)
    return np.where(
        whole == 0, np.inf, np.ldexp((whole & -whole).astype(np.float64), exponents - 53)
    )


def unit(v: NumpyArray) -> float:
    """The largest power of two of which all these numbers are multiples."""
    return float(units(v).min(initial=np.inf))


def exact(value: NumpyArray, of: float, size: NumpyArray) -> "ExactArray":
    """Multiples of a unit, from terms whose absolute values add up to `size`. Raises Rounds if that is large."""
    if not (of >= FINEST and np.max(size, initial=0.0) <= LARGEST * of):
        raise Rounds
    return np.asarray(value, np.float64).view(ExactArray)


class ExactArray(np.ndarray):
    """An array of float64 whose sums and products are numbers of 24 bits."""

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any
    ) -> NumpyArray:
        plain = [np.asarray(each) for each in inputs]
        value = getattr(ufunc, method)(*plain, **keywords)
        if ufunc in SUMS and method == "__call__":
            a, b = plain
            return exact(value, min(unit(a), unit(b)), np.abs(a) + np.abs(b))
        if ufunc in SUMS:
            return exact(
                value, unit(plain[0]), getattr(ufunc, method)(np.abs(plain[0]), **keywords)
            )
        return exact(value, unit(value), np.abs(value)) if ufunc is np.multiply else value


class Exact(Floats):
    """Multiples of powers of two of one window. Raises Rounds on what is not exact."""

    def given(self, array: NumpyArray, /) -> NumpyArray:
        value = np.asarray(array, np.float64)
        return exact(value, unit(value), np.abs(value))

    def affine(
        self, products: Sequence[tuple[NumpyArray, NumpyArray]], *biases: NumpyArray | None
    ) -> NumpyArray:
        A, B = (np.asarray(joined([pair[side] for pair in products], -1 - side)) for side in (0, 1))
        columns, rows = units(A).reshape(-1, A.shape[-1]).min(axis=0), units(B).min(axis=-1)
        value, size, of = A @ B, np.abs(A) @ np.abs(B), float((columns * rows).min())
        for b in biases:
            if b is not None:
                value, size, of = (
                    value + np.asarray(b),
                    size + np.abs(np.asarray(b)),
                    min(of, unit(np.asarray(b))),
                )
        return exact(value, of, size)

    def total(self, steps: Sequence[NumpyArray]) -> NumpyArray:
        return joined(steps, -2).view(ExactArray).sum(axis=-2)

    def phi(self, a: NumpyArray, nonlinearity: str) -> NumpyArray:
        return choose({"relu": np.maximum}, nonlinearity, "exact nonlinearity")(a, 0).view(
            ExactArray
        )

    def by_slope(
        self, dh: NumpyArray, a: NumpyArray, h: NumpyArray, nonlinearity: str
    ) -> NumpyArray:
        return choose({"relu": np.multiply}, nonlinearity, "exact nonlinearity")(
            dh, np.asarray(a) > 0
        )

    def loss_and_error(
        self, y: NumpyArray, target: NumpyArray, weights: NumpyArray, objective: Objective
    ) -> tuple[NumpyArray, NumpyArray]:
        choose({"squared_error": None}, objective.loss, "exact loss")
        N = np.asarray(self.divisor(y, weights, objective), np.float64)
        if N.size > 1 or np.frexp(N)[0].item() != 0.5:
            raise Rounds  # only a division by a power of two is exact
        errors, share = weights * (y - target), self.given(1 / N.reshape(()))
        return (0.5 * ((y - target) * errors)).sum(axis=(0, -2, -1)) * share, errors * share

    def norm(self, gradients: Sequence[NumpyArray]) -> NumpyArray:
        raise Rounds

    def by_root(self, g: NumpyArray, squares: NumpyArray) -> NumpyArray:
        raise Rounds
