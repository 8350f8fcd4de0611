"""The command line of both packages, `numpy-rnn` and `torch-rnn`."""

import argparse
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from numpy_rnn import __version__
from numpy_rnn.app.options import (
    HEADINGS,
    CommandOptions,
    declarations_of,
    make_options,
    option_name,
)
from numpy_rnn.app.training import Diverged
from numpy_rnn.common.commands import failed, silence_output
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import nearest_name


class Command(NamedTuple):
    """A command of the scripts.

    The command is the function `run` of its module. Its arguments are the package of
    the script and the `CommandOptions`; it returns the exit status, and raises what
    `run_main` answers. `audit` alone is listed here for the help, and run by
    torch_rnn.__main__, before anything of the command line is done.
    """

    help: str
    module: str  # imported only if it is used
    program: str | None = None  # the only script that has it, if not both
    examples: str = ""  # at the end of its help, a line each


COMMANDS = {
    "train": Command(
        "train a network and predict its series or text; also without a command",
        "numpy_rnn.app.train_command",
        examples="""
PROGRAM --data series.csv --held-out 50 --forecast 10 --predictions out.csv
PROGRAM --data series.csv --columns temperature,rain --target rain --save rain.npz
PROGRAM --text book.txt --held-out 5000 --epochs 5 --save book.npz""",
    ),
    "predict": Command(
        "predict and forecast a series by a model that was saved",
        "numpy_rnn.app.predict_command",
        examples="""
PROGRAM predict model.npz --data new.csv
PROGRAM predict model.npz --data new.csv --forecast 12 --predictions out.csv
PROGRAM predict model.npz --data new.csv --forecast 12 --plot out.png""",
    ),
    "sample": Command(
        "draw a text from a model of characters that was saved",
        "numpy_rnn.app.sample_command",
        examples="""
PROGRAM sample book.npz
PROGRAM sample book.npz --start "Alice was " --length 500
PROGRAM sample book.npz --temperature 0.5 --seed 3""",
    ),
    "compare": Command(
        "check every update of implementations against rounding bounds",
        "numpy_rnn.app.compare_command",
        examples="""
PROGRAM compare torch_rnn
PROGRAM compare my_rnn:port --k2 5
PROGRAM compare my_rnn:port --data series.csv""",
    ),
    "study": Command(
        "write two pages about the gradient of a run",
        "numpy_rnn.study.study_command",
        "numpy-rnn",  # the gradient is that derived by hand
        """
PROGRAM study
PROGRAM study --k1 1 --k2 5 --folder five
PROGRAM study --data series.csv --standardize --steps 30""",
    ),
    "lesson": Command(
        "open the lesson in a browser", "numpy_rnn.study.lesson_command", "numpy-rnn"
    ),
    "audit": Command(
        "report which training a PyTorch script does",
        "torch_rnn.loop_audit.audit_command",
        "torch-rnn",
    ),
}
MODEL_COMMANDS = ("predict", "sample")
LISTS = ("others", "text")  # whose values are several
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
    main.add_argument(
        "--version",
        action="version",
        version=f"{program} {__version__}, NumPy {np.__version__}",
    )
    section = main.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    parsers = {}
    for name, command in COMMANDS.items():
        if command.program in (None, program):
            parsers[name] = section.add_parser(
                name,
                help=command.help,
                description=command.help,
                epilog=example_text(command, program),
                formatter_class=argparse.RawDescriptionHelpFormatter,
                allow_abbrev=False,
                argument_default=argparse.SUPPRESS,
            )
            if name in MODEL_COMMANDS:
                parsers[name].add_argument(
                    "model", metavar="MODEL", help="a file that train --save wrote"
                )
            group: argparse._ActionsContainer = parsers[name]
            for field, parsing in declarations_of(name).items():
                if field in HEADINGS:
                    group = parsers[name].add_argument_group(HEADINGS[field])
                group.add_argument(option_name(field), dest=field, **parsing)
    parsers["compare"].add_argument(
        "others",
        metavar="OTHER",
        nargs="+",
        help="a package, such as torch_rnn; a port of your own, as module:object;"
        " a program; or a trace file",
    )
    return main, parsers


def example_text(command: Command, program: str) -> str | None:
    """Return the examples of a command for the end of its help."""
    if not command.examples:
        return None
    lines = command.examples.replace("PROGRAM", program).replace("\n", "\n  ")
    return f"examples:{lines}"


def check_values(program: str, values: dict[str, Any]) -> None:
    """Raise InputError where an option has no value: `--save=--` is a list here."""
    for name, value in values.items():
        items = value if name in LISTS else [value]
        if any(isinstance(item, list) for item in items):
            raise InputError(
                f"argument {option_name(name)}: expected one argument, not '--'; see"
                f" {program} {values['command']} --help"
            )


def nearest(name: str, known: dict[str, Any], prefix: str = "") -> str:
    """Return advice in brackets, with the known name that is nearest; or "".

    prefix stands before it.
    """
    meant = nearest_name(name, known)
    if meant is None:
        return ""
    return f" (did you mean {prefix}{meant.replace('_', '-')}?)"


def parse_command(package: str, arguments: list[str] | None) -> CommandOptions:
    """Parse a command line.

    Parameters
    ----------
    package : str
        The name of the package, whose commands are known.
    arguments : list of str or None
        A command, "train" unless it is named, and its options; those of the process
        where None.

    Returns
    -------
    CommandOptions
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
    main, parsers = make_parser(program)
    words = sys.argv[1:] if arguments is None else arguments
    name = words[0] if words else "-"
    if name.startswith("-"):
        if name not in ("-h", "--help", "--version"):
            words = ["train", *words]
    elif name not in parsers:
        if name in COMMANDS:
            other = COMMANDS[name].program
            raise InputError(f"{name} is a command of {other}: type {other} {name}")
        main.error(f"there is no command {name!r}{nearest(name, COMMANDS)}")
    values, unknown = main.parse_known_args(words)
    if unknown:
        word = unknown[0].partition("=")[0]
        meant = word.strip("-").replace("-", "_")
        advice = nearest(meant, declarations_of(values.command), "--")
        parsers[values.command].error(f"there is no option {word}{advice}")
    check_values(program, vars(values))
    return make_options(**vars(values))


@contextmanager
def silenced(is_quiet: bool) -> Iterator[None]:
    """Print nothing on standard output if the command is to be quiet."""
    if not is_quiet:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nothing, redirect_stdout(nothing):
        yield


def run_main(rnn: ModuleType, arguments: list[str] | None) -> int:
    """Run a command of a package, and print one line on standard error where it fails.

    Parameters
    ----------
    rnn : module
        numpy_rnn or torch_rnn, with which the command trains.
    arguments : list of str or None
        The words after the name of the script; those of the process where None.

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
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # for characters that the terminal does not have
            stream.reconfigure(errors="backslashreplace")
    try:
        options = parse_command(name, arguments)
        module = importlib.import_module(COMMANDS[options.command].module)
        with silenced(options.quiet):
            status: int = module.run(rnn, options)
            print(end="", flush=True)  # an error of the output is raised here
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
        silence_output()
        if isinstance(error, BrokenPipeError):
            return 1
        return failed(name, 2, f"the output cannot be written: {reason}")
