"""Calls of a user's function: its loss, and its gradients by the names of the
parameters.

Every call gets its own copies of the parameters and the data, in the precision that is
asked for, so that nothing is carried from one call to the next.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError, short_repr, some_of
from numpy_rnn.common.records import NumpyArray as Array

Params = dict[str, Array]
OTHER_CHECKS = {
    "torch": "torch.autograd.gradcheck",
    "jax": "jax.test_util.check_grads",
    "jaxlib": "jax.test_util.check_grads",
}


class Evaluation(NamedTuple):
    """What one call returns."""

    loss: Any  # a float, or a complex number
    gradients: Params


class UserFunction(NamedTuple):
    """A function f(params, *data) that returns a loss and its gradients."""

    function: Callable[..., Any]
    container: Any  # the parameters as the user gave them
    params: Params
    data: tuple[Any, ...]

    def call(self, params: Params, dtype: Any, data_dtype: Any = None) -> Any:
        """Return what the function returns for parameters of this dtype.

        data_dtype: that of floating-point data, if it is another one.
        """

        def parameter(name: str, _: Array) -> Array:
            return params[name].astype(dtype)

        def item(_: str, value: Any) -> Any:
            return cast(value, data_dtype or dtype)

        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dtype is np.complex128:
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
            data = nested_map(item, self.data)
            return self.function(nested_map(parameter, self.container), *data)

    def loss(self, params: Params, dtype: Any, data_dtype: Any = None) -> Any:
        """Return the loss alone, as a number of this dtype."""
        return loss_of(self.call(params, dtype, data_dtype))

    def evaluate(self, params: Params, dtype: Any = np.float64) -> Evaluation:
        """Return the loss and the gradients, which are checked and named."""
        result = self.call(params, dtype)
        return Evaluation(loss_of(result), gradients_of(result, self.params))

    def evaluate_as_given(self) -> Evaluation:
        """Call the function with the user's own dtypes. Raises InputError if it changes
        its arguments.
        """
        arguments = copy.deepcopy((self.container, *self.data))
        result = self.function(*arguments)
        before = leaves_of((self.container, *self.data))
        after = leaves_of(arguments)
        if before.keys() != after.keys() or not all(
            map(is_same, before.items(), after.items())
        ):
            raise InputError(
                "the function changes params or data in place: let it work on copies"
            )
        return Evaluation(loss_of(result), gradients_of(result, self.params))


def user_function(
    function: Callable[..., Any], params: Any, data: tuple[Any, ...]
) -> UserFunction:
    """Check the arguments of the user. Raises InputError."""
    named = leaves_of(params)
    if not named or not isinstance(params, Mapping | list | tuple):
        raise InputError("params: expected a dict, a tuple or a list of arrays")
    for name, value in named.items():
        refuse_other_package(f"parameter {name}", value)
        dtype = getattr(value, "dtype", type(value).__name__)
        if not isinstance(value, np.ndarray) or dtype not in ("float32", "float64"):
            raise InputError(
                f"parameter {name} is {dtype}: expected an array of float32 or float64"
            )
    return UserFunction(function, params, named, data)


def nested_map(change: Callable[[str, Any], Any], value: Any, name: str = "") -> Any:
    """Return nested dicts, lists and tuples with change(name, item) for each item."""
    if isinstance(value, Mapping):
        start = f"{name}." if name else ""
        found = {}
        for key, item in value.items():
            found[key] = nested_map(change, item, f"{start}{key}")
        return found
    if hasattr(value, "_asdict"):
        return type(value)(**nested_map(change, value._asdict(), name))
    if isinstance(value, list | tuple):
        items = []
        for index, item in enumerate(value):
            place = f"{name}[{index}]" if name else str(index)
            items.append(nested_map(change, item, place))
        return type(value)(items)
    return change(name, value)


def leaves_of(value: Any) -> dict[str, Any]:
    """Return the items of nested dicts, lists and tuples by their names."""
    found: dict[str, Any] = {}
    nested_map(found.__setitem__, value)
    return found


def cast(value: Any, dtype: Any) -> Any:
    """Return a copy, of this dtype if it is an array of floating-point numbers."""
    if isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f":
        return value.astype(dtype)
    return copy.deepcopy(value)


def is_same(before: Any, after: Any) -> bool:
    """Return whether two named items are equal, if they are arrays."""
    if not isinstance(before[1], np.ndarray):
        return True
    is_number = before[1].dtype.kind in "fc"
    return np.array_equal(before[1], after[1], equal_nan=is_number)


def refuse_other_package(what: str, value: Any) -> None:
    """Raise InputError if the value belongs to a package with a check of its own."""
    package = type(value).__module__.partition(".")[0]
    if package in OTHER_CHECKS:
        instead = OTHER_CHECKS[package]
        raise InputError(f"{what} is of {package}: this is for NumPy, use {instead}")


def number_array(what: str, value: Any) -> Array:
    """Return the value as an array. Raises InputError unless it has numbers."""
    refuse_other_package(what, value)
    try:
        array = np.asarray(value)
    except ValueError:  # of a list of rows with different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "fciu":
        raise InputError(f"{what} is {short_repr(value)}: expected numbers")
    return array


def loss_of(result: Any) -> Any:
    """Return the loss, the first value that a function returns. Raises InputError."""
    if not isinstance(result, list | tuple) or len(result) < 2:
        kind = type(result).__name__
        raise InputError(f"the function returns {kind}: expected (loss, gradients)")
    loss = number_array("the loss", result[0])
    if loss.size != 1:
        raise InputError(f"the loss has the shape {loss.shape}: expected one number")
    return loss.reshape(())[()]


def gradients_of(result: Any, params: Params) -> Params:
    """Return the gradients by the names of the parameters. Raises InputError."""
    gradients = result[1]
    if not isinstance(gradients, Mapping | list | tuple):
        gradients = result[1 : 1 + len(params)]
    named = leaves_of(gradients)
    if not isinstance(gradients, Mapping):
        named = dict(zip(params, named.values()))
    found = {}
    for name, parameter in params.items():
        key = "d" + name if "d" + name in named else name
        if key not in named:
            raise InputError(
                f"the gradient d{name} is missing: the function returns"
                f" {some_of(named)}"
            )
        gradient = number_array(f"the gradient {key}", named[key])
        if gradient.shape != parameter.shape:
            raise InputError(
                f"the gradient {key} has the shape {gradient.shape}: expected"
                f" {parameter.shape}, that of the parameter"
            )
        found[name] = gradient
    return found
