"""The numbers of the temporal components, and of the page's explorer: matrix, masks, cost of truncation, reach."""

from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.app.format import to_jsonable
from numpy_rnn.common.records import Gradients, Parameters
from numpy_rnn.study.components.jacobians import measure_states, saturation, spectral_radius
from numpy_rnn.study.components.matrix import (
    Components,
    by_lag,
    check_components,
    chunks,
    component_matrix,
    cost,
    flat,
    mask,
    masked_sum,
    norms,
    pairs,
    reach,
    sliding,
    weights,
)
from numpy_rnn.study.components.seeds import SHARES, measure_seeds
from numpy_rnn.study.setting import Setting, Snapshot, rounded

UPDATE_OPTIONS = ("momentum", "nesterov", "weight_decay", "max_norm")  # that change a first update


def explorer(setting: Setting) -> dict[str, Any]:
    """What the explorer computes from, for the one sequence of the run, without its batch axis, and what it looks up.

    Series and parameters are exact. Norm, cosine and bias, at [t-1][s-1] and [k1-1][k2-k1], are of undivided components
    and have seven significant digits.
    """
    T, B, D = setting.x.shape
    H, O = setting.start.W_hy.shape
    choices = setting.configuration
    return {
        "name": setting.name,
        "sizes": {"T": T, "B": B, "D": D, "H": H, "O": O},
        "nonlinearity": choices.nonlinearity,
        "reduction": choices.reduction,
        "biases": setting.start.b_h is not None,
        "learned_h_0": setting.start.h_0 is not None,
        "k1": min(choices.k1, T),
        "k2": min(choices.k2, T),
        "learning_rate": choices.learning_rate,
        "update": {name: getattr(choices, name) for name in UPDATE_OPTIONS},
        "x": to_jsonable(setting.x[:, 0]),
        "target": to_jsonable(setting.target[:, 0]),
        "h_0": to_jsonable(setting.h_0[0]),
        "snapshots": [_seen(setting, snapshot) for snapshot in setting.snapshots],
    }


def components_of(setting: Setting, params: Parameters) -> Components:
    """The components of the setting's series under these parameters."""
    h_0 = setting.h_0 if params.h_0 is None else params.h_0
    return component_matrix(params, setting.x, setting.target, h_0, **setting.options)


def _seen(setting: Setting, snapshot: Snapshot) -> dict[str, Any]:
    params = snapshot.params
    components = components_of(setting, params)
    G = flat(components.gradients)
    T = len(G)
    cosine, bias = cost(G, pairs(T))
    own = None if params.h_0 is None else params.h_0[0]
    return {
        "epoch": snapshot.epoch,
        "loss": rounded(components.losses.sum()),
        "spectral_radius": rounded(spectral_radius(params.W_hh)),
        "gradient_norm": rounded(np.linalg.norm(np.tensordot(mask(T, T, T), G, 2))),
        "parameters": {name: to_jsonable(theta) for name, theta in params._replace(h_0=own)._asdict().items()},
        "norm": _triangle(norms(components.gradients)),
        "cosine": _by_k1(cosine, T),
        "bias": _by_k1(bias, T),
    }


def _triangle(matrix):
    return [rounded(row[: t + 1]) for t, row in enumerate(matrix)]


def _by_k1(values, T):
    """From the order of `pairs` to rows of k1."""
    starts = np.cumsum([T - k1 for k1 in range(T)])[:-1]
    return [rounded(row) for row in np.split(values, starts)]


def measure_components(setting: Setting) -> dict[str, Any]:
    """The findings of this part, as plain values for JSON. "start" and "end" are before and after training.

    Truncation, norms and reach are of undivided components; the gradient of a truncation is the sum over an epoch with
    fixed parameters.
    """
    series = [components_of(setting, snapshot.params) for snapshot in setting.snapshots]
    ends = {"start": (series[0], setting.start), "end": (series[-1], setting.end)}
    T = len(setting.x)
    return {
        "steps": T,
        "parameters": flat(series[0].gradients).shape[-1],
        "epochs": setting.configuration.epochs,
        "check": {end: _check(setting, *of) for end, of in ends.items()},
        "sums": {end: _sums(setting, *of) for end, of in ends.items()},
        "heat": {end: rounded(norms(components.gradients)) for end, (components, _) in ends.items()},
        "masks": [_mask(T, *k, ends) for k in examples(T)],
        "truncation": {"k": list(range(1, T + 1))}
        | {end: _truncation(components) for end, (components, _) in ends.items()},
        "along": _along(setting, series),
        "lag": {end: _by_lag(norms(components.gradients)) for end, (components, _) in ends.items()},
        "reach": {end: _reach(norms(components.gradients)) for end, (components, _) in ends.items()},
        "seeds": measure_seeds(setting),
        **measure_states(setting),
    }


def examples(T: int) -> dict[tuple[int, int], str]:
    """The truncations that are shown as masks, with their names."""
    k = max(2, T // 4)
    named = {
        (1, 1): "one step",
        (k, k): "chunks",
        (1, k): "sliding window",
        (k, 2 * k): "overlapping blocks",
        (T, T): "full",
    }
    return {pair: name for pair, name in named.items() if pair[1] <= T}


def few(T: int) -> list[int]:
    """The k of the tables and of the curves along training."""
    return sorted({k for k in (1, 2, 3, 5, 10, 20) if k < T} | {T})


def sum_over_epoch(setting: Setting, params: Parameters, k1: int, k2: int) -> Gradients:
    """The sum of the gradients of one epoch of TBPTT(k1, k2), each by `bptt`, with fixed parameters: η = 0."""
    h_0 = None if params.h_0 is not None else setting.h_0
    choices: dict[str, Any] = {"reduction": setting.configuration.reduction, **setting.options}
    updates = numpy_rnn.train(
        params, setting.x, setting.target, h_0, k1=k1, k2=k2, learning_rate=0.0, epochs=1, **choices
    )
    result = [update.gradients for update in updates]

    def total(parts):
        present = [part for part in parts if part is not None]
        return sum(present[1:], present[0]) if present else None

    return Gradients(*map(total, zip(*result)))


def _check(setting, components, params):
    h_0 = setting.h_0 if params.h_0 is None else params.h_0
    result = check_components(components, params, setting.x, setting.target, h_0, setting.configuration.nonlinearity)
    return result | {name: rounded(result[name]) for name in ("difference", "later")}


def _sums(setting, components, params):
    """Compare masked sums with `bptt` for every truncation: the largest difference, relative to its largest element."""
    T, B, O = components.dy.shape
    worst, at = 0.0, (1, 1)
    for k1, k2 in pairs(T):
        masked = masked_sum(components.gradients, weights(T, k1, k2, setting.configuration.reduction, B, O))
        for own, summed in zip(masked, sum_over_epoch(setting, params, k1, k2)):
            if own is not None:
                largest = np.abs(own).max()
                ratio = np.abs(own - summed).max() / largest if largest else 0.0
                worst, at = max((worst, at), (float(ratio), (k1, k2)))
    return {"truncations": len(pairs(T)), "difference": rounded(worst), "at": {"k1": at[0], "k2": at[1]}}


def _mask(T, k1, k2, ends):
    kept = mask(T, k1, k2)
    result = {"k1": k1, "k2": k2, "name": examples(T)[k1, k2], "kept": int(kept.sum()), "of": T * (T + 1) // 2}
    for end, (components, _) in ends.items():
        cosine, bias = cost(flat(components.gradients), [(k1, k2)])
        held = norms(components.gradients)
        share = (held * kept).sum() / held.sum() if held.any() else None
        result[end] = {"cosine": rounded(cosine[0]), "bias": rounded(bias[0]), "share": rounded(share)}
    return result


def _truncation(components: Components):
    """Cosine and bias for every k, of all parameters together and of W_hh alone."""
    recurrent = components.gradients.W_hh.reshape(*components.gradients.W_hh.shape[:2], -1)
    result: dict[str, Any] = {}
    for name, G in (("all", flat(components.gradients)), ("W_hh", recurrent)):
        T = len(G)
        result[name] = {
            kind: {part: rounded(values) for part, values in cost(G, truncations)._asdict().items()}
            for kind, truncations in (("chunks", chunks(T)), ("sliding", sliding(T)))
        }
    return result


def _along(setting, series):
    """The costs at a few k, the spectral radius, saturation and reach, by epoch."""
    T = len(setting.x)
    costs = [
        (cost(flat(components.gradients), chunks(T)), cost(flat(components.gradients), sliding(T)))
        for components in series
    ]
    at = [k - 1 for k in few(T)]
    result: dict[str, Any] = {"epochs": [snapshot.epoch for snapshot in setting.snapshots], "k": few(T)}
    for place, kind in enumerate(("chunks", "sliding")):
        result[kind] = {
            part: rounded(np.array([getattr(of[place], part)[at] for of in costs]).T) for part in ("cosine", "bias")
        }
    result["spectral_radius"] = [rounded(spectral_radius(snapshot.params.W_hh)) for snapshot in setting.snapshots]
    result |= {
        name: [
            saturation(components.activations.h[:, 0], setting.configuration.nonlinearity)[name]
            for components in series
        ]
        for name in ("slope", "saturated")
    }
    result["loss"] = [rounded(components.losses.sum()) for components in series]
    result["reach"] = [_reach(norms(components.gradients)) for components in series]
    return result


def _by_lag(held):
    lags = by_lag(held)
    return {
        "mean": rounded([norm.mean() for norm in lags]),
        "largest": rounded([norm.max() for norm in lags]),
        "smallest": rounded([norm.min() for norm in lags]),
    }


def _reach(held):
    """Number of steps, counted back from t and including it, with these shares of the summed norms: the mean over t."""
    return {name: rounded(np.mean(reach(held, share))) for name, share in SHARES.items()}
