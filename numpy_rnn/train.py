"""The training loop: windows, the carried state, one record per update (DERIVATION.md, section 5)."""

from collections.abc import Iterator

import numpy as np

from numpy_rnn.bptt import SLOPES, backpropagate, weight_gradients
from numpy_rnn.common.shapes import check_run, with_ensemble_axes
from numpy_rnn.common.windows import windows
from numpy_rnn.elman import NONLINEARITIES, unroll
from numpy_rnn.loss import DIVISORS, half_sum_of_squares
from numpy_rnn.memory import BackwardMemory, ForwardMemory, rows, time_first
from numpy_rnn.parameters import Activations, Deltas, Parameters, Update
from numpy_rnn.sgd import sgd


def train(
    params, x, target, h_0, *, k1, k2, learning_rate, epochs, nonlinearity="tanh", reduction="sum", record=False
) -> Iterator[Update]:
    """Train by TBPTT(k1, k2) and plain SGD, one update at a time.

    Every epoch starts from h_0 and passes through the series once. Update n runs the forward over its window
    (s_n, e_n] with the parameters as they stand, takes the gradient of the loss of its new steps (e_{n-1}, e_n], and
    makes one SGD step, where

        e_n = min(n·k1, T)                                                                     (T1)
        s_n = max(0, e_n − k2)                                                                 (T2)
        the state that enters: h at s_n as update n−1 computed it, a constant; h_0 if s_n = 0  (T3)

    x: (T, B, D) inputs, target: (T, B, O), h_0: (B, H), all in the parameters' dtype; with an ensemble of networks also
    one each, (T, *E, B, D) and so on. With `record`, every Update holds the activations and the deltas too. Nothing
    that is passed in is changed, and nothing that is handed out is changed later.

    Raises InputError, before the first update, on shapes or dtypes that do not fit, on k2 < k1, on a learning rate
    that is not finite and on an unknown nonlinearity or reduction.
    Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    check_run(params, x, target, h_0, epochs, learning_rate)
    windows(len(x), k1, k2)
    x, target = (with_ensemble_axes(series, params.W_hh.ndim + 1) for series in (x, target))
    params = Parameters(*[None if theta is None else theta.copy() for theta in params])
    learning_rate = np.asarray(learning_rate, params.W_hh.dtype)
    options = NONLINEARITIES[nonlinearity], SLOPES[nonlinearity], DIVISORS[reduction], record
    return _updates(params, x, target, h_0, k1, k2, learning_rate, epochs, *options)


def _updates(params, x, target, h_0, k1, k2, learning_rate, epochs, phi, slope, divisor, record):
    T, B = x.shape[0], x.shape[-2]
    x_rows, target_rows = rows(x), rows(target)
    size = None  # (steps, counted steps) of the windows that the memory is made for
    for epoch in range(1, epochs + 1):
        states, first = [h_0], 0  # the latest states, and the step that the first of them follows
        for number, window in enumerate(windows(T, k1, k2), start=1):
            start, counted_from, stop = window
            if size != (stop - start, stop - counted_from):
                size = steps, counted = stop - start, stop - counted_from
                forward = ForwardMemory(params, steps, B)
                backward = BackwardMemory(params, forward.rows_of_h, forward.y, steps, B, counted)
                terms = divisor(target[counted_from:stop])
            forward.states[0][...] = states[start - first]  # (T3)
            states, first = forward.states, start

            x_window = x_rows[..., start * B : stop * B, :]
            unroll(params, forward, x_window, phi)
            target_counted = target_rows[..., counted_from * B : stop * B, :]
            error = np.subtract(backward.y_counted, target_counted, backward.dy_counted)  # (B1)
            loss = half_sum_of_squares(error) / terms  # (L2)
            backpropagate(params, backward, slope, terms)
            gradients = weight_gradients(params, backward, x_window)
            params = sgd(params, gradients, learning_rate)
            kept = _kept(x[start:stop], forward, backward) if record else ()
            yield Update(epoch, number, window, loss, gradients, params, *kept)


def _kept(x, forward, backward):
    filled = forward.a, forward.rows_of_h, forward.y, backward.dy, backward.dh, backward.da
    a, h, y, dy, dh, da = (time_first(v, x.shape[-2]).copy() for v in filled)
    return Activations(x, a, h, y), Deltas(dy, dh, da)
