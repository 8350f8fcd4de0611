"""The update, against exact fractions and torch.optim.SGD."""

from fractions import Fraction

import numpy as np
import pytest
from cases import assert_within, bits, each, random_case
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import Gradients, Parameters

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def random_step(seed, dtype, bias=True, E=(), learned=True):
    """Parameters, and gradients of their shapes."""
    options = {"bias": bias, "dtype": dtype, "E": E, "learned": learned}
    params, gradients = (random_case(s, 1, 1, 2, 4, 3, **options).params for s in (seed, seed + 1))
    return params, Gradients(*gradients)


@given(
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from(["float32", "float64"]),
    bias=st.booleans(),
    E=st.sampled_from([(), (3,), (2, 3)]),
    learning_rate=st.floats(0, 10),
)
def test_sgd_subtracts_the_gradient_times_the_rate(rnn, seed, dtype, bias, E, learning_rate):
    """Rounded twice, once for the product and once for the difference."""
    params, gradients = random_step(seed, dtype, bias, E)
    eta = np.dtype(dtype).type(learning_rate)
    updated = rnn.to_numpy(rnn.sgd(rnn.from_numpy(params), rnn.from_numpy(gradients), learning_rate))

    def exact(theta, dtheta):
        pairs = zip(theta.ravel().tolist(), dtheta.ravel().tolist(), strict=True)
        numbers = [float(Fraction(a) - Fraction(float(eta)) * Fraction(b)) for a, b in pairs]
        return np.array(numbers).reshape(theta.shape)

    u = np.finfo(dtype).eps / 2
    for name, theta, dtheta in zip(Parameters._fields, params, gradients, strict=True):
        value = getattr(updated, name)
        if theta is None:
            assert value is None
            continue
        product = np.abs(float(eta) * dtheta.astype(float))
        limit = u * (2 * np.abs(exact(theta, dtheta)) + 2 * product) + np.finfo(dtype).tiny
        assert_within(value, exact(theta, dtheta).astype(dtype), limit, name)


@DTYPES
@pytest.mark.parametrize("kind", [float, np.float64, np.float32, np.array], ids=lambda kind: kind.__name__)
def test_the_rate_is_rounded_to_the_dtype_first(rnn, kind, dtype):
    """From parameters of zero what is left is η dθ, so that a rate rounded after the product would show in the bits."""
    params, gradients = random_step(0, dtype)
    zeros = Parameters(*map(np.zeros_like, params))
    rate = kind(0.1)
    updated = rnn.sgd(rnn.from_numpy(zeros), rnn.from_numpy(gradients), rate)
    eta = np.dtype(dtype).type(rate)
    assert bits(updated) == bits(Parameters(*(np.zeros_like(g) - eta * g for g in gradients)))
    assert {v.dtype for v in rnn.to_numpy(updated)} == {np.dtype(dtype)}


def test_a_rate_not_rounded_first_would_show():
    """The test above can fail: 0.1 in float64 gives other float32 products."""
    _, gradients = random_step(0, "float32")
    late = [(0.1 * g.astype("float64")).astype("float32") for g in gradients]
    early = [np.float32(0.1) * g for g in gradients]
    assert bits(tuple(late)) != bits(tuple(early))


@DTYPES
@pytest.mark.parametrize("learning_rate", [0.0, 0.1])
def test_sgd_gives_new_parameters_and_leaves_the_given_ones(rnn, learning_rate, dtype):
    params, gradients = map(rnn.from_numpy, random_step(1, dtype))
    before = bits((params, gradients))
    updated = rnn.sgd(params, gradients, learning_rate)
    assert bits((params, gradients)) == before
    for old, new in zip(params, updated, strict=True):
        assert not np.shares_memory(*(v.detach().numpy() if hasattr(v, "detach") else v for v in (old, new)))
    assert (bits(updated) == before[0]) == (learning_rate == 0)


@DTYPES
@pytest.mark.parametrize("shape", [(2, 3), (2, 1), (1, 3), (1, 1)], ids=str)
def test_each_network_steps_at_the_rate_of_its_own(rnn, shape, dtype):
    """Bit for bit as alone; an axis of 1 is a rate that the networks along it share."""
    params, gradients = random_step(4, dtype, E=(2, 3))
    rates = np.random.default_rng(0).uniform(0.01, 1, shape)
    for given_rates in (rates, rnn.from_numpy(rates), rnn.from_numpy(rates.astype(dtype))):
        updated = rnn.to_numpy(rnn.sgd(rnn.from_numpy(params), rnn.from_numpy(gradients), given_rates))
        for n, rate in zip(np.ndindex(2, 3), np.broadcast_to(rates, (2, 3)).flat, strict=True):
            alone = (rnn.from_numpy(each(lambda v, n=n: v[n], value)) for value in (params, gradients))
            assert bits(each(lambda v, n=n: v[n], updated)) == bits(rnn.sgd(*alone, rate))


def test_a_rate_for_one_network_may_have_no_axis_or_come_as_an_array(rnn):
    params, gradients = map(rnn.from_numpy, random_step(5, "float64"))
    expected = bits(rnn.sgd(params, gradients, 0.1))
    assert bits(rnn.sgd(params, gradients, np.array(0.1))) == expected
    assert bits(rnn.sgd(params, gradients, rnn.from_numpy(np.array(0.1)))) == expected


def test_a_parameter_without_a_direction_stays_as_it_is(rnn):
    params, gradients = map(rnn.from_numpy, random_step(7, "float64"))
    updated = rnn.sgd(params, gradients._replace(h_0=None, W_hy=None), 0.1)
    assert bits((updated.h_0, updated.W_hy)) == bits((params.h_0, params.W_hy))
    assert bits(updated.W_xh) != bits(params.W_xh)


@pytest.mark.needs_torch
@DTYPES
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_sgd_is_torch_optim_sgd(rnn, bias, dtype):
    import torch

    params, _ = random_step(2, dtype, bias, learned=bias)
    theirs = [torch.tensor(theta, requires_grad=True) for theta in params if theta is not None]
    optimizer = torch.optim.SGD(theirs, lr=0.1)
    ours = rnn.from_numpy(params)
    u = np.finfo(dtype).eps / 2
    limit = [np.zeros(theta.shape) for theta in theirs]
    for step in range(5):
        _, gradients = random_step(step, dtype, bias, learned=bias)
        present = [g for g in gradients if g is not None]
        for theta, g in zip(theirs, present, strict=True):
            theta.grad = torch.tensor(g)
        optimizer.step()
        ours = rnn.sgd(ours, rnn.from_numpy(gradients), 0.1)
        # Each side rounds the rate, the product and the difference, and keeps what it was off before.
        limit = [
            off + 2 * u * (2 * np.abs(0.1 * g) + np.abs(theta.detach().numpy()) + off)
            for off, g, theta in zip(limit, present, theirs, strict=True)
        ]
        present_ours = [theta for theta in rnn.to_numpy(ours) if theta is not None]
        assert_within(tuple(present_ours), tuple(theta.detach().numpy() for theta in theirs), tuple(limit))


@pytest.mark.needs_torch
def test_torch_parameters_after_an_update_are_leaves_that_require_a_gradient():
    import torch_rnn

    params, gradients = map(torch_rnn.from_numpy, random_step(3, "float32"))
    for theta in torch_rnn.sgd(params, gradients, 0.1):
        assert theta.requires_grad
        assert theta.is_leaf


def test_sgd_leaves_every_parameter_in_its_place(rnn):
    """Also where only the later of two biases is there, which a run would refuse."""
    params = rnn.initial_parameters(3, 5, 1, bias=True)
    only = params._replace(b_h=None)
    updated = rnn.to_numpy(rnn.sgd(only, only, 0.5))
    assert updated.b_h is None
    assert updated.b_y.shape == (1,)
