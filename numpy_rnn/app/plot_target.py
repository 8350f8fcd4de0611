"""Where the plot of a command goes: a file, a window, or nowhere."""

import sys
from argparse import Namespace

from numpy_rnn.app import plots
from numpy_rnn.common.errors import InputError


def plot_target(arguments: Namespace, name: str, note: bool = True) -> tuple[str | None, bool]:
    """(file or None, whether to open a window), after a check that the plot can be drawn.

    Without matplotlib there is no plot unless one is asked for; `note`: print a note then.
    """
    if arguments.no_plot:
        if arguments.plot is not None or arguments.show:
            raise InputError("--no-plot is given with --plot or --show: expected one or the other; leave one out")
        return None, False
    path = arguments.plot
    if path is None and not arguments.show:
        path = f"{name}.png" if arguments.command == "train" else f"{arguments.command}.png"
        if not plots.has_matplotlib():
            if note:
                note_no_plot(name)
            return None, False
    plots.check_can_draw(path, arguments.show)
    return path, arguments.show


def note_no_plot(name: str) -> None:
    """Say that there is no plot, and why."""
    print(f"{name}: no plot: matplotlib is not installed", file=sys.stderr)
