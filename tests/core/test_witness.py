"""The witness against complex steps, torch.optim and min-char-rnn."""

import numpy as np
import pytest
from cases import Kind, Sizes, cases, random_run, steps, window_case
from comparing import each, fewer, in_numpy
from hypothesis import given
from hypothesis import strategies as st
from witness import about, assert_right, expected_step, expected_update, in_rows, loss_rows

from numpy_rnn import Adjoints, Gradients, Parameters, Window
from numpy_rnn.common.records import DTYPES, Step

STEP = 1e-200  # of the complex-step derivative: its square underflows to 0


def run_forward(case, nudge):
    """(loss, arrays by name and step) of a window, by the equations of the forward pass alone.

    Every array is what `nudge(name, step, array)` returns for it, perhaps complex, before anything uses it.
    """
    target, weights, _ = loss_rows(case)
    squared = case.objective.loss == "squared_error"
    terms = weights.sum() * (target.shape[-1] if squared else 1)  # of (L2)
    N = (terms or 1) if case.objective.reduction == "mean" else 1
    params = Parameters(*(v if v is None else nudge(name, 0, v) for name, v in case.params._asdict().items()))
    W_xh, W_hh, W_hy, b_h, b_y, learned = params
    phi = {"relu": lambda a: a * (a.real > 0), "sigmoid": lambda a: 0.5 * (1 + np.tanh(0.5 * a)), "tanh": np.tanh}
    h, loss = nudge("dh", 0, case.h_0 if learned is None else learned), 0
    for t, x_t in enumerate(in_rows(case.x, len(W_xh), np.float64), start=1):
        x_t = nudge("dx", t, x_t)
        a = nudge("da", t, x_t @ W_xh + h @ W_hh + (0 if b_h is None else b_h))
        h = nudge("dh", t, phi[case.objective.nonlinearity](a))
        y = nudge("dy", t, h @ W_hy + (0 if b_y is None else b_y))
        k = t - 1 - len(case.x) + len(target)
        if k < 0:
            continue
        if squared:
            loss += (weights[k] * (y - target[k]) ** 2 / 2).sum() / N
        else:
            z = y - y.real.max(axis=-1, keepdims=True)
            log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
            loss -= (weights[k] * target[k] * log_p).sum() / N
    return loss


def complex_step(case, name, step=0):
    """∂L/∂ every element of a parameter, or of an activation at a step.

    f(v + iε) = f(v) + iε f'(v), without a rounding of differences. Squire and Trapp 1998.
    """
    shapes = {}
    run_forward(case, lambda name, step, array: shapes.setdefault((name, step), array))
    derivative = np.zeros(shapes[name, step].shape)
    for index in np.ndindex(derivative.shape):

        def nudge(*key_and_array, index=index):
            *key, array = key_and_array
            if tuple(key) == (name, step):
                array = array.astype(complex)
                array[index] += 1j * STEP
            return array

        derivative[index] = np.imag(run_forward(case, nudge)) / STEP
    return derivative


@fewer(4)
@given(case=cases(["float64"]))
def test_witness_is_the_complex_step_derivative(case):
    """Every parameter, activation and input is moved: ∂L/∂a_t is what L changes by when a_t is moved."""
    expected, T = expected_update(case), len(case.x)
    gradients = Gradients(*(v if v is None else complex_step(case, k) for k, v in case.params._asdict().items()))
    dy, dh, da, dx = ([complex_step(case, name, t) for t in range(1, T + 1)] for name in ("dy", "dh", "da", "dx"))
    adjoints = Adjoints(*map(np.stack, (dy, dh, da, dx)), complex_step(case, "dh"))
    loss = run_forward(case, lambda _name, _step, array: array)
    for found, right in ((loss, expected.loss), (adjoints, expected.adjoints), (gradients, expected.gradients)):
        assert_right(found, right, "float64")


@pytest.mark.needs_torch
@fewer(8)
@given(step=steps(0.3), seed=st.integers(0, 2**31), dtype=st.sampled_from(DTYPES), learned=st.booleans())
def test_witness_step_is_torch_optim_sgd(step, seed, dtype, learned):
    """Many updates, each carrying its own parameters and velocity; what is allowed is carried along too. The initial
    state has a gradient in some updates only, as in a run. Clipping is by torch.nn.utils.
    """
    import torch

    step = step._replace(adagrad=False)  # which torch has in another form
    params = random_run(seed, Sizes(1, 1, 2, 4, 3), Kind(dtype, learned=learned)).params
    generator = np.random.default_rng(seed)
    theirs = each(lambda theta: torch.nn.Parameter(torch.tensor(theta)), params)
    trained = [theta for theta in theirs if theta is not None]
    options = {name: getattr(step, name) for name in ("momentum", "dampening", "nesterov", "weight_decay")}
    optimizer = torch.optim.SGD(trained, lr=step.learning_rate, **options)
    ours, velocity = about(params, dtype), None
    for number in range(12):
        gradients = each(lambda theta: generator.normal(size=theta.shape).astype(theta.dtype), Gradients(*params))
        if number < 3 or generator.random() < 0.7:
            gradients = gradients._replace(h_0=None)
        ours, velocity = expected_step(ours, about(gradients, dtype), velocity, step, np.dtype(dtype))
        for theta, g in zip(trained, [g for g, v in zip(gradients, theirs) if v is not None], strict=True):
            theta.grad = None if g is None else torch.tensor(g)
        if step.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(trained, step.max_norm)
        if step.max_value is not None:
            torch.nn.utils.clip_grad_value_(trained, step.max_value)
        optimizer.step()
        buffers = each(lambda theta: optimizer.state.get(theta, {}).get("momentum_buffer"), theirs)
        found = each(in_numpy, theirs), Gradients(*each(in_numpy, buffers)) if step.momentum else None
        for pair in zip(found, (ours, velocity), strict=True):
            assert_right(*pair, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_witness_adagrad_is_that_of_min_char_rnn(dtype):
    """mem += dparam * dparam; param += -learning_rate * dparam / np.sqrt(mem + 1e-8)"""
    params = random_run(3, Sizes(1, 1, 2, 4, 3), Kind(dtype)).params
    ours, velocity, step = about(params, dtype), None, Step(0.1, adagrad=True)
    numbers, mem = each(np.float64, params), each(np.zeros_like, Gradients(*params))
    generator = np.random.default_rng(3)
    for scale in (1, 1e-3, 1e-5, 0, 30):
        gradients = each(lambda theta, scale=scale: (scale * generator.normal(size=theta.shape)).astype(dtype), mem)
        mem = each(lambda m, g: m + np.float64(g) * np.float64(g), mem, gradients)
        numbers = each(lambda theta, g, m: theta - 0.1 * g / np.sqrt(m + 1e-8), numbers, Parameters(*gradients), mem)
        ours, velocity = expected_step(ours, about(gradients, dtype), velocity, step, np.dtype(dtype))
        for found, expected in ((numbers, ours), (mem, velocity)):
            assert_right(each(lambda v: v.astype(dtype), found), expected, dtype)


# -- what is allowed --------------------------------------------------------------------------------------------------


def test_allowed_rounding_is_small():
    """In all but one of 40 cases, of every gradient, relative to its largest entry."""
    for dtype, small in (("float64", 1e-10), ("float32", 0.05)):
        ratios = []
        for seed in range(40):
            run = random_run(seed, Sizes(5, 2, 3, 4, 1), Kind(dtype, learned=True))
            gradients = expected_update(window_case(run, Window(0, 0, 5), run.params, None, None)).gradients
            ratios.append(max(g.off.max() / np.abs(g.value).max() for g in gradients))
        assert sorted(ratios)[-2] < small
