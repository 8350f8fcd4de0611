"""The statements that all adapters make, a loss by its name and a nonlinearity, and a choice of arguments by trial."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.records import LossName, NumpyArray, Objective, Reduction
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports.port import described, user_frame
from numpy_rnn.conformance.ports.protocol import port_arguments
from numpy_rnn.conformance.random_cases import Recipe

Report = dict[str, NumpyArray]
Sizes = str | Mapping[str, int] | Sequence[Mapping[str, int]]
LOSSES: dict[
    str | None, tuple[LossName, Reduction, float]
] = {  # those of the definition, and a multiple
    "half_sum_of_squares": ("squared_error", "sum", 1.0),
    "half_mse": ("squared_error", "mean", 1.0),
    "sum_of_squares": ("squared_error", "sum", 0.5),
    "mse": ("squared_error", "mean", 0.5),
    "cross_entropy": ("cross_entropy", "sum", 1.0),
    "mean_cross_entropy": ("cross_entropy", "mean", 1.0),
}
TRIALS = 8  # of a wrong loss, which may be random: with dropout of a few numbers, some are the same
BY_HAND = "a cell written by hand is checked by function_port, as a function that returns a loss and its gradients"
LAYERS = "check each layer alone, as the README of the suite says under 'A stack of layers'"
ADVICE = {  # what to do about parts of models, by a part of their names
    "Norm": "leave the normalisation out",
    "Embedding": "leave the Embedding out, and let x be its output",
    "LSTM": "no adapter checks gates",
    "GRU": "no adapter checks gates",
    "Softmax": "leave the softmax out: the suite's cross-entropy has one of its own",
    "idirectional": "check each direction alone",
    "num_layers": LAYERS,
    "2 SimpleRNN": LAYERS,
    "TimeDistributed": "use the layer in TimeDistributed, which does the same",
    "ropout": "leave dropout out",
    "regularizer": "leave regularizers out: their loss is no part of the definition",
    "constraint": "leave constraints out: they change the step",
    "optim": "use SGD for the check",
    "no ": BY_HAND,
    "parameter": BY_HAND,
}


def refuse(name: str, found: Iterable[str], expected: str) -> None:
    """Raise InputError if a model has parts that its adapter does not take, with what to do about each."""
    if parts := list(dict.fromkeys(found)):
        advice = dict.fromkeys(
            next((ADVICE[key] for key in ADVICE if key in part), None) for part in parts
        )
        what_to_do = "".join(f"; {each}" for each in advice if each)
        raise InputError(f"{name} has {', '.join(parts)}: expected {expected}{what_to_do}")


class Adapter:
    """A port with one nonlinearity and one loss, whose names are known; a product with its factor rounds nothing."""

    def __init__(
        self,
        name: str,
        loss: str | None,
        nonlinearity: Any,
        dtypes: Sequence[str],
        sizes: Sizes = (),
    ):
        for given, known in ((loss, tuple(LOSSES)), (nonlinearity, ("tanh", "relu", "sigmoid"))):
            if given not in known:
                raise InputError(
                    f"{name}: {given!r} is not known: expected {', '.join(map(str, known))}"
                )
        kind, reduction, self.factor = LOSSES[loss]
        self.name, self.dtypes, self.sizes = name, tuple(dtypes), sizes
        self.objective = Objective(nonlinearity, kind, reduction)
        self.capabilities = tuple(
            each for each in (nonlinearity, kind) if each in ("sigmoid", "cross_entropy")
        )
        others = ("tanh", "relu", "sum", "mean", "squared_error")
        self.lacks = tuple(each for each in others if each not in (nonlinearity, reduction, kind))

    def state(self, **absent: bool) -> None:
        """Add to what the port lacks; in the keywords, _ is a space."""
        self.lacks += tuple(
            what if what == "h_0" else what.replace("_", " ") for what in absent if absent[what]
        )

    def find_way(self, ways: Iterable[tuple[Any, dict[str, Any]]]) -> None:
        """Set `way` to the first one that computes the right loss of its case, or else to the first that computes one.

        Raises InputError if there is none, and if a loss is random.
        """
        possible, failures = [], dict[str, float]()
        for self.way, fields in ways:
            recipe = Recipe(
                T=5,
                B=2,
                D=3,
                H=4,
                O=6,
                K=5,
                dtype=self.dtypes[-1],
                objective=self.objective,
                step=None,
            )
            recipe = recipe._replace(seed=1, **fields)
            try:
                loss = self._loss_of(recipe)
                right = np.isclose(loss, window_update(recipe.case())["loss"], rtol=1e-3)
                again = [] if right else [self._loss_of(recipe) for _ in range(TRIALS)]
            except InputError:
                raise
            except Exception as error:
                failures[described(error)] = getattr(
                    user_frame(error), "lineno", np.inf
                )  # infinity: after its return
                continue
            if not np.allclose(again, loss, rtol=1e-5, equal_nan=True):
                raise InputError(
                    f"{self.name} gives two losses for one window: leave dropout and other noise out"
                )
            if right:
                return
            possible.append(self.way)
        if not possible:
            last = sorted(
                failures, key=failures.__getitem__, reverse=True
            )  # the one that came farthest comes first
            raise InputError(
                f"{self.name} cannot be called in any known way: {one_line('; '.join(last), 600)}"
            )
        self.way = possible[0]

    def _loss_of(self, recipe: Recipe) -> float:
        """The loss that the port computes, of arrays that it may change."""
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            return float(self.window_update(**port_arguments(recipe.case()))["loss"])  # type: ignore[attr-defined]
