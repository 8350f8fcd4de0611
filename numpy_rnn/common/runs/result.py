"""What came out of a run."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.common.runs.divergence import Divergence


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
