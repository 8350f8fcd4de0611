"""Arrays and tuples of arrays of either package, bit for bit; fewer examples of a slow property."""

import numpy as np
from hypothesis import settings

from numpy_rnn import Update

UPDATE = tuple(Update.__slots__)


def fewer(divisor, least=10):
    """Hypothesis settings for a slow property: the profile's examples divided, unless thousands."""
    examples = settings().max_examples
    return settings(
        max_examples=examples if examples > 1000 else max(min(least, examples), examples // divisor)
    )


def members(value):
    """The attributes of an Update, in order; other values as they are."""
    return tuple(getattr(value, name) for name in UPDATE) if isinstance(value, Update) else value


def bits(value):
    """The exact contents of arrays of either package, nested as they are in tuples and updates."""
    value = members(value)
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    if value is None or isinstance(value, int):
        return value
    array = np.asarray(in_numpy(value))
    return array.shape, str(array.dtype), array.tobytes()


def in_numpy(array):
    """An array of either package as NumPy's, in the same memory; other values as they are."""
    return array.detach().numpy() if hasattr(array, "detach") else array


def arrays_in(value):
    """All arrays and NumPy numbers of nested tuples, updates, lists and dictionaries."""
    value = tuple(value.values()) if isinstance(value, dict) else members(value)
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return [value] if hasattr(value, "dtype") else []


def each(f, value, *more):
    """f of every array of a tuple, or of several tuples of the same form; None stays None."""
    if isinstance(value, tuple):
        results = [each(f, *fields) for fields in zip(value, *more, strict=True)]
        return type(value)(*results) if hasattr(value, "_fields") else tuple(results)
    return None if value is None else f(value, *more)
