"""The text that a run on a series prints: heading, losses, and tables of predictions and errors."""

from argparse import Namespace
from math import prod
from typing import Any

import numpy as np

from numpy_rnn.app import plots
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.format import MAX_WIDTH, column_names, format_number, join_names, number_of, series_name
from numpy_rnn.app.options import LOG_EVERY, MAX_GENERATED
from numpy_rnn.app.results import BAND, Result, band, save_results
from numpy_rnn.app.run import Progress, Trainer
from numpy_rnn.common.errors import InputError, shortened
from numpy_rnn.common.records import Run

GENERATED = 20  # free-running steps
MAX_ROWS = 40  # of the series
MAX_FREE_RUNNING = 100  # free-running steps after the series; of more, the first and the last are printed
MAX_FEATURES = 3
MAX_ERRORS = 20  # columns whose errors are printed


class SeriesReport:
    """What one run on a series prints, writes and draws."""

    def __init__(self, rnn: Any, experiment: Experiment, configuration: Configuration, arguments: Namespace):
        for option in ("sample", "temperature"):
            if getattr(arguments, option) is not None:
                raise InputError(f"--{option} is given without --text: it is for a text; leave it out")
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.log_every = arguments.log_every or LOG_EVERY
        held_out = min(configuration.held_out, MAX_GENERATED)
        self.generate = arguments.generate if arguments.generate is not None else held_out or GENERATED

    def heading(self) -> str:
        """The heading of the rows."""
        return loss_heading(self.experiment.networks, self.experiment.rates)

    def lines(self, progress: Progress, trainer: Trainer) -> list[str]:
        """The row of the latest epoch, if it is printed."""
        if progress.epoch_loss is None or not is_logged(progress.epoch, self.log_every, self.configuration.epochs):
            return []
        return [loss_row(progress.epoch, progress.epoch_loss, self.experiment.rates)]

    def final(self, trainer: Trainer) -> list[str]:
        """The tables of predictions and errors. Raises Diverged if no prediction is finite."""
        self.result = trainer.result(self.generate)
        errors = [] if self.configuration.data is None else [error_table(self.experiment, self.result)]
        return [series_table(self.experiment, self.result), *errors]

    def save(self, path: str) -> None:
        """Write the losses and the predictions."""
        save_results(path, self.rnn.__name__, self.experiment, self.configuration, self.result)

    def draw(self, plot: Any) -> None:
        """Draw the series, the predictions and the losses on an empty Matplotlib figure."""
        plots.draw_results(plot, self.experiment, {self.rnn.__name__: self.result})


def heading(name: str, experiment: Experiment, configuration: Configuration) -> str:
    """One line that describes the run of a package."""
    run = experiment._replace(held_out=0).run(configuration.run_options())
    parts = [described([name], series_name(experiment), run)]
    if configuration.standardize:
        parts.append("standardized")
    if configuration.held_out:
        parts.append(f"{configuration.held_out} rows held out")
    seeds = f"seed {configuration.seed}"
    if configuration.weights is not None:
        seeds = f"weights from {configuration.weights}"
    elif configuration.networks is not None:
        seeds = f"seeds {configuration.seed} to {configuration.seed + configuration.networks - 1}"
    return ", ".join([*parts, str(run.params.W_hh.dtype), seeds])


def described(names: list[str], series: str, run: Run) -> str:
    """The packages, the series, the sizes and the options of a run; of the update, those that are not the defaults."""
    (k1, k2, _), (nonlinearity, loss, reduction), step = run.options
    T, B, D, (H, O) = len(run.x), run.x.shape[1], run.params.W_xh.shape[-2], run.params.W_hy.shape[-2:]
    parts = [f"{join_names(names)}: {series}", f"T={T} B={B} D={D} H={H} O={O}", nonlinearity]
    parts += ["cross-entropy"] * (loss == "cross_entropy")
    parts += ["no biases" if run.params.b_h is None else "biases", f"reduction {reduction}", f"k1={k1} k2={k2}"]
    for name, value in step._asdict().items():
        words = name.replace("_", " ")
        if np.ndim(value):
            parts.append(f"{words}s {' '.join(f'{rate:g}' for rate in dict.fromkeys(np.ravel(value).tolist()))}")
        elif value or name == "learning_rate":
            parts.append(words if value is True else f"{words} {value:g}")
    return ", ".join(parts + ["initial state learned"] * (run.params.h_0 is not None))


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
    if np.ndim(loss) == 0:
        return f"{epoch:5d}  {format_number(float(loss), 12)}"
    if rates:
        medians = (finite_median(losses) for losses in loss.reshape(len(rates), -1))
        return f"{epoch:5d}  " + "  ".join(format_number(median, 12) for median in medians)
    low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
    return f"{epoch:5d}  " + "   ".join(format_number(value, 12, median) for value in (median, low, high))


def finite_median(losses: np.ndarray) -> float:
    """The median of the losses that are finite; NaN if none is."""
    finite = np.asarray(losses)[np.isfinite(losses)]
    return float(np.median(finite)) if finite.size else np.nan


def series_table(experiment: Experiment, result: Result) -> str:
    """Actual and predicted values by time, followed by the free-running continuation, in units of the series.

    Each row has the actual value of one time, its prediction, and if rows are held out, the free-running value. For an
    ensemble, predictions are medians; for a sweep, those of the best rate. A long series is cut to its last rows, many
    columns to the first ones, and a long continuation to its beginning and end.
    """
    rate, result = _best_rate(experiment, result)
    T, _, D = experiment.x.shape
    first, border = max(0, T - MAX_ROWS), T - experiment.held_out
    actual = experiment.rows(first + 1)
    predicted, generated = (band(values, result.converged())[1] for values in (result.predictions, result.generated))
    end, scale = max(T, border + len(generated)), np.abs(actual).max(axis=0)
    times = list(range(first, end))
    if end - T > MAX_FREE_RUNNING:
        times = [*range(first, T + MAX_FREE_RUNNING // 2), *range(end - MAX_FREE_RUNNING // 2, end)]
    names, predictions = column_names(experiment), "predicted" if result.predictions.ndim == 2 else "median predicted"
    lines = [f"{time + 2:6d}" for time in times]
    head = "  time"
    for feature in range(min(D, MAX_FEATURES)):

        def cells(values: np.ndarray, begin: int, feature: int = feature) -> dict[int, str]:
            return {t: format_number(v, 0, scale[feature]) for t, v in enumerate(values[:, feature], start=begin)}

        after = cells(generated, border)
        columns = [("actual", 12, cells(actual, first)), (predictions, 16, cells(predicted, T - len(predicted)))]
        if experiment.held_out:
            columns.append(("free-running", 14, after))
        else:
            columns[0][2].update(dict.fromkeys(after, "free-running"))
            columns[1][2].update(after)
        for what, width, column in columns:
            what = f"{what} {shortened(names[feature], MAX_WIDTH)}" if D > 1 else what
            width = max(width, len(what))
            head += f"  {what:>{width}}"
            lines = [f"{line}  {column.get(t, ''):>{width}}" for t, line in zip(times, lines)]
    if len(times) < end - first:
        left_out = number_of(end - first - len(times), "later time")
        lines.insert(T + MAX_FREE_RUNNING // 2 - first, f"   ...  ({left_out})")
    earlier = [f"   ...  ({number_of(first, 'earlier time')})"] if first else []
    return "\n".join([head + ("" if rate is None else f"   of learning rate {rate:g}"), *earlier, *lines])


def error_table(experiment: Experiment, result: Result) -> str:
    """The root mean square error of the one-step predictions of every column, and that of the persistence baseline,
    which predicts the last value, in units of the series: over the training steps and over the held-out steps. For an
    ensemble, the median over its networks; of many columns, the first ones.
    """
    _, result = _best_rate(experiment, result)
    T, _, D = experiment.x.shape
    P = len(result.predictions)
    border = max(0, P - experiment.held_out)
    rows = experiment.rows(T - P)
    networks = result.predictions.reshape(P, -1, D)[:, result.converged().ravel()]
    error, naive = networks - rows[1:, None], rows[:-1] - rows[1:]
    names = [f", {shortened(name, MAX_WIDTH)}" if D > 1 else "" for name in column_names(experiment)[:MAX_ERRORS]]
    width = max(36, *(len(f"trained on, {P} steps{name}") for name in names))
    lines = [f"{'one step ahead, root mean square error':{width + 8}}network   persistence baseline"]
    for what, steps in (("trained on", slice(border)), ("held out", slice(border, P))):
        if count := len(naive[steps]):
            medians = np.median(root_mean_square(error[steps]), axis=0)
            baselines = root_mean_square(naive[steps])
            for name, median, baseline in zip(names, medians, baselines):
                head = f"{what}, {number_of(count, 'step')}{name}"
                lines.append(f"{head:{width}}  {format_number(median, 13)}   {format_number(baseline, 20)}")
    if D > MAX_ERRORS:
        lines.append(f"   ...  ({number_of(D - MAX_ERRORS, 'more column')})")
    return "\n".join(lines)


def root_mean_square(values: np.ndarray) -> np.ndarray:
    """The root mean square over the first axis, whose squares neither overflow nor underflow."""
    return np.asarray(np.hypot.reduce(values, axis=0, initial=0.0) / np.sqrt(len(values)))


def _best_rate(experiment: Experiment, result: Result) -> tuple[float | None, Result]:
    """(best learning rate, its result) of a sweep; otherwise (None, the result itself)."""
    if not experiment.rates:
        return None, result
    best = result.best_rate()
    return experiment.rates[best], result.at_rate(best)
