"""What commands write: files, refused before the work begins, and descriptions of runs,
tables and progress.
"""

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numpy_rnn.app.options import CommandOptions
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.records import Run, Step
from numpy_rnn.common.texts import join_names, one_line, printable

INPUTS = ("data", "text", "weights")
ENDINGS = {
    "save": (".npz",),
    "plot": (".png", ".pdf", ".svg", ".jpg"),
}


def check_files(options: CommandOptions, plot: str | None) -> None:
    """Raise InputError, before the work begins, on a file that cannot be written.

    An output is refused if its folder cannot be written to, if its name has another
    ending than its kind, if it is a folder, or if another option names the same file.
    """
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
        if not os.access(os.path.dirname(file), os.W_OK):
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


def plot_target(options: CommandOptions, package: str) -> str | None:
    """Choose the file of the plot. Without Matplotlib and without --plot, print a note.

    Parameters
    ----------
    options : CommandOptions
        --plot and --no-plot.
    package : str
        The name of the package, of which the usual file of `train` has its name.

    Returns
    -------
    str or None
        The file; None without a plot.

    Raises
    ------
    InputError
        If --plot is given and Matplotlib cannot be imported.
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
        reason = f"matplotlib cannot be imported ({error})"
        raise InputError(f"{reason}: install it, or use --no-plot") from None
    if options.plot is not None:
        return options.plot
    name = package if is_training else options.command
    return f"{name}.png"


def write_figure(path: str, draw_on: Callable[[Any], None]) -> None:
    """Draw a figure, write it, and print where it is.

    Parameters
    ----------
    path : str
        The file; its ending is the format.
    draw_on : callable
        Draws on an empty Figure. Settings of the user have no effect.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    with (
        style.context("default"),  # settings of the user, such as LaTeX, change nothing
        warnings.catch_warnings(action="ignore"),  # of missing glyphs
        written_whole(path) as temporary,
    ):
        figure = Figure(layout="constrained")
        draw_on(figure)
        figure.savefig(temporary, dpi=120, format=path.rpartition(".")[2].lower())
    print(f"plot saved to {printable(path)}")


def describe_runs(names: list[str], series: str, runs: list[Run]) -> str:
    """Describe runs that differ in their schedules only, in one line.

    Parameters
    ----------
    names : list of str
        The names of the packages that make the runs.
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
    params = run.params
    options = run.options
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


def progress(text: str) -> None:
    """Print what takes a while on standard error, if that is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"{text} ...", file=sys.stderr, flush=True)


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, whose columns are as wide as their longest cell."""
    widths = [max(map(len, column)) + 3 for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = map(str.ljust, row, widths)
        lines.append("".join(cells).rstrip())
    return lines
