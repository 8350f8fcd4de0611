"""The options of all commands: one table, the parsers that are made from it, and the
values of a command line.
"""

import argparse
import sys
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from numpy_rnn.common import records
from numpy_rnn.common.checks import check_schedule
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_integer, check_positive
from numpy_rnn.common.packages import __version__
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.common.texts import nearest_name


class Command(NamedTuple):
    """A command of the command line."""

    help: str  # one line of `--help`
    package: str = ""  # the only one that has it; "" for both
    details: str = ""  # more, in the help of the command


COMMANDS = {
    "train": Command(
        "train a network and predict its series or text; also without a command",
        details=" Exit status: 0; 1 if the run diverges; 2 if the input cannot be used;"
        " 130 after Ctrl-C.",
    ),
    "compare": Command(
        "check every update of implementations against rounding bounds",
        details=". OTHER: a package, such as torch_rnn; a port of your own, as"
        " module:object; a program; or a trace file. Exit status: 0; 1 if one is wrong;"
        " 2 if the input cannot be used.",
    ),
    "study": Command("write two pages about the gradient of a run", "numpy_rnn"),
    "lesson": Command("open the lesson in a browser", "numpy_rnn"),
    "audit": Command("report which training a PyTorch script does", "torch_rnn"),
}
TRAINING = ("train", "compare")
RUNS = (*TRAINING, "study")


def number_or_none(text: str) -> float | None:
    """Convert the value of an option that "none" turns off."""
    return None if text == "none" else float(text)


class Option(NamedTuple):
    """An option, and the attribute of a Configuration that has its value."""

    name: str  # of the attribute, and of a record's field
    kind: Any  # a type, a tuple of choices, bool (--name, --no-name), or None, a flag
    default: Any
    help: str
    commands: tuple[str, ...] = RUNS

    @property
    def flag(self) -> str:
        """The option as it is typed."""
        return option_name(self.name)


# By group of --help.
TABLE = {
    "run": [
        Option("epochs", int, 300, "passes over the series"),
        Option("hidden_size", int, None, "hidden units (6, or as in --weights)"),
        Option("k1", int, 1, "new steps per update"),
        Option("k2", int, None, "steps that the gradient covers, with the new (k1)"),
        Option("nonlinearity", records.NONLINEARITY_NAMES, "tanh", "of the units"),
        Option("reduction", records.REDUCTION_NAMES, "sum", "of the losses"),
        Option("bias", bool, None, "train biases (no, or as in --weights)"),
        Option("dtype", records.DTYPES, None, "of numbers (float32, or of --weights)"),
        Option("seed", int, 0, "seed of the initial weights"),
        Option("seeds", int, None, "networks, with consecutive seeds from --seed"),
    ],
    "update, as in torch.optim.SGD": [
        Option("learning_rate", float, 0.1, "learning rate"),
        Option("momentum", float, 0.0, "momentum factor"),
        Option("dampening", float, 0.0, "dampening of the momentum"),
        Option("nesterov", bool, False, "use Nesterov momentum"),
        Option("weight_decay", float, 0.0, "L2 penalty"),
        Option("max_norm", number_or_none, None, "largest norm of a gradient, or none"),
        Option(
            "max_value",
            number_or_none,
            None,
            "clip each number of the gradient to ± this, or none",
            TRAINING,
        ),
        Option(
            "adagrad",
            bool,
            False,
            "divide by the root of the sum of squares so far",
            TRAINING,
        ),
    ],
    "series": [
        Option("data", str, None, "file of numbers, a row per step (the sine wave)"),
        Option("columns", str, None, "names or numbers from 1, with commas (all)"),
        Option("standardize", bool, False, "train on (value - mean) / deviation"),
        Option(
            "held_out",
            int,
            0,
            "rows at the end to predict, but not to train on",
            ("train",),
        ),
        Option("steps", int, None, "first steps to study (all, up to 40)", ("study",)),
        Option("text", str, None, "train a character model of a text", TRAINING),
        Option("sample", int, 200, "characters of a sample of the model", ("train",)),
        Option("temperature", float, 1.0, "divides the outputs of it", ("train",)),
    ],
    "files and output": [
        Option("weights", str, None, "start from the weights and velocity of a file"),
        Option("save", str, None, "save them as .npz, also after Ctrl-C", ("train",)),
        Option("output", str, None, "write losses, predictions as .csv", ("train",)),
        Option("plot", str, None, "file of the plot (COMMAND.png)", TRAINING),
        Option("no_plot", None, False, "do not plot", TRAINING),
        Option(
            "log_every",
            int,
            None,
            "epochs, or updates of a text, between printed lines",
            ("train",),
        ),
        Option("timeout", float, 10.0, "seconds for an answer of a port", ("compare",)),
        Option("folder", str, "study", "folder of the pages", ("study",)),
        Option("quiet", None, False, "print only warnings and errors"),
    ],
}
OPTIONS = [option for options in TABLE.values() for option in options]
DEFAULTS = {option.name: option.default for option in OPTIONS}
DEFAULTS["loss"] = "squared_error"
# The options that describe a run: not those of its files, but for the weights.
RUN = [option.name for group in list(TABLE)[:3] for option in TABLE[group]]
RUN += ["weights", "loss"]

# Defaults of a text, those of min-char-rnn, and of data.
TEXT = {"hidden_size": 100, "loss": "cross_entropy", "k1": 25, "k2": 25, "bias": True}
TEXT |= {"max_value": 5.0, "adagrad": True, "epochs": 100}
DATA = {"standardize": True, "hidden_size": 8, "bias": True, "reduction": "mean"}
DATA |= {"k1": 10, "k2": 10, "learning_rate": 0.01, "momentum": 0.9, "max_norm": 1.0}
DATA |= {"epochs": 200}
RECORDED_EPOCHS = {"text": 1, "data": 10}  # of `compare`, which keeps all numbers
# Options that take the place of these defaults.
REPLACED = {"hidden_size": "weights", "bias": "weights", "adagrad": "momentum"}
REPLACED |= {"momentum": "adagrad", "max_value": "max_norm", "max_norm": "max_value"}
NEEDS = {"columns": "data", "sample": "text", "temperature": "text"}
EXCLUDE = {"weights": ["seeds", "hidden_size", "bias", "dtype"], "plot": ["no_plot"]}
EXCLUDE["text"] = ["data", "standardize", "held_out", "seeds"]
LEAST = {"hidden_size": 1, "seeds": 1, "held_out": 0, "sample": 0, "log_every": 1}
LEAST |= {"steps": 3}


def option_name(name: str) -> str:
    """Return the option of an attribute, such as --hidden-size."""
    return "--" + name.replace("_", "-")


def option_words(name: str, value: Any) -> str:
    """Return an option and its value as they are typed."""
    if value is True:
        return option_name(name)
    if value is False:
        return option_name("no_" + name)
    shown = "none" if value is None else value
    return f"{option_name(name)} {shown}"


class Configuration(SimpleNamespace):
    """The values of all options; `given` has those that were given.

    forced: defaults that what is compared needs, in place of the usual ones. Raises
    InputError on options that do not go together. `train` checks the others of the run.
    """

    def __init__(
        self,
        command: str = "train",
        others: Iterable[str] = (),
        forced: Mapping[str, Any] | None = None,
        **given: Any,
    ):
        defaults = defaults_of(command, given) | dict(forced or {})
        super().__init__(command=command, others=others, **defaults | given)
        self.given = given
        for name in given:
            needed = NEEDS.get(name, name)
            if needed not in given:
                message = f"{option_name(name)} needs {option_name(needed)}: give both"
                raise InputError(message)
            for other in EXCLUDE.get(name, []):
                is_band = command == "study" and other == "seeds"
                if other in given and not is_band:
                    both = f"{option_name(name)} and {option_name(other)}"
                    raise InputError(f"{both} are both given: leave one of them out")
            if name in LEAST:
                least = LEAST[name]
                if command == "study" and name == "seeds":
                    least = 2  # for the bands
                check_integer(option_name(name), given[name], least)
            if name in ("temperature", "timeout"):
                check_positive(option_name(name), given[name])
        check_schedule(self.run_options().schedule)

    def run_options(self) -> RunOptions:
        """Return the options of `train`."""
        names = (*Schedule._fields, *Objective._fields, *Step._fields)
        for name in names:
            if name not in DEFAULTS:
                raise InputError(f"{name} has no option: add it to TABLE of options.py")
        return RunOptions.from_keywords(**{name: getattr(self, name) for name in names})


def defaults_of(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a command, which depend on the options that are given."""
    values = dict(DEFAULTS)
    if command == "study":
        values["seeds"] = 32
    for source, own in (("text", TEXT), ("data", DATA)):
        if source not in given or command == "study":
            continue
        for name, value in own.items():
            if REPLACED.get(name) not in given:
                values[name] = value
        if command == "compare":
            values["epochs"] = RECORDED_EPOCHS[source]
    if "k1" in given or values["k2"] is None:
        values["k2"] = given.get("k1", values["k1"])
    values["k1"] = min(values["k1"], given.get("k2", values["k1"]))
    return values


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError with a message of one line."""

    def error(self, message: str) -> NoReturn:
        """Raise the error."""
        raise InputError(f"{message}; see {self.prog} --help")


def program(package: str) -> str:
    """Return the name of the script of a package."""
    return package.replace("_", "-")


def commands_of(package: str) -> list[str]:
    """Return the names of the commands of a package."""
    return [name for name, each in COMMANDS.items() if each.package in ("", package)]


def parsers(package: str) -> tuple[Parser, dict[str, Parser]]:
    """Return the parser of a package, and those of its commands.

    Options that are not given are not in their results.
    """
    versions = [f"Python {sys.version.split()[0]}", f"NumPy {np.__version__}"]
    if "torch" in sys.modules:
        versions.append(f"torch {sys.modules['torch'].__version__}")
    version = f"{package} {__version__} ({', '.join(versions)})"
    main = Parser(
        program(package),
        description="An Elman network: training, and checks of its gradients.",
        epilog=f"`{program(package)} COMMAND --help` lists the options of a command.",
    )
    main.add_argument(
        "--version", action="version", version=version, help="print the versions"
    )
    section = main.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    made = {}
    for name in commands_of(package):
        about = COMMANDS[name]
        description = about.help[0].upper() + about.help[1:]
        made[name] = section.add_parser(
            name,
            help=about.help,
            description=description + about.details,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )
        add_options(made[name], name)
    return main, made


def add_options(parser: Parser, command: str) -> None:
    """Add the options of a command to its parser."""
    if command == "compare":
        parser.add_argument("others", metavar="OTHER", nargs="+", help="implementation")
    for group, options in TABLE.items():
        own = [option for option in options if command in option.commands]
        section = parser.add_argument_group(group)
        for option in own:
            text, details = option.help, dict[str, Any]()
            if option.kind is None:
                details["action"] = "store_true"
            elif option.kind is bool:
                details["action"] = argparse.BooleanOptionalAction
            elif isinstance(option.kind, tuple):
                details["choices"] = option.kind
            else:
                details["type"] = option.kind
            if option.default not in (None, False):
                text += f" ({option.default})"
            section.add_argument(option.flag, dest=option.name, help=text, **details)


def check_command(package: str, command: str) -> None:
    """Raise InputError unless the package has the command."""
    if command in commands_of(package):
        return
    if command in COMMANDS:
        there = program(COMMANDS[command].package)
        raise InputError(f"{command} is a command of {there}: type {there} {command}")
    meant = nearest_name(command, COMMANDS)
    advice = f" (did you mean {meant}?)" if meant else ""
    message = f"there is no command {command!r}{advice}"
    raise InputError(f"{message}; see {program(package)} --help")


def parse(package: str, words: list[str]) -> Configuration:
    """Parse a command line: a command, "train" unless it is named, and its options."""
    if not words or words[0].startswith("-"):
        if words[:1] not in (["-h"], ["--help"], ["--version"]):
            words = ["train", *words]
    else:
        check_command(package, words[0])
    main, own = parsers(package)
    values, unknown = main.parse_known_args(words)
    parser = own[values.command]
    for word in words:
        if word.endswith("=--"):  # argparse of Python 3.11 drops this value
            parser.error("-- is no value")
    if unknown:
        word = unknown[0].partition("=")[0]
        names = [each.name for each in OPTIONS if values.command in each.commands]
        meant = nearest_name(word.strip("-").replace("-", "_"), names)
        advice = f" (did you mean {option_name(meant)}?)" if meant else ""
        parser.error(f"there is no option {word}{advice}")
    return Configuration(**vars(values))
