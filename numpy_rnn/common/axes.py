"""The axes of arguments, and the check that the arrays of one call fit each other."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite
from typing import Any, Literal, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_integer
from numpy_rnn.common.records import DTYPES, NumpyArray

DTYPE_NAMES = " or ".join(DTYPES)


class Axes(NamedTuple):
    """The axes of an argument. Those of one letter have one size in a call."""

    letters: str
    """The axes for one network, such as "TBD"; "S" is T + 1 states."""
    network_axis: int = 0
    """Where the axis N of an ensemble is."""
    may_be_shared: bool = False
    """Whether an ensemble may share one array, without N."""
    classes: Literal["no", "allowed", "required"] = "no"
    """Whether integers may, or must, stand for rows, without the last axis."""


PARAMETERS = {
    "W_xh": Axes("DH"),
    "W_hh": Axes("HH"),
    "W_hy": Axes("HO"),
    "b_h": Axes("H"),
    "b_y": Axes("O"),
}
ACTIVATIONS = {
    "x": Axes("TBD", network_axis=1),
    "a": Axes("TBH", network_axis=1),
    "h": Axes("SBH", network_axis=1),
    "y": Axes("TBO", network_axis=1),
}
INPUTS = Axes("TBD", network_axis=1, may_be_shared=True, classes="allowed")
INITIAL_STATE = Axes("BH", may_be_shared=True)
OUTPUTS = Axes("KBO", network_axis=1)
TARGET = Axes("KBO", network_axis=1, may_be_shared=True)


class Arrays(NamedTuple):
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


NUMPY_ARRAYS = Arrays(
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
    """Check that all numbers, or classes, are finite and from `least` to `most`."""
    # NaN if any number is. No copy is made of a file that is mapped.
    low, high = values.min(), values.max()
    if not (isfinite(low) and isfinite(high)):
        raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
    if least <= low and high <= most:
        return
    found = low if low < least else high
    what = "classes" if is_integer(values) else "numbers"
    limits = f"from {least} to {most}"
    if most == inf:
        limits = f"of {least:g} or more"
    raise InputError(f"{name} contains {found}: expected {what} {limits}")


class ArrayChecks:
    """Checks of the arrays of one call, which must fit each other.

    All have one dtype, and axes of one letter have one size, which the first array
    with that letter determines. The first array of all determines whether there is an
    ensemble. No axis is empty.
    """

    def __init__(
        self,
        arrays: Arrays,
        *,
        finite: bool = False,
        is_ensemble: bool | None = None,
    ):
        """finite: whether NaN and infinity are errors."""
        self.arrays = arrays
        self.finite = finite
        self.sizes: dict[str, int] = {}
        self.dtype: Any = None
        self.is_ensemble = is_ensemble

    def check(self, name: str, value: Any, axes: Axes) -> None:
        """Check one more array."""
        values = self.arrays.values(name, value)
        has_classes = axes.classes != "no" and is_integer(values)
        if axes.classes == "required" and not has_classes:
            raise InputError(
                f"{name} is {values.dtype}, and the loss is one of classes: expected "
                "integers; for other numbers choose squared_error"
            )
        self._check_shape(name, values.shape, axes, has_classes)
        if has_classes:
            check_values(name, values, 0, self.sizes[axes.letters[-1]] - 1)
            return
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

    def _check_shape(
        self, name: str, shape: tuple[int, ...], axes: Axes, has_classes: bool
    ) -> None:
        letters = axes.letters[:-1] if has_classes else axes.letters
        if self.is_ensemble is None:
            self.is_ensemble = len(shape) == len(letters) + 1
        allowed = list(self._forms(letters, axes))
        for form in allowed:
            if sizes := self._sizes_of(form, shape):
                self.sizes = sizes
                return
        expected = " or ".join(map(self._written, allowed))
        if has_classes:
            expected += ", as integers are classes"
        if letters[0] in "TK" and letters[0] not in self.sizes:
            expected += ", time first"
        raise InputError(f"{name} has shape {shape}: expected {expected}")

    def _forms(self, letters: str, axes: Axes) -> Iterator[str]:
        """Yield the axes that the array may have."""
        if self.is_ensemble:
            yield letters[: axes.network_axis] + "N" + letters[axes.network_axis :]
        if not self.is_ensemble or axes.may_be_shared:
            yield letters

    def _sizes_of(self, form: str, shape: tuple[int, ...]) -> dict[str, int] | None:
        """Return the sizes with those of this shape, or None if it does not fit."""
        if len(form) != len(shape):
            return None
        sizes = dict(self.sizes)
        for letter, size in zip(form, shape):
            if size == 0 or sizes.setdefault(letter, size) != size:
                return None
        if "T" in sizes:
            sizes["S"] = sizes["T"] + 1
        return sizes

    def _written(self, form: str) -> str:
        """Return the form as a shape, with letters for sizes that are not known."""
        return f"({', '.join(str(self.sizes.get(letter, letter)) for letter in form)})"
