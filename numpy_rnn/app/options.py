"""The parser of the command line, made from the dataclasses whose fields are the options. Messages are one line."""

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import Field
from difflib import get_close_matches
from functools import partial
from math import isfinite
from types import UnionType
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from numpy_rnn.app.commands import OPTIONS, OTHER, description, epilog, usage
from numpy_rnn.app.configuration import (
    COMPARED_EPOCHS,
    GROUPS,
    STANDARD_INPUT,
    TEXT,
    Configuration,
    Option,
    option_name,
    options_of,
)
from numpy_rnn.app.format import number_of
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import versions
from numpy_rnn.common.records import SgdOptions


class Parser(argparse.ArgumentParser):
    """An argument parser that raises InputError with a one-line message that does not depend on Python's version."""

    commands: Any = None  # the action that chooses a command, if there are commands

    def add_subparsers(self, **options):
        """As in argparse; keeps the action that chooses the command."""
        self.commands = super().add_subparsers(**options)
        return self.commands

    def options_of(self, command) -> list[str]:
        """The names of the options of a command."""
        return list(self.commands.choices[command]._option_string_actions)

    def parse_args(self, args=None, namespace=None):  # type: ignore[override]
        """As in argparse, but `--` is not accepted as a value."""
        words = list(sys.argv[1:] if args is None else args)
        for word in words:
            option, _, value = word.partition("=")
            if option.startswith("--") and value == "--":
                self.error(
                    f"argument {option}: '--' is not a value: expected a value; for a file of that name, write ./--"
                )
        parsed, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self._refuse(unknown, parsed)
        return parsed

    def error(self, message) -> NoReturn:
        """Raise InputError with the message and the command that prints the help."""
        raise InputError(f"{message}; see {self.prog} --help")

    def _check_value(self, action, value):
        """Called by argparse with every value of an option or a command with choices."""
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        expected = f"{value!r}: expected {' or '.join(names)}{did_you_mean(str(value), names)}"
        if action is self.commands:
            self.error(f"unknown command {expected}")
        raise argparse.ArgumentError(action, expected)

    def _refuse(self, unknown, parsed):
        """Raise InputError about the first unknown option, or else about the first unexpected argument."""
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
    """A question in parentheses that names the most similar name, or nothing."""
    close = get_close_matches(word, list(names), 1)
    return f" (did you mean {close[0]}?)" if close else ""


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """A parser of whole numbers from `minimum` to `maximum`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            expected = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
            raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number, {expected}")
        return value

    return parse


def number(text: str, is_positive: bool = False) -> float:
    """Parse a finite number, 0 or more; or if `is_positive`, above 0."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value < 0 or (is_positive and value == 0):
        expected = "above 0" if is_positive else "0 or more"
        raise argparse.ArgumentTypeError(f"{text!r}: expected a finite number, {expected}")
    return value


positive = partial(number, is_positive=True)


def rates(text: str) -> float | tuple[float, ...]:
    """Parse one learning rate, or several separated by commas."""
    values = tuple(number(part) for part in text.split(","))
    return values[0] if len(values) == 1 else values


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas."""
    return tuple(part.strip() for part in text.split(","))


class Version(argparse.Action):
    """Print the versions and exit with status 0."""

    def __init__(self, option_strings, dest, **_):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the versions and exit")

    def __call__(self, parser, *_):
        """The name of the package is the last word of the program's name."""
        print(versions(parser.prog.removeprefix("python -m ").split()[0]))
        parser.exit()


def parser(name: str, commands: Iterable[str] = OPTIONS) -> Parser:
    """The parser of the package of this name, with these commands."""
    commands = tuple(commands)
    other = {"numpy_rnn": "torch_rnn"}.get(name, "numpy_rnn")
    top = Parser(f"python -m {name}", allow_abbrev=False)
    subparsers = top.add_subparsers(dest="command", metavar="command")
    for command in commands:
        sub = subparsers.add_parser(
            command,
            usage=usage(command, name),
            description=description(command, commands),
            epilog=epilog(command, name, other),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if command == "compare":
            sub.add_argument("others", metavar="OTHER", nargs="+", help=OTHER.format(other=other))
        sub.add_argument("--version", action=Version)
        groups = {group: sub.add_argument_group(group) for group in GROUPS}
        for cls in (Configuration, OPTIONS[command]):
            types = get_type_hints(cls)
            for field, option in options_of(cls):
                if command in option.commands:
                    # An option of the run that is not given is None: Configuration has the defaults.
                    default = None if cls is Configuration else field.default
                    _add(groups[option.group], field, option, types[field.name], default, name)
    return top


def _add(group, field: Field, option: Option, annotation: Any, default: Any, package: str) -> None:
    """Add the option of a field to a group of the parser."""
    text = (option.help + option.default_in_help(field.default)).replace("{name}", package).replace("%", "%%")
    common: dict[str, Any] = {"dest": field.name, "default": default, "help": text}
    kinds = set(get_args(annotation)) - {type(None)} if isinstance(annotation, UnionType) else {annotation}
    if kinds == {bool} and (field.default is None or option.is_negatable):  # yes, no, and not given
        group.add_argument(option_name(field), action=argparse.BooleanOptionalAction, **common)
    elif kinds == {bool}:
        group.add_argument(option_name(field), action="store_const", const=True, **common)
    elif option.choices is not None:
        group.add_argument(option_name(field), choices=option.choices, **common)
    else:
        group.add_argument(option_name(field), metavar=option.metavar, type=_value_parser(kinds, option), **common)


def _value_parser(kinds: set, option: Option) -> Callable[[str], Any]:
    """What parses the value of an option of this type."""
    if kinds == {int}:
        return whole_number(int(option.minimum or 0), option.maximum)
    if kinds == {float}:
        return partial(number, is_positive=option.is_positive)
    if float in kinds:
        return rates
    return names if any(get_origin(kind) is tuple for kind in kinds) else str


# When a run is resumed. A velocity is no sum of squares, so Adagrad does not continue momentum, nor momentum Adagrad.
CHANGEABLE = ("epochs", "learning_rate", *(name for name in SgdOptions._fields if name != "adagrad"), "data", "text")


def configuration_of(arguments: argparse.Namespace) -> Configuration:
    """The configuration that the arguments give."""
    given = _given(arguments)
    if "k1" in given:
        given = {"k2": given["k1"]} | given
    if "text" in given:
        given = _of_text(given, arguments.command) | given
    return Configuration(**given)


def _of_text(given: dict[str, Any], command: str) -> dict[str, Any]:
    """The defaults of a run on a text, without those that the given options exclude."""
    excluded = {"weights": ("hidden_size", "bias"), "max_norm": ("max_value",), "momentum": ("adagrad",)}
    left_out = {name for option, names in excluded.items() if option in given for name in names}
    defaults = {name: value for name, value in TEXT.items() if name not in left_out}
    return defaults | ({"epochs": COMPARED_EPOCHS} if command == "compare" else {})


def resumed_configuration(arguments: argparse.Namespace, configuration: Configuration) -> Configuration:
    """The configuration of a resumed run, with the changes that the arguments ask for.

    Raises InputError on changes that would make it a different run.
    """
    given, option_names = _given(arguments), {field.name: option_name(field) for field, _ in options_of(Configuration)}
    for name in given:
        if name not in CHANGEABLE:
            changeable = ", ".join(option_names[name] for name in CHANGEABLE)
            raise InputError(
                f"{option_names[name]} is given with --resume: the run keeps its own; only these may change:"
                f" {changeable}"
            )
    for name, what in (("data", "series"), ("text", "text")):
        if getattr(configuration, name) == STANDARD_INPUT and name not in given:
            raise InputError(
                f"the run was trained on standard input, which was not saved: expected --{name} FILE with the same"
                f" {what}, or --{name} {STANDARD_INPUT} to read it again"
            )
    if "data" in given and configuration.data is None:
        what = "the sine wave" if configuration.text is None else f"the text {configuration.text}"
        raise InputError(f"--data is given with --resume, but the run is on {what}: leave --data out")
    if "text" in given and configuration.text is None:
        raise InputError("--text is given with --resume, but the run is not on a text: leave --text out")
    changed = configuration.changed(**given)
    if len(changed.rates()) != len(configuration.rates()):
        raise InputError(
            f"--learning-rate has {number_of(len(changed.rates()) or 1, 'value')}: expected"
            f" {len(configuration.rates()) or 1}, as in the run that --resume continues"
        )
    return changed


def _given(arguments):
    values = {field.name: getattr(arguments, field.name, None) for field, _ in options_of(Configuration)}
    return {name: value for name, value in values.items() if value is not None}
