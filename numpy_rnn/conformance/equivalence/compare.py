"""Two runs, tensor by tensor: is their difference that of rounding?"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.equivalence.runs import Runs, noise_of

# What is allowed: units of the spread of both functions, and units of roundoff of the
# tensor. `python -m benchmarks.equivalence` measures how much of it right code uses.
SPREADS = 16.0
ROUNDOFFS = 8.0
SMALLEST = 64.0  # smallest normal numbers: flushed to zero or not
SUSPICIOUS = 2.0**-36  # of a tensor: a spread that may be that of a part in float32
MANY_TIMES = 1000.0  # the spread of the other function
JUDGED = 1e-3  # of a tensor: where rounding may be more, it is not judged


class TensorCheck(NamedTuple):
    """The check of one tensor that both functions return."""

    tensor: str
    f: NumpyArray
    g: NumpyArray
    allowed: NumpyArray  # what rounding explains, per element
    labels: tuple[str, str] = ("f", "g")  # what the two values are

    @property
    def size(self) -> float:
        """The root mean square of the larger tensor."""
        return max(root_mean_square(self.f), root_mean_square(self.g))

    @property
    def has_same_shape(self) -> bool:
        """Whether the two arrays have one shape."""
        return self.f.shape == self.g.shape

    @property
    def judged(self) -> NumpyArray:
        """Where rounding is small enough for a verdict."""
        # Of size 0: it is 0 in every run, or else a difference of large numbers.
        limit = JUDGED * self.size if self.size else SMALLEST
        judged: NumpyArray = self.allowed <= limit
        return judged

    @property
    def differs(self) -> NumpyArray:
        """Where the two are judged and differ by more than rounding explains."""
        differs: NumpyArray = self.judged & ~(np.abs(self.f - self.g) <= self.allowed)
        return differs

    @property
    def ratio(self) -> float:
        """The largest difference, in units of what is allowed, where it is judged."""
        if not self.has_same_shape:
            return np.inf
        errors = np.abs(self.f - self.g)[self.judged]
        allowed = self.allowed[self.judged]
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = np.where(errors == 0, 0.0, errors / allowed)
        return float(ratios.max(initial=0.0))

    @property
    def verdict(self) -> str:
        """One of "equal", "different" and "not judged"."""
        if not self.has_same_shape or self.differs.any():
            return "different"
        return "equal" if self.f.size and self.judged.all() else "not judged"


def root_mean_square(array: NumpyArray) -> float:
    """Return the root mean square of an array, 0 of no elements."""
    size: float = np.linalg.norm(array) / max(array.size, 1) ** 0.5
    return size


def compared(
    f: Runs,
    g: Runs,
    labels: tuple[str, str] = ("f", "g"),
    other: Runs | None = None,
    single: Collection[str] = (),
) -> list[TensorCheck]:
    """Return the checks of all tensors, in f's order.

    other: runs of another function whose rounding errors are those of g. single:
    tensors that one of the two computes in float32; their spread is the smaller one.
    """
    checks = []
    lowest = max((f, g), key=lambda runs: runs.roundoff)
    smallest = SMALLEST * float(np.finfo(lowest.dtype).tiny)
    scale = max(root_mean_square(value) for value in f.values.values())
    for name, value in f.values.items():
        check = TensorCheck(name, value, g.values[name], np.zeros(value.shape), labels)
        if check.has_same_shape:
            spreads = [runs.spreads[name] for runs in (f, g, other) if runs]
            if other is not None and spreads[2].shape != value.shape:
                del spreads[2]
            spread = np.sqrt(np.sum(np.square(spreads), axis=0))
            if name in single:
                spread = min(spreads, key=root_mean_square)
            rounding = ROUNDOFFS * lowest.roundoff * check.size
            if is_underflow(check, lowest.roundoff * scale):
                rounding = np.inf
            check = check._replace(allowed=SPREADS * spread + rounding + smallest)
        checks.append(check)
    return checks


def is_underflow(check: TensorCheck, roundoff: float) -> bool:
    """Return whether one tensor is 0, and the other less than the roundoff of all: the
    slope of saturated units, of which nothing is left.
    """
    sizes = root_mean_square(check.f), root_mean_square(check.g)
    return min(sizes) == 0 < max(sizes) < roundoff


# Parts in float32
#
# The directions of rounding show the roundings of float32 too. These are no roundings
# of float64, and would hide what they change.


def may_be_single(f: Runs, g: Runs) -> bool:
    """Return whether one function's spread is that of float32, and the other's not."""
    for name, value in f.values.items():
        spreads = [root_mean_square(runs.spreads[name]) for runs in (f, g)]
        least = SUSPICIOUS * root_mean_square(value)
        if max(spreads) > max(least, MANY_TIMES * min(spreads)):
            return f.dtype == g.dtype == np.float64
    return False


def single_tensors(f: Runs, g: Runs) -> set[str]:
    """Return the tensors that one of the functions computes in float32.

    It does not follow a change of the arguments that float32 does not resolve, as the
    other one does. The runs are at a point where no unit is saturated: the slope of a
    saturated unit has lost its digits in float64 too.
    """
    found = set()
    for name, value in f.values.items():
        if value.shape != g.values[name].shape:
            continue
        changes = f.changes[name], g.changes[name]
        noise = max(noise_of(value), noise_of(g.values[name]))
        largest = np.maximum(*map(np.abs, changes))
        is_lost = np.abs(changes[0] - changes[1]) > largest / 8 + noise
        if (is_lost & (f.resolved[name] | g.resolved[name])).any():
            found.add(name)
    return found
