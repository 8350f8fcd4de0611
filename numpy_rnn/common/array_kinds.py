"""The arrays of the packages: their kinds, and what concerns one array by itself."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, NumpyArray

DTYPE_NAMES = " or ".join(DTYPES)


class ArrayKind(NamedTuple):
    """The arrays of one package."""

    array_type: type
    """numpy.ndarray or torch.Tensor."""
    expected: str
    """What a message says is expected, if a value is another one."""

    def as_numpy(self, name: str, value: Any) -> Any:
        """Return the value as a NumPy array, if it is an array of this package, and
        neither a mask nor a matrix.
        """
        is_array = isinstance(value, self.array_type)
        if not is_array or isinstance(value, np.matrix | np.ma.MaskedArray):
            raise InputError(
                f"{name} is of type {type(value).__name__}: expected {self.expected}"
            )
        return numpy_view(name, value)


NUMPY_KIND = ArrayKind(
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
    except (TypeError, RuntimeError) as error:  # bfloat16, sparse, without data
        raise InputError(f"{name}: {error}: expected {DTYPE_NAMES}") from None


def is_integer(array: NumpyArray) -> bool:
    """Return whether the array has classes, and so one axis fewer than one of rows."""
    return array.dtype.kind in "iu"


def check_dtype(name: str, values: NumpyArray) -> None:
    """Check that the dtype is one of DTYPES, in native byte order."""
    if values.dtype not in DTYPES:
        raise InputError(
            f"{name} is {values.dtype}: expected {DTYPE_NAMES}, in native byte order"
        )


def check_convertible(value: Any) -> None:
    """Check that `from_numpy` can convert the value: floats of DTYPES, or integers."""
    if not isinstance(value, np.generic):
        NUMPY_KIND.as_numpy("the value", value)
    if not (is_integer(value) and value.dtype.isnative):
        check_dtype("the array", value)


def check_values(name: str, values: Any, least: float = -inf) -> None:
    """Check that all numbers are finite, and `least` or more."""
    # NaN if any number is. No copy is made of a file that is mapped.
    low, high = values.min(), values.max()
    if not (isfinite(low) and isfinite(high)):
        raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
    if low < least:
        raise InputError(f"{name} contains {low}: expected {least:g} or more")


def check_classes(name: str, values: NumpyArray, size: int) -> None:
    """Check that all integers are classes from 0 to size − 1."""
    for extreme in (values.min(), values.max()):
        if not 0 <= extreme < size:
            raise InputError(
                f"{name} contains {extreme}: expected classes from 0 to {size - 1}"
            )
