"""A character-level language model, as min-char-rnn: its text, its smoothed loss, and samples that it writes."""

import io
from argparse import Namespace
from typing import TYPE_CHECKING, Any

import numpy as np

from numpy_rnn.app.format import MAX_TITLE, drawable, number_of
from numpy_rnn.app.results import write_results
from numpy_rnn.app.series import read_text
from numpy_rnn.common.errors import Diverged, InputError, shortened, some_of
from numpy_rnn.common.packages import __version__
from numpy_rnn.common.records import Parameters

if TYPE_CHECKING:
    from numpy_rnn.app.configuration import Configuration
    from numpy_rnn.app.experiment import Experiment
    from numpy_rnn.app.run import Progress, Trainer

DEVIATIONS = 0.01, 0.01  # of the initial weights, as in min-char-rnn
KEPT = 0.999  # of the smoothed loss, at each update
LOG_EVERY = 1000  # updates
SAMPLE = 200  # characters
RULE = "----"


# -- characters and classes -----------------------------------------------------------------------------------------


def read_characters(path: str) -> str:
    """The text of a file, or of standard input for "-", with any line ends. Raises InputError if it is not a text."""
    try:
        text = read_text(path)
    except OSError as error:
        raise InputError(f"text {path} cannot be read: {error.strerror or error}; check the path") from None
    except InputError as error:
        raise InputError(f"text {path}: {error}") from None
    return io.StringIO(text, newline=None).getvalue()  # every line end becomes "\n"


def used_characters(text: str, path: str) -> str:
    """The characters of a text, each once, in the order of Unicode. Raises InputError if there are fewer than two."""
    alphabet = "".join(sorted(set(text)))
    if len(alphabet) < 2 or "\0" in alphabet:
        raise InputError(f"text {path} is binary, or has fewer than 2 different characters: expected a text file")
    return alphabet


def character_classes(text: str, alphabet: str, path: str) -> np.ndarray:
    """The class of every character: its place in the alphabet, from 0, as integers (N,).

    Raises InputError on characters that the alphabet does not have.
    """
    unknown = sorted(set(text) - set(alphabet))
    if unknown:
        described = (f"{c!r} (U+{ord(c):04X})" for c in unknown)
        raise InputError(f"text {path} has {some_of(described)}: expected only characters that the run was trained on")
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return np.searchsorted(np.frombuffer(alphabet.encode("utf-32-le"), np.uint32), points)


def visible(text: str) -> str:
    """A text that is safe on a terminal: line ends and tabs as they are, other control characters as escapes."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


# -- the smoothed loss ----------------------------------------------------------------------------------------------


def random_loss(experiment: "Experiment", configuration: "Configuration") -> float:
    """The loss of an update whose every output gives all characters the same probability."""
    return float(np.log(len(experiment.alphabet or "")) * (configuration.k1 if configuration.reduction == "sum" else 1))


def smooth(before: float, losses: np.ndarray) -> list[float]:
    """The smoothed loss after each update: 0.999 times the one before, and 0.001 of the loss."""
    smoothed = []
    for loss in losses.tolist():
        before = before * KEPT + loss * (1 - KEPT)
        smoothed.append(before)
    return smoothed


# -- samples --------------------------------------------------------------------------------------------------------


@np.errstate(over="ignore", under="ignore", invalid="ignore")  # of outputs, and at low temperatures
def sample(
    rnn: Any, params: Parameters, experiment: "Experiment", configuration: "Configuration", length: int, **how: Any
) -> str:
    """A text of this length that the network writes: each character is drawn from the distribution of the network,
    softmax(y / temperature), and is its next input.

    It begins where an epoch begins, with the initial state and the first character of the text.

    params: NumPy arrays. how: temperature, and the seed of the generator. Raises Diverged if an output overflows.
    """
    alphabet, generator = experiment.alphabet or "", np.random.default_rng(how["seed"])
    theta = rnn.from_numpy(params)
    h = rnn.from_numpy(experiment.h_0) if params.h_0 is None else theta.h_0
    character, drawn = int(experiment.x[0, 0]), []
    for _ in range(length):
        x = rnn.from_numpy(np.array([[character]]))
        activations = rnn.forward(theta, x, h, nonlinearity=configuration.nonlinearity)
        h = activations.h[-1]
        y = rnn.to_numpy(activations.y)[0, 0].astype(np.float64)
        if not np.isfinite(y).all():
            raise Diverged("a sample cannot be drawn: an output is not finite; try a smaller --learning-rate")
        p = np.exp((y - y.max()) / how["temperature"])
        character = int(generator.choice(len(alphabet), p=p / p.sum()))
        drawn.append(alphabet[character])
    return "".join(drawn)


class TextReport:
    """What one run on a text prints, writes and draws.

    A row has the smoothed loss of an update. A sample follows a row, or several where they come faster than the run
    yields.
    """

    def __init__(self, rnn: Any, experiment: "Experiment", configuration: "Configuration", arguments: Namespace):
        if arguments.generate is not None:
            raise InputError("--generate is given with --text: use --sample N for a text of the network")
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.length = SAMPLE if arguments.sample is None else arguments.sample
        self.temperature, self.log_every = arguments.temperature or 1.0, arguments.log_every or LOG_EVERY
        self.updates_per_epoch = len(experiment.x) // configuration.k1
        self.points: list[tuple[int, float]] = []  # (update, smoothed loss), of this part of the run

    def heading(self) -> str:
        """The text, and the heading of the rows."""
        k1 = self.configuration.k1
        terms = f"the sum over {k1} characters" if self.configuration.reduction == "sum" else "the mean"
        return (
            f"{number_of(len(self.experiment.alphabet or ''), 'different character')},"
            f" {number_of(self.updates_per_epoch, 'update')} per epoch; the loss is {terms}, and"
            f" {random_loss(self.experiment, self.configuration):.3f} for characters at random\n"
            "  update   epoch   smoothed loss"
        )

    def update(self, progress: "Progress") -> int:
        """The number of the latest update, from the beginning of the run."""
        return max(0, progress.epoch - 1) * self.updates_per_epoch + progress.number

    def lines(self, progress: "Progress", trainer: "Trainer") -> list[str]:
        """The rows of the latest updates that are printed, and a sample after them. `final` has those of the last."""
        latest, last = self.update(progress), self.updates_per_epoch * self.configuration.epochs
        points = list(enumerate(progress.smoothed, start=latest - len(progress.smoothed) + 1))
        self.points += points
        rows = [_row(n, progress.epoch, loss) for n, loss in points if n % self.log_every == 0 and n < last]
        return [*rows, *self._sampled(trainer, latest)] if rows and latest < last else rows

    def final(self, trainer: "Trainer") -> list[str]:
        """The lines of the last row, and of a sample by the final weights."""
        self.trainer, update = trainer, self.update(trainer.progress)
        return [_row(update, trainer.progress.epoch, trainer.smoothed or 0), *self._sampled(trainer, update)]

    def _sampled(self, trainer: "Trainer", update: int) -> list[str]:
        """The lines of a sample, between two rules; none for a length of 0."""
        return [RULE, visible(self._sample(trainer, update)), RULE] if self.length else []

    def _sample(self, trainer: "Trainer", update: int) -> str:
        """A sample that depends on the seed and the update."""
        how = {"temperature": self.temperature, "seed": (self.configuration.seed, update)}
        return sample(self.rnn, trainer.parameters(), self.experiment, self.configuration, self.length, **how)

    def save(self, path: str) -> None:
        """Write the losses of the epochs. A .json also has the smoothed loss and a sample."""
        losses = self.trainer.losses
        values = {
            "format": "elman-text-results 1",
            "package": self.rnn.__name__,
            "version": __version__,
            "text": self.experiment.name,
            "alphabet": self.experiment.alphabet,
            "configuration": self.configuration.to_dict(),
            "epochs": list(range(1, len(losses) + 1)),
            "losses": losses,
            "smoothed_loss": self.trainer.smoothed,
            "sample": self._sample(self.trainer, self.update(self.trainer.progress)),
        }
        rows = (("loss", epoch, "", "", "", "", loss) for epoch, loss in enumerate(losses.tolist(), start=1))
        write_results(path, values, rows)

    def draw(self, plot: Any) -> None:
        """Draw the loss per character on an empty Matplotlib figure: of every epoch, and smoothed."""
        axes, is_sum = plot.add_subplot(), self.configuration.reduction == "sum"
        losses = self.trainer.losses / (len(self.experiment.x) if is_sum else 1)
        updates = self.updates_per_epoch * np.arange(1, len(losses) + 1)
        axes.plot(updates, losses, "o", ms=3, label="mean of the epoch")
        if self.points:
            updates, smoothed = np.transpose(self.points)
            axes.plot(updates, smoothed / (self.configuration.k1 if is_sum else 1), lw=1.2, label="smoothed")
        at_random = np.log(len(self.experiment.alphabet or ""))
        axes.axhline(at_random, color="gray", ls="--", lw=1, label="characters at random")
        axes.set(xlabel="update", ylabel="cross-entropy per character (nats)", ylim=(0, 1.1 * at_random))
        name = shortened(drawable(self.experiment.name), MAX_TITLE)
        axes.set_title(f"{self.rnn.__name__}: {name}", parse_math=False)
        axes.legend()


def _row(update: int, epoch: int, smoothed: float) -> str:
    return f"{update:8d}{epoch:8d}{smoothed:16.6f}"
