"""Functions of the arrays of a record, whatever package they are of."""

from collections.abc import Callable, Iterable
from typing import Any


def is_plain(value: object) -> bool:
    """Whether the value is None or a plain number, and so an array in no package."""
    return value is None or isinstance(value, int) or type(value) is float


def like(value: tuple[Any, ...], values: Iterable[Any]) -> Any:
    """The values as a tuple of the same kind, named or not."""
    return type(value)(*values) if hasattr(value, "_fields") else tuple(values)


def each(function: Callable[..., Any], record: Any, *more: Any) -> Any:
    """A record with the function of every array of a record, and of the same array of more records; None stays None."""
    return type(record)(*(None if v is None else function(v, *others) for v, *others in zip(record, *more)))
