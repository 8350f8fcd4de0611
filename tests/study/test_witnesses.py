"""The witnesses, on numbers that every right computation gives exactly, and against each other.

A relu network of whole numbers: every product, sum and derivative of it is a whole number, or one divided by a power
of two, far below 2⁵³. Nothing rounds, so the witnesses must agree to the last bit.
"""

from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from study_runs import near, whole_window, window

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.records import Objective, Step, WindowCase
from numpy_rnn.study.checks.check_equations import WITNESSES as WINDOW_WITNESSES
from numpy_rnn.study.checks.check_step import WITNESSES as STEP_WITNESSES
from numpy_rnn.study.checks.check_step import descents, root
from numpy_rnn.study.checks.complex_step import bounds, differentiated, perturbed_pass
from numpy_rnn.study.checks.equations import by_hand
from numpy_rnn.study.checks.witnesses import Witnessed, aggregate, balls, compare, evaluate, whole
from numpy_rnn.study.findings import Difference
from numpy_rnn.study.suite_parts import stage_bounds

FORWARD = {"a", "h", "y", "losses", "loss"}
DERIVATIVES = {"dy", "dh", "da", "dx", "dh_0", "dW_xh", "dW_hh", "dW_hy", "db_h", "db_y"}
NAMES = {
    "plain loops": FORWARD,
    "ball arithmetic": FORWARD | DERIVATIVES,
    "complex step": DERIVATIVES,
    "RTRL": {"dh_0", "dW_xh", "dW_hh", "dW_hy", "db_h", "db_y"},
    "autograd": FORWARD | DERIVATIVES,
}
EVERY = [pytest.param(name, marks=pytest.mark.needs_torch if name == "autograd" else ()) for name in NAMES]


def without_zeros(seed):
    """The same with no pre-activation 0, and half-integers for hidden biases. Complex step asks which side of 0 a real
    part is on, and the product of two imaginary parts moves it, by 2⁻²⁰⁰.
    """
    drawn = (whole_window((seed, number)) for number in count())
    cases = (case._replace(params=case.params._replace(b_h=case.params.b_h + 0.5)) for case in drawn)
    return next(case for case in cases if by_hand(case)["a"].all())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", EVERY)
def test_witnesses_agree_to_the_bit_where_nothing_rounds(name, seed):
    case = without_zeros(seed) if name == "complex step" else whole_window(seed)
    hand, said = by_hand(case), WINDOW_WITNESSES[name](case)
    assert NAMES[name] <= set(said)
    for tensor in NAMES[name]:
        assert len(said[tensor].at) == hand[tensor].size
        assert not said[tensor].difference(hand[tensor]).any(), tensor
        assert hand[tensor].any(), tensor


@pytest.mark.parametrize("name", ["plain loops", "complex step", "RTRL"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_a_network_without_biases_is_one_with_zeros(name, nonlinearity):
    """Bit for bit: a zero is added, or not."""
    case = whole_window(0, nonlinearity)
    zeros = case._replace(params=case.params._replace(b_h=np.zeros(5), b_y=np.zeros(4)))
    without = case._replace(params=case.params._replace(b_h=None, b_y=None))
    said, expected = map(WINDOW_WITNESSES[name], (without, zeros))
    assert set(expected) - set(said) <= {"db_h", "db_y"}
    for tensor, values in said.items():
        assert (values.high == expected[tensor].high).all(), tensor


def test_the_sample_is_of_the_elements_it_names():
    few, every = (differentiated(whole_window(1), most=most) for most in (7, 10**6))
    for name, said in few.items():
        assert len(said.at) == min(7, len(every[name].at))
        assert (said.high == every[name].high[said.at]).all()


def two_steps_by_hand():
    """The worked example of DERIVATION.md, section 4.1: L(w) = ½(w − 1)² + ½(w² + w − 5)² at w = 2, where L = 1."""
    one, target = np.ones((1, 1)), np.array([2.0, 6.0]).reshape(2, 1, 1)
    params, objective = Parameters(one, 2 * one, one), Objective("relu")
    return WindowCase(params, np.ones((2, 1, 1)), target, one, None, objective, Step(0.25))


def test_no_witness_calls_what_it_checks(monkeypatch):
    """A window and a step; they compute the same numbers without it, and know nothing of those by hand."""
    options = Step(0.25, momentum=0.5, dampening=0.25, weight_decay=0.125, max_norm=1.0)
    descent = [*descents(two_steps_by_hand()._replace(step=options))][3]

    def forbidden(*arguments, **options):
        raise AssertionError("a witness calls what it should check")

    names = ("forward", "bptt", "adjoints", "half_squared_error", "train", "sgd", "direction", "clip_by_global_norm")
    for name in names:
        monkeypatch.setattr(numpy_rnn, name, forbidden)
    absent: dict[str, str] = {}
    found = evaluate(WINDOW_WITNESSES, whole_window(0), absent)
    found |= evaluate(STEP_WITNESSES, descent._replace(hand={}), absent)
    assert found.keys() | absent.keys() == WINDOW_WITNESSES.keys() | STEP_WITNESSES.keys()


def test_the_pass_of_the_bounds_is_that_by_hand():
    for nonlinearity, reduction in (("tanh", "mean"), ("relu", "sum")):
        case = window(1, nonlinearity, reduction)
        hand, nothing = by_hand(case), {"h": np.zeros((len(case.x), 1, *case.h_0.shape))}
        for name, values in perturbed_pass(case, nothing).items():
            near(values[0].real, hand[name], name)


# Of the bound, by the largest difference of all cases: about a third of what is seen. Bounds add up all roundings as if
# they were the largest and went one way; a bound that is ten times as wide as such a sum is used less than this.
MIN_USED = {"a": 0.05, "h": 0.05, "y": 0.03, "losses": 0.008, "dy": 0.07, "dh": 0.02, "da": 0.015, "dx": 0.015}
MIN_USED_OTHERS = 0.004


def test_values_by_hand_are_within_the_balls_bound_and_use_some():
    pytest.importorskip("flint")
    used: dict[str, float] = {}
    for seed in range(12):
        case = window(seed, ("tanh", "relu")[seed % 2], ("sum", "mean")[seed // 2 % 2], bias=seed % 3 > 0)
        hand, said = by_hand(case), balls(case)
        E = bounds(case, hand)
        for name, own in stage_bounds(case, hand).items():
            assert name not in E or (E[name] >= own).all(), name  # the rounding of its own stage is in it
        for name in E.keys() & said.keys():
            assert E[name].shape == hand[name].shape, name
            ratio = compare("", hand[name], said[name], E[name]).bounds
            assert ratio <= 1, (name, seed)
            used[name] = max(used.get(name, 0), ratio)
    assert {name: used[name] for name in used if used[name] < MIN_USED.get(name, MIN_USED_OTHERS)} == {}


def test_differences_in_their_units():
    hand, E = np.array([[1.0, -4.0], [0.0, 0.5]]), np.full((2, 2), 2.0**-50)
    said = Witnessed(np.array([1, 3]), np.array([-4 + 2.0**-48, 0.5]), np.array([0.0, 2.0**-60]))
    result = compare("x", hand, said, E)
    assert result == Difference("x", 2.0**-48, 4.0, 2, 4)
    assert compare("x", hand, whole(hand), 0 * E) == Difference("x", 0, 0, 4, 4)
    assert compare("x", hand, said, 0 * E).bounds == np.inf


def test_the_largest_differences_are_reported():
    a, b = Difference("a", 1.0, 0.25, 3, 4), Difference("a", 0.5, 0.5, 1, 2)
    other = Difference("b", 0.1, 0.3, 1, 1)
    assert aggregate([a, other, b]) == [Difference("a", 1.0, 0.5, 4, 6), other]


def test_root_is_right_to_300_bits_and_exact_for_squares():
    for number in (Fraction(2), Fraction(1, 3), Fraction(5, 2**1900), Fraction(10**300)):
        result = root(number)
        assert result**2 <= number < (result * (1 + Fraction(1, 2**298))) ** 2
    assert [root(Fraction(n)) for n in (0, 1, 49)] == [0, 1, 7]
    assert root(Fraction(9, 4)) == Fraction(3, 2)
