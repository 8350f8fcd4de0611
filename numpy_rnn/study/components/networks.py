"""The numbers of one network and of many: cost of truncation, norms by lag, reach, growth; so that no statement rests
on one network.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.study.components.jacobians import growth_of
from numpy_rnn.study.components.matrix import KINDS, Components, by_lag, components_of, cost, flat, norms, reach
from numpy_rnn.study.findings import AFTER, BEFORE, Band, Growth, Network, Opposite, bands
from numpy_rnn.study.subject import DIVERGED_FACTOR, Subject, in_float64
from numpy_rnn.study.training.outcomes import draw_networks, losses_of_a_pass

SHARE = 0.9  # of the summed norms


def network_of(subject: Subject, params: Parameters) -> Network[np.ndarray]:
    """The numbers of a network at these parameters."""
    return measure_network(components_of(subject, params))


def measure_network(components: Components) -> Network[np.ndarray]:
    """The numbers of a network with these components."""
    sizes, G = norms(components.gradients), flat(components.gradients)
    T = len(sizes)
    return Network(
        cost={kind: cost(G, truncations(T)) for kind, truncations in KINDS.items()},
        lag=np.array([norm.mean() for norm in by_lag(sizes)]),
        reach=np.asarray(np.mean(reach(sizes, SHARE))),
        cancellation=np.sum(sizes) / full if (full := np.linalg.norm(G.sum(axis=(0, 1)))) else np.asarray(np.nan),
    )


class ManyNetworks(NamedTuple):
    """Bands over the networks of a subject, before and after they are trained as its run is."""

    bands: list[Network[Band]]
    diverged: int  # networks; one that has diverged has no numbers after training
    lower: dict[str, np.ndarray]
    opposite: list[Opposite]
    growth: dict[str, Growth[Band]]


def measure_networks(subject: Subject, own: list[Network[np.ndarray]]) -> ManyNetworks:
    """Train the networks and measure each. own: the numbers of the run's network, before and after training."""
    networks = list(_networks_at_ends(subject))[: len(own)]
    along = [[None if params is None else network_of(subject, params) for params in at] for at in networks]
    growth = [
        bands([None if of is None else growth_of(subject, of) for of in at], like=growth_of(subject, subject.start))
        for at in networks
    ]
    cosines = {
        kind: np.array([network.cost[kind].cosine for network in along[-1] if network is not None]) for kind in KINDS
    }
    return ManyNetworks(
        bands=[bands(at, like=own[0]) for at in along],
        diverged=along[-1].count(None),
        lower={kind: (cosines[kind] < own[-1].cost[kind].cosine).sum(axis=0) for kind in KINDS if len(cosines[kind])},
        opposite=[
            Opposite(kind, k, int(count))
            for kind in KINDS
            if len(cosines[kind])
            for k, count in enumerate((cosines[kind] < 0).sum(axis=0), start=1)
            if count
        ],
        growth=dict(zip((BEFORE, AFTER), growth)),
    )


def _networks_at_ends(subject: Subject) -> Iterator[list[Parameters | None]]:
    """The networks in float64 before and after training; None where one has diverged."""
    params = draw_networks(subject, subject.networks)
    after = params
    with np.errstate(all="ignore"):
        for update in subject.train(params, subject.options, yield_every="epoch"):
            after = update.parameters
    losses = losses_of_a_pass([params, after], subject, subject.nonlinearity)
    for members, is_good in zip((params, after), losses <= DIVERGED_FACTOR * losses[0]):
        members = in_float64(members)
        yield [
            Parameters(*(None if theta is None else theta[n] for theta in members)) if is_good[n] else None
            for n in range(len(is_good))
        ]
