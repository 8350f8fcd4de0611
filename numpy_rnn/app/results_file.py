"""Losses and predictions of a run as a file for other programs: .csv or .json, in full precision."""

import csv
from pathlib import Path

import numpy as np

from numpy_rnn.app.format import column_names, printable
from numpy_rnn.app.storage import save_json, written_whole
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import __version__

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
    epochs               (N)           from 1; of a run of thousands of epochs, some of them, see runs/losses.py
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
