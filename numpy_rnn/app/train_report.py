"""What `train` prints of a training: losses while it runs, and its result, which are
the errors of the predictions of a series, or a sample of a text.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import BAND, REMEDIES, Curve, Diverged, Training
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.output import format_table
from numpy_rnn.app.series import Series
from numpy_rnn.common.records import NumpyArray, Update
from numpy_rnn.common.texts import pluralize, printable, some_of

SMOOTHING = 0.999  # of the smoothed loss of a text, at each update
GENERATED = 20  # free-running steps


class Report(ABC):
    """The report on a training, line by line."""

    def __init__(self, training: Training, data: Series, options: CommandOptions):
        """Report on a training with these data and options of the command."""
        self.training = training
        self.data = data
        self.options = options
        self.curves: dict[str, Curve] = {}  # of a result of a series, by kinds

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


class SeriesReport(Report):
    """The report on a series: a table of losses, and one of errors."""

    def heading(self) -> str:
        """Return the heading of the losses."""
        networks = self.training.run.params.networks
        if networks is None:
            return "epoch           loss"
        return (
            "epoch    median loss           10 %           90 %"
            f"   of {networks} networks"
        )

    def after(self, update: Update[Any]) -> list[str]:
        """Return the row of an epoch that ends with this update: the loss, or median
        and band of those of networks.
        """
        epoch = update.epoch
        is_due = epoch in (1, self.options.epochs) or not epoch % self.options.log_every
        if not is_due or update.number < self.training.updates_per_epoch:
            return []
        losses = self.training.losses[-1]
        row = f"{epoch:5d}"
        for value in np.percentile(losses, BAND if len(losses) > 1 else BAND[:1]):
            row += f"{value:15.6g}"
        return [row]

    def result(self) -> list[str]:
        """Predict the series, and return the table of the errors of the predictions.

        Raises Diverged if a prediction is not finite.
        """
        self.curves = predict(self.training, self.data)
        predicted = self.curves["predicted"].values
        if not np.isfinite(predicted).all():
            raise Diverged(f"the predictions are not finite; {REMEDIES}")
        losses = np.reshape(self.training.losses, (-1, predicted.shape[1], 1))
        self.curves["loss"] = Curve(1, losses)
        self.curves["actual"] = Curve(1, self.data.rows[:, None])
        return error_table(self.data, predicted)


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
        return Curve(first, values.reshape(len(y), -1, series.size))

    predicted, states = training.forward(series.sequence[:-1], training.run.h_0)
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
            row = [f"{part}, {count}: {column}", f"{error:.6f}", f"{change:.6f}"]
            rows.append(row)
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


class TextReport(Report):
    """The report on a text, as min-char-rnn: rows of its smoothed loss, and samples."""

    def __init__(self, training: Training, data: Series, options: CommandOptions):
        """Start from the loss of characters that are drawn at random."""
        super().__init__(training, data, options)
        steps = options.k1 if options.reduction == "sum" else 1
        self.smoothed_loss = steps * np.log(data.size)

    def heading(self) -> str:
        """Describe the text, and return the heading of the rows."""
        return (
            f"{self.data.size} different characters,"
            f" {self.training.updates_per_epoch} updates per epoch;"
            f" the loss at random is {self.smoothed_loss:.3f}\n"
            "  update   epoch   smoothed loss"
        )

    def after(self, update: Update[Any]) -> list[str]:
        """Smooth the loss of an update. Return its row and a sample, if they are
        printed.
        """
        self.smoothed_loss *= SMOOTHING
        self.smoothed_loss += (1 - SMOOTHING) * float(update.loss)
        if self.training.updates_made % self.options.log_every:
            return []
        return self.latest_lines()

    def result(self) -> list[str]:
        """Return the row of the last update, and a sample, unless they are printed.

        Raises Diverged if the sample cannot be drawn.
        """
        updates = self.training.updates_made
        if updates and updates % self.options.log_every == 0:
            return []
        return self.latest_lines()

    def latest_lines(self) -> list[str]:
        """Return the row of the latest update, and a sample between two rules."""
        lines = [
            f"{self.training.updates_made:8d}{self.training.epoch:8d}"
            f"{self.smoothed_loss:16.6f}"
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
        generator = np.random.default_rng((self.options.seed, training.updates_made))
        h = training.run.h_0
        x = self.data.sequence[:1]
        sample = ""
        for _ in range(length):
            outputs, states = training.forward(x, h)
            h = states[-1]
            y = outputs[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged(f"a sample cannot be drawn: y is not finite; {REMEDIES}")
            p = np.exp((y - y.max()) / self.options.temperature)
            x = generator.choice(len(p), (1, 1), p=p / p.sum())
            sample += self.data.alphabet[x.item()]
        return sample
