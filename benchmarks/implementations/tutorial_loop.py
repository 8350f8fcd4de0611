"""The usual PyTorch tutorial program for the sine wave.

Input and context are concatenated, with one 7×6 weight for both; `.data` is updated in
a Python loop over the points, and gradients are zeroed by hand. It uses neither
package.
"""

from functools import partial

import numpy as np
import torch

from benchmarks.cases import Case
from benchmarks.implementations import Call, Unsupported


def predict_point(point, context, w1, w2):
    """One point (1, 1) and the context (1, H) to the prediction (1, 1) and the next
    context.
    """
    hidden_input = torch.cat((point, context), 1)
    context = torch.tanh(hidden_input.mm(w1))
    return context.mm(w2), context


def train_tutorial(W_xh, W_hh, W_hy, series, epochs=300, learning_rate=0.1):
    """Return the losses of all points, and the weights (1, H), (H, H) and (H, 1) after
    the last step.
    """
    series = torch.tensor(series).unsqueeze(1)
    x, y = series[:-1], series[1:]
    w1 = torch.tensor(np.concatenate((W_xh, W_hh)), requires_grad=True)
    w2 = torch.tensor(W_hy, requires_grad=True)
    hidden_size = w2.shape[0]

    losses = []
    for _ in range(epochs):
        context = torch.zeros((1, hidden_size), dtype=w1.dtype)
        for j in range(x.shape[0]):
            prediction, context = predict_point(x[j : j + 1], context, w1, w2)
            loss = (prediction - y[j : j + 1]).pow(2).sum() / 2
            losses.append(loss.item())
            loss.backward()
            w1.data -= learning_rate * w1.grad
            w2.data -= learning_rate * w2.grad
            w1.grad.zero_()
            w2.grad.zero_()
            context = context.detach()

    trained = w1.detach().numpy()
    return losses, (trained[:1].copy(), trained[1:].copy(), w2.detach().numpy().copy())


def prepare(case: Case) -> Call:
    """Return a call that trains on the sine wave, one point at a time."""
    _, k2, epochs = case.options.schedule
    if not case.is_sine_wave or case.networks or k2 > 1:
        raise Unsupported("written for the default experiment")
    (W_xh, W_hh, W_hy, *_), x, target, _ = case.arrays()
    series = np.append(x[:, 0, 0], target[-1, 0, 0])
    return partial(
        train_tutorial,
        W_xh,
        W_hh,
        W_hy,
        series,
        epochs,
        case.options.step.learning_rate,
    )
