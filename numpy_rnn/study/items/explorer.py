"""The numbers behind the page's explorer: every snapshot's passes, items, and what each truncation costs there."""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.study.items.items import Items, flat, item_matrix, norms
from numpy_rnn.study.items.jacobians import spectral_radius
from numpy_rnn.study.items.masks import mask, pairs
from numpy_rnn.study.items.plain import plain
from numpy_rnn.study.items.truncation import cost
from numpy_rnn.study.setting import Setting, Snapshot


def explorer(setting: Setting) -> dict[str, Any]:
    """Of the run's one sequence, without its batch axis. The items dh[t-1][s-1], da[t-1][s-1], s ≤ t, are those of ℓ_t,
    undivided: a window's dh_s is the sum of them over its counted t, under "mean" divided by K·B·O. Norm, cosine and
    bias, at [k1-1][k2-k1], are of undivided items too. Floats have seven significant digits.
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
        "x": plain(setting.x[:, 0]),
        "target": plain(setting.target[:, 0]),
        "snapshots": [_seen(setting, snapshot) for snapshot in setting.snapshots],
    }


def items_of(setting: Setting, params: Parameters) -> Items:
    """The items of the setting's series under these parameters."""
    h_0 = setting.h_0 if params.h_0 is None else params.h_0
    return item_matrix(params, setting.x, setting.target, h_0, **setting.options)


def _seen(setting: Setting, snapshot: Snapshot) -> dict[str, Any]:
    params = snapshot.params
    items = items_of(setting, params)
    G = flat(items.gradients)
    T = len(G)
    cosine, bias = cost(G, pairs(T))
    own = None if params.h_0 is None else params.h_0[0]
    return {
        "epoch": snapshot.epoch,
        "loss": plain(items.losses.sum()),
        "spectral_radius": plain(spectral_radius(params.W_hh)),
        "gradient_norm": plain(np.linalg.norm(np.tensordot(mask(T, T, T), G, 2))),
        "parameters": {name: plain(theta) for name, theta in params._replace(h_0=own)._asdict().items()},
        "a": plain(items.activations.a[:, 0]),
        "h": plain(items.activations.h[:, 0]),
        "y": plain(items.activations.y[:, 0]),
        "losses": plain(items.losses),
        "dy": plain(items.dy[:, 0]),
        "dh": _triangle(items.dh[:, :, 0]),
        "da": _triangle(items.da[:, :, 0]),
        "norm": _triangle(norms(items.gradients)),
        "cosine": _by_k1(cosine, T),
        "bias": _by_k1(bias, T),
    }


def _triangle(matrix):
    return [plain(row[: t + 1]) for t, row in enumerate(matrix)]


def _by_k1(values, T):
    """From the order of `pairs` to rows of k1."""
    starts = np.cumsum([T - k1 for k1 in range(T)])[:-1]
    return [plain(row) for row in np.split(values, starts)]
