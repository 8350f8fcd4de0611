"""Ports of functions in their own shape, which have one loss and one nonlinearity.

The layouts of the arguments are tried on one case, and the first one that gives the
right loss is taken.
"""

import copy
import inspect
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
from numpy_rnn.conformance.case import FIELDS, NamedArrays
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports.abilities import CAPABILITIES, LACKS
from numpy_rnn.conformance.ports.layouts import LAYOUT_PARTS, Layout, layouts_of
from numpy_rnn.conformance.ports.port import StatedPort, describe_error
from numpy_rnn.conformance.ports.protocol import STATEMENTS, port_arguments
from numpy_rnn.conformance.random_cases import CaseSpec, without_unsupported
from numpy_rnn.conformance.user_function import (
    arrays_of,
    check_result,
    gradient_keys,
    gradients_by_key,
)


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
ASSUMED = " assumed, as no layout gives the right loss"
RTOL = 1e-3  # of the loss of a trial


class Trial(NamedTuple):
    """A layout in which code computes a loss, and by which factor that is wrong."""

    layout: Layout
    factor: float

    @property
    def is_right(self) -> bool:
        """Return whether the loss is right."""
        return abs(self.factor - 1) < RTOL


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
    layout: Layout  # in which the code is called, one of them
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
        self.function = function
        self.step: Any = step
        self.names = dict(zip(FIELDS, FIELDS))
        self.argument_count = count_arguments(function)
        self.name = self.label = str(
            statements.pop("name", getattr(function, "__name__", "function"))
        )
        with errors_about(self.label):
            for field, own_name in (names or {}).items():
                check_choice("key of names", field, FIELDS)
                self.names[field] = own_name
            for statement, value in statements.items():
                check_choice("statement", statement, STATED)
                setattr(self, statement, value)
            stated = StatedPort(self).abilities
            self.objective, self.factor = objective_of(
                loss, nonlinearity, stated.reduction
            )
        if self.factor != 1:
            self.name += ", halved"
        own = {*self.objective, "class_inputs"} if classes else {*self.objective}
        self.capabilities = tuple(name for name in CAPABILITIES if name in own)
        self.abilities = stated._replace(capabilities=self.capabilities)
        trials = self.trials_by_bias(classes)
        is_right = {bias: trial.is_right for bias, trial in trials.items()}
        self.layout = next(iter(trials.values())).layout
        is_last = bool(self.layout.last)
        choices = {*NONLINEARITY_NAMES, *LOSS_NAMES, *REDUCTION_NAMES}
        # Code that keeps its biases somewhere else computes a wrong loss without them.
        only_with = is_right.get(True, False) and not is_right.get(False)
        lacks = {
            **dict.fromkeys(choices - own, True),
            "h_0": self.argument_count < 4,
            "vector_inputs": classes,
            "step": step is None,
            "older steps": not is_last and not self.has_older_steps,
            "many losses": is_last,
            "batch": not self.layout.has_batch,
            "bias": True not in is_right,
            "no biases": only_with or False not in is_right,
            **dict.fromkeys(stated.lacks, True),
        }
        self.lacks = tuple(name for name in LACKS if lacks.get(name))
        assumed = "" if any(is_right.values()) else ASSUMED
        self.name += f" ({self.layout.name}{assumed})"
        self.layout_text = self.layout.text("batch" in self.lacks)

    def trials_by_bias(self, classes: bool) -> dict[bool, Trial]:
        """Return the trials of one layout with and without biases, as far as the code
        can be called so.
        """
        layouts = self.layouts
        trials = dict[bool, Trial]()
        errors = list[InputError]()
        for bias in (True, False):
            spec = CaseSpec(
                **TRIAL,
                K=TRIAL["T"],
                dtype=self.abilities.dtypes[-1],
                objective=self.objective,
                step=None,
                bias=bias,
                seed=1,
                class_inputs=classes,
                no_h_0=True,  # code that ignores the state is in the right layout
            )
            try:
                trials[bias] = self.best_trial(layouts, spec)
            except InputError as error:
                errors.append(error)
            else:
                layouts = [trials[bias].layout]
        if not trials:
            raise errors[0]  # the other one may be that of a function without biases
        return trials

    def best_trial(self, layouts: Sequence[Layout], spec: CaseSpec) -> Trial:
        """Try layouts up to the first with the right loss. Return this trial, or else
        the first one in which the code computes a loss.
        """
        wrong = list[Trial]()
        failures = list[str]()
        for layout in layouts:
            try:
                trial = Trial(layout, self.factor_of_loss(layout, spec))
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

    def factor_of_loss(self, layout: Layout, spec: CaseSpec) -> float:
        """Return the loss of the code on a case, as a multiple of the right one."""
        if not layout.has_batch:
            spec = spec._replace(B=1)
        if self.abilities.sizes:  # the code has sizes of its own
            sizes: dict[str, Any] = dict(self.abilities.sizes[0])
            spec = spec._replace(**sizes)
        spec = spec._replace(K=1 if layout.last else spec.T)
        case = without_unsupported(spec, self.abilities).case()
        expected = window_update(case)["loss"]
        tried = copy.copy(self)
        tried.layout = layout
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            report = tried.window_update(**port_arguments(case))
            return float(report["loss"] / expected)

    def refuse_wrong_batch(self, right: Trial, wrong: Sequence[Trial]) -> None:
        """Raise InputError if the loss is right for one sequence, and there is a layout
        of a batch in which the function computes another one.
        """
        factors = [trial.factor for trial in wrong if trial.layout.has_batch]
        if right.layout.has_batch or not factors or "batch" in self.abilities.lacks:
            return
        raise InputError(
            f"{self.name} is right for one sequence; for a batch of {TRIAL['B']} the "
            f"loss is × {factors[0]:.3g}: state lacks=('batch',) if it takes one "
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
        check_result(returned)
        loss = returned[0]
        # A Python float stays one, and is rounded to the dtype later.
        loss = float(loss) if isinstance(loss, float) else np.asarray(loss)
        report: dict[str, Any] = {"loss": self.factor * loss}
        gradients = gradients_by_key(returned, theta)
        ours = self._back(params, gradients, gradient_keys(theta, gradients))
        for name, gradient in ours.items():
            report["d" + name] = self.factor * gradient
        if self.step is not None and "learning_rate" in options:
            report |= self._after_step(params, theta, gradients, options)
        return report

    def _after_step(
        self,
        params: NamedArrays,
        theta: NamedArrays,
        gradients: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> NamedArrays:
        """Return the parameters after the function's step."""
        after = self.step(theta, gradients, self.factor * options["learning_rate"])
        if after is None:  # it has changed them in place
            after = theta
        return self._back(params, after, dict(zip(theta, theta)))

    def _back(
        self, params: NamedArrays, arrays: Mapping[str, Any], keys: Mapping[str, str]
    ) -> NamedArrays:
        """Return the arrays by our names, in the shapes of the parameters.

        keys: those of the arrays, by the function's names of the parameters.
        """
        expected = {}
        for name, theta in params.items():
            expected[self.names[name]] = self.layout.parameter_of(theta)
        theirs = arrays_of(arrays, keys, expected)
        ours = NamedArrays()
        for name, theta in params.items():
            # parameter_of is its own inverse, but for the shape of a column
            array = self.layout.parameter_of(theirs[self.names[name]])
            ours[name] = array.reshape(theta.shape)
        return ours
