"""Figures: their colours, bands, legends and losses, and how they are written."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numpy_rnn.app.training import BAND
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import printable

# Okabe and Ito's colours, which are distinct for the colour-blind.
BLACK = "#000000"
ORANGE = "#E69F00"
BLUE = "#0072B2"
GREEN = "#009E73"
RED = "#D55E00"
PURPLE = "#CC79A7"
LINE_COLORS = (BLUE, GREEN, PURPLE, BLACK, ORANGE)  # RED is for faults


def draw_losses(axes: Any, losses: dict[str, NumpyArray]) -> None:
    """Draw losses by epoch, each (epochs, networks), by their names in the legend."""
    axes.set(xlabel="epoch", ylabel="loss of an epoch (log scale)", yscale="log")
    for color, (name, values) in zip((ORANGE, BLUE), losses.items()):
        draw_band(axes, 1, values, color=color, marker=".", label=name)


def draw_band(
    axes: Any, times: int | Sequence[Any], values: NumpyArray, **style: Any
) -> None:
    """Draw values (n, networks) at times, or from a first time on: the median, and
    percentiles.
    """
    median, low, high = np.percentile(values, BAND, axis=1)
    if isinstance(times, int):
        times = range(times, times + len(values))
    axes.plot(times, median, **style)
    axes.fill_between(times, low, high, color=style["color"], alpha=0.2, lw=0)


def add_legend(figure: Any, panels: Any) -> None:
    """Add the legend of some panels to a figure, below all panels."""
    lines = dict[str, Any]()
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        lines.update(zip(labels, handles))
    figure.legend(
        lines.values(), lines, loc="outside lower center", ncols=8, frameon=False
    )


def write_figure(path: str, draw: Callable[..., None], *what: Any) -> None:
    """Draw what is given on an empty Figure, write it in the format of its ending, and
    print where it is.

    Settings of the user have no effect. Raises InputError if it cannot be written.
    """
    from matplotlib import style
    from matplotlib.figure import Figure

    with (
        style.context("default"),  # settings of the user, such as LaTeX, change nothing
        warnings.catch_warnings(action="ignore"),  # of missing glyphs
        written_whole(path) as temporary,
    ):
        figure = Figure(layout="constrained")
        draw(figure, *what)
        figure.savefig(temporary, dpi=120, format=path.rpartition(".")[2].lower())
    print(f"plot saved to {printable(path)}")
