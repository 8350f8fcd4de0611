"""Predictions of a trained network, their errors, and the file of results."""

import csv
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.records import NumpyArray, Objective
from numpy_rnn.common.texts import pluralize, some_of

GENERATED = 20  # free-running steps
BAND = (50, 10, 90)  # percentiles of an ensemble


class Curve(NamedTuple):
    """Values of N networks at consecutive times."""

    first: int  # the time of the first ones
    values: NumpyArray  # (n, N, D)

    def of(self, chosen: NumpyArray) -> "Curve":
        """Return the curve of some of the networks, (N,) bool."""
        return self._replace(values=self.values[:, chosen])


def predict(
    rnn: Any, params: Any, experiment: Experiment, objective: Objective
) -> dict[str, Curve]:
    """Predict a series one step ahead, and freely, each value being the next input.

    Parameters
    ----------
    rnn : module
        The package that computes the forward pass.
    params : Parameters
        Of N networks, or of one, as arrays of the package.
    experiment : Experiment
        The series.
    objective : Objective
        Its nonlinearity is used.

    Returns
    -------
    dict of str to Curve
        In units of the series: "predicted", one step ahead; "free-running", after the
        last step that is not held out, as many steps as are held out, or else 20.
    """

    def forward(x: NumpyArray, h: NumpyArray) -> tuple[NumpyArray, NumpyArray]:
        x, h = rnn.from_numpy(x), rnn.from_numpy(h)
        made = rnn.forward(params, x, h, nonlinearity=objective.nonlinearity)
        return rnn.to_numpy(made.y), rnn.to_numpy(made.h)

    def curve(first: int, y: NumpyArray) -> Curve:
        units = y.astype(np.float64) * experiment.deviation + experiment.mean
        return Curve(first, units.reshape(len(y), -1, units.shape[-1]))

    y, h = forward(experiment.x, experiment.h_0)
    border = len(y) - experiment.held_out
    free, last = [y[border - 1 : border]], h[border]
    for _ in range(experiment.held_out or GENERATED):
        made, h = forward(free[-1], last)
        free.append(made)
        last = h[-1]
    return {
        "predicted": curve(2, y),
        "free-running": curve(border + 2, np.concatenate(free[1:])),
    }


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, whose columns are as wide as their longest cell."""
    widths = [max(map(len, column)) + 3 for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = map(str.ljust, row, widths)
        lines.append("".join(cells).rstrip())
    return lines


def error_table(experiment: Experiment, predicted: NumpyArray) -> list[str]:
    """Return the table of the root mean square errors of the network, and of
    persistence, which predicts that nothing changes.

    Parameters
    ----------
    experiment : Experiment
        The series.
    predicted : ndarray, (T, N, D)
        The predictions one step ahead; the median error of the networks is printed.

    Returns
    -------
    list of str
        The lines. The last one says which columns the network does not predict better,
        on the steps that it was trained on.
    """
    border = len(predicted) - experiment.held_out
    parts = {"trained on": slice(border)}
    if experiment.held_out:
        parts["held out"] = slice(border, None)
    errors = predicted - experiment.series[1:, None]
    changes = np.diff(experiment.series, axis=0)[:, None]
    table = [
        ["one step ahead, root mean square error", "network", "persistence baseline"]
    ]
    worse = []
    for what, steps in parts.items():
        network = _root_mean_square(errors[steps])
        persistence = _root_mean_square(changes[steps])
        count = pluralize(len(errors[steps]), "step")
        for name, one, other in zip(experiment.columns, network, persistence):
            head = f"{what}, {count}: {name}"
            table.append([head, f"{one:.6f}", f"{other:.6f}"])
            if what == "trained on" and not one < other:
                worse.append(name)
    lines = format_table(table)
    if worse:
        lines.append(
            f"the network is not better than persistence for {some_of(worse)}: try more"
            " --epochs, or another --learning-rate"
        )
    return lines


def _root_mean_square(errors: NumpyArray) -> NumpyArray:
    """Return the median over networks of errors (T, networks, D)."""
    return np.asarray(np.median(np.sqrt((errors**2).mean(axis=0)), axis=0))


def write_csv(path: str, columns: Sequence[str], curves: Mapping[str, Curve]) -> None:
    """Write losses and predictions, one number per row, in units of the series.

    Parameters
    ----------
    path : str
        The file, which is replaced at once, and only if all is written.
    columns : sequence of str
        The names of the columns of the series.
    curves : mapping of str to Curve
        By their kinds. The times of "loss" are epochs.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    with (
        written_whole(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "time", "column", "network", "value"])
        for kind, curve in curves.items():
            for (t, network, feature), value in np.ndenumerate(curve.values):
                column = "" if kind == "loss" else columns[feature]
                row = [kind, curve.first + t, column, network + 1, value]
                writer.writerow(row)
