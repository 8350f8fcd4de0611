"""The usual PyTorch tutorial program for the sine wave, which `numpy_rnn` is compared with.

`train` is written as such tutorials write it: input and context concatenated, one 7×6 weight for both, a Python loop
over the points, `.data` for the update, gradients zeroed by hand. It uses neither package.
"""

from functools import partial

import numpy as np
import torch

from benchmarks.prepared import Prepared, Tasks, Unsupported, run_results
from benchmarks.tasks import RUN
from benchmarks.workloads import Case, sine


def forward(point, context, w1, w2):
    """One point (1, 1) and the context (1, H) to the prediction (1, 1) and the next context."""
    hidden_input = torch.cat((point, context), 1)
    context = torch.tanh(hidden_input.mm(w1))
    return context.mm(w2), context


def train(W_xh, W_hh, W_hy, series, epochs=300, learning_rate=0.1):
    """Train on the series, one SGD step per point, from NumPy weights (1, H), (H, H) and (H, 1) of the series' dtype.

    Returns the list of the epochs' losses, each the sum of half squared errors over the points, and the final weights
    in the form of the arguments: (W_xh, W_hh, W_hy).
    """
    series = torch.tensor(series).unsqueeze(1)
    x, y = series[:-1], series[1:]
    w1 = torch.tensor(np.concatenate((W_xh, W_hh)), requires_grad=True)
    w2 = torch.tensor(W_hy, requires_grad=True)
    hidden_size = w2.shape[0]

    losses = []
    for _ in range(epochs):
        total_loss = 0.0
        context = torch.zeros((1, hidden_size), dtype=w1.dtype)
        for j in range(x.shape[0]):
            prediction, context = forward(x[j : j + 1], context, w1, w2)
            loss = (prediction - y[j : j + 1]).pow(2).sum() / 2
            total_loss += loss.item()
            loss.backward()
            w1.data -= learning_rate * w1.grad
            w2.data -= learning_rate * w2.grad
            w1.grad.zero_()
            w2.grad.zero_()
            context = context.detach()
        losses.append(total_loss)

    trained = w1.detach().numpy()
    return losses, (trained[:1].copy(), trained[1:].copy(), w2.detach().numpy().copy())


def run(case: Case) -> Prepared:
    epochs = case.options.schedule.epochs
    if case != sine(case.name, 1, epochs=epochs, dtype=case.dtype):
        raise Unsupported("written for the default experiment")
    params, x, target, _ = case.arrays()
    series = np.append(x[:, 0, 0], target[-1, 0, 0])
    call = partial(train, *params[:3], series, epochs, case.learning_rate)
    return Prepared(call, lambda: run_results(*call()))


def tasks(row: str) -> Tasks:
    return {RUN: run}
