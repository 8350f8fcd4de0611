"""One window: forward pass, loss, gradient, adjoints and step, by every function of both backends.

The functions are compared with `reference_update`, and that with two other witnesses: complex-step derivatives, and
torch's own functions with autograd. So a witness of its own compares every option.
"""

import numpy as np
import pytest
from cases import cases, random_case, random_velocity, steps_of_sgd
from comparing import assert_within, bits, each, fewer
from derivatives import complex_step, complex_step_gradients, window_loss
from hypothesis import example, given
from hypothesis import strategies as st
from witness import allowed, reference_update, values
from witness_runs import one_update

from numpy_rnn import Adjoints, Gradients

# -- the witness ----------------------------------------------------------------------------------------------------


@fewer(4)
@given(case=cases(dtypes=["float64"]))
def test_the_witness_is_the_complex_step_derivative(case):
    """∂L/∂a_t is what L changes by when something is added to a_t and all that follows is run; so for h_t, y_t and x_t,
    and for the initial state, learned or not. No part of it goes backwards.
    """
    reference = reference_update(case)
    gradients = complex_step_gradients(lambda params: window_loss(case, params), case.params)
    adjoints = Adjoints(*(
        complex_step(lambda nudge, d=d: window_loss(case, case.params, **{f"nudge_{d[1:]}": nudge}), np.zeros(v.shape))
        for d, v in reference.adjoints._asdict().items()
    ))  # fmt: skip
    found = reference.loss, reference.adjoints, reference.gradients
    assert_within(values(found, "float64"), (window_loss(case, case.params), adjoints, gradients), allowed(found))


@pytest.mark.needs_torch
@fewer(4)
@given(case=cases())
def test_the_witness_is_torch(case):
    """torch.nn.functional's embedding, cross_entropy and mse_loss, with autograd."""
    import torch
    from torch.nn import functional

    leaves = each(lambda theta: torch.tensor(theta, requires_grad=True), case.params)
    W_xh, W_hh, W_hy, b_h, b_y, h_0 = leaves
    x, h = torch.tensor(case.x), torch.tensor(case.h_0) if h_0 is None else h_0
    ys = []
    for x_t in x:
        a = (functional.embedding(x_t, W_xh) if x_t.ndim == 1 else x_t @ W_xh) + h @ W_hh
        h = getattr(torch, case.options["nonlinearity"])(a if b_h is None else a + b_h)
        ys.append(h @ W_hy if b_y is None else h @ W_hy + b_y)
    y, target = torch.stack(ys)[-len(case.target) :], torch.tensor(case.target)
    if case.options["loss"] == "cross_entropy":
        rows = target.long() if target.ndim == 2 else target.transpose(1, 2)
        of_each = functional.cross_entropy(y.transpose(1, 2), rows, reduction="none")
    else:
        of_each = functional.mse_loss(y, target, reduction="none").sum(-1) / 2
    weights = torch.ones_like(of_each) if case.weights is None else torch.tensor(case.weights)
    loss = (weights * of_each).sum()
    if case.options["reduction"] == "mean":
        loss = loss / (weights.sum() * (1 if case.options["loss"] == "cross_entropy" else y.shape[-1])).clamp(min=1e-30)
    present = [theta for theta in leaves if theta is not None]
    of_torch = iter(torch.autograd.grad(loss, present))
    gradients = Gradients(*(None if theta is None else next(of_torch).numpy() for theta in leaves))
    reference = reference_update(case)
    found = reference.loss, reference.gradients
    assert_within(values(found, case.dtype), (loss.detach().numpy(), gradients), allowed(found))


NO_WEIGHT = random_case(0, 3, 2, 2, 3, 2, reduction="mean", weights=True)._replace(weights=np.zeros((3, 2)))

# -- the backends -----------------------------------------------------------------------------------------------------


@fewer(2)
@example(NO_WEIGHT, {}, 0.1, "no")
@given(case=cases(), options=steps_of_sgd(), rate=st.floats(0, 0.5), moving=st.sampled_from(["no", "all", "weights"]))
def test_every_function_is_the_witness(rnn, case, options, rate, moving):
    """And repeats itself to the bit. The velocity may be that of the weights alone."""
    velocity = random_velocity(case, options, moving)
    expected = reference_update(case, rate, velocity, **options)
    found = one_update(rnn, case, rate, velocity, **options)
    assert_within(found, values(expected, case.dtype), allowed(expected))
    assert bits(one_update(rnn, case, rate, velocity, **options)) == bits(found)
    assert bits(found.activations.h[0]) == bits(case.initial)
    older = len(case.x) - len(case.target)
    assert (found.adjoints.dy[:older] == 0).all()


@fewer(4)
@given(case=cases())
def test_the_cases_are_not_trivial(case):
    """A gradient that is zero would hide a wrong one. Only relu, with all units off, weights of 0, and the softmax of
    one number may bring it about.
    """
    gradients = reference_update(case).gradients
    softmax_of_one = case.options["loss"] == "cross_entropy" and case.params.W_hy.shape[-1] == 1
    if case.options["nonlinearity"] != "relu" and not softmax_of_one and (case.weights is None or case.weights.all()):
        assert all((g.value != 0).any() for g in gradients if g is not None)


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_the_derivative_of_relu_at_zero_is_zero(rnn):
    """Without biases, zero inputs and a zero state make every a_t exactly 0."""
    case = random_case(0, 3, 2, 2, 4, 1, bias=False, nonlinearity="relu")
    case = case._replace(x=np.zeros_like(case.x), h_0=np.zeros_like(case.h_0))
    adjoints = one_update(rnn, case, 0.0).adjoints
    assert (adjoints.dh[-1] != 0).all()
    assert (adjoints.da == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_are_no_problem(rnn, dtype):
    """By hand: log p of a class that is 2·10⁴ below the largest, and of the largest; and of a row of another size."""
    y = rnn.from_numpy(np.array([[[1e4, -1e4, 0]], [[-1e4, -1e4, -1e4]]], dtype))
    for c, expected in enumerate((0, 2e4, 1e4)):
        loss = rnn.to_numpy(rnn.cross_entropy(y, rnn.from_numpy(np.array([[c], [2]])))).item()
        assert abs(loss - expected - np.log(3)) < 8 * np.finfo(dtype).eps * max(expected, 1)


@pytest.mark.needs_torch
def test_torch_gradients_do_not_accumulate_and_need_no_surrounding_graph():
    import torch

    import torch_rnn

    params, x, target, h_0 = random_case(0, 4, 2, 3, 5, 1, learned=True).of(torch_rnn)
    activations = torch_rnn.forward(params, x, h_0)
    expected = torch_rnn.bptt(params, activations, target)
    with torch.no_grad():
        assert bits(torch_rnn.bptt(params, activations, target)) == bits(expected)
        torch_rnn.adjoints(params, activations, target)
    assert all(theta.grad is None for theta in params)
