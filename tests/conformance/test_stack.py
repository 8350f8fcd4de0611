"""A stack of two layers, torch.nn.RNN(num_layers=2), is checked layer by layer, by given dy and dx."""

import numpy as np
import pytest

from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.case import Case

pytestmark = pytest.mark.needs_torch
T, B, D, H, O = 6, 3, 2, 4, 5


def reports_of_stack(dtype, seed=0):
    """The case and the report of the upper and of the lower layer."""
    import torch

    torch.manual_seed(seed)
    kind = getattr(torch, dtype)
    lower, upper = (torch.nn.RNN(size, H, bias=False, dtype=kind) for size in (D, H))
    stack = torch.nn.RNN(D, H, num_layers=2, bias=False, dtype=kind)
    stack.load_state_dict({
        "weight_ih_l0": lower.weight_ih_l0, "weight_hh_l0": lower.weight_hh_l0,
        "weight_ih_l1": upper.weight_ih_l0, "weight_hh_l1": upper.weight_hh_l0,
    })  # fmt: skip
    output = torch.nn.Linear(H, O, bias=False, dtype=kind)
    x, target = torch.randn(T, B, D, dtype=kind), torch.randn(T, B, O, dtype=kind)
    h_0 = torch.tanh(torch.randn(2, B, H, dtype=kind)).requires_grad_()

    # The states of the lower layer, which the stack does not return, and their gradient, dx of the upper layer.
    states, _ = lower(x, h_0[:1])
    states.retain_grad()
    above, _ = upper(states, h_0[1:])
    loss = ((output(above) - target) ** 2).sum() / 2
    loss.backward()
    dx = states.grad.clone()
    h_0.grad = None
    of_stack, _ = stack(x, h_0)
    assert torch.allclose(of_stack, above)
    ((output(of_stack) - target) ** 2).sum().div(2).backward()

    def arrays(*tensors):
        return [tensor.detach().numpy().copy() for tensor in tensors]

    grads = [getattr(stack, f"weight_{name}_l{layer}").grad.T for layer in (0, 1) for name in ("ih", "hh")]
    weights = [getattr(stack, f"weight_{name}_l{layer}").T for layer in (0, 1) for name in ("ih", "hh")]
    dW, W, dh_0 = arrays(*grads), arrays(*weights), arrays(h_0.grad)[0]
    x, target, states, above, dx, h_0, W_hy = arrays(x, target, states, above, dx, h_0, output.weight.T)
    (dW_hy,) = arrays(output.weight.grad.T / 2)  # of both passes
    top = Case(Parameters(W[2], W[3], W_hy), states, target, h_0[1], 0.1, has_step=False)
    report_top = {"loss": loss.detach().numpy(), "dW_xh": dW[2], "dW_hh": dW[3], "dW_hy": dW_hy, "dx": dx}
    one = np.eye(H, dtype=dtype)
    bottom = Case(Parameters(W[0], W[1], one), x, dx, h_0[0], 0.1, given_dy=True, has_step=False)
    report_bottom = {"dW_xh": dW[0], "dW_hh": dW[1], "dh_0": dh_0[0]}
    return (top, report_top | {"dh_0": dh_0[1]}), (bottom, report_bottom | {"dW_hy": identity_gradient(states, dx)})


def identity_gradient(states, dx):
    """dW_hy of an output that the stack does not have; computed from the states and their gradient."""
    return np.einsum("tbi,tbj->ij", states, dx)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_layers_are_checked_layer_by_layer(dtype):
    for seed in range(3):
        for case, report in reports_of_stack(dtype, seed):
            ratios = check_global(case, report)
            assert {"dW_xh", "dW_hh", "dh_0"} <= set(ratios)
            assert all(ratio.max() <= 1 for ratio in ratios.values())


def test_wrong_gradient_of_a_layer_is_found_in_that_layer():
    (top, report_top), (bottom, report_bottom) = reports_of_stack("float64")
    half = bottom._replace(target=bottom.target / 2)  # the gradient from above, lost in part
    assert any(ratio.max() > 1 for ratio in check_global(half, report_bottom).values())
    transposed = top._replace(params=top.params._replace(W_hh=top.params.W_hh.T.copy()))
    assert any(ratio.max() > 1 for ratio in check_global(transposed, report_top).values())
