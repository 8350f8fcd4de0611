"""What a run prints."""

from math import prod

import numpy as np

from numpy_rnn.app.format import column_names, format_number, series_name, shortened

BAND = (10, 50, 90)  # percentiles of an ensemble


def heading(names, experiment, configuration) -> str:
    """One line that says what is run."""
    *E, H, O = experiment.params.W_hy.shape
    T, B, D = experiment.x.shape
    parts = [
        f"{in_words(names)}: {series_name(experiment)}",
        f"T={T} B={B} D={D} H={H} O={O}",
        configuration.nonlinearity,
        "biases" if experiment.params.b_h is not None else "no biases",
        configuration.reduction,
        f"k1={configuration.k1} k2={configuration.k2}",
        *_options(configuration),
        str(experiment.params.W_hh.dtype),
    ]
    if configuration.weights is not None:
        parts.append(f"weights from {configuration.weights}")
    elif configuration.networks is not None:
        parts.append(f"seeds {configuration.seed} to {configuration.seed + E[-1] - 1}")
    else:
        parts.append(f"seed {configuration.seed}")
    return ", ".join(parts)


def _options(configuration):
    """The options of the update, and what is done with the series, as far as they are not left at their defaults."""
    rates = configuration.rates()
    yield (
        f"learning rates {' '.join(f'{rate:g}' for rate in rates)}"
        if rates
        else (f"learning rate {configuration.learning_rate:g}")
    )
    for name, value in configuration.sgd_options()._asdict().items():
        if value:
            words = name.replace("_", " ")
            yield words if value is True else f"{words} {value:g}"
    if configuration.learn_initial_state:
        yield "initial state learned"
    if configuration.standardize:
        yield "standardized"
    if configuration.held_out:
        yield f"{configuration.held_out} rows held out"


def is_logged(epoch, log_every, epochs) -> bool:
    """The first epoch, every `log_every`-th, and the last are printed."""
    return epoch in (1, epochs) or epoch % log_every == 0


def loss_heading(E, rates=()) -> str:
    """The head of the columns that `loss_row` fills; E is the shape of the ensemble, whose first axis is the rates'."""
    if not E:
        return "epoch          loss"
    if not rates:
        return f"epoch   median loss           10 %           90 %   of {prod(E)} networks"
    columns = "  ".join(f"{f'rate {rate:g}':>12}" for rate in rates)
    return f"epoch  {columns}" + (f"   medians of {prod(E[1:])} networks each" if prod(E[1:]) > 1 else "")


def loss_row(epoch, loss, rates=()) -> str:
    """The loss of an epoch; of an ensemble its median and the band from the 10th to the 90th percentile; of a sweep the
    median for every rate.

    Networks whose loss is not finite are left out.
    """
    if loss.ndim == 0:
        return f"{epoch:5d}  {format_number(loss, 12)}"
    if rates:
        medians = (finite_median(losses) for losses in loss.reshape(len(rates), -1))
        return f"{epoch:5d}  " + "  ".join(format_number(median, 12) for median in medians)
    low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
    return f"{epoch:5d}  " + "   ".join(format_number(value, 12, median) for value in (median, low, high))


def band(values, networks):
    """10th percentile, median and 90th percentile over the chosen networks: (N, *E, ...) → three of (N, ...).

    networks: booleans of shape E.
    """
    with np.errstate(invalid="ignore"):
        return np.percentile(values[:, networks], BAND, axis=1)


def divergence(result) -> str | None:
    """How many networks of an ensemble diverged, if any."""
    converged = result.converged()
    if converged.all():
        return None
    return f"{np.sum(~converged)} of {converged.size} networks diverged: they are left out of the medians and bands"


def comparison_table(results, log_every) -> str:
    """The loss columns of several backends, the largest difference of any two of them, and that of the run.

    Of an ensemble, the medians, and the largest difference of a network.
    """
    columns_of = np.stack([losses_by_network(result) for result in results.values()])
    a, finite = columns_of[0], np.isfinite(columns_of)
    difference = np.where(finite.all(axis=0), np.ptp(np.where(finite, columns_of, 0), axis=0), 0)
    difference[finite.any(axis=0) != finite.all(axis=0)] = np.inf
    of = f"   medians of {a.shape[1]} networks, and the largest difference" if a.shape[1] > 1 else ""
    widths = [max(14, len(name)) for name in results]
    lines = [f"epoch  {'  '.join(f'{name:>14}' for name in results)}  {'difference':>11}{of}"]
    for epoch in range(1, len(a) + 1):
        if is_logged(epoch, log_every, len(a)):
            medians = (finite_median(losses[epoch - 1]) for losses in columns_of)
            columns = "  ".join(map(format_number, medians, widths))
            lines.append(f"{epoch:5d}  {columns}  {difference[epoch - 1].max():11.1e}")
    if len(a):
        epoch, network = map(int, np.unravel_index(difference.argmax(), difference.shape))
        of = f" of network {network + 1}" if a.shape[1] > 1 else ""
        lines.append(
            f"largest difference {difference.max():.1e}, in epoch {epoch + 1}, where the loss{of} is"
            f" {a[epoch, network]:.6g}"
        )
    return "\n".join(lines)


def losses_by_network(result) -> np.ndarray:
    """(epochs, networks)"""
    return result.losses.reshape(len(result.losses), prod(result.losses.shape[1:]))


def in_words(names: list[str]) -> str:
    """The names with commas and an "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def finite_median(losses) -> float:
    """The median of the losses that are finite; NaN when none is."""
    finite = losses[np.isfinite(losses)]
    return np.median(finite) if finite.size else np.nan


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
        return format_number(values[t - begin, feature], width, scale[feature]) if in_range else " " * width

    def row(t):
        cells = [cell(t, *column) for column in columns]
        if t >= T and not experiment.held_out:  # the series is over, and there is no column of their own for these
            pairs = zip(columns[::2], columns[1::2])
            cells = [
                part
                for (*_, width, _, _), (feature, _, wide, _, _) in pairs
                for part in (
                    f"{'free-running':>{width}}",
                    format_number(generated[t - T, feature], wide, scale[feature]),
                )
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
                cells = (format_number(value, size) for value, size in zip(values, (13, 16)))
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
