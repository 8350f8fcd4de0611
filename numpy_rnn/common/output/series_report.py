"""What a run prints of the series: actual, predicted and free-running values, and how far the predictions are off."""

import numpy as np

from numpy_rnn.common.output.report import band, number

MOST_ROWS = 40  # of the series
MOST_FREE = 100  # free-running steps after the series: of more, the first and the last
MOST_FEATURES = 3


def series_table(experiment, result) -> str:
    """Actual against predicted values by time, and after them the free-running continuation.

    In units of the series. The prediction of a time stands beside the actual value of that time, and where rows are
    held out the free-running value too. Of an ensemble, the median; of a sweep, of the best rate; of a long series, the
    last rows; of many features, the first; of many steps after the series, the first and the last.
    """
    rate, result = _of_best_rate(experiment, result)
    T, _, D = experiment.x.shape
    in_units = (lambda values: values) if experiment.scaling is None else experiment.scaling.original
    first, border = max(0, T - MOST_ROWS), T - experiment.held_out
    actual = in_units(experiment.target[first:, 0])
    predicted, generated = (
        in_units(band(values, result.converged())[1][:, 0]) for values in (result.predictions, result.generated)
    )
    name = "predicted" if result.predictions.ndim == 3 else "median predicted"
    columns = [("actual", 12, actual, first), (name, 16, predicted, T - len(predicted))]
    if experiment.held_out:
        columns.append(("free-running", 14, generated, border))
    scale = np.abs(actual).max()

    def cell(t, feature, width, values, begin):
        return number(values[t - begin, feature], width, scale) if begin <= t < begin + len(values) else " " * width

    def row(t):
        cells = [cell(t, f, *column[1:]) for f in range(min(D, MOST_FEATURES)) for column in columns]
        if t >= T and not experiment.held_out:  # the series is over, and there is no column of their own for these
            freely = (number(generated[t - T, f], 16, scale) for f in range(min(D, MOST_FEATURES)))
            cells = [part for value in freely for part in ("free-running", value)]
        return "  ".join([f"{t + 2:6d}", *cells])

    of = [f" {feature + 1}" if D > 1 else "" for feature in range(min(D, MOST_FEATURES))]
    heads = [f"{name + feature:>{width}}" for feature in of for name, width, *_ in columns]
    lines = ["  ".join(["  time", *heads]) + ("" if rate is None else f"   of learning rate {rate:g}")]
    if first:
        lines.append(f"   ...  ({first} earlier times)")
    end = max(T, border + len(generated))
    if end - T <= MOST_FREE:
        return "\n".join(lines + [row(t) for t in range(first, end)])
    half = MOST_FREE // 2
    lines += [row(t) for t in range(first, T + half)] + [f"   ...  ({end - T - 2 * half} later times)"]
    return "\n".join(lines + [row(t) for t in range(end - half, end)])


def error_table(experiment, result) -> str:
    """The root mean square error of the one-step predictions, in units of the series, beside that of repeating the last
    value: over the steps that were trained on, and over those that were not. Of an ensemble, the median network's.
    """
    _, result = _of_best_rate(experiment, result)
    P = len(result.predictions)
    border = max(0, P - experiment.held_out)
    x, target = experiment.x[-P:, 0], experiment.target[-P:, 0]
    networks = result.predictions.reshape(P, -1, x.shape[-1])[:, result.converged().ravel()]
    deviation = 1.0 if experiment.scaling is None else experiment.scaling.deviation
    lines = ["one step ahead, root mean square error      network   last value again"]
    for what, steps in (("trained on", slice(border)), ("held out", slice(border, P))):
        if number_of := len(x[steps]):
            error, naive = (networks - target[:, None])[steps] * deviation, (x - target)[steps] * deviation
            of_network = np.median(np.sqrt(np.square(error).mean(axis=(0, -1))))
            cells = number(of_network, 13), number(np.sqrt(np.square(naive).mean()), 13)
            lines.append(f"{what + f', {number_of} steps':36}  {'      '.join(cells)}")
    return "\n".join(lines)


def _of_best_rate(experiment, result):
    """(its learning rate, what came out for it) of a sweep; otherwise (None, the result itself)."""
    if not experiment.rates:
        return None, result
    best = result.best_rate()
    return experiment.rates[best], result.of_rate(best)
