"""Ports of a function that returns a loss and its gradients, and of a loss in JAX, whose gradients are JAX's."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.adapters.adapter import Adapter, Report, Sizes

NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")
# Weights for rows, as in x W_xh, or for columns; the axes of inputs and targets, whose N is D or O; those of the state;
# and whether there is one target, of the last step.
LAYOUTS = tuple(map(" ".join, itertools.product(
    ("rows", "columns"), ("TBN", "BTN", "TNB", "NBT", "BNT", "TN"), ("BH", "HB", "H"))))  # fmt: skip


class FunctionPort(Adapter):
    """A port of `function(params, x, target, h_0)`, which returns the loss and its gradients; h_0 may be left out.

    params: the parameters by name, W_xh, W_hh, W_hy, b_h and b_y, or by `names`, as {"W_xh": "Wx"}. The gradients are a
    dict by the same names, also with a d before them, or follow the loss in the order above. layout: one of LAYOUTS,
    with " last" where the target is that of the last step alone; by default they are tried on one case, and the name of
    the port has the one that fits. classes: whether inputs are classes; the targets of "cross_entropy" always are.

    step(params, gradients, learning_rate): the parameters after the step, or None if it changes them in place; it gets
    what the function gets and returns. Without it, no step is checked. lacks: what else is not tested. Raises
    InputError if the function cannot be called in any layout.
    """

    def __init__(
        self, function: Callable[..., Any], loss: str = "half_sum_of_squares", nonlinearity: str = "tanh", *,
        step: Callable[..., Any] | None = None, classes: bool = False, layout: str | None = None,
        names: Mapping[str, str] | None = None, lacks: Sequence[str] = (), sizes: Sizes = (),
        dtypes: Sequence[str] = ("float32", "float64"), name: str | None = None,
    ):  # fmt: skip
        super().__init__(
            name or str(getattr(function, "__name__", "function")),
            loss,
            nonlinearity,
            dtypes,
            sizes,
        )
        self.function, self.step, self.names = (
            function,
            step,
            dict(zip(NAMES, NAMES)) | dict(names or {}),
        )
        self.arguments = len(inspect.signature(function).parameters)
        is_cross_entropy, starts_from_zero = (
            self.objective.loss == "cross_entropy",
            self.arguments < 4,
        )
        fields = {"no_h_0": starts_from_zero, "classes": is_cross_entropy, "class_inputs": classes}
        layouts = (*LAYOUTS, *(f"{each} last" for each in LAYOUTS)) if layout is None else (layout,)
        biases, errors = list[bool](), list[InputError]()
        for bias in (True, False):
            try:
                fields |= {"bias": bias}
                shapes = (
                    {"B": 1 + ("B" in way.split()[1]), "K": 1 if "last" in way else 5}
                    for way in layouts
                )
                self.find_way((way, fields | each) for way, each in zip(layouts, shapes))
                layouts, biases = (self.way,), [*biases, bias]
            except InputError as error:
                errors.append(error)
        if not biases:
            raise errors[0]  # the other one may be that of a function that has biases and gets none
        self.way, self.capabilities = layouts[0], self.capabilities + ("class_inputs",) * classes
        self.state(
            older_steps="last" not in self.way, many_losses="last" in self.way, step=step is None
        )
        self.state(h_0=starts_from_zero, distributions=is_cross_entropy)
        self.state(
            batch="B" not in self.way.split()[1],
            bias=True not in biases,
            no_biases=False not in biases,
        )
        self.lacks += (*("vector_inputs",) * classes, *lacks)
        self.name += f" ({self.way})"

    def window_update(
        self, params: Report, x: np.ndarray, target: np.ndarray, h_0: np.ndarray, *,
        learning_rate: float | None = None, **_: object,
    ) -> Report:  # fmt: skip
        """The loss, the gradients, and with a step the parameters after it."""
        weights, axes, state, *last = self.way.split()
        columns, flat = weights == "columns", state != "HB"

        def given(theta):
            return (
                theta.T
                if columns and theta.ndim == 2
                else theta
                if flat or theta.ndim == 2
                else theta[:, None]
            )

        def back(arrays, factor=1.0):
            """The arrays by our names, in the shapes of the parameters."""
            found = {}
            for name, theta in params.items():
                key = next(
                    (k for k in (self.names[name], "d" + self.names[name]) if k in arrays), None
                )
                if key is None:
                    raise KeyError(
                        f"{self.names[name]} is not among the results {', '.join(map(str, arrays))}"
                    )
                array = factor * np.asarray(arrays[key])
                if array.shape != given(theta).shape:
                    raise ValueError(
                        f"{key} has shape {array.shape}: expected {given(theta).shape}"
                    )
                found[name] = array.T if columns and theta.ndim == 2 else array.reshape(theta.shape)
            return found

        def laid_out(array, letters):
            """An array with these axes as the function takes it."""
            if "B" not in axes:
                array, letters = array.take(0, letters.index("B")), letters.replace("B", "")
            return np.einsum(f"{letters}->{''.join(sorted(letters, key=axes.index))}", array)

        theirs = {self.names[name]: given(theta) for name, theta in params.items()}
        x, h_0 = laid_out(x, "TBN"[: x.ndim]), {"H": h_0[0], "HB": h_0.T, "BH": h_0}[state]
        target = (
            laid_out(target[-1], "BN"[: target.ndim - 1])
            if last
            else laid_out(target, "TBN"[: target.ndim])
        )
        loss, *gradients = self.function(*(theirs, x, target, h_0)[: self.arguments])
        gradients = gradients[0] if isinstance(gradients[0], Sequence | Mapping) else gradients
        if not isinstance(gradients, Mapping):
            gradients = {self.names[name]: gradient for name, gradient in zip(NAMES, gradients)}
        report: dict[str, Any] = {
            "loss": self.factor * (loss if type(loss) is float else np.asarray(loss))
        }
        report |= {"d" + name: gradient for name, gradient in back(gradients, self.factor).items()}
        if self.step is None or learning_rate is None:
            return report
        after = self.step(theirs, gradients, self.factor * learning_rate)
        return report | back(theirs if after is None else after)


def jax_port(
    loss_function: Callable[..., Any], loss: str = "half_sum_of_squares", **options: Any
) -> FunctionPort:
    """A port of a loss in JAX, `loss_function(params, x, target, h_0)`; options: those of `function_port`.

    As JAX compiles for every shape, `sizes` is "few", four shapes, unless given.
    """
    import jax

    dtypes = ("float32", "float64") if jax.config.read("jax_enable_x64") else ("float32",)
    options = {
        "sizes": "few",
        "dtypes": dtypes,
        "name": getattr(loss_function, "__name__", "loss"),
    } | options
    return FunctionPort(jax.jit(jax.value_and_grad(loss_function)), loss, **options)
