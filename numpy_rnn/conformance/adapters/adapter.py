"""The statements that all adapters make, a loss by its name and a nonlinearity, and a choice of arguments by trial."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.records import Objective, WindowCase
from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.random_cases import Recipe

LOSSES: dict[str, tuple[Any, Any, float]] = {  # the loss and the reduction of the definition, as this multiple of it
    "half_sum_of_squares": ("squared_error", "sum", 1.0),
    "half_mse": ("squared_error", "mean", 1.0),
    "sum_of_squares": ("squared_error", "sum", 0.5),
    "mse": ("squared_error", "mean", 0.5),
    "cross_entropy": ("cross_entropy", "sum", 1.0),
    "mean_cross_entropy": ("cross_entropy", "mean", 1.0),
}


class Adapter:
    """A port with one nonlinearity and one loss. The factor of a loss is a power of 2, whose product rounds nothing.

    Raises InputError on names that are not known.
    """

    def __init__(
        self, name: str, loss: str | None, nonlinearity: str, dtypes: Sequence[str], lacks: Sequence[str] = ()
    ):
        for given, known in ((loss, LOSSES), (nonlinearity, ("tanh", "relu", "sigmoid"))):
            if given not in known:
                raise InputError(f"{name}: {given!r} is not known: expected {', '.join(known)}")
        kind, reduction, self.factor = LOSSES[str(loss)]
        self.name, self.dtypes, self.objective = name, tuple(dtypes), Objective(nonlinearity, kind, reduction)  # type: ignore[arg-type]
        self.sizes: Any = ()
        self.capabilities: tuple[str, ...] = ("sigmoid",) if nonlinearity == "sigmoid" else ()
        self.lacks = (*{"tanh", "relu"} - {nonlinearity}, "mean" if reduction == "sum" else "sum", *lacks)
        if kind == "cross_entropy":
            self.capabilities, self.lacks = (*self.capabilities, kind), (*self.lacks, "squared_error")

    def first_that_fits(
        self, choices: Iterable[tuple[Any, dict[str, Any]]], compute: Callable[[Any, WindowCase], dict[str, Any]]
    ) -> Any:
        """The first choice that computes the right loss of a case; if none does, the first that computes one.

        choices: each with fields of the recipe of its case. Raises InputError where none computes gradients.
        """
        possible, failures = [], []
        for choice, fields in choices:
            sizes = {"T": 5, "B": 2, "D": 3, "H": 4, "O": 6, "K": 5, "dtype": self.dtypes[-1], "seed": 1}
            case = Recipe(**sizes | fields, objective=self.objective).case()
            try:
                with np.errstate(all="ignore"):
                    loss = float(compute(choice, case)["loss"])
            except Exception as error:
                failures.append(f"{choice}: {type(error).__name__}: {error}")
                continue
            possible.append(choice)
            if np.isclose(loss, plain_rnn.window_update(case)["loss"], rtol=1e-3):
                return choice
        if not possible:
            raise InputError(f"{self.name} cannot be called in any known way: {one_line('; '.join(failures), 900)}")
        return possible[0]
