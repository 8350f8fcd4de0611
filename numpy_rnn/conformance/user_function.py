"""Calls of a user's function: its loss, and its gradients by the names of the
parameters.

Every call gets its own copies of the parameters and the data, which it may change:
nothing is carried from one call to the next.
"""

import copy
import warnings
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import some_of

ArraysByName = dict[str, NumpyArray]


class Evaluation(NamedTuple):
    """What one call returns."""

    loss: Any  # a float, or a complex number
    gradients: ArraysByName


class UserFunction(NamedTuple):
    """A function f(params, *data) that returns a loss and its gradients."""

    function: Callable[..., Any]
    params: Any  # a dict, a list or a tuple
    data: tuple[Any, ...]

    def arrays(self) -> ArraysByName:
        """Return the parameters by their names. Raises InputError."""
        arrays = {}
        for name, value in items_by_name(self.params).items():
            arrays[name] = number_array(f"parameter {name}", value, "f")
        if not arrays:
            raise InputError("params: expected at least one array")
        return arrays

    def evaluate(self, arrays: ArraysByName) -> Evaluation:
        """Call the function. Raises InputError if it returns something else."""
        copies = {name: array.copy() for name, array in arrays.items()}
        params: Any = copies
        if not isinstance(self.params, Mapping):
            kind = type(self.params)
            make = getattr(kind, "_make", kind)  # of a named tuple
            params = make(copies.values())
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            result = self.function(params, *copy.deepcopy(self.data))
        return Evaluation(loss_of(result), gradients_of(result, arrays))


def items_by_name(values: Any) -> dict[str, Any]:
    """Return the items of a dict by their keys, or of a list or tuple by index."""
    if isinstance(values, Mapping):
        return dict(values)
    return {f"[{index}]": value for index, value in enumerate(values)}


def as_float64(value: Any) -> Any:
    """Return an array of floating-point numbers in float64, all else as it is."""
    is_floating = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(float) if is_floating else value


def number_array(label: str, value: Any, kinds: str = "fciu") -> NumpyArray:
    """Return the value as an array. Raises InputError unless its dtype is of kinds."""
    package = type(value).__module__
    if package.startswith(("torch", "jax")):
        instead = "torch.autograd.gradcheck or jax.test_util.check_grads"
        raise InputError(f"{label} is of {package}: this is for NumPy, use {instead}")
    array = np.asarray(value)
    if array.dtype.kind not in kinds:
        raise InputError(f"{label} is {array.dtype}: expected floating-point numbers")
    return array


def loss_of(result: Any) -> Any:
    """Return the loss, the first value that a function returns. Raises InputError."""
    check_result(result)
    loss = number_array("the loss", result[0])
    if loss.size != 1:
        raise InputError(f"the loss has the shape {loss.shape}: expected one number")
    return loss.item()


def check_result(result: Any) -> None:
    """Raise InputError unless a function returns a loss and gradients."""
    if not isinstance(result, list | tuple) or len(result) < 2:
        kind = type(result).__name__
        if isinstance(result, Mapping):
            kind += f" with {some_of(result)}"
        raise InputError(
            f"the function returns a {kind}: expected the loss and the gradients, as "
            "`return loss, gradients`"
        )


def gradients_by_key(result: Any, names: Iterable[str]) -> Mapping[str, Any]:
    """Return the gradients by the keys that the function gives them, or by these names
    in their order.
    """
    gradients = result[1]
    if isinstance(gradients, Mapping):
        return gradients
    if not isinstance(gradients, list | tuple):
        gradients = result[1:]
    return dict(zip(names, gradients))


def gradient_keys(names: Iterable[str], keys: Container[str]) -> dict[str, str]:
    """Return the key of the gradient of each parameter, among the keys that a user's
    function returns.

    A key is "d" and the name of the parameter, or the name itself. Which one is decided
    for all of them, since a parameter may be called dt next to one called t. Where only
    some keys have the d, the name itself goes first. A missing key has the d.
    """
    with_d = {name: f"d{name}" for name in names}
    if all(key in keys for key in with_d.values()):
        return with_d
    return {name: name if name in keys else key for name, key in with_d.items()}


def arrays_of(
    values: Mapping[str, Any], keys: Mapping[str, str], params: ArraysByName
) -> ArraysByName:
    """Return the values as arrays by the names of the parameters. Raises InputError.

    keys: those of the values, by the same names.
    """
    arrays = {}
    for name, parameter in params.items():
        key = keys[name]
        if key not in values:
            raise InputError(f"{key} is missing among {some_of(values)}")
        array = np.asarray(values[key])
        if array.shape != parameter.shape:
            raise InputError(
                f"{key} has the shape {array.shape}: expected {parameter.shape}"
            )
        arrays[name] = array
    return arrays


def gradients_of(result: Any, params: ArraysByName) -> ArraysByName:
    """Return the gradients by the names of the parameters. Raises InputError."""
    gradients = gradients_by_key(result, params)
    return arrays_of(gradients, gradient_keys(params, gradients), params)
