"""What each disagreement does: to the mask, to the step of one epoch, and to training over many seeds."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn import reference
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.windows import windows
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.setting import in_float64, rounded
from numpy_rnn.study.training.learning_curves import Outcomes, updates_of


def added_up(steps: int, k1: int, k2: int) -> np.ndarray:
    """The same where what reached a state through its next step is kept, and added to at every later update.

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


def divisors(steps: int, k1: int, terms: int) -> np.ndarray:
    """(T, 1): the N of (L2) under "mean", by which every loss of a step is divided; terms: B·O."""
    sizes = np.zeros((steps, 1))
    for _, loss_start, stop in windows(steps, k1, k1):
        sizes[loss_start:stop] = (stop - loss_start) * terms
    return sizes


class Variant(NamedTuple):
    """A computation that differs from its definition in DERIVATION.md."""

    key: str
    mutant: str  # its name in numpy_rnn.conformance.mutants
    formula: str  # what is computed instead, in words and equation ids
    who: str  # uses it
    run: str  # key of the run that shows it, see `learning_curves.named_runs`
    counts: Callable[[int, int, int], np.ndarray] = mask  # of (T, k1, k2): how often a component is counted


VARIANTS = (
    Variant(
        "stale_now",
        "activations of stale weights kept",
        "h and φ′ of the older steps are from the updates that computed them; W_hh in (B2) is the current one",
        "loops that keep a list of past states and go back through it after every update",
        "sliding",
    ),
    Variant(
        "stale_then",
        "stale activations and stale W_hh kept",
        "h, φ′ and W_hh in (B2) are from the updates that computed the older steps",
        "code that makes new weight arrays at each update and keeps the old graph; also RTRL with an update at"
        " every step, which carries the old factors along (Williams and Zipser 1989)",
        "sliding",
    ),
    Variant(
        "replayed",
        "states replayed from the start with the current weights",
        "the initial state of the window (T3) is computed again from h₀ with the current weights, and cut off there",
        "code that passes the whole series so far to the network at each update, and stops the gradient k steps back",
        "sliding",
    ),
    Variant(
        "one_more",
        "bptt over k+1 steps",
        "s_n = e_n − k₂ − 1 in (T2)",
        "texts and loops that count lags: from t down to t − k, which is k + 1 steps",
        "sliding",
        lambda T, k1, k2: mask(T, k1, k2 + 1),
    ),
    Variant(
        "chunks",
        "chunks instead of a sliding window",
        "k₁ = k₂ in (T1): an update every k₂ steps, in which a step reaches back to the start of its chunk only",
        "most language model examples, and batches that are cut along time: “BPTT over k steps” is chunks there",
        "sliding",
        lambda T, k1, k2: mask(T, k2, k2),
    ),
    Variant(
        "mean",
        "mean for sum",
        "N = K·B·O in (L2) in place of 1, so a learning rate of η/N",
        "code that uses the default of `torch.nn.MSELoss` with the learning rate of a text that sums",
        "chunks",
    ),
    Variant(
        "squared",
        "2e for e",
        "dy_t = 2 (y_t − target_t) in (B1), so a learning rate of 2η",
        "code that uses `torch.nn.MSELoss`, which has no factor ½",
        "sliding",
        lambda T, k1, k2: 2 * mask(T, k1, k2),
    ),
    Variant(
        "two_biases",
        "a trained second hidden bias",
        "b_h is the sum of two biases, each of which takes the step of (U1): it moves twice as far",
        "`torch.nn.RNN`, with `bias_ih` and `bias_hh`",
        "biases",
    ),
    Variant(
        "added_up",
        "state gradients add up over overlapping windows",
        "the second term of (B2) is added to the value that earlier updates left: components are counted by Pascal's"
        " triangle",
        "the often-copied PyTorch recipe of a list of detached states, whose `.grad` is never made zero (on"
        " discuss.pytorch.org, topic 15500; a reader there computes 0.108 for a third step by hand, and gets 0.288)",
        "sliding",
        added_up,
    ),
)

SUM_FOR_MEAN = next(variant for variant in VARIANTS if variant.key == "mean")._replace(
    mutant="sum for mean",
    formula="N = 1 in (L2) in place of K·B·O, so a learning rate of N·η",
    who="code that sums the loss with the learning rate of a run that uses the mean",
)


def variants(reduction: str) -> tuple[Variant, ...]:
    """All of them; where the run takes the mean of the loss, the wrong one is the sum."""
    if reduction == "sum":
        return VARIANTS
    return tuple(SUM_FOR_MEAN if variant.key == "mean" else variant for variant in VARIANTS)


def weights(variant: Variant | None, configuration: Configuration, steps: int, outputs: int) -> np.ndarray:
    """(T, T): by what every component is multiplied in the sum over an epoch; without a variant, by the definition."""
    k1, k2 = configuration.k1, configuration.k2
    components = mask(steps, k1, k2) if variant is None else variant.counts(steps, k1, k2)
    key = "" if variant is None else variant.key
    if (configuration.reduction == "mean") != (key == "mean"):
        components = components / divisors(steps, k2 if key == "chunks" else k1, outputs)
    return components


EPOCHS_COMPARED = 8  # along the training by the definition, from whose weights one epoch is made by both
# Relative: half of the digits differ, which rounding does not cause so early.
MIN_DIFFERENCE = float(np.finfo(np.float64).eps) ** 0.5


def disagreements(outcomes: Outcomes) -> list[dict]:
    """Compare every variant with the definition, from the same weights, on the run that shows it."""
    setting = outcomes.setting
    steps, outputs = len(setting.x), setting.target.shape[-1]
    result = []
    for variant in variants(setting.configuration.reduction):
        mutant, configuration = named(variant.mutant), outcomes.runs[variant.run].configuration(setting)
        outcome = outcomes.of(mutant, variant.run)
        result.append(
            {
                "key": variant.key,
                "name": variant.mutant,
                "formula": variant.formula,
                "who": variant.who,
                "run": outcomes.runs[variant.run].name,
                "right_counts": weights(None, configuration, steps, outputs).tolist(),
                "counts": weights(variant, configuration, steps, outputs).tolist(),
                "steps": _steps(load(mutant), outcome.right, setting, configuration),
            }
            | outcome.findings()
        )
    return result


def _steps(mutant, right, setting, configuration):
    """One epoch by the definition and one by the mutant, in float64, from the same weights: their difference.

    The reference computes the definition, as its lines are the mutant's: where they agree, the difference is exactly 0.

    by_update: ‖Δθ' − Δθ‖ / ‖Δθ‖ in the first epoch, where both make as many updates, Δθ being what one update does.
    Until they differ, both have the same history; so the first number that is not zero is the difference of one step
    alone. of_step: by the epoch of the training that they start from, the root mean square over the updates, which is
    √(Σ ‖Δθ' − Δθ‖² / Σ ‖Δθ‖²). of_epoch: the same with Δθ what the whole epoch does, whose updates may cancel; it is
    there for all. Medians over the networks whose parameters are finite.
    """
    chosen = np.unique(np.rint(np.linspace(0, len(right.epochs) - 1, EPOCHS_COMPARED)).astype(int))
    start = Parameters(*(None if v[0] is None else np.stack(v) for v in zip(*(right.parameters[i] for i in chosen))))
    one_epoch = configuration.changed(epochs=1)
    paths = [_path(package, _zeros_where_not_finite(start), setting, one_epoch) for package in (reference, mutant)]
    for path in paths:
        path[:, ~_are_finite(start)] = np.nan
    of_epoch = _relative_difference(*(path[-1:] - path[:1] for path in paths))[0]
    result: dict[str, Any] = {
        "epochs": [right.epochs[i] for i in chosen],
        "of_epoch": [_finite_median(of_network) for of_network in of_epoch],
        "of_step": None,
        "by_update": None,
        "first_update": None,
        "first_difference": None,
    }
    if len(paths[0]) == len(paths[1]):
        steps = [np.diff(path, axis=0) for path in paths]
        by_update = [_finite_median(v[0]) for v in _relative_difference(*steps)]
        all_at_once = (np.moveaxis(step, 0, -2).reshape(*step.shape[1:-1], -1) for step in steps)
        result["of_step"] = [_finite_median(of_network) for of_network in _relative_difference(*all_at_once)]
        shown = [n for n, difference in enumerate(by_update) if difference is not None and difference > MIN_DIFFERENCE]
        result["by_update"] = by_update
        if shown:
            result["first_update"], result["first_difference"] = shown[0] + 1, by_update[shown[0]]
    return result


def _are_finite(params):
    """Whether all parameters of a network are finite: (*E)."""
    axes = params.W_hh.ndim - 2
    of_each = [np.isfinite(v).all(axis=tuple(range(axes, v.ndim))) for v in params if v is not None]
    return np.logical_and.reduce(of_each)


def _zeros_where_not_finite(params):
    """The parameters in float64, as `train` takes them: zeros for the networks that are not finite."""
    finite, axes = _are_finite(params), params.W_hh.ndim - 2

    def cleaned(v):
        return np.where(finite.reshape(*finite.shape, *(1,) * (v.ndim - axes)), v, 0)

    return in_float64(Parameters(*(None if v is None else cleaned(v) for v in params)))


def _path(package, params, setting, configuration):
    """All parameters of every network in one row, before and after each update: (updates+1, *E, N)."""
    with np.errstate(all="ignore"):
        along = [params, *(update.parameters for update in updates_of(package, params, setting, configuration))]
    E = params.W_hh.shape[:-2]
    rows = ([theta.reshape(*E, -1) for theta in at if theta is not None] for at in along)
    return np.stack([np.concatenate(row, axis=-1) for row in rows])


def _relative_difference(right, wrong):
    """‖right − wrong‖ / ‖right‖ of every network: (.., N) → (..)."""
    with np.errstate(all="ignore"):
        return np.linalg.norm(right - wrong, axis=-1) / np.linalg.norm(right, axis=-1)


def _finite_median(values):
    kept = values[np.isfinite(values)]
    return rounded(np.median(kept)) if kept.size else None
