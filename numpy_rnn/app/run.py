"""Training runs: their updates and losses, and what they print."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.predictions import BAND, Result, predict
from numpy_rnn.app.tables import error_table, format_number, series_table
from numpy_rnn.common.records import Parameters, Run, Step, Update
from numpy_rnn.common.texts import join_names, pluralize, printable

LOG_EVERY, LOG_UPDATES = 10, 1000  # epochs; updates of a text
KEPT = 0.999  # of the smoothed loss, at each update
REMEDIES = (
    "try a lower --learning-rate, gradient clipping with --max-norm, or --standardize"
)


class Diverged(ArithmeticError):
    """A run diverged: a value overflowed or is NaN. The message is one line."""


class Trainer:
    """A run on a series: an iterable of its updates, and what it prints."""

    def __init__(self, rnn: Any, experiment: Experiment, configuration: Configuration):
        """Raises InputError if options and data do not agree."""
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.run = experiment.run(configuration.run_options())
        self.per_epoch = updates_per_epoch(self.run)
        self.updates = 0
        self.latest: Update[Any] | None = None
        self.loss = np.zeros(experiment.networks)  # of the latest update
        self.losses: list[np.ndarray] = []  # of the finished epochs
        self.result: Result | None = None  # of a series, after `final`
        self.smoothed = experiment.smoothed or 0.0  # loss of a text
        self._iterator = begin(rnn, self.run)

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates. Raises Diverged if no network of the ensemble has a finite
        loss.
        """
        total = np.zeros_like(self.loss)
        for update in self._iterator:
            loss = np.asarray(self.rnn.to_numpy(update.loss), np.float64)
            if not np.isfinite(loss).any():
                place = self._not_finite(update)
                raise Diverged(f"the run diverged: {place}; {REMEDIES}")
            weight = 1.0
            if self.configuration.reduction == "mean":
                weight = update.window.loss_steps / len(self.run.x)
            total = total + loss * weight
            self.latest, self.loss, self.updates = update, loss, self.updates + 1
            if update.number == self.per_epoch:
                self.losses.append(total)
                total = np.zeros_like(loss)
            yield update

    def _not_finite(self, update: Update[Any]) -> str:
        """Name the first tensor that is not finite, of the latest update or of this
        one.
        """
        was_finite = np.isfinite(self.loss)
        for each in filter(None, (self.latest, update)):
            tensors = {"loss": each.loss}
            groups = {"d": each.gradients, "v": each.velocity, "": each.parameters}
            for prefix, group in groups.items():
                for name, tensor in zip(Parameters._fields, group or ()):
                    if tensor is not None:
                        tensors[prefix + name] = tensor
            for name, tensor in tensors.items():
                numbers = self.rnn.to_numpy(tensor)[was_finite]
                if not np.isfinite(numbers).all():
                    place = f"epoch {each.epoch}, update {each.number}"
                    return f"{place}: {name} is not finite"
        raise AssertionError("no loss was finite")

    def weights(self) -> tuple[Any, Any]:
        """Return the current parameters and velocity, as NumPy arrays."""
        if self.latest is None:
            return self.run.params, self.run.velocity
        to_numpy = self.rnn.to_numpy
        return to_numpy(self.latest.parameters), to_numpy(self.latest.velocity)

    def heading(self) -> str:
        """Return the heading of the losses."""
        networks = self.experiment.networks
        if not networks:
            return "epoch          loss"
        head = "epoch   median loss           10 %           90 %"
        return f"{head}   of {networks[0]} networks"

    def lines(self) -> list[str]:
        """Return the row of an epoch that has ended: the loss, or median and band of
        the finite ones.
        """
        epoch, rest = divmod(self.updates, self.per_epoch)
        every = self.configuration.log_every or LOG_EVERY
        is_printed = epoch % every == 0 or epoch in (1, self.configuration.epochs)
        if rest or not is_printed:
            return []
        loss = self.losses[-1]
        low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
        values = [median, low, high] if loss.ndim else [median]
        shown = [format_number(value, 12, abs(median)) for value in values]
        return [f"{epoch:5d}  " + "   ".join(shown)]

    def final(self) -> list[str]:
        """Return the tables of predictions and errors. Raises Diverged if no prediction
        is finite.
        """
        experiment, objective = self.experiment, self.run.options.objective
        made = predict(self.rnn, self.weights()[0], experiment, objective)
        self.result = Result(np.reshape(self.losses, (-1, *experiment.networks)), *made)
        converged = self.result.converged()
        if not converged.all():
            networks = pluralize(converged.size, "network")
            count = f"{np.sum(~converged)} of {networks} diverged"
            if not converged.any():
                raise Diverged(f"{count}: the predictions are not finite; {REMEDIES}")
            message = f"{self.rnn.__name__}: {count}; medians leave them out"
            print(message, file=sys.stderr)
        lines = series_table(experiment, self.result)
        if self.configuration.data is not None:
            lines += error_table(experiment, self.result)
        return lines


def updates_per_epoch(run: Run) -> int:
    """Return the number of updates of an epoch, (T1)."""
    return len(range(0, len(run.x), run.options.schedule.k1))


def begin(rnn: Any, run: Run) -> Iterator[Update[Any]]:
    """Begin a run by a package: its updates."""
    arrays = (run.params, run.x, run.target, run.h_0)
    updates: Iterator[Update[Any]] = rnn.train(
        *map(rnn.from_numpy, arrays),
        velocity=rnn.from_numpy(run.velocity),
        **run.options.keywords(),
    )
    return updates


def heading(name: str, experiment: Experiment, configuration: Configuration) -> str:
    """Describe the run of a package in one line."""
    run = experiment.run(configuration.run_options())._replace(x=experiment.x)
    seed, networks = configuration.seed, configuration.seeds
    start = f"seed {seed}"
    if networks is not None:
        start = f"seeds {seed} to {seed + networks - 1}"
    if configuration.weights is not None:
        start = f"weights from {printable(configuration.weights)}"
        if experiment.velocity is not None:
            start = start.replace("weights", "weights and velocity", 1)
    return f"{described([name], experiment.name, [run])}, {start}"


def described(names: list[str], series: str, runs: list[Run]) -> str:
    """Describe packages, the series, the sizes, and the options that are not off of
    runs that differ in their schedules.
    """
    run = runs[0]
    T, B = run.x.shape[:2]
    D, (H, O) = run.params.W_xh.shape[-2], run.params.W_hy.shape[-2:]
    biases = "no biases" if run.params.b_h is None else "biases"
    parts = [f"{join_names(names)}: {series}", f"T={T} B={B} D={D} H={H} O={O}"]
    parts += [biases, str(run.params.W_hh.dtype)]
    parts.append(join_names([schedule_name(each) for each in runs]))
    parts += run.options.objective
    return ", ".join([*parts, step_words(run.options.step)])


def schedule_name(run: Run) -> str:
    """Return the name of the schedule of a run, such as TBPTT(1, 5)."""
    k1, k2, _ = run.options.schedule
    return f"TBPTT({k1}, {k2})"


def step_words(step: Step) -> str:
    """Describe a step by its learning rates and its options that are not off."""
    rates = np.ravel(step.learning_rate)
    parts = ["learning rate " + " ".join(f"{rate:g}" for rate in rates[:3])]
    for name, value in step._asdict().items():
        words = name.replace("_", " ")
        if not value or name == "learning_rate":
            continue
        parts.append(words if value is True else f"{words} {value:g}")
    return ", ".join(parts)


class TextRun(Trainer):
    """A run on a text, as min-char-rnn."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.steps = 1  # of which a loss is the sum
        if self.configuration.reduction == "sum":
            self.steps = self.configuration.k1
        characters = len(self.experiment.alphabet)
        self.uniform = float(np.log(characters)) * self.steps  # loss at random
        self.smoothed = self.smoothed or self.uniform

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates, and smooth their losses."""
        for update in super().__iter__():
            self.smoothed = KEPT * self.smoothed + (1 - KEPT) * float(self.loss)
            yield update

    def heading(self) -> str:
        """Describe the text, and return the heading of the rows."""
        characters = pluralize(len(self.experiment.alphabet), "different character")
        updates = pluralize(self.per_epoch, "update")
        loss = f"the loss of {pluralize(self.steps, 'character')} at random"
        about = f"{characters}, {updates} per epoch; {loss} is {self.uniform:.3f}"
        return f"{about}\n  update   epoch   smoothed loss"

    def lines(self) -> list[str]:
        """Return the row of the latest update, if it is printed, and a sample; `final`
        has the last.
        """
        is_last = self.updates == self.per_epoch * self.configuration.epochs
        every = self.configuration.log_every or LOG_UPDATES
        if is_last or self.updates % every:
            return []
        return self.final()

    def final(self) -> list[str]:
        """Return the row of the latest update, and a sample between two rules."""
        epoch = self.latest.epoch if self.latest else 0
        row = f"{self.updates:8d}{epoch:8d}{self.smoothed:16.6f}"
        drawn = self.sample(self.configuration.sample)
        if not drawn:
            return [row]
        return [row, "----", *map(printable, drawn.split("\n")), "----"]

    def sample(self, length: int) -> str:
        """Draw a text, each character from softmax(y / temperature), and then the next
        input.
        """
        rnn, configuration = self.rnn, self.configuration
        generator = np.random.default_rng((configuration.seed, self.updates))
        theta = rnn.from_numpy(self.weights()[0])
        h = rnn.from_numpy(self.experiment.h_0)
        character, drawn = int(self.experiment.x[0, 0]), ""
        for _ in range(length):
            x = rnn.from_numpy(np.array([[character]]))
            made = rnn.forward(theta, x, h, nonlinearity=configuration.nonlinearity)
            h, y = made.h[-1], rnn.to_numpy(made.y)[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged(
                    "a sample cannot be drawn: y is not finite; lower --learning-rate"
                )
            p = np.exp((y - y.max()) / configuration.temperature)
            character = int(generator.choice(len(p), p=p / p.sum()))
            drawn += self.experiment.alphabet[character]
        return drawn
