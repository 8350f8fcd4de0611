"""The derivative of the definition's loss as its limit says, by the complex step.

A tiny imaginary number is added to one number of the forward pass; the imaginary part
of the loss is its effect. It shares the forward pass with the definition, and no
backward line with any program.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.arithmetics.arithmetic import NumpyArithmetic
from numpy_rnn.conformance.case import WindowCase, present
from numpy_rnn.conformance.definition import Definition, window_update

DELTA = 2.0**-100  # its square is negligible, and a product with it is exact
# Elements of a tensor that the complex step perturbs; of more, that many.
MAX_ELEMENTS = 512
BY_STEP = ("a", "h", "y")  # tensors of every step, to which a number may be added


FORWARD_ONLY = Definition(backward=lambda *_: {})  # without any gradient


def complex_step(
    function: Callable[[NumpyArray], NumpyArray],
    value: NumpyArray,
    elements: NumpyArray,
) -> NumpyArray:
    """Compute ∂f/∂v = Im f(v + iδ) / δ for some elements v of an array, (..., n).

    function: takes n arrays at once, (n, *shape of value), and returns (..., n).
    elements: (n,) indices into the flattened array. Nothing is subtracted, so nothing
    cancels. Source: Squire and Trapp 1998.
    """
    steps = np.zeros((len(elements), value.size), complex)
    steps[np.arange(len(elements)), elements] = 1j * DELTA
    perturbed = value + steps.reshape(-1, *value.shape)
    derivative: NumpyArray = function(perturbed).imag / DELTA
    return derivative


def some_elements(size: int) -> NumpyArray:
    """Return the indices of all elements, or of 512, evenly spaced."""
    positions = np.linspace(0, size - 1, min(size, MAX_ELEMENTS))
    return np.unique(positions.round().astype(int))


class PerturbedArithmetic(NumpyArithmetic):
    """Numbers, with an addition to the tensor `name`, (n, T, B, ·) for n
    passes.
    """

    def __init__(self, name: str, added: NumpyArray):
        super().__init__(np.float64)
        self.name = name
        self.added = added

    def pass_on(self, name: str, t: int | None, value: NumpyArray) -> NumpyArray:
        """Note the perturbed value, with which the equations continue."""
        if t is not None and name == self.name:
            value = value + self.added[:, t - 1]
        super().pass_on(name, t, value)
        return value


def passes(case: WindowCase) -> WindowCase:
    """Return the case with an axis of networks, here of passes, on its parameters and
    its initial state, and without a step.
    """
    params = tree_map(lambda theta: theta[None], case.params)
    return case._replace(params=params, h_0=case.h_0[None], step=None)


def perturbed_losses(
    case: WindowCase, name: str, definition: Definition, values: NumpyArray
) -> NumpyArray:
    """Return the losses of n passes over a window, one for each of n values of a
    tensor; of a, h or y, of what is added to it.
    """
    ensemble = passes(case)
    numbers = NumpyArithmetic(np.float64)
    if name in BY_STEP:
        numbers = PerturbedArithmetic(name, values)
    elif name == "x":
        ensemble = ensemble._replace(x=values.swapaxes(0, 1))
    elif name == "h_0":
        ensemble = ensemble._replace(h_0=values)
    else:
        params = ensemble.params._replace(**{name: values})
        ensemble = ensemble._replace(params=params)
    losses: NumpyArray = window_update(ensemble, numbers, definition)["loss"]
    return losses


class Derivative(NamedTuple):
    """The derivatives of a loss by some elements of a tensor."""

    elements: NumpyArray  # their indices into the flattened tensor
    values: NumpyArray


def derivatives(
    case: WindowCase,
    report: dict[str, NumpyArray],
    definition: Definition = FORWARD_ONLY,
) -> dict[str, Derivative]:
    """Compute ∂L/∂v for every tensor v of a window, by the name of the derivative."""
    values = {name: np.zeros_like(report[name]) for name in BY_STEP}
    values |= present(case.params)
    values["h_0"] = case.h_0
    if case.x.dtype.kind == "f":  # classes have no derivative
        values["x"] = case.x
    result = {}
    for name, value in values.items():
        elements = some_elements(value.size)
        loss = partial(perturbed_losses, case, name, definition)
        computed = complex_step(loss, value, elements)
        result[f"d{name}"] = Derivative(elements, computed)
    return result
