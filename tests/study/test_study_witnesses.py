"""The witnesses of the study, on numbers that every right computation gives exactly, and against each other.

A relu network of whole numbers: every product, sum and derivative of it is a whole number, or one divided by a power
of two, far below 2⁵³. Nothing rounds, so the witnesses must agree to the last bit.
"""

from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from window_port import random_window

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.bounds.local_bounds import TAU, stages
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.check_step import WITNESSES as STEP_WITNESSES
from numpy_rnn.study.checks.check_step import descents, root
from numpy_rnn.study.checks.checks import WITNESSES as WINDOW_WITNESSES
from numpy_rnn.study.checks.complex_step import bounds, complex_step, differentiated, v_curve
from numpy_rnn.study.checks.equations import by_hand
from numpy_rnn.study.checks.witnesses import Check, Witnessed, aggregate, balls, compare, evaluate, whole

FORWARD = {"a", "h", "y", "losses", "loss"}
DERIVATIVES = {"dy", "dh", "da", "dx", "dh_0", "dW_xh", "dW_hh", "dW_hy", "db_h", "db_y"}
BY_PARAMETER = {"dh_0", "dW_xh", "dW_hh", "dW_hy", "db_h", "db_y"}


def whole_numbers(seed, nonlinearity="relu"):
    """A relu network of small whole numbers; K·B·O is a power of two."""
    T, B, D, H, O, K = 6, 2, 3, 5, 4, 4
    draw = np.random.default_rng(seed).integers

    def some(*shape, low=-1):
        return draw(low, 2, size=shape).astype(float)

    params = Parameters(some(D, H), some(H, H), some(H, O), some(H), some(O))
    return Case(params, some(T, B, D), some(K, B, O), some(B, H, low=0), 0.25, nonlinearity, "mean")


def without_zeros(seed):
    """The same with no pre-activation 0, and half-integers for hidden biases. Complex step asks which side of 0 a real
    part is on, and the product of two imaginary parts moves it, by 2⁻²⁰⁰.
    """
    drawn = (whole_numbers((seed, number)) for number in count())
    cases = (case._replace(params=case.params._replace(b_h=case.params.b_h + 0.5)) for case in drawn)
    return next(case for case in cases if by_hand(case)["a"].all())


NAMES = {
    "plain loops": FORWARD,
    "ball arithmetic": FORWARD | DERIVATIVES,
    "complex step": DERIVATIVES,
    "RTRL": BY_PARAMETER,
    "autograd": FORWARD | DERIVATIVES,
}
EVERY = [pytest.param(name, marks=pytest.mark.needs_torch if name == "autograd" else ()) for name in NAMES]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", EVERY)
def test_witnesses_agree_to_the_bit_where_nothing_rounds(name, seed):
    case = without_zeros(seed) if name == "complex step" else whole_numbers(seed)
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
    zeros = whole_numbers(0, nonlinearity=nonlinearity)
    zeros = zeros._replace(params=zeros.params._replace(b_h=np.zeros(5), b_y=np.zeros(4)))
    without = zeros._replace(params=zeros.params._replace(b_h=None, b_y=None))
    said, expected = map(WINDOW_WITNESSES[name], (without, zeros))
    assert set(expected) - set(said) <= {"db_h", "db_y"}
    for tensor, values in said.items():
        assert (values.high == expected[tensor].high).all(), tensor


def test_the_sample_is_of_the_elements_it_names():
    case = whole_numbers(1)
    few, all_elements = (differentiated(case, complex_step, most=most) for most in (7, 10**6))
    for name, said in few.items():
        assert len(said.at) == min(7, len(all_elements[name].at))
        assert (said.high == all_elements[name].high[said.at]).all()


def two_steps_by_hand():
    """The worked example of DERIVATION.md, section 4.1: L(w) = ½(w − 1)² + ½(w² + w − 5)² at w = 2, where L = 1."""
    one = np.ones((1, 1))
    target = np.array([2.0, 6.0]).reshape(2, 1, 1)
    return Case(Parameters(one, 2 * one, one), np.ones((2, 1, 1)), target, one, 0.25, "relu", "sum")


def test_v_curve_of_the_worked_example():
    """L' = (w−1) + (w²+w−5)(2w+1) = 6, L''' = 6(2w+1) = 30; L'''' is constant, so that h²/6 L''' is all the error."""
    case = two_steps_by_hand()
    curve = v_curve(case, by_hand(case), None)
    assert (curve["element"], curve["value"]) == ("W_hh[1, 1]", 6.0)
    u = curve["unit_roundoff"]
    # L''' is a second difference of L', whose four roundings or so of 6 are divided by 10⁻⁶.
    assert abs(curve["truncation"] - 30 / 6 / 6) <= 8 * 6 * u / 1e-6 / 36
    assert curve["rounding"] == u / 6
    for step, central, complex_error in zip(curve["steps"], curve["central"], curve["complex"]):
        # Losses near 1 in fewer than 16 roundings; and in the complex step as many of the imaginary part, 6 δ.
        assert abs(central - 5 / 6 * step**2) <= 16 * u / step / 6
        assert abs(complex_error - 5 / 6 * step**2) <= 16 * u * (1 + step)
    assert max(curve["complex_smaller"]) == curve["complex_error"] <= 16 * u
    assert curve["best_error"] == min(curve["central"])
    assert curve["steps"][curve["central"].index(curve["best_error"])] == curve["best_step"]
    # The smallest sum of t h² and r/h is where 2th = r/h².
    h = curve["predicted_step"]
    assert abs(2 * curve["truncation"] * h - curve["rounding"] / h**2) <= 1e-12 * curve["rounding"] / h**2


def test_no_witness_calls_what_it_checks(monkeypatch):
    """Of a window and of a step; they compute the same numbers without it, and know nothing of those by hand."""
    case = whole_numbers(0)
    descent = [*descents(two_steps_by_hand(), SgdOptions(0.5, 0.25, False, 0.125, 1.0))][3]

    def forbidden(*arguments, **options):
        raise AssertionError("a witness calls what it should check")

    names = ("forward", "bptt", "adjoints", "half_squared_error", "train", "sgd", "direction", "clip_by_global_norm")
    for name in names:
        monkeypatch.setattr(numpy_rnn, name, forbidden)
    absent: dict[str, str] = {}
    found = evaluate(WINDOW_WITNESSES, case, absent)
    found |= evaluate(STEP_WITNESSES, descent._replace(hand={}), absent)
    assert found.keys() | absent.keys() == WINDOW_WITNESSES.keys() | STEP_WITNESSES.keys()


# Of the bound, by the largest difference of all cases: about a third of what is seen. Bounds add up all roundings as if
# they were the largest and went one way; a bound that is ten times as wide as such a sum is used less than this.
MIN_USED = {"a": 0.05, "h": 0.05, "y": 0.03, "losses": 0.008, "dy": 0.07, "dh": 0.02, "da": 0.015, "dx": 0.015}
MIN_USED_OTHERS = 0.004


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_by_hand_are_within_the_bound_of_the_balls_and_use_some_of_it(dtype):
    used: dict[str, float] = {}
    for seed in range(12):
        case = random_window(seed, dtype, sgd=SgdOptions())
        hand, said = by_hand(case), balls(case)
        E = bounds(case, hand)
        for name, (_, own) in stages(case, hand, TAU).items():
            assert name not in E or (E[name] >= own).all(), name  # the rounding of its own stage is in it
        for name in E.keys() & said.keys():
            assert E[name].shape == hand[name].shape, name
            ratio = compare(hand[name], said[name], E[name]).bounds
            assert ratio <= 1, (name, seed)
            used[name] = max(used.get(name, 0), ratio)
    assert {name: used[name] for name in used if used[name] < MIN_USED.get(name, MIN_USED_OTHERS)} == {}


def test_differences_in_their_units():
    hand, E = np.array([[1.0, -4.0], [0.0, 0.5]]), np.full((2, 2), 2.0**-50)
    said = Witnessed(np.array([1, 3]), np.array([-4 + 2.0**-48, 0.5]), np.array([0.0, 2.0**-60]))
    result = compare(hand, said, E)
    assert result == (2.0**-48, 2.0**-48 / 2.0**-50, 4.0, 2, 4)  # 4 and its neighbour are 2⁻⁵⁰ apart
    assert compare(hand, whole(hand), 0 * E)[:3] == (0, 0, 0)
    assert compare(hand, said, 0 * E).bounds == np.inf


def test_a_place_has_the_largest_of_its_own_differences():
    one, two = (compare(np.ones(2), whole(np.ones(2) + x), np.full(2, 0.5)) for x in (0.25, 0.5))
    checks = [Check("here", "a", one), Check("there", "a", two), Check("there", "a", one), Check("here", "b", one)]
    of_a, of_b = aggregate(checks)
    assert (of_a["difference"], of_a["bounds"], of_a["compared"], of_b["difference"]) == (0.5, 1.0, 6, 0.25)
    places = [(place["where"], place["difference"], place["bounds"]) for place in of_a["by_place"]]
    assert places == [("here", 0.25, 0.5), ("there", 0.5, 1.0)]


def test_root_is_right_to_300_bits_and_exact_for_squares():
    for number in (Fraction(2), Fraction(1, 3), Fraction(5, 2**1900), Fraction(10**300)):
        result = root(number)
        assert result**2 <= number < (result * (1 + Fraction(1, 2**298))) ** 2
    assert [root(Fraction(n)) for n in (0, 1, 49)] == [0, 1, 7]
    assert root(Fraction(9, 4)) == Fraction(3, 2)
