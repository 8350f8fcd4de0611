"""The forward pass of the Elman network, `numpy_rnn/elman.py` in PyTorch."""

from __future__ import annotations

import torch

from numpy_rnn.common.checks import check_call
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Activations, Nonlinearity, Objective, Parameters
from torch_rnn.parameters import ARRAYS, Array, as_rows

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


def forward(
    params: Parameters[Array],
    x: Array,
    h_0: Array,
    *,
    nonlinearity: Nonlinearity = "tanh",
) -> Activations[Array]:
    """Run the network over one window, as `numpy_rnn.forward`, which describes the
    arguments.

    The activations carry the graph that `bptt` and `adjoints` differentiate, on from
    that of x and h_0 if these have one. Raises InputError on tensors of
    torch.inference_mode too, outside of it.
    """
    check_call(ARRAYS, Objective(nonlinearity), params=params, x=x, h_0=h_0)
    tensors = [v for v in (*params, x, h_0) if v is not None]
    if not torch.is_inference_mode_enabled() and any(v.is_inference() for v in tensors):
        raise InputError(
            "a tensor was made under torch.inference_mode: expected another; clone it"
        )
    return unroll(params, x, h_0, nonlinearity)


def unroll(
    params: Parameters[Array], x: Array, h_0: Array, phi: str
) -> Activations[Array]:
    """`forward` without its checks."""
    W_xh, W_hh, W_hy, b_h, b_y = params
    function, networks = NONLINEARITIES[phi], W_hh.shape[:-2]
    x = (
        as_rows(x, W_xh.shape[-2], W_xh)
        .expand(len(x), *networks, -1, -1)
        .requires_grad_()
    )
    a, h = [], [h_0.expand(*networks, *h_0.shape[-2:]).clone().requires_grad_()]
    with torch.autocast(W_hh.device.type, enabled=False):
        for x_t in x:
            a_t = x_t @ W_xh + h[-1] @ W_hh  # (F1)
            if b_h is not None:
                a_t = a_t + b_h.unsqueeze(-2)  # (F1)
            a.append(a_t)
            h.append(function(a_t))  # (F2)
        y = torch.stack(h[1:]) @ W_hy  # (F3)
        if b_y is not None:
            y = y + b_y.unsqueeze(-2)  # (F3)
    return Activations(x, torch.stack(a), torch.stack(h), y)
