"""The statements that all adapters make, a loss by its name and a nonlinearity, and a choice of arguments by trial."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.records import Objective
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports.protocol import port_arguments
from numpy_rnn.conformance.random_cases import Recipe

LOSSES: dict[str | None, tuple[Any, Any, float]] = {  # a loss and a reduction of the definition, as this multiple of it
    "half_sum_of_squares": ("squared_error", "sum", 1.0),
    "half_mse": ("squared_error", "mean", 1.0),
    "sum_of_squares": ("squared_error", "sum", 0.5),
    "mse": ("squared_error", "mean", 0.5),
    "cross_entropy": ("cross_entropy", "sum", 1.0),
    "mean_cross_entropy": ("cross_entropy", "mean", 1.0),
}


class Adapter:
    """A port with one nonlinearity and one loss, whose names are known; a product with its factor rounds nothing."""

    def __init__(self, name: str, loss: str | None, nonlinearity: Any, dtypes: Sequence[str], sizes: Any = ()):
        for given, known in ((loss, tuple(LOSSES)), (nonlinearity, ("tanh", "relu", "sigmoid"))):
            if given not in known:
                raise InputError(f"{name}: {given!r} is not known: expected {', '.join(map(str, known))}")
        kind, reduction, self.factor = LOSSES[loss]
        self.name, self.dtypes, self.sizes = name, tuple(dtypes), sizes
        self.objective = Objective(nonlinearity, kind, reduction)
        self.capabilities = tuple(each for each in (nonlinearity, kind) if each in ("sigmoid", "cross_entropy"))
        others = ("tanh", "relu", "sum", "mean", "squared_error")
        self.lacks = tuple(each for each in others if each not in (nonlinearity, reduction, kind))

    def state(self, **absent: bool) -> None:
        """Add to what the port lacks; in the keywords, _ is a space."""
        self.lacks += tuple(what if what == "h_0" else what.replace("_", " ") for what in absent if absent[what])

    def find_way(self, ways: Iterable[tuple[Any, dict[str, Any]]]) -> None:
        """Set `way` to the first one that computes the right loss of its case, or else any. Raises InputError."""
        possible, failures = [], []
        for self.way, fields in ways:
            recipe = Recipe(T=5, B=2, D=3, H=4, O=6, K=5, dtype=self.dtypes[-1], objective=self.objective, step=None)
            case = recipe._replace(seed=1, **fields).case()
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                    loss = float(self.window_update(**port_arguments(case))["loss"])  # type: ignore[attr-defined]
            except Exception as error:
                failures.append(f"{self.way}: {type(error).__name__}: {error}")
                continue
            if np.isclose(loss, window_update(case)["loss"], rtol=1e-3):
                return
            possible.append(self.way)
        if not possible:
            raise InputError(f"{self.name} cannot be called in any known way: {one_line('; '.join(failures), 900)}")
        self.way = possible[0]
