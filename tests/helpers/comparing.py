"""Arrays and tuples of arrays of either package, bit for bit; fewer examples of a slow
property.
"""

import dataclasses
import itertools

import numpy as np
from hypothesis import settings

from numpy_rnn import Update

UPDATE = tuple(field.name for field in dataclasses.fields(Update))


def fewer(divisor, least=10):
    """Return settings for a slow property: the profile's examples, divided."""
    examples = settings().max_examples
    count = max(min(least, examples), examples // divisor)
    return settings(max_examples=examples if examples > 1000 else count)


def members(value):
    """Return the attributes of an Update, in order; other values as they are."""
    if not isinstance(value, Update):
        return value
    return tuple(getattr(value, name) for name in UPDATE)


def in_numpy(array):
    """Return an array as NumPy's, in the same memory; other values as they are."""
    return array.detach().numpy() if hasattr(array, "detach") else array


def bits(value):
    """Return the exact contents of arrays, nested as they are in tuples and updates."""
    value = members(value)
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    if value is None or isinstance(value, int):
        return value
    array = np.asarray(in_numpy(value))
    return array.shape, str(array.dtype), array.tobytes()


def arrays_in(value):
    """Return all arrays and NumPy numbers of nested tuples, updates, lists and
    dictionaries.
    """
    value = tuple(value.values()) if isinstance(value, dict) else members(value)
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return [value] if hasattr(value, "dtype") else []


def share_memory(arrays, others):
    """Return whether any array shares memory with any of the others."""
    pairs = itertools.product(map(in_numpy, arrays), map(in_numpy, others))
    return any(np.shares_memory(*pair) for pair in pairs)
