"""The numbers of many networks: each as if it were alone, their medians and bands, and what is said about them."""

import json
import math
import re
from functools import cache
from itertools import product

import numpy as np
import pytest
from study_components import components_in_another_way, initial_state
from study_settings import SHARED, near, shared_run, small

from numpy_rnn.study.checks.complex_step import unrolled
from numpy_rnn.study.components import seeds
from numpy_rnn.study.components.jacobians import three_starts
from numpy_rnn.study.components.matrix import jacobians_by_complex_step
from numpy_rnn.study.components.measures import measure_components
from numpy_rnn.study.components.seeds import bands, measure_seeds, opposite, place
from numpy_rnn.study.figures import style
from numpy_rnn.study.figures.truncation_figures import KINDS
from numpy_rnn.study.page.page import HERE, SCRIPTS, STYLES
from numpy_rnn.study.page.tables import component_tables
from numpy_rnn.study.page.templates import fill

PARTS = {"low": 0.1, "median": 0.5, "high": 0.9}


@cache
def alone():
    """The networks of the shared run, each trained on its own."""
    return [small(8, 2, **SHARED, seed=seed) for seed in range(5)]


def growth_in_another_way(setting, params):
    """The largest singular values of ∂h_t/∂h_s by complex step: their means by lag, and the growth over all steps."""
    h_0, T = initial_state(setting, params), len(setting.x)
    J = np.stack([jacobians_by_complex_step(params, setting.x, h_0, "tanh", s) for s in range(T + 1)], axis=1)
    sizes = np.linalg.norm(J, 2, axis=(-2, -1))
    longest, by_lag = sizes[T, 0], [[sizes[t, t - lag] for t in range(lag, T + 1)] for lag in range(T + 1)]
    return {
        "by_lag": by_lag,
        "growth": [np.mean(of_lag) for of_lag in by_lag],
        "at_longest": longest,
        "a_step": math.exp(math.log(longest) / T),
        "slope": np.mean(1 - unrolled([params] * T, setting.x, h_0).h[1:, 0] ** 2),
    }


def bands_are(found, of_networks, where):
    for part, share in PARTS.items():
        near(found[part], np.quantile(of_networks, share, axis=0, method="inverted_cdf"), (*where, part))


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
    own, trained = shared_run()[1]["components"]["jacobians"][0], shared_run()[1]["components"]["trained"]
    for of, params in ((own, alone()[0].start), (trained, alone()[0].end)):
        expected = growth_in_another_way(alone()[0], params)
        near(
            [of["at_longest"], of["a_step"], of["slope"]], [expected[key] for key in ("at_longest", "a_step", "slope")]
        )
        near(of["mean"], expected["growth"])
        near(of["h"], unrolled([params] * 8, alone()[0].x, alone()[0].h_0).h[:, 0], of["name"])
        for part, extreme in (("max", max), ("min", min)):
            near(of[part], [extreme(sizes) for sizes in expected["by_lag"]], (of["name"], part))


def test_bands_leave_out_what_is_not_defined_and_networks_without_numbers():
    of_networks = [{"a": np.array([n, np.nan if n < 3 else n])} for n in range(1, 5)]
    assert bands([*of_networks, None]) == {"a": {"low": [1, 3], "median": [2, 3], "high": [4, 4]}}
    assert bands([None], like={"a": np.zeros(2), "b": 1.0}) == {
        "a": {name: [None, None] for name in ("low", "median", "high")},
        "b": dict.fromkeys(("low", "median", "high")),
    }


def test_opposite_directions_and_the_place_of_a_network_are_counts():
    def network(*cosine):
        return {"cost": {"all": {kind: {"cosine": np.array(cosine)} for kind in ("chunks", "sliding")}}}

    networks = [network(-0.5, 1, np.nan), network(0.5, 1, -1), None, network(-0.1, 1, 1)]
    assert opposite(networks) == {"chunks": [2, 0, 1], "sliding": [2, 0, 1]}
    assert place(network(0, 1, 0), networks) == {"chunks": [2, 0, 1], "sliding": [2, 0, 1]}
    assert opposite([None]) == {"chunks": [], "sliding": []}


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"epochs": 0, "nonlinearity": "relu", "hidden_size": 4, "bias": True}],
    ids=["tanh", "relu"],
)
def test_scaled_to_explode_explodes_and_scaled_to_vanish_vanishes(options):
    starts = measure_seeds(small(12, 16, **options))["starts"]
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
    listed = [tuple(one.values()) for one in found["opposite_end"]]
    assert listed == [("chunks", 2, 2), ("sliding", 1, 1)]


@pytest.mark.parametrize(
    ("networks", "said"), [([], "For none of the 9"), ([2], "negative for 2 of 9 with chunks of k = 5")]
)
def test_the_page_says_for_how_many_networks_the_direction_is_opposite(networks, said):
    at_the_end = [{"kind": "chunks", "k": 5, "networks": count} for count in networks]
    seeds = {"networks": 9, "opposite_end": at_the_end, "diverged_end": 0}
    text = (HERE / "sections" / "3_truncation.html").read_text(encoding="utf-8")
    inserts = dict.fromkeys(("derivation", "figure", "table", "reference"), str)
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
