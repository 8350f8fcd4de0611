"""The file of results: losses and predictions, as .csv."""

import csv
from collections.abc import Mapping, Sequence

import numpy as np

from numpy_rnn.app.predictions import Curve
from numpy_rnn.common.files import written_whole


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
