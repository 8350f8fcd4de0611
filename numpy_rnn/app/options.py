"""The options of all commands: one table, the parser that is made from it, and their
values.
"""

import argparse
import sys
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.checks import check_positive, check_schedule
from numpy_rnn.common.errors import InputError, check_integer
from numpy_rnn.common.packages import __version__
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step

ALL, TRAINED = "train compare study", "train compare"

# By group of --help: name, also of the record's field; type, which may be a tuple of
# choices, bool (--name or --no-name), or None, a flag; default; help; commands with the
# option, if not all.
TABLE: dict[str, list[tuple[Any, ...]]] = {
    "run": [
        ("epochs", int, 300, "passes over the series"),
        ("hidden_size", int, None, "hidden units (6, or as in --weights)"),
        ("k1", int, 1, "new steps per update"),
        ("k2", int, None, "steps that the gradient covers, with the new ones (k1)"),
        ("nonlinearity", records.NONLINEARITY_NAMES, "tanh", "of the hidden units"),
        ("reduction", records.REDUCTION_NAMES, "sum", "of the losses of an update"),
        ("bias", bool, None, "train biases (no, or as in --weights)"),
        ("dtype", records.DTYPES, None, "of all numbers (float32, or as in --weights)"),
        ("seed", int, 0, "seed of the initial weights"),
        (
            "networks",
            int,
            None,
            "number of networks, with consecutive seeds from --seed",
            TRAINED,
        ),
        ("seeds", int, 32, "networks, for the bands", "study"),
    ],
    "update, as in torch.optim.SGD": [
        ("learning_rate", float, 0.1, "learning rate"),
        ("momentum", float, 0.0, "momentum factor"),
        ("dampening", float, 0.0, "dampening of the momentum"),
        ("nesterov", bool, False, "use Nesterov momentum"),
        ("weight_decay", float, 0.0, "L2 penalty"),
        ("max_norm", float, None, "clip the gradient of each network to this norm"),
        (
            "max_value",
            float,
            None,
            "clip each number of the gradient to ± this",
            TRAINED,
        ),
        (
            "adagrad",
            bool,
            False,
            "divide by the root of the sum of squares so far",
            TRAINED,
        ),
    ],
    "series": [
        (
            "data",
            str,
            None,
            "text file of numbers, a row per time step (the sine wave)",
        ),
        ("columns", str, None, "names or numbers from 1, separated by commas (all)"),
        ("standardize", bool, False, "train on (value - mean) / standard deviation"),
        (
            "held_out",
            int,
            0,
            "rows at the end to predict, but not to train on",
            "train",
        ),
        ("steps", int, None, "steps at the start to study (all, at most 40)", "study"),
        (
            "text",
            str,
            None,
            "train a character model, by default that of min-char-rnn",
            TRAINED,
        ),
        ("sample", int, 200, "characters of a sample of the model", "train"),
        ("temperature", float, 1.0, "divide the outputs of a sample by this", "train"),
    ],
    "files and output": [
        ("weights", str, None, "start from the weights and the velocity of a file"),
        ("save", str, None, "save them as .npz, at the end or after Ctrl-C", "train"),
        ("output", str, None, "write losses and predictions as .csv", "train"),
        (
            "plot",
            str,
            None,
            "plot: .png, .pdf, .svg or .jpg (named after the command)",
            TRAINED,
        ),
        ("no_plot", None, False, "do not plot", TRAINED),
        (
            "log_every",
            int,
            None,
            "epochs, or updates of a text, between printed lines",
            TRAINED,
        ),
        ("port_timeout", float, 10.0, "seconds for one answer of a port", "compare"),
        ("folder", str, "study", "folder of the pages", "study"),
        ("quiet", None, False, "print only warnings and errors"),
    ],
}
DEFAULTS = {name: default for rows in TABLE.values() for name, _, default, *_ in rows}
DEFAULTS["loss"] = "squared_error"
RUN = [
    "weights",
    "loss",
    *(name for rows in list(TABLE.values())[:3] for name, *_ in rows),
]

# Defaults of a text, those of min-char-rnn, unless an option is given that replaces
# them.
TEXT = {"hidden_size": 100, "loss": "cross_entropy", "k1": 25, "k2": 25, "bias": True}
TEXT |= {"max_value": 5.0, "adagrad": True}
REPLACED = {"hidden_size": "weights", "bias": "weights", "max_value": "max_norm"}
REPLACED |= {"adagrad": "momentum"}
NEEDS = {"columns": "data", "sample": "text", "temperature": "text"}
EXCLUDE = {"weights": ["networks", "hidden_size", "bias", "dtype"], "plot": ["no_plot"]}
EXCLUDE["text"] = ["data", "standardize", "held_out", "networks", "plot"]
LEAST = {"hidden_size": 1, "networks": 1, "held_out": 0, "sample": 0, "log_every": 1}
LEAST |= {"steps": 3, "seeds": 2}

ABOUT = {
    "train": "Train an Elman network to predict the next row of a series, or "
    "character of a text."
    " Other commands, with --help: compare, study (numpy_rnn), audit "
    "(torch_rnn). Exit status: 0; 1"
    " if the run diverges; 2 if the input cannot be used; 130 after Ctrl-C.",
    "compare": "Check every update of implementations against rounding bounds; status 1"
    " if one is wrong. OTHER: a package, a port as module:object, a program, or "
    "a trace file.",
    "study": (
        "Write two pages about the gradient of a run: lesson.html and evidence.html."
    ),
}


def option_name(name: str) -> str:
    """The option of an attribute, such as --hidden-size."""
    return "--seeds" if name == "networks" else "--" + name.replace("_", "-")


class Configuration(SimpleNamespace):
    """The values of all options; `given` names those of the run that were given.

    Raises InputError on options that do not go together. `train` checks the others of
    the run.
    """

    def __init__(
        self, command: str = "train", others: Iterable[str] = (), **given: Any
    ):
        values = dict(DEFAULTS)
        if given.get("text") is not None:
            values |= {
                name: v for name, v in TEXT.items() if REPLACED.get(name) not in given
            }
            values["epochs"] = (
                1 if command == "compare" else 100
            )  # it keeps all numbers
        values["k2"] = given.get("k1", values["k2"] or values["k1"])
        super().__init__(command=command, others=others, **values | given)
        self.given = [name for name in RUN if name in given]
        for name in given:
            if (needed := NEEDS.get(name, name)) not in given:
                raise InputError(
                    f"{option_name(name)} needs {option_name(needed)}: give both"
                )
            for other in EXCLUDE.get(name, []):
                if other in given:
                    both = f"{option_name(name)} and {option_name(other)}"
                    raise InputError(f"{both} are both given: leave one of them out")
            if name in LEAST:
                check_integer(option_name(name), given[name], LEAST[name])
            if name in ("temperature", "port_timeout"):
                check_positive(option_name(name), given[name])
        check_schedule(self.run_options().schedule)

    def run_options(self) -> RunOptions:
        """The options of `train`."""
        names = (*Schedule._fields, *Objective._fields, *Step._fields)
        return RunOptions.from_keywords(**{name: getattr(self, name) for name in names})


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError with a message of one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def parser(package: str, command: str) -> Parser:
    """The parser of one command. Options that are not given are not in its result."""
    made = Parser(
        f"python -m {package} {command}",
        description=ABOUT[command],
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    if command == "compare":
        made.add_argument(
            "others", metavar="OTHER", nargs="+", help="an implementation"
        )
    version = (
        f"{package} {__version__} (Python {sys.version.split()[0]}, NumPy "
        f"{np.__version__}"
    )
    torch = sys.modules.get("torch")
    version += ")" if torch is None else f", torch {torch.__version__})"
    made.add_argument(
        "--version", action="version", version=version, help="print the versions"
    )
    for group, rows in TABLE.items():
        section = made.add_argument_group(group)
        for name, kind, default, help, *commands in rows:
            if command not in "".join(commands or [ALL]):
                continue
            details: dict[str, Any] = {"type": kind}
            if isinstance(kind, tuple):
                details = {"choices": kind}
            elif kind is bool or kind is None:
                details = {
                    "action": argparse.BooleanOptionalAction if kind else "store_true"
                }
            if default is not None and default is not False:
                help += f" ({default})"
            section.add_argument(option_name(name), dest=name, help=help, **details)
    return made


def parse(
    package: str, words: list[str], commands: Iterable[str] = tuple(ABOUT)
) -> Configuration:
    """Parse a command line: a command, "train" unless it is named, and its options."""
    command, *rest = (
        words if words and not words[0].startswith("-") else ["train", *words]
    )
    if command not in (known := dict.fromkeys(["train", *commands])):
        raise InputError(f"unknown command {command!r}: expected {' or '.join(known)}")
    own = parser(package, command)
    if any(
        word.endswith("=--") for word in rest
    ):  # argparse of Python 3.11 drops this value
        own.error("-- is no value")
    return Configuration(command, **vars(own.parse_args(rest)))
