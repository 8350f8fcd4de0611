"""One training run: its updates and losses, its predictions, and what it prints and
writes.
"""

import csv
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.common.errors import join_names, pluralize, printable
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.records import Objective, Parameters, Run, Update

LOG_EVERY, LOG_UPDATES, GENERATED = (
    10,
    1000,
    20,
)  # epochs; updates of a text; free-running steps
STEPS_PER_PASS = 1_000  # of the forward passes of predictions
MAX_ROWS, MAX_FEATURES = (
    40,
    3,
)  # in tables; also of free-running values after the series
MAX_WIDTH = 24  # characters of a name in a table
BAND = (10, 50, 90)  # percentiles of an ensemble
KEPT = 0.999  # of the smoothed loss, at each update
REMEDIES = (
    "try a lower --learning-rate, gradient clipping with --max-norm, or --standardize"
)


class Diverged(ArithmeticError):
    """A run diverged: a value overflowed or is NaN. The message is one line."""


class Result(NamedTuple):
    """The result of a run. E: the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E)
    predictions: np.ndarray  # (T, *E, D)  one step ahead, in units of the series
    generated: np.ndarray  # (G, *E, D)  free-running, in units of the series

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are
        all finite.
        """
        finite = np.isfinite(self.predictions).all(axis=(0, -1))
        return np.asarray(np.isfinite(self.losses).all(axis=0) & finite)

    def band(self, values: np.ndarray) -> np.ndarray:
        """Percentiles BAND of values (N, *E, ...) over the networks that converged, (3,
        N, ...).
        """
        return np.percentile(values[:, self.converged()], BAND, axis=1)

    def curves(self, experiment: Experiment) -> dict[str, tuple[int, np.ndarray]]:
        """First time and values by kind. The rows of the series have times
        from 1 on.
        """
        after = len(experiment.x) + 2 - experiment.held_out
        curves = {
            "actual": (2, experiment.series[1:]),
            "predicted": (2, self.predictions),
        }
        return curves | {"free-running": (after, self.generated)}


class Trainer:
    """A run on a series: an iterable of its updates, and what it prints."""

    def __init__(self, rnn: Any, experiment: Experiment, configuration: Configuration):
        """Raises InputError if options and data do not agree."""
        self.rnn, self.experiment, self.configuration = rnn, experiment, configuration
        self.run = experiment.run(configuration.run_options())
        self.per_epoch = -(-len(self.run.x) // configuration.k1)
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
        is_sum, total = self.configuration.reduction == "sum", np.zeros_like(self.loss)
        for update in self._iterator:
            loss = np.asarray(self.rnn.to_numpy(update.loss), np.float64)
            if not np.isfinite(loss).any():
                raise Diverged(f"the run diverged: {self._place(update)}; {REMEDIES}")
            total = total + loss * (
                1 if is_sum else update.window.loss_steps / len(self.run.x)
            )
            self.latest, self.loss, self.updates = update, loss, self.updates + 1
            if update.number == self.per_epoch:
                self.losses.append(total)
                total = np.zeros_like(loss)
            yield update

    def _place(self, update: Update[Any]) -> str:
        """The first tensor that is not finite, of the latest update or of this one."""
        was_finite = np.isfinite(self.loss)
        for each in filter(None, (self.latest, update)):
            tensors = {"loss": each.loss}
            groups = ("d", each.gradients), ("v", each.velocity), ("", each.parameters)
            for prefix, group in groups:
                tensors |= {
                    prefix + name: v for name, v in zip(Parameters._fields, group or ())
                }
            for name, v in tensors.items():
                if (
                    v is not None
                    and not np.isfinite(self.rnn.to_numpy(v)[was_finite]).all()
                ):
                    return (
                        f"epoch {each.epoch}, update {each.number}: {name} is "
                        "not finite"
                    )
        raise AssertionError("no loss was finite")

    def weights(self) -> tuple[Any, Any]:
        """The current parameters and velocity, as NumPy arrays."""
        if self.latest is None:
            return self.run.params, self.run.velocity
        return self.rnn.to_numpy(self.latest.parameters), self.rnn.to_numpy(
            self.latest.velocity
        )

    def heading(self) -> str:
        """The heading of the losses."""
        several = "epoch   median loss           10 %           90 %   of {} networks"
        networks = self.experiment.networks
        return several.format(*networks) if networks else "epoch          loss"

    def lines(self) -> list[str]:
        """The row of an epoch that has ended: the loss, or median and band of the
        finite ones.
        """
        epoch, is_part = divmod(self.updates, self.per_epoch)
        every, last = (
            self.configuration.log_every or LOG_EVERY,
            self.configuration.epochs,
        )
        if is_part or (epoch % every and epoch not in (1, last)):
            return []
        loss = self.losses[-1]
        low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
        values = [median, low, high][: 3 if loss.ndim else 1]
        return [
            f"{epoch:5d}  "
            + "   ".join(format_number(v, 12, abs(median)) for v in values)
        ]

    def final(self) -> list[str]:
        """The tables of predictions and errors. Raises Diverged if no prediction is
        finite.
        """
        experiment, objective = self.experiment, self.run.options.objective
        made = predict(self.rnn, self.weights()[0], experiment, objective)
        self.result = Result(np.reshape(self.losses, (-1, *experiment.networks)), *made)
        if not (converged := self.result.converged()).all():
            count = (
                f"{np.sum(~converged)} of "
                f"{pluralize(converged.size, 'network')} diverged"
            )
            if not converged.any():
                raise Diverged(f"{count}: the predictions are not finite; {REMEDIES}")
            print(
                f"{self.rnn.__name__}: {count}; medians leave them out", file=sys.stderr
            )
        errors = (
            []
            if self.configuration.data is None
            else error_table(experiment, self.result)
        )
        return [*series_table(experiment, self.result), *errors]


def begin(rnn: Any, run: Run) -> Iterator[Update[Any]]:
    """The updates of a run by a package."""
    *arrays, velocity = map(
        rnn.from_numpy, (run.params, run.x, run.target, run.h_0, run.velocity)
    )
    keywords = {"velocity": velocity, **run.options.keywords()}
    updates: Iterator[Update[Any]] = rnn.train(*arrays, **keywords)
    return updates


def predict(
    rnn: Any, params: Parameters[Any], experiment: Experiment, objective: Objective
) -> tuple[np.ndarray, ...]:
    """One-step-ahead predictions (T, *E, D), and free-running values (G, *E, D) after
    the last step that is not held out, each fed back as the next input; in units of the
    series. G is the number of steps held out, or else GENERATED.
    """

    def forward(*x_and_h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        arrays = map(rnn.from_numpy, (params, *x_and_h))
        made = rnn.forward(*arrays, nonlinearity=objective.nonlinearity)
        return rnn.to_numpy(made.y), rnn.to_numpy(made.h[-1])

    T, border = len(experiment.x), len(experiment.x) - experiment.held_out
    one, free, h = list[Any](), list[Any](), experiment.h_0
    for start, stop in pairwise(sorted({*range(0, T, STEPS_PER_PASS), border, T})):
        y, h = forward(experiment.x[start:stop], h)
        one.append(y)
        if stop == border:
            fed, last = y[-1:], h
    for _ in range(experiment.held_out or GENERATED):
        fed, last = forward(fed, last)
        free.append(fed)
    parts = [np.concatenate(part)[..., 0, :] for part in (one, free)]
    return tuple(
        part.astype("f8") * experiment.deviation + experiment.mean for part in parts
    )


def heading(name: str, experiment: Experiment, configuration: Configuration) -> str:
    """One line that describes the run of a package."""
    run = experiment.run(configuration.run_options())._replace(x=experiment.x)
    seed, networks, path = (
        configuration.seed,
        configuration.networks,
        configuration.weights,
    )
    start = (
        f"seed {seed}" if networks is None else f"seeds {seed} to {seed + networks - 1}"
    )
    if path is not None:
        what = "weights" if experiment.velocity is None else "weights and velocity"
        start = f"{what} from {printable(path)}"
    return f"{described([name], experiment.name, run)}, {start}"


def described(names: list[str], series: str, run: Run) -> str:
    """The packages, the series, the sizes, and the options of a run that
    are not off.
    """
    (T, B), D, (H, O) = (
        run.x.shape[:2],
        run.params.W_xh.shape[-2],
        run.params.W_hy.shape[-2:],
    )
    parts = [f"{join_names(names)}: {series}", f"T={T} B={B} D={D} H={H} O={O}"]
    parts += [
        "no biases" if run.params.b_h is None else "biases",
        str(run.params.W_hh.dtype),
    ]
    for name, value in run.options.keywords().items():
        if (value or name == "learning_rate") and name != "epochs":
            shown = (
                f" {value}"
                if isinstance(value, str)
                else f" {value:g}" * (value is not True)
            )
            parts.append((name + shown).replace("_", " "))
    return ", ".join(parts)


def series_table(experiment: Experiment, result: Result) -> list[str]:
    """Lines of the last values by time, of an ensemble the medians, and of the first
    columns.
    """
    T, names = len(experiment.x), experiment.columns
    end = T + len(result.generated) - experiment.held_out
    first, stop = max(0, T - MAX_ROWS), max(T, min(end, T + MAX_ROWS))
    table = {"time": [str(t + 2) for t in range(first, stop)]}
    for feature, name in enumerate(names[:MAX_FEATURES]):
        scale = np.abs(experiment.series[first + 1 :, feature]).max()
        for kind, (begin, values) in result.curves(experiment).items():
            values = values if kind == "actual" else result.band(values)[1]
            cells = {
                t: format_number(v, 0, scale)
                for t, v in enumerate(values[:, feature], begin)
            }
            head = kind + f" {printable(name, MAX_WIDTH)}" * (len(names) > 1)
            table[head] = [cells.get(t + 2, "") for t in range(first, stop)]
    lines = format_table(list(table), list(zip(*table.values())), left=0)
    lines[1:1] = [f"...  ({pluralize(first, 'earlier time')})"] * (first > 0)
    return lines + [f"...  ({pluralize(end - stop, 'later time')})"] * (end > stop)


def error_table(experiment: Experiment, result: Result) -> list[str]:
    """Lines of the root mean square errors, and those of predicting the
    value before.
    """
    T, rows, names = len(experiment.x), experiment.series, experiment.columns
    border = T - experiment.held_out
    predictions = result.predictions.reshape(T, -1, len(names))[
        :, result.converged().ravel()
    ]
    errors = predictions - rows[1:, None], -np.diff(rows, axis=0)[:, None]
    table = []
    for what, steps in (("trained on", range(border)), ("held out", range(border, T))):
        for feature, name in enumerate(names[: MAX_FEATURES * bool(steps)]):
            norms = (np.hypot.reduce(error[steps, :, feature]) for error in errors)
            cells = [
                format_number(np.median(norm) / len(steps) ** 0.5) for norm in norms
            ]
            head = f"{what}, {pluralize(len(steps), 'step')}"
            table.append(
                [head + f", {printable(name, MAX_WIDTH)}" * (len(names) > 1), *cells]
            )
    header = [
        "one step ahead, root mean square error",
        "network",
        "persistence baseline",
    ]
    return format_table(header, table)


class TextRun(Trainer):
    """A run on a text, as min-char-rnn."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.steps = (
            self.configuration.k1 if self.configuration.reduction == "sum" else 1
        )
        self.uniform = (
            float(np.log(len(self.experiment.alphabet))) * self.steps
        )  # loss at random
        self.smoothed = self.smoothed or self.uniform

    def __iter__(self) -> Iterator[Update[Any]]:
        """Make all updates, and smooth their losses."""
        for update in super().__iter__():
            self.smoothed = KEPT * self.smoothed + (1 - KEPT) * float(self.loss)
            yield update

    def heading(self) -> str:
        """The text, and the heading of the rows."""
        characters = pluralize(len(self.experiment.alphabet), "different character")
        text = (
            f"{characters}, {pluralize(self.per_epoch, 'update')} per epoch; "
            "the loss of"
        )
        text += f" {pluralize(self.steps, 'character')} at random is {self.uniform:.3f}"
        return text + "\n  update   epoch   smoothed loss"

    def lines(self) -> list[str]:
        """The row of the latest update, if it is printed, and a sample; `final` has the
        last.
        """
        is_last = self.updates == self.per_epoch * self.configuration.epochs
        every = self.configuration.log_every or LOG_UPDATES
        return [] if is_last or self.updates % every else self.final()

    def final(self) -> list[str]:
        """The row of the latest update, and a sample between two rules."""
        epoch = self.latest.epoch if self.latest else 0
        row = f"{self.updates:8d}{epoch:8d}{self.smoothed:16.6f}"
        text = "\n".join(
            map(printable, self.sample(self.configuration.sample).split("\n"))
        )
        return [row, "----", text, "----"] if text else [row]

    def sample(self, length: int) -> str:
        """A text, each character drawn from softmax(y / temperature), and then the next
        input.
        """
        rnn, seed = self.rnn, self.configuration.seed
        generator = np.random.default_rng((seed, self.updates))
        theta, h = (
            rnn.from_numpy(self.weights()[0]),
            rnn.from_numpy(self.experiment.h_0),
        )
        character, drawn = int(self.experiment.x[0, 0]), ""
        for _ in range(length):
            x = rnn.from_numpy(np.array([[character]]))
            made = rnn.forward(
                theta, x, h, nonlinearity=self.configuration.nonlinearity
            )
            h, y = made.h[-1], rnn.to_numpy(made.y)[0, 0].astype(np.float64)
            if not np.isfinite(y).all():
                raise Diverged(
                    "a sample cannot be drawn: y is not finite; lower --learning-rate"
                )
            p = np.exp((y - y.max()) / self.configuration.temperature)
            character = int(generator.choice(len(p), p=p / p.sum()))
            drawn += self.experiment.alphabet[character]
        return drawn


def format_number(value: float, width: int = 0, scale: float | None = None) -> str:
    """Six decimals, or five and an exponent where the scale, or the value, is small or
    large.
    """
    scale = abs(value) if scale is None else scale
    return (
        f"{value:{width}.6f}"
        if scale == 0 or 1e-3 <= scale < 1e6
        else f"{value:{width}.5e}"
    )


def format_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1
) -> list[str]:
    """Lines of a table: the header, then the rows.

    Columns are as wide as their widest cell and two spaces apart. The first `left`
    columns are aligned on the left, the others on the right.
    """
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    formats = [f"{'<' if n < left else '>'}{width}" for n, width in enumerate(widths)]
    return ["  ".join(map(format, line, formats)).rstrip() for line in lines]


def write_csv(path: str, run: Trainer) -> None:
    """Write losses and predictions, one number per row, in units of the series."""
    curves = {} if run.result is None else run.result.curves(run.experiment)
    losses = np.reshape(run.losses, (-1, *run.experiment.networks, 1))
    with (
        written_whole(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as f,
    ):
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(["kind", "epoch", "time", "column", "network", "value"])
        for kind, (begin, array) in {"loss": (1, losses), **curves}.items():
            for (t, *n, column), value in np.ndenumerate(array):
                place = ["", begin + t, run.experiment.columns[column]]
                place = [begin + t, "", ""] if kind == "loss" else place
                writer.writerow([kind, *place, n[0] + 1 if n else "", value])
