"""The axes of arguments, and the check that the arrays of one call fit each other.

Axes are a letter each, such as "TNBD" for (T, N, B, D). Arrays of a single network have
no N. S is T + 1 states.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy_rnn.common.array_kinds import (
    ArrayKind,
    check_classes,
    check_dtype,
    check_values,
    is_integer,
)
from numpy_rnn.common.errors import InputError


class ArrayChecks:
    """Checks of the arrays of one call, which must fit each other.

    All have one dtype, and axes of one letter have one size, which the first array
    with that letter determines. The first array of all determines whether there is an
    ensemble. No axis is empty.
    """

    def __init__(self, kind: ArrayKind, *, finite: bool = False):
        """finite: whether NaN and infinity are errors."""
        self.kind = kind
        self.finite = finite
        self.sizes: dict[str, int] = {}
        self.dtype: Any = None
        self.first = ""  # the name of the first array, which has this dtype

    def check(self, name: str, value: Any, axes: str, *, shared: bool = False) -> None:
        """Check one more array of numbers.

        shared: whether an ensemble may share one, without N.
        """
        values = self.kind.as_numpy(name, value)
        self._check_shape(name, values.shape, self._forms(axes, shared))
        check_dtype(name, values)
        if self.dtype is None:
            self.first = name
            self.dtype = values.dtype
        if values.dtype != self.dtype:
            raise InputError(
                f"{name} is {values.dtype} and {self.first} is {self.dtype}: expected "
                "one dtype"
            )
        if self.finite:
            check_values(name, values)

    def check_rows(self, name: str, value: Any, axes: str) -> None:
        """Check rows that an ensemble may share: numbers, or classes, which have not
        the last axis.
        """
        values = self.kind.as_numpy(name, value)
        if not is_integer(values):
            self.check(name, value, axes, shared=True)
            return
        forms = self._forms(axes[:-1], shared=True)
        self._check_shape(name, values.shape, forms, ", as integers are classes")
        check_classes(name, values, self.sizes[axes[-1]])

    def _forms(self, axes: str, shared: bool) -> list[str]:
        """Return the axes that the array may have."""
        single = axes.replace("N", "")
        if "N" not in self.sizes:
            return [single] if self.sizes or axes == single else [single, axes]
        return [axes, single] if shared else [axes]

    def _check_shape(
        self, name: str, shape: tuple[int, ...], forms: Sequence[str], note: str = ""
    ) -> None:
        """Check that the shape is one of these forms, and keep its sizes.

        note: what the message adds.
        """
        for form in forms:
            sizes = dict(zip(form, shape)) | self.sizes
            if tuple(map(sizes.get, form)) == shape and 0 not in shape:
                if "T" in sizes:
                    sizes["S"] = sizes["T"] + 1
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
