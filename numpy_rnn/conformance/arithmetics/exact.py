"""Exact numbers: cases in which nothing rounds, so that the last bit of every number is checked (level L0).

A number is a multiple of its unit, a power of two. If the absolute values of the terms of a sum add up to at most 2²⁴
units, every partial sum, in any order, with or without fused multiply-add, is a number of float32. The definition on
these numbers gives the values, or raises `Rounds` where a number may leave 24 bits. relu, the squared error and steps
whose options are powers of two are exact; tanh, the logistic function, softmax, the norm and Adagrad's root are not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.records import Objective, Step, WindowCase
from numpy_rnn.conformance.arithmetics.bounds import Bounds
from numpy_rnn.conformance.arithmetics.nonlinearities import choose
from numpy_rnn.conformance.arithmetics.rounding import Near, Rounding
from numpy_rnn.conformance.definition import window_update

LARGEST = 2.0**24  # units
FINEST = 2.0**-40  # a unit that no exact case has


class Rounds(Exception):
    """A number may have more than 24 bits."""


def exact_report(case: WindowCase) -> dict[str, np.ndarray] | None:
    """The values of all tensors of a case in which nothing rounds; None if something may."""
    try:
        return {name: near.value for name, near in window_update(case, Exact(case.params.W_hh.dtype)).items()}
    except Rounds:
        return None


class Units(Rounding):
    """Operations that do not round; E is the unit of the numbers."""

    def exact(self, value: Any, unit: Any, size: Any) -> Near:
        """Multiples of a unit, from terms whose absolute values add up to `size`. Raises Rounds if it is large."""
        unit = float(np.min(unit, initial=np.inf))
        if not (unit >= FINEST and np.max(size, initial=0.0) <= LARGEST * unit):
            raise Rounds
        return Near(value, np.full(np.shape(value), unit), self)

    def given(self, array: Any) -> Near:
        value, unit = np.asarray(array, np.float64), 1.0
        while (value / unit != np.round(value / unit)).any():
            unit /= 2
            if unit < FINEST:
                raise Rounds
        return self.exact(value, unit, np.abs(value))

    def scalar(self, number: float) -> Near:
        return self.given(number)

    def times(self, a: Near, b: Near) -> Near:
        value = a.value * b.value
        return self.exact(value, _unit(a) * _unit(b), np.abs(value))

    def plus(self, a: Near, b: Near) -> Near:
        return self.exact(a.value + b.value, min(_unit(a), _unit(b)), np.abs(a.value) + np.abs(b.value))

    def product(self, A: Near, B: Near) -> Near:
        columns, rows = (
            A.E.reshape(-1, A.shape[-1]).min(axis=0),
            np.moveaxis(B.E, -2, 0).reshape(B.shape[-2], -1).min(axis=1),
        )
        return self.exact(A.value @ B.value, columns * rows, np.abs(A.value) @ np.abs(B.value))

    def sum(self, v: Near) -> Near:
        return self.exact(v.value.sum(-2), _unit(v), np.abs(v.value).sum(-2))


def _unit(near: Near) -> float:
    return float(np.min(near.E, initial=np.inf))


class Exact(Bounds):
    """Multiples of powers of two of one window. Raises Rounds on what is not exact."""

    def __init__(self, dtype: Any):
        super().__init__(dtype)
        self.rounding = self.units = Units(dtype)

    def zeros(self, value: Near) -> Near:
        return Near(np.zeros_like(value.value), value.E, self.rounding)

    def phi(self, a: Near, nonlinearity: str) -> Near:
        return Near(choose({"relu": np.maximum(a.value, 0)}, nonlinearity, "exact nonlinearity"), a.E, self.rounding)

    def by_slope(self, dh: Near, a: Near, h: Near, nonlinearity: str) -> Near:
        return Near(choose({"relu": dh.value * (a.value > 0)}, nonlinearity, "exact nonlinearity"), dh.E, self.rounding)

    def loss_and_error(self, y: Near, target: Near, weights: Near, objective: Objective) -> tuple[Near, Near]:
        choose({"squared_error": None}, objective.loss, "exact loss")
        N = np.asarray(self.divisor(y, weights.value, objective), np.float64)
        if N.size > 1 or np.frexp(N)[0].item() != 0.5:
            raise Rounds  # only a division by a power of two is exact
        errors, share = weights * (y - target), self.given(1 / N.reshape(()))
        terms = self.given(0.5) * ((y - target) * errors)
        axes = (0, -2, -1)
        total = self.units.exact(terms.value.sum(axes), terms.E, np.abs(terms.value).sum(axes))
        return total * share, errors * share

    def rate(self, step: Step, theta: Near) -> Near:
        return self.given(step.learning_rate)

    def add(self, *terms: Near) -> Near:
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def norm(self, gradients: Sequence[Near]) -> Near:
        raise Rounds

    def clip(self, g: Near, max_value: float) -> Near:
        limit = self.given(max_value)
        unit = min(_unit(g), _unit(limit))
        return self.units.exact(np.clip(g.value, -limit.value, limit.value), unit, np.abs(g.value))

    def by_root(self, g: Near, squares: Near) -> Near:
        raise Rounds
