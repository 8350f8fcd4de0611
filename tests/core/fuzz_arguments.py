"""One argument of a function changed at random, for test_fuzz_functions.py."""

from typing import Any

import numpy as np
from fuzz_inputs import changed_array, pick

ODD: tuple[Any, ...] = (
    None, "", "x", "0.1", b"x", True, 0, -1, 3, 1.5, 2 + 1j, float("nan"), float("inf"), -float("inf"), 10**30, 10**400,
    -(10**5000), [], (), {}, [1.0], [[1.0]], (1.0,), {"a": 1}, object(), int, len, range(3), iter(()), set(),
    np.float64(2), np.int64(2), np.bool_(True), np.array(None), np.array(1.0), np.array([1.0, 2.0]),
    np.array(["x"]), np.array([object()]), np.datetime64("2000"))  # fmt: skip


def changed_argument(rng, value, of_backend):
    """One argument changed: by another kind of thing, or in one of its parts.

    of_backend: from a NumPy array to one of the backend, where it can hold it.
    """
    if rng.random() < 0.25:
        return pick(rng, ODD)
    if isinstance(value, tuple) and value:
        kind = rng.integers(8)
        if kind == 0:
            return pick(rng, (tuple(value), list(value), value[:-1], (*value, None)))
        place = int(rng.integers(len(value)))
        part = None if kind == 1 else changed_argument(rng, value[place], of_backend)
        parts = [*value[:place], part, *value[place + 1 :]]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, dict) and value:
        key = pick(rng, list(value))
        kind = rng.integers(5)
        if kind == 0:
            return {k: v for k, v in value.items() if k != key}
        if kind == 1:
            return value | {pick(rng, ("x", 1, None, "x" * 5000, "a\nb", "rnn.weight_ih_l1")): value[key]}
        return value | {key: changed_argument(rng, value[key], of_backend)}
    if isinstance(value, list) and value:
        place = int(rng.integers(len(value)))
        return [*value[:place], changed_argument(rng, value[place], of_backend), *value[place + 1 :]]
    if hasattr(value, "shape") and hasattr(value, "ndim"):
        array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        kind = rng.integers(12)
        if kind == 0:
            return array.tolist()
        if kind == 1:
            return np.ma.masked_invalid(np.where(np.arange(array.size).reshape(array.shape) == 1, np.nan, array))
        if kind == 2:
            return array
        return of_backend(changed_array(rng, array))
    return pick(rng, ODD)
