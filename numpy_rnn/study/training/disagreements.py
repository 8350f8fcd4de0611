"""Effects of each disagreement: on the mask, and on training over many seeds."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_rnn import windows
from numpy_rnn.common.records import Reduction, RunOptions
from numpy_rnn.study.components.matrix import mask
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


def counted_again(steps: int, k1: int, k2: int) -> np.ndarray:
    """How often a component is counted where every step of every window has a loss."""
    counts = np.zeros((steps, steps), int)
    for start, _, stop in windows(steps, k1, k2):
        for t in range(start + 1, stop + 1):
            counts[t - 1, start:t] += 1
    return counts


def divisors(steps: int, k1: int, terms: int) -> np.ndarray:
    """(T, 1): the N of (L2) under "mean", by which every loss of a step is divided; terms: B·O."""
    sizes = np.zeros((steps, 1))
    for _, loss_start, stop in windows(steps, k1, k1):
        sizes[loss_start:stop] = (stop - loss_start) * terms
    return sizes


class Variant(NamedTuple):
    """A computation that differs from its definition in DERIVATION.md. The page says what is computed, and by whom."""

    key: str
    name: str  # of a mutant, or of one of `programs.PROGRAMS`
    run: str  # key of the run that shows it, see `outcomes.demo_runs`
    counts: Callable[[int, int, int], np.ndarray] = mask  # of (T, k1, k2): how often a component is counted


VARIANTS = (
    Variant("stale_now", "activations of stale weights kept", "sliding"),
    Variant("stale_then", "stale activations and stale W_hh kept", "sliding"),
    Variant("replayed", "states replayed from the start with the current weights", "sliding"),
    Variant("one_more", "bptt over k+1 steps", "sliding", lambda T, k1, k2: mask(T, k1, k2 + 1)),
    Variant("chunks", "chunks instead of a sliding window", "sliding", lambda T, k1, k2: mask(T, k2, k2)),
    Variant("again", "losses of older steps counted again", "sliding", counted_again),
    Variant("mean", "mean for sum", "chunks"),
    Variant("squared", "2e for e", "sliding", lambda T, k1, k2: 2 * mask(T, k1, k2)),
    Variant("two_biases", "a trained second hidden bias", "biases"),
    Variant("added_up", "state gradients add up over overlapping windows", "sliding", added_up),
)


def variants(reduction: Reduction) -> tuple[Variant, ...]:
    """All variants. The wrong reduction is the mean; of a run that takes the mean of the loss, it is the sum. There,
    losses that are counted again are left out, since they change the divisor too.
    """
    if reduction == "sum":
        return VARIANTS
    kept = (variant for variant in VARIANTS if variant.key != "again")
    return tuple(variant._replace(name="sum for mean") if variant.key == "mean" else variant for variant in kept)


def weights(variant: Variant | None, options: RunOptions, steps: int, outputs: int) -> np.ndarray:
    """(T, T): by what every component is multiplied in the sum over an epoch; without a variant, by the definition."""
    k1, k2, _ = options.schedule
    components = mask(steps, k1, k2) if variant is None else variant.counts(steps, k1, k2)
    key = "" if variant is None else variant.key
    if (options.objective.reduction == "mean") != (key == "mean"):
        components = components / divisors(steps, k2 if key == "chunks" else k1, outputs)
    return components


def disagreements(outcomes: Outcomes) -> list[Disagreement]:
    """Every variant on the run that shows it: the components that it counts, and its effect."""
    subject = outcomes.subject
    steps, outputs = len(subject.x), subject.target.shape[-1]
    result = []
    for variant in variants(subject.options.objective.reduction):
        run = outcomes.runs[variant.run]
        result.append(
            Disagreement(
                key=variant.key,
                name=variant.name,
                run=run.name,
                right_counts=weights(None, run.options, steps, outputs),
                counts=weights(variant, run.options, steps, outputs),
                outcomes=outcomes.of(variant.name, variant.run),
            )
        )
    return result
