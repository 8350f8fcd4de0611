"""The report of `train` on a text, as min-char-rnn: rows of its smoothed loss, samples,
and bits per character of what is held out.
"""

from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.networks import Networks
from numpy_rnn.app.options import CommandOptions
from numpy_rnn.app.text_data import Text, bigram_bits, frequency_bits
from numpy_rnn.app.text_model import draw_text, held_out_nats
from numpy_rnn.app.train_report import Report
from numpy_rnn.app.training import Training
from numpy_rnn.common.records import NumpyArray, Reduction, Update
from numpy_rnn.common.texts import pluralize, printable

SMOOTHING = 0.999  # of the smoothed loss of a text, at each update


class TextReport(Report):
    """The report on a text."""

    def __init__(
        self, training: Training, experiment: Experiment, options: CommandOptions
    ):
        """Start from the loss of characters that are drawn at random."""
        super().__init__(training, options)
        assert isinstance(experiment.data, Text)
        self.text = experiment.data
        steps = options.k1 if options.reduction == "sum" else 1
        self.smoothed_loss = steps * np.log(len(self.text.alphabet))

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
        printed.
        """
        self.smoothed_loss *= SMOOTHING
        self.smoothed_loss += (1 - SMOOTHING) * float(update.loss)
        if self.training.updates_made % self.options.log_every:
            return []
        return self.latest_lines()

    def result(self) -> list[str]:
        """Return the row of the last update, and a sample, unless they are printed; and
        the verdict on what is held out.

        Raises Diverged if the sample cannot be drawn.
        """
        updates = self.training.updates_made
        lines = []
        if not updates or updates % self.options.log_every:
            lines = self.latest_lines()
        if self.text.held_out:
            lines += self.verdict()
        return lines

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
        """Draw a text of so many characters after the first one of the text.

        Raises Diverged if an output is not finite.
        """
        seed = self.options.seed, self.training.updates_made
        return draw_text(
            self.networks(),
            self.text.alphabet,
            self.text.sequence[:1],
            length,
            self.options.temperature,
            np.random.default_rng(seed),
        )

    def networks(self) -> Networks:
        """Return the current network."""
        return networks_of(self.training)

    def verdict(self) -> list[str]:
        """Return the bits per held-out character of the network, and of letters and
        pairs of them.
        """
        text = self.text
        nats = held_out_nats(self.networks(), text)
        bits = nats / text.held_out / np.log(2)
        line = f"held out, {pluralize(text.held_out, 'character')}:"
        verdicts = []
        for name, other in (
            ("the letters' frequencies", frequency_bits(text)),
            ("a bigram table", bigram_bits(text)),
        ):
            word = "better" if bits < other else "worse"
            verdicts.append(f"{word} than {name} ({other:.3f})")
        return [f"{line} {bits:.3f} bits per character, {', and '.join(verdicts)}"]


def networks_of(training: Training) -> Networks:
    """Return the current networks of a training."""
    nonlinearity = training.run.options.objective.nonlinearity
    return Networks(training.rnn, training.params, nonlinearity)


def held_out_text_loss(text: Text, reduction: Reduction) -> Any:
    """Return the function that computes the loss, (1,), of what is held out."""

    def loss(training: Training) -> NumpyArray:
        nats = held_out_nats(networks_of(training), text)
        if reduction == "mean":
            nats /= text.held_out
        return np.array([nats])

    return loss
