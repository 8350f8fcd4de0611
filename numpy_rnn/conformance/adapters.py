"""Ports of code in its own shape: a function with gradients, a loss in JAX, a PyTorch
module.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.case import FIELDS, NamedArrays
from numpy_rnn.conformance.ports.adapter import (
    ASSUMED,
    TRIAL,
    Adapter,
    factor_in_words,
)
from numpy_rnn.conformance.ports.torch_module import TorchPort

__all__ = ["function_port", "jax_port", "torch_port"]

# Weights for rows, as in x W_xh, or for columns; the axes of inputs and targets, whose
# N is D or O; those of the state.
LAYOUT_PARTS = (
    ("rows", "columns"),
    ("TBN", "BTN", "TNB", "NBT", "BNT", "TN"),
    ("BH", "HB", "H"),
)
# The target may be that of the last step alone.
ORDINARY = tuple(" ".join(parts) for parts in itertools.product(*LAYOUT_PARTS))
LAYOUTS = (*ORDINARY, *(f"{layout} last" for layout in ORDINARY))
DOUBLE_ERROR = 1e-12  # of a loss in float64, relative
RETURNS = "expected the loss and the gradients, as `return loss, gradients`"


def has_batch(way: str) -> bool:
    """Return whether a layout has an axis of sequences."""
    return "B" in way.split()[1]


def count_arguments(function: Callable[..., Any]) -> int:
    """Count the arguments that a function takes by position; 4 for *args."""
    count = 0
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind == parameter.VAR_POSITIONAL:
            return 4
        if parameter.kind in (
            parameter.POSITIONAL_ONLY,
            parameter.POSITIONAL_OR_KEYWORD,
        ):
            count += 1
    return count


class FunctionPort(Adapter):
    """A port of `function(params, x, target, h_0)`, which returns the loss and its
    gradients.

    Parameters
    ----------
    function : callable
        Called with the parameters by name, the inputs, the targets, and the initial
        state, which may be left out. It returns the loss and the gradients: a dict by
        the names of the parameters, also with a d before them, or arrays in the order
        W_xh, W_hh, W_hy, b_h, b_y.
    loss : str, optional
        "half_sum_of_squares" (½ Σ e²), "half_mse", "sum_of_squares", "mse",
        "cross_entropy" or "mean_cross_entropy".
    nonlinearity : str, optional
        That of the hidden units, one of those of `numpy_rnn.forward`.
    step : callable, optional
        step(params, gradients, learning_rate) returns the parameters after the step, or
        None if it changes them in place.
    classes : bool, optional
        Whether inputs are classes, (T, B).
    layout : str, optional
        One of the layouts that are tried otherwise, as "rows TBN BH".
    names : mapping, optional
        The function's names of the parameters, as {"W_xh": "Wx"}.
    **stated
        Statements of any port: name, dtypes, lacks, sizes, cases, tanh_ulps, and
        mean_over, the axes over which the loss is a mean ("steps", "batch", "outputs");
        over the others it is a sum. mean_over=("batch",) is a sum over steps and
        outputs, and a mean over the batch. `compare` then trains with this reduction,
        whatever its --reduction says.

    Raises
    ------
    InputError
        On unknown names, if the function cannot be called in any layout, and if it is
        right for one sequence and wrong for a batch.

    Examples
    --------
    >>> import numpy as np
    >>> def model(p, x, target, h_0):  # a network whose gradients are all wrong
    ...     h = h_0
    ...     for x_t in x:
    ...         h = np.tanh(x_t @ p["W_xh"] + h @ p["W_hh"])
    ...     error = h @ p["W_hy"] - target
    ...     return 0.5 * (error**2).sum(), p
    >>> function_port(model).layout
    '(T, B, D) batches, with one target'
    """

    def __init__(
        self,
        function: Callable[..., Any],
        loss: str = "half_sum_of_squares",
        nonlinearity: str = "tanh",
        *,
        step: Callable[..., Any] | None = None,
        classes: bool = False,
        layout: str | None = None,
        names: Mapping[str, str] | None = None,
        **stated: Any,
    ):
        name = str(getattr(function, "__name__", "function"))
        super().__init__(stated.pop("name", name), loss, nonlinearity, stated)
        self.function, self.step = function, step
        self.names = {field: field for field in FIELDS} | dict(names or {})
        self.arguments = count_arguments(function)
        if classes:
            self.capabilities += ("class_inputs",)
        self.state(
            {"h_0": self.arguments < 4, "vector_inputs": classes, "step": step is None}
        )
        if layout not in (None, *LAYOUTS):
            expected = ", ".join(map(" or ".join, (*LAYOUT_PARTS, ("last", "nothing"))))
            raise InputError(
                f"{self.name}: the layout is {layout!r}: expected {expected}"
            )
        is_right = self.find_layout(LAYOUTS if layout is None else (layout,))
        is_last, is_batch = "last" in self.way, has_batch(self.way)
        self.state({"older steps": not is_last, "many losses": is_last})
        self.state({"batch": not is_batch})
        # Code that keeps its biases somewhere else computes a wrong loss without them.
        only_with = is_right.get(True, False) and not is_right.get(False)
        no_biases = only_with or False not in is_right
        self.state({"bias": True not in is_right, "no biases": no_biases})
        assumed = "" if any(is_right.values()) else ASSUMED
        self.name += f" ({self.way}{assumed})"
        axes = ", ".join(self.way.split()[1].replace("N", "D"))
        if "batch" in self.lacks:
            self.layout = f"({axes.replace('B', '1')}) sequences"
        else:
            self.layout = f"({axes}) batches"
        if is_last:
            self.layout += ", with one target"

    def find_layout(self, layouts: Sequence[str]) -> dict[bool, bool]:
        """Set `way` to the layout that fits; return whether the loss is right with and
        without biases, as far as there is one.
        """
        is_right, errors = dict[bool, bool](), list[InputError]()
        is_given = len(layouts) == 1
        for bias in (True, False):
            trials = []
            for way in layouts:
                fields = {"bias": bias, "B": 1, "K": TRIAL["K"]}
                if has_batch(way):
                    fields["B"] = TRIAL["B"]
                if "last" in way:
                    fields["K"] = 1
                trials.append((way, fields))
            try:
                is_right[bias] = self.find_way(trials)
            except InputError as error:
                errors.append(error)
                continue
            if is_right[bias] and not is_given:
                self.refuse_wrong_batch()
            layouts = (self.way,)
        if not is_right:
            raise errors[0]  # the other one may be that of a function without biases
        (self.way,) = layouts
        return is_right

    def refuse_wrong_batch(self) -> None:
        """Raise InputError if the loss is right for one sequence, and there is a layout
        of a batch in which the function computes another one.
        """
        batched = [trial for trial in self.possible if has_batch(trial.way)]
        if has_batch(self.way) or not batched or "batch" in self.lacks:
            return
        sizes = TRIAL | {"T": TRIAL["K"]}
        words = [factor_in_words(trial.factor, sizes) for trial in batched]
        known = [each for each in words if each[-1:].isalpha() or "(" in each]
        factor = (known or words)[0]
        raise InputError(
            f"{self.name} is right for one sequence; for a batch the loss is × "
            f"{factor}: state lacks=('batch',) if it takes one sequence"
        )

    def window_update(
        self,
        params: NamedArrays,
        x: NumpyArray,
        target: NumpyArray,
        h_0: NumpyArray,
        **options: Any,
    ) -> NamedArrays:
        """Return the loss, the gradients, and with a step the parameters after it."""
        learning_rate = options.get("learning_rate")
        _, _, state, *last = self.way.split()
        x = self._laid_out(x, "TBN"[: x.ndim])
        states = {"H": h_0[0], "HB": h_0.T, "BH": h_0}
        if last:
            target = self._laid_out(target[-1], "BN"[: target.ndim - 1])
        else:
            target = self._laid_out(target, "TBN"[: target.ndim])
        theirs = {self.names[n]: self._given(theta) for n, theta in params.items()}
        arguments = (theirs, x, target, states[state])[: self.arguments]
        loss, own = self._results(self.function(*arguments))
        report: dict[str, Any] = {"loss": self.factor * loss}
        for name, gradient in self._back(params, own, self.factor).items():
            report["d" + name] = gradient
        if self.step is None or learning_rate is None:
            return report
        after = self.step(theirs, own, self.factor * learning_rate)
        return report | self._back(params, theirs if after is None else after)

    def _results(self, returned: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return the loss and the gradients by the function's names."""
        if isinstance(returned, Mapping):
            keys = ", ".join(map(str, returned))
            raise TypeError(f"it returns a dict with the keys {keys}: {RETURNS}")
        try:
            loss, *gradients = returned
        except TypeError:
            kind = type(returned).__name__
            raise TypeError(f"it returns one {kind}: {RETURNS}") from None
        if not gradients:
            raise TypeError(f"it returns the loss alone: {RETURNS}")
        own: Any = gradients
        if isinstance(gradients[0], Sequence | Mapping):
            own = gradients[0]
        if not isinstance(own, Mapping):
            own = {self.names[n]: gradient for n, gradient in zip(FIELDS, own)}
        # A Python float stays one, and is rounded to the dtype later.
        return float(loss) if isinstance(loss, float) else np.asarray(loss), own

    def _laid_out(self, array: NumpyArray, letters: str) -> NumpyArray:
        """Return an array with these axes as the function takes it."""
        axes = self.way.split()[1]
        if "B" not in axes:
            array = array.take(0, letters.index("B"))
            letters = letters.replace("B", "")
        order = sorted(letters, key=axes.index)
        return np.einsum(f"{letters}->{''.join(order)}", array)

    def _given(self, theta: np.ndarray) -> np.ndarray:
        """Return a parameter as the function takes it."""
        weights, _, state, *_ = self.way.split()
        if theta.ndim == 2:
            return theta.T if weights == "columns" else theta
        return theta[:, None] if state == "HB" else theta

    def _back(
        self, params: NamedArrays, arrays: Mapping[str, Any], factor: float = 1.0
    ) -> NamedArrays:
        """Return the arrays by our names, in the shapes of the parameters."""
        found = {}
        for name, theta in params.items():
            own = self.names[name]
            key = own if own in arrays else "d" + own
            if key not in arrays:
                keys = ", ".join(map(str, arrays))
                raise KeyError(f"{own} is not among the results {keys}")
            array, shape = factor * np.asarray(arrays[key]), self._given(theta).shape
            if array.shape != shape:
                raise ValueError(f"{key} has shape {array.shape}: expected {shape}")
            if theta.ndim == 2 and self.way.startswith("columns"):
                found[name] = array.T
            else:
                found[name] = array.reshape(theta.shape)
        return found


def jax_port(
    loss: Callable[..., Any],
    name: str = "half_sum_of_squares",
    nonlinearity: str = "tanh",
    **options: Any,
) -> Adapter:
    """Make a port of a loss in JAX, whose gradients are those of jax.value_and_grad.

    Parameters
    ----------
    loss : callable
        loss(params, x, target, h_0), as of `function_port`, without gradients.
    name : str, optional
        The name of the loss, as for `function_port`.
    nonlinearity : {"tanh", "relu", "sigmoid"}, optional
        The nonlinearity.
    **options
        Those of `function_port`. As JAX compiles for every shape, `sizes` is "few",
        four shapes, unless given. `dtypes` are both, or float32 alone if the loss
        rounds to it.

    Returns
    -------
    FunctionPort
        The port.

    Examples
    --------
    A loss is wrapped in one line::

        port = jax_port(loss, "mse")
    """
    import jax

    module = jax if hasattr(jax, "enable_x64") else jax.experimental
    compiled = jax.jit(jax.value_and_grad(loss))

    @functools.wraps(loss)
    def with_gradients(params, *given):
        is_double = any(theta.dtype == np.float64 for theta in params.values())
        with module.enable_x64(is_double):
            found = compiled(params, *given)
        return jax.tree.map(np.asarray, found)  # float64 is refused outside

    own: dict[str, Any] = {"sizes": "few"}
    port = FunctionPort(with_gradients, name, nonlinearity, **own | options)
    if "dtypes" not in options and not port.error < DOUBLE_ERROR:
        port.dtypes = ("float32",)
    return port


function_port, torch_port = FunctionPort, TorchPort
