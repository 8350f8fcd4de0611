"""What a run on a text prints, writes and draws: the smoothed loss, samples, and both as a file and a plot."""

import csv
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from numpy_rnn.app.checkpoint import Checkpoint
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.format import MAX_TITLE, drawable, number_of
from numpy_rnn.app.results import HEAD, Result, loss_at_random
from numpy_rnn.app.run import Hooks
from numpy_rnn.app.series import visible
from numpy_rnn.app.storage import save_json, written_whole
from numpy_rnn.common.errors import InputError, printable, shortened
from numpy_rnn.common.packages import __version__
from numpy_rnn.common.records import Parameters

LOG_EVERY = 1000  # updates
DEFAULT_SAMPLE = 200  # characters
MAX_POINTS = 4096  # of the curve of the smoothed loss
RULE = "----"


def row(update: int, epoch: int, smoothed: float) -> str:
    """The row of an update."""
    return f"{update:8d}{epoch:8d}{smoothed:16.6f}"


def sample(
    rnn: ModuleType,
    params: Parameters,
    experiment: Experiment,
    nonlinearity: str,
    length: int,
    temperature: float,
    seed: tuple[int, ...],
) -> str:
    """A text of this length that the network writes: each character is drawn from the distribution of the network,
    softmax(y / temperature), and is its next input.

    It begins where an epoch begins, with the initial state and the first character of the text. params: NumPy arrays.
    """
    alphabet, generator = experiment.alphabet or "", np.random.default_rng(seed)
    theta = rnn.from_numpy(params)
    h = rnn.from_numpy(experiment.h_0) if params.h_0 is None else theta.h_0
    character, drawn = int(experiment.x[0, 0]), []
    for _ in range(length):
        activations = rnn.forward(theta, rnn.from_numpy(np.array([[character]])), h, nonlinearity=nonlinearity)
        h = activations.h[-1]
        y = rnn.to_numpy(activations.y)[0, 0].astype(np.float64)
        with np.errstate(over="ignore", under="ignore"):  # at low temperatures
            p = np.exp((y - y.max()) / temperature)
        character = int(generator.choice(len(alphabet), p=p / p.sum()))
        drawn.append(alphabet[character])
    return "".join(drawn)


class TextReport:
    """The output of one run on a text.

    length, temperature: of the samples; log_every: the updates between two rows. A sample follows a row, or several
    where the rows come faster than the run yields its updates.
    """

    def __init__(
        self,
        rnn: ModuleType,
        experiment: Experiment,
        configuration: Configuration,
        length: int,
        temperature: float,
        log_every: int | None,
        resumed: Checkpoint | None = None,
    ):
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.length, self.temperature, self.log_every = length, temperature, log_every or LOG_EVERY
        self.updates_per_epoch = len(experiment.x) // configuration.k1
        self.points: list[tuple[int, float]] = []  # (update, smoothed loss), of this part of the run
        self.stride = 1  # updates between two of these points
        self.epoch, self.update, self.sampled_at = 0, 0, -1  # the latest update, and that of the latest sample
        self.smoothed = loss_at_random(len(experiment.alphabet or ""), configuration)
        if resumed is not None and resumed.smoothed is not None:
            self._move_to(resumed.state, float(resumed.smoothed))

    def heading(self) -> str:
        """The text, and the heading of the rows."""
        terms = (
            f"the sum over {self.configuration.k1} characters" if self.configuration.reduction == "sum" else "the mean"
        )
        return (
            f"{number_of(len(self.experiment.alphabet or ''), 'different character')},"
            f" {number_of(self.updates_per_epoch, 'update')} per epoch; the loss is {terms}, and"
            f" {loss_at_random(len(self.experiment.alphabet or ''), self.configuration):.3f} for characters at random\n"
            "  update   epoch   smoothed loss"
        )

    def hooks(self, hooks: Hooks, bar: Any) -> Hooks:
        """The hooks of a run that also print rows and samples. bar: the progress bar."""

        def on_smoothed(state, smoothed):
            self._move_to(state, float(smoothed[-1]))
            rows = []
            for update, loss in enumerate(smoothed.tolist(), start=self.update - len(smoothed) + 1):
                self._add_point(update, loss)
                if update % self.log_every == 0:
                    rows.append(row(update, state.epoch, loss))
            if rows:
                with bar.paused():
                    print(*rows, *self.sampled(state.parameters), sep="\n", flush=True)

        return hooks._replace(on_smoothed=on_smoothed, on_epoch=None)

    def _move_to(self, state, smoothed):
        self.epoch, self.smoothed = state.epoch, smoothed
        self.update = (state.epoch - 1) * self.updates_per_epoch + state.number

    def _add_point(self, update, loss):
        if update % self.stride == 0:
            self.points.append((update, loss))
        if len(self.points) > MAX_POINTS:
            self.stride *= 2
            self.points = [point for point in self.points if point[0] % self.stride == 0]

    def sampled(self, params: Parameters) -> list[str]:
        """The lines of a sample, between two rules; none for a length of 0. It depends on the seed and the update."""
        if self.length == 0:
            return []
        self.sampled_at = self.update
        return [RULE, visible(self._sample(params)), RULE]

    def _sample(self, params):
        seed = (self.configuration.seed, self.update)
        of_run = self.experiment, self.configuration.nonlinearity
        return sample(self.rnn, params, *of_run, self.length, self.temperature, seed)

    def final(self, result: Result) -> list[str]:
        """The lines of the last row, and of a sample by the final weights, unless they are printed already."""
        if self.points and self.update % self.log_every == 0:
            return []
        rest = self.sampled(result.params) if self.sampled_at != self.update else []
        return [row(self.update, self.epoch, self.smoothed), *rest]

    def save(self, path: str, result: Result) -> None:
        """Write the losses of the epochs, completely or not at all. A .json also has the smoothed loss and a sample.

        Raises InputError if the file cannot be written.
        """
        epochs = result.epochs_of_losses().tolist()
        if Path(path).suffix.lower() == ".json":
            values: dict[str, Any] = {
                "format": "elman-text-results 1",
                "package": self.rnn.__name__,
                "version": __version__,
            }
            values |= {"text": printable(self.experiment.name), "alphabet": self.experiment.alphabet}
            values |= {"configuration": self.configuration.to_dict(), "epochs": epochs, "losses": result.losses}
            values |= {"smoothed_loss": self.smoothed, "sample": self._sample(result.params)}
            save_json(path, values)
            return
        with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(HEAD)
            rows = zip(epochs, result.losses.tolist())
            writer.writerows(("loss", epoch, "", "", "", "", repr(loss)) for epoch, loss in rows)

    def figure(self, result: Result, plot: Any) -> Any:
        """Draw the loss per character on an empty Matplotlib figure: of every epoch, and smoothed."""
        axes, per_update = plot.add_subplot(), self.configuration.k1 if self.configuration.reduction == "sum" else 1
        T, n = len(self.experiment.x), self.updates_per_epoch
        of_epoch = result.losses / (T if self.configuration.reduction == "sum" else 1)
        axes.plot(result.epochs_of_losses() * n, of_epoch, "o", ms=3, label="mean of the epoch")
        if self.points:
            updates, losses = np.transpose(self.points)
            axes.plot(updates, losses / per_update, lw=1.2, label="smoothed")
        at_random = np.log(len(self.experiment.alphabet or ""))
        axes.axhline(at_random, color="gray", ls="--", lw=1, label="characters at random")
        axes.set(xlabel="update", ylabel="cross-entropy per character (nats)", ylim=(0, 1.1 * at_random))
        name = shortened(drawable(self.experiment.name), MAX_TITLE)
        axes.set_title(f"{self.rnn.__name__}: {name}", parse_math=False)
        axes.legend()
        return plot


def check_output_options(arguments: Namespace, configuration: Configuration) -> None:
    """Raise InputError on options of the output of another kind of run."""
    of_text = configuration.text is not None
    of_samples = {"--sample": arguments.sample, "--temperature": arguments.temperature}
    for name, value in ({"--generate": arguments.generate} if of_text else of_samples).items():
        if value is not None:
            hint = "use --sample N for a text of the network" if of_text else "it is for a text, --text FILE"
            raise InputError(f"{name} is given {'with' if of_text else 'without'} --text: {hint}, or leave it out")


def text_report(
    rnn: ModuleType,
    arguments: Namespace,
    experiment: Experiment,
    configuration: Configuration,
    resumed: Checkpoint | None,
) -> TextReport | None:
    """The report of a run with these arguments; None if the run is not on a text."""
    if experiment.alphabet is None:
        return None
    length = DEFAULT_SAMPLE if arguments.sample is None else arguments.sample
    of_output = length, arguments.temperature or 1.0, arguments.log_every
    return TextReport(rnn, experiment, configuration, *of_output, resumed)
