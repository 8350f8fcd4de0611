"""Results that are the same but for a factor or the order of their elements."""

import itertools
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.equivalence.compare import (
    ROUNDOFFS,
    SPREADS,
    compared,
)
from numpy_rnn.conformance.equivalence.edits import GATE_COUNTS
from numpy_rnn.conformance.equivalence.runs import Arguments, Runs
from numpy_rnn.conformance.equivalence.steps import TimeAxis

# A factor of fewer elements is said only if it is one of sizes: any number is a
# multiple of another one.
MANY = 8
FACTOR_TOLERANCE = 1e-6  # relative: a factor so close to a fraction is said to be it


class Difference(NamedTuple):
    """A tensor that differs, and what rounding explains of it."""

    tensor: str
    f: NumpyArray
    g: NumpyArray
    limit: float

    def is_near(self, f: NumpyArray, factor: float = 1.0) -> bool:
        """Return whether g is a multiple of an array."""
        if f.shape != self.g.shape:
            return False
        limit = self.limit * (1 + abs(factor))
        return bool((np.abs(factor * f - self.g) <= limit).all())


def differences_of(f: Runs, g: Runs, single: Collection[str]) -> list[Difference]:
    """Return the tensors that differ."""
    roundoff = max(f.roundoff, g.roundoff)
    found = []
    for check in compared(f, g, single=single):
        if check.verdict == "different":
            name = check.tensor
            limit = ROUNDOFFS * roundoff * check.size
            spreads = [runs.spreads[name].max(initial=0.0) for runs in (f, g)]
            limit += SPREADS * float(np.hypot(*spreads))
            if check.has_same_shape:
                limit = float(check.allowed.max())
            found.append(Difference(name, check.f, check.g, limit))
    return found


# Factors


def factors(
    f: Runs, g: Runs, single: Collection[str], arguments: Arguments
) -> Iterator[str]:
    """Yield the factors of all results that differ, if they have some."""
    sizes = size_names(arguments)
    names: dict[str, list[str]] = {}
    for difference in differences_of(f, g, single):
        words = factor_words(difference, sizes)
        if not words:
            return
        names.setdefault(words, []).append(difference.tensor)
    shown = [f"{', '.join(tensors)} × {words}" for words, tensors in names.items()]
    if shown:
        yield f"if f's results are multiplied: {'; '.join(shown)}"


def factor_words(difference: Difference, sizes: dict[int, str]) -> str:
    """Return the factor of a result, with the sizes that it is made of."""
    f, g = difference.f, difference.g
    square = float(np.vdot(f, f))
    if f.shape != g.shape or not square:
        return ""
    factor = float(np.vdot(f, g)) / square
    if (
        not factor
        or abs(factor - 1) < FACTOR_TOLERANCE
        or not difference.is_near(f, factor)
    ):
        return ""
    sign = "−" if factor < 0 else ""
    for top, bottom in fractions(sizes):
        if abs(abs(factor) * bottom / top - 1) < FACTOR_TOLERANCE:
            words = f"{sign}{top}" + (f"/{bottom}" if bottom > 1 else "")
            known = [f"{n} is {sizes[n]}" for n in (top, bottom) if sizes[n]]
            return words + (f" ({', '.join(known)})" if known else "")
    return f"{factor:.9g}" if f.size >= MANY else ""


def fractions(sizes: dict[int, str]) -> list[tuple[int, int]]:
    """Return the fractions of sizes, the simple ones first."""
    pairs = [(p, q) for p, q in itertools.product(sizes, sizes) if np.gcd(p, q) == 1]
    return sorted(pairs, key=lambda pair: max(pair) * (1 + (min(pair) > 1)))


def size_names(arguments: Arguments) -> dict[int, str]:
    """Return the numbers that a mean divides by: products of the sizes of the data."""
    names = {1: "", 2: ""}
    data = arguments._replace(params=()).arrays()
    axes = [
        (f"{path}.shape[{axis}]", size)
        for path, array in data.items()
        for axis, size in enumerate(array.shape)
    ]
    for count in (1, 2, 3):
        for chosen in itertools.combinations(axes, count):
            paths = {name.rpartition(".")[0] for name, _ in chosen}
            number = int(np.prod([size for _, size in chosen]))
            if len(paths) == 1:
                names.setdefault(number, " × ".join(name for name, _ in chosen))
                names.setdefault(2 * number, f"2 × {names[number] or number}")
    return names


# The order of elements


def rearrangement(
    f: Runs, g: Runs, single: Collection[str], time_axis: TimeAxis | None
) -> Iterator[str]:
    """Yield what order all results that differ have in g, if they are the same."""
    names: dict[str, list[str]] = {}
    for difference in differences_of(f, g, single):
        words = order_words(difference, time_axis)
        if not words:
            return
        names.setdefault(words, []).append(difference.tensor)
    shown = [f"{', '.join(tensors)} {words}" for words, tensors in names.items()]
    if shown:
        yield f"if f's results are rearranged: {'; '.join(shown)}"


def order_words(difference: Difference, time_axis: TimeAxis | None) -> str:
    """Return how g's elements are ordered."""
    f = difference.f
    if f.ndim == 0 or f.size < 2:
        return ""
    for axes in list(itertools.permutations(range(f.ndim)))[1:]:
        if f.ndim <= 4 and difference.is_near(f.transpose(axes)):
            return "transposed" if f.ndim == 2 else f"with axes {axes}"
    for axis, size in enumerate(f.shape):
        if difference.is_near(np.flip(f, axis)):
            is_time = time_axis is not None and time_axis.axis_in(f.shape) == axis
            what = "steps" if is_time else f"order of axis {axis}"
            return f"with the {what} reversed"
        for count in GATE_COUNTS:
            if size % count:
                continue
            blocks = np.split(f, count, axis)
            for order in itertools.permutations(range(count)):
                changed = np.concatenate([blocks[i] for i in order], axis)
                if difference.is_near(changed):
                    shown = ", ".join(map(str, order))
                    return (
                        f"with the {count} blocks of axis {axis} in the order {shown}"
                    )
    return ""
