"""Layouts: the axes in which code takes its arrays, and the search for them.

The layouts are tried on one case, and the first one that gives the right loss is taken.
"""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.case import NamedArrays
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports.abilities import Abilities
from numpy_rnn.conformance.ports.protocol import port_arguments
from numpy_rnn.conformance.ports.user_code import describe_error
from numpy_rnn.conformance.random_cases import CaseSpec, without_unsupported
from numpy_rnn.conformance.user_function import (
    arrays_of,
    check_result,
    gradient_keys,
    gradients_by_key,
)

# Weights for rows, as in x W_xh, or for columns; the axes of inputs and targets, whose
# N is D or O; those of the state.
LAYOUT_PARTS = (
    ("rows", "columns"),
    ("TBN", "BTN", "TNB", "NBT", "BNT", "TN"),
    ("BH", "HB", "H"),
)
RTOL = 1e-3  # of the loss of a trial


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

    def text(self, is_one: bool) -> str:
        """Return the axes of the inputs; is_one: of one sequence."""
        axes = ", ".join(self.series.replace("N", "D"))
        text = f"({axes}) batches"
        if is_one:
            text = f"({axes.replace('B', '1')}) sequences"
        return f"{text}, with one target" if self.last else text

    def series_of(self, array: NumpyArray, letters: str) -> NumpyArray:
        """Return a series, or a step of it, whose axes are the first of these."""
        letters = letters[: array.ndim]
        if not self.has_batch:
            array = array.take(0, letters.index("B"))
            letters = letters.replace("B", "")
        order = "".join(sorted(letters, key=self.series.index))
        return np.transpose(array, [letters.index(axis) for axis in order])

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


def layouts_of(*parts: Sequence[str]) -> list[Layout]:
    """Return layouts with these parts, those with one target at the end."""
    return [Layout(*choice) for choice in itertools.product(("", "last"), *parts)]


# Code in a layout


class Answer(NamedTuple):
    """What code returns for a window."""

    loss: Any  # in the definition's scale
    gradients: NamedArrays  # by our names, in our shapes and the definition's scale
    own_params: NamedArrays  # the parameters as the code has got them
    own_gradients: Mapping[str, Any]  # as it has returned them


class LaidOutFunction(NamedTuple):
    """A function, and how it is called."""

    name: str
    function: Callable[..., Any]
    argument_count: int  # of the parameters, x, target and h_0
    names: Mapping[str, str]  # its names of the parameters, by ours
    factor: float  # that makes its loss the definition's
    layout: Layout

    def parameters_of(self, params: NamedArrays) -> NamedArrays:
        """Return parameters as the function takes them."""
        layout = self.layout
        return {self.names[n]: layout.parameter_of(v) for n, v in params.items()}

    def answer(
        self, params: NamedArrays, x: NumpyArray, target: NumpyArray, h_0: NumpyArray
    ) -> Answer:
        """Call the function. Raises InputError if it returns something else."""
        layout = self.layout
        theta = self.parameters_of(params)
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
        own = gradients_by_key(returned, theta)
        gradients = self.arrays_back(params, own, gradient_keys(theta, own))
        scaled = {name: self.factor * gradient for name, gradient in gradients.items()}
        return Answer(self.factor * loss, scaled, theta, own)

    def arrays_back(
        self, params: NamedArrays, arrays: Mapping[str, Any], keys: Mapping[str, str]
    ) -> NamedArrays:
        """Return the function's arrays by our names, in the shapes of the parameters.

        keys: those of the arrays, by the function's names of the parameters.
        """
        theirs = arrays_of(arrays, keys, self.parameters_of(params))
        ours = NamedArrays()
        for name, theta in params.items():
            # parameter_of is its own inverse, but for the shape of a column
            array = self.layout.parameter_of(theirs[self.names[name]])
            ours[name] = array.reshape(theta.shape)
        return ours


# The search


class Trial(NamedTuple):
    """A layout in which code computes a loss, and by which factor that is wrong."""

    layout: Layout
    factor: float

    @property
    def is_right(self) -> bool:
        """Return whether the loss is right."""
        return abs(self.factor - 1) < RTOL


class FoundLayout(NamedTuple):
    """The layout of code, and whether its loss is right there: with and without biases,
    as far as it can be called so.
    """

    layout: Layout
    is_right: Mapping[bool, bool]  # by whether there are biases

    @property
    def needs_biases(self) -> bool:
        """Whether the code has biases always. Code that keeps its biases somewhere
        computes a wrong loss without them.
        """
        only_with = self.is_right.get(True, False) and not self.is_right.get(False)
        return only_with or False not in self.is_right

    @property
    def is_assumed(self) -> bool:
        """Whether no layout gives the right loss."""
        return not any(self.is_right.values())


def find_layout(
    code: LaidOutFunction,
    layouts: Sequence[Layout],
    spec: CaseSpec,
    abilities: Abilities,
) -> FoundLayout:
    """Try code in these layouts, with and without biases. Raises InputError if it
    cannot be called in any.
    """
    trials = dict[bool, Trial]()
    errors = list[InputError]()
    for bias in (True, False):
        with_bias = spec._replace(bias=bias)
        try:
            trials[bias] = best_trial(code, layouts, with_bias, abilities)
        except InputError as error:
            errors.append(error)
        else:
            layouts = [trials[bias].layout]
    if not trials:
        raise errors[0]  # the other one may be that of a function without biases
    is_right = {bias: trial.is_right for bias, trial in trials.items()}
    return FoundLayout(layouts[0], is_right)


def best_trial(
    code: LaidOutFunction,
    layouts: Sequence[Layout],
    spec: CaseSpec,
    abilities: Abilities,
) -> Trial:
    """Try layouts up to the first with the right loss. Return this trial, or else the
    first one in which the code computes a loss.
    """
    wrong = list[Trial]()
    failures = list[str]()
    results = list[str]()  # what is wrong in what the code returns
    for layout in layouts:
        try:
            factor = factor_of_loss(code._replace(layout=layout), spec, abilities)
        except InputError as error:
            results.append(str(error))
            continue
        except Exception as error:
            failures.append(describe_error(error))
            continue
        trial = Trial(layout, factor)
        if not trial.is_right:
            wrong.append(trial)
            continue
        factors = [other.factor for other in wrong if other.layout.has_batch]
        if factors and not layout.has_batch and "batch" not in abilities.lacks:
            raise InputError(
                f"{code.name} is right for one sequence; for a batch of {spec.B} the "
                f"loss is × {factors[0]:.3g}: state lacks=('batch',) if it takes one "
                "sequence"
            )
        return trial
    if not wrong and results:  # it ran: errors of other layouts tell less
        raise InputError(f"{code.name}: {results[0]}")
    if not wrong:
        reasons = one_line("; ".join(dict.fromkeys(failures)), 600)
        raise InputError(f"{code.name} cannot be called in any known way: {reasons}")
    return wrong[0]


def factor_of_loss(
    code: LaidOutFunction, spec: CaseSpec, abilities: Abilities
) -> float:
    """Return the loss of the code on a case, as a multiple of the right one."""
    if not code.layout.has_batch:
        spec = spec._replace(B=1)
    if abilities.sizes:  # the code has sizes of its own
        sizes: dict[str, Any] = dict(abilities.sizes[0])
        spec = spec._replace(**sizes)
    spec = spec._replace(K=1 if code.layout.last else spec.T)
    case = without_unsupported(spec, abilities).case()
    expected = window_update(case)["loss"]
    arguments = port_arguments(case)
    arrays = [arguments[name] for name in ("params", "x", "target", "h_0")]
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        return float(code.answer(*arrays).loss / expected)
