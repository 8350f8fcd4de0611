"""Random cases and runs are such that faults show, and the packages pass all levels on them."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from comparing import bits
from hypothesis import Phase, settings
from ports_for_tests import RIGHT, Port

import numpy_rnn
from numpy_rnn.common.records import DTYPES, Objective, Step
from numpy_rnn.conformance.case import SHAPES
from numpy_rnn.conformance.ports.package_port import PackagePort
from numpy_rnn.conformance.ports.port import tanh_error
from numpy_rnn.conformance.ports.protocol import Abilities, PortFault
from numpy_rnn.conformance.properties import Violation, WorstRatios, check_port, profile
from numpy_rnn.conformance.random_cases import (
    LARGE_SIZES,
    RandomDraw,
    Recipe,
    large_recipe,
    random_recipe,
    random_run,
)

# Enough for every tensor to be checked: it takes a learned initial state and a velocity at the same time.
PROFILE = settings(profile("default"), derandomize=settings().derandomize, max_examples=30)
MANY_RUNS = settings(PROFILE, max_examples=300)  # the runs are a tenth of the windows
ONLY_SEEN = settings(MANY_RUNS, phases=[Phase.generate])
LEVELS = ("L1", "L2", "L3")
TENSORS = {name for name in SHAPES if not name.endswith("b_hh")}  # of a network with one hidden bias


@pytest.mark.parametrize("number", range(3))
def test_package_is_within_its_bounds(rnn, number):
    """And every tensor is checked. Each package has each level in one dtype, the other package in the other one."""
    worst, level, dtype = WorstRatios(), LEVELS[number], DTYPES[(number + (rnn is numpy_rnn)) % 2]
    chosen, patient = MANY_RUNS if level == "L3" else PROFILE, 100.0  # the first step of torch.optim imports much
    check_port(level, PackagePort(rnn), dtype, chosen, patient, worst)
    assert set(worst.worst[level][dtype]) >= TENSORS


# How many values each field of a recipe takes.
KINDS = dict.fromkeys(("dtype", "bias", "zeros", "learned", "velocity", "classes", "logits", "class_inputs", "weights",
                       "saturated", "silent", "subnormal"), 2)  # fmt: skip
STEP_KINDS = dict(momentum=3, dampening=3, nesterov=2, weight_decay=3, adagrad=2, max_norm=6, max_value=4)  # noqa: C408


def test_recipes_are_of_every_kind():
    made = [random_recipe(RandomDraw(2, seed)) for seed in range(400)]
    assert {name: len({getattr(recipe, name) for recipe in made}) for name in KINDS} == KINDS
    assert {name: len({getattr(recipe.step, name) for recipe in made}) for name in STEP_KINDS} == STEP_KINDS
    assert len({recipe.objective for recipe in made}) == 12
    for name in "TBDHO":
        assert {getattr(recipe, name) for recipe in made} == set(range(1, 9))
    assert np.mean([len(set(recipe[:5])) == 5 for recipe in made]) > 0.4  # T, B, D, H and O all different
    assert {recipe.H == recipe.O for recipe in made} == {recipe.K < recipe.T for recipe in made} == {True, False}


def test_cases_are_of_every_kind():
    made = [random_recipe(RandomDraw(2, seed)) for seed in range(400)]
    subnormal = next(recipe for recipe in made if recipe.subnormal and not recipe.class_inputs).case()
    assert (np.abs(subnormal.x[..., 0]) < np.finfo(subnormal.x.dtype).smallest_normal).any()
    assert next(recipe for recipe in made if recipe.velocity and recipe.step.momentum).case().velocity.W_hh.all()
    assert np.abs(next(recipe for recipe in made if recipe.logits > 1).case().params.W_hy).max() > 1e3
    weights = np.concatenate([recipe.case().weights.ravel() for recipe in made if recipe.weights])
    assert (np.mean(weights == 0) > 0.2) & (np.mean(weights == 0) < 0.5) & (np.mean(weights == 1) > 0.2)
    plain = [random_recipe(RandomDraw(seed), None, Abilities(())) for seed in range(50)]
    assert all(recipe.step == Step(recipe.step.learning_rate) and not recipe.learned for recipe in plain)
    large = [large_recipe(RandomDraw(seed), "float64") for seed in range(200)]
    for name, (low, high) in LARGE_SIZES.items():
        sizes = {getattr(recipe, name) for recipe in large} - set(range(1, 9))
        assert low <= min(sizes) < (low + high) / 2 < max(sizes) <= high
    assert all(max(recipe[:5]) > 8 for recipe in large)
    schedules = [random_run(RandomDraw(seed)).options.schedule for seed in range(100)]
    assert {(s.k1 == 1, s.k1 == s.k2) for s in schedules} == {(a, b) for a in (True, False) for b in (True, False)}


def test_recipe_makes_the_same_case_again():
    for seed in range(20):
        recipe = random_recipe(RandomDraw(seed))
        again = eval(repr(recipe), {"Recipe": Recipe, "Objective": Objective, "Step": Step})
        assert again == recipe
        assert bits(recipe.case()) == bits(again.case())
    small = "Recipe(T=1, B=1, D=1, H=2, O=1, K=1, dtype='float32', seed=3)"  # without its defaults
    assert repr(Recipe(1, 1, 1, 2, 1, 1, "float32", seed=3)) == small


def test_declared_errors_of_tanh_count_twice():
    assert tanh_error(RIGHT) == (16, 0)
    assert tanh_error(SimpleNamespace(tanh_ulps=3, tanh_absolute_ulps=4)) == (6, 8)


# -- wrong ports -----------------------------------------------------------------------------------------------------


def one_percent_off(name):
    def change(report):
        return report | ({name: report[name] * report[name].dtype.type(1.01)} if name in report else {})

    return change


@pytest.mark.usefixtures("no_hints")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda report: report.pop("dW_hy") is None or report, PortFault, "dW_hy is missing"),
    (one_percent_off("vh_0"), Violation, "vh_0"),
])  # fmt: skip
def test_wrong_report_is_seen_at_every_level(level, change, error, message):
    with pytest.raises(error, match=message):
        check_port(level, Port(after=change), "float32", ONLY_SEEN)


def test_largest_error_is_reported_with_the_smallest_case():
    """Shrinking keeps any case that fails, and finds one whose error is as small as an error can be there."""

    def grow(report):  # with the numbers of inputs and units; it takes more than Hypothesis begins with
        D, H = report["dW_xh"].shape
        return report | {"dW_xh": report["dW_xh"] * (1 + np.float64(1e-12) * (D * H) ** 4 * (H > 4))}

    with pytest.raises(Violation) as error:
        check_port("L1", Port(after=grow), "float64", settings(PROFILE, max_examples=30, derandomize=True))
    pattern = r"this is (\S+) times as large.*the largest error, in Recipe.* is (\S+) times its bound"
    smallest, largest = map(float, re.search(pattern, str(error.value)).groups())
    assert largest > 2 * smallest


# -- windows in which hand-written code goes wrong: large ones, saturation, and relu's kink ---------------------------

DEFAULT = settings(profile("default"), derandomize=True, phases=[Phase.generate])


def test_default_profile_reaches_every_kind_of_window():
    windows, worst = [], WorstRatios()

    class Watching(Port):
        def window_update(self, params, x, *, nonlinearity, **given):
            report = super().window_update(params, x=x, nonlinearity=nonlinearity, **given)
            largest, at_kink = np.abs(report["a"]).max(), report["dh"] * (report["a"] == 0)
            windows.append({
                "an exponential that overflows beyond |a| = 12": nonlinearity == "tanh" and largest > 12,
                "one beyond |a| = 40, for saturated units only": nonlinearity == "tanh" and largest > 40,
                "relu'(0) = 1": nonlinearity == "relu" and np.einsum("tbi,tbj->ij", x, at_kink).any(),
            })  # fmt: skip
            return report

    check_port("L1", Watching(capabilities=("intermediates",)), "float64", DEFAULT, worst=worst)
    assert all(any(window[where] for window in windows) for where in windows[0])
    for letter, least in {"T": 17, "H": 17, "B": 9}.items():  # a ring of states, vector loops, a buffer of sequences
        assert worst.sizes[letter][0] <= 2
        assert worst.sizes[letter][1] >= least
