"""The gradient, against complex-step derivatives, per-step copies of the parameters and torch.nn's own backward."""

import numpy as np
import pytest
from cases import (
    allowed,
    assert_within,
    bits,
    cases,
    complex_step,
    complex_step_gradients,
    each,
    one_by_one,
    one_update,
    random_case,
    reference_run,
    reference_update,
    step_losses,
    torch_nn,
    values,
    window_loss,
    window_of,
)
from hypothesis import given

import numpy_rnn
from numpy_rnn import Adjoints, Gradients


def gradient_of(rnn, case):
    params, x, target, h_0 = case.of(rnn)
    return rnn.to_numpy(rnn.bptt(params, rnn.forward(params, x, h_0, **case.phi), target, **case.options))


def complex_step_gradients_of_the_numpy_forward(case):
    """∂L/∂θ through numpy_rnn.forward and half_squared_error at complex parameters; no part of it goes backwards."""
    x, target, initial = (v.astype(complex) for v in (case.x, case.target, case.initial))

    def loss(params):
        h_0 = initial if params.h_0 is None else params.h_0
        y = numpy_rnn.forward(params, x, h_0, **case.phi).y
        return numpy_rnn.half_squared_error(y[-len(target) :], target, reduction=case.options["reduction"])

    widened = each(lambda theta: theta.astype("float64"), case.params)
    return each(lambda g: g.astype(case.dtype), complex_step_gradients(one_by_one(loss), widened))


# -- one window -----------------------------------------------------------------------------------------------------


@given(case=cases())
def test_bptt_is_the_complex_step_derivative_of_the_numpy_forward(rnn, case):
    expected = complex_step_gradients_of_the_numpy_forward(case)
    assert_within(gradient_of(rnn, case), expected, allowed(reference_update(case).gradients))


@given(case=cases(dtypes=["float64"]))
def test_the_reference_is_the_complex_step_derivative(case):
    reference = reference_update(case)
    expected = complex_step_gradients_of_the_numpy_forward(case)
    assert_within(values(reference.gradients, "float64"), expected, allowed(reference.gradients))


@given(case=cases(dtypes=["float64"]))
def test_deltas_are_complex_step_derivatives_at_every_step(rnn, case):
    """∂L/∂a_t is what L changes by when something is added to a_t and all that follows is run; so for h_t, y_t and x_t,
    and for the initial state, learned or not.
    """
    params, x, target, h_0 = case.of(rnn)
    adjoints = rnn.adjoints(params, rnn.forward(params, x, h_0, **case.phi), target, **case.options)

    def derivative(name, like):
        def loss(nudge):
            return window_loss(*case.arrays, *case.options.values(), **{name: nudge})

        return complex_step(loss, np.zeros(like.shape))

    reference = reference_update(case)
    expected = Adjoints(*(derivative(f"nudge_{d[1:]}", like.value) for d, like in reference.adjoints._asdict().items()))
    assert_within(rnn.to_numpy(adjoints), expected, allowed(reference.adjoints))
    assert_within(values(reference.adjoints, "float64"), expected, allowed(reference.adjoints))


@pytest.mark.needs_torch
@given(case=cases())
def test_bptt_is_the_backward_pass_of_torch_nn(rnn, case):
    """And so are the adjoints of its inputs and of its initial state."""
    import torch

    layer, readout = torch_nn(case)
    x, h_0 = (torch.tensor(v, requires_grad=True) for v in (case.x, case.initial))
    h, _ = layer(x, h_0[None])
    y, target = readout(h)[-len(case.target) :], torch.tensor(case.target)
    (0.5 * torch.nn.functional.mse_loss(y, target, reduction=case.options["reduction"])).backward()
    weights = (w.grad.T.numpy() for w in (layer.weight_ih_l0, layer.weight_hh_l0, readout.weight))
    biases = (layer.bias_ih_l0.grad.numpy(), readout.bias.grad.numpy()) if layer.bias else (None, None)
    dh_0 = h_0.grad.numpy()

    expected = Gradients(*weights, *biases, None if case.params.h_0 is None else dh_0)
    limit = allowed(reference_update(case))
    assert_within(gradient_of(rnn, case), expected, limit.gradients)
    ours = one_update(rnn, case, 0.0).adjoints
    assert_within((ours.dx, ours.dh_0), (x.grad.numpy(), dh_0), (limit.adjoints.dx, limit.adjoints.dh_0))


def test_the_derivative_of_relu_at_zero_is_zero(rnn):
    """Without biases, zero inputs and a zero state make every a_t exactly 0."""
    case = random_case(0, 3, 2, 2, 4, 1, bias=False, nonlinearity="relu")
    case = case._replace(x=np.zeros_like(case.x), h_0=np.zeros_like(case.h_0))
    params, x, target, h_0 = case.of(rnn)
    adjoints = rnn.to_numpy(rnn.adjoints(params, rnn.forward(params, x, h_0, **case.phi), target, **case.options))
    assert (adjoints.dh[-1] != 0).all()
    assert (adjoints.da == 0).all()


@given(case=cases())
def test_the_gradient_leaves_what_it_is_given_and_repeats_itself(rnn, case):
    params, x, target, h_0 = case.of(rnn)
    activations = rnn.forward(params, x, h_0, **case.phi)
    given_values = params, activations, target
    before = bits(given_values)
    gradients = rnn.bptt(params, activations, target, **case.options)
    adjoints = rnn.adjoints(params, activations, target, **case.options)
    kept = bits((gradients, adjoints))
    assert bits(rnn.bptt(params, activations, target, **case.options)) == kept[0]
    assert bits(rnn.adjoints(params, activations, target, **case.options)) == kept[1]
    assert bits(given_values) == before
    assert bits((gradients, adjoints)) == kept


@given(case=cases())
def test_steps_without_a_loss_have_no_dy_and_absent_biases_no_gradient(rnn, case):
    params, x, target, h_0 = case.of(rnn)
    activations = rnn.forward(params, x, h_0, **case.phi)
    adjoints = rnn.to_numpy(rnn.adjoints(params, activations, target, **case.options))
    older = len(case.x) - len(case.target)
    assert (adjoints.dy[:older] == 0).all()
    assert (adjoints.dy[older:] != 0).any()
    gradients = rnn.bptt(params, activations, target, **case.options)
    assert [g is None for g in gradients] == [theta is None for theta in params]
    assert [g.shape for g in gradients if g is not None] == [theta.shape for theta in params if theta is not None]


@given(case=cases())
def test_whether_the_initial_state_is_learned_changes_no_other_gradient(rnn, case):
    """Bit for bit; and what is new is the dh_0 that flows out of the window in either case."""
    state = case.initial
    plain = case._replace(params=case.params._replace(h_0=None), h_0=state)
    learned = case._replace(params=case.params._replace(h_0=state), h_0=None)
    one, other = one_update(rnn, plain, 0.0), one_update(rnn, learned, 0.0)
    assert bits(other.gradients._replace(h_0=None)) == bits(one.gradients)
    assert bits((other.activations, other.loss, other.adjoints)) == bits((one.activations, one.loss, one.adjoints))
    assert bits(other.gradients.h_0) == bits(one.adjoints.dh_0)


@pytest.mark.needs_torch
def test_no_gradient_accumulates_in_torch_parameters():
    import torch_rnn

    case = random_case(0, 4, 2, 3, 5, 1, learned=True)
    params, x, target, h_0 = case.of(torch_rnn)
    activations = torch_rnn.forward(params, x, h_0)
    torch_rnn.bptt(params, activations, target)
    torch_rnn.adjoints(params, activations, target)
    updates = list(torch_rnn.train(params, x, target, None, momentum=0.9, k1=1, k2=2, learning_rate=0.1, epochs=1))
    assert all(theta.grad is None for theta in params if theta is not None)
    assert all(theta.grad is None for update in updates for theta in update.parameters if theta is not None)


# -- truncation -----------------------------------------------------------------------------------------------------


def items(case):
    """G[t, s] = ∂ℓ_t/∂θ_s, under the name of each parameter (T, T, *shape), by giving every step a copy of its own.

    Any truncation of back-propagation, while the weights stand still, is a 0/1 mask on this matrix.
    """
    T = len(case.x)
    of_step = []
    for s in range(T):

        def losses(own, s=s):
            copies = [own if step == s else case.params for step in range(T)]
            return step_losses(copies, case.x, case.target, case.h_0, case.options["nonlinearity"])

        of_step.append(complex_step_gradients(losses, case.params))  # (*shape, T) each
    return {
        name: np.stack([np.moveaxis(getattr(g, name), -1, 0) for g in of_step], axis=1)
        for name, theta in case.params._asdict().items()
        if theta is not None
    }


TRUNCATIONS = [(k1, k2) for k1 in range(1, 7) for k2 in range(k1, 8)]  # T = 5


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_a_truncated_gradient_is_a_masked_sum_of_items(rnn, bias, nonlinearity):
    """All (k1, k2), and learning rate 0: the gradient of update n is Σ G[t, s] over its new steps t and its window's
    steps s. G[t, s] is 0 for s > t.
    """
    T = 5
    case = random_case(7, T, 2, 3, 4, 1, bias=bias, nonlinearity=nonlinearity)
    G = items(case)
    for matrix in G.values():
        for t in range(T):
            assert (matrix[t, t + 1 :] == 0).all()

    params, x, target, h_0 = case.of(rnn)
    for k1, k2 in TRUNCATIONS:
        options = {"k1": k1, "k2": k2, "learning_rate": 0.0, "epochs": 1}
        updates = list(rnn.train(params, x, target, h_0, **options, **case.phi))
        e = [min(n * k1, T) for n in range(len(updates) + 1)]
        assert e[-1] == T
        references = list(reference_run(case, **options))
        for n, (update, reference) in enumerate(zip(updates, references, strict=True), start=1):
            s_n = max(0, e[n] - k2)
            new, window = (np.array([first < t <= e[n] for t in range(1, T + 1)]) for first in (e[n - 1], s_n))
            mask = np.outer(new, window)
            expected = Gradients(*(G[name][mask].sum(0) if name in G else None for name in Gradients._fields))
            assert_within(rnn.to_numpy(update.gradients), expected, allowed(reference.expected.gradients))


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
@pytest.mark.parametrize("learned", [False, True], ids=["given", "learned"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 3), (2, 2), (3, 6), (4, 5), (6, 6), (7, 9)])
def test_each_gradient_of_a_run_is_the_derivative_of_its_window(rnn, k1, k2, learned, nonlinearity, reduction):
    """With weights that move: the derivative of the loss of the window from its initial state and the
    parameters before it, both as the run reported them.
    """
    case = random_case(11, 6, 2, 3, 4, 1, nonlinearity=nonlinearity, reduction=reduction, learned=learned)
    params, x, target, h_0 = case.for_train(rnn)
    options = {"k1": k1, "k2": k2, "learning_rate": 0.02, "epochs": 2}
    before = case.params
    for update in map(rnn.to_numpy, rnn.train(params, x, target, h_0, **options, **case.options, record=True)):
        window = window_of(case, update, before)

        def loss(theta, window=window):
            return window_loss(theta, *window[1:4], *window.options.values())

        expected = complex_step_gradients(loss, window.params)
        assert_within(update.gradients, expected, allowed(reference_update(window).gradients))
        before = update.parameters


def test_a_window_of_the_whole_series_is_full_bptt(rnn):
    T = 6
    case = random_case(3, T, 2, 3, 4, 5)
    params, x, target, h_0 = case.of(rnn)
    runs = [
        rnn.to_numpy(next(rnn.train(params, x, target, h_0, k1=k1, k2=k2, learning_rate=0.1, epochs=1)))
        for k1, k2 in [(T, T), (T, T + 3), (T + 1, T + 1), (T + 5, T + 9)]
    ]
    expected = complex_step_gradients(lambda theta: window_loss(theta, *case.arrays[1:], "tanh"), case.params)
    for update in runs:
        assert update.window == (0, 0, T)
        assert_within(update.gradients, expected, allowed(reference_update(case).gradients))
        assert bits(update) == bits(runs[0])


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_truncation_truncates(rnn, nonlinearity):
    """One step less in the window, and the gradient is another by far more than rounding."""
    T = 6
    case = random_case(5, T, 4, 3, 5, 1, nonlinearity=nonlinearity)
    params, x, target, h_0 = case.of(rnn)
    last = {}
    for k2 in range(1, T + 1):
        *_, update = rnn.train(params, x, target, h_0, k1=1, k2=k2, learning_rate=0.0, epochs=1, **case.phi)
        last[k2] = rnn.to_numpy(update.gradients)
    rounding = allowed(reference_update(case).gradients)
    for k2 in range(1, T):
        for name in ("W_xh", "W_hh", "b_h"):
            shorter, longer, limit = (getattr(v, name) for v in (last[k2], last[k2 + 1], rounding))
            assert np.abs(shorter - longer).max() > 1e6 * limit.max(), (k2, name)
        for name in ("W_hy", "b_y"):  # the output's weights act on no later step
            assert_within(getattr(last[k2], name), getattr(last[k2 + 1], name), getattr(rounding, name))


@pytest.mark.needs_torch
def test_the_gradient_can_be_asked_for_where_torch_records_none():
    import torch

    import torch_rnn

    params, x, target, h_0 = random_case(0, 4, 2, 3, 5, 1).of(torch_rnn)
    activations = torch_rnn.forward(params, x, h_0)
    expected = torch_rnn.bptt(params, activations, target)
    with torch.no_grad():
        found = torch_rnn.bptt(params, activations, target)
    assert all(torch.equal(one, other) for one, other in zip(found[:5], expected[:5]))
    assert found.h_0 is expected.h_0 is None
