"""Names of modules and parameters, by which a user finds them in the script."""

import gc
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain

from torch import nn


def _paths() -> dict[int, str]:
    """Return the path of each module and parameter that is alive, by its `id`: the
    longest, which begins at the whole model.
    """
    paths: dict[int, str] = {}
    for root in gc.get_objects():
        if not issubclass(type(root), nn.Module):
            continue
        kind = type(root).__name__
        with suppress(AttributeError):  # of a module that is not made yet
            parts = chain(root.named_modules(prefix=kind), root.named_parameters(kind))
            for path, part in parts:
                known = paths.get(id(part), "")
                if path.count(".") >= known.count("."):
                    paths[id(part)] = path
    return paths


def add_names(
    names: dict[int, str],
    modules: Iterable[nn.Module],
    parameters: Iterable[nn.Parameter],
) -> None:
    """Add the names of those that have none, with the shapes of parameters."""
    new_modules = [each for each in modules if id(each) not in names]
    new_parameters = [each for each in parameters if id(each) not in names]
    if not (new_modules or new_parameters):
        return
    paths = _paths()
    for module in new_modules:
        names[id(module)] = paths.get(id(module), "")
    for p in new_parameters:
        path = paths.get(id(p), type(p).__name__)
        names[id(p)] = f"{path} {tuple(p.shape)}"
