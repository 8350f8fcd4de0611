"""Training runs: their updates and losses, and what they print."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.predictions import BAND, Curve, error_table, predict
from numpy_rnn.common.records import NumpyArray, Run, Step, Update
from numpy_rnn.common.texts import join_names, one_line, printable

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
        self.updates = self.epoch = 0
        self.params = rnn.from_numpy(self.run.params)  # the current ones
        self.velocity = rnn.from_numpy(self.run.velocity)
        self.losses: list[NumpyArray] = []  # of the finished epochs
        self._iterator = begin(rnn, self.run)

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates. Raises Diverged if no network of the ensemble has a finite
        loss.
        """
        losses = list[NumpyArray]()
        for update in self._iterator:
            loss = np.asarray(self.rnn.to_numpy(update.loss), np.float64)
            if not np.isfinite(loss).any():
                raise Diverged(
                    f"the run diverged: epoch {update.epoch}, update {update.number}:"
                    f" no finite loss; {REMEDIES}"
                )
            self.updates, self.epoch = self.updates + 1, update.epoch
            self.params, self.velocity = update.parameters, update.velocity
            losses.append(loss.ravel())
            if len(losses) == self.per_epoch:
                self.losses += [*epoch_losses(np.array(losses), self.run)]
                losses = []
            yield update

    def heading(self) -> str:
        """Return the heading of the losses."""
        networks = self.run.params.networks
        if networks is None:
            return "epoch           loss"
        head = "epoch    median loss           10 %           90 %"
        return f"{head}   of {networks} networks"

    def lines(self) -> list[str]:
        """Return the row of an epoch that has ended: the loss, or median and band of
        the finite ones.
        """
        epoch, rest = divmod(self.updates, self.per_epoch)
        is_shown = epoch % self.options.log_every == 0
        if rest or not (is_shown or epoch in (1, self.options.epochs)):
            return []
        loss, row = self.losses[-1], f"{epoch:5d}"
        percentiles = BAND if len(loss) > 1 else BAND[:1]
        for value in np.percentile(loss[np.isfinite(loss)], percentiles):
            row += f"{value:15.6g}"
        return [row]

    def loss_curve(self) -> Curve:
        """Return the loss by epoch."""
        networks = self.run.params.networks or 1
        return Curve(1, np.reshape(self.losses, (-1, networks, 1)))

    def curves(self) -> dict[str, Curve]:
        """Return losses and predictions of the networks that converged, and the series.

        Raises Diverged if there is no such network.
        """
        experiment, objective = self.experiment, self.run.options.objective
        made = predict(self.rnn, self.params, experiment, objective)
        made["loss"] = self.loss_curve()
        converged = np.array(True)
        for kind in ("loss", "predicted"):
            is_finite = np.isfinite(made[kind].values).all(axis=(0, 2))
            converged = converged & is_finite
        if not converged.any():
            raise Diverged(f"the predictions are not finite; {REMEDIES}")
        if not converged.all():
            print(
                f"{self.rnn.__name__}: {np.sum(~converged)} of {converged.size}"
                " networks diverged; they are left out",
                file=sys.stderr,
            )
        curves = {kind: curve.of(converged) for kind, curve in made.items()}
        curves["actual"] = Curve(1, experiment.series[:, None])
        return curves

    def final(self, curves: dict[str, Curve]) -> list[str]:
        """Return the table of the errors of predictions."""
        return error_table(self.experiment, curves["predicted"].values)


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
    T, count = len(run.x), updates_per_epoch(run)
    shares = np.ones(count)
    if run.options.objective.reduction == "mean":
        shares = np.diff([*range(0, T, run.options.schedule.k1), T]) / T
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
    run = runs[0]
    params, options = run.params, run.options
    biases = "no biases" if params.b_h is None else "biases"
    return (
        f"{join_names(names)}: {series}, T={len(run.x)} B={run.x.shape[1]}"
        f" D={params.W_xh.shape[-2]} H={params.W_hy.shape[-2]}"
        f" O={params.W_hy.shape[-1]}, {biases}, {params.W_hh.dtype},"
        f" {join_names(list(map(schedule_name, runs)))},"
        f" {', '.join(options.objective)}, {step_words(options.step)}"
    )


def schedule_name(run: Run) -> str:
    """Return the name of the schedule of a run, such as TBPTT(1, 5)."""
    return f"TBPTT({run.options.schedule.k1}, {run.options.schedule.k2})"


def step_words(step: Step) -> str:
    """Describe a step by its learning rate and its options that are not off."""
    words = list[str]()
    for name, value in step._asdict().items():
        if value is True:
            words.append(name)
        elif np.any(value):
            words.append(f"{name} {one_line(str(value))}")
    return ", ".join(words).replace("_", " ")


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
        if is_last or self.updates % self.options.log_every:
            return []
        return self.final({})

    def curves(self) -> dict[str, Curve]:
        """Return the losses."""
        return {"loss": self.loss_curve()}

    def final(self, curves: dict[str, Curve]) -> list[str]:
        """Return the row of the latest update, and a sample between two rules."""
        lines = [f"{self.updates:8d}{self.epoch:8d}{self.smoothed:16.6f}"]
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
        h = rnn.from_numpy(self.experiment.h_0)
        x, drawn = self.experiment.x[:1], ""
        for _ in range(length):
            x = rnn.from_numpy(x)
            made = rnn.forward(self.params, x, h, nonlinearity=options.nonlinearity)
            h, y = made.h[-1], rnn.to_numpy(made.y)[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged(f"a sample cannot be drawn: y is not finite; {REMEDIES}")
            p = np.exp((y - y.max()) / options.temperature)
            x = generator.choice(len(p), (1, 1), p=p / p.sum())
            drawn += self.experiment.alphabet[x.item()]
        return drawn


def progress(text: str) -> None:
    """Print what takes a while on standard error, if that is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)
