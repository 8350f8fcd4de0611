"""What an audit looks for: warnings, which are sure to be mistakes, and questions for
what may be meant.

A function gets a loop and yields the events where the finding shows. A warning stays
only if right loops never raise it, so most ask for the same evidence twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch_rnn.loop_audit.events import Event, LoopUpdate
from torch_rnn.loop_audit.loop import TrainingLoop

Finder = Callable[[TrainingLoop], Iterator[Event]]


@dataclass(frozen=True)
class Finding:
    """What is looked for: how it is found, and what is said of it."""

    message: str  # what is wrong, and what to do; or the question
    needs: type[Event]  # without which it cannot be looked for
    least: int  # times that it shows
    find: Finder
    unless: tuple[str, ...] = ()  # names of findings that say the same more surely
    is_question: bool = False


FINDINGS: dict[str, Finding] = {}  # by the name that switches it off


def _adding(**facts: Any) -> Callable[[Finder], Finder]:
    """Return a decorator that adds a function to the findings."""

    def add(find: Finder) -> Finder:
        """Add this one, by the name of its function."""
        name = find.__name__.replace("_", "-")
        FINDINGS[name] = Finding(find=find, **facts)
        return find

    return add


def warning(
    message: str, needs: type[Event] = LoopUpdate, least: int = 2
) -> Callable[[Finder], Finder]:
    """Return a decorator that adds a function to the warnings."""
    return _adding(message=message, needs=needs, least=least)


def found_in(loop: TrainingLoop, name: str) -> list[str]:
    """Return FILE:LINE of each call where a finding shows; none if it is not found, or
    another finding says the same.
    """
    finding = FINDINGS[name]
    if any(found_in(loop, other) for other in finding.unless):
        return []
    locations = [event.location for event in finding.find(loop)]
    return list(dict.fromkeys(locations)) if len(locations) >= finding.least else []


def question(
    message: str,
    needs: type[Event] = LoopUpdate,
    least: int = 2,
    unless: tuple[str, ...] = (),
) -> Callable[[Finder], Finder]:
    """Return a decorator that adds a function to the questions."""
    return _adding(
        message=message, needs=needs, least=least, unless=unless, is_question=True
    )
