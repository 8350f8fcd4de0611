"""Every function of one window and its step, in both packages, against the witness."""

import numpy as np
import pytest
from cases import Kind, Sizes, random_run
from comparing import arrays_in, bits, each, in_numpy
from draws import STEPS, cases
from hypothesis import given
from witness import assert_right, expected_update, update_arrays

from numpy_rnn import Gradients, Parameters, Update, Window
from numpy_rnn.common.records import DTYPES, MomentumKeywords, Step

DTYPE = pytest.mark.parametrize("dtype", DTYPES)
LOSSES = {"squared_error": "half_squared_error", "cross_entropy": "cross_entropy"}


def of_momentum(step):
    """The keyword arguments of `direction`."""
    return {name: getattr(step, name) for name in MomentumKeywords.__annotations__}


def one_update(rnn, case) -> Update:
    """The update by the single functions of a package. They change none of their arguments."""
    given = params, x, target, h_0, velocity = tuple(
        rnn.from_numpy(v) for v in (case.params, case.x, case.target, case.h_0, case.velocity)
    )
    before, (nonlinearity, loss, reduction) = bits(given), case.objective
    activations = rnn.forward(params, x, h_0, nonlinearity=nonlinearity)
    computed = bits(activations)
    L = getattr(rnn, LOSSES[loss])(activations.y[-len(target) :], target, reduction=reduction)
    adjoints = rnn.adjoints(params, activations, target, **case.objective._asdict())
    gradients = clipped = rnn.bptt(params, activations, target, **case.objective._asdict())
    if case.step.max_norm is not None:
        clipped = rnn.clip_by_global_norm(gradients, case.step.max_norm)
    if case.step.max_value is not None:
        clipped = rnn.clip_by_value(gradients, case.step.max_value)
    delta, velocity = rnn.direction(params, clipped, velocity, **of_momentum(case.step))
    updated = rnn.sgd(params, delta, case.step.learning_rate)
    assert (bits(activations), bits(given)) == (computed, before)
    window = Window(0, len(x) - len(target), len(x))
    return Update(1, 1, window, L, gradients, updated, velocity, activations, adjoints)


@given(case=cases())
def test_every_function_is_the_witness(rnn, case):
    """And repeats itself to the bit."""
    expected, update = expected_update(case), one_update(rnn, case)
    found = update_arrays(rnn, update)
    assert_right(found, expected, case.dtype)
    assert bits(one_update(rnn, case)) == bits(update)
    assert (found["dy"][: update.window.loss_start] == 0).all()


@DTYPE
def test_large_logits(rnn, dtype):
    """By hand: log p of the largest of three, of one 2·10⁴ below it; and of a row of equal ones."""
    y = rnn.from_numpy(np.array([[[1e4, -1e4, 0]], [[-1e4, -1e4, -1e4]]], dtype))
    for c, expected in enumerate((0, 2e4, 1e4)):
        loss = rnn.to_numpy(rnn.cross_entropy(y, rnn.from_numpy(np.array([[c], [2]])))).item()
        assert abs(loss - expected - np.log(3)) < 8 * np.finfo(dtype).eps * max(expected, 1)


def random_step(seed, dtype="float64", N=None):
    """Parameters, and gradients of their shapes."""
    sizes, kind = Sizes(1, 1, 2, 4, 3, N), Kind(dtype)
    params, gradients = (random_run(s, sizes, kind).params for s in (seed, 99))
    return params, Gradients(*gradients)


@DTYPE
@pytest.mark.parametrize("kind", [float, np.float32, np.array], ids=lambda kind: kind.__name__)
def test_learning_rate_is_rounded_first(rnn, kind, dtype):
    """From zero what is left is η dθ: a rate rounded after the product shows in the bits."""
    params, gradients = random_step(0, dtype)
    zeros, rate = each(np.zeros_like, params), kind(0.1)
    updated = rnn.sgd(rnn.from_numpy(zeros), rnn.from_numpy(gradients), rate)
    expected = Parameters(*(0 - np.dtype(dtype).type(rate) * g for g in gradients))
    assert bits(updated) == bits(expected)


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_step_leaves_its_arguments_and_absent_gradients(rnn, options):
    """Such a parameter stays, and its velocity too. No memory is shared."""
    step = Step(0.1, **options)
    params, gradients = map(rnn.from_numpy, random_step(1))
    params, gradients, velocity = params._replace(b_h=None), gradients._replace(b_h=None), None
    for _ in range(3):
        before = bits((params, gradients, velocity))
        delta, after = rnn.direction(params, gradients, velocity, **of_momentum(step))
        updated = rnn.sgd(params, delta, 0.1)
        clipped = rnn.clip_by_global_norm(gradients, 1.0), rnn.clip_by_value(gradients, 100.0)
        assert bits((params, gradients, velocity)) == before
        absent = [g is None for g in gradients]
        assert [v is None for v in delta] == absent
        assert [bits(v) == bits(theta) for v, theta in zip(updated, params)] == absent
        assert (after is None) == (not step.has_velocity)
        old = arrays_in((params, gradients))
        made = updated._replace(W_hy=None), clipped, after and after._replace(W_hy=None)
        for new in arrays_in(made):
            assert not any(np.shares_memory(in_numpy(new), in_numpy(v)) for v in old)
        assert not any(getattr(g, "requires_grad", False) for g in arrays_in(clipped))
        velocity, gradients = after, gradients._replace(W_hy=None)
    assert velocity is None or velocity.W_hy is not None


@DTYPE
def test_clipping_special_numbers_by_value(rnn, dtype):
    """torch.nn.utils.clip_grad_value_ does the same."""
    for limit in map(np.dtype(dtype).type, (0.01, 0.3, 100.0)):
        special = [np.nan, np.inf, -np.inf, -0.0, 5e-324, limit, -limit, -2 * limit, 2 * limit]
        clipped = [np.nan, limit, -limit, -0.0, 5e-324, limit, -limit, -limit, limit]
        gradients = Gradients(None, np.ones((9, 9), dtype), None, np.array(special, dtype))
        found = rnn.to_numpy(rnn.clip_by_value(rnn.from_numpy(gradients), float(limit))).b_h
        assert bits(found) == bits(np.array(clipped, dtype))


@DTYPE
def test_norm_of_any_size_is_right(rnn, dtype):
    """From numbers whose squares are zero to the largest whose squares are finite.

    Gradients of a network that are short enough together stay as they are.
    """
    info = np.finfo(dtype)
    numbers = info.tiny, info.eps, info.smallest_subnormal, info.max
    tiny, eps, least, largest = map(float, numbers)
    for size in (64 * least, tiny, 1e-3 * tiny**0.5, tiny**0.5, 1.0, min(largest / 16, 1e152)):
        scales = size * np.array([1, 1 / 64, 1])  # each network has a norm of its own

        def scaled(g, scales=scales):
            return (g / np.abs(g).max() * scales.reshape(3, *[1] * (g.ndim - 1))).astype(dtype)

        gradients = each(scaled, random_step(7, N=3)[1])
        result = rnn.to_numpy(rnn.clip_by_global_norm(rnn.from_numpy(gradients), 1.0))
        for n in range(3):
            alone, found = (
                np.concatenate([np.float64(g[n]).ravel() for g in v]) for v in (gradients, result)
            )
            most = np.abs(alone).max()
            factor = min(1, 1 / (most * np.sqrt(np.square(alone / most).sum()) + 1e-6))
            allowed = np.abs(factor * alone) * (len(alone) + 4) * eps + np.abs(alone) * least
            assert (np.abs(found - factor * alone) <= allowed + least).all()
            assert factor < 1 or (found == alone).all()


@DTYPE
def test_nonfinite_norm_leaves_nothing_finite(rnn, dtype):
    """Zero would be a run that silently stops learning. The other network does not notice."""
    overflowing = [1e200] if dtype == "float64" else []
    for bad in (np.nan, np.inf, -np.inf, *overflowing):
        _, gradients = random_step(8, dtype, N=2)
        gradients.W_hy[1, 0, 0] = bad
        with np.errstate(over="ignore"):
            result = rnn.to_numpy(rnn.clip_by_global_norm(rnn.from_numpy(gradients), 1.0))
        finite = [(np.isfinite(g[0]).all(), np.isfinite(g[1]).any()) for g in result]
        assert finite == [(True, False)] * len(result)
