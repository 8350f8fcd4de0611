"""A stack of two layers, torch.nn.RNN(num_layers=2), is checked layer by layer, by given dy and dx."""

import numpy as np
import pytest

from numpy_rnn.common.records import DTYPES, Parameters
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.case import Case

pytestmark = pytest.mark.needs_torch
T, B, D, H, O = 6, 3, 2, 4, 5


def reports_of_stack(dtype):
    """The case and the report of the upper and of the lower layer."""
    import torch

    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    stack = torch.nn.RNN(D, H, num_layers=2, bias=False, dtype=kind)
    output = torch.nn.Linear(H, O, bias=False, dtype=kind)
    x, target = torch.randn(T, B, D, dtype=kind), torch.randn(T, B, O, dtype=kind)
    h_0 = torch.tanh(torch.randn(2, B, H, dtype=kind)).requires_grad_()

    def loss_of(above):
        return ((output(above) - target) ** 2).sum() / 2

    loss = loss_of(stack(x, h_0)[0])
    dW = torch.autograd.grad(loss, [*stack.parameters(), output.weight, h_0])

    # The states of the lower layer, which the stack does not return, and their gradient, dx of the upper layer.
    layers = [torch.nn.RNN(size, H, bias=False, dtype=kind) for size in (D, H)]
    for number, layer in enumerate(layers):
        layer.load_state_dict({f"weight_{of}_l0": getattr(stack, f"weight_{of}_l{number}") for of in ("ih", "hh")})
    states, _ = layers[0](x, h_0[:1])
    (dx,) = torch.autograd.grad(loss_of(layers[1](states, h_0[1:])[0]), states)

    def array(tensor):
        return tensor.detach().numpy().copy()

    *dW, dh_0 = map(array, dW)
    W = [array(weight) for weight in (*stack.parameters(), output.weight)]
    x, target, states, dx, h_0, loss = map(array, (x, target, states, dx, h_0, loss))
    top = Case(Parameters(W[2].T, W[3].T, W[4].T), states, target, h_0[1], 0.1, has_step=False)
    of_top = {"loss": loss, "dW_xh": dW[2].T, "dW_hh": dW[3].T, "dW_hy": dW[4].T, "dx": dx, "dh_0": dh_0[1]}
    # The lower layer has no output: its dy is the gradient of its states, by W_hy = 1.
    bottom = Case(Parameters(W[0].T, W[1].T, np.eye(H, dtype=dtype)), x, dx, h_0[0], 0.1, given_dy=True, has_step=False)
    dW_hy = np.einsum("tbi,tbj->ij", states, dx)
    return (top, of_top), (bottom, {"dW_xh": dW[0].T, "dW_hh": dW[1].T, "dW_hy": dW_hy, "dh_0": dh_0[0]})


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_layers_are_checked_layer_by_layer(dtype):
    for case, report in reports_of_stack(dtype):
        ratios = check_global(case, report)
        assert {"dW_xh", "dW_hh", "dh_0"} <= set(ratios)
        assert all(ratio.max() <= 1 for ratio in ratios.values())


def test_wrong_gradient_of_a_layer_is_found_in_that_layer():
    """The gradient from above, lost in part; and a transposed W_hh."""
    (top, of_top), (bottom, of_bottom) = reports_of_stack("float64")
    half = bottom._replace(target=bottom.target / 2)
    transposed = top._replace(params=top.params._replace(W_hh=top.params.W_hh.T.copy()))
    for case, report in ((half, of_bottom), (transposed, of_top)):
        assert any(ratio.max() > 1 for ratio in check_global(case, report).values())
