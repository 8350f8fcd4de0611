"""Training runs: their updates and losses, and what they print."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.predictions import BAND, Result, predict
from numpy_rnn.app.tables import error_table, format_number, series_table
from numpy_rnn.common.records import NumpyArray, Run, Step, Update
from numpy_rnn.common.texts import join_names, printable

LOG_EVERY, LOG_UPDATES = 10, 1000  # epochs; updates of a text
SMOOTHING = 0.999  # of the smoothed loss, at each update
REMEDIES = (
    "try a lower --learning-rate, gradient clipping with --max-norm, or --standardize"
)


class Diverged(ArithmeticError):
    """A run diverged: a value overflowed or is NaN. The message is one line."""


class Trainer:
    """A run on a series: an iterable of its updates, and what it prints."""

    def __init__(self, rnn: Any, experiment: Experiment, options: Configuration):
        """Raise InputError if options and data do not agree."""
        self.rnn, self.experiment, self.options = rnn, experiment, options
        self.run = experiment.run(options.run_options())
        self.per_epoch = updates_per_epoch(self.run)
        self.updates = 0
        self.latest: Update[Any] | None = None
        self.losses: list[NumpyArray] = []  # of the finished epochs
        self.result: Result | None = None  # of a series, after `final`
        self._iterator = begin(rnn, self.run)

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates. Raises Diverged if no network of the ensemble has a finite
        loss.
        """
        losses = list[NumpyArray]()
        for update in self._iterator:
            loss = np.asarray(self.rnn.to_numpy(update.loss), np.float64)
            if not np.isfinite(loss).any():
                place = f"epoch {update.epoch}, update {update.number}"
                raise Diverged(f"the run diverged: {place}: no finite loss; {REMEDIES}")
            self.latest, self.updates = update, self.updates + 1
            losses.append(loss.ravel())
            if len(losses) == self.per_epoch:
                self.losses += [*epoch_losses(np.array(losses), self.run)]
                losses = []
            yield update

    def weights(self) -> tuple[Any, Any]:
        """Return the current parameters and velocity, as NumPy arrays."""
        if self.latest is None:
            return self.run.params, self.run.velocity
        to_numpy = self.rnn.to_numpy
        return to_numpy(self.latest.parameters), to_numpy(self.latest.velocity)

    def heading(self) -> str:
        """Return the heading of the losses."""
        networks = self.run.params.networks
        if networks is None:
            return "epoch          loss"
        head = "epoch   median loss           10 %           90 %"
        return f"{head}   of {networks} networks"

    def lines(self) -> list[str]:
        """Return the row of an epoch that has ended: the loss, or median and band of
        the finite ones.
        """
        epoch, rest = divmod(self.updates, self.per_epoch)
        every = self.options.log_every or LOG_EVERY
        if rest or (epoch % every and epoch not in (1, self.options.epochs)):
            return []
        loss = self.losses[-1]
        low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
        row = f"{epoch:5d}  {format_number(median, 12)}"
        for value in [low, high] if len(loss) > 1 else []:
            row += f"   {format_number(value, 12, abs(median))}"
        return [row]

    def final(self) -> list[str]:
        """Return the tables of predictions and errors. Raises Diverged if no prediction
        is finite.
        """
        experiment, objective = self.experiment, self.run.options.objective
        made = predict(self.rnn, self.weights()[0], experiment, objective)
        losses = np.reshape(self.losses, (-1, made[0].shape[1]))
        result = self.result = Result(losses, *made)
        converged = result.converged()
        if not converged.any():
            raise Diverged(f"the predictions are not finite; {REMEDIES}")
        if not converged.all():
            count = f"{np.sum(~converged)} of {converged.size} networks diverged"
            message = f"{self.rnn.__name__}: {count}; medians leave them out"
            print(message, file=sys.stderr)
        lines = series_table(experiment, result)
        if self.options.data is not None:
            lines += error_table(experiment, result)
        return lines


def updates_per_epoch(run: Run) -> int:
    """Return the number of updates of an epoch of a run, (T1)."""
    return len(range(0, len(run.x), run.options.schedule.k1))


def epoch_losses(losses: NumpyArray, run: Run) -> NumpyArray:
    """Compute the loss of every whole epoch.

    Parameters
    ----------
    losses : ndarray, (n,) or (n, N)
        Of the updates, in order.
    run : Run
        The run that made them.

    Returns
    -------
    ndarray, (epochs,) or (epochs, N)
        The sum of the losses of the updates of an epoch; for the reduction "mean", the
        mean over its points.
    """
    count, T = updates_per_epoch(run), len(run.x)
    shares = np.ones(count)
    if run.options.objective.reduction == "mean":
        ends = np.arange(count + 1) * run.options.schedule.k1
        shares = np.diff(np.minimum(ends, T)) / T
    whole = losses[: len(losses) // count * count]
    epochs = whole.reshape(-1, count, *losses.shape[1:])
    return np.asarray(np.einsum("en...,n->e...", epochs, shares))


def begin(rnn: Any, run: Run) -> Iterator[Update[Any]]:
    """Begin a run by a package.

    Parameters
    ----------
    rnn : module
        The package.
    run : Run
        Its data and parameters, as NumPy arrays, and its options.

    Returns
    -------
    iterator of Update
        None is made yet.

    Raises
    ------
    InputError
        If the package refuses the run.
    """
    arrays = map(rnn.from_numpy, (run.params, run.x, run.target, run.h_0))
    velocity, keywords = rnn.from_numpy(run.velocity), run.options.keywords()
    updates: Iterator[Update[Any]] = rnn.train(*arrays, velocity=velocity, **keywords)
    return updates


def heading(name: str, experiment: Experiment, options: Configuration) -> str:
    """Describe the run of a package in one line.

    Parameters
    ----------
    name : str
        The name of the package.
    experiment : Experiment
        The data and the initial weights.
    options : Configuration
        The options.

    Returns
    -------
    str
        The line, with the seed, or the file of the weights.
    """
    run = experiment.run(options.run_options())._replace(x=experiment.x)
    start = f"seed {options.seed}"
    if options.weights is not None:
        start = f"weights from {printable(options.weights)}"
        if experiment.velocity is not None:
            start = start.replace("weights", "weights and velocity", 1)
    return f"{describe_runs([name], experiment.name, [run])}, {start}"


def describe_runs(names: list[str], series: str, runs: list[Run]) -> str:
    """Describe runs that differ in their schedules only, in one line.

    Parameters
    ----------
    names : list of str
        Of the packages that make them.
    series : str
        The name of the data.
    runs : list of Run
        The runs.

    Returns
    -------
    str
        The sizes, and the options that are not off.
    """
    params, options = runs[0].params, runs[0].options
    T, B = runs[0].x.shape[:2]
    D, (H, O) = params.W_xh.shape[-2], params.W_hy.shape[-2:]
    biases = "no biases" if params.b_h is None else "biases"
    schedules = join_names([schedule_name(run) for run in runs])
    return (
        f"{join_names(names)}: {series}, T={T} B={B} D={D} H={H} O={O}, {biases},"
        f" {params.W_hh.dtype}, {schedules}, {', '.join(options.objective)},"
        f" {step_words(options.step)}"
    )


def schedule_name(run: Run) -> str:
    """Return the name of the schedule of a run, such as TBPTT(1, 5)."""
    k1, k2, _ = run.options.schedule
    return f"TBPTT({k1}, {k2})"


def step_words(step: Step) -> str:
    """Describe a step by its learning rates and its options that are not off."""
    rates = [f"{rate:g}" for rate in np.ravel(step.learning_rate)[:3]]
    text = f"learning rate {' '.join(rates)}"
    for name, value in step._replace(learning_rate=0)._asdict().items():
        if value:
            text += f", {name.replace('_', ' ')}"
            text += "" if value is True else f" {value:g}"
    return text


class TextRun(Trainer):
    """A run on a text, as min-char-rnn."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        steps = self.options.k1 if self.options.reduction == "sum" else 1
        self.smoothed = steps * float(np.log(len(self.experiment.alphabet)))

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates, and smooth their losses."""
        for update in super().__iter__():
            self.smoothed = SMOOTHING * self.smoothed + (1 - SMOOTHING) * float(
                update.loss
            )
            yield update

    def heading(self) -> str:
        """Describe the text, and return the heading of the rows."""
        return (
            f"{len(self.experiment.alphabet)} different characters, {self.per_epoch}"
            f" updates per epoch; the loss at random is {self.smoothed:.3f}\n"
            "  update   epoch   smoothed loss"
        )

    def lines(self) -> list[str]:
        """Return the row of the latest update, if it is printed, and a sample; `final`
        has the last.
        """
        is_last = self.updates == self.per_epoch * self.options.epochs
        every = self.options.log_every or LOG_UPDATES
        if is_last or self.updates % every:
            return []
        return self.final()

    def final(self) -> list[str]:
        """Return the row of the latest update, and a sample between two rules."""
        epoch = self.latest.epoch if self.latest else 0
        lines = [f"{self.updates:8d}{epoch:8d}{self.smoothed:16.6f}"]
        drawn = self.sample(self.options.sample)
        if drawn:
            lines += ["----", *map(printable, drawn.split("\n")), "----"]
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
        rnn, options = self.rnn, self.options
        generator = np.random.default_rng((options.seed, self.updates))
        theta = rnn.from_numpy(self.weights()[0])
        h = rnn.from_numpy(self.experiment.h_0)
        x, drawn = self.experiment.x[:1], ""
        for _ in range(length):
            made = rnn.forward(
                theta, rnn.from_numpy(x), h, nonlinearity=options.nonlinearity
            )
            h, y = made.h[-1], rnn.to_numpy(made.y)[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged(f"a sample cannot be drawn: y is not finite; {REMEDIES}")
            p = np.exp((y - y.max()) / options.temperature)
            x = generator.choice(len(p), (1, 1), p=p / p.sum())
            drawn += self.experiment.alphabet[x.item()]
        return drawn
