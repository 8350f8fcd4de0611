"""A parser of command lines with messages of one line, and parsers of single values."""

import argparse
import sys
from difflib import get_close_matches
from math import isfinite
from typing import Any, NoReturn

from numpy_rnn.common.errors import InputError


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
