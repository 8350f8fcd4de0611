"""What is wrong with a gradient, as far as it is certain."""

import inspect
from itertools import combinations
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.conformance.gradients.derivatives import (
    Derivatives,
    LossDerivative,
    norm,
)
from numpy_rnn.conformance.gradients.user_function import UserFunction

PARTS = 64  # of an axis that are looked at one by one
CANDIDATES = 4  # elements of a part, of which the worst is shown


class Suspect(NamedTuple):
    """A gradient, and the derivatives of the loss along some directions."""

    name: str
    gradient: Array
    directions: Array
    found: Derivatives
    size: float  # the expected 2-norm of the gradient
    allowed: float  # along one direction
    derivative: LossDerivative

    @property
    def reported(self) -> Array:
        """The products of the directions and the gradient."""
        return products(self.directions, self.gradient)

    @property
    def largest_error(self) -> float:
        """The largest difference along a direction."""
        return float(np.abs(self.reported - self.found.values).max())

    @property
    def ratio(self) -> float:
        """The largest error in units of what is allowed; 0 for 0/0."""
        if self.largest_error == 0:
            return 0.0
        if self.allowed == 0:
            return np.inf
        return self.largest_error / self.allowed

    def is_explained_by(self, gradient: Array, factor: float = 1.0) -> bool:
        """Return whether the expected gradient, times a factor, is this one."""
        errors = np.abs(
            products(self.directions, gradient) - factor * self.found.values
        )
        return bool((errors <= self.allowed * max(1.0, abs(factor))).all())


class Part(NamedTuple):
    """Some indices of one axis."""

    axis: int
    first: int
    end: int

    def directions(self, suspect: Suspect) -> Array:
        """Return one direction that is 0 outside of this part."""
        inside = np.zeros(suspect.gradient.shape)
        index = [slice(None)] * suspect.gradient.ndim
        index[self.axis] = slice(self.first, self.end)
        inside[tuple(index)] = 1.0
        signs = np.random.default_rng(self.first).choice([-1.0, 1.0], inside.shape)
        return (inside * signs)[None]


def products(directions: Array, gradient: Array) -> Array:
    """Return the sums of the products of a gradient and each direction."""
    axes = tuple(range(1, directions.ndim))
    return (directions * gradient).sum(axis=axes)


def describe(suspect: Suspect, others: list[Suspect], function: UserFunction) -> str:
    """Return what is wrong with a gradient, in words."""
    if not np.any(suspect.gradient):
        return f"is 0 everywhere, expected a norm of {suspect.size:.3g}"
    if suspect.size == 0:
        return "expected 0, the loss does not change with this parameter"
    factor = factor_of(suspect)
    if factor is not None:
        return factor_words(factor, function)
    gradient = suspect.gradient
    is_square = gradient.ndim == 2 and gradient.shape[0] == gradient.shape[1]
    if is_square and suspect.is_explained_by(gradient.T):
        return "is the transposed one"
    for other in others:
        is_equal = np.array_equal(other.gradient, gradient)
        if other.name != suspect.name and other.ratio <= 1 and is_equal:
            return f"is d{other.name}"
    return clipped_words(suspect) or where_words(suspect)


def factor_of(suspect: Suspect) -> float | None:
    """Return the number by which the whole gradient is off, if it is one."""
    reported, expected = suspect.reported, suspect.found.values
    if np.count_nonzero(expected) < 2:  # any number is a multiple of another one
        return None
    factor = float(reported @ expected / (expected @ expected))
    return factor if suspect.is_explained_by(suspect.gradient, factor) else None


def factor_words(factor: float, function: UserFunction) -> str:
    """Return the factor, as a size of the data if it is one."""
    if abs(factor + 1) < 1e-6:
        return "has the wrong sign"
    sign = "-" if factor < 0 else ""
    size = abs(factor)
    for number, text in ((size, ""), (1 / size, "1/")):
        whole = round(number)
        if whole > 1 and abs(number - whole) < 1e-6 * whole:
            origin = sizes_of_data(function).get(whole, "")
            known = f" ({whole} is {origin})" if origin else ""
            return f"× {sign}{text}{whole}{known}"
    return f"× {factor:.6g}"


def sizes_of_data(function: UserFunction) -> dict[int, str]:
    """Return the sizes of the data and their products, with their names."""
    try:
        names = [*inspect.signature(function.function).parameters][1:]
    except (TypeError, ValueError):  # of compiled functions
        names = []
    single = {}
    for index, value in enumerate(function.data):
        name = names[index] if index < len(names) else f"argument {index + 2}"
        for axis, size in enumerate(np.shape(value) if is_array(value) else ()):
            single.setdefault(size, f"{name}.shape[{axis}]")
    sizes = dict(single)
    for (a, first), (b, second) in combinations(single.items(), 2):
        sizes.setdefault(a * b, f"{first} × {second}")
    return sizes


def is_array(value: object) -> bool:
    """Return whether the value is an array of NumPy."""
    return isinstance(value, np.ndarray)


def clipped_words(suspect: Suspect) -> str:
    """Return the limit of a gradient that is clipped, or no words."""
    sizes = np.abs(suspect.gradient)
    limit = sizes.max()
    at_limit = np.argwhere(sizes == limit)
    if len(at_limit) < 2:
        return ""
    for index in map(tuple, at_limit[:CANDIDATES]):
        expected = element(suspect, index)
        if not expected * np.sign(suspect.gradient[index]) > limit:
            return ""
    return f"is clipped at {limit:.6g}, {len(at_limit)} times"


def element(suspect: Suspect, index: tuple[int, ...]) -> float:
    """Return the derivative by one element."""
    direction = np.zeros((1, *suspect.gradient.shape))
    direction[(0, *index)] = 1.0
    return float(suspect.derivative.along(suspect.name, direction).values[0])


def wrong_parts(suspect: Suspect, axis: int) -> tuple[list[Part], list[Part]]:
    """Return the parts of an axis that are wrong, the worst one first, and all."""
    length = suspect.gradient.shape[axis]
    parts, errors = [], []
    for indices in np.array_split(np.arange(length), min(length, PARTS)):
        part = Part(axis, int(indices[0]), int(indices[-1]) + 1)
        direction = part.directions(suspect)
        expected = suspect.derivative.along(suspect.name, direction).values
        error = np.abs(products(direction, suspect.gradient) - expected).max()
        parts.append(part)
        errors.append(float(error))
    order = np.argsort(errors)[::-1]
    wrong = [parts[i] for i in order if not errors[i] <= suspect.allowed]
    return wrong, parts


def where_words(suspect: Suspect) -> str:
    """Return how far a gradient is off, and where."""
    errors = suspect.reported - suspect.found.values
    off = norm(errors) / norm(suspect.found.values)
    words = f"off by {off:.2g}" if off >= 10 else f"off by {off:.2%}"
    worst: list[slice] = []
    for axis, name in enumerate(axis_names(suspect.gradient.ndim)):
        wrong, parts = wrong_parts(suspect, axis)
        if wrong:
            worst.append(slice(wrong[0].first, wrong[0].end))
        if 0 < len(wrong) < len(parts):
            words += f" in {place_words(wrong, parts, name)}"
    return words + example_words(suspect, tuple(worst))


def axis_names(ndim: int) -> list[str]:
    """Return the names of the axes of an array."""
    if ndim <= 1:
        return ["elements"][:ndim]
    if ndim == 2:
        return ["rows", "columns"]
    return [f"indices of axis {axis}" for axis in range(ndim)]


def place_words(wrong: list[Part], parts: list[Part], name: str) -> str:
    """Return which parts of an axis are wrong, and which one is right."""
    length = parts[-1].end
    first, end = min(part.first for part in wrong), max(part.end for part in wrong)
    count = sum(part.end - part.first for part in wrong)
    if count == end - first:
        return f"{name} {first} to {end - 1} of {length}"
    return f"{count} of {length} {name}"


def example_words(suspect: Suspect, worst: tuple[slice, ...]) -> str:
    """Return the two numbers of the worst of some elements."""
    inside = np.zeros(suspect.gradient.shape, dtype=bool)
    inside[worst] = True
    indices = np.argwhere(inside)
    sizes = np.abs(suspect.gradient[inside])
    largest, found = -1.0, ""
    for row in np.argsort(sizes)[::-1][:CANDIDATES]:
        index = tuple(indices[row])
        expected, is_now = element(suspect, index), suspect.gradient[index]
        if abs(expected - is_now) > largest:
            largest = abs(expected - is_now)
            place = ", ".join(map(str, index))
            found = f"; expected [{place}] {expected:.6g}, is {is_now:.6g}"
    return found
