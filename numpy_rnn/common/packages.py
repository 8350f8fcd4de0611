"""The functions that a backend provides, and backends by the name of their package."""

import importlib
import importlib.util
import platform
import sys
from collections.abc import Callable
from typing import Any, Protocol, cast

from numpy_rnn.common.errors import InputError


class Backend(Protocol):
    """The functions that the command line calls: a module that has them is a backend, numpy_rnn and torch_rnn are.

    Their docstrings there describe arguments, results and errors.
    """

    __name__: str
    from_numpy: Callable[..., Any]
    to_numpy: Callable[..., Any]
    forward: Callable[..., Any]
    train: Callable[..., Any]


REQUIRED = ("from_numpy", "to_numpy", "forward", "train")


def is_package(name: str) -> bool:
    """Whether there is a module of this name; imports its parent packages only."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def no_torch(package: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """The error to raise where `package` cannot import torch: it says what to install.

    Under `python -m package` one line is printed instead, and the process ends with status 2: Python imports the
    package before any code of its __main__.py could do so.
    """
    if error.name != "torch":
        return error
    message = "torch is not installed: run pip install torch, or use numpy_rnn, which needs NumPy alone"
    if sys.argv[:1] == ["-m"] and package in sys.orig_argv:  # as it is while Python looks for the module of -m
        print(f"{package}: {message}", file=sys.stderr)
        raise SystemExit(2)
    return ModuleNotFoundError(message, name="torch")


def backend(name: str) -> Backend:
    """The package of this name. Raises InputError when it cannot be imported or is no backend."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        reason = str(error) if error.name == "torch" else f"{type(error).__name__}: {error}"
        raise InputError(f"{name!r} cannot be imported ({reason}): expected a package such as torch_rnn") from None
    except Exception as error:  # the package of another author may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{name!r} cannot be imported ({reason}): expected a package such as torch_rnn") from None
    missing = [function for function in REQUIRED if not hasattr(module, function)]
    if missing:
        raise InputError(f"{name!r} has no {', '.join(missing)}: expected a package such as numpy_rnn or torch_rnn")
    return cast(Backend, module)


__version__ = "0.1.0"


def versions(name: str) -> str:
    """One line for `--version`: the package of this name, Python, NumPy, and torch where it is installed."""
    from importlib import metadata  # takes longer to import than this package

    parts = [f"Python {platform.python_version()}"]
    for package, distribution in (("NumPy", "numpy"), ("torch", "torch")):
        try:
            parts.append(f"{package} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    return f"{name} {__version__} ({', '.join(parts)})"
