"""What a trained network predicts: one step ahead, and running freely."""

from collections.abc import Callable
from typing import Any

import numpy as np

MOST_PREDICTED = 10_000  # steps whose predictions are kept, the last ones
MOST_GENERATED = 1_000_000  # free-running steps
AT_ONCE = 1_000  # steps of a forward pass


def predict(rnn, params, x, h_0, generate, nonlinearity, held_out=0, check: Callable[[], Any] = lambda: None):
    """One-step-ahead predictions, (P, *E, 1, D), over the last P = min(T, MOST_PREDICTED) steps of x; and `generate`
    values, (G, *E, 1, D), that follow the last step which is not held out, each fed back as the next input.

    x, h_0: NumPy arrays; params: of the backend. A long series is passed through in parts. check: is called before
    every forward pass, and may raise an exception to end the computation.
    """
    border = len(x) - held_out
    h_0 = h_0 if params.h_0 is None else rnn.to_numpy(params.h_0)
    parts: list[np.ndarray] = []
    first, state = 0, h_0
    while first < len(x):
        check()
        stop = min(first + AT_ONCE, border if first < border else len(x))
        y, state = _forward(rnn, params, x[first:stop], state, nonlinearity)
        parts.append(y)
        if stop == border:
            last_trained, generated = state, [y[-1:]]
        del parts[: -(MOST_PREDICTED // AT_ONCE) - 2]
        first = stop
    for _ in range(generate):
        check()
        y, last_trained = _forward(rnn, params, generated[-1], last_trained, nonlinearity)
        generated.append(y)
    return np.concatenate(parts)[-MOST_PREDICTED:], np.concatenate(generated)[1:]


def _forward(rnn, params, x, h_0, nonlinearity):
    activations = rnn.forward(params, rnn.view_of_numpy(x), rnn.from_numpy(h_0), nonlinearity=nonlinearity)
    return rnn.to_numpy(activations.y), rnn.to_numpy(activations.h[-1])
