"""What training on a series or on a text prints, and what it results in: predictions
and samples.
"""

from typing import Any

import numpy as np

from numpy_rnn.app.data import Series
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.printing import format_table
from numpy_rnn.app.updates import BAND, REMEDIES, Curve, Diverged, Training
from numpy_rnn.common.records import NumpyArray, Update
from numpy_rnn.common.texts import pluralize, printable, some_of

SMOOTHING = 0.999  # of the smoothed loss of a text, at each update
GENERATED = 20  # free-running steps
# What a run results in: the curves by their kinds, which are plotted, none of a text;
# and lines, which are printed.
RunResult = tuple[dict[str, Curve], list[str]]


class SeriesReport:
    """The report on a series: a table of losses, and one of errors."""

    def __init__(self, training: Training, series: Series, log_every: int):
        """Report on a training. log_every is the number of epochs between rows."""
        self.training = training
        self.series = series
        self.log_every = log_every

    def heading(self) -> str:
        """Return the heading of the losses."""
        networks = self.training.run.params.networks
        if networks is None:
            return "epoch           loss"
        columns = "epoch    median loss           10 %           90 %"
        return f"{columns}   of {networks} networks"

    def after(self, update: Update[Any]) -> list[str]:
        """Return the row of an epoch that ends with this update: the loss, or median
        and band of those of networks.
        """
        training = self.training
        epoch = update.epoch
        if training.updates_made % training.updates_per_epoch:
            return []
        is_last = epoch == training.run.options.schedule.epochs
        if epoch % self.log_every and epoch != 1 and not is_last:
            return []
        losses = training.losses[-1]
        percentiles = BAND if len(losses) > 1 else BAND[:1]
        row = f"{epoch:5d}"
        for value in np.percentile(losses, percentiles):
            row += f"{value:15.6g}"
        return [row]

    def result(self) -> RunResult:
        """Return losses, predictions and the series, and the table of the errors of
        the predictions.

        Raises Diverged if a prediction is not finite.
        """
        curves = predict(self.training, self.series)
        predicted = curves["predicted"].values
        if not np.isfinite(predicted).all():
            raise Diverged(f"the predictions are not finite; {REMEDIES}")
        losses = np.reshape(self.training.losses, (-1, predicted.shape[1], 1))
        curves["loss"] = Curve(1, losses)
        curves["actual"] = Curve(1, self.series.rows[:, None])
        return curves, error_table(self.series, predicted)


def predict(training: Training, series: Series) -> dict[str, Curve]:
    """Predict a series one step ahead, and freely, each value being the next input.

    Parameters
    ----------
    training : Training
        Its current networks, N of them, predict, from its initial state.
    series : Series
        The series.

    Returns
    -------
    dict of str to Curve
        In units of the series: "predicted", one step ahead; "free-running", after the
        last step that is not held out, as many steps as are held out, or else 20.
    """

    def curve(first: int, y: NumpyArray) -> Curve:
        values = y.astype(np.float64) * series.deviation + series.mean
        return Curve(first, values.reshape(len(y), -1, values.shape[-1]))

    predicted, states = training.forward(series.x, training.run.h_0)
    border = len(predicted) - series.held_out
    y = predicted[border - 1 : border]
    h = states[border]
    continuation = []
    for _ in range(series.held_out or GENERATED):
        y, states = training.forward(y, h)
        h = states[-1]
        continuation.append(y)
    return {
        "predicted": curve(2, predicted),
        "free-running": curve(border + 2, np.concatenate(continuation)),
    }


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
    rows = [
        ["one step ahead, root mean square error", "network", "persistence baseline"]
    ]
    worse = []
    for part, steps in parts.items():
        network = _root_mean_square(errors[steps])
        persistence = _root_mean_square(changes[steps])
        count = pluralize(len(errors[steps]), "step")
        for column, error, change in zip(series.columns, network, persistence):
            heading = f"{part}, {count}: {column}"
            rows.append([heading, f"{error:.6f}", f"{change:.6f}"])
            if part == "trained on" and not error < change:
                worse.append(column)
    lines = format_table(rows)
    if worse:
        lines.append(
            f"the network is not better than persistence for {some_of(worse)}: try more"
            " --epochs, or another --learning-rate"
        )
    return lines


def _root_mean_square(errors: NumpyArray) -> NumpyArray:
    """Return the median over networks of errors (T, networks, D)."""
    return np.asarray(np.median(np.sqrt((errors**2).mean(axis=0)), axis=0))


class TextReport:
    """The report on a text, as min-char-rnn: rows of its smoothed loss, and samples."""

    def __init__(self, training: Training, text: Series, options: CommandOptions):
        self.training = training
        self.text = text
        self.options = options
        steps = options.k1 if options.reduction == "sum" else 1
        self.smoothed_loss = steps * float(np.log(len(text.alphabet)))

    def heading(self) -> str:
        """Describe the text, and return the heading of the rows."""
        return (
            f"{len(self.text.alphabet)} different characters,"
            f" {self.training.updates_per_epoch} updates per epoch;"
            f" the loss at random is {self.smoothed_loss:.3f}\n"
            "  update   epoch   smoothed loss"
        )

    def after(self, update: Update[Any]) -> list[str]:
        """Smooth the loss of an update. Return its row and a sample, if they are
        printed; those of the last update are in the result.
        """
        loss = float(update.loss)
        self.smoothed_loss = SMOOTHING * self.smoothed_loss + (1 - SMOOTHING) * loss
        training = self.training
        is_last = (
            training.updates_made == training.updates_per_epoch * self.options.epochs
        )
        if is_last or training.updates_made % self.options.log_every:
            return []
        return self.latest_lines()

    def result(self) -> RunResult:
        """Return the row of the last update, and a sample.

        Raises Diverged if the sample cannot be drawn.
        """
        return {}, self.latest_lines()

    def latest_lines(self) -> list[str]:
        """Return the row of the latest update, and a sample between two rules."""
        training = self.training
        lines = [
            f"{training.updates_made:8d}{training.epoch:8d}{self.smoothed_loss:16.6f}"
        ]
        sample = self.sample(self.options.sample)
        if sample:
            lines += ["----", *map(printable, sample.split("\n")), "----"]
        return lines

    def sample(self, length: int) -> str:
        """Draw a text: each character from softmax(y / temperature), the next input.

        Parameters
        ----------
        length : int
            Number of characters.

        Returns
        -------
        str
            The text.

        Raises
        ------
        Diverged
            If an output is not finite.
        """
        training = self.training
        seed = (self.options.seed, training.updates_made)
        generator = np.random.default_rng(seed)
        h = training.run.h_0
        x = self.text.x[:1]
        sample = ""
        for _ in range(length):
            outputs, states = training.forward(x, h)
            h = states[-1]
            y = outputs[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged(f"a sample cannot be drawn: y is not finite; {REMEDIES}")
            p = np.exp((y - y.max()) / self.options.temperature)
            x = generator.choice(len(p), (1, 1), p=p / p.sum())
            sample += self.text.alphabet[x.item()]
        return sample
