"""The bounds of the SGD step, stage by stage: by hand, out of range, and at the edge of clipping."""

import numpy as np
import pytest
from step_port import norm_of_norms, scaled_by_largest, scaled_by_power_of_two
from window_port import assert_rounded_up, huge_window, port, random_window

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES, SgdOptions
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.bounds.step import Near, Step
from numpy_rnn.conformance.case import Case

of_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def step_of(dtype="float64"):
    one = np.ones((1, 1), dtype)
    return Step(Case(Parameters(one, one, one), one[None], one[None], one, 0.1), Rounding(dtype))


def near(value, E=0.0):
    value = np.asarray(value, np.float64)
    return Near(value, np.broadcast_to(np.asarray(E, np.float64), value.shape))


# -- single operations -----------------------------------------------------------------------------------------------


def test_times_and_plus_by_hand():
    step, gamma = step_of("float32"), Rounding("float32").gamma
    a, b = near(3.0, 0.5), near(-2.0, 0.25)
    assert step.times(a, b).value == -6
    assert_rounded_up(step.times(a, b).E, 0.5 * 2.25 + 3 * 0.25 + gamma(1) * 3.5 * 2.25)
    assert step.plus(a, b).value == 1
    assert_rounded_up(step.plus(a, b).E, 0.75 + gamma(1) * 1.75)


def test_what_rounds_nothing():
    """Products with exactly 1 and −1, and sums with exactly 0; but not with what may be so."""
    step = step_of()
    b = near([3.0, 0.0], [0.25, 0.0])
    for one in (1.0, -1.0):
        assert_rounded_up(step.times(near(one), b).E, b.E)
        assert step.times(near(one), near(3.0)).E == 0
    assert_rounded_up(step.plus(near(0.0), b).E, b.E)
    assert step.plus(near(0.0), near(3.0)).E == step.plus(near(3.0), near(0.0)).E == 0
    assert (step.times(near(1.0, 1e-20), b).E[0] > 0.25 + 3e-16).all()
    assert step.plus(near(0.0, 1e-20), b).E[0] > 0.25 + 3e-16
    assert step.times(near(0.5), b).E[1] == 0


def test_scalars_are_rounded_or_not():
    """E is what a rounding does to them, no more."""
    float32, float64 = step_of("float32"), step_of("float64")
    assert float(float32.scalar(0.1).E) == abs(float(np.float32(0.1)) - 0.1)
    assert float32.scalar(0.5).E == float64.scalar(0.1).E == 0
    assert float32.scalar(1e-40).E >= 1e-40  # it may be read as zero
    assert float64.complement(0.0) == (1, 0)
    for tau in (0.1, 0.9, 1.0, -0.5):
        for number in (np.float32(1 - tau), np.float32(1) - np.float32(tau), 1 - tau):
            assert abs(float(number) - (1 - tau)) <= float32.complement(tau).E
    assert float32.complement(1.0).E == 0


# -- the norm --------------------------------------------------------------------------------------------------------


def test_the_norm_by_hand():
    step, gamma = step_of("float32"), Rounding("float32").gamma
    rho = gamma(7) / (1 + np.sqrt(1 - gamma(7)))  # two numbers are not 0, and 5 roundings more
    flushed = 2 * 8 * np.finfo("float32").smallest_normal
    for E in (0.0, 0.1):
        norm = step.norm(near([3.0, 0.0, 4.0], [3 * E, 0.0, 4 * E]))
        assert norm.value == 5
        own = (rho + gamma(2) * (1 + rho)) * (5 + 5 * E)
        assert_rounded_up(norm.E, 5 * E + own + np.sqrt(flushed) + 5 * flushed)
    assert step.norm(near([0.0, 0.0])) == (0, 0)


def test_a_norm_without_a_bound_is_refused():
    step = step_of("float32")
    step.case = step.case._replace(sgd=SgdOptions(max_norm=1.0))
    many = Near(*(np.broadcast_to(v, 5_000_000) for v in near(1.0)))
    with pytest.raises(InputError, match="a norm of 5000000 numbers in float32 has no bound"):
        step.clipped(many)


@of_dtypes
def test_squares_that_are_flushed(dtype):
    """Numbers whose squares are all below the smallest normal: a norm of 0 is right."""
    step, smallest = step_of(dtype), float(np.finfo(dtype).smallest_normal)
    tiny, larger = (step.norm(near(np.full(7, factor * np.sqrt(smallest)))) for factor in (0.5, 4))
    assert tiny.value - tiny.E <= 0
    assert larger.value - larger.E > 0


@of_dtypes
@pytest.mark.parametrize("norm", [scaled_by_power_of_two, scaled_by_largest, norm_of_norms])
def test_a_norm_whose_square_overflows(dtype, norm):
    """A scaled norm is right; the root of a sum that overflows, and so the factor 0, is seen."""
    for seed in range(4):
        case = huge_window(seed, dtype)
        with np.errstate(over="ignore"):
            report = port(case, norm=norm)
            squares = sum(np.square(report["d" + name]).sum() for name in ("W_xh", "W_hh", "W_hy"))
        assert squares == np.inf
        assert all(np.isfinite(v).all() for v in report.values())
        for check in (check_local, check_global):
            worst = max(ratio.max() for ratio in check(case, report).values())
            assert worst > 100 if norm is norm_of_norms else worst <= 1


# -- the edge of clipping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("E", [0.5, 0.0])
def test_the_factor_by_hand(E):
    step, gamma = step_of(), Rounding("float64").gamma
    factor = step.factor(near(4.0, E), 1.0)
    m, E_m = 4 + 1e-6, E + gamma(1) * (4 + E + 1e-6)
    r = gamma(2) + (1 + gamma(2)) * E_m / (m - E_m)
    assert factor.value == 1 / m
    assert_rounded_up(factor.E, r / m, times=4)


def test_the_factor_is_1_where_nothing_can_make_it_smaller():
    step = step_of()
    for norm in (near(0.0), near(0.9, 0.05), near(1 - 1e-6 - 1e-9), near(1e-9, 0.5)):
        assert step.factor(norm, 1.0) == (1, 0)


@pytest.mark.parametrize("max_norm", [1.0, 0.1])
@pytest.mark.parametrize("norm", [near(1.0, 0.5), near(0.9, 0.2), near(1e-9, 1.0), near(1e-9, 1e-6), near(3.0, 5.0)])
def test_the_factor_of_any_norm_that_may_be(norm, max_norm):
    """Of every norm within E, on either side of max_norm; where it is not known at all, any factor is right."""
    factor = step_of().factor(norm, max_norm)
    assert factor.E <= 1
    for found in np.maximum(norm.value + norm.E * np.linspace(-1, 1, 101), 0):
        assert abs(min(1.0, max_norm / (found + 1e-6)) - factor.value) <= factor.E


@of_dtypes
@pytest.mark.parametrize("pieces", [{}, {"norm": norm_of_norms}], ids=["at once", "norm of norms"])
def test_at_the_edge(dtype, pieces):
    """max_norm within some roundings of the norm, where one computation clips and another does not: both are right."""
    clips = 0
    for seed in range(5):
        case = random_window(seed, dtype, sgd=SgdOptions(0.5, max_norm=1.0), velocity=False, learned=False)
        gradients = [g for name, g in port(case).items() if name[0] == "d" and name[1:] in Parameters._fields[:5]]
        norm = float(np.linalg.norm(np.concatenate([g.ravel() for g in gradients]).astype(np.float64)))
        for units in (-3, -1, 0, 1, 3):
            max_norm = (norm + 1e-6) * (1 + units * float(np.finfo(dtype).eps))
            edge = case._replace(sgd=case.sgd._replace(max_norm=max_norm))
            report, bounds = port(edge, **pieces), global_bounds(edge)
            for ratios in (check_local(edge, report), check_global(edge, report, bounds=bounds)):
                assert max(ratio.max() for ratio in ratios.values()) <= 1
            clips += not np.array_equal(report["vW_hh"], report["dW_hh"])
            other = report | {"v" + name: report["d" + name] for name in ("W_xh", "W_hh", "W_hy")}
            unclipped = check_global(edge, other, bounds=bounds)
            assert max(unclipped["v" + name].max() for name in ("W_xh", "W_hh", "W_hy")) <= 1
    assert 3 < clips < 22  # of 25: there are some on both sides
