"""The component matrix, its masks, what truncations cost, and the numbers and figures made of them."""

import json
from functools import cache
from itertools import product

import numpy as np
import pytest
from study_components import bounds_of_components, components_in_another_way, initial_state, kept_components
from study_settings import SETTINGS, named_setting, near, shared_run, small

from numpy_rnn import Gradients, InputError, Parameters, windows
from numpy_rnn.study.components import matrix
from numpy_rnn.study.components.measures import components_of, explorer, measure_components, sum_over_epoch
from numpy_rnn.study.figures.style import spread_apart, step_ticks
from numpy_rnn.study.page.tables import component_tables
from numpy_rnn.study.setting import Snapshot, rounded


@cache
def findings_in(name):
    """A setting, or that of the shared run, and the findings of this part and of the explorer."""
    if name is None:
        return shared_run()
    setting = named_setting(name)
    return setting, {"components": measure_components(setting), "explorer": explorer(setting)}


# -- the components --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_every_component_is_its_derivative_by_complex_step_and_by_balls(name):
    """Balls: |component − value| ≤ E. The imaginary part of a complex product is a sum of twice as many terms, so each
    γ_n of its pass is γ_2n ≤ 2γ_n (1 + tiny), hence its own error is 2E at most, and the two are 3E apart at most.
    """
    setting = named_setting(name)
    for params in (setting.start, setting.end):
        components, (E, cases) = components_of(setting, params), bounds_of_components(setting, params)
        T, h_0, phi = len(setting.x), initial_state(setting, params), setting.configuration.nonlinearity
        for t, balls in enumerate(cases, start=1):
            for tensor in ("dh", "da"):
                value, bound = balls[tensor]
                off = np.abs(value.difference(getattr(components, tensor)[t - 1, :t]))
                assert (off <= bound + value.radius).all()
        G, allowed = matrix.flat(components.gradients), 3 * matrix.flat(E)
        everything = np.arange(G.shape[-1])
        for s in range(1, T + 1):
            checked = matrix.components_by_complex_step(params, setting.x, setting.target, h_0, phi, s, everything)
            assert (np.abs(checked - G[:, s - 1]) <= allowed[:, s - 1]).all(), s
            assert not checked[: s - 1].any()
        there = G != 0
        assert np.mean(np.abs(G[there]) > 1e3 * allowed[there]) > 0.9  # so that the bounds say something


def test_the_check_of_the_components_finds_one_wrong_element():
    setting = named_setting("everything")
    components, h_0 = components_of(setting, setting.end), initial_state(setting, setting.end)
    arguments = setting.end, setting.x, setting.target, h_0, "tanh"
    right = matrix.check_components(components, *arguments)
    assert right["elements"] == right["of"] == 15 * matrix.flat(components.gradients).shape[-1]
    wrong = Gradients(*(theta.copy() for theta in components.gradients))
    wrong.b_h[3, 1, 2] *= 1.001
    result = matrix.check_components(components._replace(gradients=wrong), *arguments)
    assert result["at"] == {"t": 4, "s": 2}
    assert result["difference"] > 1e6 * right["difference"]


def test_of_many_parameters_a_sample_is_checked():
    setting = named_setting("sine")
    wide = setting.start._replace(W_xh=np.full((1, 30), 0.1), W_hh=np.eye(30) / 2, W_hy=np.full((30, 1), 0.1))
    h_0 = np.zeros((1, 30))
    components = matrix.component_matrix(wide, setting.x, setting.target, h_0)
    result = matrix.check_components(components, wide, setting.x, setting.target, h_0, "tanh")
    assert wide.W_hh.size > matrix.MAX_PARAMETERS
    assert 0 < result["elements"] <= matrix.MAX_PARAMETERS * len(setting.x) < result["of"] == 55 * 960
    again = matrix.check_components(components, wide, setting.x, setting.target, h_0, "tanh")
    assert again == result
    broken = components._replace(gradients=components.gradients._replace(W_hh=components.gradients.W_hh * 1.5))
    assert matrix.check_components(broken, wide, setting.x, setting.target, h_0, "tanh")["difference"] > 0.1


# -- the masks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [1, 2, 3, 6, 7])
def test_masks_and_weights_are_the_definition(T):
    for k1, k2 in [*matrix.pairs(T), (1, T + 3), (T + 1, T + 1)]:
        kept, counted = kept_components(T, k1, k2)
        at = [[(t, s) for s in range(1, T + 1)] for t in range(1, T + 1)]
        assert matrix.mask(T, k1, k2).tolist() == [[float(component in kept) for component in row] for row in at], (
            k1,
            k2,
        )
        mean = [[(component in kept) / (counted[component[0]] * 6) for component in row] for row in at]
        assert matrix.weights(T, k1, k2, "mean", 2, 3).tolist() == mean, (k1, k2)


def test_masks_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="expected k2 ≥ k1"):
        matrix.mask(5, 3, 2)
    with pytest.raises(InputError, match="unknown reduction"):
        matrix.weights(5, 1, 2, "median")


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_masked_sum_is_what_bptt_returns_for_every_truncation(reduction):
    """A relu network of small whole numbers, with biases and a learned state: nothing rounds, so to the last bit.

    Under "mean" the losses are divided by K; the schedules whose K are powers of two are compared.
    """
    T, integers = 7, np.random.default_rng(2).integers
    sizes = ((1, 2), (2, 2), (2, 1), (2,), (1,), (1, 2))
    params = Parameters(*(integers(1, 3, size).astype(float) for size in sizes))
    setting = small(T, nonlinearity="relu", reduction=reduction, hidden_size=2, epochs=0)
    x, target = (integers(1, 4, (T, 1, 1)).astype(float) for _ in range(2))
    setting = setting._replace(x=x, target=target)
    gradients = components_of(setting, params).gradients
    assert np.all(matrix.norms(gradients) == np.tril(matrix.norms(gradients)))
    assert np.tril(matrix.norms(gradients)).astype(bool).sum() == T * (T + 1) // 2
    compared = 0
    for k1, k2 in matrix.pairs(T):
        if reduction == "sum" or {window.loss_steps for window in windows(T, k1, k2)} <= {1, 2, 4}:
            masked = matrix.masked_sum(gradients, matrix.weights(T, k1, k2, reduction))
            for own, summed in zip(masked, sum_over_epoch(setting, params, k1, k2), strict=True):
                assert np.array_equal(own, summed), (k1, k2)
            compared += 1
    assert compared == {"sum": 28, "mean": 13}[reduction]


# -- what truncations cost --------------------------------------------------------------------------------------------


def test_the_cost_is_not_defined_without_a_gradient():
    G = np.zeros((2, 2, 1))
    cosine, bias = matrix.cost(G, [(1, 1)])
    assert np.isnan([*cosine, *bias]).all()
    G[1, 0] = 2  # a gradient of which one step keeps nothing
    cosine, bias = matrix.cost(G, [(1, 1)])
    assert np.isnan(cosine).all()
    assert bias.tolist() == [1]


def test_lags_and_reach_by_hand():
    held = np.array([[8.0, 0, 0], [4, 4, 0], [1, 2, 5]])
    assert [norm.tolist() for norm in matrix.by_lag(held)] == [[8, 4, 5], [4, 2], [1]]
    assert matrix.reach(held, 0.5) == [1, 1, 1]
    assert matrix.reach(held, 0.75) == [1, 2, 2]
    assert matrix.reach(held, 1.0) == [1, 2, 3]
    assert matrix.reach(np.zeros((2, 2)), 0.5) == [0, 0]


# -- the findings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, *SETTINGS], ids=str)
def test_the_findings_are_those_of_another_way(name):
    """By complex step and plain loops, before and after training and at every snapshot between."""
    setting, findings = findings_in(name)
    assert json.dumps(findings, allow_nan=False)
    found = findings["components"]
    along, T = [components_in_another_way(setting, snapshot.params) for snapshot in setting.snapshots], len(setting.x)
    assert (found["steps"], found["epochs"]) == (T, setting.configuration.epochs)
    assert found["parameters"] == sum(theta.size for theta in setting.end if theta is not None)
    for end, of in (("start", along[0]), ("end", along[-1])):
        for part in ("mean", "largest", "smallest"):
            near(found["lag"][end][part], of["lag"][part], (end, part))
        near(found["heat"][end], of["heat"], end)
        near([*found["reach"][end].values()], [*of["reach"].values()], end)
        sums = found["sums"][end]
        assert sums["truncations"] == T * (T + 1) // 2
        assert 0 < sums["difference"] < 1e-12 or T == 3  # where nothing may round
        for key, kind, part in product(("all", "W_hh"), ("chunks", "sliding"), ("cosine", "bias")):
            near(found["truncation"][end][key][kind][part], of["cost"][key][kind][part], (end, key, kind, part))
        for shown in found["masks"]:
            k1, k2 = shown["k1"], shown["k2"]
            assert (shown["kept"], shown["of"]) == (len(kept_components(T, k1, k2)[0]), T * (T + 1) // 2)
            expected = of["of_mask"](k1, k2)
            near([shown[end][part] for part in expected], [*expected.values()], (end, k1, k2))
    result = found["along"]
    assert (result["epochs"], result["k"][-1]) == ([snapshot.epoch for snapshot in setting.snapshots], T)
    for kind, part in product(("chunks", "sliding"), ("cosine", "bias")):
        expected = [[of["cost"]["all"][kind][part][k - 1] for of in along] for k in result["k"]]
        near(result[kind][part], expected, (kind, part))
    near(result["loss"], [np.sum(of["losses"]) for of in along], "loss")
    for part in ("spectral_radius", "slope", "saturated"):
        near(result[part], [of[part] for of in along], part)
    assert [of["90"] for of in result["reach"]] == rounded([of["reach"]["90"] for of in along])


@pytest.mark.parametrize("name", ["everything", "three steps, untrained"])
def test_a_network_without_a_gradient_is_no_trouble(name):
    """All weights zero, and zero targets: every component is zero."""
    setting = named_setting(name)
    zero = Parameters(*(None if theta is None else np.zeros_like(theta) for theta in setting.end))
    snapshots = tuple(Snapshot(snapshot.epoch, zero) for snapshot in setting.snapshots)
    setting = setting._replace(target=np.zeros_like(setting.target), snapshots=snapshots)
    findings = {"components": measure_components(setting), "explorer": explorer(setting)}
    assert json.dumps(findings, allow_nan=False)
    assert not any(findings["components"]["truncation"]["start"]["all"]["chunks"]["cosine"])
    assert findings["components"]["reach"]["start"]["90"] == 0
    assert all("None" not in cell for table in component_tables(findings) for row in table.rows for cell in row)


# -- the explorer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_the_explorer_has_the_run(name):
    """Series and parameters are exact."""
    setting, findings = findings_in(name)
    explorer, choices = findings["explorer"], setting.configuration
    T, D, (H, O) = len(setting.x), setting.x.shape[-1], setting.end.W_hy.shape
    assert explorer["sizes"] == {"T": T, "B": 1, "D": D, "H": H, "O": O}
    assert (explorer["k1"], explorer["k2"]) == (min(choices.k1, T), min(choices.k2, T))
    for name in ("x", "target"):
        assert explorer[name] == getattr(setting, name)[:, 0].tolist(), name
    assert explorer["h_0"] == setting.h_0[0].tolist()
    for snapshot, seen in zip(setting.snapshots, explorer["snapshots"], strict=True):
        of = components_in_another_way(setting, snapshot.params)
        assert seen["epoch"] == snapshot.epoch
        for name, theta in snapshot.params._asdict().items():
            expected = theta if theta is None else (theta[0] if name == "h_0" else theta).tolist()
            assert seen["parameters"][name] == expected, name
        near([seen["loss"], seen["gradient_norm"]], [np.sum(of["losses"]), of["gradient_norm"]])
        near(seen["spectral_radius"], of["spectral_radius"])
        assert [len(row) for row in seen["norm"]] == list(range(1, T + 1))
        near([v for row in seen["norm"] for v in row], of["heat"][np.tril_indices(T)], "norm")
        for k1, k2 in ((1, 1), (1, T), (2, 2), (2, 3), (T, T)):
            expected = of["of_mask"](k1, k2)
            near([seen[part][k1 - 1][k2 - k1] for part in ("cosine", "bias")], [expected["cosine"], expected["bias"]])


# -- tables and figures -----------------------------------------------------------------------------------------------


def test_names_beside_curves_keep_apart_and_in_their_order():
    assert spread_apart([1.0, 5.0, 9.0], 2.0, 0.0, 10.0) == [1, 5, 9]
    assert spread_apart([4.0, 4.0], 2.0, 0.0, 10.0) == [3, 5]
    assert spread_apart([9.5, 10.0], 2.0, 0.0, 10.0) == [8, 10]
    assert spread_apart([0.0, 0.5, 9.0], 2.0, 0.0, 10.0) == [0, 2, 9]
    assert spread_apart([5.0] * 3, 2.0, 0.0, 10.0) == [3, 5, 7]


def test_steps_are_marked_at_round_numbers():
    for steps, expected in ((1, [1]), (3, [1, 2, 3]), (6, [*range(1, 7)]), (7, [1, 3, 5, 7]), (20, [1, 5, 10, 15, 20])):
        assert step_ticks(steps) == expected
