"""Packages with the functions of numpy_rnn, by name."""

import importlib
import importlib.util

from numpy_rnn.common.errors import InputError

NEEDED = ("from_numpy", "to_numpy", "forward", "train")


def is_package(name: str) -> bool:
    """Whether there is a module of this name, without importing more than the packages that it lies in."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def backend(name: str):
    """The package of this name. Raises InputError when it cannot be imported or is no backend."""
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a package of somebody else's may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{name!r} cannot be imported ({reason}): expected a package such as torch_rnn") from None
    missing = [needed for needed in NEEDED if not hasattr(module, needed)]
    if missing:
        raise InputError(f"{name!r} has no {', '.join(missing)}: expected a package such as numpy_rnn or torch_rnn")
    return module
