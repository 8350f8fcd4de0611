"""The findings about temporal components, and the data of the page's explorer."""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Gradients, Parameters
from numpy_rnn.study.components.matrix import (
    Components,
    check_components,
    components_of,
    flat,
    mask,
    masked_sum,
    norms,
    pairs,
    weights,
)
from numpy_rnn.study.components.networks import measure_network, measure_networks
from numpy_rnn.study.findings import AFTER, BEFORE, ComponentCheck, ComponentFindings, MaskShown, plain
from numpy_rnn.study.subject import Subject, changed

UPDATE_OPTIONS = ("momentum", "nesterov", "weight_decay", "max_norm")  # that change a first update


def measure_components(subject: Subject) -> ComponentFindings:
    """Truncation, norms and reach are of undivided components; the gradient of a truncation is the sum over an epoch
    with fixed parameters.
    """
    T, ends = len(subject.x), {BEFORE: subject.start, AFTER: subject.end}
    matrices = {end: components_of(subject, params) for end, params in ends.items()}
    epochs = sorted({0, subject.snapshots[-1].epoch})
    own = [measure_network(matrices[end]) for end in ends][-len(epochs) :]
    many = measure_networks(subject, own)
    sizes = norms(matrices[AFTER].gradients)
    return ComponentFindings(
        steps=T,
        epochs=epochs,
        checks={end: _check(subject, matrices[end], params) for end, params in ends.items()},
        norms=sizes,
        masks=[_mask(*k, name, sizes) for k, name in examples(T).items()],
        own=own,
        networks=subject.networks,
        bands=many.bands,
        diverged=many.diverged,
        lower=many.lower,
        opposite=many.opposite,
        growth=many.growth,
    )


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


def sum_over_epoch(subject: Subject, params: Parameters, k1: int, k2: int) -> Gradients:
    """The sum of the gradients of one epoch of TBPTT(k1, k2), each by `bptt`, with fixed parameters: η = 0."""
    still = changed(subject.options, k1=k1, k2=k2, epochs=1, learning_rate=0.0)
    gradients = [update.gradients for update in subject.train(params, still)]
    there = ([part for part in parts if part is not None] for parts in zip(*gradients))  # dh_0 in some windows only
    return Gradients(*(sum(parts[1:], parts[0]) if parts else None for parts in there))


def _check(subject, components: Components, params: Parameters) -> ComponentCheck:
    """Compare the components with their complex steps, and masked sums with `bptt` for every truncation."""
    T, B, O = components.dy.shape
    result, worst = check_components(components, subject, params), 0.0
    for k1, k2 in pairs(T):
        factors = weights(T, k1, k2, subject.options.objective.reduction, B, O)
        masked = masked_sum(components.gradients, factors)
        for own, summed in zip(masked, sum_over_epoch(subject, params, k1, k2)):
            if own is not None and (largest := np.abs(own).max()):
                worst = max(worst, float(np.abs(own - summed).max() / largest))
    count = T * (T + 1) // 2
    parameters = flat(components.gradients).shape[-1]
    return ComponentCheck(
        count, result.elements, parameters * count, result.difference, result.at, len(pairs(T)), worst
    )


def _mask(k1: int, k2: int, name: str, sizes: np.ndarray) -> MaskShown:
    T = len(sizes)
    kept = mask(T, k1, k2)
    share = float((sizes * kept).sum() / sizes.sum()) if sizes.any() else np.nan
    return MaskShown(k1, k2, name, int(kept.sum()), T * (T + 1) // 2, share)


# -- the explorer -----------------------------------------------------------------------------------------------------


def explorer(subject: Subject) -> dict[str, Any]:
    """The JSON that the explorer reads: the one sequence of the run without its batch axis, and its parameters."""
    (T, B, D), (H, O) = subject.x.shape, subject.start.W_hy.shape
    schedule, objective, step = subject.options
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
        **plain({"x": subject.x[:, 0], "target": subject.target[:, 0], "h_0": subject.h_0[0]}, digits=None),
        "snapshots": [
            {"epoch": epoch, "parameters": plain(_one_sequence(params), digits=None)}
            for epoch, params in subject.snapshots
        ],
    }


def _one_sequence(params: Parameters) -> Parameters:
    return params if params.h_0 is None else params._replace(h_0=params.h_0[0])
