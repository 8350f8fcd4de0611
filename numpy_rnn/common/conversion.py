"""Functions of the arrays of a record, whatever package they are of."""

from collections.abc import Callable
from typing import Any


def tree_map(function: Callable[..., Any], record: Any, *more: Any) -> Any:
    """A record with the function of every array of a record, and of the same array of more records; None stays None."""
    return type(record)(
        *(None if v is None else function(v, *others) for v, *others in zip(record, *more))
    )


def convert(function: Callable[[Any], Any], value: Any) -> Any:
    """The function of an array, or of every array of nested tuples; None and plain numbers are returned as they are."""
    if isinstance(value, tuple):
        converted = [convert(function, item) for item in value]
        return type(value)(*converted) if hasattr(value, "_fields") else tuple(converted)
    return (
        value
        if value is None or isinstance(value, int) or type(value) is float
        else function(value)
    )
