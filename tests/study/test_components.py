"""The component matrix, its masks, what truncations cost, and the numbers of many networks."""

import json
from functools import cache

import numpy as np
import pytest
from study_components import (
    bounds_of_components,
    bounds_of_jacobian,
    components_in_another_way,
    growth_in_another_way,
    jacobians_by_complex_step,
    kept_components,
)
from study_runs import SUBJECTS, near, small, subject

from numpy_rnn import Gradients, InputError, Parameters
from numpy_rnn.study.components import matrix, networks
from numpy_rnn.study.components.jacobians import growth_by_lag, jacobians, slopes, spectral_radius, states
from numpy_rnn.study.components.matrix import components_of
from numpy_rnn.study.components.measures import explorer, measure_components
from numpy_rnn.study.components.networks import measure_networks, network_of
from numpy_rnn.study.findings import AFTER, BEFORE, Network, bands, plain
from numpy_rnn.study.subject import Snapshot, Subject

SHARED = {"epochs": 4, "hidden_size": 3, "bias": True, "dtype": "float64"}


@cache
def shared():
    """A run of five networks, and its findings."""
    of = small(8, 5, **SHARED)
    return of, measure_components(of)


def changed(of: Subject, **changes) -> Subject:
    return Subject(**vars(of) | changes)


@pytest.mark.parametrize("name", SUBJECTS)
def test_components_are_derivatives_by_complex_step_and_balls(name):
    """Balls: |component − value| ≤ E. The imaginary part of a complex product is a sum of twice as many terms, so each
    γ_n of its pass is γ_2n ≤ 2γ_n (1 + tiny), hence its own error is 2E at most, and the two are 3E apart at most.
    """
    of = subject(name)
    for params in (of.start, of.end):
        components, (E, cases) = components_of(of, params), bounds_of_components(of, params)
        for t, balls in enumerate(cases, start=1):
            for tensor in ("dh", "da"):
                value, bound = balls[tensor]
                off = np.abs(value.difference(getattr(components, tensor)[t - 1, :t]))
                assert (off <= bound + value.radius).all()
        G, allowed, h_0 = matrix.flat(components.gradients), 3 * matrix.flat(E), of.initial_state(params)
        everything = np.arange(G.shape[-1])
        for s in range(1, len(of.x) + 1):
            by_step = matrix.components_by_complex_step(params, of.x, of.target, h_0, of.nonlinearity, s, everything)
            assert (np.abs(by_step - G[:, s - 1]) <= allowed[:, s - 1]).all(), s
            assert not by_step[: s - 1].any()
        there = G != 0
        assert np.mean(np.abs(G[there]) > 1e3 * allowed[there]) > 0.9  # so that the bounds say something


@pytest.mark.parametrize("name", ["everything", "relu"])
def test_the_closed_form_is_the_component(name):
    """DERIVATION.md, section 5.3, one pair of steps after the other."""
    of = subject(name)
    params, result, h = of.end, components_of(of, of.end), states(of, of.end)[:, None]
    slope = slopes(h[1:], of.nonlinearity)
    for t in range(1, len(of.x) + 1):
        dy = h[t] @ params.W_hy + params.b_y - of.target[t - 1]
        for s in range(1, t + 1):
            M = [params.W_hh * slope[r - 1] for r in range(t, s, -1)]
            flow = np.linalg.multi_dot([dy, params.W_hy.T, *(m.T for m in M)]) * slope[s - 1]
            near(result.gradients.W_hh[t - 1, s - 1], h[s - 1].T @ flow, (t, s))


def test_the_check_of_the_components_finds_one_wrong_element():
    of = subject("everything")
    components = components_of(of, of.end)
    right = matrix.check_components(components, of, of.end)
    assert right.elements == 15 * matrix.flat(components.gradients).shape[-1]
    wrong = Gradients(*(theta.copy() for theta in components.gradients))
    wrong.b_h[3, 1, 2] *= 1.001
    result = matrix.check_components(components._replace(gradients=wrong), of, of.end)
    assert result.at == (4, 2)
    assert result.difference > 1e6 * right.difference


def test_of_many_parameters_a_sample_is_checked():
    of = changed(subject("sine"), h_0=np.zeros((1, 30)))
    wide = of.start._replace(W_xh=np.full((1, 30), 0.1), W_hh=np.eye(30) / 2, W_hy=np.full((30, 1), 0.1))
    components = components_of(of, wide)
    result = matrix.check_components(components, of, wide)
    assert wide.W_hh.size > matrix.MAX_PARAMETERS
    assert 0 < result.elements <= matrix.MAX_PARAMETERS * len(of.x) < 55 * 960
    assert matrix.check_components(components, of, wide) == result
    broken = components._replace(gradients=components.gradients._replace(W_hh=components.gradients.W_hh * 1.5))
    assert matrix.check_components(broken, of, wide).difference > 0.1


@pytest.mark.parametrize("T", [1, 2, 3, 6, 7])
def test_masks_and_weights_are_the_definition(T):
    for k1, k2 in [*matrix.pairs(T), (1, T + 3), (T + 1, T + 1)]:
        kept, steps_with_loss = kept_components(T, k1, k2)
        expected = np.zeros((2, T, T))  # the mask, and the weights under "mean" with 2 sequences and 3 outputs
        for t, s in kept:
            expected[:, t - 1, s - 1] = 1, 1 / (steps_with_loss[t] * 6)
        assert np.array_equal(matrix.mask(T, k1, k2), expected[0]), (k1, k2)
        assert np.array_equal(matrix.weights(T, k1, k2, "mean", 2, 3), expected[1]), (k1, k2)
    with pytest.raises(InputError, match="expected k2 ≥ k1"):
        matrix.mask(5, 3, 2)


def test_the_cost_is_not_defined_without_a_gradient():
    G = np.zeros((2, 2, 1))
    cost = matrix.cost(G, [(1, 1)])
    assert np.isnan([*cost.cosine, *cost.bias]).all()
    G[1, 0] = 2  # a gradient of which one step keeps nothing
    cost = matrix.cost(G, [(1, 1)])
    assert np.isnan(cost.cosine).all()
    assert cost.bias.tolist() == [1]


def test_lags_and_reach_by_hand():
    sizes = np.array([[8.0, 0, 0], [4, 4, 0], [1, 2, 5]])
    assert [norm.tolist() for norm in matrix.by_lag(sizes)] == [[8, 4, 5], [4, 2], [1]]
    assert [matrix.reach(sizes, share) for share in (0.5, 0.75, 1.0)] == [[1, 1, 1], [1, 2, 2], [1, 2, 3]]
    assert matrix.reach(np.zeros((2, 2)), 0.5) == [0, 0]


def is_network(network: Network, expected, where):
    """All numbers of a network are those of another way."""
    for key in ("lag", "reach", "cancellation"):
        near(getattr(network, key), expected[key], (where, key), rtol=1e-9)
    for kind, cost in network.cost.items():
        for part in ("cosine", "bias"):
            near(getattr(cost, part), expected["cost"][kind][part], (where, kind, part), rtol=1e-9)


@pytest.mark.parametrize("name", [None, *SUBJECTS], ids=str)
def test_the_findings_are_those_of_another_way(name):
    """By complex step and plain loops, before and after training."""
    of, found = shared() if name is None else (subject(name), measure_components(subject(name)))
    ways, T = [components_in_another_way(of, params) for params in (of.start, of.end)], len(of.x)
    assert found.steps == T
    assert found.epochs == sorted({0, of.options.schedule.epochs})
    for own, way in zip(found.own, ways if found.is_trained else ways[:1], strict=True):
        is_network(own, way, name)
    near(found.norms, ways[-1]["norms"])
    for end in (BEFORE, AFTER):
        check = found.checks[end]
        assert check.components == check.truncations == T * (T + 1) // 2
        assert 0 < check.sum_difference < 1e-12 or T == 3  # where nothing may round
    for shown in found.masks:
        assert (shown.kept, shown.of) == (len(kept_components(T, shown.k1, shown.k2)[0]), T * (T + 1) // 2)
        near(shown.share, ways[-1]["of_mask"](shown.k1, shown.k2)["share"], shown.name)


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_explorer_has_the_run(name):
    """Series and parameters are exact."""
    of, data = subject(name), explorer(subject(name))
    assert json.dumps(data, allow_nan=False)
    for key, values in (("x", of.x[:, 0]), ("target", of.target[:, 0]), ("h_0", of.h_0[0])):
        assert data[key] == values.tolist(), key
    for snapshot, seen in zip(of.snapshots, data["snapshots"], strict=True):
        for key, theta in snapshot.params._asdict().items():
            expected = theta if theta is None else (theta[0] if key == "h_0" else theta).tolist()
            assert seen["parameters"][key] == expected, key


def test_a_network_without_a_gradient_has_findings():
    """All weights zero, and zero targets: every component is zero."""
    of = subject("everything")
    zero = Parameters(*(None if theta is None else np.zeros_like(theta) for theta in of.end))
    snapshots = tuple(Snapshot(snapshot.epoch, zero) for snapshot in of.snapshots)
    of = changed(of, target=np.zeros_like(of.target), snapshots=snapshots)
    found = measure_components(of)
    assert np.isnan(found.own[0].cost["chunks"].cosine).all()
    assert found.own[0].reach == 0
    assert np.isnan(found.own[0].cancellation)
    assert json.dumps([plain(found), explorer(of)], allow_nan=False)


# -- the growth of states --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["everything", "relu", "three steps, untrained"])
def test_jacobians_are_those_of_balls_and_complex_step(name):
    of = subject(name)
    params, h = of.end, states(of, of.end)
    J, h_0 = jacobians(params.W_hh, h, of.nonlinearity), of.initial_state(of.end)
    T, H = len(of.x), len(params.W_hh)
    by_step = [jacobians_by_complex_step(params, of.x, h_0, of.nonlinearity, s) for s in range(T + 1)]
    checked = np.stack(by_step, axis=1)
    for t in range(1, T + 1):
        for j in range(H):
            exact, allowed = bounds_of_jacobian(of, params, t, j, h[t, j])
            assert (np.abs(J[t, 1 : t + 1, :, j] - exact) <= allowed).all(), (t, j)
            assert (np.abs(checked[t, 1 : t + 1, :, j] - J[t, 1 : t + 1, :, j]) <= 3 * allowed).all(), (t, j)
        assert not checked[: t - 1, t].any()
    assert np.abs(J[1:, 1]).max() > 1e-2


def test_slopes_radius_and_overflow_by_hand():
    h = np.array([[0.5, -0.5], [0.0, -1.0], [0.5, 0.99]])
    assert slopes(h[1:]).tolist() == [[1, 0], [0.75, 1 - 0.99**2]]
    assert slopes(h[1:], "relu").tolist() == [[0, 0], [1, 1]]
    assert spectral_radius(np.diag([-3.0, 2.0])) == 3
    assert spectral_radius(np.array([[0.0, 5.0], [0.0, 0.0]])) == 0
    assert np.isnan(np.concatenate(growth_by_lag(np.full((2, 2), 1e200), np.ones((4, 2)), "relu"))).all()


# -- many networks ---------------------------------------------------------------------------------------------------


def test_bands_are_those_of_networks_that_were_trained_alone():
    _, found = shared()
    alone = [small(8, 2, **SHARED, seed=seed) for seed in range(5)]
    assert (found.networks, found.diverged) == (5, 0)
    for at, band in zip((0, -1), found.bands, strict=True):
        each = [network_of(one, one.snapshots[at].params) for one in alone]
        for key in ("lag", "reach", "cancellation"):
            values = np.sort([getattr(network, key) for network in each], axis=0)
            for part, rank in (("low", 0), ("median", 2), ("high", 4)):
                near(getattr(getattr(band, key), part), values[rank], (at, key, part), rtol=1e-9)
        for kind in ("chunks", "sliding"):
            values = np.sort([network.cost[kind].cosine for network in each], axis=0)
            near(band.cost[kind].cosine.median, values[2], (at, kind), rtol=1e-9)
    cosines = {kind: np.array([network.cost[kind].cosine for network in each])[:, :-1] for kind in found.lower}
    for kind, (own, *others) in cosines.items():
        # The run is one of the networks; which of its two cosines is lower, their last bits decide.
        assert np.isin(found.lower[kind][:-1] - (np.array(others) < own).sum(axis=0), (0, 1)).all(), kind
        below = {k: (cosines[kind][:, k - 1] < 0).sum() for k in range(1, 8)}
        listed = {one.k: one.networks for one in found.opposite if one.kind == kind}
        assert listed == {k: count for k, count in below.items() if count}
    ends = [growth_in_another_way(one, one.end) for one in alone]
    starts = [growth_in_another_way(one, one.start) for one in alone]
    for name, ways in ((BEFORE, starts), (AFTER, ends)):
        for key in ways[0]:
            median = np.sort([way[key] for way in ways], axis=0)[2]
            near(getattr(found.growth[name], key).median, median, (name, key), rtol=1e-9)


def test_bands_leave_out_what_is_not_defined():
    of_networks = [{"a": np.array([n, np.nan if n < 3 else n])} for n in range(1, 5)]
    found = bands([*of_networks, None], like=of_networks[0])["a"]
    assert [part.tolist() for part in (found.low, found.median, found.high)] == [[1, 3], [2.5, 3.5], [4, 4]]
    assert np.isnan(bands([None], like=1.0).median)


def test_a_network_that_has_diverged_stays_out(monkeypatch):
    """Of three networks, one is above the limit after training."""
    losses = np.array([[1.0, 1.0, 1.0], [0.5, 1001.0, 1000.0]])
    monkeypatch.setattr(networks, "losses_of_a_pass", lambda *arguments: losses)
    of = small(3, 3, epochs=2)
    found = measure_networks(of, [network_of(of, params) for params in (of.start, of.end)])
    assert found.diverged == 1
