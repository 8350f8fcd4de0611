"""Every equation beside its witnesses: the findings, what they are made of, and that they can fail."""

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from study_settings import SETTINGS, named_setting

import numpy_rnn
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.recipes import Recipe
from numpy_rnn.study.checks import check_step, witnesses
from numpy_rnn.study.checks.check_step import exact
from numpy_rnn.study.checks.checks import measure_checks
from numpy_rnn.study.checks.complex_step import bounds, complex_step, differentiated
from numpy_rnn.study.checks.equations import WINDOW, by_hand, element, problems
from numpy_rnn.study.checks.witnesses import compare, loops, whole
from numpy_rnn.study.page.formulas import NOT_STUDIED

PACKAGE = Path(numpy_rnn.__file__).parent
DEFINED = re.findall(
    r"^- \*\*\(([A-Z]\d+)\)\*\*", (PACKAGE / "DERIVATION.md").read_text(encoding="utf-8"), re.MULTILINE
)
TRUE = ("ball arithmetic", "exact fractions")  # they know the value far beyond what a float64 holds
ROUNDED = ("plain loops", "autograd", "torch.optim")  # they do the same operations, and round them in their own way
EXACT = ("counting steps", "once each", "previous window")
APART = 2  # E, of two values that are each within E of the true one
OWN = "the run's own"
STUDIED = set(DEFINED) - set(NOT_STUDIED)


@cache
def found_in(name):
    """The findings of one of the shared settings, as they come back from JSON."""
    return json.loads(json.dumps({"checks": measure_checks(named_setting(name))}, allow_nan=False))


@pytest.fixture(params=SETTINGS)
def result(request):
    return found_in(request.param)["checks"]


@pytest.fixture
def without_others(monkeypatch):
    """As where neither python-flint nor PyTorch is installed."""
    monkeypatch.setattr(witnesses, "find_spec", lambda name: None)


def checks(result, *witnesses):
    """(id, check) of these witnesses, of all without a name."""
    return [
        (id, check)
        for id, one in result["equations"].items()
        for check in one["checks"]
        if not witnesses or check["witness"] in witnesses
    ]


# -- the findings -----------------------------------------------------------------------------------------------------


def test_every_equation_of_the_document_is_checked(result):
    assert sorted(result["equations"]) == sorted(STUDIED)
    assert all(one["checks"] for one in result["equations"].values())
    assert {check["witness"] for _, check in checks(result)} == set(result["witnesses"])


def test_values_by_hand_are_within_the_bound_of_the_true_ones(result):
    """By the bound's own meaning: 1 from the true value; 2 from one that is computed by the same operations, since
    either is within 1.
    """
    assert all(check["bounds"] <= 1 for _, check in checks(result, *TRUE))
    assert all(check["bounds"] <= APART for _, check in checks(result, *ROUNDED))
    assert [id for id, check in checks(result, *EXACT) if check["difference"] or check["bounds"]] == []
    assert {id for id, _ in checks(result, *TRUE)} == STUDIED - {"T1", "T2", "T3"}


def test_complex_step_and_rtrl_are_near_and_central_difference_is_not():
    """On the sine wave, in which every gradient has terms of higher order."""
    result = found_in("sine")["checks"]
    central = dict(checks(result, "central difference"))
    assert set(central) == {f"B{n}" for n in range(1, 11)}
    assert all(check["bounds"] > APART for check in central.values())
    near = [(id, check) for id, check in checks(result, "complex step", "RTRL") if id != "T3"]
    assert all(check["bounds"] <= APART < central[id]["bounds"] for id, check in near)
    assert {id for id, _ in checks(result, "RTRL")} == {f"B{n}" for n in range(4, 10)}
    assert result["wrong"]["bounds"] > APART


def test_the_largest_of_all_places_is_reported(result):
    for _, check in checks(result):
        for unit in ("difference", "ulps", "bounds"):
            assert check[unit] == max(place[unit] for place in check["by_place"])
        assert 0 < check["compared"] <= check["of"]
    places = [place["where"] for place in result["equations"]["B2"]["checks"][0]["by_place"]]
    assert places == result["places"]
    for one in result["largest"]:
        of_witness = [check for _, check in checks(result, one["witness"])]
        assert one["bounds"] == max(check["bounds"] for check in of_witness)
        assert one["ulps"] == max(check["ulps"] for check in of_witness)


def test_the_example_is_one_number_of_the_tensor_as_all_have_it():
    result = found_in("sine")["checks"]
    hand = by_hand(list(problems(named_setting("sine")))[1].case)
    for id, equation in WINDOW.items():
        shown = result["equations"][id]["example"]
        tensor = hand[equation.name]
        values = {value["by"]: value["value"] for value in shown["values"]}
        assert list(values) == ["by hand", *(check["witness"] for check in result["equations"][id]["checks"])]
        assert values["by hand"] == tensor.flat[np.abs(tensor).argmax()]
        assert shown["element"] == element(equation, int(np.abs(tensor).argmax()), tensor.shape)
    assert {len(result["equations"][id]["example"]["values"]) for id in ("T1", "T2", "T3")} == {2}


def test_elements_are_named_from_one():
    named_elements = {
        ("B2", 5, (3, 1, 2)): "dh_3[2]",
        ("B2", 5, (3, 2, 1)): "dh_3[2, 1]",
        ("B5", 5, (2, 4)): "dW_hh[2, 2]",
        ("B9", 1, (1, 2)): "dh_0[2]",
        ("B7", 1, (2,)): "db_h[2]",
        ("L1", 3, (5,)): "ℓ_4",
        ("L2", 0, ()): "L",
    }
    assert {key: element(WINDOW[key[0]], *key[1:]) for key in named_elements} == named_elements


def test_numpy_is_enough(request):
    """What is not installed is named, with its reason, and every equation has another witness."""
    same = found_in("everything")["checks"]  # first, as it is kept for all tests: with all witnesses
    request.getfixturevalue("without_others")
    setting = named_setting("everything")
    result = measure_checks(setting)
    absent = {one["name"]: one["reason"] for one in result["absent"]}
    assert absent == {
        "ball arithmetic": "python-flint is not installed",
        "autograd": "PyTorch is not installed",
        "torch.optim": "PyTorch is not installed",
    }
    assert not set(absent) & set(result["witnesses"])
    assert all(one["checks"] for one in result["equations"].values())
    assert result["v_curve"]["against"] == "by hand"
    for id, check in checks(result, "plain loops", "complex step", "RTRL"):
        [before] = [other for name, other in checks(same, check["witness"]) if name == id]
        assert check == before  # E is of the values by hand, whoever else is there


@pytest.mark.parametrize("name", SETTINGS)
def test_three_windows_are_checked_with_biases_of_zero_where_there_are_none(name):
    setting = named_setting(name)
    assert found_in(name)["checks"]["biases_added"] == ("bias" not in SETTINGS[name])
    T = len(setting.x)
    ways = ((setting.start, T), (setting.end, T), (setting.end, -(-T // 2)))
    for problem, (params, loss_steps) in zip(problems(setting), ways, strict=True):
        case = problem.case
        assert np.array_equal(case.target, setting.target[T - loss_steps :]), problem.where
        assert np.array_equal(case.x, setting.x)
        for theta, of_run, size in zip(case.params[:5], params[:5], (0, 0, 0, *params.W_hy.shape)):
            assert np.array_equal(theta, np.zeros(size) if of_run is None else of_run), problem.where
        assert np.array_equal(case.h_0, setting.h_0 if params.h_0 is None else params.h_0), problem.where


def test_the_options_of_the_steps_are_those_of_the_three_sets():
    options = {one.pop("name"): one for one in json.loads(json.dumps(found_in("everything")["checks"]["options"]))}
    assert list(options) == [OWN, "momentum with dampening", "Nesterov"]
    assert [options[name]["momentum"] for name in options] == [0.5, 0.9, 0.9]
    assert [options[name]["dampening"] for name in options] == [0, 0.5, 0]
    assert [options[name]["nesterov"] for name in options] == [False, False, True]
    own, *others = (of["max_norm"] for of in options.values())
    case = next(problems(named_setting("everything"))).case
    gradients = [v.ravel() for name, v in by_hand(case).items() if name[1:] in case.params._fields]
    norm = np.linalg.norm(np.concatenate(gradients[:6]))
    assert own == 1.0
    np.testing.assert_allclose(others, norm / 2, rtol=1e-12)


# -- mistakes are seen ------------------------------------------------------------------------------------------------

CASE = Recipe(T=5, B=3, D=2, H=4, O=6, K=3, dtype="float64", bias=True, seed=1).case()  # all sizes are different


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("W_hh transposed in the forward pass", "a"),
        ("float32 tanh inside float64", "h"),
        ("output bias left out", "y"),
        ("e² for ½e²", "loss"),
        ("2e for e", "dy"),
        ("truncation band:3", "dh"),
        ("1 − h for 1 − h²", "da"),
        ("dx from its own step only", "dx"),
        ("float32 accumulator inside float64", "dW_hh"),
        ("h_{t-1} for h_t in dW_hy", "dW_hy"),
        ("db_h not summed over the batch", "db_h"),
    ],
)
def test_mistakes_of_a_window_are_far_outside_the_bound_and_the_right_network_is_within_it(name, tensor):
    """By the witnesses that need no other package."""
    said = {name: whole(v) for name, v in loops(CASE).items()} | differentiated(CASE, complex_step)
    right, wrong = (by_hand(CASE, rnn) for rnn in (numpy_rnn, load(named(name))))
    ratios = [compare(of[tensor], said[tensor], bounds(CASE, of)[tensor]).bounds for of in (right, wrong)]
    assert ratios[0] <= APART < ratios[1]


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("clipping per tensor", "clipped"),
        ("clipping by the norm squared", "clipped"),
        ("decoupled weight decay", "v"),
        ("dampening left out", "v"),
        ("dampening at the first step too", "v"),
        ("velocity not damped by μ", "v"),
        ("nesterov forgotten", "delta"),
        ("nesterov look-ahead added to the velocity", "delta"),
        ("gradient ascent", "theta"),
        ("learning rate applied twice to W_hh", "theta"),
    ],
)
def test_mistakes_of_the_step_are_seen(name, stage):
    case = next(problems(named_setting("everything"))).case
    worst = 0.0
    for one in check_step.descents(case, SgdOptions(), load(named(name))):
        if stage in one.hand:
            worst = max(worst, compare(one.hand[stage], exact(one)[stage], check_step.bounds(one)[stage]).bounds)
    assert worst > APART


def test_a_wrong_norm_is_seen():
    case = next(problems(named_setting("everything"))).case
    one = next(check_step.descents(case, SgdOptions()))
    one.hand["norm"] = one.hand["norm"] * (1 + 1e-9)
    assert compare(one.hand["norm"], exact(one)["norm"], check_step.bounds(one)["norm"]).bounds > APART


@pytest.mark.needs_torch
def test_all_witnesses_are_there_where_all_is_installed():
    result = found_in("sine")["checks"]
    assert result["absent"] == []
    assert set(result["witnesses"]) == {*TRUE, *ROUNDED, *EXACT, "complex step", "RTRL", "central difference"}
