"""Both backends pass the equivalence suite, and its cases are such that a fault shows."""

import re
from types import SimpleNamespace

import documents
import numpy as np
import pytest
from comparing import bits
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from port_cases import LEVELS, RIGHT, TENSORS

import numpy_rnn
from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.conformance.bounds.global_bounds import truncation_signal
from numpy_rnn.conformance.mutants.catalogue import ENGINE_MUTANTS, MUTANTS
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, PortFault
from numpy_rnn.conformance.properties import (
    PROFILES,
    BoundExceeded,
    WorstRatios,
    bound_factor,
    check_port_global,
    check_port_local,
    profile,
    recipes,
    runs_for,
)
from numpy_rnn.conformance.recipes import LARGE_SIZES, Recipe, large_recipes, random_recipe, random_run

# Enough for every tensor to be checked: it takes a learned initial state and a velocity at the same time.
PROFILE = settings(
    profile("default"), derandomize=settings().derandomize, max_examples=max(30, settings().max_examples // 4)
)
MANY_RUNS = settings(PROFILE, max_examples=max(300, PROFILE.max_examples))  # the runs are a tenth of the windows
ONLY_SEEN = settings(MANY_RUNS, phases=[Phase.generate])
EVERY_LEVEL = pytest.mark.parametrize("check", LEVELS)


@pytest.mark.parametrize("dtype", DTYPES)
@EVERY_LEVEL
def test_backend_is_within_its_bounds(rnn, check, dtype):
    """And every tensor is checked."""
    worst = WorstRatios()
    check(PackagePort(rnn), dtype, MANY_RUNS if check is LEVELS[2] else PROFILE, worst=worst)
    (level,) = worst.worst
    assert set(worst.worst[level][dtype]) >= set(TENSORS)


def test_most_cases_show_the_truncated_part():
    """Of the windows with several steps, the recurrent part of dW_hh exceeds 10 bounds in at least nine of ten."""
    generator = np.random.default_rng(2)
    made = (random_recipe(generator) for _ in range(80))
    signals = [truncation_signal(recipe.case()) for recipe in made if recipe.T > 1]
    assert np.mean(np.array(signals) > 1) > 0.9


# How many values each field of a recipe takes.
TWO = (
    "nesterov", "learned", "velocity", "dtype", "reduction", "loss", "classes", "logits", "class_inputs", "weights",
    "bias", "zeros", "saturated", "silent", "subnormal",
)  # fmt: skip
KINDS = dict.fromkeys(("momentum", "dampening", "weight_decay", "nonlinearity"), 3) | dict.fromkeys(TWO, 2)


def at_random():
    generator = np.random.default_rng(2)
    return [random_recipe(generator, has=CAPABILITIES) for _ in range(400)]


def by_hypothesis():
    made = []

    @settings(PROFILE, max_examples=400, derandomize=True, phases=[Phase.generate])
    @given(st.sampled_from(DTYPES).flatmap(lambda dtype: recipes(dtype, has=CAPABILITIES)))
    def draw(recipe):
        made.append(recipe)

    draw()
    return made


@pytest.mark.parametrize("drawn", [at_random, by_hypothesis])
def test_recipes_are_of_every_kind(drawn):
    made = drawn()
    assert {name: len({getattr(recipe, name) for recipe in made}) for name in KINDS} == KINDS
    for name in "TBDHO":
        assert {getattr(recipe, name) for recipe in made} == set(range(1, 9))
    assert np.mean([len(set(recipe[:5])) == 5 for recipe in made]) > 0.4  # T, B, D, H and O all different
    assert {recipe.H == recipe.O for recipe in made} == {recipe.K < recipe.T for recipe in made} == {True, False}
    for name in ("max_norm", "max_value"):
        assert {getattr(recipe, name) is None for recipe in made} == {True, False}


def test_cases_are_of_every_kind():
    made = at_random()
    subnormal = next(recipe for recipe in made if recipe.subnormal and not recipe.class_inputs).case()
    assert (np.abs(subnormal.x[..., 0]) < np.finfo(subnormal.dtype).smallest_normal).any()
    assert next(recipe for recipe in made if recipe.velocity and recipe.momentum).case().velocity.W_hh.all()
    assert np.abs(next(recipe for recipe in made if recipe.logits > 1).case().params.W_hy).max() > 1e3
    generator = np.random.default_rng(2)
    plain = [random_recipe(generator) for _ in range(50)]
    assert all(recipe.sgd == SgdOptions() and not recipe.learned for recipe in plain)
    for name, (low, high) in LARGE_SIZES.items():
        sizes = {getattr(recipe, name) for recipe in large_recipes(200, 1, "float64")} - set(range(1, 9))
        assert low <= min(sizes) < (low + high) / 2 < max(sizes) <= high
    schedules = [random_run(generator)[1] for _ in range(100)]
    assert {(c.k1 == 1, c.k1 == c.k2) for c in schedules} == {(a, b) for a in (True, False) for b in (True, False)}


def test_recipes_make_the_same_case_again():
    recipe = random_recipe(np.random.default_rng(4))
    again = eval(repr(recipe), {"Recipe": Recipe})
    assert again == recipe
    assert bits(recipe.case()) == bits(again.case())
    small = "Recipe(T=1, B=1, D=1, H=2, O=1, K=1, dtype='float32', seed=3)"  # without its defaults
    assert repr(Recipe(1, 1, 1, 2, 1, 1, "float32", seed=3)) == small


def test_the_declared_errors_of_tanh_count_twice_in_units_of_u():
    assert bound_factor(PackagePort(numpy_rnn)) == 16
    tau = bound_factor(SimpleNamespace(tanh_ulps=3, tanh_absolute_ulps=4))
    assert (tau, tau.absolute) == (6, 8)


def test_profiles():
    assert list(PROFILES) == ["default", "ci", "long"]
    assert [profile(name).derandomize for name in PROFILES] == [False, True, False]
    assert [profile(name).max_examples for name in PROFILES] == list(PROFILES.values())
    assert [runs_for(windows) for windows in (20, 100, 300, 5000)] == [10, 10, 30, 500]


class Port:
    """A right port, but for what is done to its report, which may depend on what the port is given."""

    name, dtypes, lacks, tanh_ulps = "a port", DTYPES, (), None

    def __init__(self, change, capabilities=CAPABILITIES):
        self.change, self.capabilities = change, capabilities

    def window_update(self, *arrays, **given):
        report = RIGHT.window_update(*arrays, **given)
        self.change(report, given)
        return report


def leave_out(report, given):
    del report["dW_hy"]


def one_percent_off(name):
    def change(report, given):
        if name in report:
            report[name] = report[name] * report[name].dtype.type(1.01) + report[name].dtype.type(1e-3)

    return change


@EVERY_LEVEL
@pytest.mark.parametrize(("change", "error", "message"), [
    (leave_out, PortFault, "dW_hy is missing"),
    *((one_percent_off(name), BoundExceeded, name) for name in ("loss", "dx", "vh_0")),
])  # fmt: skip
def test_a_wrong_report_is_seen_at_every_level(check, change, error, message):
    with pytest.raises(error, match=message):
        check(Port(change), "float32", ONLY_SEEN)


def test_the_largest_error_is_reported_beside_the_smallest_case():
    """Shrinking keeps any case that fails, and finds one whose error is as small as an error can be there."""

    def grow(report, given):  # with the numbers of inputs and units; it takes more than Hypothesis begins with
        D, H = report["dW_xh"].shape
        report["dW_xh"] = report["dW_xh"] * (1 + np.float64(1e-12) * (D * H) ** 4 * (H > 4))

    with pytest.raises(BoundExceeded) as error:
        check_port_local(Port(grow), "float64", settings(PROFILE, max_examples=30, derandomize=True))
    pattern = r"this is (\S+) times as large.*the largest error, in Recipe.* is (\S+) times its bound"
    smallest, largest = map(float, re.search(pattern, str(error.value)).groups())
    assert largest > 2 * smallest


# -- windows in which hand-written code goes wrong: large ones, saturation, and relu's kink ---------------------------

DEFAULT = settings(profile("default"), derandomize=True, phases=[Phase.generate])
BLACK_BOX = ()  # capabilities


def where_code_goes_wrong(report, given):
    (T, B, H), tanh, relu = report["a"].shape, given["nonlinearity"] == "tanh", given["nonlinearity"] == "relu"
    largest = np.abs(report["a"]).max()
    at_kink = report["dh"] * (report["a"] == 0)
    return {
        "a ring of 16 states": T > 16,
        "a vector loop of 16 units": H >= 16,
        "a buffer of 8 sequences": B > 8,
        "an exponential that overflows beyond |a| = 12": tanh and largest > 12,
        "one beyond |a| = 40, for saturated units only": tanh and largest > 40,
        "relu'(0) = 1, which adds to dW_xh": relu and np.einsum("tbi,tbj->ij", given["x"], at_kink).any(),
    }


def test_default_run_reaches_every_window_and_tells_its_sizes():
    worst, windows = WorstRatios(), []
    port = Port(lambda report, given: windows.append(where_code_goes_wrong(report, given)), BLACK_BOX)
    check_port_global(port, "float64", DEFAULT, worst=worst)
    assert all(any(window[where] for window in windows) for where in windows[0])
    for letter in "TH":
        low, high = worst.sizes[letter]
        assert low <= 2
        assert LARGE_SIZES[letter][0] < high <= LARGE_SIZES[letter][1]


def test_a_fault_in_large_windows_only_is_told():
    def forget_a_row(report, given):
        if report["dW_hh"].shape[1] >= 16:
            report["dW_hh"][:, :16] -= report["h"][0].T @ report["da"][0][:, :16]

    with pytest.raises(BoundExceeded, match=r"Recipe\(T=., B=., D=., H=(1[7-9]|[23].|40), "):
        check_port_global(Port(forget_a_row, BLACK_BOX), "float64", settings(DEFAULT, max_examples=10))


def test_the_numbers_of_the_readme_that_no_block_of_output_has():
    """There are as many mutants as it says, and no ratio in its table of the long run is above 1."""
    text = (documents.TOP / "numpy_rnn" / "conformance" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"makes (\d+) mutants of the reference,.*?and (\d+) of the engine", text, re.S).groups()
    assert (len(MUTANTS), len(ENGINE_MUTANTS)) == tuple(map(int, found))
    assert f"{len(MUTANTS)} known mistakes" in text
    table = [line.split("|")[3:-1] for line in text.splitlines() if re.match(r"\| \w+ \| [A-Z]\d", line)]
    assert np.shape(table) == (26, 8)
    assert (np.array(table, float) <= 1).all()
