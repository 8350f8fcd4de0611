"""The forward pass of the Elman network, `numpy_rnn/elman.py` in PyTorch (DERIVATION.md, section 2)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from numpy_rnn.common.checks import check_forward, check_objective
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Activations, Nonlinearity, Objective, Parameters
from torch_rnn.parameters import ARRAYS, Array, rows

NONLINEARITIES: dict[str, Callable[[Array], Array]] = {
    "tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid
}  # fmt: skip


def forward(
    params: Parameters[Array], x: Array, h_0: Array, *, nonlinearity: Nonlinearity = "tanh"
) -> Activations[Array]:
    """Run the network over one window, as `numpy_rnn.forward`, which describes the arguments and the errors raised.

    The activations carry the graph that `bptt` and `adjoints` differentiate, on from that of x and h_0 if these have
    one. Raises InputError on tensors that were made under torch.inference_mode, outside of it.
    """
    check_objective(Objective(nonlinearity))
    check_forward(ARRAYS, params, x, h_0)
    if not torch.is_inference_mode_enabled() and any(
        v is not None and v.is_inference() for v in (*params, x, h_0)
    ):
        raise InputError(
            "a tensor was made under torch.inference_mode and has no graph: expected others; clone it"
        )
    x, h_0 = series_inputs(params, x, h_0, True)
    a, h, y = unroll(params, x, h_0, NONLINEARITIES[nonlinearity])
    return Activations(x, torch.stack(a), torch.stack(h), y)


def unroll(
    params: Parameters[Array], x: Array, h_0: Array, phi: Callable[[Array], Array]
) -> tuple[list[Array], list[Array], Array]:
    """`forward` of rows without its checks: (a_1 to a_T, h_0 to h_T, y)."""
    W_xh, W_hh, W_hy, b_h, b_y, _ = params
    a, h = [], [h_0]
    for x_t in x:
        a_t = x_t @ W_xh + h[-1] @ W_hh  # (F1)
        if b_h is not None:
            a_t = a_t + b_h.unsqueeze(-2)  # (F1)
        a.append(a_t)
        h.append(phi(a_t))  # (F2)
    y = torch.stack(h[1:]) @ W_hy  # (F3)
    if b_y is not None:
        y = y + b_y.unsqueeze(-2)  # (F3)
    return a, h, y


def series_inputs(
    params: Parameters[Array], x: Array, h_0: Array, record: bool
) -> tuple[Array, Array]:
    """Inputs in rows, and the initial state, of every network; with `record` they require gradients."""
    E = params.W_hh.shape[:-2]
    x = rows(x, params.W_xh.shape[-2], params.W_xh).expand(len(x), *E, -1, -1)
    h_0 = h_0.expand(*E, *h_0.shape[-2:]).clone()  # the step moves a learned one in place
    return (x.requires_grad_(), h_0.requires_grad_()) if record else (x, h_0)
