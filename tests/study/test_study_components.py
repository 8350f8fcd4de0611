"""The component matrix, its masks, what truncations cost, and the numbers and figures made of them."""

import json
from functools import cache
from itertools import product

import numpy as np
import pytest
from study_components import bounds_of_components, components_in_another_way, initial_state, kept_components
from study_settings import SETTINGS, named_setting, near, shared_run

from numpy_rnn import Gradients, InputError, Parameters
from numpy_rnn.study.components import matrix
from numpy_rnn.study.components.measures import components_of, explorer, measure_components
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
    arguments = wide, setting.x, setting.target, np.zeros((1, 30))
    components = matrix.component_matrix(*arguments)
    result = matrix.check_components(components, *arguments, "tanh")
    assert wide.W_hh.size > matrix.MAX_PARAMETERS
    assert 0 < result["elements"] <= matrix.MAX_PARAMETERS * len(setting.x) < result["of"] == 55 * 960
    assert matrix.check_components(components, *arguments, "tanh") == result
    broken = components._replace(gradients=components.gradients._replace(W_hh=components.gradients.W_hh * 1.5))
    assert matrix.check_components(broken, *arguments, "tanh")["difference"] > 0.1


@pytest.mark.parametrize("T", [1, 2, 3, 6, 7])
def test_masks_and_weights_are_the_definition(T):
    for k1, k2 in [*matrix.pairs(T), (1, T + 3), (T + 1, T + 1)]:
        kept, counted = kept_components(T, k1, k2)
        expected = np.zeros((2, T, T))  # the mask, and the weights under "mean" with 2 sequences and 3 outputs
        for t, s in kept:
            expected[:, t - 1, s - 1] = 1, 1 / (counted[t] * 6)
        assert np.array_equal(matrix.mask(T, k1, k2), expected[0]), (k1, k2)
        assert np.array_equal(matrix.weights(T, k1, k2, "mean", 2, 3), expected[1]), (k1, k2)


def test_masks_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="expected k2 ≥ k1"):
        matrix.mask(5, 3, 2)
    with pytest.raises(InputError, match="unknown reduction"):
        matrix.weights(5, 1, 2, "median")


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
    assert [matrix.reach(held, share) for share in (0.5, 0.75, 1.0)] == [[1, 1, 1], [1, 2, 2], [1, 2, 3]]
    assert matrix.reach(np.zeros((2, 2)), 0.5) == [0, 0]


@pytest.mark.parametrize("name", [None, *SETTINGS], ids=str)
def test_the_findings_are_those_of_another_way(name):
    """By complex step and plain loops, before and after training and at every snapshot between."""
    setting, findings = findings_in(name)
    assert json.dumps(findings, allow_nan=False)
    found = findings["components"]
    along, T = [components_in_another_way(setting, snapshot.params) for snapshot in setting.snapshots], len(setting.x)
    size = sum(theta.size for theta in setting.end if theta is not None)
    assert (found["steps"], found["epochs"], found["parameters"]) == (T, setting.configuration.epochs, size)
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
            for part, value in of["of_mask"](k1, k2).items():
                near(shown[end][part], value, (end, k1, k2, part))
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
            for part in ("cosine", "bias"):
                near(seen[part][k1 - 1][k2 - k1], of["of_mask"](k1, k2)[part], (part, k1, k2))


@pytest.mark.parametrize(
    ("places", "expected"),
    [([1, 5, 9], [1, 5, 9]), ([4, 4], [3, 5]), ([9.5, 10], [8, 10]), ([0, 0.5, 9], [0, 2, 9]), ([5, 5, 5], [3, 5, 7])],
)
def test_names_beside_curves_keep_apart_and_in_their_order(places, expected):
    assert spread_apart([float(place) for place in places], 2.0, 0.0, 10.0) == expected


def test_steps_are_marked_at_round_numbers():
    for steps, expected in ((1, [1]), (3, [1, 2, 3]), (6, [*range(1, 7)]), (7, [1, 3, 5, 7]), (20, [1, 5, 10, 15, 20])):
        assert step_ticks(steps) == expected
