"""The forward pass of the Elman network (DERIVATION.md, section 2)."""

import numpy as np

from numpy_rnn.common.errors import Choices
from numpy_rnn.common.shapes import check_inputs, with_ensemble_axes
from numpy_rnn.memory import ForwardMemory, rows, time_first
from numpy_rnn.parameters import ARRAYS, Activations


def relu(a, out):
    """max(a, 0) into `out`, as np.tanh(a, out) does."""
    np.maximum(a, 0, out=out)


NONLINEARITIES = Choices("nonlinearity", tanh=np.tanh, relu=relu)


def forward(params, x, h_0, *, nonlinearity="tanh") -> Activations:
    """Run the network over one window.

        a_t = x_t W_xh + h_{t-1} W_hh + b_h    (F1)
        h_t = φ(a_t)                           (F2)
        y_t = h_t W_hy + b_y                   (F3)

    x: (T, B, D) inputs, or (T, *E, B, D) with one series a network; h_0: (B, H) or (*E, B, H), the state that enters;
    both in the parameters' dtype. φ is tanh or relu. Returns new Activations, with h[0] = h_0. numpy_rnn takes complex
    numbers too, for the complex step (DERIVATION.md, section 7).

    Raises InputError on a shape or dtype that does not fit and on an unknown nonlinearity.
    Source: Elman 1990; Goodfellow, Bengio and Courville, equations 10.8 to 10.10.
    """
    ARRAYS.parameters(params, dtypes=ARRAYS.forward_dtypes)
    ARRAYS.check(x=x, h_0=h_0)
    check_inputs(params, x, h_0)
    T, B = x.shape[0], x.shape[-2]
    x = of_every_network(x, params)
    memory = ForwardMemory(params, T, B)
    memory.states[0][...] = h_0
    unroll(params, memory, rows(x), NONLINEARITIES[nonlinearity])
    return Activations(x, *(time_first(v, B) for v in (memory.a, memory.rows_of_h, memory.y)))


def of_every_network(x, params):
    """(T, B, D) or (T, *E, B, D) → (T, *E, B, D), a view."""
    E = params.W_hh.shape[:-2]
    return np.broadcast_to(with_ensemble_axes(x, len(E) + 3), (len(x), *E, *x.shape[-2:])) if E else x


def unroll(params, memory, x, phi):
    """From the memory's h_0 and the rows of x, fill its a, h_1 to h_T and y."""
    W_xh, W_hh, W_hy, b_h, b_y, _ = params
    dot, a, y, product = memory.dot, memory.a, memory.y, memory.product
    dot(x, W_xh, a)  # (F1), the input's part, of all steps at once
    if b_h is not None:
        a += b_h[..., None, :]  # (F1)
    for a_t, h_before, h_t in memory.steps:
        a_t += dot(h_before, W_hh, product)  # (F1)
        phi(a_t, h_t)  # (F2)
    dot(memory.h, W_hy, y)  # (F3)
    if b_y is not None:
        y += b_y[..., None, :]  # (F3)
