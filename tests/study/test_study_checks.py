"""The checks of every equation by its witnesses: the findings, what they consist of, and that they can fail."""

import json
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from study_settings import SETTINGS, named_setting

import numpy_rnn
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.common.windows import Window
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.recipes import Recipe
from numpy_rnn.elman import one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.study.checks import check_step, check_truncation, checks, witnesses
from numpy_rnn.study.checks.complex_step import bounds, complex_step, differentiated
from numpy_rnn.study.checks.equations import WINDOW, by_hand, element, problems
from numpy_rnn.study.checks.witnesses import compare, loops, whole
from numpy_rnn.study.page.formulas import NOT_STUDIED, definitions

TRUE = ("ball arithmetic", "exact fractions")  # they know the value far beyond what a float64 holds
ROUNDED = ("plain loops", "autograd", "torch.optim")  # they do the same operations, and round them in their own way
EXACT = ("counting steps", "once each", "previous window")
APART = 2  # E, of two values that are each within E of the true one
STUDIED = set(definitions()) - set(NOT_STUDIED)


@cache
def found_in(name):
    """The findings of one of the shared settings, as they come back from JSON."""
    return json.loads(json.dumps(checks.measure_checks(named_setting(name)), allow_nan=False))


@pytest.fixture(params=SETTINGS)
def result(request):
    return found_in(request.param)


def by(result, *witnesses):
    """(id, check) of these witnesses, of all without a name."""
    every = [(id, check) for id, one in result["equations"].items() for check in one["checks"]]
    return [(id, check) for id, check in every if not witnesses or check["witness"] in witnesses]


# -- the findings -----------------------------------------------------------------------------------------------------


def test_every_equation_is_checked_and_its_values_by_hand_are_within_the_bound_of_the_true_ones(result):
    """By the bound's own meaning: 1 from the true value; 2 from one that is computed by the same operations, since
    either is within 1.
    """
    assert sorted(result["equations"]) == sorted(STUDIED)
    assert all(one["checks"] for one in result["equations"].values())
    assert {check["witness"] for _, check in by(result)} == set(result["witnesses"])
    assert all(check["bounds"] <= 1 for _, check in by(result, *TRUE))
    assert all(check["bounds"] <= APART for _, check in by(result, *ROUNDED))
    assert [id for id, check in by(result, *EXACT) if check["difference"] or check["bounds"]] == []
    assert {id for id, _ in by(result, *TRUE)} == STUDIED - {"T1", "T2", "T3"}


def test_complex_step_and_rtrl_are_near_and_central_difference_is_not():
    """On the sine wave, in which every gradient has terms of higher order."""
    result = found_in("sine")
    central = dict(by(result, "central difference"))
    assert set(central) == {f"B{n}" for n in range(1, 11)}
    assert all(check["bounds"] > APART for check in central.values())
    near = [(id, check) for id, check in by(result, "complex step", "RTRL") if id != "T3"]
    assert all(check["bounds"] <= APART < central[id]["bounds"] for id, check in near)
    assert {id for id, _ in by(result, "RTRL")} == {f"B{n}" for n in range(4, 10)}
    assert result["wrong"]["bounds"] > APART


def test_the_largest_of_all_places_is_reported(result):
    for _, check in by(result):
        for unit in ("difference", "ulps", "bounds"):
            assert check[unit] == max(place[unit] for place in check["by_place"])
        assert 0 < check["compared"] <= check["of"]
    assert [place["where"] for place in result["equations"]["B2"]["checks"][0]["by_place"]] == result["places"]
    previous = result["equations"]["T3"]["checks"][0]["by_place"]
    assert [place["where"] for place in previous] == [f"k1 = {k1}, k2 = {k2}" for k1, k2 in result["truncations"]]
    for one in result["largest"]:
        for unit in ("ulps", "bounds"):
            assert one[unit] == max(check[unit] for _, check in by(result, one["witness"]))


def test_the_example_is_one_number_of_the_tensor_as_all_have_it():
    result = found_in("sine")
    hand = by_hand(list(problems(named_setting("sine")))[1].case)
    for id, equation in WINDOW.items():
        shown, tensor = result["equations"][id]["example"], hand[equation.name]
        values = {value["by"]: value["value"] for value in shown["values"]}
        assert list(values) == ["by hand", *(check["witness"] for check in result["equations"][id]["checks"])]
        assert values["by hand"] == tensor.flat[np.abs(tensor).argmax()]
        assert shown["element"] == element(equation, int(np.abs(tensor).argmax()), tensor.shape)
    assert {len(result["equations"][id]["example"]["values"]) for id in ("T1", "T2", "T3")} == {2}


def test_elements_are_named_from_one():
    names = {
        ("B2", 5, (3, 1, 2)): "dh_3[2]",
        ("B2", 5, (3, 2, 1)): "dh_3[2, 1]",
        ("B5", 5, (2, 4)): "dW_hh[2, 2]",
        ("B9", 1, (1, 2)): "dh_0[2]",
        ("B7", 1, (2,)): "db_h[2]",
        ("L1", 3, (5,)): "ℓ_4",
        ("L2", 0, ()): "L",
    }
    assert {key: element(WINDOW[key[0]], *key[1:]) for key in names} == names


def test_numpy_is_enough(monkeypatch):
    """What is not installed is named, with its reason, and every equation has another witness."""
    same = found_in("everything")  # first, as it is kept for all tests: with all witnesses
    monkeypatch.setattr(witnesses, "find_spec", lambda name: None)
    result = checks.measure_checks(named_setting("everything"))
    absent = {one["name"]: one["reason"] for one in result["absent"]}
    no_torch = dict.fromkeys(("autograd", "torch.optim"), "PyTorch is not installed")
    assert absent == {"ball arithmetic": "python-flint is not installed"} | no_torch
    assert not set(absent) & set(result["witnesses"])
    assert all(one["checks"] for one in result["equations"].values())
    assert result["v_curve"]["against"] == "by hand"
    for id, check in by(result, "plain loops", "complex step", "RTRL"):
        assert [check] == [other for name, other in by(same, check["witness"]) if name == id]  # E is of those by hand


@pytest.mark.needs_torch
def test_all_witnesses_are_there_where_all_is_installed():
    result = found_in("sine")
    assert result["absent"] == []
    assert set(result["witnesses"]) == {*TRUE, *ROUNDED, *EXACT, "complex step", "RTRL", "central difference"}


@pytest.mark.parametrize("name", SETTINGS)
def test_three_windows_are_checked_with_biases_of_zero_where_there_are_none(name):
    setting = named_setting(name)
    assert found_in(name)["biases_added"] == ("bias" not in SETTINGS[name])
    T = len(setting.x)
    ways = ((setting.start, T), (setting.end, T), (setting.end, -(-T // 2)))
    for problem, (params, loss_steps) in zip(problems(setting), ways, strict=True):
        biases = (np.zeros(size) if b is None else b for b, size in zip(params[3:5], params.W_hy.shape))
        h_0 = setting.h_0 if params.h_0 is None else params.h_0
        expected = *params[:3], *biases, h_0, setting.x, setting.target[T - loss_steps :]
        case = problem.case
        for found, values in zip((*case.params[:5], case.h_0, case.x, case.target), expected, strict=True):
            assert np.array_equal(found, values), problem.where


def test_the_options_of_the_steps_are_those_of_the_three_sets():
    keys = ("name", "momentum", "dampening", "nesterov")
    options = found_in("everything")["options"]
    assert [tuple(of[key] for key in keys) for of in options] == [
        ("the run's own", 0.5, 0, False),
        ("momentum with dampening", 0.9, 0.5, False),
        ("Nesterov", 0.9, 0, True),
    ]
    case = next(problems(named_setting("everything"))).case
    gradients = [v.ravel() for name, v in by_hand(case).items() if name[1:] in case.params._fields]
    norm = np.linalg.norm(np.concatenate(gradients[:6]))
    np.testing.assert_allclose([of["max_norm"] for of in options], [1.0, norm / 2, norm / 2], rtol=1e-12)


# -- mistakes are seen ------------------------------------------------------------------------------------------------

CASE = Recipe(T=5, B=3, D=2, H=4, O=6, K=3, dtype="float64", bias=True, seed=1).case()  # all sizes are different
OF_WINDOW = {
    "W_hh transposed in the forward pass": "a",
    "float32 tanh inside float64": "h",
    "output bias left out": "y",
    "e² for ½e²": "loss",
    "2e for e": "dy",
    "truncation band:3": "dh",
    "1 − h for 1 − h²": "da",
    "dx from its own step only": "dx",
    "float32 accumulator inside float64": "dW_hh",
    "h_{t-1} for h_t in dW_hy": "dW_hy",
    "db_h not summed over the batch": "db_h",
}
OF_STEP = {
    "clipping per tensor": "clipped",
    "clipping by the norm squared": "clipped",
    "decoupled weight decay": "v",
    "dampening left out": "v",
    "dampening at the first step too": "v",
    "velocity not damped by μ": "v",
    "nesterov forgotten": "delta",
    "nesterov look-ahead added to the velocity": "delta",
    "gradient ascent": "theta",
    "learning rate applied twice to W_hh": "theta",
}


def test_mistakes_of_a_window_are_far_outside_the_bound_and_the_right_network_is_within_it():
    """By the witnesses that need no other package."""
    said = {name: whole(v) for name, v in loops(CASE).items()} | differentiated(CASE, complex_step)
    hand = by_hand(CASE)
    E = bounds(CASE, hand)
    for name, tensor in OF_WINDOW.items():
        wrong = by_hand(CASE, load(named(name)))
        assert compare(hand[tensor], said[tensor], E[tensor]).bounds <= APART, tensor
        assert compare(wrong[tensor], said[tensor], bounds(CASE, wrong)[tensor]).bounds > APART, name


def test_mistakes_of_the_step_are_seen():
    case = next(problems(named_setting("everything"))).case

    def ratio(one, stage):
        return compare(one.hand[stage], check_step.exact(one)[stage], check_step.bounds(one)[stage]).bounds

    for name, stage in OF_STEP.items():
        descents = check_step.descents(case, SgdOptions(), load(named(name)))
        assert max(ratio(one, stage) for one in descents if stage in one.hand) > APART, name
    one = next(check_step.descents(case, SgdOptions()))
    one.hand["norm"] = one.hand["norm"] * (1 + 1e-9)
    assert ratio(one, "norm") > APART


def test_a_wrong_schedule_is_seen(monkeypatch):
    right = check_truncation.windows
    for wrong, id in (
        (lambda T, k1, k2: right(T, k1, k2 + 1), "T2"),
        (lambda T, k1, k2: [*list(right(T, k1, k2))[:-1], Window(0, 0, T)], "T1"),
    ):
        monkeypatch.setattr(check_truncation, "windows", wrong)
        result = check_truncation.check_truncations(named_setting("three steps, untrained"))
        assert any(check["difference"] and check["bounds"] is None for check in result[id]["checks"])


def test_a_wrong_initial_state_is_seen_and_one_that_is_not_constant():
    setting = named_setting("sine")

    def is_wrong(rnn):
        runs = (list(check_truncation.recorded(setting, k1, k2, rnn)) for k1, k2 in ((1, 5), (2, 2)))
        states = (one for run in runs for one in check_truncation.initial_states(setting, run))
        return any((one.state != one.expected).any() for one in states)

    assert not is_wrong(numpy_rnn)
    for name in ("not reset between epochs", "reset at every window"):
        assert is_wrong(load(named(f"state {name}"))), name
    assert is_wrong(load(named("sliding window starts from the newest state")))

    setting, rnn = named_setting("everything"), load(named("initial state of the window not a constant"))
    moves = (check_truncation.constant(setting, *run) for run in check_truncation.recorded(setting, 1, 2, rnn))
    assert max(difference.bounds for of_update in moves for _, difference in of_update) > APART


# -- what a run of numbers does not use -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_equations_of_no_run_are_checked_on_numbers_of_the_run(name):
    result = checks.check_others(named_setting(name))
    assert tuple(result) == NOT_STUDIED
    for id, one in result.items():
        for check in one["checks"]:
            assert check["bounds"] <= (0 if id in ("F4", "U7") else 1), id
            assert check["compared"] == check["of"] > 0


def test_a_wrong_equation_of_no_run_is_far_outside_its_bound(monkeypatch):
    off = 1 + 1e-9

    def scaled(gradients):
        return numpy_rnn.Gradients(*(None if g is None else g * off for g in gradients))

    wrong = SimpleNamespace(
        cross_entropy=lambda y, c: numpy_rnn.cross_entropy(y, c) * off,
        clip_by_value=lambda g, limit: numpy_rnn.clip_by_value(g, limit * off),
        direction=lambda params, g, v, **options: numpy_rnn.direction(params, scaled(g), v, **options),
    )
    monkeypatch.setattr(checks, "one_hot", lambda classes, size, dtype: one_hot((classes + 1) % size, size, dtype))
    monkeypatch.setattr(checks, "softmax", lambda y: softmax(y) * off)
    monkeypatch.setattr(checks.others_by_hand, "__defaults__", (wrong,))
    for id, one in checks.check_others(named_setting("everything")).items():
        ratios = [check["bounds"] for check in one["checks"]]
        assert None in ratios or min(ratios) > 1000, id
