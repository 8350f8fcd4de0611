"""Effects of each disagreement: on the mask, on the steps of one epoch, and on training over many seeds."""

from collections.abc import Callable
from math import nan
from typing import NamedTuple

import numpy as np

from numpy_rnn import windows
from numpy_rnn.common.records import Parameters, Reduction, RunOptions
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.findings import Disagreement, StepDifferences
from numpy_rnn.study.subject import Subject, changed, in_float64
from numpy_rnn.study.suite_parts import Program, plain_rnn, updates
from numpy_rnn.study.training.learning_curves import LearningCurve, Outcomes, stacked
from numpy_rnn.study.training.programs import program


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
    run: str  # key of the run that shows it, see `learning_curves.demo_runs`
    counts: Callable[[int, int, int], np.ndarray] = mask  # of (T, k1, k2): how often a component is counted


VARIANTS = (
    Variant("stale_now", "activations of stale weights kept", "sliding"),
    Variant("stale_then", "stale activations and stale W_hh kept", "sliding"),
    Variant("replayed", "states replayed from the start with the current weights", "sliding"),
    Variant("one_more", "bptt over k+1 steps", "sliding", lambda T, k1, k2: mask(T, k1, k2 + 1)),
    Variant("chunks", "chunks instead of a sliding window", "sliding", lambda T, k1, k2: mask(T, k2, k2)),
    Variant("mean", "mean for sum", "chunks"),
    Variant("squared", "2e for e", "sliding", lambda T, k1, k2: 2 * mask(T, k1, k2)),
    Variant("two_biases", "a trained second hidden bias", "biases"),
    Variant("added_up", "state gradients add up over overlapping windows", "sliding", added_up),
)


def variants(reduction: Reduction) -> tuple[Variant, ...]:
    """All variants. The wrong reduction is the mean; of a run that takes the mean of the loss, it is the sum."""
    if reduction == "sum":
        return VARIANTS
    return tuple(variant._replace(name="sum for mean") if variant.key == "mean" else variant for variant in VARIANTS)


def weights(variant: Variant | None, options: RunOptions, steps: int, outputs: int) -> np.ndarray:
    """(T, T): by what every component is multiplied in the sum over an epoch; without a variant, by the definition."""
    k1, k2, _ = options.schedule
    components = mask(steps, k1, k2) if variant is None else variant.counts(steps, k1, k2)
    key = "" if variant is None else variant.key
    if (options.objective.reduction == "mean") != (key == "mean"):
        components = components / divisors(steps, k2 if key == "chunks" else k1, outputs)
    return components


EPOCHS_COMPARED = 8  # along the training by the definition, from whose weights one epoch is made by both
# Relative: half of the digits differ, which rounding does not cause so early.
MIN_DIFFERENCE = float(np.finfo(np.float64).eps) ** 0.5


def disagreements(outcomes: Outcomes) -> list[Disagreement]:
    """Compare every variant with the definition, from the same weights, on the run that shows it."""
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
                steps=compare_steps(program(variant.name), outcomes.definition(variant.run), subject, run.options),
                outcome=outcomes.of(variant.name, variant.run),
            )
        )
    return result


def compare_steps(wrong: Program, right: LearningCurve, subject: Subject, options: RunOptions) -> StepDifferences:
    """One epoch by the definition and one by another program, in float64, from the same weights: ‖Δθ' − Δθ‖ / ‖Δθ‖,
    with Δθ the step of one update.

    `plain_rnn` computes the definition, as its lines are the mutant's: where they agree, the difference is exactly 0.
    In the first epoch both have the same history until they differ; so the first difference that is not zero is that of
    one step alone. By epoch, it is the root mean square over the updates, √(Σ ‖Δθ' − Δθ‖² / Σ ‖Δθ‖²). Medians over the
    networks whose parameters are finite.
    """
    chosen = np.unique(np.rint(np.linspace(0, len(right.epochs) - 1, EPOCHS_COMPARED)).astype(int))
    epochs, start = [right.epochs[i] for i in chosen], stacked([right.parameters[i] for i in chosen])
    once = changed(options, epochs=1)
    paths = [_path(each, _zeros_where_not_finite(start), subject, once) for each in (plain_rnn, wrong)]
    if len(paths[0]) != len(paths[1]):
        return StepDifferences(epochs, None, None, nan)
    for path in paths:
        path[:, ~_are_finite(start)] = np.nan
    steps = [np.diff(path, axis=0) for path in paths]
    by_update = _finite_median(_relative_difference(*steps)[:, 0])
    shown = np.flatnonzero(by_update > MIN_DIFFERENCE)
    rows = (np.moveaxis(step, 0, -2).reshape(*step.shape[1:-1], -1) for step in steps)
    by_epoch = _finite_median(_relative_difference(*rows))
    if not shown.size:
        return StepDifferences(epochs, by_epoch, None, nan)
    return StepDifferences(epochs, by_epoch, int(shown[0]) + 1, float(by_update[shown[0]]))


def _are_finite(params):
    """Whether all parameters of a network are finite: (*E)."""
    axes = params.W_hh.ndim - 2
    by_parameter = [np.isfinite(v).all(axis=tuple(range(axes, v.ndim))) for v in params if v is not None]
    return np.logical_and.reduce(by_parameter)


def _zeros_where_not_finite(params):
    """The parameters in float64, as `train` takes them: zeros for the networks that are not finite."""
    finite, axes = _are_finite(params), params.W_hh.ndim - 2

    def cleaned(v):
        return np.where(finite.reshape(*finite.shape, *(1,) * (v.ndim - axes)), v, 0)

    return in_float64(Parameters(*(None if v is None else cleaned(v) for v in params)))


def _path(program, params, subject, options):
    """All parameters of every network in one row, before and after each update: (updates+1, *E, N)."""
    with np.errstate(all="ignore"):
        along = [params, *(update.parameters for update in updates(program, subject.run_of(params, options)))]
    E = params.W_hh.shape[:-2]
    rows = ([theta.reshape(*E, -1) for theta in at if theta is not None] for at in along)
    return np.stack([np.concatenate(row, axis=-1) for row in rows])


def _relative_difference(right, wrong):
    """‖right − wrong‖ / ‖right‖ of every network: (.., N) → (..)."""
    with np.errstate(all="ignore"):
        return np.linalg.norm(right - wrong, axis=-1) / np.linalg.norm(right, axis=-1)


def _finite_median(values):
    """The median of the finite values of the last axis; NaN where there are none."""
    return np.array([np.median(kept) if (kept := row[np.isfinite(row)]).size else nan for row in values])
