"""Where implementations disagree: each variant, the mutant of the equivalence suite that it is, and who computes it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.study.training.counts import added_up, counted, divisors

OVERLAP = 5  # steps of the window, where windows have to overlap


class Variant(NamedTuple):
    """Something that is computed in another way than DERIVATION.md defines it."""

    key: str
    name: str
    mutant: str  # of numpy_rnn.conformance.mutants
    formula: str  # what is computed in place of what, in words and ids
    who: str  # computes it so
    base: str  # "sliding": k1 = 1; "chunks": k1 = k2; "biases": sliding, with biases
    counts: Callable[[int, int, int], np.ndarray] = counted  # of (T, k1, k2): how often an item is counted


VARIANTS = (
    Variant(
        "stale_now",
        "old activations, weights of now",
        "activations of stale weights kept",
        "h and φ′ of the older steps are those of the updates that computed them; W_hh in (B2) is the newest",
        "loops that keep a list of past states and walk back through it after every update",
        "sliding",
    ),
    Variant(
        "stale_then",
        "old activations, weights of then",
        "stale activations and stale W_hh kept",
        "h, φ′ and also W_hh in (B2) are those of the updates that computed the older steps",
        "code that makes new weight arrays at each update and goes on with the old graph; also RTRL with an update at"
        " every step, which carries the old factors along (Williams and Zipser 1989)",
        "sliding",
    ),
    Variant(
        "replayed",
        "replay from the start",
        "states replayed from the start with the current weights",
        "the initial state in (T3) is computed again from h₀ with the newest weights, and cut off there",
        "code that hands the whole series so far to the network at each update, and stops the gradient k steps back",
        "sliding",
    ),
    Variant(
        "one_more",
        "k + 1 steps for k",
        "bptt over k+1 steps",
        "s_n = e_n − k₂ − 1 in (T2)",
        "texts and loops that count lags: from t down to t − k, which are k + 1 steps",
        "sliding",
        lambda T, k1, k2: counted(T, k1, k2 + 1),
    ),
    Variant(
        "chunks",
        "chunks for a sliding window",
        "chunks instead of a sliding window",
        "k₁ = k₂ in (T1): an update every k₂ steps, in which a step reaches back to the start of its chunk only",
        "most language model examples, and batches that are cut along time: “BPTT over k steps” is chunks there",
        "sliding",
        lambda T, k1, k2: counted(T, k2, k2),
    ),
    Variant(
        "mean",
        "mean for sum",
        "mean for sum",
        "N = K·B·O in (L2) in place of 1, so a learning rate of η/N",
        "whoever takes the default of `torch.nn.MSELoss` and keeps the learning rate of a text that sums",
        "chunks",
    ),
    Variant(
        "squared",
        "e² for ½e²",
        "2e for e",
        "dy_t = 2 (y_t − target_t) in (B1), so a learning rate of 2η",
        "whoever takes `torch.nn.MSELoss`, which has no ½",
        "sliding",
        lambda T, k1, k2: 2 * counted(T, k1, k2),
    ),
    Variant(
        "two_biases",
        "two biases for one",
        "a trained second hidden bias",
        "b_h is the sum of two, each of which takes the step of (U1): it moves twice as far",
        "`torch.nn.RNN`, with `bias_ih` and `bias_hh`",
        "biases",
    ),
    Variant(
        "added_up",
        "state gradients add up",
        "state gradients add up over overlapping windows",
        "the second term of (B2) is added to what the updates before left there: the items count by Pascal's triangle",
        "the often-copied PyTorch recipe of a list of detached states, whose `.grad` is never made zero (on"
        " discuss.pytorch.org, topic 15500; a reader there computes 0.108 for a third step by hand, and gets 0.288)",
        "sliding",
        added_up,
    ),
)

SUM_FOR_MEAN = next(variant for variant in VARIANTS if variant.key == "mean")._replace(
    name="sum for mean",
    mutant="sum for mean",
    formula="N = 1 in (L2) in place of K·B·O, so a learning rate of N·η",
    who="whoever sums the loss and keeps the learning rate of a run that takes the mean",
)


def variants(reduction: str) -> tuple[Variant, ...]:
    """All of them; where the run takes the mean of the loss, the wrong one is the sum."""
    if reduction == "sum":
        return VARIANTS
    return tuple(SUM_FOR_MEAN if variant.key == "mean" else variant for variant in VARIANTS)


def base_of(variant: Variant, configuration: Configuration, steps: int) -> Configuration:
    """The run on which the variant shows: the configured one, but for its windows."""
    k = min(OVERLAP, steps)
    return configuration.changed(k1=k if variant.base == "chunks" else 1, k2=k)


def weights(variant: Variant | None, configuration: Configuration, steps: int, outputs: int) -> np.ndarray:
    """(T, T): by what every item is multiplied in the sum over an epoch; without a variant, by the definition."""
    k1, k2 = configuration.k1, configuration.k2
    items = counted(steps, k1, k2) if variant is None else variant.counts(steps, k1, k2)
    key = "" if variant is None else variant.key
    if (configuration.reduction == "mean") != (key == "mean"):
        items = items / divisors(steps, k2 if key == "chunks" else k1, outputs)
    return items
