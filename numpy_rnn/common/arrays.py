"""Checks of the arrays of one call: shapes, which share the sizes of their axes, dtypes, values.

Axes are written as in the annotations of `records.py`. All raise InputError.
"""

from __future__ import annotations

from functools import cache
from math import inf
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError, check_integer
from numpy_rnn.common.records import DTYPES, Gradients, NumpyArray

CHUNK = 4096  # steps that are checked at a time: a mapped file may be larger than the memory
CLASS_TARGETS = {"squared_error": False, "cross_entropy": True}  # whether targets are classes
DTYPE_NAMES = " or ".join(DTYPES)
dtype_name = cache(str)


class Arrays(NamedTuple):
    """The arrays of one package."""

    kind: type  # numpy.ndarray or torch.Tensor
    expected: str  # in messages

    def values(self, name: str, value: Any) -> Any:
        """The value as a NumPy array. Raises InputError unless it is an array without a mask."""
        if not isinstance(value, self.kind) or hasattr(value, "mask"):
            raise InputError(f"{name} is of type {type(value).__name__}: expected {self.expected}")
        return numpy_view(name, value)


NUMPY_ARRAYS = Arrays(np.ndarray, "a NumPy array without a mask; torch_rnn takes tensors")


def numpy_view(name: str, value: Any) -> Any:
    """A tensor as a NumPy array, in the same memory if that is the CPU's; others as they are."""
    try:
        return value.detach().cpu().numpy() if hasattr(value, "detach") else value
    except (TypeError, RuntimeError):  # bfloat16, sparse or quantized, or without numbers (meta)
        kind = f"{value.dtype}, {value.layout}, on the device {value.device}"
        raise InputError(f"{name} is {kind}: expected a dense tensor of {DTYPE_NAMES}") from None


def is_integer(array: NumpyArray) -> bool:
    """Whether the array holds classes, with one axis less than rows: (T, B) for (T, B, D)."""
    return array.dtype.kind in "iu"


def check_dtype(name: str, values: NumpyArray) -> None:
    """Raise InputError unless the dtype is one of DTYPES, in the byte order of this machine."""
    if dtype_name(values.dtype) not in DTYPES:
        found = f"{name} is {values.dtype}"
        raise InputError(f"{found}: expected {DTYPE_NAMES}, in this machine's byte order")


def check_convertible(value: Any) -> None:
    """Raise InputError unless `from_numpy` takes it: an array of float32, float64 or integers."""
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.values("the value", value)
    if not (is_integer(value) and value.dtype.isnative):
        check_dtype("the array", value)
    elif value.dtype == np.uint64 and value.size:
        check_integer("the largest number of the array", int(value.max()), 0)


def check_values(name: str, values: NumpyArray, least: float = -inf, most: float = inf) -> None:
    """Raise InputError unless all numbers, or classes, are finite and from `least` to `most`."""
    for first in range(0, len(values), CHUNK):
        chunk = values[first : first + CHUNK]
        if not np.isfinite(chunk).all():
            raise InputError(f"{name} contains NaN or infinity: expected finite numbers")
        if least > -inf and ((low := chunk.min()) < least or chunk.max() > most):
            kind, one = ("classes", "the class ") if is_integer(values) else ("numbers", "")
            limits = f"of {least:g} or more" if most == inf else f"from {least} to {most}"
            found = low if low < least else chunk.max()
            raise InputError(f"{name} holds {one}{found}: expected {kind} {limits}")


@cache
def _axes(record: Any) -> dict[str, str]:
    """The axes of the fields of a record, from their annotations."""
    return {name: str(hint).split("'")[1] for name, hint in record.__annotations__.items()}


class Arguments:
    """The arrays of one call: axes of the same letter have the same size, and all have one dtype.

    The first array with a letter decides on its size, and the first one with the axis N whether
    there is an ensemble. finite: whether NaN and infinity are refused.
    """

    def __init__(self, arrays: Arrays, *, finite: bool = False):
        self.arrays, self.finite = arrays, finite
        self.sizes: dict[str, int] = {}
        self.is_ensemble: bool | None = None  # unknown before the first array with the axis N
        self.dtype: Any = None

    def array(
        self, name: str, value: Any, axes: str, *, shared: bool = False, classes: bool = False
    ) -> None:
        """Raise InputError unless the value is an array with these axes, none of them empty.

        shared: whether the axis N may be absent, as all networks share the array. classes: whether
        it may hold classes, without the last axis, instead of rows.
        """
        values, letters = self.arrays.values(name, value), axes.split()
        row = letters.pop() if classes and is_integer(values) else ""
        single = [letter for letter in letters if letter != "N"]
        if self.is_ensemble is None:
            self.is_ensemble = values.ndim == len(letters) > len(single)
        allowed = [letters, single] if shared else [letters]
        allowed = allowed if self.is_ensemble else [single]
        if not any(self._fits(values.shape, each) for each in allowed):
            given, kind = (f"is {values.dtype} of", "classes ") if row else ("has", "")
            expected = " or ".join(self._shape(each) for each in allowed)
            hint = ", time first" if letters[0] in {"T", "K"} - self.sizes.keys() else ""
            raise InputError(
                f"{name} {given} shape {values.shape}: expected {kind}{expected}{hint}"
            )
        if row:
            check_values(name, values, 0, self.sizes[row] - 1)
            return
        check_dtype(name, values)
        self.dtype = self.dtype or values.dtype
        if values.dtype != self.dtype:
            dtypes = f"{values.dtype} and the parameters are {self.dtype}"
            raise InputError(f"{name} is {dtypes}: expected one dtype")
        if self.finite:
            check_values(name, values)

    def _fits(self, shape: tuple[int, ...], letters: list[str]) -> bool:
        """Whether a shape fits the sizes so far, which then include its own."""
        if len(shape) != len(letters) or 0 in shape:
            return False
        if "T+1" in letters:
            self.sizes["T+1"] = self.sizes["T"] + 1
        return all(self.sizes.setdefault(axis, size) == size for axis, size in zip(letters, shape))

    def _shape(self, letters: list[str]) -> str:
        return f"({', '.join(str(self.sizes.get(letter, letter)) for letter in letters)})"

    def record(self, name: str, value: Any, kind: Any, label: str = "{}", like: Any = None) -> None:
        """Raise InputError unless this is such a record, whose arrays fit and are not missing.

        like: parameters to whose arrays those of the record belong; then each of them may be None.
        """
        if not isinstance(value, kind):
            raise InputError(f"{name} is of type {type(value).__name__}: expected {kind.__name__}")
        for (field, axes), array, theta in zip(_axes(kind).items(), value, like or value):
            if array is not None and theta is None:
                raise InputError(f"there is a {name} of {field}: expected none, as params has none")
            if array is not None or not (like or field in kind._field_defaults):
                self.array(label.format(field), array, axes)

    def like_parameters(self, name: str, value: Any, params: Any) -> None:
        """Raise InputError unless each array of a gradient or velocity is None or fits its own."""
        self.record(name, value, Gradients, f"the {name} of {{}}", params)

    def target(self, target: Any, axes: str, loss: str) -> None:
        """Raise InputError unless this is a target of the loss, with axes such as "K N B O"."""
        values, classes = self.arrays.values("target", target), CLASS_TARGETS[loss]
        if classes and not is_integer(values):
            raise InputError(
                f"target is {values.dtype}: expected classes, which are integers, as the loss is"
                f" {loss}; for other numbers choose squared_error"
            )
        self.array("target", target, axes, shared=True, classes=classes)
