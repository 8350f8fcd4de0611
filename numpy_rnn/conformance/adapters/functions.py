"""Ports of functions in their own shape, which have one loss and one nonlinearity:
those that return gradients, and losses in JAX.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError, errors_about
from numpy_rnn.common.numbers import check_choice
from numpy_rnn.common.records import (
    DTYPES,
    LOSS_NAMES,
    NONLINEARITY_NAMES,
    REDUCTION_NAMES,
    LossName,
    NumpyArray,
    Objective,
    Reduction,
)
from numpy_rnn.conformance.adapters.layouts import (
    LAYOUT_PARTS,
    Answer,
    LaidOutFunction,
    find_layout,
    layouts_of,
)
from numpy_rnn.conformance.case import FIELDS, NamedArrays
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, LACKS
from numpy_rnn.conformance.ports.port import StatedPort
from numpy_rnn.conformance.ports.protocol import STATEMENTS
from numpy_rnn.conformance.random_cases import CaseSpec


class NamedLoss(NamedTuple):
    """The loss and the reduction of the definition that a loss is a multiple of."""

    loss: LossName
    reduction: Reduction
    factor: float  # that makes it equal: a power of 2, which rounds nothing
    torch_classes: tuple[str, ...] = ()  # the names of those in torch.nn


CROSS_ENTROPIES = ("CrossEntropyLoss", "NLLLoss")
NAMED_LOSSES = {
    "half_sum_of_squares": NamedLoss("squared_error", "sum", 1.0),
    "half_mse": NamedLoss("squared_error", "mean", 1.0),
    "sum_of_squares": NamedLoss("squared_error", "sum", 0.5, ("MSELoss",)),
    "mse": NamedLoss("squared_error", "mean", 0.5, ("MSELoss",)),
    "cross_entropy": NamedLoss("cross_entropy", "sum", 1.0, CROSS_ENTROPIES),
    "mean_cross_entropy": NamedLoss("cross_entropy", "mean", 1.0, CROSS_ENTROPIES),
}
# The sizes of the case on which the layouts are tried; they differ.
TRIAL: dict[str, Any] = {"T": 5, "B": 2, "D": 3, "H": 4, "O": 6}
# What a user may state in a call; the capabilities are known.
STATED = tuple(name for name in STATEMENTS if name not in ("name", "capabilities"))
CHOICES = {*NONLINEARITY_NAMES, *LOSS_NAMES, *REDUCTION_NAMES}
ASSUMED = " (assumed, as no layout gives the right loss)"


def count_arguments(function: Callable[..., Any]) -> int:
    """Count the arguments that a function takes by position; 4 for *args, and for a
    function in C that does not say.
    """
    count = 0
    try:
        signature = inspect.signature(function)
    except ValueError:
        return 4
    for parameter in signature.parameters.values():
        if parameter.kind == parameter.VAR_POSITIONAL:
            return 4
        if parameter.kind in (
            parameter.POSITIONAL_ONLY,
            parameter.POSITIONAL_OR_KEYWORD,
        ):
            count += 1
    return count


def objective_of(
    loss: str, nonlinearity: str, own_mean: str | None
) -> tuple[Objective, float]:
    """Return the objective of these names, and the factor of the loss. Raises
    InputError on names that are unknown, or do not go together.

    own_mean: the reduction that mean_over states, or None.
    """
    check_choice("loss", loss, tuple(NAMED_LOSSES))
    check_choice("nonlinearity", nonlinearity, NONLINEARITY_NAMES)
    kind, reduction, factor, _ = NAMED_LOSSES[loss]
    if own_mean is not None and reduction == "mean":
        raise InputError(
            f"{loss} is a mean, and mean_over is given: expected the name of a sum, as "
            "half_sum_of_squares"
        )
    return Objective(nonlinearity, kind, own_mean or reduction), factor  # type: ignore[arg-type]


def parameter_names(names: Mapping[str, str]) -> dict[str, str]:
    """Return the function's names of all parameters, by ours."""
    own_names = dict(zip(FIELDS, FIELDS))
    for field, own_name in names.items():
        check_choice("key of names", field, FIELDS)
        own_names[field] = own_name
    return own_names


def trial_spec(objective: Objective, dtype: str, classes: bool) -> CaseSpec:
    """Return the case on which layouts are tried. Its state is zero: code that ignores
    the state is in the right layout.
    """
    return CaseSpec(
        **TRIAL,
        K=TRIAL["T"],
        dtype=dtype,
        objective=objective,
        step=None,
        seed=1,
        class_inputs=classes,
        no_h_0=True,
    )


class FunctionPort:
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
        One of `NAMED_LOSSES`: "half_sum_of_squares" (½ Σ e²), "half_mse",
        "sum_of_squares", "mse", "cross_entropy", "mean_cross_entropy".
    nonlinearity : str, optional
        That of the hidden units, one of those of `numpy_rnn.forward`.
    step : callable, optional
        step(params, gradients, learning_rate) returns the parameters after the step, or
        None if it changes them in place.
    classes : bool, optional
        Whether inputs are classes, (T, B).
    names : mapping, optional
        The function's names of the parameters, as {"W_xh": "Wx"}.
    **statements
        Those of any port: name, dtypes, sizes, tanh_ulps, lacks and mean_over, the axes
        over which the loss is a mean ("steps", "batch", "outputs"); over the others it
        is a sum. mean_over=("batch",) is a sum over steps and outputs, and a mean over
        the batch. `compare` then trains with this reduction, whatever its --reduction
        says. lacks names what the function does not have, any of: "bias" (it has
        none), "no biases" (it always has them), "h_0" (it
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
    >>> from numpy_rnn.conformance.adapters import function_port
    >>> def model(p, x, target, h_0):  # a network whose gradients are all wrong
    ...     h = h_0
    ...     for x_t in x:
    ...         h = np.tanh(x_t @ p["W_xh"] + h @ p["W_hh"] + p.get("b_h", 0))
    ...     error = h @ p["W_hy"] + p.get("b_y", 0) - target
    ...     return 0.5 * (error**2).sum(), p
    >>> function_port(model).layout_text
    '(T, B, D) batches, with one target'
    """

    dtypes: Sequence[str] = DTYPES
    layouts = layouts_of(*LAYOUT_PARTS)  # which are tried
    has_older_steps = False  # whether a step may have no loss, but the last has one

    def __init__(
        self,
        function: Callable[..., Any],
        loss: str = "half_sum_of_squares",
        nonlinearity: str = "tanh",
        *,
        step: Callable[..., Any] | None = None,
        classes: bool = False,
        names: Mapping[str, str] | None = None,
        **statements: Any,
    ):
        self.name = self.label = str(
            statements.pop("name", getattr(function, "__name__", "function"))
        )
        self.step: Any = step
        with errors_about(self.label):
            own_names = parameter_names(names or {})
            for statement, value in statements.items():
                check_choice("statement", statement, STATED)
                setattr(self, statement, value)
            stated = StatedPort(self).abilities
            objective, factor = objective_of(loss, nonlinearity, stated.reduction)
        own = {*objective, "class_inputs"} if classes else {*objective}
        self.capabilities = tuple(name for name in CAPABILITIES if name in own)
        name = self.label if factor == 1 else f"{self.label}, halved"
        count = count_arguments(function)
        code = LaidOutFunction(
            name, function, count, own_names, factor, self.layouts[0]
        )
        abilities = stated._replace(capabilities=self.capabilities)
        spec = trial_spec(objective, stated.dtypes[-1], classes)
        found = find_layout(code, self.layouts, spec, abilities)
        layout = found.layout
        self.code = code._replace(layout=layout)
        is_last = bool(layout.last)
        is_lacked = {
            "h_0": count < 4,
            "vector_inputs": classes,
            "step": step is None,
            "older steps": not is_last and not self.has_older_steps,
            "many losses": is_last,
            "batch": not layout.has_batch,
            "bias": True not in found.is_right,
            "no biases": found.needs_biases,
        }
        lacked = {name for name, is_true in is_lacked.items() if is_true}
        lacked |= CHOICES - own
        lacked |= {*stated.lacks}
        self.lacks = tuple(name for name in LACKS if name in lacked)
        self.name = name
        self.layout_text = layout.text("batch" in lacked)
        if found.is_assumed:
            self.layout_text += ASSUMED

    def window_update(
        self,
        params: NamedArrays,
        x: NumpyArray,
        target: NumpyArray,
        h_0: NumpyArray,
        **options: Any,
    ) -> NamedArrays:
        """Return the loss, the gradients, and with a step the parameters after it."""
        answer = self.code.answer(params, x, target, h_0)
        report: dict[str, Any] = {"loss": answer.loss}
        report |= {"d" + name: g for name, g in answer.gradients.items()}
        if self.step is not None and "learning_rate" in options:
            report |= self.after_step(params, answer, options)
        return report

    def after_step(
        self, params: NamedArrays, answer: Answer, options: Mapping[str, Any]
    ) -> NamedArrays:
        """Return the parameters after the function's step."""
        theta = answer.own_params
        rate = self.code.factor * options["learning_rate"]
        after = self.step(theta, answer.own_gradients, rate)
        if after is None:  # it has changed them in place
            after = theta
        return self.code.arrays_back(params, after, dict(zip(theta, theta)))


def jax_port(
    function: Callable[..., Any],
    loss: str = "half_sum_of_squares",
    nonlinearity: str = "tanh",
    **options: Any,
) -> FunctionPort:
    """Make a port of a loss in JAX, whose gradients are those of jax.value_and_grad.

    Parameters
    ----------
    function : callable
        function(params, x, target, h_0) returns the loss alone. Its arguments are
        those of `function_port`.
    loss : str, optional
        The name of the loss, one of those of `function_port`.
    nonlinearity : str, optional
        One of those of `numpy_rnn.forward`.
    **options
        Those of `function_port`. As JAX compiles for every shape, `sizes` is "few",
        four shapes, unless given.

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
    return FunctionPort(with_gradients, loss, nonlinearity, **options)
