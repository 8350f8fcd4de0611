"""The one comparison of the tests: arrays and tuples of arrays, within an allowed difference or bit for bit."""

import numpy as np
from hypothesis import settings

# The error granted to an operation, relative to the size of the terms that it summed: 45 eps. Two correct
# computations of a sum of n terms differ by at most n·eps of that size (Higham, section 3.1), and n ≤ 42 below.
UNIT = {"float64": 1e-14, "float32": 1e-14 * 2.0**29}
# Below the smallest normal number, numbers lie as far apart as the smallest of all: there a product is off by half of
# that in either of two computations, and so is the expected value when it is rounded to the dtype.
UNDERFLOW = {unit: 2 * float(np.finfo(dtype).smallest_subnormal) for dtype, unit in UNIT.items()}


def fewer(divisor):
    """Hypothesis settings for a dear property: the profile's number of examples, divided."""
    return settings(max_examples=max(5, settings().max_examples // divisor))


def assert_within(actual, expected, allowed, name="value"):
    """Fail unless the NumPy array `actual` is `expected` up to `allowed`: same shape, same dtype, all finite, and no
    element further away. Named tuples are compared field by field, and None is only like None.
    """
    if isinstance(expected, tuple):
        assert type(actual) is type(expected), f"{name} is a {type(actual)}, expected a {type(expected)}"
        fields = getattr(expected, "_fields", range(len(expected)))
        for field, *values in zip(fields, actual, expected, allowed, strict=True):
            assert_within(*values, f"{name}.{field}")
        return
    if expected is None:
        assert actual is None, f"{name} is there, expected None"
        return
    assert isinstance(actual, np.ndarray | np.generic), f"{name} is a {type(actual)}, not a NumPy array"
    assert actual.shape == expected.shape, f"{name} has shape {actual.shape}, expected {expected.shape}"
    assert actual.dtype == expected.dtype, f"{name} is {actual.dtype}, expected {expected.dtype}"
    assert np.shape(allowed) in ((), expected.shape), f"{name}: the allowed difference has shape {np.shape(allowed)}"
    for what, array in (("", actual), ("expected ", expected), ("allowed ", allowed)):
        assert np.isfinite(array).all(), f"{what}{name} is not finite: {array}"
    difference = np.abs(np.subtract(actual, expected, dtype=np.float64))
    if not (difference <= allowed).all():
        ratio = np.atleast_1d(difference / np.maximum(allowed, np.finfo(float).tiny))
        worst = np.unravel_index(ratio.argmax(), ratio.shape)
        given, wanted, limit = (np.broadcast_to(v, ratio.shape)[worst] for v in (actual, expected, allowed))
        raise AssertionError(
            f"{name}{[int(i) for i in worst]} is {given!r}, expected {wanted!r} ± {limit:.2g}: "
            f"{ratio.max():.3g} times the allowed difference"
        )


def bits(value):
    """The exact contents of arrays of either backend, nested like the tuples that hold them."""
    if isinstance(value, tuple):
        return tuple(map(bits, value))
    if value is None or isinstance(value, int):
        return value
    array = np.asarray(in_numpy(value))
    return array.shape, str(array.dtype), array.tobytes()


def in_numpy(array):
    """An array of either backend as NumPy's, in the same memory; other values as they are."""
    return array.detach().numpy() if hasattr(array, "detach") else array


def arrays_in(value):
    """All arrays and NumPy numbers of nested tuples, lists and dictionaries."""
    if isinstance(value, dict):
        return arrays_in(tuple(value.values()))
    if isinstance(value, tuple | list):
        return [array for part in value for array in arrays_in(part)]
    return [value] if hasattr(value, "dtype") else []


def each(f, value, *more):
    """f of every array of a tuple, or of several tuples of the same form; None stays None."""
    if isinstance(value, tuple):
        results = [each(f, *fields) for fields in zip(value, *more, strict=True)]
        return type(value)(*results) if hasattr(value, "_fields") else tuple(results)
    return None if value is None else f(value, *more)
