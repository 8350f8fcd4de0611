"""The options of all commands: one table, the parsers that are made from it, and the
values of a command line.
"""

import argparse
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from numpy_rnn.common.checks import check_schedule
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import check_positive
from numpy_rnn.common.records import (
    DTYPES,
    NONLINEARITY_NAMES,
    REDUCTION_NAMES,
    Objective,
    RunOptions,
    Schedule,
    Step,
)
from numpy_rnn.common.texts import nearest_name
from numpy_rnn.common.version import __version__

COMMAND_HELP = {
    "train": "train a network and predict its series or text; also without a command",
    "compare": "check every update of implementations against rounding bounds",
    "study": "write two pages about the gradient of a run",
    "lesson": "open the lesson in a browser",
    "audit": "report which training a PyTorch script does",
}
ONLY_IN = {"study": "numpy-rnn", "lesson": "numpy-rnn", "audit": "torch-rnn"}
TRAINING = ("train", "compare")
RUNS = (*TRAINING, "study")
STATUS = (
    "Exit status: 0; 1 if a run diverges or an implementation is wrong; 2 if the input"
    " cannot be used; 130 after Ctrl-C."
)


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


# By group of --help.
OPTION_GROUPS = {
    "run": [
        Option("epochs", int, 300, "passes over the series"),
        Option("hidden_size", int, 6, "hidden units"),
        Option("k1", int, 1, "new steps per update"),
        Option("k2", int, None, "steps that the gradient covers, with the new (k1)"),
        Option("nonlinearity", NONLINEARITY_NAMES, "tanh", "of the units"),
        Option("reduction", REDUCTION_NAMES, "sum", "of the losses"),
        Option("bias", bool, False, "train biases"),
        Option("dtype", DTYPES, "float32", "of numbers"),
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
        Option(
            "steps",
            int,
            None,
            "first steps to study (all, up to 40) or to compare (up to 1000)",
            ("study", "compare"),
        ),
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
            10,
            "epochs, or updates of a text, between printed lines",
            ("train",),
        ),
        Option("timeout", float, 10.0, "seconds for an answer of a port", ("compare",)),
        Option("folder", str, "study", "folder of the pages", ("study",)),
    ],
}
ALL_OPTIONS = [option for options in OPTION_GROUPS.values() for option in options]
DEFAULTS = {option.name: option.default for option in ALL_OPTIONS}
DEFAULTS["loss"] = "squared_error"
# Defaults of a text, those of min-char-rnn, and of data.
DEFAULTS_OF = {
    "text": {
        "hidden_size": 100,
        "loss": "cross_entropy",
        "k1": 25,
        "k2": 25,
        "bias": True,
        "max_value": 5.0,
        "adagrad": True,
        "epochs": 100,
        "log_every": 1000,
    },
    "data": {
        "standardize": True,
        "hidden_size": 8,
        "bias": True,
        "reduction": "mean",
        "k1": 10,
        "k2": 10,
        "learning_rate": 0.01,
        "momentum": 0.9,
        "max_norm": 1.0,
        "epochs": 200,
    },
}
DEFAULTS_OF_COMMAND = {
    "study": {"seeds": 32},
    "compare": {"steps": 1000},  # judging a text takes a while
}
RECORDED_EPOCHS = {"text": 1, "data": 10}  # of `compare`, which keeps all numbers
EXCLUDED = {
    "weights": ("hidden_size", "bias", "dtype", "seeds"),  # the file has them
    "text": ("data", "standardize", "held_out", "seeds"),
    "plot": ("no_plot",),
    "save": ("seeds",),
}
NEEDED = {"columns": "data", "sample": "text", "temperature": "text"}


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
        values = defaults_of(command, given) | dict(forced or {}) | given
        super().__init__(command=command, others=others, given=given, **values)
        for name, others in EXCLUDED.items():
            for other in others:
                is_study = command == "study" and other == "seeds"
                if given.keys() >= {name, other} and not is_study:
                    both = f"{option_name(name)} and {option_name(other)}"
                    raise InputError(f"{both} are both given: leave one of them out")
        for name, other in NEEDED.items():
            if name in given and other not in given:
                raise InputError(f"--{name} is given without --{other}: give both")
        for name in ("temperature", "timeout", "steps", "seeds", "log_every"):
            if name in given:
                check_positive(option_name(name), given[name])
        check_schedule(self.run_options().schedule)

    def run_options(self) -> RunOptions:
        """Return the options of `train`."""
        names = (*Schedule._fields, *Objective._fields, *Step._fields)
        for name in names:
            if name not in DEFAULTS:
                raise InputError(
                    f"{name} has no option: add it to OPTION_GROUPS of app/options.py"
                )
        return RunOptions.from_keywords(**{name: getattr(self, name) for name in names})


def defaults_of(command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of a command.

    Parameters
    ----------
    command : str
        The command.
    given : mapping of str to object
        The options that are given: a text and data have defaults of their own, and
        one of k1 and k2 limits the other.

    Returns
    -------
    dict of str to object
        The value of every option.
    """
    values = dict(DEFAULTS)
    values |= DEFAULTS_OF_COMMAND.get(command, {})
    for source, own in DEFAULTS_OF.items():
        if source in given and command != "study":
            values |= own
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


def make_parser(program: str) -> tuple[Parser, dict[str, Parser]]:
    """Make the parsers of a script.

    Parameters
    ----------
    program : str
        The name of the script, numpy-rnn or torch-rnn.

    Returns
    -------
    main : Parser
        It prints the help, and dispatches to a command.
    commands : dict of str to Parser
        The parsers of the commands. Options that are not given are not in their
        results.
    """
    main = Parser(
        program,
        description="An Elman network: training, and checks of its gradients.",
        epilog=f"`{program} COMMAND --help` lists the options of a command. {STATUS}",
    )
    version = f"{program} {__version__}, NumPy {np.__version__}"
    main.add_argument("--version", action="version", version=version)
    section = main.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    made = {}
    for name, words in COMMAND_HELP.items():
        if ONLY_IN.get(name, program) == program:
            made[name] = section.add_parser(
                name,
                help=words,
                description=words,
                allow_abbrev=False,
                argument_default=argparse.SUPPRESS,
            )
            add_command_options(made[name], name)
    return main, made


def add_command_options(parser: Parser, command: str) -> None:
    """Add the options of a command to its parser."""
    if command == "compare":
        parser.add_argument(
            "others",
            metavar="OTHER",
            nargs="+",
            help="a package, such as torch_rnn; a port of your own, as module:object;"
            " a program; or a trace file",
        )
    for group, options in OPTION_GROUPS.items():
        section = parser.add_argument_group(group)
        for option in options:
            if command not in option.commands:
                continue
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
            flag = option_name(option.name)
            section.add_argument(flag, dest=option.name, help=text, **details)


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return advice in brackets, with the known name that is nearest; or ""."""
    meant = nearest_name(name, known)
    if meant is None:
        return ""
    return f" (did you mean {prefix}{meant.replace('_', '-')}?)"


def parse_command(package: str, words: list[str]) -> Configuration:
    """Parse a command line.

    Parameters
    ----------
    package : str
        The name of the package, whose commands are known.
    words : list of str
        A command, "train" unless it is named, and its options.

    Returns
    -------
    Configuration
        The values of all options.

    Raises
    ------
    InputError
        If a command or an option is unknown, with the nearest name; if a value is not
        of its kind; or if options do not go together.
    SystemExit
        After --help and --version.
    """
    program = package.replace("_", "-")
    main, own = make_parser(program)
    if not words or words[0].startswith("-"):
        if words[:1] not in (["-h"], ["--help"], ["--version"]):
            words = ["train", *words]
    elif words[0] not in own:
        name = words[0]
        if name in ONLY_IN:
            there = ONLY_IN[name]
            raise InputError(f"{name} is a command of {there}: type {there} {name}")
        main.error(f"there is no command {name!r}{nearest(name, COMMAND_HELP)}")
    values, unknown = main.parse_known_args(words)
    parser = own[values.command]
    for word in words:
        if word.endswith("=--"):  # argparse of Python 3.11 drops this value
            parser.error("-- is no value")
    if unknown:
        word = unknown[0].partition("=")[0]
        names = [each.name for each in ALL_OPTIONS if values.command in each.commands]
        advice = nearest(word.strip("-").replace("-", "_"), names, "--")
        parser.error(f"there is no option {word}{advice}")
    return Configuration(**vars(values))
