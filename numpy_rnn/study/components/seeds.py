"""The numbers of this part for many networks: medians and bands, so that no statement rests on one network."""

from collections.abc import Iterator
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Parameters
from numpy_rnn.study.components.jacobians import (
    SATURATED,
    growth_by_lag,
    slopes,
    spectral_radius,
    states,
    three_starts,
)
from numpy_rnn.study.components.matrix import by_lag, chunks, component_matrix, cost, flat, norms, reach, sliding
from numpy_rnn.study.setting import DIVERGED_FACTOR, Setting, in_float64, rounded
from numpy_rnn.study.training.learning_curves import draw_networks, losses_of_a_pass, updates_of

SHARES = {"50": 0.5, "90": 0.9, "99": 0.99}  # of the summed norms
KINDS = {"chunks": chunks, "sliding": sliding}
BAND = {"low": 0.1, "median": 0.5, "high": 0.9}


def numbers_of(setting: Setting, params: Parameters) -> dict[str, Any]:
    """The numbers of one network, as arrays: cost of truncation, mean norm by lag, reach, slopes.

    cost[name][kind][part] has one number per k = 1 to T, with name "all" or "W_hh", kind "chunks" or "sliding" and part
    "cosine" or "bias"; lag one number per lag; reach one number per share of SHARES.
    """
    h_0 = setting.h_0 if params.h_0 is None else params.h_0
    components = component_matrix(params, setting.x, setting.target, h_0, **setting.options)
    sizes, slope = norms(components.gradients), slopes(components.activations.h[1:, 0], **setting.options)
    recurrent = components.gradients.W_hh.reshape(*sizes.shape, -1)
    T = len(sizes)
    return {
        "cost": {
            name: {kind: cost(G, truncations(T))._asdict() for kind, truncations in KINDS.items()}
            for name, G in (("all", flat(components.gradients)), ("W_hh", recurrent))
        },
        "lag": np.array([norm.mean() for norm in by_lag(sizes)]),
        "reach": np.array([np.mean(reach(sizes, share)) for share in SHARES.values()]),
        "spectral_radius": spectral_radius(params.W_hh),
        "slope": slope.mean(),
        "saturated": (slope < SATURATED).mean(),
        "loss": components.losses.sum(),
    }


def bands(of_networks: list[Any], like: Any = None) -> Any:
    """The 10th percentile, median and 90th percentile of every number over the networks, in the networks' structure.

    Each is the value of one network. NaN, where a number is not defined for a network, is left out, and so is None, a
    network without numbers. like: a network with numbers, needed where all may be None.
    """
    first = of_networks[0] if like is None else like
    if isinstance(first, dict):
        return {key: bands([None if of is None else of[key] for of in of_networks], first[key]) for key in first}
    values = [np.full(np.shape(first), np.nan) if of is None else of for of in of_networks]
    ordered = np.sort(np.array(values, float), axis=0)  # NaN last
    known = np.sum(~np.isnan(ordered), axis=0, keepdims=True)
    return {
        name: rounded(np.take_along_axis(ordered, np.maximum(np.ceil(share * known).astype(int) - 1, 0), axis=0)[0])
        for name, share in BAND.items()
    }


def measure_seeds(setting: Setting) -> dict[str, Any]:
    """Bands over `setting.seeds` networks that are trained as the run is, at the epochs of its snapshots.

    A network that has diverged has no numbers from then on.
    """
    networks = list(_networks_along(setting))
    along = [[None if params is None else numbers_of(setting, params) for params in of] for of in networks]
    starts = [starting_points(setting, params) for params in networks[0] if params is not None]
    trained = [None if params is None else growth_of(setting, params) for params in networks[-1]]
    diverged = [of.count(None) for of in along]
    own = [numbers_of(setting, params) for params in (setting.start, setting.end)]
    return {
        "networks": setting.seeds,
        "diverged": diverged,
        "place": {end: place(one, of) for end, one, of in zip(("start", "end"), own, (along[0], along[-1]))},
        "along": [bands(of, like=along[0][0]) for of in along],
        "opposite": [opposite(of) for of in along],
        "starts": bands(starts) | {"after training": bands(trained, like=growth_of(setting, setting.start))},
        "opposite_end": [
            {"kind": kind, "k": k, "networks": count}
            for kind, counts in opposite(along[-1]).items()
            for k, count in enumerate(counts, start=1)
            if count
        ],
        "diverged_end": diverged[-1],
    }


def opposite(networks: list[dict[str, Any] | None]) -> dict[str, list[int]]:
    """The number of networks whose cosine is negative, by kind of truncation, for every k."""
    return {kind: _count_below(networks, kind, 0) for kind in KINDS}


def place(own: dict[str, Any], networks: list[dict[str, Any] | None]) -> dict[str, list[int]]:
    """The number of networks with a lower cosine than this one, by kind of truncation, for every k."""
    return {kind: _count_below(networks, kind, own["cost"]["all"][kind]["cosine"]) for kind in KINDS}


def _count_below(networks, kind, limit):
    """The number of networks whose cosine is below the limit, for every k; empty if there is no network."""
    below = [of["cost"]["all"][kind]["cosine"] < limit for of in networks if of is not None]
    return np.sum(below, axis=0).tolist() if below else []


def starting_points(setting: Setting, params: Parameters) -> dict[str, Any]:
    """The growth of small changes from the starting points of one network, by name."""
    h_0 = setting.h_0 if params.h_0 is None else params.h_0
    starts = three_starts(params, setting.x, h_0, setting.configuration.nonlinearity)
    return {start.name: {"factor": start.factor} | growth_of(setting, start.params) for start in starts}


def growth_of(setting: Setting, params: Parameters) -> dict[str, Any]:
    """The growth of small changes of the state: the mean over t by lag, over all steps and per step; and the slopes."""
    h_0 = setting.h_0 if params.h_0 is None else params.h_0
    nonlinearity = setting.configuration.nonlinearity
    h = states(params, setting.x, h_0, nonlinearity)
    growth, slope = growth_by_lag(params.W_hh, h, nonlinearity), slopes(h[1:], nonlinearity)
    return {
        "growth": np.array([of_lag.mean() for of_lag in growth]),
        "at_longest": growth[-1][0],
        "a_step": growth[-1][0] ** (1 / len(setting.x)),
        "spectral_radius": spectral_radius(params.W_hh),
        "slope": slope.mean(),
        "saturated": (slope < SATURATED).mean(),
    }


def _networks_along(setting: Setting) -> Iterator[list[Parameters | None]]:
    """The networks in float64 at the epochs of the snapshots; None where one has diverged."""
    epochs = {snapshot.epoch for snapshot in setting.snapshots}
    params = draw_networks(setting, setting.seeds)
    at = {0: params}
    with np.errstate(all="ignore"):
        for update in updates_of(numpy_rnn, params, setting, setting.configuration, "epoch"):
            if update.epoch in epochs:
                at[update.epoch] = update.parameters
    losses = losses_of_a_pass([at[epoch] for epoch in sorted(at)], setting, setting.configuration)
    good = np.logical_and.accumulate(losses <= DIVERGED_FACTOR * losses[0])
    for epoch, of_epoch in zip(sorted(at), good):
        members = in_float64(at[epoch])
        yield [
            Parameters(*(None if theta is None else theta[n] for theta in members)) if is_good else None
            for n, is_good in enumerate(of_epoch)
        ]
