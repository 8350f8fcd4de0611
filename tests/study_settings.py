"""Small settings of the study, and a whole run of it with made-up numbers."""

import json
from functools import cache
from typing import Any

import numpy as np

from numpy_rnn import Parameters
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.mutants.catalogue import named
from numpy_rnn.study.page.exercises import PUZZLES
from numpy_rnn.study.setting import Setting, setting_of
from numpy_rnn.study.study import PARTS
from numpy_rnn.study.training.disagreements import VARIANTS
from numpy_rnn.study.training.mistakes import measure_training


def small(steps=5, seeds=2, **options) -> Setting:
    """A setting of few steps, on the sine wave."""
    configuration = Configuration(**options)
    return setting_of(prepare(configuration), configuration, seeds, steps)


def a_setting(seeds=3, steps=None, **values):
    """A setting of a few epochs, of all steps of the sine wave unless fewer are given."""
    return small(steps, seeds, **{"epochs": 4, **values})


EVERYTHING: dict[str, Any] = {"bias": True, "learn_initial_state": True, "hidden_size": 3}
OF_RELU = {"nonlinearity": "relu", "learning_rate": 0.01}
OF_STEP = {"reduction": "mean", "momentum": 0.5, "max_norm": 1.0}
SETTINGS: dict[str, dict[str, Any]] = {  # the default network, and small ones with what else a run may have
    "sine": {"steps": 10, "epochs": 5},
    "everything": {"steps": 5, "epochs": 2, "k1": 2, "k2": 3, **EVERYTHING, **OF_STEP},
    "relu": {"steps": 6, "epochs": 2, **EVERYTHING, **OF_RELU},
    "three steps, untrained": {"steps": 3, "epochs": 0, "hidden_size": 2},
}


@cache
def named_setting(name) -> Setting:
    """One of them, made once."""
    return small(**SETTINGS[name])


OTHERS = (
    "float32 products inside float64",
    "mean over the steps alone",  # which no run of the study shows
    "1 − h for 1 − h²",
    "db_h not summed over the batch",
    "weights left out of the loss",
    "clipping by the norm squared",
    "learning rate applied twice to W_hh",
    "a loss counted twice",
)
CHOSEN = tuple(map(named, dict.fromkeys([*(variant.mutant for variant in VARIANTS), *OTHERS])))


def measure(setting, mutants=CHOSEN) -> dict[str, Any]:
    """The findings of a study with these mutants only, as they come back from JSON."""
    parts = {part: measure for part, (_, measure) in PARTS.items()}
    parts["training"] = lambda setting: measure_training(setting, mutants)
    with np.errstate(over="ignore", invalid="ignore"):
        findings = {part: measure(setting) for part, measure in parts.items()}
    return json.loads(json.dumps(findings, allow_nan=False))


# The study whose folder the command writes, once for all tests.
STUDIED: dict[str, Any] = {"epochs": 2, "steps": 6, "k1": 50, "k2": 50, "reduction": "mean", "nonlinearity": "relu"}
STUDIED |= {"bias": True, "learn_initial_state": True, "hidden_size": 3, "momentum": 0.5, "max_norm": 0.2}
STUDIED |= {"dtype": "float64", "seeds": 2}
MISTAKES = tuple(map(named, PUZZLES))  # of that study
RENDERED = ("heat_map", "mistakes")  # of its figures: one with images and formulas, and one that grows with its rows

SHARED: dict[str, Any] = {"epochs": 4, "hidden_size": 3, "bias": True, "dtype": "float64"}


@cache
def shared_run() -> tuple[Setting, dict[str, Any]]:
    """The setting and the findings of a short run, made once for all tests."""
    setting = small(8, 5, **SHARED)
    return setting, measure(setting)


@cache
def untrained() -> dict[str, Any]:
    """The findings of a run of no epochs, with few mutants: there is less of everything."""
    names = ("dh_next dropped", "the tail of the series dropped", "gradient ascent")
    return measure(small(3, epochs=0), tuple(map(named, names)))


@cache
def made_up() -> dict[str, Any]:
    """The findings of the shared run with another number for each: what shows two of them exchanged, shows it.

    Zeros stay, as what is drawn of them may differ, and so do whole numbers but those of networks that diverged.
    """
    generator = np.random.default_rng(0)

    def changed(value, key=""):
        if isinstance(value, dict):
            return {name: changed(v, name) for name, v in value.items()}
        if isinstance(value, list):
            return [changed(v, key) for v in value]
        if key == "diverged" and value == 0:
            return int(generator.integers(1, 90))
        return value * 10 ** generator.uniform(-0.9, 0.9) if isinstance(value, float) else value

    return changed(shared_run()[1])


def whole_numbers(seed, steps=6):
    """Parameters, inputs, targets and a state of small whole numbers, none of which is lost behind relu's zero."""
    integers = np.random.default_rng(seed).integers
    params = Parameters(*(integers(1, 3, size).astype(float) for size in ((1, 2), (2, 2), (2, 1))))
    x, target = (integers(1, 4, (steps, 1, 1)).astype(float) for _ in range(2))
    return params, x, target, integers(0, 2, (1, 2)).astype(float)


def row(gradients):
    """The parameters or gradients that are there, as one vector."""
    return np.concatenate([theta.ravel() for theta in gradients if theta is not None])


def near(found, expected, where=""):
    """Seven digits are given of a number; cosines and losses that are sums may cancel to some more roundings."""
    found = np.array(found, float)
    np.testing.assert_allclose(found, np.array(expected, float), rtol=1.01 * 0.5e-6, atol=1e-11, err_msg=str(where))


def bands_are(found, of_networks, where=""):
    """Median and band are those of the networks, one row each."""
    for part, share in (("low", 0.1), ("median", 0.5), ("high", 0.9)):
        near(found[part], np.quantile(of_networks, share, axis=0, method="inverted_cdf"), (where, part))
