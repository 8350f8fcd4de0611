"""The forward pass of the Elman network, `numpy_rnn/elman.py` in PyTorch."""

from __future__ import annotations

import torch
from torch.nn import functional

from numpy_rnn.common.checks import check_forward
from numpy_rnn.common.records import Activations, Nonlinearity, Objective, Parameters
from torch_rnn.arrays import ARRAY_KIND, Array, with_network_axis

NONLINEARITIES = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}


def forward(
    params: Parameters[Array],
    x: Array,
    h_0: Array,
    *,
    nonlinearity: Nonlinearity = "tanh",
) -> Activations[Array]:
    """Run the network over one window, as `numpy_rnn.forward`.

    Parameters
    ----------
    params : Parameters
        The parameters, of one network or of an ensemble of N. They require a gradient
        if `bptt` or `adjoints` follows.
    x : Tensor
        Inputs, of shape (T, B, D), or (T, N, B, D) with a series per network. Integers
        are classes from 0 to D − 1, of shape (T, B) or (T, N, B).
    h_0 : Tensor
        Initial state, of shape (B, H), or (N, B, H) with one per network.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        φ; the sigmoid is the logistic function.

    Returns
    -------
    Activations
        x, a, h and y, new tensors. They carry the graph that `bptt` and `adjoints`
        differentiate, on from that of x and h_0 if these have one.

    Raises
    ------
    InputError
        If a shape or dtype does not fit the parameters, or the nonlinearity is unknown.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> params = rnn.initial_parameters(hidden_size=3)
    >>> activations = rnn.forward(params, torch.zeros(2, 1, 1), torch.zeros(1, 3))
    >>> activations.h.shape
    torch.Size([3, 1, 3])
    """
    check_forward(ARRAY_KIND, params, x, h_0, Objective(nonlinearity))
    return compute_activations(params, x, h_0, nonlinearity)


def compute_activations(
    params: Parameters[Array], x: Array, h_0: Array, nonlinearity: Nonlinearity
) -> Activations[Array]:
    """Compute the activations of a window."""
    W_xh, W_hh, W_hy, b_h, b_y = params
    phi = NONLINEARITIES[nonlinearity]
    x = input_rows(params, x).requires_grad_()
    h_0 = h_0.expand(*W_hh.shape[:-2], -1, -1).clone().requires_grad_()
    a: list[Array] = []
    h = [h_0]
    with torch.autocast(W_hh.device.type, enabled=False):
        for x_t in x:
            a_t = x_t @ W_xh + h[-1] @ W_hh  # (F1)
            if b_h is not None:
                a_t = a_t + b_h.unsqueeze(-2)  # (F1)
            a.append(a_t)
            h.append(phi(a_t))  # (F2)
        y = torch.stack(h[1:]) @ W_hy  # (F3)
        if b_y is not None:
            y = y + b_y.unsqueeze(-2)  # (F3)
    return Activations(x, torch.stack(a), torch.stack(h), y)


def input_rows(params: Parameters[Array], x: Array) -> Array:
    """Return a copy of the inputs as rows, (T, B, D), or (T, N, B, D) of an
    ensemble.
    """
    W_xh = params.W_xh
    x = with_network_axis(x, is_ensemble=params.networks is not None)
    if not x.is_floating_point():
        x = functional.one_hot(x.long(), W_xh.shape[-2]).to(W_xh)  # (F4)
    return x.expand(-1, *W_xh.shape[:-2], -1, -1).clone()
