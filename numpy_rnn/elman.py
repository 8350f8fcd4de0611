"""The forward pass of the Elman network (DERIVATION.md, section 2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND, Array, one_hot, with_network_axis
from numpy_rnn.common.array_kinds import is_integer
from numpy_rnn.common.checks import check_forward
from numpy_rnn.common.records import Activations, Nonlinearity, Objective, Parameters

Phi: TypeAlias = Callable[[Array], Array]


def relu(a: Array) -> Array:
    """Return max(a, 0)."""
    return np.maximum(a, 0)


def sigmoid(a: Array) -> Array:
    """Return the logistic function 1 / (1 + exp(−a)).

    It is computed as ½ (1 + tanh(a/2)), in which nothing overflows.
    """
    return 0.5 * (1 + np.tanh(0.5 * a))


NONLINEARITIES: dict[str, Phi] = {"tanh": np.tanh, "relu": relu, "sigmoid": sigmoid}


def forward(
    params: Parameters[Array],
    x: Array,
    h_0: Array,
    *,
    nonlinearity: Nonlinearity = "tanh",
) -> Activations[Array]:
    """Run the network over one window.

        a_t = x_t W_xh + h_{t-1} W_hh + b_h    (F1)
        h_t = φ(a_t)                           (F2)
        y_t = h_t W_hy + b_y                   (F3)
        x_t = one-hot rows of classes          (F4)

    Parameters
    ----------
    params : Parameters
        The parameters, of one network or of an ensemble of N.
    x : ndarray
        Inputs, of shape (T, B, D), or (T, N, B, D) with a series per network. Integers
        are classes from 0 to D − 1, of shape (T, B) or (T, N, B).
    h_0 : ndarray
        Initial state, of shape (B, H), or (N, B, H) with one per network.
    nonlinearity : {"tanh", "relu", "sigmoid"}
        φ; the sigmoid is the logistic function.

    Returns
    -------
    Activations
        x, a, h and y, new arrays. a_t and y_t are at index t − 1 of a and y, h_t is at
        index t of h, and h[0] is h_0. Classes are returned as one-hot rows.

    Raises
    ------
    InputError
        If a shape or dtype does not fit the parameters, or the nonlinearity is unknown.

    References
    ----------
    Elman 1990. Goodfellow, Bengio and Courville 2016, equations 10.8 to 10.10.

    Examples
    --------
    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> one = np.ones((1, 1))
    >>> params = rnn.Parameters(W_xh=one, W_hh=2 * one, W_hy=3 * one)
    >>> x = np.ones((2, 1, 1))
    >>> activations = rnn.forward(params, x, one, nonlinearity="relu")
    >>> activations.h.ravel(), activations.y.ravel()
    (array([1., 3., 7.]), array([ 9., 21.]))
    """
    check_forward(ARRAY_KIND, params, x, h_0, Objective(nonlinearity))
    return compute_activations(params, x, h_0, nonlinearity)


def compute_activations(
    params: Parameters[Array], x: Array, h_0: Array, nonlinearity: Nonlinearity
) -> Activations[Array]:
    """Compute the activations of a window.

    A product `@` acts on the last two axes, so an ensemble needs no other code once x
    has its axis. A bias is added as a row, to every sequence.
    """
    W_xh, W_hh, W_hy, b_h, b_y = params
    phi = NONLINEARITIES[nonlinearity]
    x = input_rows(params, x)
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
        y += b_y[..., None, :]  # (F3)
    return Activations(x, a, h, y)


def input_rows(params: Parameters[Array], x: Array) -> Array:
    """Return a copy of the inputs as rows, (T, B, D), or (T, N, B, D) of an
    ensemble.
    """
    x = with_network_axis(x, is_ensemble=params.networks is not None)
    if is_integer(x):
        x = one_hot(x, params.W_xh.shape[-2], params.W_xh.dtype)
    networks = params.W_hh.shape[:-2]
    shape = (len(x), *networks, *x.shape[-2:])
    return np.array(np.broadcast_to(x, shape), order="C")
