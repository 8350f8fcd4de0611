"""What a known mistake is."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One mistake that people make."""

    name: str
    stage: str  # the tensor, or "window" or "entering", that the mistake makes wrong
    level: str  # "update": seen in one window update; "run": only in a run of several; "engine": one of the engine
    changes: tuple[tuple[str, str, str], ...]  # (module, right lines, wrong lines)


def update(name, stage, *changes):
    """A mistake inside one window update."""
    return Mutant(name, stage, "update", changes)


def run(name, stage, *changes):
    """A mistake of the training loop."""
    return Mutant(name, stage, "run", changes)


def engine(name, stage, *changes):
    """A mistake of the engine, whose modules are named without the folder."""
    return Mutant(name, stage, "engine", tuple((f"engine.{module}", right, wrong) for module, right, wrong in changes))
