"""What a state does to later ones, starting points where gradients vanish and explode, and numbers of many networks.

Of many networks: each as if it were alone, their medians and bands, and what is said about them.
"""

import json
import math
import re
from functools import cache
from itertools import product

import documents
import numpy as np
import pytest
from study_components import components_in_another_way, initial_state
from study_settings import SETTINGS, SHARED, bands_are, named_setting, near, shared_run, small

from numpy_rnn.conformance.bounds.global_bounds import global_bounds
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.complex_step import unrolled
from numpy_rnn.study.components import seeds
from numpy_rnn.study.components.jacobians import (
    MAX_RADIUS,
    RADII_TRIED,
    VANISHING,
    jacobians,
    measure_states,
    saturation,
    slopes,
    spectral_radius,
    states,
    three_starts,
)
from numpy_rnn.study.components.matrix import check_jacobians, cost, flat, jacobians_by_complex_step
from numpy_rnn.study.components.measures import components_of, measure_components
from numpy_rnn.study.components.seeds import bands, measure_seeds, opposite, place
from numpy_rnn.study.figures import style
from numpy_rnn.study.figures.truncation_figures import KINDS
from numpy_rnn.study.page.page import HERE, SCRIPTS, STYLES
from numpy_rnn.study.page.tables import component_tables
from numpy_rnn.study.page.templates import fill


def of(setting, params):
    """Parameters, inputs, initial state and nonlinearity."""
    return params, setting.x, initial_state(setting, params), setting.configuration.nonlinearity


@pytest.mark.parametrize("name", ["everything", "relu", "three steps, untrained"])
def test_jacobians_are_those_of_back_propagation_in_balls_and_of_complex_step(name):
    """Column j of ∂h_t/∂h_s is the dh_s of a window whose loss is ½ of the error squared of y_t = h_{t,j} against a
    target 1 below it, so that dy_t is 1, but for the rounding of that target. E bounds any correct computation of it;
    the imaginary parts of complex step have at most twice as many roundings, hence 3E, as in test_study_components.py.
    """
    setting = named_setting(name)
    params, x, h_0, nonlinearity = of(setting, setting.end)
    h = states(params, x, h_0, nonlinearity)
    J = jacobians(params.W_hh, h, nonlinearity)
    T, H = len(x), len(params.W_hh)
    checked = np.stack([jacobians_by_complex_step(params, x, h_0, nonlinearity, s) for s in range(T + 1)], axis=1)
    for t in range(1, T + 1):
        for j in range(H):
            one = params._replace(W_hy=np.eye(H)[:, [j]], b_y=None if params.b_y is None else np.zeros(1))
            target = np.full((1, 1, 1), h[t, j] - 1)
            values = global_bounds(Case(one, x[:t], target, h_0, 0.0, nonlinearity, "sum"))
            dh, E = values["dh"]
            off_one = np.abs(values["dy"][0].difference(1.0))[-1, 0, 0]
            for s in range(1, t + 1):
                allowed = E[s - 1, 0] + dh.radius[s - 1, 0] + 2 * off_one * np.abs(J[t, s, :, j])
                assert (np.abs(dh.difference(J[t, s, :, j][None, None])[s - 1, 0]) <= allowed).all(), (t, s, j)
                assert (np.abs(checked[t, s, :, j] - J[t, s, :, j]) <= 3 * allowed).all(), (t, s, j)
        assert not checked[: t - 1, t].any()
    assert np.abs(J[1:, 1]).max() > 1e-2


@pytest.mark.parametrize("name", SETTINGS)
def test_the_check_of_the_jacobians_finds_a_wrong_factor(name):
    setting = named_setting(name)
    params, x, h_0, nonlinearity = of(setting, setting.start)
    J = jacobians(params.W_hh, states(params, x, h_0, nonlinearity), nonlinearity)
    transposed, larger = J.copy(), J * np.where(np.eye(len(J)), 1, 1.001)[..., None, None]
    transposed[2, 1] = transposed[2, 1].T  # as if W_hh had been taken the other way round
    right, wrong, off = (check_jacobians(of, params, x, h_0, nonlinearity) for of in (J, transposed, larger))
    assert wrong > 1e6 * max(right, np.finfo(float).eps)
    assert off > 5e-4


def test_slopes_radius_and_saturation_by_hand():
    h = np.array([[0.5, -0.5], [0.0, -1.0], [0.5, 0.99]])
    assert slopes(h[1:]).tolist() == [[1, 0], [0.75, 1 - 0.99**2]]
    assert slopes(h[1:], "relu").tolist() == [[0, 0], [1, 1]]
    assert spectral_radius(np.diag([-3.0, 2.0])) == 3
    assert spectral_radius(np.array([[0.0, 5.0], [0.0, 0.0]])) == 0
    assert saturation(h, "tanh") == {"slope": 0.442475, "saturated": 0.5}
    assert saturation(np.array([[0.0], [0.89], [0.91]]), "tanh")["saturated"] == 0.5
    assert measure_states(named_setting("three steps, untrained"))["threshold"] == 0.9
    assert saturation(h, "relu") == {"slope": 0.5, "saturated": 0.5}


def test_the_scaled_starts_have_their_spectral_radii_and_grow_as_said():
    setting = named_setting("sine")
    params, *rest = of(setting, setting.start)
    drawn, vanishing, exploding = three_starts(params, *rest)
    assert drawn.params is params
    radius = spectral_radius(params.W_hh)
    for start in (vanishing, exploding):
        assert (start.params.W_hh == start.factor * params.W_hh).all()
        assert start.params._replace(W_hh=None) == params._replace(W_hh=None)
    assert abs(vanishing.factor * radius - VANISHING) <= np.spacing(VANISHING)  # two roundings
    assert exploding.factor * radius <= MAX_RADIUS * (1 + 2**-50)  # three roundings

    def longest(factor):
        scaled = params._replace(W_hh=factor * params.W_hh)
        return np.linalg.norm(jacobians(scaled.W_hh, states(scaled, *rest), rest[-1])[-1, 0], 2)

    tried = [longest(n / RADII_TRIED * MAX_RADIUS / radius) for n in range(1, RADII_TRIED + 1)]
    # The same products in the same order; only the factor may differ, by three roundings.
    assert np.argmax(tried) + 1 == round(exploding.factor * radius / MAX_RADIUS * RADII_TRIED)
    assert longest(exploding.factor) > 1 > longest(1.0) > longest(vanishing.factor)


def test_weights_that_cannot_be_scaled_stay_and_small_ones_are_not_scaled_up_to_vanish():
    setting = named_setting("three steps, untrained")
    params, *rest = of(setting, setting.start)
    nothing = params._replace(W_hh=np.zeros((2, 2)))
    assert [start.name for start in three_starts(nothing, *rest)] == ["as drawn"]
    small = params._replace(W_hh=np.diag([0.125, 0.0625]))
    assert three_starts(small, *rest)[1].factor == 1
    large = params._replace(W_hh=np.diag([8.0, 4.0]))
    drawn, vanishing, exploding = three_starts(large, *rest)
    assert drawn.factor == 1
    assert vanishing.params.W_hh[0, 0] == VANISHING
    assert exploding.factor <= 1  # what is larger than LARGEST already is not enlarged
    _, x, h_0, _ = of(setting, setting.start)
    open_units = large._replace(W_xh=np.ones((1, 2)))  # relu, inputs above 0: the larger W_hh, the larger the product
    assert three_starts(open_units, abs(x), h_0, "relu")[2].factor == 1


def test_states_that_overflow_leave_no_numbers():
    setting = named_setting("relu")
    huge = setting.start._replace(W_hh=np.full((3, 3), 1e200), b_h=np.ones(3))
    setting = setting._replace(snapshots=[snapshot._replace(params=huge) for snapshot in setting.snapshots])
    drawn, *_ = measure_states(setting)["jacobians"]
    assert [drawn[key] for key in ("mean", "at_longest", "difference")] == [[], None, None]


@cache
def alone():
    """The networks of the shared run, each trained on its own."""
    return [small(8, 2, **SHARED, seed=seed) for seed in range(5)]


def growth_in_another_way(setting, params):
    """The largest singular values of ∂h_t/∂h_s by complex step: their means by lag, and the growth over all steps."""
    h_0, T = initial_state(setting, params), len(setting.x)
    J = np.stack([jacobians_by_complex_step(params, setting.x, h_0, "tanh", s) for s in range(T + 1)], axis=1)
    sizes = np.linalg.norm(J, 2, axis=(-2, -1))
    smallest, every = np.linalg.norm(J, -2, axis=(-2, -1)), range(T + 1)
    by_lag = [[sizes[t, t - lag] for t in every[lag:]] for lag in every]
    return {
        "by_lag": by_lag,
        "growth": [np.mean(of_lag) for of_lag in by_lag],
        "least": [np.mean([smallest[t, t - lag] for t in every[lag:]]) for lag in every],
        "at_longest": sizes[T, 0],
        "a_step": math.exp(math.log(sizes[T, 0]) / T),
        "slope": np.mean(1 - unrolled([params] * T, setting.x, h_0).h[1:, 0] ** 2),
    }


def test_bands_are_those_of_networks_that_were_trained_alone():
    found = shared_run()[1]["components"]["seeds"]
    assert (found["networks"], found["diverged"], found["diverged_end"]) == (5, [0] * 4, 0)
    for index, of_epoch in enumerate(found["along"]):
        ways = [components_in_another_way(setting, setting.snapshots[index].params) for setting in alone()]
        for name in ("spectral_radius", "slope", "saturated"):
            bands_are(of_epoch[name], [of[name] for of in ways], (index, name))
        bands_are(of_epoch["loss"], [np.sum(of["losses"]) for of in ways], (index, "loss"))
        bands_are(of_epoch["lag"], [of["lag"]["mean"] for of in ways], (index, "lag"))
        bands_are(of_epoch["reach"], [[*of["reach"].values()] for of in ways], (index, "reach"))
        for key, kind, part in product(("all", "W_hh"), ("chunks", "sliding"), ("cosine", "bias")):
            bands_are(of_epoch["cost"][key][kind][part], [of["cost"][key][kind][part] for of in ways], (key, kind))
    for end, index in (("start", 0), ("end", -1)):
        ways = [components_in_another_way(setting, setting.snapshots[index].params) for setting in alone()]
        for kind in ("chunks", "sliding"):
            own, *others = np.array([of["cost"]["all"][kind]["cosine"] for of in ways])[:, :-1]
            # The run is one of the networks; which of its two cosines is lower, their last bits decide.
            assert np.isin(np.array(found["place"][end][kind])[:-1] - (others < own).sum(axis=0), (0, 1)).all(), end


def test_starting_points_are_those_of_the_untrained_networks_and_growth_after_training_of_the_trained():
    found = shared_run()[1]["components"]["seeds"]["starts"]
    ways = {"after training": [growth_in_another_way(setting, setting.end) for setting in alone()]}
    for setting in alone():
        for start in three_starts(setting.start, setting.x, setting.h_0):
            ways.setdefault(start.name, []).append(growth_in_another_way(setting, start.params))
    assert list(found) == ["as drawn", "scaled to vanish", "scaled to explode", "after training"]
    for name, of_networks in ways.items():
        for key in ("growth", "at_longest", "a_step", "slope"):
            bands_are(found[name][key], [of[key] for of in of_networks], (name, key))
    result, own = shared_run()[1]["components"], alone()[0]
    for of, params in ((result["jacobians"][0], own.start), (result["trained"], own.end)):
        expected = growth_in_another_way(own, params)
        for key in ("at_longest", "a_step", "slope", "least"):
            near(of[key], expected[key], (of["name"], key))
        near(of["mean"], expected["growth"])
        near(of["h"], unrolled([params] * 8, own.x, own.h_0).h[:, 0], of["name"])
        near(of["max"], [max(sizes) for sizes in expected["by_lag"]])
        near(of["min"], [min(sizes) for sizes in expected["by_lag"]])


def test_bands_leave_out_what_is_not_defined_and_networks_without_numbers():
    of_networks = [{"a": np.array([n, np.nan if n < 3 else n])} for n in range(1, 5)]
    assert bands([*of_networks, None]) == {"a": {"low": [1, 3], "median": [2, 3], "high": [4, 4]}}
    nothing = {name: [None, None] for name in ("low", "median", "high")}
    assert bands([None], like={"a": np.zeros(2), "b": 1.0}) == {"a": nothing, "b": dict.fromkeys(nothing)}


def test_opposite_directions_and_the_place_of_a_network_are_counts():
    def network(*cosine):
        return {"cost": {"all": {kind: {"cosine": np.array(cosine)} for kind in ("chunks", "sliding")}}}

    networks = [network(-0.5, 1, np.nan), network(0.5, 1, -1), None, network(-0.1, 1, 1)]
    assert opposite(networks) == place(network(0, 1, 0), networks) == {"chunks": [2, 0, 1], "sliding": [2, 0, 1]}
    assert opposite([None]) == {"chunks": [], "sliding": []}


@pytest.mark.parametrize("options", [{}, {"nonlinearity": "relu", "hidden_size": 4, "bias": True}])
def test_scaled_to_explode_explodes_and_scaled_to_vanish_vanishes(options):
    starts = measure_seeds(small(12, 16, epochs=0, **options))["starts"]
    at_longest = {name: start["at_longest"]["median"] for name, start in starts.items()}
    assert at_longest["scaled to vanish"] < 1e-4 < at_longest["as drawn"] < 10 < at_longest["scaled to explode"]
    assert starts["scaled to explode"]["at_longest"]["low"] > 1  # nearly every network


def test_networks_that_diverge_are_counted_and_left_out():
    setting = small(6, 5, hidden_size=3, epochs=4, dtype="float64")
    wild = setting._replace(configuration=setting.configuration.changed(learning_rate=4.0))
    findings = {"components": json.loads(json.dumps(measure_components(wild), allow_nan=False))}
    found = findings["components"]["seeds"]
    assert 0 < found["diverged"][-1] == found["diverged_end"]
    assert all("None" not in cell for table in component_tables(findings) for row in table.rows for cell in row)


def test_a_network_that_has_diverged_stays_out_and_opposite_directions_are_listed_by_k(monkeypatch):
    """Of three networks, the second is above the limit after one epoch, and below it again after two."""
    losses = np.array([[1.0, 1.0, 1.0], [1.0, 1001.0, 1000.0], [1.0, 1.0, 1.0]])
    monkeypatch.setattr(seeds, "losses_of_a_pass", lambda *arguments: losses)
    monkeypatch.setattr(seeds, "opposite", lambda networks: {"chunks": [0, 2, 0], "sliding": [1, 0, 0]})
    found = measure_seeds(small(3, 3, epochs=2))
    assert found["diverged"] == [0, 1, 1]
    assert [tuple(one.values()) for one in found["opposite_end"]] == [("chunks", 2, 2), ("sliding", 1, 1)]


def test_the_page_says_for_how_many_networks_the_direction_is_opposite():
    text = (HERE / "sections" / "3_truncation.html").read_text(encoding="utf-8")
    inserts = dict.fromkeys(("derivation", "figure", "table", "reference"), str)
    for at_the_end, said in (
        ([], "For none of the 9"),
        ([{"kind": "chunks", "k": 5, "networks": 2}], "negative for 2 of 9 with chunks of k = 5"),
    ):
        seeds = {"networks": 9, "opposite_end": at_the_end, "diverged_end": 0}
        assert said in " ".join(fill(text, {"components": {"seeds": seeds}}, inserts).split())


def test_sliding_windows_chunks_and_zero_have_one_colour_each_in_figures_and_explorer():
    css, script = ("".join((HERE / name).read_text(encoding="utf-8") for name in names) for names in (STYLES, SCRIPTS))
    light = css[: css.index("prefers-color-scheme: dark")]
    variables = dict(re.findall(r"--(\w+): (#\w+);", light))
    for kind, color in (("sliding", style.SLIDING), ("chunks", style.CHUNKS)):
        used = re.search(rf"\.curve \.{kind} \{{ stroke: var\(--(\w+)\)", css)[1]
        assert variables[used] == color.lower() == KINDS[kind][1].lower()
        assert f'["{kind}", ' in script
    assert f'"{style.ZERO.lower()}"' in script


@pytest.mark.slow
def test_the_cosines_in_the_document_are_those_of_32_seeds():
    """One network after the other, each trained on its own; the study trains them together."""
    text, cosines = (documents.TOP / "numpy_rnn" / "study" / "README.md").read_text(encoding="utf-8"), []
    for seed in range(32):
        setting = small(None, seed=seed)
        components = flat(components_of(setting, setting.end).gradients)
        cosines.append(cost(components, [(1, 5), (5, 5)]).cosine)
    of_kinds = dict(zip(("sliding", "chunks"), np.transpose(cosines)))
    for kind, start in (("sliding", "a sliding window of 5 steps has"), ("chunks", "chunks of 5 steps have")):
        numbers = start.replace(" ", r"\s") + r".*?(\d\.\d\d).*?(\d\.\d\d) to\s(\d\.\d\d)"
        median, low, high = re.search(numbers, text, re.S).groups()
        found = np.quantile(of_kinds[kind], (0.1, 0.5, 0.9), method="inverted_cdf")
        np.testing.assert_allclose([float(low), float(median), float(high)], found, rtol=0, atol=0.01)
    of_seed_0, others = re.search(r"is −(\d\.\d\d), and with the other (\d+)\sseeds it is positive", text).groups()
    np.testing.assert_allclose(-float(of_seed_0), of_kinds["chunks"][0], rtol=0, atol=0.01)
    assert (of_kinds["chunks"][1:] > 0).sum() == int(others) == len(cosines) - 1
