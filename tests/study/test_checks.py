"""The witnesses, exact where nothing rounds; the findings of all equations; and mistakes, far outside the bounds.

A relu network of whole numbers: every product, sum and derivative of it is a whole number, or one divided by a power
of two, far below 2⁵³. Nothing rounds, so the witnesses must agree to the last bit.
"""

from functools import cache
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from study_runs import SUBJECTS, near, subject, whole_window, window

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.records import Step
from numpy_rnn.elman import one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.study.checks import check_others, check_step, check_truncation, witnesses
from numpy_rnn.study.checks.all_checks import WITNESSES, measure_checks
from numpy_rnn.study.checks.comparison import (
    Witnessed,
    aggregate,
    check_equations,
    compare,
    evaluate,
    whole,
)
from numpy_rnn.study.checks.complex_step import REAL, bounds, central_difference, moved_window
from numpy_rnn.study.checks.equations import (
    EQUATIONS,
    SOFTMAX,
    STEP,
    WINDOW,
    by_hand,
    element,
    problems,
    row,
)
from numpy_rnn.study.findings import AFTER, BEFORE, Difference
from numpy_rnn.study.page.document import definitions
from numpy_rnn.study.subject import changed
from numpy_rnn.study.suite_parts import stage_bounds, trained, updates
from numpy_rnn.study.training.programs import program

FORWARD, ADJOINTS = {"a", "h", "y", "losses", "loss"}, {"dy", "dh", "da", "dx"}
GRADIENTS = {"dh_0", "dW_xh", "dW_hh", "dW_hy", "db_h", "db_y"}
NAMES = {"plain loops": FORWARD, "RTRL": GRADIENTS, "complex step": ADJOINTS | GRADIENTS}
EVERY = ["ball arithmetic", *NAMES, pytest.param("autograd", marks=pytest.mark.needs_torch)]


def without_zeros(seed):
    """The same with no pre-activation 0, and half-integers for hidden biases. Complex step asks which side of 0 a real
    part is on, and the product of two imaginary parts moves it, by 2⁻²⁰⁰.
    """
    drawn = (whole_window((seed, number)) for number in count())
    cases = (
        case._replace(params=case.params._replace(b_h=case.params.b_h + 0.5)) for case in drawn
    )
    return next(case for case in cases if by_hand(case)["a"].all())


@pytest.mark.parametrize("name", EVERY)
def test_witnesses_are_exact_where_nothing_rounds(name):
    for seed in range(3):
        case = without_zeros(seed) if name == "complex step" else whole_window(seed)
        hand, said = by_hand(case), WITNESSES[name](case)
        for tensor in NAMES.get(name, FORWARD | ADJOINTS | GRADIENTS):
            assert len(said[tensor].at) == hand[tensor].size
            assert not said[tensor].difference(hand[tensor]).any(), tensor
            assert hand[tensor].any(), tensor


def test_the_slope_of_relu_at_zero_is_zero():
    """As by hand, also where complex step asks for it; without inputs, states and biases, a_1 is 0."""
    case = window(0, "relu")
    case.x[0], case.params.b_h[:], zeros = 0, 0, np.zeros_like(case.h_0)
    said, hand = (
        WITNESSES["complex step"](case._replace(h_0=zeros)),
        by_hand(case._replace(h_0=zeros)),
    )
    assert hand["dh"][0].any()
    for name in ("da", "dx", "dh_0"):
        assert not said[name].high[: case.x.shape[1] * hand[name].shape[-1]].any(), (
            name
        )  # of step 1


def test_no_witness_calls_what_it_checks(monkeypatch):
    """Of a window and of a step; they know nothing of the numbers by hand."""
    descent = list(check_step.descents(window(0)))[3]
    names = (
        "forward",
        "bptt",
        "adjoints",
        "half_squared_error",
        "train",
        "sgd",
        "direction",
        "clip_by_global_norm",
    )
    for name in names:
        monkeypatch.setattr(numpy_rnn, name, None)
    absent: dict[str, str] = {}
    found = evaluate(WITNESSES, whole_window(0), absent)
    found |= evaluate(check_step.WITNESSES, descent._replace(hand={}), absent)
    assert found.keys() | absent.keys() == WITNESSES.keys() | check_step.WITNESSES.keys()


def test_the_pass_of_the_bounds_is_that_by_hand():
    for nonlinearity, reduction in (("tanh", "mean"), ("relu", "sum")):
        case = window(1, nonlinearity, reduction)
        hand, nothing = by_hand(case), np.zeros((1, len(case.x), *case.h_0.shape))
        for name, values in moved_window(case, "h", nothing).items():
            near(values[0].real, hand[name], name)


# Of the bound, by the largest difference of all cases: about a third of what is seen. Bounds add up all roundings as if
# they were the largest and went one way; a bound that is ten times as wide as such a sum is used less than this.
MIN_USED = {
    "a": 0.05,
    "h": 0.05,
    "y": 0.03,
    "losses": 0.008,
    "dy": 0.07,
    "dh": 0.02,
    "da": 0.015,
    "dx": 0.015,
}
MIN_USED_OTHERS = 0.004


def test_values_by_hand_are_within_the_balls_bound():
    pytest.importorskip("flint")
    used: dict[str, float] = {}
    for seed in range(12):
        case = window(
            seed, ("tanh", "relu")[seed % 2], ("sum", "mean")[seed // 2 % 2], bias=seed % 3 > 0
        )
        hand, said = by_hand(case), witnesses.balls(case)
        E = bounds(case, hand)
        for name, own in stage_bounds(case, hand).items():
            assert name not in E or (E[name] >= own).all(), (
                name
            )  # the rounding of its own stage is in it
        for name in E.keys() & said.keys():
            assert E[name].shape == hand[name].shape, name
            ratio = compare("", hand[name], said[name], E[name]).bounds
            assert ratio <= 1, (name, seed)
            used[name] = max(used.get(name, 0), ratio)
    assert {
        name: used[name] for name in used if used[name] < MIN_USED.get(name, MIN_USED_OTHERS)
    } == {}


def test_differences_in_their_units():
    hand, E = np.array([[1.0, -4.0], [0.0, 0.5]]), np.full((2, 2), 2.0**-50)
    said = Witnessed(np.array([1, 3]), np.array([-4 + 2.0**-48, 0.5]), np.array([0.0, 2.0**-60]))
    assert compare("x", hand, said, E) == Difference("x", 2.0**-48, 4.0, 2, 4)
    assert compare("x", hand, whole(hand), 0 * E) == Difference("x", 0, 0, 4, 4)
    assert compare("x", hand, said, 0 * E).bounds == np.inf
    a, b, other = (
        Difference("a", 1.0, 0.25, 3, 4),
        Difference("a", 0.5, 0.5, 1, 2),
        Difference("b", 0.1, 0.3, 1, 1),
    )
    assert aggregate([a, other, b]) == [Difference("a", 1.0, 0.5, 4, 6), other]


TRUE = ("ball arithmetic", "exact fractions")  # they know the value far beyond what a float64 holds
ROUNDED = (
    "plain loops",
    "autograd",
    "torch.optim",
)  # they do the same operations, and round them in their own way
EXACT = ("counting steps", "previous window", "counting")
APART = 2  # E, of two values that are each within E of the true one
OTHERS = ("F4", "L3", "L4", SOFTMAX, "U7", "U8", "U9")


@cache
def checks_of(name):
    return measure_checks(subject(name))


def by(checks, *names):
    """(id, difference) of these witnesses."""
    return [
        (id, one)
        for id, of in checks.equations.items()
        for one in of.differences
        if one.witness in names
    ]


@pytest.mark.parametrize("name", SUBJECTS)
def test_values_by_hand_are_within_the_bound(name):
    """By the bound's own meaning: 1 from the true value; 2 from one that is computed by the same operations, since
    either is within 1.
    """
    checks = checks_of(name)
    assert list(checks.equations) == list(EQUATIONS)
    assert all(one.bounds <= 1 for _, one in by(checks, *TRUE))
    assert all(one.bounds <= APART for _, one in by(checks, *ROUNDED))
    assert [id for id, one in by(checks, *EXACT) if one.difference or one.bounds] == []
    without = {"T1", "T2", "T3", "F4", "L3", "L4", SOFTMAX}  # balls and fractions
    assert {id for id, _ in by(checks, *TRUE)} == set(EQUATIONS) - without
    assert checks.biases_added == ("bias" not in SUBJECTS[name])
    for id in OTHERS:
        for one in checks.equations[id].differences:
            assert one.bounds <= (
                0 if id == "U7" else APART if one.witness == "complex step" else 1
            ), id
            assert one.compared == one.of > 0


def test_every_equation_of_the_document_is_checked():
    assert set(definitions()) == {id.partition(",")[0] for id in EQUATIONS}
    where = {id: of.where for id, of in checks_of("sine").equations.items()}
    assert [
        id for id in ("F1", "B5", "B7", "B8", "L3", "U2", "U8") if "in this run" in where[id]
    ] == ["F1", "B5"]
    shown = checks_of("everything").equations
    assert [shown[id].element.split(" of ")[0] for id in ("U1", "U3", "U9")] == ["θ", "dθ", "Δ"]


def test_complex_step_is_near_and_central_difference_is_not():
    """On the sine wave, in which every gradient has terms of higher order."""
    checks = checks_of("sine")
    central = dict(by(checks, "central difference"))
    assert set(central) == {f"B{n}" for n in range(1, 11)}
    assert all(one.bounds > APART for one in central.values())
    # (1 + h)² has no third derivative: what is left is the rounding of a loss near 1, divided by h.
    assert abs(central_difference(lambda h: np.array(1 + h) ** 2) - 2) <= 2.0**-52 / REAL
    near = [
        (id, one) for id, one in by(checks, "complex step", "RTRL") if id not in ("T3", SOFTMAX)
    ]
    assert all(one.bounds <= APART < central[id].bounds for id, one in near)
    assert {id for id, _ in by(checks, "RTRL")} == {f"B{n}" for n in range(4, 10)}
    assert checks.wrong.bounds > APART


def test_the_example_is_the_largest_number_of_the_tensor():
    windows = problems(subject("sine"))
    assert [len(window.target) for window in windows.values()] == [10, 10, 5]
    checks, hand = checks_of("sine"), by_hand(windows[AFTER])
    for id, equation in WINDOW.items():
        shown, tensor = checks.equations[id], hand[equation.name]
        assert list(shown.values) == ["by hand", *(one.witness for one in shown.differences)]
        assert shown.values["by hand"] == tensor.flat[np.abs(tensor).argmax()]
        assert shown.element == element(equation, int(np.abs(tensor).argmax()), tensor.shape)
    shown = [checks.equations[id] for id in ("T1", "T2", "T3")]
    assert all(of.values["by hand"] == of.values["by the definition"] for of in shown)
    last = "of the last update of k1 = 2, k2 = 5"
    assert [of.element for of in shown] == [f"e {last}", f"s {last}", f"h[1] at the start {last}"]
    assert [of.values["by hand"] for of in shown[:2]] == [10, 5]


def test_elements_are_named_from_one():
    names = {
        ("B2", 5, (3, 1, 2)): "dh_3[2]", ("B2", 5, (3, 2, 1)): "dh_3[2, 1]", ("B5", 5, (2, 4)): "dW_hh[2, 2]",
        ("B9", 1, (1, 2)): "dh_0[2]", ("B7", 1, (2,)): "db_h[2]", ("L1", 3, (5,)): "ℓ_4", ("L2", 0, ()): "L",
    }  # fmt: skip
    params = Parameters(np.zeros((1, 2)), np.zeros((2, 2)), np.zeros((2, 1)))
    assert [element(STEP["U4"], at, (8,), params) for at in (0, 4)] == [
        "g of W_xh[1, 1]",
        "g of W_hh[2, 1]",
    ]
    assert element(STEP["U2"], 0, (), params) == "‖dθ‖"
    assert {key: element(WINDOW[key[0]], *key[1:]) for key in names} == names


@pytest.mark.needs_torch
def test_numpy_is_enough(monkeypatch):
    """A package that is not installed is named, with its reason, and every equation has another witness."""
    same = checks_of("everything")
    assert {id for id, _ in by(same, "torch.optim")} == {f"U{n}" for n in range(1, 6)}
    others = {"complex step", "RTRL", "central difference", "50 decimal digits"}
    assert (same.absent, set(same.largest())) == ({}, {*TRUE, *ROUNDED, *EXACT, *others})
    monkeypatch.setattr(witnesses, "find_spec", lambda name: None)
    checks = measure_checks(subject("everything"))
    no_torch = dict.fromkeys(("autograd", "torch.optim"), "PyTorch is not installed")
    assert checks.absent == {"ball arithmetic": "python-flint is not installed"} | no_torch
    assert not set(checks.absent) & set(checks.largest())
    assert all(of.differences for of in checks.equations.values())
    rest = ("plain loops", "complex step", "RTRL")
    assert by(checks, *rest) == by(same, *rest)  # E is of the values by hand


def test_wrong_stages_of_the_step_are_seen():
    case = problems(subject("everything"))[BEFORE]
    descents = list(check_step.descents(case._replace(step=Step(0.1))))
    steps = [
        (of.momentum, of.dampening, of.nesterov) for of in (one.case.step for one in descents[1::2])
    ]
    assert steps == [(0, 0, False), (0.9, 0.5, False), (0.9, 0, True), (0, 0, False)]
    first = row(check_step.gradients_of(case))
    half = np.linalg.norm(first) / 2
    np.testing.assert_allclose([one.case.step.max_norm for one in descents[2:6]], half, rtol=1e-12)
    assert {(one.case.step.max_value, one.case.step.adagrad) for one in descents[6:]} == {
        (abs(first).max() / 2, True)
    }
    for one in descents:
        said, E = check_step.exact(one), check_step.bounds(one)
        for stage, value in one.hand.items():
            right, wrong = (
                compare("", v, said[stage], E[stage]).bounds for v in (value, value * (1 + 1e-9))
            )
            assert right <= 1 < APART < wrong, stage


def test_a_wrong_schedule_is_seen(monkeypatch):
    right = check_truncation.windows
    for wrong, id in (
        (lambda T, k1, k2: right(T, k1, k2 + 1), "T2"),
        (lambda T, k1, k2: [*list(right(T, k1, k2))[:-1], numpy_rnn.Window(0, 0, T)], "T1"),
    ):
        monkeypatch.setattr(check_truncation, "windows", wrong)
        found = check_equations([check_truncation.compare_schedules(3)])
        assert np.isinf([one.bounds for one in found[id].differences]).any()


def test_a_wrong_initial_state_is_seen():
    def differences(of, program, k1, k2):
        """From the previous window, and from the complex step."""
        run = updates(program, of.run_of(of.start, changed(of.options, k1=k1, k2=k2, epochs=2)))
        (found,) = check_equations(check_truncation.compare_windows(of, run)).values()
        return [one.bounds for one in found.differences]

    for name, k1, k2 in (
        ("state not reset between epochs", 2, 2),
        ("state reset at every window", 2, 2),
        ("sliding window starts from the newest state", 1, 5),
    ):
        assert differences(subject("sine"), trained, k1, k2)[0] == 0
        assert differences(subject("sine"), program(name), k1, k2)[0] == np.inf, name
    assert (
        differences(subject("everything"), program("loss of older steps included"), 1, 2)[1] > APART
    )


def test_wrong_equations_of_no_run_are_seen(monkeypatch):
    off, direction, by_value = 1 + 1e-9, numpy_rnn.direction, numpy_rnn.clip_by_value

    def scaled(gradients):
        return numpy_rnn.Gradients(*(None if g is None else g * off for g in gradients))

    wrong = SimpleNamespace(
        adjoints=lambda *window, **options: SimpleNamespace(
            dy=numpy_rnn.adjoints(*window, **options).dy * off
        ),
        cross_entropy=lambda y, c: numpy_rnn.cross_entropy(y, c) * off,
    )
    monkeypatch.setattr(
        check_others, "one_hot", lambda classes, H, dtype: one_hot((classes + 1) % H, H, dtype)
    )
    monkeypatch.setattr(check_others, "softmax", lambda y: softmax(y) * off)
    monkeypatch.setattr(numpy_rnn, "clip_by_value", lambda g, limit: by_value(g, limit * off))
    monkeypatch.setattr(
        numpy_rnn, "direction", lambda p, g, *v, **options: direction(p, scaled(g), *v, **options)
    )
    case = problems(subject("everything"))[BEFORE]
    comparisons = [
        *check_others.compare_others(case, wrong),
        *list(check_step.compare_steps(case, {}))[-2:],
    ]
    found = check_equations(comparisons)
    assert {
        id for id, of in found.items() if min(one.bounds for one in of.differences) > 1000
    } == set(OTHERS)
