"""What `train` prints of a training: losses while it runs, and its result. This file
has the report on a series: the errors of its predictions, and the verdict on them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.forecast import (
    GENERATED,
    Errors,
    Predictions,
    errors_of,
    predict,
)
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.output import format_table
from numpy_rnn.app.series import Scaling, Series
from numpy_rnn.app.training import BAND, REMEDIES, Diverged, Training, band_of
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import NumpyArray, Reduction, Update
from numpy_rnn.common.texts import pluralize

SHOWN_FORECASTS = 5
MAX_VERDICTS = 8  # targets that have a sentence


class Report(ABC):
    """The report on a training, line by line."""

    def __init__(self, training: Training, options: CommandOptions):
        """Report on a training with these options of the command."""
        self.training = training
        self.options = options
        self._told = 0  # networks that diverged

    @abstractmethod
    def heading(self) -> str:
        """Return the heading of the losses."""

    @abstractmethod
    def after(self, update: Update[Any]) -> list[str]:
        """Return the lines that are printed after an update."""

    @abstractmethod
    def result(self) -> list[str]:
        """Return the lines after the last update. Raises Diverged if there is no
        result.
        """

    def newly_diverged(self) -> list[str]:
        """Return the lines on networks that diverged since the last call."""
        lines = self.training.diverged[self._told :]
        self._told += len(lines)
        return lines


class SeriesReport(Report):
    """The report on a series: a table of losses, one of errors, and a forecast."""

    def __init__(
        self, training: Training, experiment: Experiment, options: CommandOptions
    ):
        """Report on the training of a series."""
        super().__init__(training, options)
        data, _, scaling, _ = experiment
        assert isinstance(data, Series)
        assert scaling is not None
        self.series = data
        self.scaling = scaling
        self.predictions: Predictions | None = None  # of a result

    def heading(self) -> str:
        """Return the heading of the losses."""
        networks = self.training.run.params.networks
        heading = "epoch           loss"
        if networks is not None:
            heading = "epoch    median loss           10 %           90 %"
        if self.series.held_out:
            heading += "       held out"
        if networks is not None:
            heading += f"   of {networks} networks"
        return heading

    def after(self, update: Update[Any]) -> list[str]:
        """Return the row of an epoch that ends with this update: the loss, or median
        and band of those of networks, and the median loss of what is held out.
        """
        lines = self.newly_diverged()
        epoch = update.epoch
        is_due = epoch in (1, self.options.epochs) or not epoch % self.options.log_every
        if not is_due or update.number < self.training.updates_per_epoch:
            return lines
        is_alive = self.training.is_alive
        losses = self.training.losses[-1][is_alive]
        row = f"{epoch:5d}"
        is_ensemble = self.training.run.params.networks is not None
        for value in np.percentile(losses, BAND if is_ensemble else BAND[:1]):
            row += f"{value:15.6g}"
        if self.series.held_out:
            held_out = np.median(self.training.held_out_losses[-1][is_alive])
            row += f"{held_out:15.6g}"
        return [*lines, row]

    def drawn(self) -> int:
        """Return the steps after the last row that are drawn: a forecast, or if nothing
        is held out, some in any case.
        """
        series = self.series
        if self.options.forecast or series.held_out or series.feedback() is None:
            return self.options.forecast
        try:
            series.times.followed_by(GENERATED)
        except InputError:  # of the last year that there is
            return 0
        return GENERATED

    def result(self) -> list[str]:
        """Predict the series, and return the table of the errors, the verdict, and the
        first steps of the forecast.

        Networks whose predictions are not finite are left out. Raises Diverged if none
        is left.
        """
        training = self.training
        training.leave_out_unusable()
        steps = self.options.forecast
        predictions = predict(
            training.forward, training.run.h_0, self.series, self.scaling, self.drawn()
        )
        is_alive = training.is_alive
        predictions = Predictions(*(values[:, is_alive] for values in predictions))
        if not np.isfinite(predictions.one_step).all():
            raise Diverged(f"the predictions are not finite; {REMEDIES}")
        self.predictions = predictions
        lags = training.run.options.schedule.k2
        errors = errors_of(self.series, predictions.one_step, lags)
        lines = self.newly_diverged()
        lines += [*error_table(errors), *verdicts(errors)]
        return lines + forecast_lines(self.series, predictions.forecast[:steps])


def held_out_loss_of(
    series: Series, scaling: Scaling, reduction: Reduction
) -> Callable[[Training], NumpyArray]:
    """Return the function that computes the losses, (N,), of the steps held out, as
    those of the steps that are trained on.
    """

    def loss(training: Training) -> NumpyArray:
        h_0 = training.run.h_0
        x = scaling.scaled_inputs(series, h_0.dtype)[:-1]
        target = scaling.scaled_targets(series, h_0.dtype)[1:]
        y, _ = training.forward(x, h_0)
        arrays = y[series.border :], target[series.border :]
        rnn = training.rnn
        values = rnn.half_squared_error(*rnn.from_numpy(arrays), reduction=reduction)
        return np.asarray(rnn.to_numpy(values), np.float64).reshape(-1)

    return loss


def error_table(errors: Sequence[Errors]) -> list[str]:
    """Return the table of the root mean square errors of the network and of simple
    predictions: persistence, the last value again, and a linear autoregression.
    """
    has_linear = any(row.autoregression is not None for row in errors)
    heading = ["one step ahead, root mean square error", "network", "persistence"]
    if has_linear:
        heading.append("linear autoregression")
    rows = [heading]
    for row in errors:
        cells = [f"{row.part}, {pluralize(row.steps, 'step')}: {row.target}"]
        cells += [f"{row.network:.6g}", f"{row.persistence:.6g}"]
        if row.autoregression is not None:
            cells.append(f"{row.autoregression:.6g}")
        rows.append(cells)
    return format_table(rows)


def verdicts(errors: Sequence[Errors]) -> list[str]:
    """Return a sentence on each target, of what is held out if anything is: what the
    network is better or worse than.
    """
    part = errors[-1].part
    lines: list[str] = []
    for row in errors:
        if row.part != part or len(lines) == MAX_VERDICTS:
            continue
        line = f"{part}, {row.target}: " + compared(
            row.network, row.persistence, "repeating the last value"
        )
        if row.autoregression is not None:
            line += ", and " + compared(
                row.network, row.autoregression, "linear autoregression"
            )
        lines.append(line)
    return lines


def compared(network: float, other: float, name: str) -> str:
    """Return whether an error of the network is better than another one."""
    word = "as good as"
    if network != other:
        word = "better than" if network < other else "worse than"
    return f"{word} {name} ({network:.4g}, {other:.4g})"


def forecast_lines(series: Series, forecast: NumpyArray) -> list[str]:
    """Return the table of the first steps of a forecast: of an ensemble the median, and
    the 10th and 90th percentile.
    """
    if not len(forecast):
        return []
    heading = ["forecast"]
    bands = band_of(forecast)
    if forecast.shape[1] == 1:
        bands = bands[:1]
    for target in series.target_columns:
        heading += [target, "10 %", "90 %"][: len(bands)]
    rows = [heading]
    shown = series.times.followed_by(len(forecast)).labels[:SHOWN_FORECASTS]
    for n, label in enumerate(shown):
        row = [label]
        for index in range(len(series.target_columns)):
            row += [f"{values[n, index]:.6g}" for values in bands]
        rows.append(row)
    lines = format_table(rows)
    if len(forecast) > len(shown):
        lines.append(f"... {len(forecast) - len(shown)} more in --predictions FILE")
    return lines
