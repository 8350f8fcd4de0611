"""The checks of every equation: their findings, and that mistakes are far outside the bounds."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from study_runs import SUBJECTS, subject, window

import numpy_rnn
from numpy_rnn.common.records import Step
from numpy_rnn.elman import one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.study.checks import check_others, check_step, check_truncation, witnesses
from numpy_rnn.study.checks.check_equations import measure_checks
from numpy_rnn.study.checks.complex_step import bounds, differentiated
from numpy_rnn.study.checks.equations import OTHERS, WINDOW, by_hand, element, problems, row
from numpy_rnn.study.checks.witnesses import compare, loops
from numpy_rnn.study.suite_parts import mutant, plain_rnn, present, step_bounds

TRUE = ("ball arithmetic", "exact fractions")  # they know the value far beyond what a float64 holds
ROUNDED = ("plain loops", "autograd", "torch.optim")  # they do the same operations, and round them in their own way
EXACT = ("counting steps", "once each", "previous window")
APART = 2  # E, of two values that are each within E of the true one
STUDIED = {*(f"F{n}" for n in (1, 2, 3)), "L1", "L2", *(f"B{n}" for n in range(1, 11)), "T1", "T2", "T3"}
STUDIED |= {f"U{n}" for n in range(1, 7)}


@cache
def checks_of(name):
    return measure_checks(subject(name))


def by(checks, *names):
    """(id, difference) of these witnesses."""
    return [(id, one) for id, of in checks.equations.items() for one in of.differences if one.witness in names]


@pytest.mark.parametrize("name", SUBJECTS)
def test_values_by_hand_are_within_the_bound(name):
    """By the bound's own meaning: 1 from the true value; 2 from one that is computed by the same operations, since
    either is within 1.
    """
    checks = checks_of(name)
    assert set(checks.equations) == STUDIED
    assert all(of.differences for of in checks.equations.values())
    assert all(one.bounds <= 1 for _, one in by(checks, *TRUE))
    assert all(one.bounds <= APART for _, one in by(checks, *ROUNDED))
    assert [id for id, one in by(checks, *EXACT) if one.difference or one.bounds] == []
    assert {id for id, _ in by(checks, *TRUE)} == STUDIED - {"T1", "T2", "T3"}
    assert checks.biases_added == ("bias" not in SUBJECTS[name])
    assert set(checks.others) == set(OTHERS)
    for id, of in checks.others.items():
        for one in of.differences:
            assert one.bounds <= (0 if id in ("F4", "U7") else 1), id
            assert one.compared == one.of > 0


def test_complex_step_is_near_and_central_difference_is_not():
    """On the sine wave, in which every gradient has terms of higher order."""
    checks = checks_of("sine")
    central = dict(by(checks, "central difference"))
    assert set(central) == {f"B{n}" for n in range(1, 11)}
    assert all(one.bounds > APART for one in central.values())
    near = [(id, one) for id, one in by(checks, "complex step", "RTRL") if id != "T3"]
    assert all(one.bounds <= APART < central[id].bounds for id, one in near)
    assert {id for id, _ in by(checks, "RTRL")} == {f"B{n}" for n in range(4, 10)}
    assert checks.wrong.bounds > APART


def test_the_example_is_the_largest_number_of_the_tensor():
    checks, hand = checks_of("sine"), by_hand(problems(subject("sine"))["after training"])
    for id, equation in WINDOW.items():
        shown, tensor = checks.equations[id], hand[equation.name]
        assert list(shown.values) == ["by hand", *(one.witness for one in shown.differences)]
        assert shown.values["by hand"] == tensor.flat[np.abs(tensor).argmax()]
        assert shown.element == element(equation, int(np.abs(tensor).argmax()), tensor.shape)
    assert {len(checks.equations[id].values) for id in ("T1", "T2", "T3")} == {2}


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
    same = checks_of("everything")  # first, as it is kept for all tests: with all witnesses
    monkeypatch.setattr(witnesses, "find_spec", lambda name: None)
    checks = measure_checks(subject("everything"))
    no_torch = dict.fromkeys(("autograd", "torch.optim"), "PyTorch is not installed")
    assert checks.absent == {"ball arithmetic": "python-flint is not installed"} | no_torch
    assert not set(checks.absent) & set(checks.largest())
    assert all(of.differences for of in checks.equations.values())
    assert checks.v_curve.against == "by hand"
    rest = ("plain loops", "complex step", "RTRL")
    assert by(checks, *rest) == by(same, *rest)  # E is of the values by hand


@pytest.mark.needs_torch
def test_all_witnesses_are_there_where_all_is_installed():
    checks = checks_of("sine")
    assert checks.absent == {}
    assert set(checks.largest()) == {*TRUE, *ROUNDED, *EXACT, "complex step", "RTRL", "central difference"}


def test_the_steps_are_those_of_three_sets():
    options = checks_of("everything").options
    assert {name: (of["momentum"], of["dampening"], of["nesterov"]) for name, of in options.items()} == {
        "the run's own": (0.5, 0, False),
        "momentum with dampening": (0.9, 0.5, False),
        "Nesterov": (0.9, 0, True),
    }
    gradients = check_step.gradients_of(problems(subject("everything"))["before training"])
    limits = [1.0, *2 * [np.linalg.norm(row(gradients)) / 2]]
    np.testing.assert_allclose([of["max_norm"] for of in options.values()], limits, rtol=1e-12)


# -- mistakes are seen ------------------------------------------------------------------------------------------------

IN_WINDOW = {
    "W_hh transposed throughout": "a",
    "output read from h_{t-1}, and its gradient": "y",
    "mean of the losses, gradient of their sum": "loss",
    "2e for e": "dy",
    "dh_next dropped": "dh",
    "1 − a² for 1 − h²": "da",
    "float32 accumulator inside float64": "dW_hh",
}
IN_STEP = {
    "clipping per tensor": "v",
    "clipping without 10⁻⁶": "v",
    "decoupled weight decay": "v",
    "learning rate inside the velocity": "v",
    "dampening at the first step too": "v",
    "nesterov forgotten, or from the velocity before the step": "theta",
    "a trained second hidden bias": "theta",
}


def test_mistakes_of_a_window_are_far_outside_the_bound():
    """By the witnesses that need no other package."""
    case = window(1)
    said, hand = loops(case) | differentiated(case), by_hand(case)
    E = bounds(case, hand)
    for name, tensor in IN_WINDOW.items():
        wrong = mutant(name).window_update(case)
        assert compare("", hand[tensor], said[tensor], E[tensor]).bounds <= APART, tensor
        assert compare("", wrong[tensor], said[tensor], E[tensor]).bounds > APART, name


def updated(program, one):
    """The velocity, if any, and the new parameters, as rows."""
    params, gradients, velocity = map(present, (one.case.params, one.gradients, one.case.velocity))
    report = program.update(params, gradients, velocity, one.case.step)
    prefixes = {"theta": ""} | ({"v": "v"} if "v" in one.hand else {})
    return {stage: np.concatenate([report[p + name].ravel() for name in params]) for stage, p in prefixes.items()}


def test_mistakes_of_the_step_are_seen():
    case = problems(subject("everything"))["before training"]._replace(step=Step(0.1))

    def ratio(one, stage, value):
        E = step_bounds(one.case, row(one.gradients))
        return compare("", value, check_step.exact(one)[stage], E[stage]).bounds

    descents = list(check_step.descents(case))
    for name, stage in IN_STEP.items():
        wrong = [(one, updated(mutant(name), one)) for one in descents]
        assert max(ratio(one, stage, values[stage]) for one, values in wrong if stage in one.hand) > APART, name
    for one in descents:
        assert all(ratio(one, stage, value) <= 1 for stage, value in updated(plain_rnn, one).items())
        for stage, value in one.hand.items():
            assert ratio(one, stage, value) <= 1 < APART < ratio(one, stage, value * (1 + 1e-9)), stage


def test_a_wrong_schedule_is_seen(monkeypatch):
    right = check_truncation.windows
    for wrong, id in (
        (lambda T, k1, k2: right(T, k1, k2 + 1), "T2"),
        (lambda T, k1, k2: [*list(right(T, k1, k2))[:-1], numpy_rnn.Window(0, 0, T)], "T1"),
    ):
        monkeypatch.setattr(check_truncation, "windows", wrong)
        result = check_truncation.check_truncations(subject("three steps, untrained"))
        assert np.isinf([one.bounds for one in result[id].differences]).any()


def test_a_wrong_initial_state_is_seen():
    sine = subject("sine")

    def is_wrong(program):
        runs = (check_truncation.recorded(sine, k1, k2, program) for k1, k2 in ((1, 5), (2, 2)))
        states = (one for run in runs for one in check_truncation.initial_states(sine, run))
        return any((one.state != one.expected).any() for one in states)

    assert not is_wrong(None)
    assert not is_wrong(plain_rnn)
    for name in ("state not reset between epochs", "state reset at every window"):
        assert is_wrong(mutant(name)), name
    assert is_wrong(mutant("sliding window starts from the newest state"))
    everything, program = subject("everything"), mutant("loss of older steps included")
    run = check_truncation.recorded(everything, 1, 2, program)
    moves = (check_truncation.constant(everything, *update) for update in run)
    assert max(difference.bounds for update in moves for difference in update) > APART


def test_wrong_equations_of_no_run_are_seen(monkeypatch):
    off = 1 + 1e-9

    def scaled(gradients):
        return numpy_rnn.Gradients(*(None if g is None else g * off for g in gradients))

    wrong = SimpleNamespace(
        cross_entropy=lambda y, c: numpy_rnn.cross_entropy(y, c) * off,
        clip_by_value=lambda g, limit: numpy_rnn.clip_by_value(g, limit * off),
        direction=lambda params, g, v, **options: numpy_rnn.direction(params, scaled(g), v, **options),
    )
    monkeypatch.setattr(
        check_others, "one_hot", lambda classes, size, dtype: one_hot((classes + 1) % size, size, dtype)
    )
    monkeypatch.setattr(check_others, "softmax", lambda y: softmax(y) * off)
    monkeypatch.setattr(check_others.others_by_hand, "__defaults__", (wrong,))
    for id, of in check_others.check_others(subject("everything")).items():
        assert min(one.bounds for one in of.differences) > 1000, id
