"""The text that a run on a series prints: heading, losses, and tables of predictions and errors."""

import sys
from argparse import Namespace
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from numpy_rnn.app import plots
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import LOG_EVERY, MAX_GENERATED
from numpy_rnn.app.results import BAND, Result, band, loss_rows, predicted_rows, save_results
from numpy_rnn.app.run import Progress, Trainer
from numpy_rnn.common.errors import InputError, shortened
from numpy_rnn.common.format import MAX_WIDTH, align_columns, format_number, join_names, pluralize
from numpy_rnn.common.records import Run

GENERATED = 20  # free-running steps
MAX_ROWS = 40  # of the series
MAX_FREE_RUNNING = 100  # free-running steps after the series
MAX_FEATURES = 3
MAX_ERRORS = 20  # columns whose errors are printed


class SeriesReport:
    """What one run on a series prints, writes and draws."""

    def __init__(self, trainer: Trainer, arguments: Namespace):
        for option in ("sample", "temperature"):
            if getattr(arguments, option) is not None:
                raise InputError(
                    f"--{option} is given without --text: it is for a text; leave it out"
                )
        self.trainer, self.experiment = trainer, trainer.experiment
        self.log_every = arguments.log_every or LOG_EVERY
        held_out = min(self.experiment.held_out, MAX_GENERATED)
        self.generate = (
            arguments.generate if arguments.generate is not None else held_out or GENERATED
        )

    def heading(self) -> str:
        """The heading of the rows."""
        return loss_heading(self.experiment.networks)

    def lines(self, progress: Progress) -> list[str]:
        """The row of the latest epoch, if it is printed."""
        epoch, epochs = progress.epoch, self.trainer.configuration.epochs
        if progress.epoch_loss is None or not is_logged(epoch, self.log_every, epochs):
            return []
        return [loss_row(epoch, progress.epoch_loss)]

    def final(self) -> list[str]:
        """The tables of predictions and errors. Raises Diverged if no prediction is finite."""
        self.result = self.trainer.result(self.generate)
        if not (converged := self.result.converged()).all():
            diverged = f"{np.sum(~converged)} of {converged.size} networks diverged"
            print(
                f"{self.trainer.rnn.__name__}: {diverged} and are left out of the medians and bands",
                file=sys.stderr,
            )
        errors = (
            []
            if self.trainer.configuration.data is None
            else [error_table(self.experiment, self.result)]
        )
        return [series_table(self.experiment, self.result), *errors]

    def save(self, path: str) -> str:
        """Write the losses and the predictions. Returns what is written."""
        losses = loss_rows(self.trainer.losses)
        save_results(path, chain(losses, predicted_rows(self.experiment, self.result)))
        return "losses and predictions"

    def draw(self, plot: Any) -> None:
        """Draw the series, the predictions and the losses on an empty Matplotlib figure."""
        plots.draw_results(plot, self.experiment, {self.trainer.rnn.__name__: self.result})


def heading(name: str, experiment: Experiment, configuration: Configuration) -> str:
    """One line that describes the run of a package."""
    run = experiment._replace(held_out=0).run(configuration.run_options())
    parts = [described([name], experiment.described, run)]
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
    T, B, D, (H, O) = (
        len(run.x),
        run.x.shape[1],
        run.params.W_xh.shape[-2],
        run.params.W_hy.shape[-2:],
    )
    parts = [f"{join_names(names)}: {series}", f"T={T} B={B} D={D} H={H} O={O}", nonlinearity]
    parts += ["cross-entropy"] * (loss == "cross_entropy")
    parts += [
        "no biases" if run.params.b_h is None else "biases",
        f"reduction {reduction}",
        f"k1={k1} k2={k2}",
    ]
    for name, value in step._asdict().items():
        words = name.replace("_", " ")
        if np.ndim(value):
            parts.append(
                f"{words}s {' '.join(f'{rate:g}' for rate in dict.fromkeys(np.ravel(value).tolist()))}"
            )
        elif value or name == "learning_rate":
            parts.append(words if value is True else f"{words} {value:g}")
    return ", ".join(parts + ["initial state learned"] * (run.params.h_0 is not None))


def is_logged(epoch: int, log_every: int, epochs: int) -> bool:
    """Whether an epoch is printed: the first, every `log_every`-th, and the last are."""
    return epoch in (1, epochs) or epoch % log_every == 0


def loss_heading(E: tuple[int, ...]) -> str:
    """The heading for `loss_row`. E: the shape of the ensemble."""
    return (
        f"epoch   median loss           10 %           90 %   of {prod(E)} networks"
        if E
        else "epoch          loss"
    )


def loss_row(epoch: int, loss: np.ndarray) -> str:
    """The loss of an epoch: of an ensemble, median, 10th and 90th percentile of the finite ones."""
    if np.ndim(loss) == 0:
        return f"{epoch:5d}  " + "  ".join(
            format_number(value, 12) for value in np.ravel(loss).tolist()
        )
    low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
    return f"{epoch:5d}  " + "   ".join(
        format_number(value, 12, median) for value in (median, low, high)
    )


def finite_median(losses: np.ndarray) -> float:
    """The median of the losses that are finite; NaN if none is."""
    finite = np.asarray(losses)[np.isfinite(losses)]
    return float(np.median(finite)) if finite.size else np.nan


def series_table(experiment: Experiment, result: Result) -> str:
    """Actual, predicted and free-running values by time, in units of the series.

    For an ensemble, predictions are medians. A long series is cut to its last
    rows, many columns to the first ones, and a long continuation to its beginning.
    """
    T, _, D = experiment.x.shape
    one, free = (
        band(values, result.converged())[1] for values in (result.predictions, result.generated)
    )
    first, border = max(0, T - MAX_ROWS), T - experiment.held_out
    times = range(first, max(T, min(border + len(free), T + MAX_FREE_RUNNING)))
    actual = experiment.rows(first + 1)
    median = "predicted" if result.predictions.ndim == 2 else "median predicted"
    columns = [(6, ["time", *(str(time + 2) for time in times)])]
    for feature, name in enumerate(experiment.column_names[:MAX_FEATURES]):
        by, scale = (
            f" {shortened(name, MAX_WIDTH)}" if D > 1 else "",
            np.abs(actual[:, feature]).max(),
        )
        for head, width, begin, values in (
            ("actual", 12, first, actual),
            (median, 16, T - len(one), one),
            ("free-running", 14, border, free),
        ):
            cells = {
                t: format_number(v, 0, scale) for t, v in enumerate(values[:, feature], start=begin)
            }
            columns.append((width, [head + by, *(cells.get(time, "") for time in times)]))
    head, *lines = align_columns(columns)
    if first:
        lines.insert(0, f"   ...  ({pluralize(first, 'earlier time')})")
    if (left_out := border + len(free) - times.stop) > 0:
        lines.append(f"   ...  ({pluralize(left_out, 'later time')})")
    return "\n".join([head, *lines])


def error_table(experiment: Experiment, result: Result) -> str:
    """The root mean square error of the predictions one step ahead, and that of the persistence baseline, which
    predicts the last value. For an ensemble, the median over its networks; of many columns, the first ones.
    """
    P, D = len(result.predictions), experiment.x.shape[-1]
    border = max(0, P - experiment.held_out)
    rows = experiment.rows(len(experiment.x) - P)
    networks = result.predictions.reshape(P, -1, D)[:, result.converged().ravel()]
    error, naive = networks - rows[1:, None], rows[:-1] - rows[1:]
    names = [
        f", {shortened(name, MAX_WIDTH)}" if D > 1 else ""
        for name in experiment.column_names[:MAX_ERRORS]
    ]
    width = max(36, *(len(f"trained on, {P} steps{name}") for name in names))
    lines = [
        f"{'one step ahead, root mean square error':{width + 8}}network   persistence baseline"
    ]
    for what, steps in (("trained on", slice(border)), ("held out", slice(border, P))):
        if count := len(naive[steps]):
            medians = np.median(
                np.hypot.reduce(error[steps], axis=0) / np.sqrt(count), axis=0
            )  # squares may overflow
            baselines = np.hypot.reduce(naive[steps], axis=0) / np.sqrt(count)
            for name, median, baseline in zip(names, medians, baselines):
                head = f"{what}, {pluralize(count, 'step')}{name}"
                lines.append(
                    f"{head:{width}}  {format_number(median, 13)}   {format_number(baseline, 20)}"
                )
    if D > MAX_ERRORS:
        lines.append(f"   ...  ({pluralize(D - MAX_ERRORS, 'more column')})")
    return "\n".join(lines)
