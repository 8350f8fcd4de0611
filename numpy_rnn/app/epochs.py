"""Epochs of a run: the number of their updates, and their losses."""

import numpy as np

from numpy_rnn.common.records import NumpyArray, Run


def updates_per_epoch(run: Run) -> int:
    """Return the number of updates of an epoch of a run, (T1)."""
    return len(range(0, len(run.x), run.options.schedule.k1))


def epoch_losses(losses: NumpyArray, run: Run) -> NumpyArray:
    """Compute the loss of every whole epoch.

    Parameters
    ----------
    losses : ndarray, (n,) or (n, N)
        Of the updates, in order.
    run : Run
        The run that made them.

    Returns
    -------
    ndarray, (epochs,) or (epochs, N)
        The sum of the losses of the updates of an epoch; for the reduction "mean", the
        mean over its points.
    """
    T = len(run.x)
    count = updates_per_epoch(run)
    shares = np.ones(count)
    if run.options.objective.reduction == "mean":
        shares = np.diff([*range(0, T, run.options.schedule.k1), T]) / T
    whole = losses[: len(losses) // count * count]
    epochs = whole.reshape(-1, count, *losses.shape[1:])
    return np.asarray(np.einsum("en...,n->e...", epochs, shares))
