"""Two runs, tensor by tensor: is their difference that of rounding?"""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.equivalence.runs import Runs, noise_of

# What is allowed: units of the spread of both functions, and units of roundoff of the
# tensor. `python -m benchmarks.equivalence` measures how much of it right code uses.
SPREADS = 10.0
ROUNDOFFS = 8.0
SMALLEST = 64.0  # smallest normal numbers: flushed to zero or not
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
    f: Runs, g: Runs, labels: tuple[str, str] = ("f", "g"), other: Runs | None = None
) -> list[TensorCheck]:
    """Return the checks of all tensors, in f's order. other: runs of another function
    whose rounding errors are those of g.
    """
    checks = []
    lowest = max((f, g), key=lambda runs: runs.roundoff)
    smallest = SMALLEST * float(np.finfo(lowest.dtype).tiny)
    for name, value in f.values.items():
        check = TensorCheck(name, value, g.values[name], np.zeros(value.shape), labels)
        if check.has_same_shape:
            spread = spread_of_both(name, f, g)
            if other is not None and other.spreads[name].shape == value.shape:
                spread = np.hypot(spread, other.spreads[name])
            rounding = ROUNDOFFS * lowest.roundoff * check.size
            check = check._replace(allowed=SPREADS * spread + rounding + smallest)
        checks.append(check)
    return checks


def spread_of_both(name: str, f: Runs, g: Runs) -> NumpyArray:
    """Return the spread of the difference of f and g.

    The directions of rounding show the roundings of float32 too. Where one of the
    functions follows a change of the arguments that float32 does not resolve, and the
    other one does not, a part of it is in float32. That is no rounding of float64: the
    smaller spread is that of both.
    """
    spreads = f.spreads[name], g.spreads[name]
    changes = f.changes[name], g.changes[name]
    noise = max(noise_of(f.values[name]), noise_of(g.values[name]))
    largest = np.maximum(*map(np.abs, changes))
    is_lost = np.abs(changes[0] - changes[1]) > largest / 8 + noise
    is_single = is_lost & (f.resolved[name] | g.resolved[name])
    if is_single.any() and f.dtype == g.dtype:
        return min(spreads, key=root_mean_square)
    spread: NumpyArray = np.hypot(*spreads)
    return spread
