"""One window: forward pass, loss, gradient, adjoints and step, by every function of both backends.

The functions are compared with `reference_update`, and that with torch's own functions and autograd. So a witness of
its own compares every option. What a comparison allows is small, and it fails where it must.
"""

import numpy as np
import pytest
from cases import cases, random_case, random_velocity, steps_of_sgd
from comparing import UNIT, assert_within, bits, each, fewer
from hypothesis import example, given
from hypothesis import strategies as st
from witness import allowed, in_rows, reference_update, values
from witness_runs import one_update

from numpy_rnn import Adjoints, Gradients, Parameters

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])

# -- the witness ----------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
@fewer(2)
@given(case=cases())
def test_the_witness_is_torch(case):
    """torch.nn.functional's one_hot, cross_entropy and mse_loss, with autograd, also for the adjoints: ∂L/∂a_t is what
    L changes by when something is added to a_t and all that follows is run; so for h_t, y_t, x_t and the initial state.
    """
    import torch
    from torch.nn import functional

    leaves = each(lambda theta: torch.tensor(theta, requires_grad=True), case.params)
    W_xh, W_hh, W_hy, b_h, b_y, learned = leaves
    x = torch.tensor(case.x)
    x = (functional.one_hot(x.long(), len(W_xh)).to(W_xh.dtype) if x.ndim == 2 else x).requires_grad_()
    h_0 = torch.tensor(case.h_0, requires_grad=True) if learned is None else learned
    a, h, y = [], [h_0], []
    for x_t in x:
        a.append(x_t @ W_xh + h[-1] @ W_hh + (0 if b_h is None else b_h))
        h.append(getattr(torch, case.options["nonlinearity"])(a[-1]))
        y.append(h[-1] @ W_hy + (0 if b_y is None else b_y))
    outputs, target = torch.stack(y)[-len(case.target) :], torch.tensor(case.target)
    if case.options["loss"] == "cross_entropy":
        rows = target.long() if target.ndim == 2 else target.transpose(1, 2)
        of_each = functional.cross_entropy(outputs.transpose(1, 2), rows, reduction="none")
    else:
        of_each = functional.mse_loss(outputs, target, reduction="none").sum(-1) / 2
    weights = torch.ones_like(of_each) if case.weights is None else torch.tensor(case.weights)
    loss = (weights * of_each).sum()
    if case.options["reduction"] == "mean":
        size = 1 if case.options["loss"] == "cross_entropy" else outputs.shape[-1]
        loss = loss / (weights.sum() * size).clamp(min=1e-30)

    def derivatives(*tensors):
        found = torch.autograd.grad(loss, tensors, retain_graph=True, materialize_grads=True)
        return [derivative.numpy() for derivative in found]

    gradients = Gradients(*each(lambda theta: derivatives(theta)[0], leaves))
    adjoints = Adjoints(*(np.stack(derivatives(*steps)) for steps in (y, h[1:], a)), *derivatives(x, h_0))
    reference = reference_update(case)
    found = reference.loss, reference.adjoints, reference.gradients
    assert_within(values(found, case.dtype), (loss.detach().numpy(), adjoints, gradients), allowed(found))
    # A gradient that is zero would hide a wrong one. Only relu, with all units off, weights of 0, and the softmax of
    # one number may bring it about.
    softmax_of_one = case.options["loss"] == "cross_entropy" and W_hy.shape[-1] == 1
    if case.options["nonlinearity"] != "relu" and not softmax_of_one and (case.weights is None or case.weights.all()):
        assert all((g.value != 0).any() for g in reference.gradients if g is not None)


STEP = 1e-200  # of the complex-step derivative: its square underflows to 0


def loss_of(case, params):
    """L of a window, from the forward pass alone; the parameters may be complex."""
    target, weights, N = case.loss_rows
    W_xh, W_hh, W_hy, b_h, b_y, learned = params
    phi = {"relu": lambda a: a * (a.real > 0), "sigmoid": lambda a: 0.5 * (1 + np.tanh(0.5 * a))}
    h, loss = case.h_0 if learned is None else learned, 0
    for t, x_t in enumerate(in_rows(case.x, len(W_xh), case.dtype), start=len(target) - len(case.x)):
        h = phi.get(case.options["nonlinearity"], np.tanh)(x_t @ W_xh + h @ W_hh + (0 if b_h is None else b_h))
        y = h @ W_hy + (0 if b_y is None else b_y)
        if t >= 0 and case.options["loss"] == "squared_error":
            loss += (weights[t] * (y - target[t]) ** 2 / 2).sum() / N
        elif t >= 0:
            z = y - y.real.max(axis=-1, keepdims=True)
            log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
            loss -= (weights[t] * target[t] * log_p).sum() / N
    return loss


@fewer(4)
@given(case=cases(dtypes=["float64"]))
def test_the_witness_is_the_complex_step_derivative(case):
    """f(θ + iε) = f(θ) + iε f'(θ), without a rounding of differences, for every element. Squire and Trapp 1998."""

    def derivative(name, theta):
        found = None if theta is None else np.zeros(theta.shape)
        for index in np.ndindex(np.shape(found)) if theta is not None else ():
            nudged = theta.astype(complex)
            nudged[index] += 1j * STEP
            found[index] = np.imag(loss_of(case, case.params._replace(**{name: nudged}))) / STEP
        return found

    reference = reference_update(case)
    gradients = Gradients(*(derivative(name, theta) for name, theta in case.params._asdict().items()))
    found = reference.loss, reference.gradients
    assert_within(values(found, "float64"), (loss_of(case, case.params), gradients), allowed(found))


NO_WEIGHT = random_case(0, 3, 2, 2, 3, 2, reduction="mean", weights=True)._replace(weights=np.zeros((3, 2)))


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


def test_the_derivative_of_relu_at_zero_is_zero(rnn):
    """Without biases, zero inputs and a zero state make every a_t exactly 0."""
    case = random_case(0, 3, 2, 2, 4, 1, bias=False, nonlinearity="relu")
    case = case._replace(x=np.zeros_like(case.x), h_0=np.zeros_like(case.h_0))
    adjoints = one_update(rnn, case, 0.0).adjoints
    assert (adjoints.dh[-1] != 0).all()
    assert (adjoints.da == 0).all()


@DTYPES
def test_large_logits_are_no_problem(rnn, dtype):
    """By hand: log p of a class that is 2·10⁴ below the largest, and of the largest; and of a row of another size."""
    y = rnn.from_numpy(np.array([[[1e4, -1e4, 0]], [[-1e4, -1e4, -1e4]]], dtype))
    for c, expected in enumerate((0, 2e4, 1e4)):
        loss = rnn.to_numpy(rnn.cross_entropy(y, rnn.from_numpy(np.array([[c], [2]])))).item()
        assert abs(loss - expected - np.log(3)) < 8 * np.finfo(dtype).eps * max(expected, 1)


# -- what is allowed ------------------------------------------------------------------------------------------------


def test_what_is_allowed_is_small():
    """In all but one of 40 cases, of every gradient, relative to its largest entry."""
    for dtype, small in (("float64", 1e-10), ("float32", 0.05)):
        ratios = []
        for seed in range(40):
            gradients = reference_update(random_case(seed, 5, 2, 3, 4, 1, dtype=dtype, learned=True)).gradients
            ratios.append(max(g.off.max() / np.abs(g.value).max() for g in gradients))
        assert sorted(ratios)[-2] < small


ONES, AT_11 = np.ones((2, 3)), np.eye(2, 3) * [0, 1, 0]
FULL = Parameters(ONES, ONES, ONES, ONES, ONES)
LIMITS = Parameters(*[1e-9] * 5)


@pytest.mark.parametrize(
    ("actual", "expected", "allowed", "says"),
    [
        (np.where(AT_11, np.nan, 1), ONES, 1.0, "not finite"),
        (np.where(AT_11, np.inf, 1), ONES, np.inf, "not finite"),
        (ONES, np.nan * ONES, 1.0, "not finite"),
        (ONES, np.inf * ONES, 1.0, "not finite"),
        (ONES, ONES, np.nan, "allowed value is not finite"),
        (ONES, ONES, np.inf, "allowed value is not finite"),
        (ONES[:1], ONES, 1.0, "shape"),
        (np.ones(()), ONES, 1.0, "shape"),
        (ONES.astype("float32"), ONES, 1.0, "float32, expected float64"),
        (ONES.tolist(), ONES, 1.0, "not a NumPy array"),
        (None, ONES, 1.0, "not a NumPy array"),
        (ONES, ONES, ONES[:1], "allowed difference has shape"),
        (ONES + 2e-12 * AT_11, ONES, 1e-12, r"\[1, 1\].*times the allowed difference"),
        (ONES - 2e-12 * AT_11, ONES, 1e-12 * ONES, r"\[1, 1\].*times the allowed difference"),
        (ONES + 1e-15 * AT_11, ONES, 0.0, "times the allowed difference"),
        (FULL._replace(b_y=None), FULL, LIMITS, r"value\.b_y is a <class 'NoneType'>"),
        (FULL, FULL._replace(b_h=None), LIMITS, r"value\.b_h is there"),
        (FULL._replace(W_hh=ONES + 1e-6), FULL, LIMITS, r"value\.W_hh\[0, 0\]"),
        (tuple(FULL), FULL, LIMITS, "is a <class 'tuple'>"),
    ],
)
def test_the_comparison_fails_where_it_must(actual, expected, allowed, says):
    with pytest.raises(AssertionError, match=says):
        assert_within(actual, expected, allowed)


def test_the_comparison_passes_what_it_may_and_bits_tell_apart_what_only_looks_equal():
    assert_within(ONES, ONES, 0.0)
    assert_within(ONES + 1e-12, ONES, 2e-12 * ONES)
    assert_within(np.float64(1), np.ones(()), 0.0)
    assert_within(Parameters(ONES, ONES, ONES), Parameters(ONES, ONES, ONES), Parameters(0.0, ONES, 0.0))
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
