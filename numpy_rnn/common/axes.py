"""The axes of arguments, and the check that the arrays of one call fit each other.

Axes are a letter each, such as "TNBD" for (T, N, B, D). Arrays of a single network have
no N. S is T + 1 states.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isfinite
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.records import DTYPES, A, NumpyArray

DTYPE_NAMES = " or ".join(DTYPES)


class ArrayKind(NamedTuple):
    """The arrays of one package."""

    kind: type
    """numpy.ndarray or torch.Tensor."""
    expected: str
    """What a message says of them."""

    def values(self, name: str, value: Any) -> Any:
        """Return the value as a NumPy array, if it is an array of this package, and
        neither a mask nor a matrix.
        """
        is_array = isinstance(value, self.kind)
        if not is_array or isinstance(value, np.matrix | np.ma.MaskedArray):
            raise InputError(
                f"{name} is of type {type(value).__name__}: expected {self.expected}"
            )
        return numpy_view(name, value)


NUMPY_ARRAYS = ArrayKind(
    np.ndarray, "a NumPy array, no mask, no matrix; torch_rnn takes tensors"
)


def numpy_view(name: str, value: Any) -> Any:
    """Return a tensor as a NumPy array, in the same memory if that is the CPU's, and
    another value as it is.
    """
    if not hasattr(value, "detach"):
        return value
    try:
        return value.detach().cpu().numpy()
    # bfloat16, sparse or quantized, or without numbers (meta)
    except (TypeError, RuntimeError):
        kind = f"{value.dtype}, {value.layout}, on the device {value.device}"
        raise InputError(
            f"{name} is {kind}: expected a dense tensor of {DTYPE_NAMES}"
        ) from None


def is_integer(array: NumpyArray) -> bool:
    """Return whether the array has classes, and so one axis fewer than one of rows."""
    return array.dtype.kind in "iu"


def per_network(value: A, theta: Any) -> A:
    """Return a value (N,), or a scalar, with axes to broadcast with theta (N, ...)."""
    array: Any = value
    result: A = array.reshape(*array.shape, *(1,) * (theta.ndim - array.ndim))
    return result


def check_dtype(name: str, values: NumpyArray) -> None:
    """Check that the dtype is one of DTYPES, in native byte order."""
    if values.dtype not in DTYPES:
        raise InputError(
            f"{name} is {values.dtype}: expected {DTYPE_NAMES}, in native byte order"
        )


def check_convertible(value: Any) -> None:
    """Check that `from_numpy` can convert the value: floats of DTYPES, or integers of
    int64.
    """
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.values("the value", value)
    if not (is_integer(value) and value.dtype.isnative):
        check_dtype("the array", value)
    elif value.dtype == np.uint64 and value.size:
        check_integer("the largest number of the array", int(value.max()), 0)


def check_values(
    name: str, values: Any, least: float = -inf, most: float = inf
) -> None:
    """Check that all numbers are finite and from `least` to `most`, of classes."""
    # NaN if any number is. No copy is made of a file that is mapped.
    low, high = values.min(), values.max()
    if not (isfinite(low) and isfinite(high)):
        raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
    if low < least:
        raise InputError(f"{name} contains {low}: expected {least:g} or more")
    if high > most:
        raise InputError(f"{name} contains {high}: expected classes from 0 to {most}")


class ArrayChecks:
    """Checks of the arrays of one call, which must fit each other.

    All have one dtype, and axes of one letter have one size, which the first array
    with that letter determines. The first array of all determines whether there is an
    ensemble. No axis is empty.
    """

    def __init__(self, arrays: ArrayKind, *, finite: bool = False):
        """finite: whether NaN and infinity are errors."""
        self.arrays = arrays
        self.finite = finite
        self.sizes: dict[str, int] = {}
        self.dtype: Any = None

    def check(self, name: str, value: Any, axes: str, *, shared: bool = False) -> None:
        """Check one more array of numbers.

        shared: whether an ensemble may share one, without N.
        """
        values = self.arrays.values(name, value)
        self._check_shape(name, values.shape, self._forms(axes, shared))
        check_dtype(name, values)
        if self.dtype is None:
            self.dtype = values.dtype
        if values.dtype != self.dtype:
            raise InputError(
                f"{name} is {values.dtype} and the parameters are {self.dtype}: "
                "expected one dtype"
            )
        if self.finite:
            check_values(name, values)

    def check_rows(self, name: str, value: Any, axes: str) -> None:
        """Check rows that an ensemble may share: numbers, or classes, which have not
        the last axis.
        """
        values = self.arrays.values(name, value)
        if not is_integer(values):
            self.check(name, value, axes, shared=True)
            return
        forms = self._forms(axes[:-1], shared=True)
        self._check_shape(name, values.shape, forms, ", as integers are classes")
        check_values(name, values, 0, self.sizes[axes[-1]] - 1)

    def _forms(self, axes: str, shared: bool) -> list[str]:
        """Return the axes that the array may have."""
        single = axes.replace("N", "")
        if "N" not in self.sizes:
            return [single] if self.sizes or axes == single else [single, axes]
        return [axes, single] if shared else [axes]

    def _check_shape(
        self, name: str, shape: tuple[int, ...], forms: Sequence[str], note: str = ""
    ) -> None:
        for form in forms:
            sizes = dict(zip(form, shape)) | self.sizes
            if tuple(map(sizes.get, form)) == shape and 0 not in shape:
                self.sizes = sizes
                return
        first = forms[0][0]
        if first in "TK" and first not in self.sizes:
            note += ", time first"
        expected = " or ".join(map(self._written, forms))
        raise InputError(f"{name} has shape {shape}: expected {expected}{note}")

    def _written(self, form: str) -> str:
        """Return the form as a shape, with letters for sizes that are not known."""
        return f"({', '.join(str(self.sizes.get(letter, letter)) for letter in form)})"
