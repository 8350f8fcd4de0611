"""Packages by name: which exist, which are backends of the command line, and torch
where it is missing.
"""

import importlib
import sys
from contextlib import suppress
from types import ModuleType

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.texts import failed

REQUIRED = ("from_numpy", "to_numpy", "forward", "train")  # functions of a backend
NO_TORCH = (
    "torch is not installed: run pip install torch, or use numpy_rnn, which "
    "needs NumPy alone"
)
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


def missing_torch(error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return the error to raise where torch_rnn cannot import a module.

    Under `python -m torch_rnn` one line is printed instead, and the process ends with
    status 2: Python imports the package before its __main__.py, which could do so.
    """
    if error.name != "torch":
        return error
    # Until Python has found the __main__ of a package, the first argument is "-m".
    if sys.argv[:1] == ["-m"] and "torch_rnn" in sys.orig_argv:
        raise SystemExit(failed("torch_rnn", 2, NO_TORCH))
    return ModuleNotFoundError(NO_TORCH, name="torch")
