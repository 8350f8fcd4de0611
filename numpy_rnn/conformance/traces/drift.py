"""Free-running drift: how far two runs part on their own, against how far runs part that start an ulp from each other.

Over thousands of updates no bound means anything: some starting points amplify rounding enormously, by chaos and not by
a fault. So the drift of two backends is judged against the spread of reference runs from the same start, its weights
moved by one unit in the last place, up or down at random.
"""

from typing import NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.app.run import Hooks, run
from numpy_rnn.common.records import Parameters

REFERENCES = 16
# A choice and not a bound. Of numpy_rnn and torch_rnn the ratio was 1.0 at most in 400 random runs of 30 epochs (those
# of `cases.random_run`), and 1.7 in longer ones; a learning rate that is 0.1 % off makes it more than a million.
ALARM = 8.0
FLOOR = 4  # units of roundoff of the loss itself, as the spread may be nothing in the first epochs


class Drift(NamedTuple):
    """By epoch: the largest difference so far of the others from the first loss curve, and of the references'."""

    drift: np.ndarray  # (epochs,)
    spread: np.ndarray  # (epochs,)

    @property
    def ratio(self) -> float:
        """The largest of drift / spread; over ALARM, rounding does not explain the drift."""
        with np.errstate(over="ignore"):
            return float(np.max(self.drift / self.spread, initial=0.0))


def measure(losses, others, experiment, configuration, seed: int = 0) -> Drift:
    """Losses (epochs,) of a run of this experiment, of a single network, and those of other runs of it.

    All references are trained at once, as an ensemble, by numpy_rnn.
    """
    generator = np.random.default_rng(seed)
    params = Parameters(*(None if p is None else _moved(p, generator) for p in experiment.params))
    of_epochs: list[np.ndarray] = []  # of all, where the run itself keeps some of them
    hooks = Hooks(on_epoch=lambda epoch, loss: of_epochs.append(loss))
    run(numpy_rnn, experiment._replace(params=params), configuration, hooks=hooks)
    curves = np.array(of_epochs).reshape(-1, REFERENCES + 1)
    spread = np.abs(curves[:, 1:] - curves[:, :1]).max(axis=1)
    floor = FLOOR * np.finfo(params.W_hh.dtype).eps / 2 * np.abs(curves[:, 0])
    drift = np.abs(np.asarray(losses) - np.asarray(others)).max(axis=0)
    return Drift(np.maximum.accumulate(drift), np.maximum.accumulate(np.maximum(spread, floor)))


def _moved(theta, generator):
    """REFERENCES + 1 copies, the first as it is, in the others every element an ulp up or down."""
    copies = np.repeat(theta[None], REFERENCES + 1, axis=0)
    direction = generator.choice([-np.inf, np.inf], copies[1:].shape).astype(theta.dtype)
    copies[1:] = np.nextafter(copies[1:], direction)
    return copies
