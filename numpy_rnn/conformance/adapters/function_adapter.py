"""Ports of a function that returns a loss and its gradients, and of a loss in JAX, whose gradients are JAX's."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters.adapter import Adapter
from numpy_rnn.conformance.case import initial_state, present

NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")
# Weights for rows, as in x W_xh, or for columns; the axes of inputs and targets, whose N is D or O; those of the state.
LAYOUTS = ("rows TBN BH", "rows BTN BH", "rows TN H", "rows TN BH", "columns TNB HB", "columns NBT HB", "columns TN HB",
           "columns TN H")  # fmt: skip


class FunctionPort(Adapter):
    """A port of `function(params, x, target, h_0)`, which returns the loss and its gradients; h_0 may be left out.

    params: the parameters by name, W_xh, W_hh, W_hy, b_h and b_y, or by `names`, as {"W_xh": "Wx"}. The gradients are a
    dict by the same names, or follow the loss in the order above. layout: one of LAYOUTS; by default they are tried on
    one case, and the name of the port has the one that fits. classes: whether inputs and targets are classes.

    step(params, gradients, learning_rate): the parameters after the step; without it, no step is checked. lacks: what
    else is not tested. Raises InputError if the function cannot be called in any layout.
    """

    def __init__(
        self, function: Callable[..., Any], loss: str = "half_sum_of_squares", nonlinearity: str = "tanh", *,
        step: Callable[..., Any] | None = None, classes: bool = False, layout: str | None = None,
        names: Mapping[str, str] | None = None, lacks: Sequence[str] = (), sizes: Any = (),
        dtypes: Sequence[str] = ("float32", "float64"), name: str | None = None,
    ):  # fmt: skip
        name = name or getattr(function, "__name__", "function")
        super().__init__(name, loss, nonlinearity, dtypes, ("older steps", *lacks))
        self.function, self.step, self.sizes = function, step, sizes
        self.names = dict(zip(NAMES, NAMES)) | dict(names or {})
        self.arguments = len(inspect.signature(function).parameters)
        is_cross_entropy = self.objective.loss == "cross_entropy"
        self.capabilities += ("class_inputs",) * classes
        absent = {"step": step is None, "h_0": self.arguments < 4, "vector_inputs": classes}
        fields = {"no_h_0": self.arguments < 4, "classes": is_cross_entropy, "class_inputs": classes}
        layouts, biases = LAYOUTS if layout is None else (layout,), []
        for bias in (True, False):
            ways = [(way, fields | {"bias": bias, "B": 1 + ("B" in way.split()[1])}) for way in layouts]
            try:
                self.layout = self.first_that_fits(ways, self._tried)
            except InputError:
                if not (bias or biases):
                    raise
                continue
            layouts, biases = (self.layout,), [*biases, bias]
        absent |= {"distributions": is_cross_entropy, "batch": "B" not in self.layout.split()[1]}
        absent |= {"bias": True not in biases, "no biases": False not in biases}
        self.lacks += tuple(what for what, is_absent in absent.items() if is_absent)
        self.name += f" ({self.layout})"

    def _tried(self, layout: str, case: Any) -> dict[str, Any]:
        self.layout = layout
        return self.window_update(present(case.params), case.x, case.target, initial_state(case))

    def window_update(self, p: Any, x: Any, target: Any, h_0: Any, *, learning_rate: Any = None, **_: Any) -> Any:
        """The loss, the gradients, and with a step the parameters after it."""
        weights, axes, state = self.layout.split()
        columns, flat = weights == "columns", state != "HB"

        def given(theta):
            return theta.T if columns and theta.ndim == 2 else theta if flat or theta.ndim == 2 else theta[:, None]

        def back(array, theta):
            array = np.array(array)
            if array.shape != given(theta).shape:
                raise ValueError(f"a gradient has shape {array.shape}: expected {given(theta).shape}")
            return array.T if columns and theta.ndim == 2 else array.reshape(theta.shape)

        def series(array):
            kept = axes if array.ndim == 3 else axes.replace("N", "")
            return np.einsum(f"{'TBN'[: array.ndim]}->{kept}", array) if "B" in axes else array[:, 0]

        params = {self.names[name]: given(theta) for name, theta in p.items()}
        h_0 = {"H": h_0[0], "HB": h_0.T, "BH": h_0}[state]
        loss, *gradients = self.function(*(params, series(x), series(target), h_0)[: self.arguments])
        gradients = gradients[0] if isinstance(gradients[0], Sequence | Mapping) else gradients
        if not isinstance(gradients, Mapping):
            gradients = {self.names[name]: gradient for name, gradient in zip(NAMES, gradients)}
        report = {"loss": self.factor * np.asarray(loss)}
        report |= {"d" + name: self.factor * back(gradients[self.names[name]], p[name]) for name in p}
        if self.step is not None and learning_rate is not None:
            new = self.step(params, gradients, self.factor * learning_rate)
            report |= {name: back(new[self.names[name]], theta) for name, theta in p.items()}
        return report


def jax_port(loss_function: Callable[..., Any], loss: str = "half_sum_of_squares", **options: Any) -> FunctionPort:
    """A port of a loss in JAX, `loss_function(params, x, target, h_0)`, with the gradients of jax.value_and_grad.

    options: those of `function_port`. As JAX compiles for every shape, `sizes` is "few", four shapes, unless given.
    """
    import jax

    def function(params, x, target, h_0):
        arguments = (params, x, target, h_0)[: len(inspect.signature(loss_function).parameters)]
        return compiled(*arguments)

    compiled = jax.jit(jax.value_and_grad(loss_function))
    dtypes = ("float32", "float64") if jax.config.jax_enable_x64 else ("float32",)
    named = {"name": getattr(loss_function, "__name__", "loss"), "sizes": "few", "dtypes": dtypes}
    return FunctionPort(function, loss, **named | options)
