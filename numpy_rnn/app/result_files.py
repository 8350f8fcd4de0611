"""Files of results, as CSV with decimal points: predictions and losses."""

import csv
from collections.abc import Iterable, Sequence

import numpy as np

from numpy_rnn.app.forecast import Predictions
from numpy_rnn.app.series import Series
from numpy_rnn.app.training import band_of
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import printable

DIGITS = 9  # which float32 needs


def write_predictions(
    path: str, series: Series, predictions: Predictions, trained: str = "trained"
) -> str:
    """Write the predictions of a series, a row for each time.

    Parameters
    ----------
    path : str
        The path of the file.
    series : Series
        The series.
    predictions : Predictions
        Those of one network, or of an ensemble, of which the median and the 10th and
        90th percentile are written.
    trained : str
        The part of the rows that are not held out.

    Returns
    -------
    str
        A line that says so.
    """
    is_ensemble = predictions.one_step.shape[1] > 1
    names = [series.times.name, "part"]
    for target in series.target_columns:
        names += [f"actual {target}", f"predicted {target}"]
        if is_ensemble:
            names += [f"10 % {target}", f"90 % {target}"]
    bands = band_of(np.concatenate([predictions.one_step, predictions.forecast]))
    later = series.times.followed_by(len(predictions.forecast))
    rows = []
    for n, label in enumerate([*series.times.labels, *later.labels]):
        row = [label, part_of(series, n, trained)]
        for index in range(len(series.target_columns)):
            actual = n <= series.steps
            row.append(repr(float(series.targets[n, index])) if actual else "")
            for values in bands if is_ensemble else bands[:1]:
                # The first row has nothing before it that predicts it.
                row.append(number_text(values[n - 1, index]) if n else "")
        rows.append(row)
    write_rows(path, names, rows)
    return f"predictions saved to {printable(path)}"


def part_of(series: Series, n: int, trained: str) -> str:
    """Return the part of row n, from 0."""
    if n > series.steps:
        return "forecast"
    return trained if n <= series.border else "held out"


def write_losses(path: str, losses: NumpyArray, held_out: NumpyArray) -> str:
    """Write the losses of epochs, (epochs, N), and those of what is held out, if
    anything is; of an ensemble medians and percentiles. Return a line that says so.
    """
    names = ["epoch"]
    columns = []
    for kind, values in (("training", losses), ("held-out", held_out)):
        if not len(values):
            continue
        names.append(f"{kind} loss")
        bands = band_of(values[..., None])[..., 0]
        columns.append(bands[0])
        if values.shape[1] > 1:
            names += [f"{kind} 10 %", f"{kind} 90 %"]
            columns += [bands[1], bands[2]]
    rows = []
    for epoch, numbers in enumerate(zip(*columns), start=1):
        rows.append([str(epoch), *map(number_text, numbers)])
    write_rows(path, names, rows)
    return f"losses saved to {printable(path)}"


def number_text(value: float) -> str:
    """Return a number with as many digits as float32 has."""
    return f"{value:.{DIGITS}g}"


def write_rows(path: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table with a header. A file is replaced at once, and only if all is
    written.
    """
    with (
        written_whole(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
