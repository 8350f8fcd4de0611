"""The command line of both packages, `numpy-rnn` and `torch-rnn`."""

import argparse
import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from numpy_rnn.app.options import (
    ALL_OPTIONS,
    OPTION_GROUPS,
    Configuration,
    option_name,
)
from numpy_rnn.app.training import Diverged
from numpy_rnn.common.errors import InputError, failed
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
STATUS = (
    "Exit status: 0; 1 if a run diverges or an implementation is wrong; 2 if the input"
    " cannot be used; 130 after Ctrl-C."
)
MEMORY = (
    "there is not enough memory: choose fewer hidden units, networks, steps or rows"
)


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
            text = option.help
            details = dict[str, Any]()
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


def run_main(rnn: Any, arguments: list[str] | None, commands: Mapping[str, str]) -> int:
    """Run a command of a package, and print one line on standard error where it fails.

    Parameters
    ----------
    rnn : module
        numpy_rnn or torch_rnn, with which the command trains.
    arguments : list of str or None
        The words after the name of the script; those of the process where None.
    commands : mapping of str to str
        The modules of the commands by their names. Each has a function `run`, and is
        imported only if its command is used.

    Returns
    -------
    int
        The exit status: that of the command if nothing fails; 2 if the input cannot
        be used or the output not be written; 1 if a run diverges, or if the reader of
        the output is gone, as in `| head`; 130 after Ctrl-C.

    Raises
    ------
    Exception
        An error that no input should cause.
    """
    name = rnn.__name__
    words = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # for characters that the terminal does not have
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parse_command(name, words)
        module = importlib.import_module(commands[options.command])
        status: int = module.run(rnn, options) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except InputError as error:
        return failed(name, 2, str(error))
    except Diverged as error:
        return failed(name, 1, str(error))
    except MemoryError:
        return failed(name, 2, MEMORY)
    except KeyboardInterrupt as error:
        return failed(name, 130, str(error) or "interrupted")
    except OSError as error:
        reason = error.strerror or str(error)
        if error.filename is not None:  # standard output has none
            return failed(name, 2, f"{error.filename}: {reason}")
        if sys.stdout is not None:  # redirect it, so that the flush at exit succeeds
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 1
        return failed(name, 2, f"the output cannot be written: {reason}")
