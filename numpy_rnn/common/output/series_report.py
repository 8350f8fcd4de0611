"""What a run prints of the series: actual, predicted and free-running values, and how far the predictions are off."""

import numpy as np

from numpy_rnn.common.output.report import band, number
from numpy_rnn.common.output.text import column_names, shortened

MOST_ROWS = 40  # of the series
MOST_FREE = 100  # free-running steps after the series: of more, the first and the last
MAX_FEATURES = 3
MAX_ERRORS = 20  # columns whose errors are printed


def series_table(experiment, result) -> str:
    """Actual against predicted values by time, and after them the free-running continuation.

    In units of the series, the actual values as they were read. The prediction of a time stands beside the actual value
    of that time, and where rows are held out the free-running value too. Of an ensemble, the median; of a sweep, of the
    best rate; of a long series, the last rows; of many columns, the first; of many steps after the series, the first
    and the last.
    """
    rate, result = _of_best_rate(experiment, result)
    T, _, D = experiment.x.shape
    in_units = (lambda values: values) if experiment.scaling is None else experiment.scaling.original
    first, border = max(0, T - MOST_ROWS), T - experiment.held_out
    actual = experiment.rows(first + 1)
    predicted, generated = (
        in_units(band(values, result.converged())[1][:, 0]) for values in (result.predictions, result.generated)
    )
    name = "predicted" if result.predictions.ndim == 3 else "median predicted"
    parts = [("actual", 12, actual, first), (name, 16, predicted, T - len(predicted))]
    if experiment.held_out:
        parts.append(("free-running", 14, generated, border))
    columns = []  # feature, head, width, values, and the time of the first of them
    for feature, of in enumerate(column_names(experiment)[:MAX_FEATURES]):
        for what, width, *rest in parts:
            head = f"{what} {shortened(of)}" if D > 1 else what
            columns.append((feature, head, max(len(head), width), *rest))
    scale = np.abs(actual).max(axis=0)

    def cell(t, feature, _, width, values, begin):
        in_range = begin <= t < begin + len(values)
        return number(values[t - begin, feature], width, scale[feature]) if in_range else " " * width

    def row(t):
        cells = [cell(t, *column) for column in columns]
        if t >= T and not experiment.held_out:  # the series is over, and there is no column of their own for these
            pairs = zip(columns[::2], columns[1::2])
            cells = [
                part
                for (*_, width, _, _), (feature, _, wide, _, _) in pairs
                for part in (f"{'free-running':>{width}}", number(generated[t - T, feature], wide, scale[feature]))
            ]
        return "  ".join([f"{t + 2:6d}", *cells])

    heads = "  ".join(f"{head:>{width}}" for _, head, width, *_ in columns)
    lines = [f"  time  {heads}" + ("" if rate is None else f"   of learning rate {rate:g}")]
    if first:
        lines.append(f"   ...  ({first} earlier times)")
    end = max(T, border + len(generated))
    if end - T <= MOST_FREE:
        return "\n".join(lines + [row(t) for t in range(first, end)])
    half = MOST_FREE // 2
    lines += [row(t) for t in range(first, T + half)] + [f"   ...  ({end - T - 2 * half} later times)"]
    return "\n".join(lines + [row(t) for t in range(end - half, end)])


def error_table(experiment, result) -> str:
    """The root mean square error of the one-step predictions of every column, in units of the series, beside that of
    repeating the last value: over the steps that were trained on, and over those that were not. Of an ensemble, the
    median network's; of many columns, the first.
    """
    _, result = _of_best_rate(experiment, result)
    T, _, D = experiment.x.shape
    P = len(result.predictions)
    border = max(0, P - experiment.held_out)
    rows = experiment.rows(T - P)
    networks = result.predictions.reshape(P, -1, D)[:, result.converged().ravel()]
    if experiment.scaling is not None:
        networks = experiment.scaling.original(networks)
    error, naive = networks - rows[1:, None], rows[:-1] - rows[1:]
    names = [f", {shortened(name)}" if D > 1 else "" for name in column_names(experiment)[:MAX_ERRORS]]
    width = max(36, *(len(f"trained on, {P} steps{name}") for name in names))
    lines = [f"{'one step ahead, root mean square error':{width + 8}}network   last value again"]
    for what, steps in (("trained on", slice(border)), ("held out", slice(border, P))):
        if number_of := len(naive[steps]):
            of_networks = np.median(np.sqrt(np.square(error[steps]).mean(axis=0)), axis=0)
            of_naive = np.sqrt(np.square(naive[steps]).mean(axis=0))
            for name, *values in zip(names, of_networks, of_naive):
                cells = (number(value, size) for value, size in zip(values, (13, 16)))
                lines.append(f"{what + f', {number_of} steps{name}':{width}}  {'   '.join(cells)}")
    if D > MAX_ERRORS:
        lines.append(f"   ...  ({D - MAX_ERRORS} more columns)")
    return "\n".join(lines)


def _of_best_rate(experiment, result):
    """(its learning rate, what came out for it) of a sweep; otherwise (None, the result itself)."""
    if not experiment.rates:
        return None, result
    best = result.best_rate()
    return experiment.rates[best], result.of_rate(best)
