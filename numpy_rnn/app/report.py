"""The text that a run prints: heading, losses, and tables of predictions and errors."""

from math import prod

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.format import MAX_WIDTH, column_names, format_number, number_of, series_name
from numpy_rnn.app.results import Result
from numpy_rnn.common.errors import shortened

BAND = (10, 50, 90)  # percentiles of an ensemble


def heading(names: list[str], experiment: Experiment, configuration: Configuration) -> str:
    """One line that describes the run."""
    *E, H, O = experiment.params.W_hy.shape
    T, B, D = *experiment.x.shape[:2], experiment.params.W_xh.shape[-2]
    parts = [
        f"{join_names(names)}: {series_name(experiment)}",
        f"T={T} B={B} D={D} H={H} O={O}",
        configuration.nonlinearity,
        *([] if configuration.loss == "squared_error" else ["cross-entropy"]),
        "biases" if experiment.params.b_h is not None else "no biases",
        f"reduction {configuration.reduction}",
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
    """The learning rate, and the other options of the update and the series that differ from their defaults."""
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


def is_logged(epoch: int, log_every: int, epochs: int) -> bool:
    """Whether an epoch is printed: the first, every `log_every`-th, and the last are."""
    return epoch in (1, epochs) or epoch % log_every == 0


def loss_heading(E: tuple[int, ...], rates: tuple[float, ...] = ()) -> str:
    """The heading for `loss_row`. E: the shape of the ensemble; in a sweep its first axis is that of the rates."""
    if not E:
        return "epoch          loss"
    if not rates:
        return f"epoch   median loss           10 %           90 %   of {prod(E)} networks"
    columns = "  ".join(f"{f'rate {rate:g}':>12}" for rate in rates)
    return f"epoch  {columns}" + (f"   medians of {prod(E[1:])} networks each" if prod(E[1:]) > 1 else "")


def loss_row(epoch: int, loss: np.ndarray, rates: tuple[float, ...] = ()) -> str:
    """The loss of an epoch; for an ensemble, its median, 10th and 90th percentile; for a sweep, the median per rate.

    Networks whose loss is not finite are left out.
    """
    if loss.ndim == 0:
        return f"{epoch:5d}  {format_number(float(loss), 12)}"
    if rates:
        medians = (finite_median(losses) for losses in loss.reshape(len(rates), -1))
        return f"{epoch:5d}  " + "  ".join(format_number(median, 12) for median in medians)
    low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
    return f"{epoch:5d}  " + "   ".join(format_number(value, 12, median) for value in (median, low, high))


def band(values: np.ndarray, networks: np.ndarray) -> np.ndarray:
    """10th percentile, median and 90th percentile over the chosen networks: (N, *E, ...) → (3, N, ...).

    networks: booleans of shape E.
    """
    with np.errstate(invalid="ignore"):
        return np.percentile(values[:, networks], BAND, axis=1)


def divergence(result: Result) -> str | None:
    """How many networks of an ensemble diverged; None if none did."""
    converged = result.converged()
    if converged.all():
        return None
    return f"{np.sum(~converged)} of {converged.size} networks diverged and are left out of the medians and bands"


def comparison_table(results: dict[str, Result], log_every: int) -> str:
    """The losses of several backends by epoch, with the largest difference between any two, and that of the whole run.

    For an ensemble, the medians, and the largest difference of a single network.
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


def losses_by_network(result: Result) -> np.ndarray:
    """The losses as (epochs, networks)."""
    return result.losses.reshape(len(result.losses), prod(result.losses.shape[1:]))


def join_names(names: list[str]) -> str:
    """The names, separated by commas and "and"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def finite_median(losses: np.ndarray) -> float:
    """The median of the losses that are finite; NaN if none is."""
    finite = np.asarray(losses)[np.isfinite(losses)]
    return np.median(finite) if finite.size else np.nan


MAX_ROWS = 40  # of the series
MAX_FREE_RUNNING = 100  # free-running steps after the series; of more, the first and the last are printed
MAX_FEATURES = 3
MAX_ERRORS = 20  # columns whose errors are printed


def series_table(experiment: Experiment, result: Result) -> str:
    """Actual and predicted values by time, followed by the free-running continuation, in units of the series.

    Each row has the actual value of one time, its prediction, and if rows are held out, the free-running value. For an
    ensemble, predictions are medians; for a sweep, those of the best rate. A long series is cut to its last rows, many
    columns to the first ones, and a long continuation to its beginning and end.
    """
    rate, result = _of_best_rate(experiment, result)
    T, _, D = experiment.x.shape
    in_units = (lambda values: values) if experiment.scaling is None else experiment.scaling.original
    first, border = max(0, T - MAX_ROWS), T - experiment.held_out
    actual = experiment.rows(first + 1)
    predicted, generated = (
        in_units(band(values, result.converged())[1][:, 0]) for values in (result.predictions, result.generated)
    )
    name = "predicted" if result.predictions.ndim == 3 else "median predicted"
    parts = [("actual", 12, actual, first), (name, 16, predicted, T - len(predicted))]
    if experiment.held_out:
        parts.append(("free-running", 14, generated, border))
    columns = []  # feature, heading, width, values, and the index of the first one in time
    for feature, of in enumerate(column_names(experiment)[:MAX_FEATURES]):
        for what, width, *rest in parts:
            head = f"{what} {shortened(of, MAX_WIDTH)}" if D > 1 else what
            columns.append((feature, head, max(len(head), width), *rest))
    scale = np.abs(actual).max(axis=0)

    def cell(t, feature, _, width, values, begin):
        in_range = begin <= t < begin + len(values)
        return format_number(values[t - begin, feature], width, scale[feature]) if in_range else " " * width

    def row(t):
        cells = [cell(t, *column) for column in columns]
        if t >= T and not experiment.held_out:  # after the series; free-running values have no column of their own
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
        lines.append(f"   ...  ({number_of(first, 'earlier time')})")
    end = max(T, border + len(generated))
    if end - T <= MAX_FREE_RUNNING:
        return "\n".join(lines + [row(t) for t in range(first, end)])
    half = MAX_FREE_RUNNING // 2
    lines += [row(t) for t in range(first, T + half)] + [f"   ...  ({number_of(end - T - 2 * half, 'later time')})"]
    return "\n".join(lines + [row(t) for t in range(end - half, end)])


def error_table(experiment: Experiment, result: Result) -> str:
    """The root mean square error of the one-step predictions of every column, and that of the persistence baseline,
    which predicts the last value, in units of the series: over the training steps and over the held-out steps. For an
    ensemble, the median over its networks; of many columns, the first ones.
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
    names = [f", {shortened(name, MAX_WIDTH)}" if D > 1 else "" for name in column_names(experiment)[:MAX_ERRORS]]
    width = max(36, *(len(f"trained on, {P} steps{name}") for name in names))
    lines = [f"{'one step ahead, root mean square error':{width + 8}}network   persistence baseline"]
    for what, steps in (("trained on", slice(border)), ("held out", slice(border, P))):
        if count := len(naive[steps]):
            of_networks = np.median(np.sqrt(np.square(error[steps]).mean(axis=0)), axis=0)
            of_naive = np.sqrt(np.square(naive[steps]).mean(axis=0))
            for name, *values in zip(names, of_networks, of_naive):
                cells = (format_number(value, size) for value, size in zip(values, (13, 20)))
                head = f"{what}, {number_of(count, 'step')}{name}"
                lines.append(f"{head:{width}}  {'   '.join(cells)}")
    if D > MAX_ERRORS:
        lines.append(f"   ...  ({number_of(D - MAX_ERRORS, 'more column')})")
    return "\n".join(lines)


def _of_best_rate(experiment, result):
    """(best learning rate, its result) of a sweep; otherwise (None, the result itself)."""
    if not experiment.rates:
        return None, result
    best = result.best_rate()
    return experiment.rates[best], result.of_rate(best)
