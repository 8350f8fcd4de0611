"""The forward pass of the Elman network (DERIVATION.md, section 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from numpy_rnn.common.checks import check_call, is_integer
from numpy_rnn.common.records import Activations, Nonlinearity, Objective, Parameters
from numpy_rnn.parameters import ARRAYS, Array, InitialState, Inputs, with_network_axis

Phi: TypeAlias = Callable[[Array], Array]


def relu(a: Array) -> Array:
    """max(a, 0)"""
    return np.maximum(a, 0)


def sigmoid(a: Array) -> Array:
    """The logistic function 1 / (1 + exp(−a)), as ½ (1 + tanh(a/2)), in which nothing
    overflows
    """
    return 0.5 * (1 + np.tanh(0.5 * a))


NONLINEARITIES: dict[str, Phi] = {"tanh": np.tanh, "relu": relu, "sigmoid": sigmoid}


def forward(
    params: Parameters[Array],
    x: Inputs,
    h_0: InitialState,
    *,
    nonlinearity: Nonlinearity = "tanh",
) -> Activations[Array]:
    """Run the network over one window.

        a_t = x_t W_xh + h_{t-1} W_hh + b_h    (F1)
        h_t = φ(a_t)                           (F2)
        y_t = h_t W_hy + b_y                   (F3)
        x_t = one-hot rows of classes          (F4)

    x: (T, B, D) inputs, or (T, N, B, D) with one series per network; or classes,
    integers (T, B) or (T, N, B) from 0 to D − 1. h_0: (B, H) or (N, B, H), the initial
    state. Floats have the dtype of the parameters. φ is tanh, relu or sigmoid, the
    logistic function. Returns new Activations: a_t and y_t are at index t - 1 of a and
    y, and h_t is at index t of h, so that h[0] = h_0. Class inputs are returned
    one-hot.

    Raises InputError on a shape or dtype that does not fit and on an unknown
    nonlinearity. Source: Elman 1990; Goodfellow, Bengio and Courville, equations 10.8
    to 10.10.
    """
    check_call(ARRAYS, Objective(nonlinearity), params=params, x=x, h_0=h_0)
    return unroll(params, x, h_0, NONLINEARITIES[nonlinearity])


def one_hot(classes: Array, size: int, dtype: DTypeLike) -> Array:
    """Rows of `size` numbers with a 1 at their class and 0 elsewhere: (...) → (...,
    size)
    """
    return np.equal(classes[..., None], np.arange(size)).astype(dtype)  # (F4)


def unroll(
    params: Parameters[Array], x: Inputs, h_0: InitialState, phi: Phi
) -> Activations[Array]:
    """`forward` without its checks.

    A product `@` acts on the last two axes, so an ensemble needs no other code once x
    and h_0 have its axis. A bias is added as a row, to every sequence.
    """
    W_xh, W_hh, W_hy, b_h, b_y = params
    x = with_network_axis(x, W_hh)
    if is_integer(x):
        x = one_hot(x, W_xh.shape[-2], W_xh.dtype)  # (F4)
    x = np.broadcast_to(x, (len(x), *W_hh.shape[:-2], *x.shape[-2:]))
    a = x @ W_xh  # (F1), the term of the inputs, for all steps at once
    if b_h is not None:
        a += b_h[..., None, :]  # (F1)
    h = np.empty((len(x) + 1, *a.shape[1:]), a.dtype)
    h[0] = h_0
    for t in range(len(x)):
        a[t] += h[t] @ W_hh  # (F1)
        h[t + 1] = phi(a[t])  # (F2)
    y = h[1:] @ W_hy  # (F3)
    if b_y is not None:
        y = y + b_y[..., None, :]  # (F3)
    return Activations(x, a, h, y)
