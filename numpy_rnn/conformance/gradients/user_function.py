"""Calls of a user's function: its loss, and its gradients by the names of the
parameters.

Every call gets its own copies of the parameters and the data, which it may change:
nothing is carried from one call to the next.
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.texts import some_of
from numpy_rnn.conformance.case import gradient_keys

ArraysByName = dict[str, Array]


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


def number_array(label: str, value: Any, kinds: str = "fciu") -> Array:
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
    if not isinstance(result, list | tuple) or len(result) < 2:
        raise InputError("the function does not return (loss, gradients)")
    loss = number_array("the loss", result[0])
    if loss.size != 1:
        raise InputError(f"the loss has the shape {loss.shape}: expected one number")
    return loss.item()


def gradients_of(result: Any, params: ArraysByName) -> ArraysByName:
    """Return the gradients by the names of the parameters. Raises InputError."""
    gradients = result[1]
    if not isinstance(gradients, Mapping | list | tuple):
        gradients = result[1 : 1 + len(params)]
    if isinstance(gradients, Mapping):
        named = dict(gradients)
    else:
        named = dict(zip(params, gradients))
    keys = gradient_keys(params, named)
    arrays = {}
    for name, parameter in params.items():
        key = keys[name]
        if key not in named:
            raise InputError(f"the gradient d{name} is missing among {some_of(named)}")
        gradient = number_array(f"the gradient {key}", named[key])
        if gradient.shape != parameter.shape:
            raise InputError(
                f"the gradient {key} has the shape {gradient.shape}: expected"
                f" {parameter.shape}"
            )
        arrays[name] = gradient
    return arrays
