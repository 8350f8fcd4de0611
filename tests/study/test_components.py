"""The component matrix, its masks, what truncations cost, and the numbers of many networks."""

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from study_runs import SUBJECTS, near, small, subject

from numpy_rnn import InputError, Parameters
from numpy_rnn.study.checks.equations import row
from numpy_rnn.study.components import matrix, measures
from numpy_rnn.study.components.matrix import (
    check_components,
    components_by_complex_step,
    components_of,
    flat,
    mask,
)
from numpy_rnn.study.components.measures import explorer, measure_components, measure_network
from numpy_rnn.study.findings import AFTER, BEFORE, plain
from numpy_rnn.study.subject import Snapshot
from numpy_rnn.study.training.outcomes import Trained

SHARED = {"epochs": 4, "hidden_size": 3, "bias": True, "dtype": "float64"}


@cache
def shared():
    """A run of five networks, and its findings."""
    of = small(8, 5, **SHARED)
    return of, measure_components(of)


def by_complex_step(of, params):
    """All components, flat, (T, T, P)."""
    every = np.arange(flat(components_of(of, params)).shape[-1])
    return np.stack(
        [components_by_complex_step(of, params, s, every) for s in range(1, len(of.x) + 1)], axis=1
    )


def test_the_check_finds_one_wrong_element():
    """Of many parameters it compares a sample, the same each time."""
    small_one, wide = subject("everything"), replace(subject("sine"), h_0=np.zeros((1, 30)))
    many = wide.start._replace(
        W_xh=np.full((1, 30), 0.1), W_hh=np.eye(30) / 2, W_hy=np.full((30, 1), 0.1)
    )
    every = 15 * row(small_one.end).size
    for of, params, count in (
        (small_one, small_one.end, every),
        (wide, many, 55 * matrix.MAX_PARAMETERS),
    ):
        components = components_of(of, params)
        elements, right = result = check_components(components, of, params)
        assert elements == count
        assert check_components(components, of, params) == result
        wrong = components._replace(W_hh=components.W_hh.copy())
        wrong.W_hh[3, 1] *= 1.001
        assert check_components(wrong, of, params)[1] > 1e6 * right


def test_masks_and_divisors_are_the_definition():
    """DERIVATION.md, section 5, transcribed."""
    for T in (1, 2, 3, 6, 7):
        for k1, k2 in [*matrix.pairs(T), (1, T + 3), (T + 1, T + 1)]:
            kept, divisors, e, n = np.zeros((T, T)), np.zeros((T, 1)), {0: 0}, 0
            while e[n] < T:
                n += 1
                e[n] = min(n * k1, T)
                for t in range(e[n - 1] + 1, e[n] + 1):
                    kept[t - 1, max(0, e[n] - k2) : t] = 1
                    divisors[t - 1] = 6 * (e[n] - e[n - 1])
            assert np.array_equal(mask(T, k1, k2), kept), (k1, k2)
            assert np.array_equal(matrix.divisors(T, k1, 6), divisors)
    with pytest.raises(InputError, match="expected k2 ≥ k1"):
        mask(5, 3, 2)


def test_the_cost_is_not_defined_without_a_gradient():
    for size, bias in ((0, np.nan), (2, 1)):  # of the second, one step keeps nothing
        cost = matrix.cost(np.array([[[0], [0]], [[size], [0]]]), [(1, 1)])
        np.testing.assert_array_equal([cost.cosine, cost.bias], [[np.nan], [bias]])


def test_a_truncated_gradient_may_point_the_other_way():
    cost = matrix.cost(np.array([[[1.0], [0.0]], [[-4.0], [1.0]]]), [(1, 1)])  # 2 for -2
    np.testing.assert_array_equal([cost.cosine, cost.bias], [[-1], [2]])


def is_network(network, G, where):
    """All numbers of a network are those of its components by complex step, computed by plain loops."""
    sizes, T, full = np.sqrt(np.sum(G**2, axis=-1)), len(G), G.sum(axis=(0, 1))
    for kind, cost in network.cost.items():
        for k in range(1, T + 1):
            kept = np.tensordot(mask(T, k if kind == "chunks" else 1, k), G, 2)
            norm, whole, off = (math.sqrt(v @ v) for v in (kept, full, kept - full))
            near(
                [cost.cosine[k - 1], cost.bias[k - 1]],
                [kept @ full / norm / whole, off / whole],
                (where, k),
                1e-9,
            )
    needed = []
    for t in range(T):
        sums = [sum(sizes[t, t - n] for n in range(count)) for count in range(1, t + 2)]
        needed.append(1 + sum(total < 0.9 * sums[-1] for total in sums))
    near(network.reach, sum(needed) / T, where)
    near(
        network.lag,
        [np.mean([sizes[t, t - lag] for t in range(lag, T)]) for lag in range(T)],
        where,
    )
    near(network.cancellation, sizes.sum() / math.sqrt(full @ full), where, 1e-9)


@pytest.mark.parametrize("name", [None, *SUBJECTS], ids=str)
def test_findings_are_those_of_the_complex_step(name):
    """Before and after training."""
    of, found = shared() if name is None else (subject(name), measure_components(subject(name)))
    ways, T = [by_complex_step(of, params) for params in (of.start, of.end)], len(of.x)
    count = T * (T + 1) // 2
    assert (found.steps, found.epochs) == (T, sorted({0, of.options.schedule.epochs}))
    for own, G in zip(found.own, ways if found.is_trained else ways[:1], strict=True):
        is_network(own, G, name)
    near(found.norms, np.linalg.norm(ways[-1], axis=-1))
    for end in (BEFORE, AFTER):
        check = found.checks[end]
        assert (check.components, check.truncations, check.of) == (
            count,
            count,
            count * ways[0].shape[-1],
        )
        assert max(check.difference, check.sum_difference) < 1e-12
        assert check.sum_difference > 0 or T == 3  # where nothing may round
    for shown in found.masks:
        kept = mask(T, shown.k1, shown.k2)
        assert (shown.kept, shown.of) == (kept.sum(), count)
        near(shown.share, (found.norms * kept).sum() / found.norms.sum(), shown.name)


def test_a_network_without_a_gradient_has_findings():
    """All weights zero, and zero targets: every component is zero."""
    of = subject("everything")
    zero = Parameters(*(None if theta is None else np.zeros_like(theta) for theta in of.end))
    snapshots = tuple(Snapshot(snapshot.epoch, zero) for snapshot in of.snapshots)
    of = replace(of, target=np.zeros_like(of.target), snapshots=snapshots)
    found = measure_components(of)
    assert np.isnan(found.own[0].cost["chunks"].cosine).all()
    assert found.own[0].reach == 0
    assert np.isnan(found.own[0].cancellation)
    assert json.dumps([plain(found), explorer(of)], allow_nan=False)


def test_bands_are_those_of_networks_trained_alone():
    _, found = shared()
    alone = [small(8, 2, **SHARED, seed=seed) for seed in range(5)]
    assert (found.networks, found.diverged) == (5, 0)
    for at in (0, -1):
        runs = [(one, one.snapshots[at].params) for one in alone]
        each = [measure_network(components_of(*run)) for run in runs]
        ranked = {
            key: np.sort([getattr(one, key) for one in each], axis=0)
            for key in ("lag", "reach", "cancellation")
        }
        for key, values in ranked.items():
            band = getattr(found.bands[at], key)
            near([band.low, band.median, band.high], values[[0, 2, 4]], (at, key), rtol=1e-9)
    for kind in ("chunks", "sliding"):
        cosines = np.array([one.cost[kind].cosine for one in each])
        near(found.bands[-1].cost[kind].cosine.median, np.sort(cosines, axis=0)[2], kind, rtol=1e-9)
        # The run is one of the networks; which of its two cosines is lower, their last bits decide.
        assert np.isin(
            found.lower[kind][:-1] - (cosines[1:, :-1] < cosines[0, :-1]).sum(axis=0), (0, 1)
        ).all(), kind
        listed = {one.k: one.networks for one in found.opposite if one.kind == kind}
        assert listed == {
            k: count for k, count in enumerate((cosines < 0).sum(axis=0), start=1) if count
        }


def test_a_network_that_has_diverged_stays_out(monkeypatch):
    options = {"epochs": 2, "dtype": "float64"}
    of, trained = small(3, 3, **options), measures.last_of
    monkeypatch.setattr(
        measures,
        "last_of",
        lambda *run: Trained(*trained(*run)[:2], np.array([0.5, np.inf, 0.4], float)),
    )
    found = measure_components(of)
    assert found.diverged == 1
    lone = small(3, 3, **options, seed=2)
    near(
        found.bands[-1].lag.high,
        np.max([measure_network(components_of(one, one.end)).lag for one in (of, lone)], 0),
    )
