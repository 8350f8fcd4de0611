"""The warnings of a report: the mistakes that are found in a loop, and where."""

from dataclasses import dataclass

from torch_rnn.loop_audit.loop import TrainingLoop
from torch_rnn.loop_audit.mistakes import MISTAKES


@dataclass(frozen=True)
class LoopWarning:
    """A mistake that was found: its name, FILE:LINE of the call, and the message."""

    name: str
    location: str
    message: str


def warnings_of(loop: TrainingLoop, ignored: frozenset[str]) -> list[LoopWarning]:
    """Return the mistakes of a loop, without those that are switched off."""
    found = []
    for each in MISTAKES.values():
        places = [event.location for event in each.find(loop)]
        if each.name not in ignored and len(places) >= each.least:
            for place in dict.fromkeys(places):
                found.append(LoopWarning(each.name, place, each.message))
    return found
