"""What runs print and write: on a series losses, predictions and errors; on a text samples."""

import csv
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.run import BAND, REMEDIES, Result, Trainer, predict
from numpy_rnn.common.errors import Diverged, printable, shortened, some_of
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.format import MAX_WIDTH, format_number, format_table, join_names, pluralize
from numpy_rnn.common.records import Run, Update

LOG_EVERY, LOG_UPDATES = 10, 1000  # epochs; of a text, updates
GENERATED = 20  # free-running steps
MAX_ROWS = 40  # of the series, and of free-running values after it
MAX_FEATURES = 3  # whose values and errors are printed
KEPT = 0.999  # of the smoothed loss, at each update
RULE = "----"


def heading(name: str, experiment: Experiment, configuration: Configuration) -> str:
    """One line that describes the run of a package."""
    run, series = experiment.run(configuration.run_options()), experiment.name
    if experiment.columns is not None:
        series += f" (columns {some_of(experiment.column_names)})"
    parts = [described([name], series, run._replace(x=experiment.x))]
    parts += ["standardized"] * configuration.standardize
    parts += [f"{experiment.held_out} rows held out"] * (experiment.held_out > 0)
    start = f"seed {configuration.seed}"
    if configuration.weights is not None:
        start = "weights" if experiment.velocity is None else "weights and velocity"
        start += f" from {configuration.weights}"
    elif configuration.networks is not None:
        start = f"seeds {configuration.seed} to {configuration.seed + configuration.networks - 1}"
    return ", ".join([*parts, str(run.params.W_hh.dtype), start])


def described(names: list[str], series: str, run: Run) -> str:
    """The packages, the series, the sizes, and the options of a run that are not off."""
    T, B, D, (H, O) = *run.x.shape[:2], run.params.W_xh.shape[-2], run.params.W_hy.shape[-2:]
    parts = [f"{join_names(names)}: {series}", f"T={T} B={B} D={D} H={H} O={O}"]
    parts += ["no biases" if run.params.b_h is None else "biases"]
    for name, value in run.options.keywords().items():
        if (value or name == "learning_rate") and name != "epochs":
            words = name.replace("_", " ")
            shown = value.replace("_", " ") if isinstance(value, str) else f"{value:g}"
            parts.append(words if value is True else f"{words} {shown}")
    return ", ".join(parts)


def is_logged(epoch: int, log_every: int, epochs: int) -> bool:
    """Whether an epoch is printed: the first, every `log_every`-th, and the last are."""
    return epoch in (1, epochs) or epoch % log_every == 0


class SeriesRun(Trainer):
    """A run on a series."""

    def heading(self) -> str:
        """The heading of the losses."""
        if not self.experiment.networks:
            return "epoch          loss"
        networks = self.experiment.networks[0]
        return f"epoch   median loss           10 %           90 %   of {networks} networks"

    def lines(self) -> list[str]:
        """The row of an epoch that has ended: the loss, or median and band of the finite ones."""
        epochs, every = self.configuration.epochs, self.configuration.log_every or LOG_EVERY
        epoch, is_part = divmod(self.updates, self.per_epoch)
        if is_part or not is_logged(epoch, every, epochs):
            return []
        loss = self.losses[-1]
        low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
        values = [median, low, high][: 3 if loss.ndim else 1]
        return [f"{epoch:5d}  " + "   ".join(format_number(v, 12, abs(median)) for v in values)]

    def final(self) -> list[str]:
        """The tables of predictions and errors. Raises Diverged if no prediction is finite."""
        experiment, generate = self.experiment, self.configuration.generate
        generate = experiment.held_out or GENERATED if generate is None else generate
        objective, (params, _) = self.run.options.objective, self.weights()
        made = predict(self.rnn, params, experiment, objective, generate)
        losses = np.reshape(self.losses, (-1, *experiment.networks))
        self.result = Result(losses, *made)
        if not (converged := self.result.converged()).all():
            count = f"{np.sum(~converged)} of {pluralize(converged.size, 'network')} diverged"
            if not converged.any():
                raise Diverged(f"{count}: the predictions are not finite; {REMEDIES}")
            print(f"{self.rnn.__name__}: {count}; medians leave them out", file=sys.stderr)
        errors = [] if self.configuration.data is None else error_table(experiment, self.result)
        return [*series_table(experiment, self.result), *errors]


def series_table(experiment: Experiment, result: Result) -> list[str]:
    """Lines of actual, predicted and free-running values by time; medians of an ensemble.

    Of a long series these are the last rows, and of many columns the first ones.
    """
    T, D = experiment.x.shape[0], experiment.x.shape[-1]
    end = T + len(result.generated) - experiment.held_out
    first, stop = max(0, T - MAX_ROWS), max(T, min(end, T + MAX_ROWS))
    table = {"time": [str(t + 2) for t in range(first, stop)]}
    for feature, name in enumerate(experiment.column_names[:MAX_FEATURES]):
        scale = np.abs(experiment.series[first + 1 :, feature]).max()
        for kind, (begin, values) in result.curves(experiment).items():
            if values.ndim > 2 or (kind != "actual" and not experiment.networks):
                values = result.band(values)[1]
            cells = {t: format_number(v, 0, scale) for t, v in enumerate(values[:, feature], begin)}
            median = "median " * (kind == "predicted" and result.converged().ndim)
            head = median + kind + f" {shortened(name, MAX_WIDTH)}" * (D > 1)
            table[head] = [cells.get(t + 2, "") for t in range(first, stop)]
    lines = format_table(list(table), list(zip(*table.values())), left=0)
    lines[1:1] = [f"...  ({pluralize(first, 'earlier time')})"] * (first > 0)
    return lines + [f"...  ({pluralize(end - stop, 'later time')})"] * (end > stop)


def error_table(experiment: Experiment, result: Result) -> list[str]:
    """Lines of the root mean square error of predictions one step ahead, in the median of an
    ensemble, and that of the persistence baseline, which predicts the last value.
    """
    T, D = experiment.x.shape[0], experiment.x.shape[-1]
    rows, border = experiment.series, T - experiment.held_out
    predictions = result.predictions.reshape(T, -1, D)[:, result.converged().ravel()]
    errors = {"network": predictions - rows[1:, None]}
    errors["persistence baseline"] = -np.diff(rows, axis=0)[:, None]
    table = []
    for what, steps in (("trained on", range(border)), ("held out", range(border, T))):
        for feature, name in enumerate(experiment.column_names[: MAX_FEATURES * bool(steps)]):
            norms = (np.hypot.reduce(error[steps, :, feature]) for error in errors.values())
            cells = [format_number(np.median(norm) / len(steps) ** 0.5) for norm in norms]
            head = f"{what}, {pluralize(len(steps), 'step')}"
            table.append([head + f", {shortened(name, MAX_WIDTH)}" * (D > 1), *cells])
    return format_table(["one step ahead, root mean square error", *errors], table)


class TextRun(Trainer):
    """A run on a text, as min-char-rnn."""

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates, and smooth their losses."""
        for update in super().__iter__():
            self.smoothed = KEPT * self.smoothed + (1 - KEPT) * float(self.loss)
            yield update

    def heading(self) -> str:
        """The text, and the heading of the rows."""
        is_sum, k1 = self.configuration.reduction == "sum", self.configuration.k1
        uniform = float(np.log(len(self.experiment.alphabet))) * (k1 if is_sum else 1)
        self.smoothed = self.experiment.smoothed or uniform
        return (
            f"{pluralize(len(self.experiment.alphabet), 'different character')},"
            f" {pluralize(self.per_epoch, 'update')} per epoch; the loss is the"
            f" {f'sum over {k1} characters' if is_sum else 'mean'}, and"
            f" {uniform:.3f} for characters at random\n"
            "  update   epoch   smoothed loss"
        )

    def lines(self) -> list[str]:
        """The row of the latest update, if it is printed, and a sample; `final` has the last."""
        is_last = self.updates == self.per_epoch * self.configuration.epochs
        every = self.configuration.log_every or LOG_UPDATES
        return [] if is_last or self.updates % every else self.final()

    def final(self) -> list[str]:
        """The row of the latest update, and a sample between two rules."""
        row = f"{self.updates:8d}{self.latest.epoch if self.latest else 0:8d}{self.smoothed:16.6f}"
        text = "\n".join(map(printable, self.sample(self.configuration.sample).split("\n")))
        return [row, RULE, text, RULE] if text else [row]

    def sample(self, length: int) -> str:
        """A text of the network: each character is drawn from softmax(y / temperature), and is
        the next input.

        It begins with the initial state and the first character of the text, and depends on the
        seed and the update. Raises Diverged if an output overflows.
        """
        rnn, seed = self.rnn, self.configuration.seed
        generator = np.random.default_rng((seed, self.updates))
        theta, h = rnn.from_numpy(self.weights()[0]), rnn.from_numpy(self.experiment.h_0)
        character, drawn = int(self.experiment.x[0, 0]), ""
        for _ in range(length):
            x = rnn.from_numpy(np.array([[character]]))
            made = rnn.forward(theta, x, h, nonlinearity=self.configuration.nonlinearity)
            h, y = made.h[-1], rnn.to_numpy(made.y)[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged("a sample cannot be drawn: y is not finite; lower --learning-rate")
            p = np.exp((y - y.max()) / self.configuration.temperature)
            character = int(generator.choice(len(p), p=p / p.sum()))
            drawn += self.experiment.alphabet[character]
        return drawn


def write_csv(path: str, run: Trainer) -> None:
    """Write losses and predictions, one number per row, in units of the series."""
    curves = {} if run.result is None else run.result.curves(run.experiment)
    with written_whole(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(["kind", "epoch", "time", "column", "network", "value"])

        def write(networks: np.ndarray, *head: Any) -> None:
            values = enumerate(np.ravel(networks).tolist(), 1)
            writer.writerows((*head, n if np.ndim(networks) else "", value) for n, value in values)

        for epoch, networks in enumerate(run.losses, 1):
            write(networks, "loss", epoch, "", "")
        for kind, (begin, rows) in curves.items():
            for time, row in enumerate(rows, begin):
                for column, networks in zip(run.experiment.column_names, np.moveaxis(row, -1, 0)):
                    write(networks, kind, "", time, column)
