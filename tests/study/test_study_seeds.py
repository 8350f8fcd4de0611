"""The numbers of many networks: each as if it were alone, their medians and bands, and what is said about them."""

import json
import re

import numpy as np
import pytest
from study_settings import small

from numpy_rnn.study.components.jacobians import spectral_radius
from numpy_rnn.study.components.matrix import by_lag, chunks, cost, flat, norms, sliding
from numpy_rnn.study.components.measures import components_of, measure_components
from numpy_rnn.study.components.seeds import bands, measure_seeds, opposite, place
from numpy_rnn.study.figures import style
from numpy_rnn.study.figures.truncation_figures import KINDS
from numpy_rnn.study.page.page import HERE, SCRIPTS, STYLES
from numpy_rnn.study.page.tables import component_tables
from numpy_rnn.study.page.templates import fill

STEPS, SEEDS = 6, 5
OPTIONS = {"hidden_size": 3, "epochs": 4, "dtype": "float64", "k1": 2, "k2": 3, "seed": 3}


def test_bands_are_those_of_networks_that_were_trained_alone():
    alone = [small(STEPS, **OPTIONS | {"seed": OPTIONS["seed"] + n}) for n in range(SEEDS)]
    found = measure_seeds(small(STEPS, SEEDS, **OPTIONS))
    assert (found["networks"], found["diverged"], len(found["along"])) == (SEEDS, [0] * 4, 4)
    for index, of_epoch in enumerate(found["along"]):
        components = [components_of(setting, setting.snapshots[index].params) for setting in alone]
        expected = {
            ("spectral_radius",): [spectral_radius(setting.snapshots[index].params.W_hh) for setting in alone],
            ("lag",): [[norm.mean() for norm in by_lag(norms(one.gradients))] for one in components],
            ("loss",): [one.losses.sum() for one in components],
        }
        for kind, truncations in (("chunks", chunks(STEPS)), ("sliding", sliding(STEPS))):
            of_all = [cost(flat(one.gradients), truncations) for one in components]
            of_W_hh = [cost(one.gradients.W_hh.reshape(STEPS, STEPS, -1), truncations) for one in components]
            expected["cost", "all", kind, "cosine"] = [one.cosine for one in of_all]
            expected["cost", "W_hh", kind, "bias"] = [one.bias for one in of_W_hh]
        for path, values in expected.items():
            band = of_epoch
            for key in path:
                band = band[key]
            for name, share in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
                right = np.quantile(values, share, axis=0, method="inverted_cdf")
                # Seven digits are given; an ensemble and a network alone round in their own ways.
                np.testing.assert_allclose(band[name], right, rtol=2e-6, atol=1e-9, err_msg=f"{index} {path}")


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
    setting = small(STEPS, SEEDS, **OPTIONS)
    wild = setting._replace(configuration=setting.configuration.changed(learning_rate=4.0))
    findings = {"components": json.loads(json.dumps(measure_components(wild), allow_nan=False))}
    seeds = findings["components"]["seeds"]
    assert 0 < seeds["diverged"][-1] == seeds["diverged_end"]
    assert seeds["diverged"] == sorted(seeds["diverged"])
    assert all("None" not in cell for table in component_tables(findings) for row in table.rows for cell in row)


@pytest.mark.parametrize(
    ("networks", "said"), [([], "For none of the 9"), ([2], "negative for 2 of 9 with chunks of k = 5")]
)
def test_the_page_says_for_how_many_networks_the_direction_is_opposite(networks, said):
    at_the_end = [{"kind": "chunks", "k": 5, "networks": count} for count in networks]
    seeds = {"networks": 9, "opposite_end": at_the_end, "diverged_end": 0}
    text = (HERE / "sections" / "3_truncation.html").read_text(encoding="utf-8")
    inserts = {"figure": str, "table": str, "reference": str}
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
