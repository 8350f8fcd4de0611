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
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.divergence import Divergence
from numpy_rnn.app.format import column_names, printable
from numpy_rnn.app.storage import save_json, written_whole
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import __version__
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
    activations = rnn.forward(params, rnn.view_of_numpy(x), rnn.from_numpy(h_0), nonlinearity=nonlinearity)
    return rnn.to_numpy(activations.y), rnn.to_numpy(activations.h[-1])


class Result(NamedTuple):
    """What one backend made of it, as NumPy arrays; E is the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E); of a long run some of the epochs, see results.py
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


FORMAT = "elman-results 1"
ENDINGS = (".csv", ".json")
HEAD = ("kind", "epoch", "time", "column", "network", "learning_rate", "value")


def check_ending(path) -> None:
    """Raise InputError where the ending of the file does not say how to write it."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise InputError(f"--output {path}: unknown ending {Path(path).suffix!r}; expected {' or '.join(ENDINGS)}")


def save_results(path, package: str, experiment, configuration, result) -> None:
    """Write the results of a run, whole or not at all, in the form that the ending of `path` names.

    Values are in units of the series. Times count the rows of the series from 1; the predictions are those of the last
    P steps, with the actual values of the same times; free-running values begin after the last row that was trained on.

    .csv: a row per value, with the columns of HEAD; kind is loss, actual, predicted or free-running. An epoch belongs
    to a loss, time and column to the other kinds; network counts from 1, and is there where there are several;
    learning_rate is there in a sweep.

    .json: an object, see `results_of`; a number that is not finite is null.

    Raises InputError when the file cannot be written.
    """
    values = results_of(package, experiment, configuration, result)
    if Path(path).suffix.lower() == ".json":
        save_json(path, values)
        return
    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD)
        writer.writerows(_table(values, experiment.rates))


def results_of(package, experiment, configuration, result) -> dict:
    """What is known of a run by its keys, with arrays in float64; E is the shape of the ensemble, with a sweep's rates
    first and () for a single network.

    format, package, version, series, columns, configuration
    epochs               (N)           from 1; of a run of thousands of epochs, some of them
    losses               (N, *E)
    times                (P)           of actual and predicted
    actual               (P, D)        as they were read
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
    """(network, learning rate, value) of every value of an array of shape E; empty where E has no such axis."""
    of_a_rate, several = values[0].size if rates else values.size, values.ndim > bool(rates)
    for place, value in enumerate(values.ravel().tolist()):
        yield place % of_a_rate + 1 if several else "", rates[place // of_a_rate] if rates else "", value


def _number(value):
    return repr(float(value))
