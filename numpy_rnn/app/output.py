"""What commands print, descriptions of runs, tables and progress; and which files they
write, refused before the work begins.
"""

import importlib
import os
import sys
import time
from collections.abc import Iterator

import numpy as np

from numpy_rnn.app.options import CommandOptions, option_name
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import STANDARD_INPUT
from numpy_rnn.common.records import Run, Step
from numpy_rnn.common.texts import join_names, one_line

INPUTS = ("data", "text", "weights", "model")
ENDINGS = {
    "save": (".npz",),
    "predictions": (".csv",),
    "losses": (".csv",),
    "plot": (".png", ".pdf", ".svg", ".jpg"),
}

QUICK = 2.0  # seconds of work whose progress is not shown
INTERVAL = 0.2  # seconds
ERASE = "\x1b[K"  # the rest of the line of a terminal


def describe_runs(
    names: list[str],
    series: str,
    runs: list[Run],
    has_step: bool = True,
    has_loop: bool = True,
) -> str:
    """Describe runs that differ in their schedules only, in one line: the names of
    what makes them, the name of the data, the sizes, and the options that are not off.

    has_step, has_loop: whether the options of the step, and the schedules, are theirs.
    """
    run = runs[0]
    params = run.params
    biases = "no biases" if params.b_h is None else "biases"
    schedules = join_names(list(map(schedule_name, runs)))
    if not has_loop:
        schedules = f"windows of {join_names(window_lengths(runs))} steps"
    line = (
        f"{join_names(names)}: {series}, T={len(run.x)} B={run.x.shape[1]}"
        f" D={params.W_xh.shape[-2]} H={params.W_hy.shape[-2]}"
        f" O={params.W_hy.shape[-1]}, {biases}, {params.W_hh.dtype},"
        f" {schedules}, {', '.join(run.options.objective)}"
    )
    if has_step:
        line += f", {step_words(run.options.step)}"
    return line


def schedule_name(run: Run) -> str:
    """Return the name of the schedule of a run, such as TBPTT(1, 5)."""
    return f"TBPTT({run.options.schedule.k1}, {run.options.schedule.k2})"


def window_lengths(runs: list[Run]) -> list[str]:
    """Return the most steps of a window of each run."""
    return [str(run.options.schedule.k2) for run in runs]


def step_words(step: Step) -> str:
    """Describe a step by its learning rate and its options that are not off."""
    words = []
    for name, value in step._asdict().items():
        if value is True:
            words.append(name)
        elif np.any(value):
            words.append(f"{name} {one_line(str(value))}")
    return ", ".join(words).replace("_", " ")


def progress(text: str) -> None:
    """Print what takes a while on standard error, if that is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)


class Progress:
    """The progress of some work, on one line of a terminal that is standard error, with
    the time left. Nothing is shown of work that takes less than two seconds.
    """

    def __init__(self, total: int, noun: str):
        """Begin the work: so many of these things are to be done."""
        self.total = total
        self.noun = noun
        self.began = self.shown = time.monotonic()
        self.is_shown = False
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Show how many are done, at most five times a second."""
        if not self.is_terminal:
            return
        now = time.monotonic()
        if now - self.began < QUICK or now - self.shown < INTERVAL or not done:
            return
        self.shown = now
        self.is_shown = True
        left = (now - self.began) / done * (self.total - done)
        line = f"{self.noun} {done} of {self.total}, {duration(left)} left"
        print(f"\r{line}{ERASE}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Erase the line, before something else is printed."""
        if self.is_shown:
            print(f"\r{ERASE}", end="", file=sys.stderr, flush=True)
            self.is_shown = False


def duration(seconds: float) -> str:
    """Return a time in words, such as 2 min 5 s.

    Examples
    --------
    >>> duration(125.2), duration(3), duration(7260)
    ('2 min 5 s', '3 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_table(rows: list[list[str]]) -> list[str]:
    """Return the lines of a table, whose columns are as wide as their longest cell."""
    widths = [max(map(len, column)) + 3 for column in zip(*rows)]
    return ["".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def check_outputs(options: CommandOptions, package: str) -> str | None:
    """Return the file of the plot, if one is drawn, before the work begins.

    Raises InputError on an output that cannot be written: if its folder cannot be
    written to, if its name has another ending than its kind, if it is a folder, or if
    another option names the same file.
    """
    plot = plot_target(options, package)
    options_of_files = dict[str, str]()
    for name, path in named_files(options, plot):
        file = path if path == STANDARD_INPUT else os.path.realpath(path)
        first = options_of_files.setdefault(file, name)
        if first != name and not {first, name} <= {*INPUTS}:
            raise InputError(
                f"{file_words(first)} and {file_words(name)} both name {path}: expected"
                " different files"
            )
        if name not in INPUTS:
            check_output(name, path, file)
    return plot


def named_files(options: CommandOptions, plot: str | None) -> Iterator[tuple[str, str]]:
    """Yield the names of options and the files that they name, inputs first."""
    for name in (*INPUTS, *ENDINGS):
        value = plot if name == "plot" else getattr(options, name)
        for path in value if isinstance(value, list) else [value]:
            if path is not None:
                yield name, path


def file_words(name: str) -> str:
    """Return an option of a file, or the argument of `predict`, as it is typed."""
    return "MODEL" if name == "model" else option_name(name)


def check_output(name: str, path: str, file: str) -> None:
    """Raise InputError if a file cannot be written, or has another ending than its
    kind.
    """
    folder = os.path.dirname(file)
    if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        raise InputError(
            f"--{name} {path}: its folder cannot be written to: choose another"
        )
    if not path.lower().endswith(ENDINGS[name]):
        endings = " or ".join(ENDINGS[name])
        raise InputError(f"--{name} {path}: expected a name that ends with {endings}")
    if os.path.isdir(file):
        raise InputError(f"--{name} {path}: it is a folder: choose another name")


def plot_target(options: CommandOptions, package: str) -> str | None:
    """Return the file of the plot, if one is drawn: that of --plot, or of `train` that
    with the name of the package.

    Without Matplotlib it prints a note, or raises InputError if --plot is given.
    """
    is_training = options.command == "train"
    if options.command == "predict" and options.plot is None:
        return None
    if options.no_plot or (is_training and options.text is not None):
        return None
    try:
        importlib.import_module("matplotlib")
    except (ImportError, ValueError) as error:  # ValueError: MPLBACKEND is unknown
        if options.plot is None:
            print(f"{package}: no plot: {error}", file=sys.stderr)
            return None
        raise InputError(
            f"matplotlib cannot be imported ({error}): install it, or use --no-plot"
        ) from None
    if options.plot is not None:
        return options.plot
    name = package if is_training else options.command
    return f"{name}.png"
