"""Helpers of the conversions between NumPy and a package's arrays."""

from collections.abc import Iterable
from typing import Any


def is_plain(value: object) -> bool:
    """Whether the value is None or a plain number, and so an array in no package."""
    return value is None or isinstance(value, int) or type(value) is float


def like(value: tuple[Any, ...], values: Iterable[Any]) -> Any:
    """The values as a tuple of the same kind, named or not."""
    return type(value)(*values) if hasattr(value, "_fields") else tuple(values)
