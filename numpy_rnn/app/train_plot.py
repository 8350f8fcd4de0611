"""The plot of `train`: the series, its predictions and the losses; and colours, bands
and legends, which the plot of `compare` has too.
"""

from typing import Any

import numpy as np

from numpy_rnn.app.experiment import BAND, Curve
from numpy_rnn.app.series import Series
from numpy_rnn.common.records import NumpyArray

# Okabe and Ito's colours, which are distinct for the colour-blind.
BLACK = "#000000"
ORANGE = "#E69F00"
BLUE = "#0072B2"
GREEN = "#009E73"
RED = "#D55E00"
PURPLE = "#CC79A7"
LINE_COLORS = (BLUE, GREEN, PURPLE, BLACK, ORANGE)  # RED is for faults

MAX_PANELS = 4  # columns of a series that are drawn

STYLES: dict[str, dict[str, Any]] = {
    "actual": {"color": BLACK, "marker": ".", "lw": 0.5},
    "predicted": {"color": ORANGE, "ls": "--"},
    "free-running": {"color": ORANGE},
}


def draw_result(
    figure: Any, series: Series, title: str, curves: dict[str, Curve]
) -> None:
    """Draw the result of a run on an empty figure: actual and predicted points and the
    free-running continuation of the first columns, and the losses by epoch.

    Of an ensemble, these are the median and the 10th to 90th percentile of all
    networks. `curves` has those of STYLES, and "loss", the loss of every epoch.
    """
    names = series.columns[:MAX_PANELS]
    figure.set_size_inches(12, 2.2 + 2.6 * len(names))
    figure.suptitle(title, parse_math=False)
    mosaic = [[feature, "loss"] for feature in range(len(names))]
    panels = figure.subplot_mosaic(mosaic, width_ratios=(2, 1))
    draw_losses(panels.pop("loss"), {"": curves["loss"].values[..., 0]})
    border = len(series.rows) + 0.5 - series.held_out
    for feature, axes in panels.items():
        for kind, style in STYLES.items():
            first, values = curves[kind]
            draw_band(axes, first, values[..., feature], label=kind, **style)
        if series.held_out:
            axes.axvline(border, color=BLUE, lw=1, label="held out from here on")
        axes.set_ylabel(names[feature], parse_math=False)
    lowest = panels[len(names) - 1]
    lowest.set_xlabel("time (steps)")
    add_legend(figure, [lowest])


def draw_losses(axes: Any, losses: dict[str, NumpyArray]) -> None:
    """Draw losses by epoch, each (epochs, networks), by their names in the legend."""
    axes.set(xlabel="epoch", ylabel="loss of an epoch (log scale)", yscale="log")
    for color, (name, values) in zip((ORANGE, BLUE), losses.items()):
        draw_band(axes, 1, values, color=color, marker=".", label=name)


def draw_band(axes: Any, first: int, values: NumpyArray, **style: Any) -> None:
    """Draw values (n, networks) from a time on: the median, and percentiles."""
    median, low, high = np.percentile(values, BAND, axis=1)
    times = first + np.arange(len(values))
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
