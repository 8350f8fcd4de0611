"""What the plots of training and of `compare` share: colours, losses and legends."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from numpy_rnn.app.curves import BAND
from numpy_rnn.common.records import NumpyArray

# Okabe and Ito's colours, which are distinct for the colour-blind.
BLACK = "#000000"
ORANGE = "#E69F00"
BLUE = "#0072B2"
GREEN = "#009E73"
RED = "#D55E00"
PURPLE = "#CC79A7"


def draw_losses(axes: Any, losses: Mapping[str, NumpyArray]) -> None:
    """Draw losses by epoch, each (epochs, networks), by their names in the legend."""
    axes.set(xlabel="epoch", ylabel="loss of an epoch (log scale)", yscale="log")
    for color, (name, values) in zip((ORANGE, BLUE), losses.items()):
        draw_band(axes, 1, values, color=color, marker=".", label=name)


def draw_band(axes: Any, first: int, values: NumpyArray, **style: Any) -> None:
    """Draw values (n, networks) from a time on: the median, and percentiles."""
    median, low, high = np.percentile(values, BAND, axis=1)
    times = np.arange(first, first + len(values))
    axes.plot(times, median, **style)
    axes.fill_between(times, low, high, color=style["color"], alpha=0.2, lw=0)


def add_legend(figure: Any, panels: Iterable[Any]) -> None:
    """Add the legend of some panels to a figure, below all panels."""
    lines = dict[str, Any]()
    for axes in panels:
        for line, label in zip(*axes.get_legend_handles_labels()):
            lines.setdefault(label, line)
    figure.legend(
        lines.values(), lines, loc="outside lower center", ncols=8, frameon=False
    )
