"""Engine, reference and torch_rnn against each other over runs; single windows are the suite's, test_conformance.py.

Over thousands of updates rounding alone can drive two correct runs apart. So updates are compared in lockstep, each
begun again from the same parameters and state, and only three of them in a row run free.
"""

import importlib
from itertools import islice

import numpy as np
import pytest
from cases import (
    UNIT,
    allowed,
    assert_within,
    bits,
    cases,
    fewer,
    of_step,
    one_update,
    random_case,
    reference_run,
    reference_update,
    reported,
    runs,
    taking_part,
    window_of,
)
from hypothesis import example, given

import numpy_rnn
from numpy_rnn import Gradients, Parameters

RUNNERS = (
    ("numpy_rnn", "numpy_rnn.reference"),
    pytest.param("numpy_rnn", "torch_rnn", marks=pytest.mark.needs_torch),
    pytest.param("numpy_rnn.reference", "torch_rnn", marks=pytest.mark.needs_torch),
    pytest.param("torch_rnn", "numpy_rnn.reference", marks=pytest.mark.needs_torch),
)


# -- in lockstep ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("runner", "other"), RUNNERS)
@fewer(2)
@given(run=runs())
def test_every_update_of_a_run_is_done_again_alike_by_the_other(runner, other, run):
    """`train` of one backend, each of its updates begun again by the other's functions from the parameters, the
    velocity and the state that the run reports.
    """
    rnn, other = map(importlib.import_module, (runner, other))
    case, options = run
    before, velocity = case.params, None
    for update in rnn.train(*case.for_train(rnn), **options, **case.options, record=True):
        made = reported(rnn, update)
        window = window_of(case, rnn.to_numpy(update), before)
        again = one_update(other, window, velocity=velocity, **of_step(options))
        limit = allowed(reference_update(window, velocity=velocity, **of_step(options)))
        assert_within(*(taking_part(value, window) for value in (made, again, limit)))
        before, velocity = made.parameters, made.velocity


# -- in a row -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["numpy_rnn.reference", pytest.param("torch_rnn", marks=pytest.mark.needs_torch)])
@given(run=runs())
def test_three_updates_in_a_row_are_those_of_the_engine(other, run):
    """Free: each backend carries its own parameters and state. What is allowed grows as rounding may."""
    (case, options), rnn = run, importlib.import_module(other)
    ours, theirs = (
        backend.train(*case.for_train(backend), **options, **case.options, record=True) for backend in (numpy_rnn, rnn)
    )
    for one, another, right in islice(zip(ours, theirs, reference_run(case, **options), strict=True), 3):
        assert another[:3] == one[:3]
        assert_within(reported(rnn, another), reported(numpy_rnn, one), allowed(right.expected))


# -- that the comparison can fail -------------------------------------------------------------------------------------


def test_what_is_allowed_is_small():
    """In 99 of 100 cases, of every gradient, relative to its largest entry."""
    for dtype, small in (("float64", 1e-10), ("float32", 0.05)):
        ratios = []
        for seed in range(200):
            gradients = reference_update(random_case(seed, 5, 2, 3, 4, 1, dtype=dtype, learned=True)).gradients
            ratios.append(max(g.off.max() / np.abs(g.value).max() for g in gradients))
        assert np.quantile(ratios, 0.99) < small


@pytest.mark.parametrize("name", Gradients._fields)
def test_one_gradient_off_by_a_millionth_is_seen(name):
    case = random_case(0, 5, 2, 3, 4, 1, learned=True)
    expected = one_update(numpy_rnn, case, 0.1)
    wrong = getattr(expected.gradients, name).copy()
    wrong.flat[-1] *= 1 + 1e-6
    changed = expected._replace(gradients=expected.gradients._replace(**{name: wrong}))
    limit = allowed(reference_update(case, 0.1))
    assert_within(expected, expected, limit)
    with pytest.raises(AssertionError, match=rf"gradients.{name}\[.*times the allowed difference"):
        assert_within(changed, expected, limit)


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("actual", "allowed", "says"),
    [
        (np.where(np.eye(2, 3) > 0, np.nan, 1), 1.0, "not finite"),
        (np.where(np.eye(2, 3) > 0, np.inf, 1), np.inf, "not finite"),
        (ONES, np.nan, "allowed value is not finite"),
        (ONES, np.inf, "allowed value is not finite"),
        (ONES[:1], 1.0, "shape"),
        (ONES[..., None], 1.0, "shape"),
        (np.ones(()), 1.0, "shape"),
        (ONES.astype("float32"), 1.0, "float32, expected float64"),
        (ONES.astype("int64"), 1.0, "int64, expected float64"),
        (ONES.tolist(), 1.0, "not a NumPy array"),
        (None, 1.0, "not a NumPy array"),
        (ONES, ONES[:1], "allowed difference has shape"),
        (ONES + np.eye(2, 3) * [0, 2e-12, 0], 1e-12, r"\[1, 1\].*times the allowed difference"),
        (ONES - np.eye(2, 3) * [0, 2e-12, 0], 1e-12 * ONES, r"\[1, 1\].*times the allowed difference"),
        (ONES + np.eye(2, 3) * 1e-15, 0.0, "times the allowed difference"),
    ],
)
def test_the_comparison_fails_where_it_must(actual, allowed, says):
    with pytest.raises(AssertionError, match=says):
        assert_within(actual, ONES, allowed)


@pytest.mark.parametrize("expected", [np.nan, np.inf])
def test_the_comparison_fails_on_an_expectation_that_is_no_number(expected):
    with pytest.raises(AssertionError, match="not finite"):
        assert_within(ONES, expected * ONES, 1.0)


def test_the_comparison_passes_what_it_may():
    assert_within(ONES, ONES, 0.0)
    assert_within(ONES + 1e-12, ONES, 2e-12 * ONES)
    assert_within(np.float64(1), np.ones(()), 0.0)
    assert_within(Parameters(ONES, ONES, ONES), Parameters(ONES, ONES, ONES), Parameters(0.0, ONES, 0.0))


def test_the_comparison_looks_into_tuples_and_at_what_is_absent():
    full = Parameters(ONES, ONES, ONES, ONES, ONES)
    limits = Parameters(*[1e-9] * 5)
    with pytest.raises(AssertionError, match=r"value\.b_y is a <class 'NoneType'>"):
        assert_within(full._replace(b_y=None), full, limits)
    with pytest.raises(AssertionError, match=r"value\.b_h is there"):
        assert_within(full, full._replace(b_h=None), limits)
    with pytest.raises(AssertionError, match=r"value\.W_hh\[0, 0\]"):
        assert_within(full._replace(W_hh=ONES + 1e-6), full, limits)
    with pytest.raises(AssertionError, match="is a <class 'tuple'>"):
        assert_within(tuple(full), full, limits)


def test_bits_tell_apart_what_only_looks_equal():
    assert bits(ONES) == bits(ONES.copy())
    zero = np.zeros(1)
    others = [-zero, zero.astype("float32"), zero[None], zero + 5e-324, None, 0]
    assert all(bits(zero) != bits(other) for other in others)
    assert bits(Parameters(zero, zero, zero)) != bits(Parameters(zero, zero, -zero))


def test_what_is_allowed_follows_the_terms_and_not_a_result_that_cancels():
    """h W_hy = 10⁶ − 10⁶ here: the result is 0, its terms are not."""
    case = random_case(0, 1, 1, 1, 2, 1, bias=False, nonlinearity="relu")
    params = case.params._replace(W_xh=np.ones((1, 2)), W_hh=np.zeros((2, 2)), W_hy=np.array([[1e6], [-1e6]]))
    y = reference_update(case._replace(params=params, x=np.ones((1, 1, 1)))).activations.y
    assert y.value.item() == 0
    assert 2e6 * UNIT["float64"] <= y.off.item() < 1e7 * UNIT["float64"]


@example(case=random_case(0, 1, 1, 1, 1, 1))
@given(case=cases())
def test_the_cases_are_not_trivial(case):
    """A gradient that is zero would hide a wrong one. Only relu, with all units off, may bring it about."""
    gradients = reference_update(case).gradients
    if case.options["nonlinearity"] == "tanh":
        assert all((g.value != 0).any() for g in gradients if g is not None)
