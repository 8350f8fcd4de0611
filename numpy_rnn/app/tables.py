"""Tables that commands print."""

from collections.abc import Sequence

import numpy as np

from numpy_rnn.app.data import Series
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import pluralize, some_of


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, whose columns are as wide as their longest cell."""
    widths = [max(map(len, column)) + 3 for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = map(str.ljust, row, widths)
        lines.append("".join(cells).rstrip())
    return lines


def error_table(series: Series, predicted: NumpyArray) -> list[str]:
    """Return the table of the root mean square errors of the network, and of
    persistence, which predicts that nothing changes.

    Parameters
    ----------
    series : Series
        The series.
    predicted : ndarray, (T, N, D)
        The predictions one step ahead; the median error of the networks is printed.

    Returns
    -------
    list of str
        The lines. The last one says which columns the network does not predict better,
        on the steps that it was trained on.
    """
    border = len(predicted) - series.held_out
    parts = {"trained on": slice(border)}
    if series.held_out:
        parts["held out"] = slice(border, None)
    errors = predicted - series.rows[1:, None]
    changes = np.diff(series.rows, axis=0)[:, None]
    table = [
        ["one step ahead, root mean square error", "network", "persistence baseline"]
    ]
    worse = []
    for what, steps in parts.items():
        network = _root_mean_square(errors[steps])
        persistence = _root_mean_square(changes[steps])
        count = pluralize(len(errors[steps]), "step")
        for name, one, other in zip(series.columns, network, persistence):
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
