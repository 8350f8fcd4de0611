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


def add_names(names: dict[int, str], parts: Iterable[nn.Module | nn.Parameter]) -> None:
    """Add the names of those that have none, with the shapes of parameters."""
    unnamed = [part for part in parts if id(part) not in names]
    if not unnamed:
        return
    paths = _paths()
    for part in unnamed:
        name = paths.get(id(part), type(part).__name__)
        if isinstance(part, nn.Parameter):
            name += f" {tuple(part.shape)}"
        names[id(part)] = name
