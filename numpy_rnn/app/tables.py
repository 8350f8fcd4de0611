"""Tables of a run: what is printed, and the file of results."""

import csv
from collections.abc import Sequence

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.predictions import Curve, Result
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.texts import pluralize, printable, some_of

MAX_ROWS = 40  # also of free-running values after the series
MAX_FEATURES = 3
MAX_WIDTH = 24  # characters of a name


def format_number(value: float, width: int = 0, scale: float | None = None) -> str:
    """Write six decimals, or five and an exponent where the scale, or the value, is
    small or large.
    """
    if scale is None:
        scale = abs(value)
    if scale == 0 or 1e-3 <= scale < 1e6:
        return f"{value:{width}.6f}"
    return f"{value:{width}.5e}"


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> list[str]:
    """Return the lines of a table: the header, then the rows.

    Columns are as wide as their widest cell and two spaces apart. The first `left`
    columns are aligned on the left, the others on the right.
    """
    cells = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:left], widths)]
        for cell, width in zip(row[left:], widths[left:]):
            padded.append(cell.rjust(width))
        lines.append("  ".join(padded).rstrip())
    return lines


def series_table(experiment: Experiment, result: Result) -> list[str]:
    """Return lines of the last values by time, of an ensemble the medians, and of the
    first columns.
    """
    T, names = len(experiment.x), experiment.columns
    end = T + len(result.generated) - experiment.held_out
    first, stop = max(0, T - MAX_ROWS), max(T, min(end, T + MAX_ROWS))
    table = {"time": [str(t + 2) for t in range(first, stop)]}
    for feature, name in enumerate(names[:MAX_FEATURES]):
        scale = np.abs(experiment.series[first + 1 :, feature]).max()
        for kind, (begin, values) in result.curves(experiment).items():
            if kind != "actual":
                values = result.band(values)[1]
            cells = {}
            for t, value in enumerate(values[:, feature], begin):
                cells[t] = format_number(value, 0, scale)
            head = _with_column(kind, " ", name, names)
            table[head] = [cells.get(t + 2, "") for t in range(first, stop)]
    lines = format_table(list(table), list(zip(*table.values())), left=0)
    if first > 0:
        lines.insert(1, f"...  ({pluralize(first, 'earlier time')})")
    if end > stop:
        lines.append(f"...  ({pluralize(end - stop, 'later time')})")
    return lines


def _with_column(text: str, mark: str, name: str, names: Sequence[str]) -> str:
    """Return the text, with the name of its column if there are several."""
    if len(names) == 1:
        return text
    return f"{text}{mark}{printable(name, MAX_WIDTH)}"


def error_table(experiment: Experiment, result: Result) -> list[str]:
    """Return lines of the root mean square errors, beside those of persistence.

    The last line says which columns the network does not predict better than that, on
    the steps that it was trained on.
    """
    T, rows, names = len(experiment.x), experiment.series, experiment.columns
    predictions = result.predictions.reshape(T, -1, len(names))
    errors = predictions[:, result.converged().ravel()] - rows[1:, None]
    changes = np.diff(rows, axis=0)[:, None]
    border = T - experiment.held_out
    table, worse = [], []
    parts = {"trained on": slice(border)}
    if experiment.held_out:
        parts["held out"] = slice(border, T)
    for what, steps in parts.items():
        count = len(errors[steps])
        for feature, name in enumerate(names):
            network = _root_mean_square(errors[steps, :, feature])
            persistence = _root_mean_square(changes[steps, :, feature])
            if what == "trained on" and not network < persistence:
                worse.append(printable(name, MAX_WIDTH))
            head = f"{what}, {pluralize(count, 'step')}"
            cells = [format_number(network), format_number(persistence)]
            if feature < MAX_FEATURES:
                table.append([_with_column(head, ", ", name, names), *cells])
    title = "one step ahead, root mean square error"
    lines = format_table([title, "network", "persistence baseline"], table)
    if worse:
        advice = "try more --epochs, another --learning-rate, or the differences"
        said = f"the network is not better than persistence for {some_of(worse)}"
        lines.append(f"{said}: {advice}")
    return lines


def _root_mean_square(errors: np.ndarray) -> float:
    """Return the median over networks of errors (T, networks)."""
    norms = np.hypot.reduce(errors)
    return float(np.median(norms)) / len(errors) ** 0.5


def write_csv(
    path: str,
    experiment: Experiment,
    losses: Sequence[np.ndarray],
    result: Result | None,
) -> None:
    """Write losses and predictions, one number per row, in units of the series."""
    curves = {"loss": Curve(1, np.reshape(losses, (-1, *experiment.networks, 1)))}
    if result is not None:
        curves |= result.curves(experiment)
    with (
        written_whole(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "epoch", "time", "column", "network", "value"])
        for kind, (begin, values) in curves.items():
            for (t, *network, feature), value in np.ndenumerate(values):
                place = ["", str(begin + t), experiment.columns[feature]]
                if kind == "loss":
                    place = [str(begin + t), "", ""]
                number = str(network[0] + 1) if network else ""
                writer.writerow([kind, *place, number, value])
