"""Functions of the arrays of a record of either package."""

from collections.abc import Callable
from typing import Any


def tree_map(function: Callable[..., Any], record: Any, *more: Any) -> Any:
    """A record of f(array, ...) for each array of one or more records; None stays None."""
    fields = zip(record, *more)
    return type(record)(*(None if v is None else function(v, *others) for v, *others in fields))


def convert(function: Callable[[Any], Any], value: Any) -> Any:
    """f of an array, or of every array of nested tuples; None and plain numbers as they are."""
    if isinstance(value, tuple):
        converted = [convert(function, item) for item in value]
        return type(value)(*converted) if hasattr(value, "_fields") else tuple(converted)
    is_plain = value is None or isinstance(value, int) or type(value) is float
    return value if is_plain else function(value)
