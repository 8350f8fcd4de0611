"""The options of a run: each one's name, type, default, limits and help text, stated once.

The fields of `Configuration` are the options. The parser of the command line, the checks and the run files are made
from them.
"""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, shown
from numpy_rnn.common.records import DTYPES, Objective, RunOptions, Schedule, Step

HIDDEN_SIZE = 6  # if neither the option nor a weights file gives it
RUN, UPDATE, SERIES, FILES, OUTPUT = "run", "update (as in torch.optim.SGD)", "series", "files", "output"
GROUPS = (RUN, UPDATE, SERIES, FILES, OUTPUT)  # in the order of --help
Parse = Callable[[str], Any]

# Defaults with --text, those of min-char-rnn. Hidden size and biases may come from --weights instead.
TEXT: dict[str, Any] = {
    "epochs": 100,
    "hidden_size": 100,
    "loss": "cross_entropy",
    "k1": 25,
    "k2": 25,
    "bias": True,
    "max_value": 5.0,
    "adagrad": True,
}


def whole(least: int, most: int = 10**9) -> Parse:
    """A parser of whole numbers."""

    def parse(text: str) -> int:
        with suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        raise ArgumentTypeError(f"{shown(text, repr)}: expected a whole number, {least} to {most}")

    return parse


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise ArgumentTypeError(f"{shown(text, repr)}: expected a finite number, above 0")


def rates(text: str) -> float | tuple[float, ...]:
    """Parse one learning rate, or several separated by commas."""
    values = tuple(map(float, text.split(",")))
    return values[0] if len(values) == 1 else values


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def option(
    default: Any, group: str, help: str, metavar: str | None = None, parse: Parse | tuple[str, ...] = str
) -> Any:
    """A field of `Configuration`. metavar: None for a flag. parse: a parser, or the words that can be chosen.

    `train` checks the numbers.
    """
    choice = {"choices": parse} if isinstance(parse, tuple) else {"type": parse}
    details = {} if metavar is None else {"metavar": metavar, **choice}
    return field(default=default, metadata={"group": group, "details": {"help": help, **details}})


def option_name(name: str) -> str:
    """The option of a field, such as --hidden-size."""
    return "--seeds" if name == "networks" else "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Configuration:
    """One run. The defaults are the default experiment: one point at a time, 300 epochs over a sine wave.

    None means that a weights file decides, or else the default in the help text.
    """

    epochs: int = option(300, RUN, "passes over the series (300)", "N", whole(0))
    hidden_size: int | None = option(None, RUN, f"hidden units ({HIDDEN_SIZE}, or as in --weights)", "H", whole(1))
    k1: int = option(1, RUN, "new steps per update (1)", "STEPS", whole(1))
    k2: int = option(1, RUN, "steps that the gradient covers, including the new ones (k1)", "STEPS", whole(1))
    loss: str = option(
        "squared_error",
        RUN,
        "squared_error, or cross_entropy for rows that are distributions, and with --text (squared_error)",
        "LOSS",
        ("squared_error", "cross_entropy"),
    )
    nonlinearity: str = option("tanh", RUN, "tanh, relu or sigmoid (tanh)", "NAME", ("tanh", "relu", "sigmoid"))
    reduction: str = option("sum", RUN, "sum or mean over the steps of a window (sum)", "NAME", ("sum", "mean"))
    bias: bool | None = option(None, RUN, "train biases (no, or as in --weights)")
    learn_initial_state: bool | None = option(None, RUN, "train the state at the start of every epoch (no)")
    dtype: str | None = option(None, RUN, f"{' or '.join(DTYPES)} (float32, or as in --weights)", "TYPE", DTYPES)
    seed: int = option(0, RUN, "seed of the initial weights (0)", "N", whole(0, 2**63 - 1))
    networks: int | None = option(
        None, RUN, "train N networks at once, with seeds from --seed on; report the median and a band", "N", whole(1)
    )
    learning_rate: float | tuple[float, ...] = option(
        0.1, UPDATE, "learning rate; several, separated by commas, train one network each (0.1)", "RATE[,...]", rates
    )
    momentum: float = option(0.0, UPDATE, "momentum factor (0)", "M", float)
    dampening: float = option(0.0, UPDATE, "dampening of the momentum (0)", "D", float)
    nesterov: bool = option(False, UPDATE, "use Nesterov momentum")
    weight_decay: float = option(0.0, UPDATE, "L2 penalty (0)", "W", float)
    max_norm: float | None = option(None, UPDATE, "clip the gradient of each network to this norm", "N", float)
    max_value: float | None = option(None, UPDATE, "clip each number of the gradient to ±C", "C", float)
    adagrad: bool = option(False, UPDATE, "divide by the root of the sum of the squared gradients so far")
    text: str | None = option(
        None,
        SERIES,
        "train a character-level language model on this UTF-8 text, as min-char-rnn does: unless they are given, the"
        " options of the run are then --epochs 100 --hidden-size 100 --loss cross_entropy --k1 25 --k2 25 --bias"
        " --max-value 5 --adagrad",
        "FILE",
    )
    data: str | None = option(
        None,
        SERIES,
        ".csv, .tsv, .txt, .npy: a row per time step, a column per feature; - is standard input (the sine wave). A .npy"
        " file is memory-mapped: do not change it during the run",
        "FILE",
    )
    columns: tuple[str, ...] | None = option(
        None, SERIES, "columns of --data, by name or by number from 1 (all)", "C[,...]", names
    )
    standardize: bool = option(False, SERIES, "train on (value - mean) / standard deviation of each column")
    held_out: int = option(
        0, SERIES, "do not train on the last N rows; predict them, one step ahead and free-running (0)", "N", whole(0)
    )
    weights: str | None = option(
        None, FILES, "initial weights, an .npz file that --save of either package wrote", "FILE"
    )

    def check(self) -> None:
        """Raise InputError on options that exclude each other. `train` checks those of the run."""
        if self.columns is not None and self.data is None:
            raise InputError("--columns is given without --data: expected --data FILE too")
        excluded: dict[str, tuple[str, ...]] = {"weights": ("networks",)}
        if self.rates():
            excluded["learning_rate"] = ("networks", "text")
        if self.loss == "cross_entropy":
            excluded["loss"] = ("standardize",)
        if self.text is not None:
            excluded["text"] = ("data", "columns", "standardize", "held_out", "networks")
        for one, others in excluded.items():
            for other in others:
                if getattr(self, one) and getattr(self, other):
                    several = "several rates of " * (one == "learning_rate")
                    given = f"{several}{option_name(one)} and {option_name(other)}"
                    raise InputError(f"{given} are both given: expected one of the two; leave one out")
        if self.text is not None and self.loss != "cross_entropy":
            raise InputError(f"--text is given with --loss {self.loss}: expected cross_entropy; leave --loss out")

    def rates(self) -> tuple[float, ...]:
        """The learning rates of a sweep, which trains one network per rate; empty for a run with one rate."""
        return self.learning_rate if isinstance(self.learning_rate, tuple) else ()

    def run_options(self) -> RunOptions:
        """The options of `train`. Those of a sweep over R rates have rates of shape (R,)."""
        values = vars(self) | ({"learning_rate": np.array(self.rates())} if self.rates() else {})

        def record(kind: Any) -> Any:
            return kind(**{name: values[name] for name in kind._fields})

        return RunOptions(record(Schedule), record(Objective), record(Step))

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Configuration":
        """The inverse of `to_dict`, after a round trip through JSON. Raises TypeError on unknown names."""
        loaded: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**loaded)
