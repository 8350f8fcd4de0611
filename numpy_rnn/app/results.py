"""The result of a run: its losses, its predictions (one step ahead and free-running), and both as a file."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.files import save_json, written_whole
from numpy_rnn.common.packages import __version__
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
    predictions: np.ndarray  # (P, *E, D)  one step ahead, with the final weights, in units of the series
    generated: np.ndarray  # (G, *E, D)  free-running, after the last training step, in units of the series

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are all finite."""
        return np.asarray(np.isfinite(self.losses).all(axis=0) & np.isfinite(self.predictions).all(axis=(0, -1)))

    def best_network(self) -> int:
        """The index of the network with the lowest loss in the last epoch, of those that converged; 0 if none did."""
        last = self.losses[-1] if len(self.losses) else 0
        return int(np.where(self.converged(), last, np.inf).argmin())

    def network(self, number: int) -> "Result":
        """The result of one network of an ensemble with one axis."""
        return Result(self.losses[:, number], self.predictions[:, number], self.generated[:, number])


def band(values: np.ndarray, networks: np.ndarray) -> np.ndarray:
    """10th percentile, median and 90th percentile over the chosen networks: (N, *E, ...) → (3, N, ...).

    networks: booleans of shape E.
    """
    chosen = values[:, networks]
    if chosen.shape[1] == 1:  # np.percentile takes time, and imports numpy.ma
        return np.repeat(chosen[None, :, 0], len(BAND), axis=0)
    with np.errstate(invalid="ignore"):
        return np.percentile(chosen, BAND, axis=1)


# -- files ----------------------------------------------------------------------------------------------------------

ENDINGS = (".csv", ".json")
HEAD = ("kind", "epoch", "time", "column", "network", "learning_rate", "value")


def save_results(path: str, package: str, experiment: Experiment, configuration: Configuration, result: Result) -> None:
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
        "columns": experiment.column_names,
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
    if path.lower().endswith(".json"):
        save_json(path, values)
        return
    import csv  # only for such a file

    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEAD, *rows])


def _table(values: dict[str, Any], rates: tuple[float, ...]) -> Iterator[tuple[Any, ...]]:
    """The rows of the table of a run: of a sweep with the learning rate, of another ensemble with the network."""

    def networks(row: np.ndarray) -> Iterator[tuple[Any, Any, float]]:
        for n, value in enumerate(row.ravel().tolist()):
            has_rate = bool(rates) and row.ndim > 0
            yield n + 1 if row.ndim and not has_rate else "", rates[n] if has_rate else "", value

    for epoch, losses in zip(values["epochs"].tolist(), values["losses"]):
        yield from (("loss", epoch, "", "", *rest) for rest in networks(losses))
    for kind, times, rows in (
        ("actual", values["times"], values["actual"]),
        ("predicted", values["times"], values["predicted"]),
        ("free-running", values["free_running_times"], values["free_running"]),
    ):
        for time, row in zip(times.tolist(), rows):
            for column, column_values in zip(values["columns"], np.moveaxis(row, -1, 0)):
                yield from ((kind, "", time, column, *rest) for rest in networks(column_values))
