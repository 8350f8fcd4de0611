"""The numbers of one network and of many: cost of truncation, norms by lag, reach, growth; so that no statement rests
on one network.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.study.components.jacobians import SATURATED, growth_of, slopes, spectral_radius, starting_points
from numpy_rnn.study.components.matrix import KINDS, Components, by_lag, components_of, cost, flat, norms, reach
from numpy_rnn.study.findings import Band, Growth, Network, Opposite, bands
from numpy_rnn.study.subject import DIVERGED_FACTOR, Subject, in_float64
from numpy_rnn.study.training.learning_curves import draw_networks, losses_of_a_pass

SHARES = (0.5, 0.9, 0.99)  # of the summed norms


def network_of(subject: Subject, params: Parameters) -> Network[np.ndarray]:
    """The numbers of a network at these parameters."""
    components = components_of(subject, params)
    return measure_network(subject, params, components)


def measure_network(subject: Subject, params: Parameters, components: Components) -> Network[np.ndarray]:
    """The numbers of a network with these components."""
    sizes, slope = norms(components.gradients), slopes(components.activations.h[1:, 0], subject.nonlinearity)
    G, recurrent = flat(components.gradients), components.gradients.W_hh.reshape(*sizes.shape, -1)
    T = len(sizes)
    return Network(
        cost={kind: cost(G, truncations(T)) for kind, truncations in KINDS.items()},
        recurrent={kind: cost(recurrent, truncations(T)) for kind, truncations in KINDS.items()},
        lag=np.array([norm.mean() for norm in by_lag(sizes)]),
        reach=np.array([np.mean(reach(sizes, share)) for share in SHARES]),
        spectral_radius=np.asarray(spectral_radius(params.W_hh)),
        slope=slope.mean(),
        saturated=(slope < SATURATED).mean(),
        loss=components.losses.sum(),
    )


class ManyNetworks(NamedTuple):
    """Bands over the networks of a subject, trained as its run is, at the epochs of its snapshots."""

    bands: list[Network[Band]]
    diverged: list[int]  # networks, by epoch; one that has diverged has no numbers from then on
    lower: dict[str, np.ndarray]
    opposite: list[Opposite]
    starts: dict[str, Growth[Band]]


def measure_networks(subject: Subject, own: list[Network[np.ndarray]]) -> ManyNetworks:
    """Train the networks and measure each. own: the numbers of the run's network, by epoch."""
    networks = list(_networks_along(subject))
    along = [[None if params is None else network_of(subject, params) for params in at] for at in networks]
    starts = [
        {name: growth_of(subject, start.params) for name, start in starting_points(subject, params).items()}
        for params in networks[0]
        if params is not None
    ]
    trained = [None if params is None else growth_of(subject, params) for params in networks[-1]]
    after = {"after training": bands(trained, like=growth_of(subject, subject.start))}
    cosines = {
        kind: np.array([network.cost[kind].cosine for network in along[-1] if network is not None]) for kind in KINDS
    }
    return ManyNetworks(
        bands=[bands(at, like=own[0]) for at in along],
        diverged=[at.count(None) for at in along],
        lower={kind: (cosines[kind] < own[-1].cost[kind].cosine).sum(axis=0) for kind in KINDS if len(cosines[kind])},
        opposite=[
            Opposite(kind, k, int(count))
            for kind in KINDS
            if len(cosines[kind])
            for k, count in enumerate((cosines[kind] < 0).sum(axis=0), start=1)
            if count
        ],
        starts=bands(starts, like=starts[0]) | after,
    )


def _networks_along(subject: Subject) -> Iterator[list[Parameters | None]]:
    """The networks in float64 at the epochs of the snapshots; None where one has diverged."""
    epochs = {snapshot.epoch for snapshot in subject.snapshots}
    params = draw_networks(subject, subject.networks)
    at = {0: params}
    with np.errstate(all="ignore"):
        for update in subject.train(params, subject.options, yield_every="epoch"):
            if update.epoch in epochs:
                at[update.epoch] = update.parameters
    losses = losses_of_a_pass(list(at.values()), subject, subject.nonlinearity)
    good = np.logical_and.accumulate(losses <= DIVERGED_FACTOR * losses[0])
    for members, is_good in zip(at.values(), good):
        members = in_float64(members)
        yield [
            Parameters(*(None if theta is None else theta[n] for theta in members)) if is_good[n] else None
            for n in range(len(is_good))
        ]
