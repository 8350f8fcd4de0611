"""The nonlinearities of the definition: φ, its slope, and what the bounds of both are made of."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray

Entry = TypeVar("Entry")


def choose(table: Mapping[str, Entry], name: str, what: str) -> Entry:
    """The entry of this name. Raises InputError on a name that is not known."""
    if name not in table:
        raise InputError(f"{name!r} is no {what} that is known here: expected {', '.join(table)}")
    return table[name]


def sech_squared(a: NumpyArray) -> NumpyArray:
    """tanh'(a) = 1/cosh²(a) without overflow; where that is below 1e-300, something larger."""
    return np.cosh(np.minimum(np.abs(a), 350.0)) ** -2.0


def nearest(a: NumpyArray, E: NumpyArray) -> NumpyArray:
    """The smallest |a| within E."""
    return np.maximum(np.abs(a) - E, 0)


class Smooth(NamedTuple):
    """How errors pass through a φ without a kink, whose second derivative is at most 2 φ'."""

    slope_of_a: Callable[[NumpyArray], NumpyArray]  # φ'(a), from which nothing cancels
    steepest: Callable[[NumpyArray, NumpyArray], NumpyArray]  # the largest φ' within E of a
    slope_of_h: Callable[[NumpyArray], NumpyArray]  # the same from h
    change: Callable[[NumpyArray], NumpyArray]  # |∂ of that/∂h|
    unit: float = (
        0.0  # roundings of φ are in units of |h| and this, the size of a term that cancels
    )


class Nonlinearity(NamedTuple):
    """φ of arrays of any numbers, φ' from a and h, and its errors; None: of relu, whose slope has a kink."""

    phi: Callable[[NumpyArray], NumpyArray]
    slope: Callable[[NumpyArray, NumpyArray], NumpyArray]
    errors: Smooth | None


NONLINEARITIES: dict[str, Nonlinearity] = {
    "tanh": Nonlinearity(
        np.tanh,
        lambda a, h: 1 - h * h,
        Smooth(
            sech_squared,
            lambda a, E: sech_squared(nearest(a, E)),
            lambda h: 1 - h * h,
            lambda h: 2 * np.abs(h),
        ),
    ),
    "relu": Nonlinearity(
        lambda a: np.maximum(a, 0), lambda a, h: (h.real > 0).astype(h.dtype), None
    ),
    "sigmoid": Nonlinearity(
        lambda a: 0.5 + 0.5 * np.tanh(0.5 * a),
        lambda a, h: h * (1 - h),
        Smooth(
            lambda a: sech_squared(a / 2) / 4,
            lambda a, E: sech_squared(nearest(a, E) / 2) / 4,
            lambda h: h * (1 - h),
            lambda h: np.abs(1 - 2 * h),
            unit=0.5,
        ),
    ),
}


def nonlinearity_of(name: str) -> Nonlinearity:
    """The nonlinearity of this name. Raises InputError if there is none."""
    return choose(NONLINEARITIES, name, "nonlinearity")
