"""Ports of code in its own shape: a function with gradients, a loss in JAX, a PyTorch
module.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.conformance.case import FIELDS, NamedArrays, gradient_keys
from numpy_rnn.conformance.ports.adapter import ASSUMED, RTOL, TRIAL, Adapter
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


def has_batch(layout: str) -> bool:
    """Return whether a layout has an axis of sequences."""
    return "B" in layout.split()[1]


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


def trials_of(
    layouts: Sequence[str], bias: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield layouts with the fields of the case on which each is tried."""
    for layout in layouts:
        fields = {"bias": bias, "B": 1, "K": TRIAL["K"]}
        if has_batch(layout):
            fields["B"] = TRIAL["B"]
        if "last" in layout:
            fields["K"] = 1
        yield layout, fields


def factor_in_words(factors: Sequence[float]) -> str:
    """Return the first factor of a trial that is a product of sizes as its letters, or
    else the first one as a number.
    """
    T, B, O = TRIAL["T"], TRIAL["B"], TRIAL["O"]
    products = {"T": T, "B": B, "O": O, "B·O": B * O}
    products |= {"1/T": 1 / T, "1/B": 1 / B, "1/O": 1 / O, "1/(B·O)": 1 / (B * O)}
    for factor in factors:
        for words, product in products.items():
            if abs(factor / product - 1) < RTOL:
                return words
    return f"{factors[0]:.3g}"


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
    **statements
        Those of any port: name, dtypes, sizes, cases, tanh_ulps, lacks and
        mean_over, the axes over which the loss is a mean ("steps", "batch", "outputs");
        over the others it is a sum. mean_over=("batch",) is a sum over steps and
        outputs, and a mean over the batch. `compare` then trains with this reduction,
        whatever its --reduction says. lacks names what the function does not have,
        any of: "bias" (it has none), "no biases" (it always has them), "h_0" (it
        starts from zero), "batch" (it takes one sequence), "older steps" (every step
        has a loss), "many losses" (only the last step has one), "large outputs" (its
        exponentials overflow), "step", and the other words of ports/protocol.txt.

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
    ...         h = np.tanh(x_t @ p["W_xh"] + h @ p["W_hh"] + p.get("b_h", 0))
    ...     error = h @ p["W_hy"] + p.get("b_y", 0) - target
    ...     return 0.5 * (error**2).sum(), p
    >>> function_port(model).layout_text
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
        **statements: Any,
    ):
        name = str(getattr(function, "__name__", "function"))
        super().__init__(statements.pop("name", name), loss, nonlinearity, statements)
        self.function = function
        self.step = step
        self.names = {field: field for field in FIELDS} | dict(names or {})
        self.argument_count = count_arguments(function)
        if classes:
            self.capabilities += ("class_inputs",)
        self.state({"h_0": self.argument_count < 4, "vector_inputs": classes})
        self.state({"step": step is None})
        layouts = LAYOUTS if layout is None else (layout,)
        if not {*layouts} <= {*LAYOUTS}:
            expected = ", ".join(map(" or ".join, (*LAYOUT_PARTS, ("last", "nothing"))))
            raise InputError(
                f"{self.name}: the layout is {layout!r}: expected {expected}"
            )
        is_right = self.try_layouts(layouts)
        is_last = "last" in self.layout_name
        self.state({"older steps": not is_last, "many losses": is_last})
        self.state({"batch": not has_batch(self.layout_name)})
        # Code that keeps its biases somewhere else computes a wrong loss without them.
        only_with = is_right.get(True, False) and not is_right.get(False)
        no_biases = only_with or False not in is_right
        self.state({"bias": True not in is_right, "no biases": no_biases})
        assumed = "" if any(is_right.values()) else ASSUMED
        self.name += f" ({self.layout_name}{assumed})"
        axes = ", ".join(self.layout_name.split()[1].replace("N", "D"))
        self.layout_text = f"({axes}) batches"
        if "batch" in self.lacks:
            self.layout_text = f"({axes.replace('B', '1')}) sequences"
        if is_last:
            self.layout_text += ", with one target"

    def try_layouts(self, layouts: Sequence[str]) -> dict[bool, bool]:
        """Set `layout_name` to the layout that fits; return whether the loss is right
        with and without biases, as far as there is one.
        """
        is_right = dict[bool, bool]()
        errors = list[InputError]()
        is_given = len(layouts) == 1
        for bias in (True, False):
            try:
                is_right[bias] = self.find_layout(trials_of(layouts, bias))
            except InputError as error:
                errors.append(error)
                continue
            if is_right[bias] and not is_given:
                self.refuse_wrong_batch()
            layouts = (self.layout_name,)
        if not is_right:
            raise errors[0]  # the other one may be that of a function without biases
        (self.layout_name,) = layouts
        return is_right

    def refuse_wrong_batch(self) -> None:
        """Raise InputError if the loss is right for one sequence, and there is a layout
        of a batch in which the function computes another one.
        """
        factors = [t.factor for t in self.possible if has_batch(t.layout_name)]
        if has_batch(self.layout_name) or not factors or "batch" in self.lacks:
            return
        raise InputError(
            f"{self.name} is right for one sequence; for a batch the loss is × "
            f"{factor_in_words(factors)}: state lacks=('batch',) if it takes one "
            "sequence"
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
        _, _, state_axes, *last = self.layout_name.split()
        x = self._laid_out(x, "TBN"[: x.ndim])
        states = {"H": h_0[0], "HB": h_0.T, "BH": h_0}
        if last:
            target = self._laid_out(target[-1], "BN"[: target.ndim - 1])
        else:
            target = self._laid_out(target, "TBN"[: target.ndim])
        theta = {self.names[n]: self._oriented(array) for n, array in params.items()}
        arguments = (theta, x, target, states[state_axes])
        returned = self.function(*arguments[: self.argument_count])
        loss, gradients = self._results(returned)
        report: dict[str, Any] = {"loss": self.factor * loss}
        own_names = [self.names[name] for name in params]
        keys = gradient_keys(own_names, gradients)
        for name, gradient in self._back(params, gradients, keys).items():
            report["d" + name] = self.factor * gradient
        if self.step is not None and learning_rate is not None:
            after = self.step(theta, gradients, self.factor * learning_rate)
            if after is None:  # it has changed them in place
                after = theta
            report |= self._back(params, after, dict(zip(own_names, own_names)))
        return report

    def _results(self, returned: Any) -> tuple[Any, Mapping[str, Any]]:
        """Return the loss and the gradients by the function's names."""
        if isinstance(returned, Mapping):
            keys = ", ".join(map(str, returned))
            raise TypeError(f"it returns a dict with the keys {keys}: {RETURNS}")
        loss, *arrays = returned
        if not arrays:
            raise TypeError(f"it returns the loss alone: {RETURNS}")
        gradients: Any = arrays
        if isinstance(arrays[0], Sequence | Mapping):
            gradients = arrays[0]
        if not isinstance(gradients, Mapping):
            gradients = {self.names[n]: array for n, array in zip(FIELDS, gradients)}
        # A Python float stays one, and is rounded to the dtype later.
        loss = float(loss) if isinstance(loss, float) else np.asarray(loss)
        return loss, gradients

    def _laid_out(self, array: NumpyArray, letters: str) -> NumpyArray:
        """Return an array with these axes as the function takes it."""
        axes = self.layout_name.split()[1]
        if "B" not in axes:
            array = array.take(0, letters.index("B"))
            letters = letters.replace("B", "")
        order = "".join(sorted(letters, key=axes.index))
        laid_out: NumpyArray = np.einsum(f"{letters}->{order}", array)
        return laid_out

    def _oriented(self, theta: NumpyArray) -> NumpyArray:
        """Return a parameter as the function takes it."""
        weights, _, state_axes, *_ = self.layout_name.split()
        if theta.ndim == 2:
            return theta.T if weights == "columns" else theta
        return theta[:, None] if state_axes == "HB" else theta

    def _back(
        self, params: NamedArrays, arrays: Mapping[str, Any], keys: Mapping[str, str]
    ) -> NamedArrays:
        """Return the arrays by our names, in the shapes of the parameters.

        keys: those of the arrays, by the function's names of the parameters.
        """
        ours = NamedArrays()
        for name, theta in params.items():
            own_name = self.names[name]
            key = keys[own_name]
            if key not in arrays:
                found = ", ".join(map(str, arrays))
                raise KeyError(f"{own_name} is not among the results {found}")
            array = np.asarray(arrays[key])
            shape = self._oriented(theta).shape
            if array.shape != shape:
                raise ValueError(f"{key} has shape {array.shape}: expected {shape}")
            if theta.ndim == 2 and self.layout_name.startswith("columns"):
                array = array.T
            ours[name] = array.reshape(theta.shape)
        return ours


def jax_port(
    function: Callable[..., Any],
    loss: str = "half_sum_of_squares",
    nonlinearity: str = "tanh",
    **options: Any,
) -> Adapter:
    """Make a port of a loss in JAX, whose gradients are those of jax.value_and_grad.

    Parameters
    ----------
    function : callable
        function(params, x, target, h_0) returns the loss alone. Its arguments are
        those of `function_port`.
    loss : str, optional
        The name of the loss, one of those of `function_port`.
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

        port = jax_port(model, "mse")
    """
    import jax

    module = jax if hasattr(jax, "enable_x64") else jax.experimental
    compiled = jax.jit(jax.value_and_grad(function))

    @functools.wraps(function)
    def with_gradients(params: NamedArrays, *arrays: Any) -> Any:
        is_double = any(theta.dtype == np.float64 for theta in params.values())
        with module.enable_x64(is_double):
            results = compiled(params, *arrays)
        return jax.tree.map(np.asarray, results)  # float64 is refused outside

    options.setdefault("sizes", "few")
    port = FunctionPort(with_gradients, loss, nonlinearity, **options)
    if "dtypes" not in options and not port.error < DOUBLE_ERROR:
        port.dtypes = ("float32",)
    return port


function_port = FunctionPort
torch_port = TorchPort
