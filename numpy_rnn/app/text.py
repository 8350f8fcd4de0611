"""A character-level language model, as min-char-rnn: its text, its samples and its report."""

from argparse import Namespace
from typing import Any

import numpy as np

from numpy_rnn.app.plots import drawable
from numpy_rnn.app.results import loss_rows, save_results
from numpy_rnn.app.run import Progress, Trainer, random_loss
from numpy_rnn.common.errors import Diverged, InputError
from numpy_rnn.common.format import MAX_TITLE, pluralize

LOG_EVERY = 1000  # updates
SAMPLE = 200  # characters
RULE = "----"


def visible(text: str) -> str:
    """A text that is safe on a terminal: line ends and tabs as they are, other control characters as escapes."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # of outputs, and at low temperatures
def sample(trainer: Trainer, length: int, temperature: float) -> str:
    """A text that the network of a run writes: each character is drawn from softmax(y / temperature), and fed back.

    It begins where an epoch begins, with the initial state and the first character of the text, and depends on the seed
    and the update. Raises Diverged if an output overflows.
    """
    rnn, experiment, params = trainer.rnn, trainer.experiment, trainer.parameters()
    nonlinearity, seed = trainer.configuration.nonlinearity, trainer.configuration.seed
    alphabet = experiment.alphabet or ""
    generator = np.random.default_rng((seed, trainer.updates))
    theta = rnn.from_numpy(params)
    h = rnn.from_numpy(experiment.h_0) if params.h_0 is None else theta.h_0
    character, drawn = int(experiment.x[0, 0]), []
    for _ in range(length):
        x = rnn.from_numpy(np.array([[character]]))
        activations = rnn.forward(theta, x, h, nonlinearity=nonlinearity)
        h = activations.h[-1]
        y = rnn.to_numpy(activations.y)[0, 0].astype(np.float64)
        if not np.isfinite(y).all():
            raise Diverged(
                "a sample cannot be drawn: an output is not finite; try a smaller --learning-rate"
            )
        p = np.exp((y - y.max()) / temperature)
        character = int(generator.choice(len(alphabet), p=p / p.sum()))
        drawn.append(alphabet[character])
    return "".join(drawn)


class TextReport:
    """What one run on a text prints, writes and draws: smoothed losses, and a sample after the rows of a yield."""

    def __init__(self, trainer: Trainer, arguments: Namespace):
        if arguments.generate is not None:
            raise InputError(
                "--generate is given with --text: use --sample N for a text of the network"
            )
        self.trainer = trainer
        self.length = SAMPLE if arguments.sample is None else arguments.sample
        self.temperature, self.log_every = (
            arguments.temperature or 1.0,
            arguments.log_every or LOG_EVERY,
        )
        self.sample = ""  # the latest one
        self.points: list[
            tuple[int, float]
        ] = []  # (update, smoothed loss), of this part of the run

    def heading(self) -> str:
        """The text, and the heading of the rows."""
        experiment, configuration = self.trainer.experiment, self.trainer.configuration
        is_sum = configuration.reduction == "sum"
        return (
            f"{pluralize(len(experiment.alphabet or ''), 'different character')},"
            f" {pluralize(self.trainer.updates_per_epoch, 'update')} per epoch; the loss is"
            f" {f'the sum over {configuration.k1} characters' if is_sum else 'the mean'}, and"
            f" {random_loss(experiment, configuration):.3f} for characters at random\n"
            "  update   epoch   smoothed loss"
        )

    def lines(self, progress: Progress) -> list[str]:
        """The rows of the latest updates that are printed, and a sample after them. `final` has those of the last."""
        latest, last = (
            self.trainer.updates,
            self.trainer.updates_per_epoch * self.trainer.configuration.epochs,
        )
        points = list(enumerate(progress.smoothed, start=latest - len(progress.smoothed) + 1))
        self.points += points
        rows = [
            _row(n, progress.epoch, loss)
            for n, loss in points
            if n % self.log_every == 0 and n < last
        ]
        return [*rows, *self._sampled()] if rows and latest < last else rows

    def final(self) -> list[str]:
        """The lines of the last row, and of a sample by the final weights."""
        trainer = self.trainer
        return [
            _row(trainer.updates, trainer.progress.epoch, trainer.smoothed or 0),
            *self._sampled(),
        ]

    def _sampled(self) -> list[str]:
        """The lines of a sample, between two rules; none for a length of 0."""
        if self.length == 0:
            return []
        self.sample = sample(self.trainer, self.length, self.temperature)
        return [RULE, visible(self.sample), RULE]

    def save(self, path: str) -> str:
        """Write the losses of the epochs. Returns what is written."""
        save_results(path, loss_rows(self.trainer.losses))
        return "losses"

    def draw(self, plot: Any) -> None:
        """Draw the loss per character on an empty Matplotlib figure: of every epoch, and smoothed."""
        axes, trainer, experiment = plot.add_subplot(), self.trainer, self.trainer.experiment
        is_sum = trainer.configuration.reduction == "sum"
        losses = trainer.losses / (len(experiment.x) if is_sum else 1)
        updates = trainer.updates_per_epoch * np.arange(1, len(losses) + 1)
        axes.plot(updates, losses, "o", ms=3, label="mean of the epoch")
        if self.points:
            updates, smoothed = np.transpose(self.points)
            axes.plot(
                updates,
                smoothed / (trainer.configuration.k1 if is_sum else 1),
                lw=1.2,
                label="smoothed",
            )
        at_random = np.log(len(experiment.alphabet or ""))
        axes.axhline(at_random, color="gray", ls="--", lw=1, label="characters at random")
        axes.set(
            xlabel="update", ylabel="cross-entropy per character (nats)", ylim=(0, 1.1 * at_random)
        )
        axes.set_title(
            f"{trainer.rnn.__name__}: {drawable(experiment.name, MAX_TITLE)}", parse_math=False
        )
        axes.legend()


def _row(update: int, epoch: int, smoothed: float) -> str:
    return f"{update:8d}{epoch:8d}{smoothed:16.6f}"
