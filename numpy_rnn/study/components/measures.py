"""The findings about temporal components, of the run's network and of many, so that no statement rests on one network;
and the data of the page's explorer.
"""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Gradients, Parameters
from numpy_rnn.study.checks.equations import row
from numpy_rnn.study.components.matrix import (
    KINDS,
    check_components,
    components_of,
    cost,
    divisors,
    flat,
    mask,
    mean_by_lag,
    pairs,
    reach,
)
from numpy_rnn.study.findings import (
    AFTER,
    BEFORE,
    ComponentCheck,
    ComponentFindings,
    MaskShown,
    Network,
    Opposite,
    bands,
    plain,
)
from numpy_rnn.study.subject import Subject, changed, in_float64
from numpy_rnn.study.training.outcomes import draw_networks, last_of, one_network

SHARE = 0.9  # of the summed norms
UPDATE_OPTIONS = ("momentum", "nesterov", "weight_decay", "max_norm")  # that change a first update


def measure_components(subject: Subject) -> ComponentFindings:
    """Truncation, norms and reach are of undivided components; the gradient of a truncation is the sum over an epoch
    with fixed parameters.
    """
    T, ends = len(subject.x), {BEFORE: subject.start, AFTER: subject.end}
    matrices = {end: components_of(subject, params) for end, params in ends.items()}
    epochs = sorted({0, subject.snapshots[-1].epoch})
    own = [measure_network(components) for components in matrices.values()][-len(epochs) :]
    networks = networks_at_ends(subject)[: len(epochs)]
    many = [[of and measure_network(components_of(subject, of)) for of in at] for at in networks]
    cosines = {
        kind: np.array([of.cost[kind].cosine for of in many[-1] if of])
        for kind in KINDS
        if any(many[-1])
    }
    norms = np.linalg.norm(flat(matrices[AFTER]), axis=-1)
    return ComponentFindings(
        steps=T,
        epochs=epochs,
        checks={end: _check(subject, matrices[end], params) for end, params in ends.items()},
        norms=norms,
        masks=masks_shown(norms),
        own=own,
        networks=subject.networks,
        bands=[bands(at, like=own[0]) for at in many],
        diverged=many[-1].count(None),
        lower={
            kind: (values < own[-1].cost[kind].cosine).sum(axis=0)
            for kind, values in cosines.items()
        },
        opposite=[
            Opposite(kind, k, int(count))
            for kind, values in cosines.items()
            for k, count in enumerate((values < 0).sum(axis=0), start=1)
            if count
        ],
    )


def measure_network(components: Gradients) -> Network[np.ndarray]:
    """The numbers of a network with these components."""
    G = flat(components)
    sizes, full, T = np.linalg.norm(G, axis=-1), np.linalg.norm(G.sum(axis=(0, 1))), len(G)
    return Network(
        cost={kind: cost(G, truncations(T)) for kind, truncations in KINDS.items()},
        lag=mean_by_lag(sizes),
        reach=np.asarray(np.mean(reach(sizes, SHARE))),
        cancellation=np.asarray(sizes.sum() / full if full else np.nan),
    )


def networks_at_ends(subject: Subject) -> list[list[Parameters | None]]:
    """The networks in float64 before and after they are trained as the run is; None where one has diverged."""
    drawn = draw_networks(subject, subject.networks)
    trained = last_of(
        subject.train(drawn, subject.options, yield_every="epoch"), drawn, subject, subject.options
    )
    ends = (
        (drawn, np.isfinite(trained.untrained)),
        (trained.parameters, np.isfinite(trained.final)),
    )
    return [
        [in_float64(one_network(params, n)) if is_good else None for n, is_good in enumerate(good)]
        for params, good in ends
    ]


def masks_shown(sizes: np.ndarray) -> list[MaskShown]:
    """The truncations that are shown as masks, and what they keep. sizes: (T, T), the norms of the components."""
    T, result = len(sizes), []
    k = max(2, T // 4)
    named = {
        (1, 1): "one step",
        (k, k): "chunks",
        (1, k): "sliding window",
        (k, 2 * k): "overlapping blocks",
    }
    for (k1, k2), name in (named | {(T, T): "full"}).items():
        if k2 <= T:
            kept = mask(T, k1, k2)
            share = float((sizes * kept).sum() / sizes.sum()) if sizes.any() else np.nan
            result.append(MaskShown(k1, k2, name, int(kept.sum()), T * (T + 1) // 2, share))
    return result


def sum_over_epoch(subject: Subject, params: Parameters, k1: int, k2: int) -> Gradients:
    """The sum of the gradients of one epoch of TBPTT(k1, k2), each by `bptt`, with fixed parameters: η = 0."""
    still = changed(subject.options, k1=k1, k2=k2, epochs=1, learning_rate=0.0)
    gradients = [update.gradients for update in subject.train(params, still)]
    there = (
        [part for part in parts if part is not None] for parts in zip(*gradients)
    )  # dh_0 in some windows only
    return Gradients(*(sum(parts[1:], parts[0]) if parts else None for parts in there))


def _check(subject: Subject, components: Gradients, params: Parameters) -> ComponentCheck:
    """Compare the components with their complex steps, and masked sums with `bptt` for every truncation."""
    (T, B, _), O, G, worst = subject.x.shape, subject.target.shape[-1], flat(components), 0.0
    for k1, k2 in pairs(T):
        N = divisors(T, k1, B * O) if subject.options.objective.reduction == "mean" else 1
        masked = np.tensordot(mask(T, k1, k2) / N, G, 2)
        difference = np.abs(masked - row(sum_over_epoch(subject, params, k1, k2))).max()
        worst = max(worst, float(difference / (np.abs(masked).max() or 1)))
    count = T * (T + 1) // 2
    elements, difference = check_components(components, subject, params)
    return ComponentCheck(count, elements, count * G.shape[-1], difference, len(pairs(T)), worst)


# -- the explorer -----------------------------------------------------------------------------------------------------


def explorer(subject: Subject) -> dict[str, Any]:
    """The JSON that the explorer reads: the one sequence of the run without its batch axis, and its parameters."""
    (T, B, D), (H, O) = subject.x.shape, subject.start.W_hy.shape
    schedule, objective, step = subject.options

    def parameters(params):
        return params if params.h_0 is None else params._replace(h_0=params.h_0[0])

    return {
        "name": subject.name,
        "sizes": {"T": T, "B": B, "D": D, "H": H, "O": O},
        "nonlinearity": objective.nonlinearity,
        "reduction": objective.reduction,
        "biases": subject.start.b_h is not None,
        "learned_h_0": subject.start.h_0 is not None,
        "k1": min(schedule.k1, T),
        "k2": min(schedule.k2, T),
        "learning_rate": step.learning_rate,
        "update": {name: getattr(step, name) for name in UPDATE_OPTIONS},
        **plain(
            {"x": subject.x[:, 0], "target": subject.target[:, 0], "h_0": subject.h_0[0]},
            digits=None,
        ),
        "snapshots": [
            {"epoch": epoch, "parameters": plain(parameters(params), digits=None)}
            for epoch, params in subject.snapshots
        ],
    }
