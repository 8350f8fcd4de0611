"""Runs of a user's function: its results, and how much rounding changes them.

A function is run at the arguments, and eight times at arguments that differ by a unit
of roundoff, rounded in other directions. Every call gets its own copies.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.equivalence.trees import (
    floating_arrays,
    is_floating,
    replaced,
    returned_arrays,
    with_arrays,
)
from numpy_rnn.conformance.rounding_runs import with_other_roundings

RUNS = 8  # with other roundings
STEP = 2.0**-32  # relative: what float32 does not resolve, and float64 does
RESOLUTION = 64.0  # units of roundoff that a change must exceed to be seen
ELSEWHERE = 1.25  # factor of the parameters for a call at another point

ArraysByPath = dict[str, NumpyArray]
# A function of arguments, whose results have names.
Compute = Callable[["Arguments"], ArraysByPath]


class Arguments(NamedTuple):
    """The parameters and the data of a call. Their arrays are NumPy's."""

    params: Any
    data: tuple[Any, ...]

    def arrays(self) -> ArraysByPath:
        """Return the floating-point arrays: `params.W`, `data[0]`."""
        return floating_arrays(self)

    def replace(self, arrays: Mapping[str, NumpyArray]) -> "Arguments":
        """Return arguments with other arrays."""
        changed: Arguments = with_arrays(self, arrays)
        return changed

    def astype(self, dtype: Any) -> "Arguments":
        """Return arguments whose floating-point arrays have this dtype."""

        def converted(path: str, leaf: Any) -> Any:
            """Return the leaf in the dtype."""
            return leaf.astype(dtype) if is_floating(leaf) else leaf

        changed: Arguments = replaced(self, converted)
        return changed


class ComparedFunction(NamedTuple):
    """One of the two functions of a user."""

    label: str  # "f" or "g"
    function: Callable[..., Any]
    adapt: Callable[[Any], Any] | None = None  # of the parameters

    def call(self, arguments: Arguments) -> Any:
        """Return what the function returns. Raises InputError if it changes its
        arguments.
        """
        passed = copy.deepcopy(arguments)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            params = passed.params if self.adapt is None else self.adapt(passed.params)
            result = self.function(params, *passed.data)
        before = arguments.arrays()
        for path, array in passed.arrays().items():
            if not np.array_equal(array, before[path], equal_nan=True):
                raise InputError(
                    f"{self.label} changes {path}: expected arguments that stay as "
                    "they are; let it work on a copy"
                )
        return result

    def compute(self, arguments: Arguments) -> ArraysByPath:
        """Return the arrays of the result by their paths."""
        return returned_arrays(self.label, self.call(arguments))


class Runs(NamedTuple):
    """The results of a function at one point, and the spread of each element."""

    values: ArraysByPath
    spreads: ArraysByPath  # at least that of the tensor, for every element
    # What a change of the arguments below the roundoff of float32 changes, and where it
    # is more than rounding.
    changes: ArraysByPath
    resolved: ArraysByPath
    dtype: np.dtype  # the lowest of the arguments and the results

    @property
    def roundoff(self) -> float:
        """The unit of roundoff."""
        return roundoff_of(self.dtype)


def roundoff_of(dtype: np.dtype) -> float:
    """Return the unit of roundoff of float32 or float64."""
    return float(np.finfo(dtype).eps) / 2


def lowest_dtype(*groups: ArraysByPath) -> np.dtype:
    """Return float32 if an array has it, else float64."""
    arrays = [array for group in groups for array in group.values()]
    is_single = any(array.dtype == np.float32 for array in arrays)
    return np.dtype(np.float32 if is_single else np.float64)


def runs_of(compute: Compute, arguments: Arguments) -> Runs:
    """Run a function at the arguments and near to them.

    Raises
    ------
    InputError
        If the results have other shapes from call to call.
    """
    values = compute(arguments)
    return with_spreads(compute, arguments, values)


def with_spreads(compute: Compute, arguments: Arguments, values: ArraysByPath) -> Runs:
    """Return the runs of a function, given its results at the arguments."""
    arrays = arguments.arrays()
    dtype = lowest_dtype(arrays, values)

    def nearby(changed: ArraysByPath) -> ArraysByPath:
        """Return the results at other arrays."""
        return compute(arguments.replace(changed))

    samples = with_other_roundings(nearby, arrays, RUNS, roundoff_of(dtype))
    spreads = {}
    for name, value in values.items():
        squares = np.zeros(value.shape)
        for sample in samples:
            squares += np.square(as_float(sample[name]) - as_float(value))
        # Eight runs say little about one element, whose errors may be small by chance.
        least = squares.mean() if squares.size else 0.0
        spreads[name] = np.sqrt(np.maximum(squares, least) / RUNS)
    changes, resolved = {}, {}
    for name, value in values.items():
        changes[name] = np.zeros(value.shape)
        resolved[name] = np.zeros(value.shape, bool)
    if dtype == np.float64:
        ahead, behind = (
            nearby({path: array * (1 + step) for path, array in arrays.items()})
            for step in (STEP, -STEP)
        )
        for name, value in values.items():
            sides = as_float(ahead[name]), as_float(behind[name])
            changes[name] = sides[0] - sides[1]
            curvature = np.abs(sides[0] + sides[1] - 2 * as_float(value))
            noise = 4 * curvature + noise_of(value)
            resolved[name] = np.abs(changes[name]) > noise
    values = {name: as_float(value) for name, value in values.items()}
    return Runs(values, spreads, changes, resolved, dtype)


def noise_of(value: NumpyArray) -> float:
    """Return how large a small change must be, to be more than rounding."""
    largest: float = np.abs(value).max(initial=0.0)
    return RESOLUTION * roundoff_of(np.dtype(float)) * largest


def as_float(array: NumpyArray) -> NumpyArray:
    """Return an array in float64."""
    return array.astype(np.float64)


def contracted(arguments: Arguments) -> Arguments:
    """Return smaller arguments, which saturate no unit: rows of parameters whose sum of
    sizes is a half at most, data of one at most.
    """
    data = arguments._replace(params=()).arrays()
    changed = {}
    for path, array in arguments.arrays().items():
        sizes = np.abs(array)
        largest = sizes.max(initial=0.0)
        if path not in data and array.ndim > 1:
            largest = sizes.sum(axis=-1).max(initial=0.0)
        limit = 1.0 if path in data else 0.5
        if largest > limit:
            changed[path] = array * array.dtype.type(limit / largest)
    return arguments.replace(changed)


# What cannot be compared


def check_repeats(
    function: ComparedFunction, arguments: Arguments, values: ArraysByPath
) -> None:
    """Raise InputError unless equal calls return the same, also after a call with other
    parameters.
    """
    require_same(function.label, values, function.compute(arguments))
    params = arguments._replace(data=()).arrays()
    moved = {
        path: array * array.dtype.type(ELSEWHERE) for path, array in params.items()
    }
    try:
        function.compute(arguments.replace(moved))
    except Exception:  # the user's code may raise anything there
        return
    require_same(function.label, values, function.compute(arguments))


def require_same(label: str, values: ArraysByPath, others: ArraysByPath) -> None:
    """Raise InputError unless the results of two equal calls are the same."""
    for name, value in values.items():
        other = others.get(name)
        if other is None or other.shape != value.shape:
            is_same = False
        else:
            # Half of the digits: threads may add in another order.
            error = np.linalg.norm(as_float(other) - as_float(value))
            digits = roundoff_of(lowest_dtype(values)) ** 0.5
            is_same = not error > digits * np.linalg.norm(as_float(value))
        if not is_same:
            raise InputError(
                f"{label} is not deterministic: two equal calls return other {name}; "
                "fix its seed, and let every call start from the same state"
            )


def check_finite(label: str, values: ArraysByPath) -> None:
    """Raise InputError if a result is not finite."""
    for name, value in values.items():
        count = np.count_nonzero(~np.isfinite(value))
        if count:
            raise InputError(
                f"{label} returns nan or inf in {count} of {value.size} elements of "
                f"{name}: expected finite numbers; choose other data"
            )
