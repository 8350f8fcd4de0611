"""The result of a run: its losses, its predictions (one step ahead and free-running), and both as a file."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from numpy_rnn.app.format import column_names
from numpy_rnn.common.files import save_json, written_whole
from numpy_rnn.common.packages import __version__
from numpy_rnn.common.records import Objective, Parameters
from numpy_rnn.loss import softmax

if TYPE_CHECKING:
    from numpy_rnn.app.configuration import Configuration
    from numpy_rnn.app.experiment import Experiment

MAX_PREDICTED = 10_000  # steps; the last predictions are kept
STEPS_PER_PASS = 1_000  # of a forward pass
BAND = (10, 50, 90)  # percentiles of an ensemble


def predict(
    rnn: Any, params: Parameters, experiment: "Experiment", objective: Objective, generate: int
) -> tuple[np.ndarray, np.ndarray]:
    """One-step-ahead predictions (P, *E, D) of the last P = min(T, MAX_PREDICTED) steps; and `generate` free-running
    values (G, *E, D) after the last step that is not held out, each fed back as the next input; in units of the series.

    params: NumPy arrays. With the cross-entropy the predictions are distributions. A long series is processed in parts.
    """
    theta = rnn.from_numpy(params)
    state = experiment.h_0 if params.h_0 is None else params.h_0
    border = len(experiment.x) - experiment.held_out
    parts: list[np.ndarray] = []
    first = 0
    while first < len(experiment.x):
        stop = min(first + STEPS_PER_PASS, border if first < border else len(experiment.x))
        y, state = _forward(rnn, theta, experiment.x[first:stop], state, objective)
        parts.append(y)
        if stop == border:
            last_trained, generated = state, [y[-1:]]
        del parts[: -(MAX_PREDICTED // STEPS_PER_PASS) - 2]
        first = stop
    for _ in range(generate):
        y, last_trained = _forward(rnn, theta, generated[-1], last_trained, objective)
        generated.append(y)
    predictions = np.concatenate(parts)[-MAX_PREDICTED:], np.concatenate(generated)[1:]
    one, free = (experiment.original(values[..., 0, :]) for values in predictions)
    return one, free


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
    params: Parameters  # of networks that diverged, finite ones from before
    predictions: np.ndarray  # (P, *E, D)  one step ahead, with the final weights, in units of the series
    generated: np.ndarray  # (G, *E, D)  free-running, after the last training step, in units of the series
    diverged: np.ndarray | None = None  # *E, the networks that diverged during the training

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are all finite."""
        finite = np.isfinite(self.losses).all(axis=0) & np.isfinite(self.predictions).all(axis=(0, -1))
        return np.asarray(finite if self.diverged is None else finite & ~self.diverged)

    def best_rate(self) -> int:
        """The index of the learning rate of a sweep (first axis of E) with the lowest median loss in the last epoch.

        Networks that diverged are left out. If nothing was trained, or all networks diverged, 0.
        """
        converged = self.converged()
        last = self.losses[-1] if len(self.losses) else np.zeros(converged.shape)
        medians = [np.median(losses[kept]) if kept.any() else np.inf for losses, kept in zip(last, converged)]
        return int(np.argmin(medians))

    def at_rate(self, rate: int) -> "Result":
        """The result of the networks with one learning rate of a sweep."""
        return Result(
            self.losses[:, rate],
            Parameters(*(None if theta is None else theta[rate] for theta in self.params)),
            self.predictions[:, rate],
            self.generated[:, rate],
            None if self.diverged is None else self.diverged[rate],
        )


def band(values: np.ndarray, networks: np.ndarray) -> np.ndarray:
    """10th percentile, median and 90th percentile over the chosen networks: (N, *E, ...) → (3, N, ...).

    networks: booleans of shape E.
    """
    with np.errstate(invalid="ignore"):
        return np.percentile(values[:, networks], BAND, axis=1)


# -- files ----------------------------------------------------------------------------------------------------------

ENDINGS = (".csv", ".json")
HEAD = ("kind", "epoch", "time", "column", "network", "learning_rate", "value")


def save_results(
    path: str, package: str, experiment: "Experiment", configuration: "Configuration", result: Result
) -> None:
    """Write the results of a run in the format of the ending of `path`; `python -m numpy_rnn --help` describes both.

    Raises InputError if the file cannot be written.
    """
    T, P = len(experiment.x), len(result.predictions)
    first = T + 2 - experiment.held_out
    values = {
        "format": "elman-results 1",
        "package": package,
        "version": __version__,
        "series": experiment.name,
        "columns": column_names(experiment),
        "configuration": configuration.to_dict(),
        "epochs": np.arange(1, len(result.losses) + 1),  # (N)
        "losses": result.losses,  # (N, *E)
        "times": np.arange(T + 2 - P, T + 2),  # (P) of actual and predicted
        "actual": experiment.rows(T + 1 - P),  # (P, D) as read
        "predicted": result.predictions,  # (P, *E, D)
        "free_running_times": np.arange(first, first + len(result.generated)),  # (G)
        "free_running": result.generated,  # (G, *E, D)
    }
    write_results(path, values, _table(values, experiment.rates))


def write_results(path: str, values: dict[str, Any], rows: Iterable[tuple[Any, ...]]) -> None:
    """Write the values as .json, or the rows, with the columns of HEAD, as .csv. Raises InputError if that fails."""
    if Path(path).suffix.lower() == ".json":
        save_json(path, values)
        return
    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(rows)


def _table(values: dict[str, Any], rates: tuple[float, ...]) -> Iterator[tuple[Any, ...]]:
    """The rows of the table of a run."""
    for epoch, losses in zip(values["epochs"].tolist(), values["losses"]):
        for network, rate, loss in _networks(losses, rates):
            yield "loss", epoch, "", "", network, rate, loss
    for kind, times, rows in (
        ("actual", values["times"], values["actual"]),
        ("predicted", values["times"], values["predicted"]),
        ("free-running", values["free_running_times"], values["free_running"]),
    ):
        for time, row in zip(times.tolist(), rows):
            for column, column_values in zip(values["columns"], np.moveaxis(row, -1, 0)):
                for network, rate, value in _networks(column_values, () if kind == "actual" else rates):
                    yield kind, "", time, column, network, rate, value


def _networks(values: np.ndarray, rates: tuple[float, ...]) -> Iterator[tuple[Any, Any, float]]:
    """(network, learning rate, value) for every value of an array of shape E; "" if E has no such axis."""
    per_rate, has_several = values[0].size if rates else values.size, values.ndim > bool(rates)
    for place, value in enumerate(values.ravel().tolist()):
        yield place % per_rate + 1 if has_several else "", rates[place // per_rate] if rates else "", value
