"""Runs in which every operation rounds in another direction.

The processor's rounding mode belongs to its arithmetic, not to the arrays: no function
that an array passes through can drop it, and compiled code rounds as well. Where the
mode cannot be set, as on an unknown processor, all runs round to the nearest number.

Source: Kahan 2006, How futile are mindless assessments of roundoff in floating-point
computation?, section 12, on recomputation with other rounding modes; Vignes 1993, A
stochastic arithmetic for reliable scientific computation, Mathematics and Computers in
Simulation 35 (3).
"""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

# The constants of <fenv.h>: to nearest, downwards, upwards, towards zero.
X86 = (0, 0x400, 0x800, 0xC00)
ARM = (0, 0x800000, 0x400000, 0xC00000)
ROUNDING_MODES = {"x86_64": X86, "AMD64": X86, "aarch64": ARM, "arm64": ARM}


@contextmanager
def rounding(run: int) -> Iterator[None]:
    """Round in one of four directions, by the number of the run."""
    modes = ROUNDING_MODES.get(platform.machine(), (0,))
    set_mode = getattr(ctypes.CDLL(None), "fesetround", lambda mode: mode)
    set_mode(modes[run % len(modes)])
    try:
        yield
    finally:
        set_mode(modes[0])
