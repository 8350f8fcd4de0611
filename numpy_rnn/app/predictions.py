"""What a trained network predicts, one step ahead and free-running, and the result of a run."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.divergence import Divergence
from numpy_rnn.common.records import Parameters

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
    activations = rnn.forward(params, rnn.from_numpy(x, copy=False), rnn.from_numpy(h_0), nonlinearity=nonlinearity)
    return rnn.to_numpy(activations.y), rnn.to_numpy(activations.h[-1])


class Result(NamedTuple):
    """What one backend made of it, as NumPy arrays; E is the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E); of a long run some of the epochs, see losses.py
    params: Parameters  # of a network that diverged, the last finite ones
    predictions: np.ndarray  # (P, *E, 1, D)  one step ahead, with the final weights, of the last P steps
    generated: np.ndarray  # (G, *E, 1, D)  what follows the last trained step, each fed back as the next input
    diverged: tuple[Divergence, ...] = ()
    epochs: np.ndarray | None = None  # (epochs,) those of the losses, from 1; None: all

    def epochs_of_losses(self) -> np.ndarray:
        """The epochs of the losses, from 1, as many as there are losses."""
        return np.arange(1, len(self.losses) + 1) if self.epochs is None else self.epochs

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are all finite."""
        good = np.array(np.isfinite(self.losses).all(axis=0) & np.isfinite(self.predictions).all(axis=(0, -2, -1)))
        good.reshape(-1)[[divergence.network for divergence in self.diverged]] = False
        return good

    def best_rate(self) -> int:
        """Of a sweep, whose first axis of E is its rates': the rate with the lowest median loss in the last epoch.

        Networks that diverged are left out. Where nothing was trained, or nothing is left, the first rate.
        """
        converged = self.converged()
        last = self.losses[-1] if len(self.losses) else np.zeros(converged.shape)
        medians = [np.median(of[kept]) if kept.any() else np.inf for of, kept in zip(last, converged)]
        return int(np.argmin(medians))

    def of_rate(self, rate: int) -> "Result":
        """What came out for the networks of one rate of a sweep."""
        networks = self.converged()[rate].size
        diverged = (d for d in self.diverged if d.network // networks == rate)
        return Result(
            self.losses[:, rate],
            Parameters(*(None if theta is None else theta[rate] for theta in self.params)),
            self.predictions[:, rate],
            self.generated[:, rate],
            tuple(d._replace(network=d.network % networks, of=networks) for d in diverged),
            self.epochs,
        )
