"""Functions of arrays, applied to each array of nested tuples."""

from collections.abc import Callable
from typing import Any

from numpy_rnn.common.records import Value


def tree_map(function: Callable[..., Any], value: Value, *more: Any) -> Value:
    """Apply a function to an array, or to each array of nested tuples.

    None and plain numbers, such as the options of a run, stay as they are.
    more: values of the same structure, whose arrays are further arguments.
    """
    result: Value
    # A float by its type, as NumPy's float64, which is an array here, is one too.
    if value is None or isinstance(value, int) or type(value) is float:
        return value
    if isinstance(value, tuple):
        kind: Any = type(value)
        results = [tree_map(function, *items) for items in zip(value, *more)]
        result = kind(*results) if hasattr(value, "_fields") else kind(results)
        return result
    result = function(value, *more)
    return result
