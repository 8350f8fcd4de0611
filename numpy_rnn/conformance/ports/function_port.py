"""Ports of functions in their own shape, which have one loss and one nonlinearity.

The layouts of the arguments are tried on one case, and the first one that gives the
right loss is taken.
"""

import copy
import inspect
import itertools
import warnings
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
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.arithmetics.arithmetic import mean_over
from numpy_rnn.conformance.case import FIELDS, NamedArrays, gradient_keys
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, LACKS, stated_by
from numpy_rnn.conformance.ports.port import describe_error, stated_port
from numpy_rnn.conformance.random_cases import CaseSpec, without_unsupported


class NamedLoss(NamedTuple):
    """A loss as a multiple of one of the definition."""

    loss: LossName
    reduction: Reduction
    factor: float  # of the loss under test, a power of 2, which rounds nothing


NAMED_LOSSES = {
    "half_sum_of_squares": NamedLoss("squared_error", "sum", 1.0),
    "half_mse": NamedLoss("squared_error", "mean", 1.0),
    "sum_of_squares": NamedLoss("squared_error", "sum", 0.5),
    "mse": NamedLoss("squared_error", "mean", 0.5),
    "cross_entropy": NamedLoss("cross_entropy", "sum", 1.0),
    "mean_cross_entropy": NamedLoss("cross_entropy", "mean", 1.0),
}
# The sizes of the case on which the layouts are tried; they differ.
TRIAL = {"T": 5, "B": 2, "D": 3, "H": 4, "O": 6}
# What a user may state; the capabilities are known.
STATEMENTS = (
    "dtypes",
    "lacks",
    "sizes",
    "tanh_ulps",
    "mean_over",
    "cases",
)
ASSUMED = " assumed, as no layout gives the right loss"
RTOL = 1e-3  # of the loss of a trial
RETURNS = "expected the loss and the gradients, as `return loss, gradients`"
# Weights for rows, as in x W_xh, or for columns; the axes of inputs and targets, whose
# N is D or O; those of the state.
LAYOUT_PARTS = (
    ("rows", "columns"),
    ("TBN", "BTN", "TNB", "NBT", "BNT", "TN"),
    ("BH", "HB", "H"),
)


class Layout(NamedTuple):
    """How code takes its arrays."""

    last: str  # "last" if the target is that of the last step, or else empty
    weights: str  # "rows", as in x W_xh, or "columns"
    series: str  # the axes of inputs and targets, whose N is D or O
    state: str  # the axes of the initial state

    @property
    def name(self) -> str:
        """Return the layout as it is stated."""
        return f"{self.weights} {self.series} {self.state} {self.last}".strip()

    @property
    def has_batch(self) -> bool:
        """Return whether there is an axis of sequences."""
        return "B" in self.series

    def series_of(self, array: NumpyArray, letters: str) -> NumpyArray:
        """Return a series, or a step of it, whose axes are the first of these."""
        letters = letters[: array.ndim]
        if not self.has_batch:
            array = array.take(0, letters.index("B"))
            letters = letters.replace("B", "")
        order = "".join(sorted(letters, key=self.series.index))
        laid_out: NumpyArray = np.einsum(f"{letters}->{order}", array)
        return laid_out

    def target_of(self, target: NumpyArray) -> NumpyArray:
        """Return the targets, (K, B, O), or classes, (K, B)."""
        if self.last:
            return self.series_of(target[-1], "BN")
        return self.series_of(target, "TBN")

    def state_of(self, h: NumpyArray) -> NumpyArray:
        """Return a state, (B, H)."""
        states: NamedArrays = {"H": h[0], "HB": h.T, "BH": h, "1BH": h[None]}
        return states[self.state]

    def parameter_of(self, theta: NumpyArray) -> NumpyArray:
        """Return a parameter of the definition."""
        if theta.ndim == 2:
            return theta.T if self.weights == "columns" else theta
        return theta[:, None] if self.state == "HB" else theta


class Trial(NamedTuple):
    """A layout in which code computes a loss, and by which factor that is wrong."""

    layout: Layout
    factor: float

    @property
    def is_right(self) -> bool:
        """Return whether the loss is right."""
        return abs(self.factor - 1) < RTOL


def layouts_of(*parts: Sequence[str]) -> dict[str, Layout]:
    """Return layouts with these parts by name, those with one target at the end."""
    choices = itertools.product(("", "last"), *parts)
    layouts = map(Layout._make, choices)
    return {layout.name: layout for layout in layouts}


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


def factor_in_words(factors: Sequence[float]) -> str:
    """Return the first factor of a trial that is a size or one over it as its letter,
    or else the first one as a number.
    """
    for factor in factors:
        for letter, size in TRIAL.items():
            if abs(factor / size - 1) < RTOL:
                return letter
            if abs(factor * size - 1) < RTOL:
                return f"1/{letter}"
    return f"{factors[0]:.3g}"


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

    capabilities: tuple[str, ...] = ()
    # What a user may state.
    dtypes: Sequence[str] = DTYPES
    lacks: tuple[str, ...] = ()
    sizes: Any = ()
    mean_over: Sequence[str] | None = None
    layouts = layouts_of(*LAYOUT_PARTS)  # which are tried
    layout: Layout  # in which the code is called, one of them
    error = 0.0  # of the loss of that layout, relative
    has_older_steps = False  # whether a step may have no loss, but the last has one

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
        self.function = function
        self.step: Any = step
        self.names = dict(zip(FIELDS, FIELDS))
        self.argument_count = count_arguments(function)
        self.name = self.label = str(
            statements.pop("name", getattr(function, "__name__", "function"))
        )
        with errors_about(self.label):
            if layout is not None:
                self._take_layout(layout)
            for field, own_name in (names or {}).items():
                check_choice("key of names", field, FIELDS)
                self.names[field] = own_name
            for statement, value in statements.items():
                check_choice("statement", statement, STATEMENTS)
                setattr(self, statement, value)
            stated_port(self)
            self._take_objective(loss, nonlinearity)
        if classes:
            self.capabilities += ("class_inputs",)
        self._add_lacks(
            {
                "h_0": self.argument_count < 4,
                "vector_inputs": classes,
                "step": step is None,
            }
        )
        trials = self.trials_by_bias()
        is_right = {bias: trial.is_right for bias, trial in trials.items()}
        first = next(iter(trials.values()))
        self.layout = first.layout
        self.error = abs(first.factor - 1)
        is_last = bool(self.layout.last)
        # Code that keeps its biases somewhere else computes a wrong loss without them.
        only_with = is_right.get(True, False) and not is_right.get(False)
        self._add_lacks(
            {
                "older steps": not is_last and not self.has_older_steps,
                "many losses": is_last,
                "batch": not self.layout.has_batch,
                "bias": True not in is_right,
                "no biases": only_with or False not in is_right,
            }
        )
        assumed = "" if any(is_right.values()) else ASSUMED
        self.name += f" ({self.layout.name}{assumed})"
        axes = ", ".join(self.layout.series.replace("N", "D"))
        self.layout_text = f"({axes}) batches"
        if "batch" in self.lacks:
            self.layout_text = f"({axes.replace('B', '1')}) sequences"
        if is_last:
            self.layout_text += ", with one target"

    def _take_layout(self, layout: str) -> None:
        """Let a layout be the only one. Raises InputError if it is none."""
        if layout not in self.layouts:
            expected = ", ".join(map(" or ".join, (*LAYOUT_PARTS, ("last", "nothing"))))
            raise InputError(f"the layout is {layout!r}: expected {expected}")
        self.layouts = {layout: self.layouts[layout]}

    def _take_objective(self, loss: str, nonlinearity: str) -> None:
        """Set the objective, and what follows from it. Raises InputError on names that
        are unknown, or do not go together.
        """
        check_choice("loss", loss, tuple(NAMED_LOSSES))
        check_choice("nonlinearity", nonlinearity, NONLINEARITY_NAMES)
        kind, reduction, self.factor = NAMED_LOSSES[loss]
        if self.factor != 1:
            self.name += ", halved"
        self.objective = Objective(nonlinearity, kind, reduction)  # type: ignore[arg-type]
        if self.mean_over is not None:
            if reduction == "mean":
                raise InputError(
                    f"{loss} is a mean, and mean_over is given: expected the name of a "
                    "sum, as half_sum_of_squares"
                )
            own_mean = mean_over(self.mean_over)
            self.objective = self.objective._replace(reduction=own_mean)  # type: ignore[arg-type]
        self.capabilities = tuple(n for n in CAPABILITIES if n in self.objective)
        choices = (*NONLINEARITY_NAMES, *LOSS_NAMES, *REDUCTION_NAMES)
        others = [n for n in choices if n in LACKS and n not in self.objective]
        self.lacks = (*others, *self.lacks)

    def _add_lacks(self, absent: Mapping[str, object]) -> None:
        """Add to what the port lacks the names whose value is true."""
        for name, is_absent in absent.items():
            if is_absent and name not in self.lacks:
                self.lacks += (name,)

    def trials_by_bias(self) -> dict[bool, Trial]:
        """Return the trials of one layout with and without biases, as far as the code
        can be called so.
        """
        trials = dict[bool, Trial]()
        errors = list[InputError]()
        layouts = list(self.layouts.values())
        for bias in (True, False):
            try:
                trials[bias] = self.best_trial(layouts, bias)
            except InputError as error:
                errors.append(error)
            else:
                layouts = [trials[bias].layout]
        if not trials:
            raise errors[0]  # the other one may be that of a function without biases
        return trials

    def best_trial(self, layouts: Sequence[Layout], bias: bool) -> Trial:
        """Try layouts up to the first with the right loss. Return this trial, or else
        the first one in which the code computes a loss.
        """
        wrong = list[Trial]()
        failures = list[str]()
        for layout in layouts:
            try:
                trial = Trial(layout, self.factor_of_loss(layout, bias))
            except Exception as error:
                failures.append(describe_error(error))
                continue
            if trial.is_right:
                self.refuse_wrong_batch(trial, wrong)
                return trial
            wrong.append(trial)
        if not wrong:
            reasons = one_line("; ".join(dict.fromkeys(failures)), 600)
            raise InputError(
                f"{self.name} cannot be called in any known way: {reasons}"
            )
        return wrong[0]

    def factor_of_loss(self, layout: Layout, bias: bool) -> float:
        """Return the loss of the code on a case, as a multiple of the right one."""
        stated = stated_by(self)
        sizes: dict[str, Any] = dict(TRIAL)
        if not layout.has_batch:
            sizes["B"] = 1
        if stated.sizes:  # the code has sizes of its own
            sizes.update(stated.sizes[0])
        sizes["K"] = 1 if layout.last else sizes["T"]
        spec = CaseSpec(
            **sizes,
            dtype=self.dtypes[-1],
            objective=self.objective,
            step=None,
            bias=bias,
            seed=1,
            no_h_0=True,  # code that ignores the state is wrong, in the right layout
        )
        case = without_unsupported(spec, stated).case()
        expected = window_update(case)["loss"]
        arguments = protocol.port_arguments(case)
        tried = copy.copy(self)
        tried.layout = layout
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            return float(tried.window_update(**arguments)["loss"] / expected)

    def refuse_wrong_batch(self, right: Trial, wrong: Sequence[Trial]) -> None:
        """Raise InputError if the loss is right for one sequence, and there is a layout
        of a batch in which the function computes another one.
        """
        factors = [trial.factor for trial in wrong if trial.layout.has_batch]
        if right.layout.has_batch or not factors or "batch" in self.lacks:
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
        layout = self.layout
        theta = {self.names[n]: layout.parameter_of(v) for n, v in params.items()}
        arguments = (
            theta,
            layout.series_of(x, "TBN"),
            layout.target_of(target),
            layout.state_of(h_0),
        )
        returned = self.function(*arguments[: self.argument_count])
        loss, gradients = self._results(returned)
        report: dict[str, Any] = {"loss": self.factor * loss}
        own_names = [self.names[name] for name in params]
        keys = gradient_keys(own_names, gradients)
        for name, gradient in self._back(params, gradients, keys).items():
            report["d" + name] = self.factor * gradient
        if self.step is not None and "learning_rate" in options:
            report |= self._after_step(params, theta, gradients, options)
        return report

    def _after_step(
        self,
        params: NamedArrays,
        theta: Mapping[str, Any],
        gradients: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> NamedArrays:
        """Return the parameters after the function's step."""
        after = self.step(theta, gradients, self.factor * options["learning_rate"])
        if after is None:  # it has changed them in place
            after = theta
        return self._back(params, after, dict(zip(theta, theta)))

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
            shape = self.layout.parameter_of(theta).shape
            if array.shape != shape:
                raise ValueError(f"{key} has shape {array.shape}: expected {shape}")
            if theta.ndim == 2:
                array = self.layout.parameter_of(array)  # which inverts itself
            ours[name] = array.reshape(theta.shape)
        return ours
