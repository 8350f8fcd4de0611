"""Tables of a run: what is printed, and the file of results."""

import csv
from collections.abc import Sequence

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.predictions import Result
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import pluralize, printable, some_of

MAX_TIMES = 40  # also of free-running values after the series
MAX_COLUMNS = 3
MAX_WIDTH = 24  # characters of a name


def format_number(value: float, width: int = 0, scale: float | None = None) -> str:
    """Write a number with six decimals, or with five and an exponent.

    Parameters
    ----------
    value : float
        The number.
    width : int
        The least number of characters.
    scale : float, optional
        The size that chooses between the two; |value| by default. An exponent is
        written below 0.001, and from 1,000,000 on.

    Returns
    -------
    str
        The number in characters.
    """
    if scale is None:
        scale = abs(value)
    if scale == 0 or 1e-3 <= scale < 1e6:
        return f"{value:{width}.6f}"
    return f"{value:{width}.5e}"


def format_table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Align the cells of a table.

    Parameters
    ----------
    rows : sequence of rows of str
        The first one is the header.
    left : int
        The first columns, so many, are aligned on the left, the others on the right.

    Returns
    -------
    list of str
        The lines. Columns are as wide as their widest cell, and two spaces apart.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        line = ""
        for n, (cell, width) in enumerate(zip(row, widths)):
            line += f"  {cell:<{width}}" if n < left else f"  {cell:>{width}}"
        lines.append(line[2:].rstrip())
    return lines


def series_table(experiment: Experiment, result: Result) -> list[str]:
    """Return the table of the last values of a series and of its predictions.

    Parameters
    ----------
    experiment : Experiment
        The series.
    result : Result
        The predictions; of an ensemble the medians are printed.

    Returns
    -------
    list of str
        The lines, a time each, with the first columns of the series.
    """
    T = len(experiment.x)
    first = max(0, T - MAX_TIMES)
    times = range(first + 2, T + len(result.generated) - experiment.held_out + 2)
    table = {"time": list(map(str, times))}
    for feature, name in enumerate(_names(experiment)[:MAX_COLUMNS]):
        scale = np.abs(experiment.series[first + 1 :, feature]).max()
        for kind, (begin, values) in result.curves(experiment).items():
            if kind != "actual":
                values = result.band(values)[1][:, None]
            cells = dict.fromkeys(times, "")
            for t, value in enumerate(values[:, 0, feature], begin):
                cells[t] = format_number(value, 0, scale)
            table[kind + name] = [cells[t] for t in times]
    lines = format_table([list(table), *zip(*table.values())], left=0)
    if first > 0:
        lines.insert(1, f"...  ({pluralize(first, 'earlier time')})")
    return lines


def _names(experiment: Experiment) -> list[str]:
    """Return what tells the columns apart; "" for a single one."""
    if len(experiment.columns) == 1:
        return [""]
    return [f" {printable(name, MAX_WIDTH)}" for name in experiment.columns]


def error_table(experiment: Experiment, result: Result) -> list[str]:
    """Return the table of the root mean square errors of the network, and of
    persistence, which predicts that nothing changes.

    Parameters
    ----------
    experiment : Experiment
        The series.
    result : Result
        The predictions.

    Returns
    -------
    list of str
        The lines. The last one says which columns the network does not predict better,
        on the steps that it was trained on.
    """
    T, rows, names = len(experiment.x), experiment.series, _names(experiment)
    errors = result.predictions[:, result.converged()] - rows[1:, None]
    changes = np.diff(rows, axis=0)[:, None]
    border = T - experiment.held_out
    table = [
        ["one step ahead, root mean square error", "network", "persistence baseline"]
    ]
    worse = []
    for what, steps in (("trained on", range(border)), ("held out", range(border, T))):
        for feature, name in enumerate(names if steps else ()):
            network = _root_mean_square(errors[steps, :, feature])
            persistence = _root_mean_square(changes[steps, :, feature])
            if what == "trained on" and not network < persistence:
                worse.append(experiment.columns[feature])
            head = f"{what}, {pluralize(len(steps), 'step')}{name}"
            table.append([head, format_number(network), format_number(persistence)])
    lines = format_table(table)
    if worse:
        said = f"the network is not better than persistence for {some_of(worse)}"
        lines.append(f"{said}: try more --epochs, or another --learning-rate")
    return lines


def _root_mean_square(errors: np.ndarray) -> float:
    """Return the median over networks of errors (T, networks)."""
    norms = np.hypot.reduce(errors)
    return float(np.median(norms)) / len(errors) ** 0.5


def write_csv(
    path: str,
    experiment: Experiment,
    losses: Sequence[NumpyArray],
    result: Result | None,
) -> None:
    """Write losses and predictions, one number per row, in units of the series.

    Parameters
    ----------
    path : str
        The file, which is replaced at once, and only if all is written.
    experiment : Experiment
        The series.
    losses : sequence of ndarray
        Of every epoch, whose number is their time.
    result : Result or None
        The predictions; None of a text.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    networks = experiment.params.networks or 1
    curves = {"loss": (1, np.reshape(losses, (-1, networks, 1)))}
    if result is not None:
        curves |= result.curves(experiment)
    with (
        written_whole(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "time", "column", "network", "value"])
        for kind, (begin, values) in curves.items():
            for (t, network, feature), value in np.ndenumerate(values):
                column = "" if kind == "loss" else experiment.columns[feature]
                writer.writerow([kind, begin + t, column, network + 1, value])
