"""Runs of a user's function in which the processor rounds in other directions.

Their spread estimates the rounding error of the function, whatever it is written in.
The rounding mode belongs to a thread: these runs have a thread of their own, which ends
with them, and that of the caller never changes.

Source: Kahan 2006, How futile are mindless assessments of roundoff in floating-point
computation?, section 12, on recomputation with other rounding modes.
"""

import ctypes
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from numpy_rnn.conformance.user_function import ArraysByName

ROUNDOFF = 2.0**-53  # of float64
# In <fenv.h>, the four rounding modes are 0 to 3 times a constant, 0 is to nearest.
MODE_CONSTANTS = {"x86_64": 0x400, "aarch64": 0x400000, "arm64": 0x400000}


def with_other_roundings(
    compute: Callable[[ArraysByName], Any],
    arrays: ArraysByName,
    count: int,
    roundoff: float = ROUNDOFF,
) -> list[Any]:
    """Return the results of runs that round in other directions, at arrays that differ
    by a unit of roundoff.

    The rounding mode is that of a thread, which ends with these runs. On a processor or
    system that MODE_CONSTANTS does not have (Windows), it stays to nearest.
    """
    constant = MODE_CONSTANTS.get(platform.machine(), 0)

    def result_of(run: int) -> Any:
        """Return the result of the run with this number."""
        random = np.random.default_rng(run)
        nearby = {}
        for name, array in arrays.items():
            change = 2 * roundoff * random.uniform(-1, 1, array.shape)
            nearby[name] = np.asarray(array * (1 + change)).astype(array.dtype)
        if constant:
            ctypes.CDLL(None).fesetround(run % 4 * constant)
        return compute(nearby)

    with ThreadPoolExecutor(1) as thread:
        return list(thread.map(result_of, range(count)))
