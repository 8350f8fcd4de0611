"""Right ways to compute a window that round differently.

Each is the definition with another operation of floats, or another order of an
equation, as real programs have them.
"""

from typing import Any, NamedTuple

import mpmath
import numpy as np

from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.definition import DEFINITION, Definition, window_update

ARRAYS = ("x", "target", "h_0", "params", "velocity")  # of a case


class Way(NamedTuple):
    """Operations of floats, and equations of the definition."""

    numbers: type[NumpyArithmetic] = NumpyArithmetic
    definition: Definition = DEFINITION
    nonlinearity: str = ""  # the only one that is computed otherwise, if there is one

    def case(self, case):
        """Return the case, with the nonlinearity that is computed otherwise."""
        if not self.nonlinearity:
            return case
        objective = case.objective._replace(nonlinearity=self.nonlinearity)
        return case._replace(objective=objective)

    def report(self, case, change=lambda array: array):
        """Compute the report of the case, whose arrays of floats are changed first."""

        def changed(array):
            return change(array) if array.dtype.kind == "f" else array

        class Numbers(self.numbers):
            def from_input(self, array, error=0.0):
                return changed(array)

            def stack(self, values):
                return changed(super().stack(values))  # np.stack gives plain arrays

        arrays = {name: tree_map(changed, getattr(case, name)) for name in ARRAYS}
        changed_case = case._replace(**arrays)
        with np.errstate(all="ignore"):
            report = window_update(changed_case, Numbers(case.dtype), self.definition)
        return {name: np.asarray(v).astype(case.dtype) for name, v in report.items()}


def operations(**methods: Any) -> Way:
    """Return the definition with other operations of floats."""
    return Way(type("OtherArithmetic", (NumpyArithmetic,), methods))


# φ and its slope.

PHI = {  # by mpmath, at any number of digits
    "tanh": mpmath.tanh,
    "relu": lambda a: max(a, mpmath.mpf(0)),
    "sigmoid": lambda a: 1 / (1 + mpmath.exp(-a)),
}
LIMIT = 7  # ulps of tanh and cosh, of the 8 that are allowed


def other_function(operation, nonlinearity, function):
    """Return the way with another φ, or another dh ∘ φ'(a), for one nonlinearity."""

    def computed(self, *operands):
        *numbers, _ = operands
        return function(*numbers)

    return operations(**{operation: computed})._replace(nonlinearity=nonlinearity)


def slope_by_inaccurate_cosh(dh, a, h):
    cosh = in_float64(np.cosh, a, 1 + LIMIT * np.finfo(a.dtype).eps)
    return dh * (1 / np.square(cosh))


def inaccurate_tanh(a):
    """Compute a tanh all of whose values are too small."""
    return in_float64(np.tanh, a, 1 - 2 * LIMIT * np.finfo(a.dtype).epsneg)


def in_float64(function, a, factor):
    """Compute a function in float64, and round it times a factor. In float32 those of
    NumPy have more than one ulp themselves.
    """
    return (function(a.astype(np.float64)) * factor).astype(a.dtype)


# The step


def scaled_norm(self, gradients):
    """Compute a norm whose squares cannot overflow."""
    numbers = np.concatenate([g.ravel() for g in gradients])
    largest = np.abs(numbers).max() or numbers.dtype.type(1)
    scale = type(largest)(np.ldexp(1.0, np.frexp(largest)[1] - 1))
    return scale * np.sqrt(np.square(numbers / scale).sum())


def fused_velocity(n, g, before, step):
    """Round μ v + (1 − τ) g once from float64."""
    if before is None or step.adagrad:
        return DEFINITION.velocity(n, g, before, step)
    v = np.float64(step.momentum) * before + (1 - step.dampening) * g
    return v.astype(g.dtype)


def fused_update(n, name, theta, delta, step):
    """Round θ − η δ once from float64."""
    return (theta - np.float64(n.rate(step, theta)) * delta).astype(theta.dtype)


WAYS = {
    "as it is": Way(),
    "(1 - h)(1 + h)": other_function(
        "by_slope", "tanh", lambda dh, a, h: dh * ((1 - h) * (1 + h))
    ),
    "JAX's": other_function(
        "by_slope", "tanh", lambda dh, a, h: (dh + dh * h) * (1 - h)
    ),
    "a cosh at its limit": other_function("by_slope", "tanh", slope_by_inaccurate_cosh),
    "a tanh at its limit": other_function("phi", "tanh", inaccurate_tanh),
    "a logistic function by exp": other_function(
        "phi", "sigmoid", lambda a: 1 / (1 + np.exp(-a))
    ),
    "by scaled numbers": operations(norm=scaled_norm),
    "fused": Way(definition=Definition(velocity=fused_velocity, updated=fused_update)),
}


# Arrays whose operations round otherwise than those of NumPy.

FUNCTIONS = (np.tanh, np.exp, np.log, np.log1p, np.expm1)


class RoundedArray(np.ndarray):
    """An array that rounds what it reads and what it gives."""

    def rounded(self, numbers):
        """Return floats, rounded."""
        return numbers

    def share(self, shape):
        """Return by which share of their values functions, such as tanh, are off."""
        return 0.0

    def round_floats(self, value):
        """Return floats, rounded, in a plain array; other values as they are."""
        if not isinstance(value, np.ndarray | np.floating) or value.dtype.kind != "f":
            return value
        return self.rounded(np.asarray(value))

    def product(self, A, B):
        """Compute A B, of which each product and each sum is rounded."""
        result = np.zeros((len(A), B.shape[1]), A.dtype)
        for k in range(A.shape[1]):
            term = self.rounded(A[:, k, None] * B[None, k])
            result = self.rounded(result + term)
        return result

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        plain = [self.round_floats(value) for value in inputs]
        if ufunc is np.matmul:
            result = self.product(*plain)
        else:
            result = getattr(ufunc, method)(*plain, **options)
        if ufunc in FUNCTIONS:
            result = result * (1 + self.share(result.shape))
        result = self.round_floats(result)
        return result.view(type(self)) if isinstance(result, np.ndarray) else result


class Flushes(RoundedArray):
    """An array that reads subnormal numbers as zero, and gives zero for them."""

    def rounded(self, numbers):
        is_subnormal = np.abs(numbers) < np.finfo(numbers.dtype).smallest_normal
        return np.where(is_subnormal, numbers.dtype.type(0), numbers)


U = 2.0**-24  # the unit roundoff of float32
ULPS = 7  # the error of functions, of the 8 ulps that are allowed


def skewed_report(case, directions, seed):
    """Compute the report of a case in float32, whose numbers round in a direction as
    far as the unit roundoff allows it: the largest errors there are.

    directions: those that are drawn for every number, 1.0 and −1.0 or one of them.
    """
    random = np.random.default_rng(seed)

    class Skewed(RoundedArray):
        """Numbers of float32, held in float64, in which products are exact."""

        def rounded(self, numbers):
            toward = random.choice(directions, numbers.shape)
            nearest = numbers.astype(np.float32)
            farthest = (toward * np.inf).astype(np.float32)
            other = np.nextafter(nearest, farthest)
            is_other_side = (nearest - numbers) * toward < 0
            is_near = np.abs(other - numbers) <= U * np.abs(numbers)
            return np.where(is_other_side & is_near, other, nearest).astype(np.float64)

        def share(self, shape):
            return 2 * ULPS * U * random.choice(directions, shape)

    return Way().report(case, lambda array: array.astype(np.float64).view(Skewed))
