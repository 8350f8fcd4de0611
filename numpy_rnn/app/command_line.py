"""The command line of both packages, `numpy-rnn` and `torch-rnn`."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from numpy_rnn.app.parsing import parse_command
from numpy_rnn.app.training import Diverged
from numpy_rnn.common.errors import InputError, failed, silence_output

MEMORY = (
    "there is not enough memory: choose fewer hidden units, networks, steps or rows"
)


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
        silence_output()
        if isinstance(error, BrokenPipeError):
            return 1
        return failed(name, 2, f"the output cannot be written: {reason}")
