"""The losses of the epochs of a run, in memory that does not grow with the number of epochs.

All epochs are kept of a run that is not too long. Of a longer one, every second epoch is kept, then every fourth, and
so on, and always the first and the last. Which epochs these are depends on their number and on the number of networks
alone, so that a run that is interrupted and resumed keeps the same ones as a run that is not.
"""

from math import prod

import numpy as np

MOST_EPOCHS = 10_000  # that are kept of one network
MOST_NUMBERS = 2**20  # losses that are kept of an ensemble,
LEAST_EPOCHS = 64  # but no fewer epochs than these


def most_epochs(networks: int) -> int:
    """How many epochs are kept at most, but for the first and the last."""
    return max(LEAST_EPOCHS, min(MOST_EPOCHS, MOST_NUMBERS // networks))


def stride(done: int, networks: int) -> int:
    """The smallest power of two of whose multiples up to `done` no more than `most_epochs` are kept."""
    most, step = most_epochs(networks), 1
    while done // step > most:
        step *= 2
    return step


def kept_epochs(done: int, networks: int) -> tuple[int, ...]:
    """The epochs, from 1 in rising order, whose losses are kept after `done` epochs."""
    step = stride(done, networks)
    return tuple(sorted({*range(step, done + 1, step), *((1, done) if done else ())}))


class Losses:
    """The losses that are kept of the epochs that are done."""

    def __init__(self, E, epochs=(), rows=()):
        """E: the shape of the ensemble; epochs: those that are kept so far; rows: their losses, (*E) float64 each."""
        self.E, self.networks, self.done = tuple(E), prod(E), epochs[-1] if epochs else 0
        self._rows = dict(zip(epochs, rows, strict=True))
        self._stride = stride(self.done, self.networks)

    def append(self, loss) -> None:
        """Add the loss (*E) of the next epoch."""
        if not self._is_kept(self.done):  # it was the last one until now
            self._rows.pop(self.done, None)
        self.done += 1
        if self.done // self._stride > most_epochs(self.networks):
            self._stride *= 2
            self._rows = {epoch: row for epoch, row in self._rows.items() if self._is_kept(epoch)}
        self._rows[self.done] = loss

    def _is_kept(self, epoch):
        return epoch == 1 or epoch % self._stride == 0

    @property
    def latest(self) -> np.ndarray:
        """The loss of the last epoch, (*E)."""
        return self._rows[self.done]

    @property
    def epochs(self) -> tuple[int, ...]:
        """The epochs that are kept, in rising order."""
        return tuple(self._rows)

    def array(self) -> np.ndarray:
        """Their losses, (rows, *E) float64."""
        return np.array(list(self._rows.values()), np.float64).reshape(-1, *self.E)
