"""The result of a run: its losses, its predictions (one step ahead and free-running), and both as a file."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.records import Objective, Parameters
from numpy_rnn.loss import softmax

MAX_PREDICTED = 10_000  # steps; the last predictions are kept
STEPS_PER_PASS = 1_000  # of a forward pass
BAND = (10, 50, 90)  # percentiles of an ensemble


def predict(
    rnn: Any, params: Parameters, experiment: Experiment, objective: Objective, generate: int
) -> tuple[np.ndarray, np.ndarray]:
    """One-step-ahead predictions (P, *E, D) of the last P = min(T, MAX_PREDICTED) steps; and `generate` free-running
    values (G, *E, D) after the last step that is not held out, each fed back as the next input; in units of the series.

    params: NumPy arrays. With the cross-entropy the predictions are distributions. A long series is processed in parts.
    """
    theta = rnn.from_numpy(params)
    state = experiment.h_0 if params.h_0 is None else params.h_0
    border = len(experiment.x) - experiment.held_out
    T, parts = len(experiment.x), list[np.ndarray]()
    starts = [*range(0, border, STEPS_PER_PASS), *range(border, T, STEPS_PER_PASS)]
    for first, stop in pairwise([*starts, T]):
        y, state = _forward(rnn, theta, experiment.x[first:stop], state, objective)
        parts = [*parts, y][-(MAX_PREDICTED // STEPS_PER_PASS) - 2 :]
        if stop == border:
            last_trained, generated = state, [y[-1:]]
    for _ in range(generate):
        y, last_trained = _forward(rnn, theta, generated[-1], last_trained, objective)
        generated.append(y)
    one, free = np.concatenate(parts)[-MAX_PREDICTED:], np.concatenate(generated)[1:]
    return experiment.original(one[..., 0, :]), experiment.original(free[..., 0, :])


def _forward(
    rnn: Any, theta: Any, x: np.ndarray, h_0: np.ndarray, objective: Objective
) -> tuple[np.ndarray, np.ndarray]:
    """The predictions of one pass over x, and the last hidden state."""
    x, h_0 = rnn.from_numpy(x, copy=False), rnn.from_numpy(h_0)
    activations = rnn.forward(theta, x, h_0, nonlinearity=objective.nonlinearity)
    y = rnn.to_numpy(activations.y)
    return softmax(y) if objective.loss == "cross_entropy" else y, rnn.to_numpy(activations.h[-1])


class Result(NamedTuple):
    """The result of a run with one backend, as NumPy arrays. E: the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E)
    predictions: (
        np.ndarray
    )  # (P, *E, D)  one step ahead, with the final weights, in units of the series
    generated: (
        np.ndarray
    )  # (G, *E, D)  free-running, after the last training step, in units of the series

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are all finite."""
        return np.asarray(
            np.isfinite(self.losses).all(axis=0) & np.isfinite(self.predictions).all(axis=(0, -1))
        )


def band(values: np.ndarray, networks: np.ndarray) -> np.ndarray:
    """10th percentile, median, 90th percentile over some networks, booleans (*E): (N, *E, ...) → (3, N, ...)."""
    chosen = values[:, networks]
    if chosen.shape[1] == 1:  # np.percentile takes time, and imports numpy.ma
        return np.repeat(chosen[None, :, 0], len(BAND), axis=0)
    with np.errstate(invalid="ignore"):
        return np.percentile(chosen, BAND, axis=1)


HEAD = ("kind", "epoch", "time", "column", "network", "value")


def save_results(path: str, rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of the columns HEAD as .csv. Raises InputError if the file cannot be written."""
    import csv  # only for such a file

    with (
        written_whole(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


def loss_rows(losses: np.ndarray) -> Iterator[Sequence[Any]]:
    """Rows of the losses (epochs, *E)."""
    for epoch, networks in enumerate(losses, start=1):
        yield from _rows(("loss", epoch, "", ""), networks)


def predicted_rows(experiment: Experiment, result: Result) -> Iterator[Sequence[Any]]:
    """Rows of the actual values, as read, and of the predicted and free-running ones."""
    T, P = len(experiment.x), len(result.predictions)
    for kind, first, values in (
        ("actual", T + 2 - P, experiment.rows(T + 1 - P)),
        ("predicted", T + 2 - P, result.predictions),
        ("free-running", T + 2 - experiment.held_out, result.generated),
    ):
        for time, row in enumerate(values, start=first):
            for column, networks in zip(experiment.column_names, np.moveaxis(row, -1, 0)):
                yield from _rows((kind, "", time, column), networks)


def _rows(head: Sequence[Any], networks: np.ndarray) -> Iterator[Sequence[Any]]:
    for n, value in enumerate(np.ravel(networks).tolist(), start=1):
        yield *head, n if np.ndim(networks) else "", value
