"""The options of a run: each one's name, type, default, limits and help text, stated once.

The fields of `Configuration` are the options. The parser of the command line, the checks and the run files are made
from them.
"""

import math
from argparse import ArgumentTypeError, BooleanOptionalAction
from collections.abc import Callable
from contextlib import suppress
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, get_args

from numpy_rnn.common.errors import InputError, short_repr
from numpy_rnn.common.records import (
    DTYPES,
    LossName,
    Nonlinearity,
    Objective,
    Reduction,
    RunOptions,
    Schedule,
    Step,
)

LOSSES = get_args(LossName)
HIDDEN_SIZE = 6  # if neither the option nor a weights file gives it
RUN, UPDATE, SERIES, FILES, OUTPUT = (
    "run",
    "update (as in torch.optim.SGD)",
    "series",
    "files",
    "output",
)
GROUPS = (RUN, UPDATE, SERIES, FILES, OUTPUT)  # in the order of --help

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

AS_TEXT = """the defaults of min-char-rnn: --epochs 100 --hidden-size 100 --loss cross_entropy --k1 25 --k2 25 --bias
--max-value 5 --adagrad"""
DATA = "a text file of numbers: a row per time step, a column per feature (the sine wave)"


def whole(least: int, most: int = 10**9) -> Callable[[str], int]:
    """A parser of whole numbers."""

    def parse(text: str) -> int:
        with suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        raise ArgumentTypeError(
            f"{short_repr(text, repr)}: expected a whole number, {least} to {most}"
        )

    return parse


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise ArgumentTypeError(f"{short_repr(text, repr)}: expected a finite number, above 0")


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def option(
    default: Any, group: str, help: str, metavar: str | None = None, parse: Any = str
) -> Any:
    """A field of `Configuration`. metavar: None for a flag. parse: a parser, or the words that can be chosen."""
    details: dict[str, Any] = {
        "metavar": metavar,
        "choices" if isinstance(parse, tuple) else "type": parse,
    }
    if metavar is None:
        details = {"action": BooleanOptionalAction}
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
    hidden_size: int | None = option(
        None, RUN, f"hidden units ({HIDDEN_SIZE}, or as in --weights)", "H", whole(1)
    )
    k1: int = option(1, RUN, "new steps per update (1)", "STEPS", whole(1))
    k2: int = option(
        1, RUN, "steps that the gradient covers, including the new ones (k1)", "STEPS", whole(1)
    )
    loss: str = option(
        "squared_error", RUN, "or cross_entropy, of distributions (squared_error)", "NAME", LOSSES
    )
    nonlinearity: str = option(
        "tanh", RUN, "tanh, relu or sigmoid (tanh)", "NAME", get_args(Nonlinearity)
    )
    reduction: str = option(
        "sum", RUN, "sum or mean over the steps of a window (sum)", "NAME", get_args(Reduction)
    )
    bias: bool | None = option(None, RUN, "train biases (no, or as in --weights)")
    learn_initial_state: bool | None = option(
        None, RUN, "train the state at the start of every epoch (no)"
    )
    dtype: str | None = option(
        None, RUN, f"{' or '.join(DTYPES)} (float32, or as in --weights)", "TYPE", DTYPES
    )
    seed: int = option(0, RUN, "seed of the initial weights (0)", "N", whole(0, 2**63 - 1))
    networks: int | None = option(
        None, RUN, "train N networks at once, with seeds from --seed on", "N", whole(1)
    )
    learning_rate: float = option(
        0.1,
        UPDATE,
        "learning rate (0.1)",
        "RATE",
        float,
    )
    momentum: float = option(0.0, UPDATE, "momentum factor (0)", "M", float)
    dampening: float = option(0.0, UPDATE, "dampening of the momentum (0)", "D", float)
    nesterov: bool = option(False, UPDATE, "use Nesterov momentum")
    weight_decay: float = option(0.0, UPDATE, "L2 penalty (0)", "W", float)
    max_norm: float | None = option(
        None, UPDATE, "clip the gradient of each network to this norm", "N", float
    )
    max_value: float | None = option(
        None, UPDATE, "clip each number of the gradient to ±C", "C", float
    )
    adagrad: bool = option(
        False, UPDATE, "divide by the root of the sum of the squared gradients so far"
    )
    text: str | None = option(
        None, SERIES, f"train a character-level language model on a text, with {AS_TEXT}", "FILE"
    )
    data: str | None = option(None, SERIES, DATA, "FILE")
    columns: tuple[str, ...] | None = option(
        None, SERIES, "columns by name or number from 1 (all)", "C[,...]", names
    )
    standardize: bool = option(
        False, SERIES, "train on (value - mean) / standard deviation of each column"
    )
    held_out: int = option(
        0, SERIES, "predict the last N rows, without training on them (0)", "N", whole(0)
    )
    weights: str | None = option(
        None, FILES, "initial weights, a file that --save of either package wrote", "FILE"
    )

    def check(self) -> None:
        """Raise InputError on options that exclude each other. `train` checks those of the run."""
        if self.columns is not None and self.data is None:
            raise InputError("--columns is given without --data: expected --data FILE too")
        if self.text is not None and self.loss != "cross_entropy":
            raise InputError(
                f"--text is given with --loss {self.loss}: expected cross_entropy; leave --loss out"
            )
        of_series = "data", "columns", "standardize", "held_out", "networks"
        pairs = [("weights", "networks"), *(("text", name) for name in of_series)]
        if self.loss == "cross_entropy":
            pairs.append(("loss", "standardize"))
        for one, other in pairs:
            if getattr(self, one) and getattr(self, other):
                given = f"{option_name(one)} and {option_name(other)}"
                raise InputError(f"{given} are both given: expected one of the two; leave one out")

    def run_options(self) -> RunOptions:
        """The options of `train`."""
        values = vars(self)

        def record(kind: Any) -> Any:
            return kind(**{name: values[name] for name in kind._fields})

        return RunOptions(record(Schedule), record(Objective), record(Step))

    def to_dict(self) -> dict[str, Any]:
        """The values by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Configuration":
        """The inverse of `to_dict`, after a round trip through JSON.

        Raises TypeError on unknown names, and InputError on values that no option gives.
        """
        loaded: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
        }
        configuration = cls(**loaded)
        for each in fields(cls):
            if not _can_give(each, value := getattr(configuration, each.name)):
                raise InputError(
                    f"{each.name} is {short_repr(value, repr)}: expected a value of {option_name(each.name)}"
                )
        return configuration


def _can_give(option: Field[Any], value: Any) -> bool:
    """Whether this is the default of an option, or a value that it parses from its words."""
    details = option.metadata["details"]
    if value is None or "action" in details:
        return isinstance(value, bool) or (value is None and option.default is None)
    words = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    with suppress(ValueError, ArgumentTypeError):
        parsed = words if "choices" in details else details["type"](words)
        return (
            type(parsed) is type(value)
            and parsed == value
            and words in details.get("choices", [words])
        )
    return False
