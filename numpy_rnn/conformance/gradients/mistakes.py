"""What is wrong with a gradient, as far as it is certain."""

import inspect
from itertools import combinations

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.conformance.gradients.comparison import GradientCheck, products
from numpy_rnn.conformance.gradients.derivatives import norm
from numpy_rnn.conformance.gradients.user_function import UserFunction

PARTS = 64  # of an axis that are looked at one by one
CANDIDATES = 4  # elements of a part, of which the worst is shown
EXACT = 1e-6  # relative: a factor so close to a whole number is said to be it


def describe(check: GradientCheck, others: list[GradientCheck]) -> str:
    """Return what is wrong with a gradient, in words."""
    gradient = check.gradient
    if not np.any(gradient):
        return f"is 0 everywhere; expected a norm of {check.size:.3g}"
    if check.size == 0:
        return "expected 0: the loss does not change with this parameter"
    if len(check.expected) > 1:  # any number is a multiple of another one
        factor = check.reported @ check.expected / (check.expected @ check.expected)
        if check.is_explained_by(gradient, factor):
            return factor_words(float(factor), check.loss.function)
    is_square = gradient.ndim == 2 and gradient.shape == gradient.T.shape
    if is_square and check.is_explained_by(gradient.T):
        return "is the transposed one"
    for other in others:
        is_right = other.ratio <= 1 and other.tensor != check.tensor
        if is_right and np.array_equal(other.gradient, gradient):
            return f"is {other.tensor}"
    return clipped_words(check) or where_words(check)


def factor_words(factor: float, function: UserFunction) -> str:
    """Return the factor, with the size of the data that it is."""
    if abs(factor + 1) < EXACT:
        return "has the wrong sign"
    sign = "-" if factor < 0 else ""
    for number, start in ((abs(factor), ""), (1 / abs(factor), "1/")):
        whole = round(number)
        if whole > 1 and abs(number / whole - 1) < EXACT:
            words = f"× {sign}{start}{whole}"
            origin = sizes_of_data(function).get(whole)
            if origin and whole > 2:  # a factor of 2 comes from a square
                words += f" ({whole} is {origin})"
            return words
    return f"× {factor:.6g}"


def sizes_of_data(function: UserFunction) -> dict[int, str]:
    """Return the sizes of the data and their products, with their names."""
    single: dict[int, str] = {}
    names = [*inspect.signature(function.function).parameters][1:]
    for name, value in zip(names, function.data):
        for axis, size in enumerate(getattr(value, "shape", ())):
            single.setdefault(size, f"{name}.shape[{axis}]")
    sizes = dict(single)
    for (a, first), (b, second) in combinations(single.items(), 2):
        sizes.setdefault(a * b, f"{first} × {second}")
    return sizes


def clipped_words(check: GradientCheck) -> str:
    """Return the limit of a gradient that is clipped, or no words."""
    sizes = np.abs(check.gradient)
    at_limit = np.argwhere(sizes == sizes.max())
    if len(at_limit) < 2:
        return ""
    for index in map(tuple, at_limit[:CANDIDATES]):
        expected = check.element(index)
        if not expected * np.sign(check.gradient[index]) > sizes.max():
            return ""
    return f"is clipped at {sizes.max():.6g}, in {len(at_limit)} elements"


def where_words(check: GradientCheck) -> str:
    """Return how far a gradient is off, where, and the worst of some elements."""
    off = norm(check.reported - check.expected) / norm(check.expected)
    words = f"off by {off:.2%}"
    worst = np.ones(check.gradient.shape, dtype=bool)
    for axis in range(check.gradient.ndim):
        errors = part_errors(check, axis)
        is_wrong = errors > check.allowed
        if is_wrong.any():
            is_worst = np.flatnonzero(errors == errors.max())
            worst &= np.isin(np.indices(worst.shape)[axis], is_worst)
        if is_wrong.any() and not is_wrong.all():
            words += f" in {place_words(is_wrong, axis, check.gradient.ndim)}"
    indices = np.argwhere(worst)
    order = np.argsort(-np.abs(check.gradient[worst]))[:CANDIDATES]
    found = {}
    for index in map(tuple, indices[order]):
        expected = check.element(index)
        error = abs(check.gradient[index] - expected)
        found[float(error)] = index, expected
    index, expected = found[max(found)]
    place = ", ".join(map(str, index))
    return f"{words}; expected [{place}] {expected:.6g}, is {check.gradient[index]:.6g}"


def part_errors(check: GradientCheck, axis: int) -> Array:
    """Return the error at each index of an axis, or of parts of a long one."""
    length = check.gradient.shape[axis]
    signs = np.random.default_rng(axis).choice([-1.0, 1.0], check.gradient.shape)
    errors = np.zeros(length)
    for indices in np.array_split(np.arange(length), min(length, PARTS)):
        inside = np.isin(np.indices(signs.shape)[axis], indices)
        direction = np.where(inside, signs, 0.0)
        reported = products(direction[None], check.gradient)[0]
        errors[indices] = abs(reported - check.along(direction))
    return errors


def place_words(is_wrong: Array, axis: int, ndim: int) -> str:
    """Return which indices of an axis are wrong."""
    name = f"indices of axis {axis}"
    if ndim == 2:
        name = ("rows", "columns")[axis]
    wrong = np.flatnonzero(is_wrong)
    if len(wrong) == 1 + wrong[-1] - wrong[0]:
        return f"{name} {wrong[0]} to {wrong[-1]} of {len(is_wrong)}"
    return f"{len(wrong)} of {len(is_wrong)} {name}"
