"""What each disagreement does: to the mask, to the step of one epoch, and to training over many seeds."""

from functools import cache
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn import reference
from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.study.setting import Setting, in_float64
from numpy_rnn.study.training.courses import course, drawn, plain, plain_number, quantiles, summary, updates_of
from numpy_rnn.study.training.variants import base_of, variants, weights

LOOKED_AT = 8  # epochs of the right run from which one epoch is made by both
SHOWS = float(np.finfo(np.float64).eps) ** 0.5  # relative: half of the digits differ, which no rounding does so early


def disagreements(setting: Setting) -> list[dict]:
    """Every variant beside the definition, from the same weights, on the run that shows it."""
    steps, outputs = len(setting.x), setting.target.shape[-1]

    @cache
    def right_run(base):
        configuration, bias = base
        return course(numpy_rnn, drawn(setting, setting.seeds, bias or None), setting, configuration)

    found = []
    for variant in variants(setting.configuration.reduction):
        configuration, mutant = base_of(variant, setting.configuration, steps), load(named(variant.mutant))
        bias = variant.base == "biases"
        right = right_run((configuration, bias))
        wrong = course(mutant, right.parameters[0], setting, configuration)
        found.append(
            {name: value for name, value in variant._asdict().items() if isinstance(value, str)}
            | {
                "k1": configuration.k1,
                "k2": configuration.k2,
                "with_biases": bias or right.parameters[0].b_h is not None,
                "right_counts": weights(None, configuration, steps, outputs).tolist(),
                "counts": weights(variant, configuration, steps, outputs).tolist(),
                "right": summary(right),
                "wrong": summary(wrong),
                "ratio": _ratio(wrong.losses[-1], right.losses[-1]),
                "steps": _steps(mutant, right, setting, configuration),
            }
        )
    return found


def _ratio(wrong, right):
    """Of the final losses, network by network, where the right one is finite: its median and band."""
    kept = np.isfinite(right) & (right > 0)
    if not kept.any():
        return {"low": None, "median": None, "high": None}
    return dict(zip(("low", "median", "high"), plain(quantiles(wrong[kept] / right[kept]))))


def _steps(mutant, right, setting, configuration):
    """One epoch by the definition and one by the mutant, in float64, from the same weights: how far they part.

    The reference computes the definition, as its lines are the mutant's: where they do not part, the difference is 0.

    by_update: ‖Δθ' − Δθ‖ / ‖Δθ‖ in the first epoch, where both make as many updates, Δθ being what one update does.
    Until they part, both have the same history; so the first number that is not zero is the difference of one step
    alone. of_step: by the epoch of the right run that they start from, the root mean square over the updates, which is
    √(Σ ‖Δθ' − Δθ‖² / Σ ‖Δθ‖²). of_epoch: the same with Δθ what the whole epoch does, whose updates may cancel; it is
    there for all. Medians over the networks whose parameters are finite.
    """
    chosen = np.unique(np.rint(np.linspace(0, len(right.epochs) - 1, LOOKED_AT)).astype(int))
    start = Parameters(*(None if v[0] is None else np.stack(v) for v in zip(*(right.parameters[i] for i in chosen))))
    one_epoch = configuration.changed(epochs=1)
    paths = [_path(package, _zeros_where_not_finite(start), setting, one_epoch) for package in (reference, mutant)]
    for path in paths:
        path[:, ~_are_finite(start)] = np.nan
    of_epoch = _apart(*(path[-1:] - path[:1] for path in paths))[0]
    found: dict[str, Any] = {
        "epochs": [right.epochs[i] for i in chosen],
        "of_epoch": [_finite_median(of_network) for of_network in of_epoch],
        "of_step": None,
        "by_update": None,
        "first_update": None,
        "first_difference": None,
    }
    if len(paths[0]) == len(paths[1]):
        steps = [np.diff(path, axis=0) for path in paths]
        by_update = [_finite_median(v[0]) for v in _apart(*steps)]
        all_at_once = (np.moveaxis(step, 0, -2).reshape(*step.shape[1:-1], -1) for step in steps)
        found["of_step"] = [_finite_median(of_network) for of_network in _apart(*all_at_once)]
        shown = [n for n, difference in enumerate(by_update) if difference is not None and difference > SHOWS]
        found["by_update"] = by_update
        if shown:
            found["first_update"], found["first_difference"] = shown[0] + 1, by_update[shown[0]]
    return found


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


def _apart(right, wrong):
    """‖right − wrong‖ / ‖right‖ of every network: (.., N) → (..)."""
    with np.errstate(all="ignore"):
        return np.linalg.norm(right - wrong, axis=-1) / np.linalg.norm(right, axis=-1)


def _finite_median(values):
    kept = values[np.isfinite(values)]
    return plain_number(np.median(kept)) if kept.size else None
