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

from numpy_rnn.common.errors import InputError, one_line, short_repr, some_of
from numpy_rnn.common.records import NumpyArray as Array

Params = dict[str, Array]
OTHER_PACKAGES = {
    "torch": "torch.autograd.gradcheck",
    "jax": "jax.test_util.check_grads",
    "jaxlib": "jax.test_util.check_grads",
    "tensorflow": "tf.test.compute_gradient",
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

        data_dtype: that of floating-point data, if it is another one. None is the dtype
        that the user gave.
        """
        copies = {name: array.astype(dtype) for name, array in params.items()}
        data = cast(self.data, data_dtype or dtype)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if dtype is np.complex128:
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return self.function(packed(self.container, copies), *data)

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
        params = copy.deepcopy(self.container)
        data = copy.deepcopy(self.data)
        result = self.function(params, *data)
        evaluation = Evaluation(loss_of(result), gradients_of(result, self.params))
        if not is_same(params, self.container):
            raise InputError(
                "the function changes its parameters in place: move the update out of"
                " it, or let it work on copies"
            )
        for index, (after, before) in enumerate(zip(data, self.data)):
            if not is_same(after, before):
                raise InputError(
                    f"the function changes its data in place (argument {index + 2}):"
                    " let it work on a copy"
                )
        return evaluation


def user_function(
    function: Callable[..., Any], params: Any, data: tuple[Any, ...]
) -> UserFunction:
    """Check the arguments of the user. Raises InputError."""
    if isinstance(params, Mapping):
        named = {str(name): value for name, value in params.items()}
    elif hasattr(params, "_asdict"):
        named = params._asdict()
    elif isinstance(params, list | tuple):
        named = {str(index): value for index, value in enumerate(params)}
    else:
        refuse_other_package("params", params)
        raise InputError(
            f"params is of type {type(params).__name__}: expected a dict, a tuple or a"
            " list of arrays"
        )
    if not named:
        raise InputError("params is empty: expected at least one array")
    for name, value in named.items():
        refuse_other_package(f"parameter {name}", value)
        dtype = getattr(value, "dtype", type(value).__name__)
        if not isinstance(value, np.ndarray) or dtype not in ("float32", "float64"):
            raise InputError(
                f"parameter {name} is {dtype}: expected an array of float32 or float64"
            )
        if not np.isfinite(value).all():
            raise InputError(f"parameter {name} has numbers that are not finite")
    return UserFunction(function, params, named, data)


def refuse_other_package(what: str, value: Any) -> None:
    """Raise InputError if the value belongs to a package with a check of its own."""
    package = type(value).__module__.partition(".")[0]
    if package in OTHER_PACKAGES:
        raise InputError(
            f"{what} is of {package}: this check is for NumPy; use"
            f" {OTHER_PACKAGES[package]}"
        )


def packed(container: Any, params: Params) -> Any:
    """Return the parameters in a container like the user's."""
    if isinstance(container, Mapping):
        return dict(zip(container, params.values()))
    if hasattr(container, "_asdict"):
        return type(container)(**params)
    return type(container)(params.values())


def cast(value: Any, dtype: Any) -> Any:
    """Return a copy whose floating-point arrays have this dtype."""
    if isinstance(value, np.ndarray | np.floating):
        is_floating = value.dtype.kind == "f"
        return value.astype(dtype) if is_floating else value.copy()
    if isinstance(value, dict):
        return {key: cast(item, dtype) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(cast(item, dtype) for item in value)
    return copy.deepcopy(value)


def is_same(after: Any, before: Any) -> bool:
    """Return whether the arrays in two nested values are equal."""
    if isinstance(before, np.ndarray):
        is_exact = before.dtype.kind in "OUS"
        return np.array_equal(after, before, equal_nan=not is_exact)
    if isinstance(before, dict):
        is_same_keys = after.keys() == before.keys()
        return is_same_keys and is_same([*after.values()], [*before.values()])
    if isinstance(before, list | tuple):
        is_same_length = len(after) == len(before)
        return is_same_length and all(map(is_same, after, before))
    return True


def loss_of(result: Any) -> Any:
    """Return the loss, the first value that a function returns. Raises InputError."""
    if not isinstance(result, list | tuple) or len(result) < 2:
        raise InputError(
            f"the function returns {type(result).__name__}: expected the loss and the"
            " gradients, (loss, gradients)"
        )
    refuse_other_package("the loss", result[0])
    loss = np.asarray(result[0])
    if loss.size != 1 or loss.dtype.kind not in "fciu":
        what = one_line(short_repr(result[0]))
        raise InputError(f"the loss is {what}: expected one number")
    return loss.reshape(())[()]


def gradients_of(result: Any, params: Params) -> Params:
    """Return the gradients by the names of the parameters. Raises InputError."""
    gradients = result[1]
    if not isinstance(gradients, Mapping | list | tuple):
        gradients = result[1 : 1 + len(params)]
    if hasattr(gradients, "_asdict"):
        gradients = gradients._asdict()
    if not isinstance(gradients, Mapping):
        if len(gradients) < len(params):
            raise InputError(
                f"the function returns {len(gradients)} gradients: expected"
                f" {len(params)}, one for each of {some_of(params)}"
            )
        gradients = dict(zip(params, gradients))
    by_text = {str(name): value for name, value in gradients.items()}
    found = {}
    for name, parameter in params.items():
        key = "d" + name if "d" + name in by_text else name
        if key not in by_text:
            raise InputError(
                f"the gradient d{name} is missing: the function returns"
                f" {some_of(by_text)}"
            )
        refuse_other_package(f"the gradient {key}", by_text[key])
        gradient = np.asarray(by_text[key])
        if gradient.shape != parameter.shape:
            raise InputError(
                f"the gradient {key} has the shape {gradient.shape}: expected"
                f" {parameter.shape}, that of the parameter"
            )
        if gradient.dtype.kind not in "fciu":
            raise InputError(f"the gradient {key} has the dtype {gradient.dtype}")
        found[name] = gradient
    return found
