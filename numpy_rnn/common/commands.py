"""What commands share: packages by name, and how a command tells that it fails."""

import importlib
import os
import sys
from contextlib import suppress
from types import ModuleType

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import one_line

REQUIRED = ("from_numpy", "to_numpy", "forward", "train")  # functions of a backend
MAX_MESSAGE = 1000  # characters of the line on which a command fails
EXPECTED_PACKAGE = "expected a package like numpy_rnn or torch_rnn"


def is_package(name: str) -> bool:
    """Return whether there is a module of this name. Nothing is imported, no parent
    packages.
    """
    # These take longer to import than this package.
    from importlib.machinery import PathFinder
    from importlib.util import find_spec

    top, *parts = name.split(".")
    with suppress(ImportError, ValueError):
        spec = find_spec(top)
        for part in parts:
            folders = spec and spec.submodule_search_locations
            spec = PathFinder.find_spec(part, folders) if folders else None
        return spec is not None
    return False


def backend(name: str) -> ModuleType:
    """Return the package of this name, if it can be imported and is a backend."""
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # another author's package may do anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{name!r} cannot be imported ({reason}): {EXPECTED_PACKAGE}"
        ) from None
    if missing := [function for function in REQUIRED if not hasattr(module, function)]:
        raise InputError(f"{name!r} has no {', '.join(missing)}: {EXPECTED_PACKAGE}")
    return module


def silence_output() -> None:
    """Redirect standard output to nothing, so that Python's flush at exit succeeds."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def failed(program: str, status: int, message: str) -> int:
    """Print the message on one line on standard error, and return the status."""
    with suppress(OSError):  # a full or closed standard error changes nothing
        if sys.stderr is not None:
            print(f"{program}: {one_line(message, MAX_MESSAGE)}", file=sys.stderr)
    return status
