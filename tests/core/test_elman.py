"""The forward pass, against one number at a time and against torch.nn."""

import math

import numpy as np
import pytest
from cases import allowed, assert_within, bits, cases, random_case, reference_update, torch_nn, values
from hypothesis import given

from numpy_rnn import Activations


def one_number_at_a_time(case):
    """(F1) to (F3) in Python floats: no array, no matrix product."""
    W_xh, W_hh, W_hy, b_h, b_y, _ = (None if theta is None else theta.tolist() for theta in case.params)
    x, h_0 = case.x.tolist(), case.initial.tolist()
    phi = {"tanh": math.tanh, "relu": lambda a: max(a, 0.0)}[case.options["nonlinearity"]]
    D, H, O = len(W_xh), len(W_hh), len(W_hy[0])
    a, h, y = [], [h_0], []
    for x_t in x:
        a_t, h_t, y_t = [], [], []
        for x_b, before in zip(x_t, h[-1], strict=True):
            a_b = [
                math.fsum([x_b[i] * W_xh[i][j] for i in range(D)] + [before[i] * W_hh[i][j] for i in range(H)])
                + (b_h[j] if b_h else 0.0)
                for j in range(H)
            ]
            h_b = [phi(number) for number in a_b]
            y_b = [math.fsum(h_b[i] * W_hy[i][o] for i in range(H)) + (b_y[o] if b_y else 0.0) for o in range(O)]
            a_t, h_t, y_t = [*a_t, a_b], [*h_t, h_b], [*y_t, y_b]
        a, h, y = [*a, a_t], [*h, h_t], [*y, y_t]
    return Activations(case.x, *(np.array(v).astype(case.dtype) for v in (a, h, y)))


@given(case=cases())
def test_forward_is_the_equations_one_number_at_a_time(rnn, case):
    params, x, _, h_0 = case.of(rnn)
    activations = rnn.to_numpy(rnn.forward(params, x, h_0, **case.phi))
    assert_within(activations, one_number_at_a_time(case), allowed(reference_update(case).activations))


@given(case=cases())
def test_the_reference_is_the_equations_one_number_at_a_time(case):
    activations = reference_update(case).activations
    assert_within(values(activations, case.dtype), one_number_at_a_time(case), allowed(activations))


@pytest.mark.needs_torch
@given(case=cases())
def test_forward_is_torch_nn_rnn_and_linear(rnn, case):
    import torch

    layer, readout = torch_nn(case)
    with torch.no_grad():
        h, last = layer(torch.tensor(case.x), torch.tensor(case.initial)[None])
        y = readout(h)

    params, x, _, h_0 = case.of(rnn)
    ours = rnn.to_numpy(rnn.forward(params, x, h_0, **case.phi))
    limit = allowed(reference_update(case).activations)
    assert_within(ours.h[1:], h.numpy(), limit.h[1:])
    assert_within(ours.h[-1], last[0].numpy(), limit.h[-1])
    assert_within(ours.y, y.numpy(), limit.y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_h_begins_with_the_initial_state_and_x_is_the_input(rnn, nonlinearity, dtype):
    case = random_case(0, 5, 2, 3, 4, 1, nonlinearity=nonlinearity, dtype=dtype)
    params, x, _, h_0 = case.of(rnn)
    activations = rnn.forward(params, x, h_0, **case.phi)
    assert bits(activations.h[0]) == bits(case.h_0)
    assert bits(activations.x) == bits(case.x)


@given(case=cases())
def test_forward_leaves_what_it_is_given_and_repeats_itself(rnn, case):
    params, x, _, h_0 = case.of(rnn)
    before = bits((params, x, h_0))
    first = rnn.forward(params, x, h_0, **case.phi)
    kept = bits(first)
    assert bits(rnn.forward(params, x, h_0, **case.phi)) == kept
    assert bits((params, x, h_0)) == before
    assert bits(first) == kept


def test_relu_passes_nothing_below_zero_and_everything_above(rnn):
    """x_t is one number, W_xh = 1 and W_hh = 0, so a_t = x_t."""
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    params = rnn.from_numpy(random_case(0, 1, 1, 1, 1, 1, bias=False).params._replace(W_xh=one, W_hh=zero, W_hy=one))
    x = rnn.from_numpy(np.array([-2.0, 3.0, 0.0, 0.5]).reshape(4, 1, 1))
    h = rnn.to_numpy(rnn.forward(params, x, rnn.from_numpy(zero), nonlinearity="relu")).h
    assert h.ravel().tolist() == [0, 0, 3, 0, 0.5]
