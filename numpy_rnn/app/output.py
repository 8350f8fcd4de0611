"""What commands print, descriptions of runs, tables and progress; and which files they
write, refused before the work begins.
"""

import importlib
import os
import sys

import numpy as np

from numpy_rnn.app.options import CommandOptions
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Run, Step
from numpy_rnn.common.texts import join_names, one_line

INPUTS = ("data", "text", "weights")
ENDINGS = {
    "save": (".npz",),
    "plot": (".png", ".pdf", ".svg", ".jpg"),
}


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
    paths = {name: getattr(options, name) for name in (*INPUTS, *ENDINGS)}
    paths["plot"] = plot
    options_of_files = dict[str, str]()
    for name, path in paths.items():
        if path is None:
            continue
        file = os.path.realpath(path)
        first = options_of_files.setdefault(file, name)
        if first != name:
            raise InputError(
                f"--{first} and --{name} both name {path}: expected different files"
            )
        if name in INPUTS:
            continue
        folder = os.path.dirname(file)
        if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            raise InputError(
                f"--{name} {path}: its folder cannot be written to: choose another"
            )
        if not path.lower().endswith(ENDINGS[name]):
            endings = " or ".join(ENDINGS[name])
            raise InputError(
                f"--{name} {path}: expected a name that ends with {endings}"
            )
        if os.path.isdir(file):
            raise InputError(f"--{name} {path}: it is a folder: choose another name")
    return plot


def plot_target(options: CommandOptions, package: str) -> str | None:
    """Return the file of the plot, if one is drawn: that of --plot, or of `train` that
    with the name of the package.

    Without Matplotlib it prints a note, or raises InputError if --plot is given.
    """
    is_training = options.command == "train"
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
