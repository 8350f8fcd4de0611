"""Ports of a function that returns a loss and its gradients, and of a loss in JAX, whose gradients are JAX's."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters.adapter import Adapter

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
        super().__init__(name or str(getattr(function, "__name__", "function")), loss, nonlinearity, dtypes, sizes)
        self.function, self.step, self.names = function, step, dict(zip(NAMES, NAMES)) | dict(names or {})
        self.arguments = len(inspect.signature(function).parameters)
        is_cross_entropy, starts_from_zero = self.objective.loss == "cross_entropy", self.arguments < 4
        fields = {"no_h_0": starts_from_zero, "classes": is_cross_entropy, "class_inputs": classes}
        layouts, biases = (LAYOUTS if layout is None else (layout,)), list[bool]()
        for bias in (True, False):
            ways = [(way, fields | {"bias": bias, "B": 1 + ("B" in way.split()[1])}) for way in layouts]
            try:
                self.find_way(ways)
                layouts, biases = (self.way,), [*biases, bias]
            except InputError:
                if not (bias or biases):
                    raise
        self.way, self.capabilities = layouts[0], self.capabilities + ("class_inputs",) * classes
        self.state(older_steps=True, step=step is None, h_0=starts_from_zero, distributions=is_cross_entropy)
        self.state(batch="B" not in self.way.split()[1], bias=True not in biases, no_biases=False not in biases)
        self.lacks += (*("vector_inputs",) * classes, *lacks)
        self.name += f" ({self.way})"

    def window_update(self, params: Any, x: Any, target: Any, h_0: Any, *, learning_rate: Any = None, **_: Any) -> Any:
        """The loss, the gradients, and with a step the parameters after it."""
        weights, axes, state = self.way.split()
        columns, flat = weights == "columns", state != "HB"

        def given(theta):
            return theta.T if columns and theta.ndim == 2 else theta if flat or theta.ndim == 2 else theta[:, None]

        def back(arrays, factor=1.0):
            """The arrays by our names, in the shapes of the parameters."""
            found = {name: factor * np.array(arrays[self.names[name]]) for name in params}
            for name, theta in params.items():
                if found[name].shape != given(theta).shape:
                    raise ValueError(f"{name} has shape {found[name].shape}: expected {given(theta).shape}")
            return {n: found[n].T if columns and p.ndim == 2 else found[n].reshape(p.shape) for n, p in params.items()}

        def series(array):
            kept = axes if array.ndim == 3 else axes.replace("N", "")
            return np.einsum(f"{'TBN'[: array.ndim]}->{kept}", array) if "B" in axes else array[:, 0]

        theirs = {self.names[name]: given(theta) for name, theta in params.items()}
        h_0 = {"H": h_0[0], "HB": h_0.T, "BH": h_0}[state]
        loss, *gradients = self.function(*(theirs, series(x), series(target), h_0)[: self.arguments])
        gradients = gradients[0] if isinstance(gradients[0], Sequence | Mapping) else gradients
        if not isinstance(gradients, Mapping):
            gradients = {self.names[name]: gradient for name, gradient in zip(NAMES, gradients)}
        report = {"loss": self.factor * np.asarray(loss)}
        report |= {"d" + name: gradient for name, gradient in back(gradients, self.factor).items()}
        if self.step is None or learning_rate is None:
            return report
        return report | back(self.step(theirs, gradients, self.factor * learning_rate))


def jax_port(loss_function: Callable[..., Any], loss: str = "half_sum_of_squares", **options: Any) -> FunctionPort:
    """A port of a loss in JAX, `loss_function(params, x, target, h_0)`; options: those of `function_port`.

    As JAX compiles for every shape, `sizes` is "few", four shapes, unless given.
    """
    import jax

    dtypes = ("float32", "float64") if jax.config.read("jax_enable_x64") else ("float32",)
    options = {"sizes": "few", "dtypes": dtypes, "name": getattr(loss_function, "__name__", "loss")} | options
    return FunctionPort(jax.jit(jax.value_and_grad(loss_function)), loss, **options)
