"""The result of a run: its losses, its predictions (one step ahead and free-running), and both as a file.

The memory of the losses does not grow with the number of epochs. All epochs of a short run are kept. Of a longer run,
every second epoch is kept, then every fourth, and so on, and always the first and the last. Which epochs are kept
depends only on their number and on the number of networks, so a run that is interrupted and resumed keeps the same ones
as an uninterrupted run.
"""

import csv
from collections.abc import Callable
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.divergence import Divergence
from numpy_rnn.app.format import column_names
from numpy_rnn.app.storage import save_json, written_whole
from numpy_rnn.common.errors import InputError, printable
from numpy_rnn.common.packages import __version__
from numpy_rnn.common.records import Parameters
from numpy_rnn.loss import softmax

MAX_PREDICTED = 10_000  # steps; the last predictions are kept
MAX_GENERATED = 1_000_000  # free-running steps
STEPS_PER_PASS = 1_000  # of a forward pass


def predict(
    rnn: ModuleType,
    params: Parameters,
    x: np.ndarray,
    h_0: np.ndarray,
    generate: int,
    nonlinearity: str,
    held_out: int = 0,
    check: Callable[[], Any] = lambda: None,
    loss: str = "squared_error",
) -> tuple[np.ndarray, np.ndarray]:
    """One-step-ahead predictions (P, *E, 1, D) of the last P = min(T, MAX_PREDICTED) steps of x; and G = `generate`
    free-running values (G, *E, 1, D) after the last step that is not held out, each fed back as the next input.

    x, h_0: NumPy arrays; params: of the backend. A long series is processed in parts. check: called before every
    forward pass; it may raise an exception to end the computation. loss: with "cross_entropy" the predictions are
    distributions.
    """
    border = len(x) - held_out
    h_0 = h_0 if params.h_0 is None else rnn.to_numpy(params.h_0)
    parts: list[np.ndarray] = []
    first, state = 0, h_0
    while first < len(x):
        check()
        stop = min(first + STEPS_PER_PASS, border if first < border else len(x))
        y, state = _forward(rnn, params, x[first:stop], state, nonlinearity, loss)
        parts.append(y)
        if stop == border:
            last_trained, generated = state, [y[-1:]]
        del parts[: -(MAX_PREDICTED // STEPS_PER_PASS) - 2]
        first = stop
    for _ in range(generate):
        check()
        y, last_trained = _forward(rnn, params, generated[-1], last_trained, nonlinearity, loss)
        generated.append(y)
    return np.concatenate(parts)[-MAX_PREDICTED:], np.concatenate(generated)[1:]


def _forward(rnn, params, x, h_0, nonlinearity, loss):
    activations = rnn.forward(params, rnn.from_numpy(x, copy=False), rnn.from_numpy(h_0), nonlinearity=nonlinearity)
    y = rnn.to_numpy(activations.y)
    return softmax(y) if loss == "cross_entropy" else y, rnn.to_numpy(activations.h[-1])


class Result(NamedTuple):
    """The result of a run with one backend, as NumPy arrays. E: the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E); some of the epochs of a long run
    params: Parameters  # of networks that diverged, the last finite ones
    predictions: np.ndarray  # (P, *E, 1, D)  one step ahead, with the final weights
    generated: np.ndarray  # (G, *E, 1, D)  free-running, after the last training step
    diverged: tuple[Divergence, ...] = ()
    epochs: np.ndarray | None = None  # (epochs,) of the losses, from 1; None: all

    def epochs_of_losses(self) -> np.ndarray:
        """The epochs of the losses, from 1."""
        return np.arange(1, len(self.losses) + 1) if self.epochs is None else self.epochs

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are all finite."""
        good = np.array(np.isfinite(self.losses).all(axis=0) & np.isfinite(self.predictions).all(axis=(0, -2, -1)))
        good.reshape(-1)[[divergence.network for divergence in self.diverged]] = False
        return good

    def best_rate(self) -> int:
        """The index of the learning rate of a sweep (first axis of E) with the lowest median loss in the last epoch.

        Networks that diverged are left out. If nothing was trained, or all networks diverged, 0.
        """
        converged = self.converged()
        last = self.losses[-1] if len(self.losses) else np.zeros(converged.shape)
        medians = [np.median(of[kept]) if kept.any() else np.inf for of, kept in zip(last, converged)]
        return int(np.argmin(medians))

    def of_rate(self, rate: int) -> "Result":
        """The result of the networks with one learning rate of a sweep."""
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


MAX_EPOCHS = 10_000  # kept of one network
MAX_LOSSES = 2**20  # kept of an ensemble,
MIN_EPOCHS = 64  # but at least so many epochs


def max_epochs(networks: int) -> int:
    """How many epochs are kept at most, besides the first and the last."""
    return max(MIN_EPOCHS, min(MAX_EPOCHS, MAX_LOSSES // networks))


def stride(done: int, networks: int) -> int:
    """The distance between the epochs that are kept: the smallest power of two that keeps at most `max_epochs`."""
    most, step = max_epochs(networks), 1
    while done // step > most:
        step *= 2
    return step


def kept_epochs(done: int, networks: int) -> tuple[int, ...]:
    """The epochs, from 1 in ascending order, whose losses are kept after `done` epochs."""
    step = stride(done, networks)
    return tuple(sorted({*range(step, done + 1, step), *((1, done) if done else ())}))


class Losses:
    """The losses of the finished epochs, as far as they are kept."""

    def __init__(self, E, epochs=(), rows=()):
        """E: the shape of the ensemble. epochs: those kept so far. rows: their losses, (*E) float64 each."""
        self.E, self.networks, self.done = tuple(E), prod(E), epochs[-1] if epochs else 0
        self._rows = dict(zip(epochs, rows, strict=True))
        self._stride = stride(self.done, self.networks)

    def append(self, loss) -> None:
        """Add the loss (*E) of the next epoch."""
        if not self._is_kept(self.done):  # it was kept only as the last one
            self._rows.pop(self.done, None)
        self.done += 1
        if self.done // self._stride > max_epochs(self.networks):
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
        """The epochs that are kept, in ascending order."""
        return tuple(self._rows)

    def array(self) -> np.ndarray:
        """The losses of these epochs, (rows, *E) float64."""
        return np.array(list(self._rows.values()), np.float64).reshape(-1, *self.E)


KEPT = 0.999  # of the smoothed loss, at each update


def loss_at_random(size: int, configuration: Configuration) -> float:
    """The loss of an update whose every output gives all characters the same probability."""
    return np.log(size) * (configuration.k1 if configuration.reduction == "sum" else 1)


def initial_smoothed(experiment: Any, configuration: Configuration) -> np.ndarray | None:
    """The smoothed loss of a run on a text, shape E, before its first update; None of another run."""
    alphabet, E = experiment.alphabet, experiment.params.W_hh.shape[:-2]
    return None if alphabet is None else np.full(E, loss_at_random(len(alphabet), configuration))


def smoothed_losses(before: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The smoothed loss after each update, as in min-char-rnn: 0.999 times the one before, and 0.001 of the loss."""
    smoothed = []
    for loss in losses:
        before = before * KEPT + loss * (1 - KEPT)
        smoothed.append(before)
    return np.stack(smoothed)


FORMAT = "elman-results 1"
ENDINGS = (".csv", ".json")
HEAD = ("kind", "epoch", "time", "column", "network", "learning_rate", "value")


def check_ending(path: str) -> None:
    """Raise InputError if the ending of the file is not that of a known format."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise InputError(f"--output {path}: unknown ending {Path(path).suffix!r}; expected {' or '.join(ENDINGS)}")


def save_results(path: str, package: str, experiment: Any, configuration: Configuration, result: Result) -> None:
    """Write the results of a run, completely or not at all, in the format of the ending of `path`.

    Values are in units of the series. Times count the rows of the series from 1. Predictions are those of the last P
    steps, with the actual values of the same times. Free-running values begin after the last training row.

    .csv: one row per value, with the columns of HEAD; kind is loss, actual, predicted or free-running. A loss has an
    epoch, the other kinds have a time and a column. network counts from 1 if there are several; learning_rate is given
    in a sweep.

    .json: an object, see `results_of`; NaN and infinity are null.

    Raises InputError if the file cannot be written.
    """
    values = results_of(package, experiment, configuration, result)
    if Path(path).suffix.lower() == ".json":
        save_json(path, values)
        return
    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(_table(values, experiment.rates))


def results_of(package: str, experiment: Any, configuration: Configuration, result: Result) -> dict[str, Any]:
    """The results of a run by name, with arrays in float64. E: the shape of the ensemble, with the rates of a sweep
    first; () for a single network.

    format, package, version, series, columns, configuration
    epochs               (N)           from 1; some of them in a run of many thousand
    losses               (N, *E)
    times                (P)           of actual and predicted
    actual               (P, D)        as read
    predicted            (P, *E, D)    one step ahead
    free_running_times   (G)
    free_running         (G, *E, D)
    """
    T, P = len(experiment.x), len(result.predictions)
    first = T + 2 - experiment.held_out
    in_units = np.float64 if experiment.scaling is None else experiment.scaling.original
    return {
        "format": FORMAT,
        "package": package,
        "version": __version__,
        "series": printable(experiment.name),
        "columns": column_names(experiment),
        "configuration": configuration.to_dict(),
        "epochs": result.epochs_of_losses(),
        "losses": result.losses,
        "times": np.arange(T + 2 - P, T + 2),
        "actual": experiment.rows(T + 1 - P),
        "predicted": in_units(result.predictions[..., 0, :]),
        "free_running_times": np.arange(first, first + len(result.generated)),
        "free_running": in_units(result.generated[..., 0, :]),
    }


def _table(values, rates):
    """The rows below HEAD."""
    for epoch, losses in zip(values["epochs"].tolist(), values["losses"]):
        for network, rate, loss in _networks(losses, rates):
            yield "loss", epoch, "", "", network, rate, _number(loss)
    for kind, times, rows in (
        ("actual", values["times"], values["actual"]),
        ("predicted", values["times"], values["predicted"]),
        ("free-running", values["free_running_times"], values["free_running"]),
    ):
        for time, row in zip(times.tolist(), rows):
            for column, of_column in zip(values["columns"], np.moveaxis(row, -1, 0)):
                for network, rate, value in _networks(of_column, () if kind == "actual" else rates):
                    yield kind, "", time, column, network, rate, _number(value)


def _networks(values, rates):
    """(network, learning rate, value) for every value of an array of shape E; "" if E has no such axis."""
    of_a_rate, several = values[0].size if rates else values.size, values.ndim > bool(rates)
    for place, value in enumerate(values.ravel().tolist()):
        yield place % of_a_rate + 1 if several else "", rates[place // of_a_rate] if rates else "", value


def _number(value):
    return repr(float(value))
