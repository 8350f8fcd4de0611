"""Variants of truncated BPTT in published implementations: their effect on training over many seeds."""

from typing import NamedTuple

import numpy as np

from numpy_rnn import windows
from numpy_rnn.common.records import Reduction
from numpy_rnn.study.findings import Disagreement
from numpy_rnn.study.training.outcomes import Outcomes


def added_up(steps: int, k1: int, k2: int) -> np.ndarray:
    """How often a component is counted where the gradient that reached a state through its next step is kept, and
    added to at every later update.

    later[s-1, t-1]: how often the effect of h_s on ℓ_t through a_{s+1} has been added up so far. Only the losses of the
    new steps are added. For k1 = 1 the numbers of one update are those of Pascal's triangle.
    """
    counts = np.zeros((steps, steps), int)
    later = np.zeros((steps, steps), int)
    for start, loss_start, stop in windows(steps, k1, k2):
        flowing = np.zeros(steps, int)  # how often ℓ_t is in da_{s+1}
        for s in range(stop, start, -1):
            if s < stop:
                later[s - 1] += flowing
                flowing = later[s - 1].copy()
            if s > loss_start:
                flowing[s - 1] += 1
            counts[:, s - 1] += flowing
    return counts


class Variant(NamedTuple):
    """A computation that differs from its definition in DERIVATION.md. The page says what is computed, and by whom."""

    key: str
    name: str  # of a mutant, or of one of `programs.PROGRAMS`
    run: str = "sliding"  # key of the run that shows it, see `outcomes.demo_runs`


VARIANTS = (
    Variant("stale_now", "activations of stale weights kept"),
    Variant("stale_then", "stale activations and stale W_hh kept"),
    Variant("replayed", "states replayed from the start with the current weights"),
    Variant("one_more", "bptt over k+1 steps"),
    Variant("chunks", "chunks instead of a sliding window"),
    Variant("again", "losses of older steps counted again"),
    Variant("mean", "mean for sum", "chunks"),
    Variant("squared", "2e for e"),
    Variant("two_biases", "a trained second hidden bias", "biases"),
    Variant("added_up", "state gradients add up over overlapping windows"),
)


def variants(reduction: Reduction) -> tuple[Variant, ...]:
    """All variants. The wrong reduction is the mean; of a run that takes the mean of the loss, it is the sum. There,
    losses that are counted again are left out, since they change the divisor too.
    """
    if reduction == "sum":
        return VARIANTS
    kept = (variant for variant in VARIANTS if variant.key != "again")
    return tuple(variant._replace(name="sum for mean") if variant.key == "mean" else variant for variant in kept)


def disagreements(outcomes: Outcomes) -> list[Disagreement]:
    """Every variant on the run that shows it, and its effect."""
    return [
        Disagreement(key, name, outcomes.runs[run].name, outcomes.of(name, run))
        for key, name, run in variants(outcomes.subject.options.objective.reduction)
    ]
