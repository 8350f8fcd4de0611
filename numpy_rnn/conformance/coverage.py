"""Coverage: which windows were checked, what they use, and what was judged in them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Step
from numpy_rnn.conformance.case import UPDATED
from numpy_rnn.conformance.window_checks import Check

COUNTERS = ("judged", "estimated", "wide", "ill_conditioned")
LOOP_TENSORS = ("window", "initial")  # what the training loop chooses


class Computed(NamedTuple):
    """The parts of a training program that a source computes itself, besides the loss
    and the gradients of a window. What makes the others is no evidence about it.
    """

    step: bool  # the parameters after an update
    loop: bool  # the windows, their initial states, and the order of the updates

    def includes(self, tensor: str) -> bool:
        """Return whether the source computes this tensor."""
        if tensor in LOOP_TENSORS:
            return self.loop
        return self.step or tensor not in UPDATED


FUNCTION = Computed(step=False, loop=False)
WINDOW_UPDATE = Computed(step=True, loop=False)
WHOLE_RUN = Computed(step=True, loop=True)


@dataclass
class Coverage:
    """What the checked windows have, in sum: counts by tensor, sizes, and uses."""

    # In how many windows a tensor was judged, checked by an estimate, and so on.
    judged: Counter[str] = field(default_factory=Counter)
    estimated: Counter[str] = field(default_factory=Counter)
    wide: Counter[str] = field(default_factory=Counter)
    ill_conditioned: Counter[str] = field(default_factory=Counter)
    sizes: dict[str, set[int]] = field(default_factory=dict)  # by their letters
    # The values of all facts of the windows, as of "nonlinearity" or "batch".
    uses: dict[str, set[Any]] = field(default_factory=dict)
    windows: int = 0
    reach: int = 0  # the most steps that a gradient goes back
    carried: int = 0  # windows that start from a carried state
    epochs: int = 0  # the most of one run
    updates: int = 0  # the most of one run

    def note(self, checks: Iterable[Check]) -> None:
        """Count these checks."""
        for check in checks:
            ill_conditioned = check.ill_conditioned
            for counter, flags in (
                (self.judged, ~ill_conditioned),
                (self.estimated, check.estimated),
                (self.wide, check.wide),
                (self.ill_conditioned, ill_conditioned),
            ):
                if count := int(np.count_nonzero(flags)):
                    counter[check.tensor] += count

    def note_sizes(self, sizes: Mapping[str, int]) -> None:
        """Note a window of these sizes."""
        for letter, size in sizes.items():
            self.sizes.setdefault(letter, set()).add(size)

    def note_uses(self, facts: Mapping[str, Any], step: Step | None) -> None:
        """Note what is true of a window and of its step."""
        for name, value in facts.items():
            self.uses.setdefault(name, set()).add(value)
        if step is not None:
            rates = np.ravel(step.learning_rate).tolist()
            self.uses.setdefault("learning_rate", set()).update(rates)

    def add(self, other: "Coverage") -> None:
        """Add what another one has noted."""
        for name in COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for letter, sizes in other.sizes.items():
            self.sizes.setdefault(letter, set()).update(sizes)
        for fact, values in other.uses.items():
            self.uses.setdefault(fact, set()).update(values)
        self.windows += other.windows
        self.carried += other.carried
        self.reach = max(self.reach, other.reach)
        self.epochs = max(self.epochs, other.epochs)
        self.updates = max(self.updates, other.updates)

    @property
    def unjudged(self) -> list[str]:
        """Return the tensors that are ill-conditioned in all windows."""
        return [name for name in self.ill_conditioned if not self.judged[name]]
