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

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.texts import short_repr, some_of

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

    def evaluate(
        self, params: Params, dtype: Any = np.float64, data_dtype: Any = None
    ) -> Evaluation:
        """Call the function. Raises InputError if it returns something else.

        dtype: of the parameters and of floating-point data; None is the user's own.
        data_dtype: that of the data, if it is another one.
        """
        changed = nested_map(lambda name, _: cast(params[name], dtype), self.container)
        data = nested_map(lambda _, item: cast(item, data_dtype or dtype), self.data)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dtype is np.complex128:
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
            result = self.function(changed, *data)
        before, after = (self.container, self.data), (changed, data)
        if dtype is None and bytes_of(before) != bytes_of(after):
            raise InputError(
                "the function changes params or data in place: let it work on copies"
            )
        return Evaluation(loss_of(result), gradients_of(result, self.params))


def user_function(
    function: Callable[..., Any], params: Any, data: tuple[Any, ...]
) -> UserFunction:
    """Check the arguments of the user. Raises InputError."""
    if not isinstance(params, Mapping | list | tuple) or not params:
        raise InputError("params: expected a dict, a tuple or a list of arrays")
    arrays = {}
    for name, value in leaves_of(params).items():
        array = number_array(f"parameter {name}", value)
        if array.dtype not in (np.float32, np.float64):
            expected = "an array of float32 or float64"
            raise InputError(f"parameter {name} is {array.dtype}: expected {expected}")
        arrays[name] = array
    return UserFunction(function, params, arrays, data)


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
    is_floating = getattr(value, "dtype", np.dtype(int)).kind == "f"
    if dtype is not None and is_floating:
        return value.astype(dtype)
    return copy.deepcopy(value)


def bytes_of(value: Any) -> list[bytes]:
    """Return the bytes of the arrays of numbers in a nested value."""
    found = []
    for item in leaves_of(value).values():
        if isinstance(item, np.ndarray) and item.dtype != object:
            found.append(item.tobytes())
    return found


def number_array(what: str, value: Any) -> Array:
    """Return the value as an array. Raises InputError unless it has numbers."""
    package = type(value).__module__.partition(".")[0]
    if package in OTHER_CHECKS:
        instead = OTHER_CHECKS[package]
        raise InputError(f"{what} is of {package}: this is for NumPy, use {instead}")
    array = np.asarray(value)
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
            raise InputError(f"the gradient d{name} is missing among {some_of(named)}")
        gradient = number_array(f"the gradient {key}", named[key])
        if gradient.shape != parameter.shape:
            found_shape = f"the gradient {key} has the shape {gradient.shape}"
            raise InputError(f"{found_shape}: expected {parameter.shape}")
        found[name] = gradient
    return found
