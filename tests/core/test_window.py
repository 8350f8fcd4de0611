"""Every function of one window and its step is right, in both packages."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given

from numpy_rnn import Gradients, Parameters
from numpy_rnn.common.records import NONLINEARITY_NAMES, Objective, Step
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.case import present
from numpy_rnn.conformance.ports.port import PackagePort
from numpy_rnn.conformance.random_cases import RandomDraw
from tests.helpers.calls import direction_options
from tests.helpers.comparing import arrays_in, bits, share_memory
from tests.helpers.random_runs import (
    OPTIONS,
    STEPS,
    as_case,
    assert_right_run,
    assert_right_window,
    drawn_run,
    made_run,
    train_run,
)
from tests.helpers.windows import SEEDS, each_dtype


@given(seed=SEEDS)
def test_every_function_is_right(rnn, seed):
    """The windows have every option, older steps, and ensembles."""
    draw = RandomDraw(seed)
    case = as_case(drawn_run(draw))
    case = case._replace(target=case.target[draw.integer(0, len(case.x) - 1) :])
    assert_right_window(case, report_of(rnn, case))


def report_of(rnn, case):
    """Return what the functions of a package compute of a case."""
    options = case.objective._asdict() | case.step._asdict()
    options["velocity"] = present(case.velocity) or None
    if np.ndim(case.step.learning_rate):
        options["learning_rate"] = rnn.from_numpy(case.step.learning_rate)
    series = case.x, case.target, case.h_0
    return PackagePort(rnn).window_update(present(case.params), *series, **options)


@each_dtype
@pytest.mark.parametrize("nonlinearity", NONLINEARITY_NAMES)
def test_pre_activations_of_any_size(rnn, dtype, nonlinearity):
    """The exponentials of most of them overflow."""
    options = OPTIONS._replace(objective=Objective(nonlinearity), step=Step(1e-12))
    run = made_run(options, T=3, H=8, dtype=dtype)
    b_h = np.array([30, -30, 90, -90, 800, -800, 1e4, -1e4], dtype)
    run = run._replace(params=run.params._replace(b_h=b_h))
    case = as_case(run)
    assert_right_window(case, report_of(rnn, case))
    assert_right_run(run, list(train_run(rnn, run, record=True)))


def random_gradients(dtype="float64", N=None):
    """Return parameters, and gradients of their shapes, in NumPy."""
    sizes = {"D": 2, "H": 4, "O": 3}
    params, values = (
        made_run(N=N, dtype=dtype, seed=seed, **sizes).params for seed in range(2)
    )
    return params, Gradients(*values)


@each_dtype
def test_learning_rate_is_rounded_first(rnn, dtype):
    """A step from zero is −η dθ, whose bits show whether η is rounded first."""
    params, gradients = random_gradients(dtype)
    zeros = tree_map(np.zeros_like, params)
    updated = rnn.sgd(rnn.from_numpy(zeros), rnn.from_numpy(gradients), 0.1)
    expected = Parameters(*(0 - np.dtype(dtype).type(0.1) * g for g in gradients))
    assert bits(updated) == bits(expected)


def first_loss(rnn, dtype, target, **weights):
    """Return the cross-entropy in the first update of a network of zeros but for these
    weights, with inputs of one.
    """
    zeros = tree_map(np.zeros_like, random_gradients(dtype)[0])
    x, h_0 = np.ones((1, 1, 2), dtype), np.zeros((1, 4), dtype)
    series = x, np.array([[target]]), h_0
    arrays = map(rnn.from_numpy, (zeros._replace(**weights), *series))
    options = {"k1": 1, "k2": 1, "learning_rate": 0.1, "epochs": 1}
    return next(rnn.train(*arrays, loss="cross_entropy", **options)).loss


@each_dtype
@pytest.mark.with_reference
def test_cross_entropy_of_outputs_that_are_far_apart(rnn, dtype):
    """The outputs are as large as the dtype allows, and so their differences overflow.

    The loss is the largest output minus that of the class, since the others add nothing
    to the sum of exponentials. Training has the same one, of a network whose outputs
    are its biases.
    """
    largest = 0.9 * float(np.finfo(dtype).max)
    outputs = np.array([largest, -largest, 0], dtype)
    with np.errstate(over="ignore"):
        expected = outputs.max() - outputs
    for number in range(3):
        y, target = rnn.from_numpy((outputs.reshape(1, 1, 3), np.array([[number]])))
        loss = rnn.cross_entropy(y, target)
        assert bits(loss) == bits(expected[number])
        assert bits(first_loss(rnn, dtype, number, b_y=outputs)) == bits(loss)


@each_dtype
@pytest.mark.with_reference
@pytest.mark.filterwarnings("ignore:overflow")
def test_cross_entropy_where_another_output_overflows(rnn, dtype):
    """It is −∞, whose exponential is 0: that of the class alone is in the sum."""
    W_hy = np.zeros((4, 3), dtype)
    W_hy[:, 1] = -np.finfo(dtype).max
    b_h = np.ones(4, dtype)  # φ(1) is 0.76
    loss = first_loss(rnn, dtype, 0, W_hy=W_hy, b_h=b_h)
    # Of three outputs, 0, −∞ and 0, the class has the first. The logarithm alone is
    # rounded, which libraries compute within 4 ulps.
    expected = pytest.approx(math.log(2), rel=4 * float(np.finfo(dtype).eps))
    assert float(loss) == expected


@pytest.mark.parametrize("step", STEPS)
def test_parameter_without_a_gradient_stays(rnn, step):
    """Its velocity stays too, and a later gradient counts as its first one."""
    options = direction_options(step)
    params, gradients = map(rnn.from_numpy, random_gradients())
    absent = gradients._replace(W_hy=None)
    clipped = rnn.clip_by_global_norm(absent, 1.0), rnn.clip_by_value(absent, 1.0)
    assert not any(getattr(g, "requires_grad", False) for g in arrays_in(clipped))
    _, velocity = rnn.direction(params, gradients, None, **options)
    for some, before in product((absent, *clipped), (velocity, None)):
        delta, after = rnn.direction(params, some, before, **options)
        updated = rnn.sgd(params, delta, 0.1)
        stays = [bits(v) == bits(theta) for v, theta in zip(updated, params)]
        assert stays == [False, False, True, False, False]
        assert not share_memory(arrays_in(updated), arrays_in(params))
        assert bits(after and after.W_hy) == bits(before and before.W_hy)
    assert (after is None) == (velocity is None)
    _, later = rnn.direction(params, gradients, after, **options)
    assert bits(later and later.W_hy) == bits(velocity and velocity.W_hy)


@each_dtype
def test_clipping_special_numbers_by_value(rnn, dtype):
    """The expected numbers are those of torch.nn.utils.clip_grad_value_."""
    for limit in map(np.dtype(dtype).type, (0.01, 0.3, 100.0)):
        numbers = [np.nan, np.inf, -np.inf, -0.0, 5e-324, limit, -limit, -2 * limit]
        b_h = np.array(numbers, dtype)
        is_large = np.abs(b_h) > limit
        expected = np.where(is_large, np.copysign(limit, b_h), b_h)
        gradients = rnn.from_numpy(Gradients(None, np.ones((8, 8), dtype), None, b_h))
        clipped = rnn.clip_by_value(gradients, float(limit)).b_h
        assert bits(clipped) == bits(expected)


@pytest.mark.with_reference
def test_limit_beyond_the_dtype_changes_no_run(rnn):
    """It is infinite in float32, and NumPy does not warn of that."""
    for N in (None, 7):
        limited, unlimited = (
            made_run(OPTIONS._replace(step=step), N, dtype="float32")
            for step in (Step(0.05, max_value=1e300), Step(0.05))
        )
        *_, first = train_run(rnn, limited)
        *_, second = train_run(rnn, unlimited)
        assert np.isfinite(rnn.to_numpy(first.parameters.W_hh)).all()
        assert bits(first.parameters) == bits(second.parameters)


@each_dtype
def test_norm_of_any_size_is_right(rnn, dtype):
    """The sizes go from numbers whose squares are zero to the largest whose squares are
    finite. Gradients within the limit stay as they are.
    """
    info = np.finfo(dtype)
    tiny = float(info.tiny)
    eps = float(info.eps)
    least = info.smallest_subnormal
    largest = min(float(info.max) / 16, 1e152)
    for size in (64 * least, tiny, 1e-3 * tiny**0.5, tiny**0.5, 1.0, largest):
        drawn = np.random.default_rng(0).normal(size=(9, 9))
        g = rnn.from_numpy((drawn * size).astype(dtype))
        clipped = rnn.clip_by_global_norm(Gradients(None, g, None), 1.0).W_hh
        before, after = (rnn.to_numpy(v).astype(float).ravel() for v in (g, clipped))
        factor = min(1, 1 / (math.hypot(*before) + 1e-6))
        relative = (len(before) + 4) * eps
        allowed = np.abs(factor * before) * relative + np.abs(before) * least + least
        assert (np.abs(after - factor * before) <= allowed).all()
        assert factor < 1 or (after == before).all()


@each_dtype
def test_nonfinite_norm_leaves_nothing_finite(rnn, dtype):
    """All gradients become NaN: with zeros, the run would silently stop learning. Those
    of the other network stay finite.
    """
    overflowing = [1e200] if dtype == "float64" else []
    for bad in (np.nan, np.inf, -np.inf, *overflowing):
        _, gradients = random_gradients(dtype, N=2)
        gradients.W_hy[1, 0, 0] = bad
        with np.errstate(over="ignore"):
            result = rnn.to_numpy(
                rnn.clip_by_global_norm(rnn.from_numpy(gradients), 1.0)
            )
        finite = [(np.isfinite(g[0]).all(), np.isfinite(g[1]).any()) for g in result]
        assert finite == [(True, False)] * len(result)
