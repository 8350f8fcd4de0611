"""Comparisons of arrays and of tuples of arrays: within an allowed difference, or bit for bit."""

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


def assert_within(actual, expected, allowed, name="value"):
    """Fail unless an array is `expected` up to `allowed`: same shape, same dtype, all finite.

    Named tuples are compared field by field, and None is only like None.
    """
    if isinstance(expected, tuple):
        assert type(actual) is type(expected), (
            f"{name} is a {type(actual)}, expected a {type(expected)}"
        )
        for field, *values in zip(expected._fields, actual, expected, allowed, strict=True):
            assert_within(*values, f"{name}.{field}")
        return
    if expected is None:
        assert actual is None, f"{name} is there, expected None"
        return
    assert isinstance(actual, np.ndarray | np.generic), (
        f"{name} is a {type(actual)}, not a NumPy array"
    )
    assert actual.shape == expected.shape, (
        f"{name} has shape {actual.shape}, expected {expected.shape}"
    )
    assert actual.dtype == expected.dtype, f"{name} is {actual.dtype}, expected {expected.dtype}"
    assert np.shape(allowed) in ((), expected.shape), (
        f"{name}: the allowed difference has shape {np.shape(allowed)}"
    )
    for what, array in (("", actual), ("expected ", expected), ("allowed ", allowed)):
        assert np.isfinite(array).all(), f"{what}{name} is not finite: {array}"
    difference = np.abs(np.subtract(actual, expected, dtype=np.float64))
    if not (difference <= allowed).all():
        ratio = np.atleast_1d(difference / np.maximum(allowed, np.finfo(float).tiny))
        worst = np.unravel_index(ratio.argmax(), ratio.shape)
        given, wanted, limit = (
            np.broadcast_to(v, ratio.shape)[worst] for v in (actual, expected, allowed)
        )
        raise AssertionError(
            f"{name}{[int(i) for i in worst]} is {given!r}, expected {wanted!r} ± {limit:.2g}: "
            f"{ratio.max():.3g} times the allowed difference"
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
