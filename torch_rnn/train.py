"""The training loop: windows, the carried state, one record per update (DERIVATION.md, section 5)."""

from collections.abc import Iterator

import torch

from numpy_rnn.common.shapes import check_run, with_ensemble_axes
from numpy_rnn.common.windows import windows
from torch_rnn.bptt import loss_deltas, loss_gradients, newest
from torch_rnn.elman import NONLINEARITIES, forward
from torch_rnn.loss import DIVISORS, half_squared_error
from torch_rnn.parameters import Activations, Parameters, Update
from torch_rnn.sgd import sgd


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
    params = Parameters(*[None if theta is None else theta.detach().clone().requires_grad_() for theta in params])
    learning_rate = torch.as_tensor(learning_rate, dtype=params.W_hh.dtype)
    NONLINEARITIES[nonlinearity], DIVISORS[reduction]
    return _updates(params, x, target, h_0, k1, k2, learning_rate, epochs, nonlinearity, reduction, record)


def _updates(params, x, target, h_0, k1, k2, learning_rate, epochs, nonlinearity, reduction, record):
    for epoch in range(1, epochs + 1):
        states, first = h_0[None], 0  # the latest states, and the step that the first of them follows
        for number, window in enumerate(windows(len(x), k1, k2), start=1):
            start, counted_from, stop = window
            entering = states[start - first]  # (T3)
            with torch.enable_grad():
                activations = forward(params, x[start:stop], entering, nonlinearity=nonlinearity)
                y_counted = newest(activations.y, stop - counted_from)
                loss = half_squared_error(y_counted, target[counted_from:stop], reduction=reduction)
            gradients = loss_gradients(loss, params)
            kept = (copied(activations), loss_deltas(loss, activations)) if record else ()
            states, first = activations.h.detach(), start
            params = sgd(params, gradients, learning_rate)
            yield Update(epoch, number, window, loss.detach(), gradients, params, *kept)


def copied(activations) -> Activations:
    """Without their graph, and in memory of their own: the run goes on from these states."""
    return Activations(*(v.detach().clone() for v in activations))
