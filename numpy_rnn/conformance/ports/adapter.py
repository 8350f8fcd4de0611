"""Adapters: ports of code in its own shape, which have one loss and one nonlinearity.

An adapter tries the layouts of arguments on one case, and takes the first one that
gives the right loss.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    Objective,
    Reduction,
)
from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.arithmetics.arithmetic import mean_over
from numpy_rnn.conformance.case import LOSS_AXES, NamedArrays
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.abilities import (
    CAPABILITIES,
    LACKS,
    Abilities,
    stated_by,
)
from numpy_rnn.conformance.ports.port import describe_error
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
# The case on which the layouts are tried; its sizes differ, but for K = T.
TRIAL: dict[str, Any] = {"T": 5, "B": 2, "D": 3, "H": 4, "O": 6, "K": 5}
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


class Trial(NamedTuple):
    """A layout, and the loss of the code in it, as a multiple of the right one."""

    layout_name: str
    factor: float


class Adapter:
    """A port with one nonlinearity and one loss.

    statements: name, lacks, sizes and so on, as of any port.
    """

    capabilities: tuple[str, ...]
    window_update: Callable[..., NamedArrays]
    layout_text = ""  # how the verdict describes the inputs
    layout_name = ""  # in which the code is called, one of those that are tried
    error = 0.0  # of the loss of that layout, relative

    def __init__(
        self, name: str, loss: str, nonlinearity: str, statements: Mapping[str, Any]
    ):
        axes = statements.get("mean_over")
        lacks = statements.get("lacks", ())
        with errors_about(name):
            check_choice("loss", loss, tuple(NAMED_LOSSES))
            check_choice("nonlinearity", nonlinearity, NONLINEARITY_NAMES)
            for statement in statements:
                check_choice("statement", statement, STATEMENTS)
            for axis in axes or ():
                check_choice("axis of mean_over", axis, LOSS_AXES)
            if isinstance(lacks, str):
                raise InputError(
                    f"lacks is {lacks!r}: expected a tuple of names, as ({lacks!r},)"
                )
        kind, reduction, self.factor = NAMED_LOSSES[loss]
        if axes is not None and reduction == "mean":
            raise InputError(
                f"{name}: {loss} is a mean, and mean_over is given: expected the name "
                "of a sum, as half_sum_of_squares"
            )
        self.dtypes: Sequence[str] = statements.get("dtypes", DTYPES)
        self.sizes: Any = statements.get("sizes", ())
        self.cases: Sequence[Any] = statements.get("cases", ())
        self.tanh_ulps: float | None = statements.get("tanh_ulps")
        self.mean_over: Sequence[str] | None = axes
        self.label = name
        self.name = name if self.factor == 1 else f"{name}, halved"
        self.objective = Objective(nonlinearity, kind, reduction)  # type: ignore[arg-type]
        choices = {*self.objective}
        self.capabilities = tuple(name for name in CAPABILITIES if name in choices)
        names: list[str] = [*NONLINEARITY_NAMES, *LOSS_NAMES]
        if axes is None:
            names += REDUCTION_NAMES
        others = (n for n in names if n in LACKS and n not in choices)
        self.lacks = (*others, *lacks)
        if axes is not None:
            self.objective = self.objective._replace(reduction=mean_over(axes))  # type: ignore[arg-type]

    def state(self, absent: Mapping[str, object]) -> None:
        """Add to what the port lacks the names whose value is true."""
        for name, is_absent in absent.items():
            if is_absent and name not in self.lacks:
                self.lacks += (name,)

    def find_layout(self, layouts: Iterable[tuple[str, dict[str, Any]]]) -> bool:
        """Set `layout_name` to the first with the right loss, or else to the first that
        computes one; return whether it is right.

        layouts: each with the fields of the case on which it is tried. `possible` has
        those that compute a wrong loss.
        """
        self.possible = list[Trial]()
        failures = list[str]()
        for layout, fields in layouts:
            self.layout_name = layout
            try:
                factor = self.trial(fields)
            except InputError:
                raise
            except Exception as error:
                failures.append(describe_error(error))
                continue
            self.error = abs(factor - 1)
            if self.error < RTOL:
                return True
            self.possible.append(Trial(layout, factor))
        if not self.possible:
            reasons = one_line("; ".join(dict.fromkeys(failures)), 600)
            raise InputError(
                f"{self.name} cannot be called in any known way: {reasons}"
            )
        self.layout_name = self.possible[0].layout_name
        return False

    def trial(self, fields: Mapping[str, Any]) -> float:
        """Return the loss of the code on a case, as a multiple of the right one."""
        spec = CaseSpec(
            **TRIAL, dtype=self.dtypes[-1], objective=self.objective, seed=1
        )
        spec = spec._replace(step=None, **fields)
        stated = stated_by(self)
        if stated.sizes:  # the code has sizes of its own
            sizes: dict[str, Any] = dict(stated.sizes[0])
            spec = spec._replace(**sizes)
            spec = spec._replace(K=1 if fields["K"] == 1 else spec.T)
        abilities = Abilities(
            self.capabilities, tuple(self.lacks), reduction=stated.reduction
        )
        case = without_unsupported(spec, abilities).case()
        expected = window_update(case)["loss"]
        arguments = protocol.port_arguments(case)
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            return float(self.window_update(**arguments)["loss"] / expected)
