"""A parser of command lines with messages of one line, and parsers of single values."""

import argparse
import sys
from dataclasses import fields
from difflib import get_close_matches
from math import isfinite
from typing import Any, NoReturn

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.help_texts import OTHER, description, epilog, usage
from numpy_rnn.app.results import MOST_GENERATED
from numpy_rnn.app.series import READABLE, STANDARD_INPUT
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import versions
from numpy_rnn.common.records import DTYPES, SgdOptions


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError with one line, in words that do not depend on the version of Python."""

    commands: Any = None  # the action that chooses one, where there are some

    def add_subparsers(self, **options):
        """As in argparse; the commands are remembered."""
        self.commands = super().add_subparsers(**options)
        return self.commands

    def options_of(self, command) -> list[str]:
        """The names of the options of a command."""
        return list(self.commands.choices[command]._option_string_actions)

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        """As in argparse, without its special cases of `--` as a value."""
        words = list(sys.argv[1:] if args is None else args)
        for word in words:
            option, _, value = word.partition("=")
            if option.startswith("--") and value == "--":
                self.error(f"argument {option}: '--' is no value: expected another; a file of that name is ./--")
        parsed, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self._refuse(unknown, parsed)
        return parsed

    def error(self, message) -> NoReturn:
        """Raise InputError with the message and where to look for help."""
        raise InputError(f"{message}; see {self.prog} --help")

    def _check_value(self, action, value):
        """Called by argparse with every value of an option or a command that has choices."""
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        expected = f"{value!r}: expected {' or '.join(names)}{did_you_mean(str(value), names)}"
        if action is self.commands:
            self.error(f"unknown command {expected}")
        raise argparse.ArgumentError(action, expected)

    def _refuse(self, unknown, parsed):
        """Raise InputError about the first option that nobody knows, or else about the first word too many."""
        option = next((word.partition("=")[0] for word in unknown if word.startswith("--")), None)
        if self.commands is None:
            self.error(f"unexpected argument {unknown[0]!r}")
        command = parsed.command
        sub: Parser = self.commands.choices[command]
        if option is None:
            sub.error(f"unexpected argument {unknown[0]!r}")
        others = [name for name in self.commands.choices if option in self.options_of(name)]
        if others:
            sub.error(f"{option} is an option of the command {others[0]} and not of {command}")
        sub.error(f"unknown option {option}{did_you_mean(option, self.options_of(command))}")


def did_you_mean(word: str, names) -> str:
    """A question in parentheses that names what the word is most like, or nothing."""
    close = get_close_matches(word, list(names), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def whole_number(least, most=None):
    """A parser of whole numbers of at least this size, and of at most that one."""

    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            expected = f"{least} or more" if most is None else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, {expected}")
        return value

    return parse


def number(text, least=0.0, above=False):
    """A parser of finite numbers, of at least `least` or above it."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < least or (above and value == least):
        expected = f"above {least:g}" if above else f"{least:g} or more"
        raise argparse.ArgumentTypeError(f"{text!r}: expected a finite number, {expected}")
    return value


def positive(text):
    """A parser of finite numbers above 0."""
    return number(text, above=True)


def rates(text):
    """A parser of one learning rate, or of several with commas between them."""
    values = tuple(number(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def names(text):
    """A parser of names with commas between them."""
    return tuple(part.strip() for part in text.split(","))


COMMANDS = ("train", "compare")
ONLY_NUMPY = ("study",)  # of the gradient that is derived by hand
CHANGEABLE = ("epochs", "learning_rate", *SgdOptions._fields, "data")  # of a run that is resumed


class Version(argparse.Action):
    """Print the versions and exit with status 0."""

    def __init__(self, option_strings, dest, **_):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the versions and exit")

    def __call__(self, parser, *_):
        """The name of the package is the last word of what it is run by."""
        print(versions(parser.prog.removeprefix("python -m ").split()[0]))
        parser.exit()


def parser(name: str) -> Parser:
    """The parser for the package of this name."""
    other = {"numpy_rnn": "torch_rnn"}.get(name, "numpy_rnn")
    top = Parser(f"python -m {name}", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", metavar="command")
    known = COMMANDS + (ONLY_NUMPY if name == "numpy_rnn" else ())
    for command in known:
        sub = commands.add_parser(
            command,
            usage=usage(command, name),
            description=description(command, known),
            epilog=epilog(command, name, other),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if command == "compare":
            sub.add_argument("others", metavar="OTHER", nargs="+", help=OTHER.format(other=other))
        sub.add_argument("--version", action=Version)
        _add_options(sub, name, command)
    return top


def _add_options(sub, name, command):
    """The options of a run are None where they are not given; Configuration has the defaults."""
    flag = {"action": "store_const", "const": True}
    run = sub.add_argument_group("the run")
    add = run.add_argument
    add("--epochs", type=whole_number(0), metavar="N", help="passes over the series (300)")
    add("--hidden-size", type=whole_number(1), metavar="H", help="hidden units (6, or what --weights holds)")
    add("--k1", type=whole_number(1), metavar="STEPS", help="new steps an update (1)")
    add("--k2", type=whole_number(1), metavar="STEPS", help="steps the gradient reaches over, new ones included (k1)")
    add("--nonlinearity", choices=("tanh", "relu"), help="(tanh)")
    add("--reduction", choices=("sum", "mean"), help="of the loss (sum)")
    add("--bias", action=argparse.BooleanOptionalAction, help="train biases too (no, or what --weights holds)")
    add(
        "--learn-initial-state",
        action=argparse.BooleanOptionalAction,
        help="train the state that every epoch starts from (no, or what --weights holds)",
    )
    add("--dtype", choices=DTYPES, help="(float32, or what --weights holds)")
    add("--seed", type=whole_number(0), metavar="N", help="of the initial weights (0)")
    if command == "study":
        add("--seeds", type=whole_number(2), default=32, metavar="N", help="networks that are trained, for bands (32)")
    else:
        add(
            "--seeds",
            dest="networks",
            type=whole_number(1),
            metavar="N",
            help="train N initial weights at once, from --seed on: median, band",
        )
    update = sub.add_argument_group("the update, as torch.optim.SGD and clip_grad_norm_ have it")
    add = update.add_argument
    add(
        "--learning-rate",
        type=rates,
        metavar="RATE[,RATE...]",
        help="(0.1); several, with commas: a network for each, otherwise alike, at once",
    )
    add("--momentum", type=number, metavar="M", help="(0)")
    add("--dampening", type=number, metavar="D", help="of the gradient in the momentum (0)")
    add("--nesterov", **flag, help="Nesterov momentum")
    add("--weight-decay", type=number, metavar="W", help="(0)")
    add("--max-norm", type=positive, metavar="N", help="clip the gradient to this global norm (no clipping)")
    series = sub.add_argument_group("the series")
    add = series.add_argument
    add(
        "--data",
        metavar="FILE",
        help=f"{READABLE}: a row a time step, a column a feature; {STANDARD_INPUT} is standard input (the sine wave);"
        " an .npy stays on the disk while it is used: do not change it, as a process that reads beyond the end of a"
        " file is killed",
    )
    add("--columns", type=names, metavar="C[,C...]", help="of --data, by name or by number from 1 (all)")
    add("--standardize", **flag, help="train on (value - mean) / standard deviation of each column")
    if command == "train":
        add(
            "--held-out",
            type=whole_number(0),
            metavar="N",
            help="keep the last N rows from training; predict them, and run freely beside them (0)",
        )
    if command == "study":
        add(
            "--steps",
            type=whole_number(3),
            metavar="N",
            help="only the first N steps are studied (all, but 40 at most)",
        )
    files = sub.add_argument_group("files")
    add = files.add_argument
    add("--weights", metavar="FILE", help="initial weights, .npz, from --save of either package")
    if command == "train":
        add("--save", metavar="FILE", help="write the weights, and where the run stands, as .npz; also after Ctrl-C")
        add("--save-every", type=number, metavar="SECONDS", help="and so often while it runs (30)")
        add("--resume", metavar="FILE", help="go on with the run that --save wrote")
        add("--trace", metavar="FILE", help="write everything of every update as .npz")
        add("--output", metavar="FILE", help="write losses and predictions as .csv or .json")
    if command == "study":
        add("--folder", default="study", metavar="DIR", help="for the page, its figures and its numbers (study)")
    if command == "compare":
        add("--json", metavar="FILE", help="write what the comparison found as JSON")
        add("--port-timeout", type=positive, default=10.0, metavar="SECONDS", help="for one answer of a port (10)")
    output = sub.add_argument_group("output")
    add = output.add_argument
    add("--quiet", action="store_true", help="print nothing but warnings and errors")
    if command == "study":
        return
    add("--plot", metavar="FILE", help=f"draw the picture to this file ({picture_name(name, command)})")
    add("--show", action="store_true", help="show the picture in a window; a file only when --plot names one")
    add("--no-plot", action="store_true", help="no picture")
    add("--log-every", type=whole_number(1), default=10, metavar="N", help="print every N-th epoch (10)")
    if command == "train":
        add(
            "--no-progress",
            action="store_true",
            help="no progress bar on a terminal, where a run takes longer than 2 s",
        )
    add(
        "--generate",
        type=whole_number(0, MOST_GENERATED),
        default=20 if command == "compare" else None,
        metavar="N",
        help="free-running steps after what was trained on (20" + (")" if command == "compare" else ", or --held-out)"),
    )


def picture_name(name, command):
    """The file of the picture when none is named."""
    return f"{name}.png" if command == "train" else "compare.png"


def configuration_of(arguments) -> Configuration:
    """The run that the arguments ask for."""
    given = _given(arguments)
    if "k1" in given:
        given = {"k2": given["k1"]} | given
    return Configuration(**given)


def resumed_configuration(arguments, configuration: Configuration) -> Configuration:
    """The configuration of a run that is resumed, with the changes that the arguments ask for.

    Raises InputError on changes that would make it another run.
    """
    given = _given(arguments)
    for name in given:
        if name not in CHANGEABLE:
            option = {"networks": "seeds"}.get(name, name).replace("_", "-")
            may = ", ".join("--" + name.replace("_", "-") for name in CHANGEABLE)
            raise InputError(f"--{option} is given with --resume: the run has its own; only these may change: {may}")
    if configuration.data == STANDARD_INPUT and "data" not in given:
        raise InputError(
            "the run was trained on standard input, which is gone: expected --data FILE with the same series, or"
            f" --data {STANDARD_INPUT} to read it again"
        )
    if "data" in given and configuration.data is None:
        raise InputError("--data is given with --resume: expected none, as the run is on the sine wave")
    changed = configuration.changed(**given)
    if len(changed.rates()) != len(configuration.rates()):
        raise InputError(
            f"{len(changed.rates()) or 1} learning rates are given with --resume: expected"
            f" {len(configuration.rates()) or 1}, as the run has"
        )
    return changed


def _given(arguments):
    values = {field.name: getattr(arguments, field.name, None) for field in fields(Configuration)}
    return {name: value for name, value in values.items() if value is not None}
