"""The options of a run: each one's name, type, default, limits and help text, stated once.

The fields of `Configuration` are the options. The command line, the checks and the run files are made from them.
"""

from collections.abc import Iterator
from dataclasses import Field, asdict, dataclass, field, fields, replace
from math import isfinite
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.common.windows import windows

NONLINEARITIES, REDUCTIONS = ("tanh", "relu", "sigmoid"), ("sum", "mean")
LOSSES = ("squared_error", "cross_entropy")
HIDDEN_SIZE = 6  # if neither the option nor a weights file gives it
RUN, UPDATE, SERIES, FILES, OUTPUT = (
    "run",
    "update (as in torch.optim.SGD and clip_grad_norm_)",
    "series",
    "files",
    "output",
)
GROUPS = (RUN, UPDATE, SERIES, FILES, OUTPUT)  # in the order of --help
SGD = SgdOptions()
READABLE = ".csv, .tsv, .txt or .npy"
STANDARD_INPUT = "-"


# With --text. Of these, hidden size and biases may also come from --weights, and other options may exclude them.
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
COMPARED_EPOCHS = 1  # of `compare` with --text: it keeps all numbers of every update


def options_in_words(values: dict[str, Any]) -> str:
    """The options as they are written on the command line."""
    words = ((f"--{name.replace('_', '-')}", "" if value is True else f" {value}") for name, value in values.items())
    return " ".join(name + value.removesuffix(".0") for name, value in words)


class Option(NamedTuple):
    """What the command line says about a field, besides its name, type and default."""

    group: str
    help: str
    metavar: str | None = None  # None: a flag, or choices
    minimum: int | float | None = None
    maximum: int | None = None
    is_positive: bool = False  # above 0
    choices: tuple[str, ...] | None = None
    default_text: str | None = None  # the default in words, if its value does not say it; empty: none is mentioned
    name: str | None = None  # of the option, if it is not that of the field
    commands: tuple[str, ...] = ("train", "compare", "study")
    is_negatable: bool = False  # a flag with a --no- form, as flags without a default have

    def default_in_help(self, default: Any) -> str:
        """The default in parentheses, or nothing."""
        text = self.default_text
        if text is None:
            text = "" if default is None or isinstance(default, bool) else str(default)
            text = text.removesuffix(".0")
        return f" ({text})" if text else ""


def option(default: Any, group: str, help: str, metavar: str | None = None, **details: Any) -> Any:
    """A dataclass field that is an option of the command line."""
    return field(default=default, metadata={"option": Option(group, help, metavar, **details)})


def options_of(cls: type) -> Iterator[tuple[Field, Option]]:
    """The fields of a dataclass that are options, with what the command line says about them."""
    return ((f, f.metadata["option"]) for f in fields(cls) if "option" in f.metadata)


def option_name(field: Field) -> str:
    """The option of a field, such as --hidden-size."""
    return "--" + (field.metadata["option"].name or field.name.replace("_", "-"))


@dataclass(frozen=True)
class Configuration:
    """One run. The defaults are the default experiment: one point at a time, 300 epochs over a sine wave.

    None means that a weights file decides, or else the default in the help text.
    """

    epochs: int = option(300, RUN, "passes over the series", "N", minimum=0)
    hidden_size: int | None = option(
        None, RUN, "hidden units", "H", minimum=1, default_text=f"{HIDDEN_SIZE}, or as in --weights"
    )
    k1: int = option(1, RUN, "new steps per update", "STEPS", minimum=1)
    k2: int = option(
        1,
        RUN,
        "length of the window that the gradient covers, including the new steps",
        "STEPS",
        minimum=1,
        default_text="k1",
    )
    loss: str = option(
        "squared_error",
        RUN,
        "loss; cross_entropy is for series whose rows are distributions, and for --text",
        choices=LOSSES,
        commands=("train", "compare"),
    )
    nonlinearity: str = option("tanh", RUN, "activation of the hidden units", choices=NONLINEARITIES)
    reduction: str = option("sum", RUN, "reduction of the loss over the steps of a window", choices=REDUCTIONS)
    bias: bool | None = option(None, RUN, "train biases", default_text="no, or as in --weights")
    learn_initial_state: bool | None = option(
        None, RUN, "train the hidden state that every epoch starts from", default_text="no, or as in --weights"
    )
    dtype: str | None = option(
        None, RUN, "floating-point type", choices=DTYPES, default_text="float32, or as in --weights"
    )
    seed: int = option(0, RUN, "seed of the initial weights", "N", minimum=0)
    networks: int | None = option(
        None,
        RUN,
        "train N networks at once, with seeds from --seed on; report the median and a band",
        "N",
        minimum=1,
        name="seeds",
        commands=("train", "compare"),
    )
    learning_rate: float | tuple[float, ...] = option(
        0.1,
        UPDATE,
        "learning rate; several, separated by commas, train one network each, all at once",
        "RATE[,RATE...]",
        minimum=0,
    )
    momentum: float = option(SGD.momentum, UPDATE, "momentum factor", "M", minimum=0)
    dampening: float = option(SGD.dampening, UPDATE, "dampening of the momentum", "D", minimum=0)
    nesterov: bool = option(SGD.nesterov, UPDATE, "use Nesterov momentum")
    weight_decay: float = option(SGD.weight_decay, UPDATE, "L2 penalty", "W", minimum=0)
    max_norm: float | None = option(
        SGD.max_norm,
        UPDATE,
        "clip the gradient of each network to this global norm",
        "N",
        is_positive=True,
        default_text="no clipping",
    )
    max_value: float | None = option(
        SGD.max_value,
        UPDATE,
        "clip each number of the gradient to this absolute value",
        "C",
        is_positive=True,
        default_text="no clipping",
        commands=("train", "compare"),
    )
    adagrad: bool = option(
        SGD.adagrad,
        UPDATE,
        "use Adagrad: divide by the root of the sum of the squared gradients so far",
        commands=("train", "compare"),
        is_negatable=True,
    )
    text: str | None = option(
        None,
        SERIES,
        f"train a character-level language model on this UTF-8 text; {STANDARD_INPUT} reads standard input. Unless they"
        f" are given, the options of the run are then those of min-char-rnn: {options_in_words(TEXT)}",
        "FILE",
        commands=("train", "compare"),
    )
    data: str | None = option(
        None,
        SERIES,
        f"{READABLE}: one row per time step, one column per feature; {STANDARD_INPUT} reads standard input (the sine"
        " wave). An .npy file is memory-mapped: do not change it during the run, as the system kills a process that"
        " reads beyond the end of a mapped file",
        "FILE",
    )
    columns: tuple[str, ...] | None = option(
        None, SERIES, "columns of --data, by name or by number from 1", "C[,C...]", default_text="all"
    )
    standardize: bool = option(False, SERIES, "train on (value - mean) / standard deviation of each column")
    held_out: int = option(
        0,
        SERIES,
        "do not train on the last N rows; predict them, both one step ahead and free-running",
        "N",
        minimum=0,
        commands=("train",),
    )
    weights: str | None = option(
        None, FILES, "initial weights, an .npz file that --save of either package wrote", "FILE"
    )

    def check(self) -> None:
        """Raise InputError on a value that no run can have."""
        windows(1, self.k1, self.k2)
        self.sgd_options().check()
        for each, option in options_of(Configuration):
            value, name = getattr(self, each.name), each.name.replace("_", " ")
            if value is None or isinstance(value, tuple):
                continue
            if option.choices is not None and value not in option.choices:
                raise InputError(f"{name} is {value!r}: expected {' or '.join(option.choices)}")
            if isinstance(value, int) and option.minimum is not None and value < option.minimum:
                raise InputError(f"{name} is {value}: expected {option.minimum} or more")
        if self.learning_rate == ():
            raise InputError("there is no learning rate: expected one or more")
        for rate in self.learning_rate if isinstance(self.learning_rate, tuple) else (self.learning_rate,):
            if not (isfinite(rate) and rate >= 0):
                raise InputError(f"the learning rate is {rate}: expected a finite number, 0 or more")
        if self.columns is not None and self.data is None:
            raise InputError("--columns is given without --data: expected --data FILE too")
        if self.weights is not None and self.networks is not None:
            raise InputError("--weights and --seeds are both given: expected one of the two; leave one out")
        if self.text is not None:
            self._check_text()
        elif self.loss == "cross_entropy" and self.standardize:
            raise InputError(
                "--standardize is given with --loss cross_entropy: expected rows that are distributions; leave one out"
            )

    def _check_text(self) -> None:
        """Raise InputError on options that a language model does not have."""
        given = {
            "--data": self.data,
            "--columns": self.columns,
            "--standardize": self.standardize,
            "--held-out": self.held_out,
            "--seeds": self.networks,
            "several learning rates": self.rates(),
        }
        for name, value in given.items():
            if value:
                raise InputError(f"--text is given with {name}: expected one network on one text; leave {name} out")
        if self.loss != "cross_entropy":
            raise InputError(
                f"--text is given with --loss {self.loss}: expected cross_entropy, as characters are classes"
            )

    def rates(self) -> tuple[float, ...]:
        """The learning rates of a sweep; empty for a run with one rate."""
        return self.learning_rate if isinstance(self.learning_rate, tuple) else ()

    def sgd_options(self) -> SgdOptions:
        """Momentum, Adagrad, weight decay and clipping."""
        return SgdOptions(*(getattr(self, name) for name in SgdOptions._fields))

    def train_options(self) -> dict:
        """The keyword arguments of `train`. Of a sweep over R rates, the rates have shape (R,), with seeds (R, 1)."""
        names = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction", "loss")
        options = {name: getattr(self, name) for name in names} | self.sgd_options()._asdict()
        if self.rates():
            rates = np.array(self.rates())
            options["learning_rate"] = rates if self.networks is None else rates[:, None]
        return options

    def to_dict(self) -> dict:
        """The values by name, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Configuration":
        """The inverse of `to_dict`, also after a round trip through JSON. Raises TypeError on unknown names and on
        values of the wrong type.
        """
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        check_kinds(cls, values)
        return cls(**values)

    def changed(self, **values) -> "Configuration":
        """A copy with other values."""
        return replace(self, **values)


def check_kinds(cls, values: dict) -> None:
    """Raise TypeError on a value that does not have the type that the class declares for its name."""
    kinds = get_type_hints(cls)
    for name, value in values.items():
        if name in kinds and not _is_a(value, kinds[name]):
            raise TypeError(f"{name} is {value!r}")


def _is_a(value, kind) -> bool:
    """isinstance, for the types that a configuration has; True and False are not numbers."""
    if isinstance(kind, UnionType):
        return any(_is_a(value, one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_a(part, get_args(kind)[0]) for part in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)
