"""The plot of `train` and `predict`: the series, its predictions and the losses."""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.figures import (
    BLACK,
    BLUE,
    ORANGE,
    PURPLE,
    add_legend,
    draw_band,
    draw_losses,
)
from numpy_rnn.app.forecast import Predictions
from numpy_rnn.app.series import Series
from numpy_rnn.common.records import NumpyArray

MAX_PANELS = 4  # targets of a series that are drawn
MAX_MARKERS = 400  # rows that are drawn as points

STYLES: dict[str, dict[str, Any]] = {
    "actual": {"color": BLACK, "marker": ".", "lw": 0.5},
    "predicted": {"color": ORANGE, "ls": "--"},
    "free-running": {"color": ORANGE},
    "forecast": {"color": PURPLE},
}


class Drawing(NamedTuple):
    """What is drawn, of networks that did not diverge."""

    series: Series
    predictions: Predictions
    losses: NumpyArray | None = None  # of the epochs, (epochs, N); None: no panel
    held_out: NumpyArray | None = None  # losses of what is held out, likewise
    per_step: bool = False  # whether losses are means of a step


def draw_result(figure: Any, drawing: Drawing, title: str) -> None:
    """Draw the result of a run on an empty figure: actual and predicted points of the
    first targets, the free-running networks from the border on, the forecast, and the
    losses by epoch.

    Of an ensemble, these are the median and the 10th to 90th percentile of all
    networks.
    """
    series = drawing.series
    names = series.target_columns[:MAX_PANELS]
    figure.set_size_inches(12, 2.2 + 2.6 * len(names))
    figure.suptitle(title, parse_math=False)
    has_losses = drawing.losses is not None
    mosaic = [[index, "loss"][: 1 + has_losses] for index in range(len(names))]
    ratios = (2, 1) if has_losses else (1,)
    panels = figure.subplot_mosaic(mosaic, width_ratios=ratios)
    legends = [panels[len(names) - 1]]
    if drawing.losses is not None:
        draw_loss_panel(panels.pop("loss"), drawing, drawing.losses)
    for index, axes in panels.items():
        draw_target(axes, drawing, index)
        axes.set_ylabel(names[index], parse_math=False)
    times = series.times
    label = "time (steps)" if times.name == "step" else times.name
    legends[0].set_xlabel(label, parse_math=False)
    add_legend(figure, legends)


def draw_target(axes: Any, drawing: Drawing, index: int) -> None:
    """Draw a target by time: its values, predictions and forecast."""
    series, predictions = drawing.series, drawing.predictions
    points = list(series.times.points)
    later = list(series.times.followed_by(len(predictions.forecast)).points)
    first_free = len(points) - len(predictions.free_running)
    curves = {
        "actual": (points, series.targets[:, None]),
        "predicted": (points[1:], predictions.one_step),
        "free-running": (points[first_free:], predictions.free_running),
        "forecast": (later, predictions.forecast),
    }
    for kind, (times, values) in curves.items():
        if len(values):
            style = STYLES[kind] | {"label": kind}
            if len(values) > MAX_MARKERS:
                style.pop("marker", None)
            draw_band(axes, times, values[..., index], **style)
    if series.held_out:
        border = points[series.border]
        border += (points[series.border + 1] - border) / 2
        axes.axvline(border, color=BLUE, lw=1, label="held out from here on")
    if series.times.is_dated:
        format_dates(axes)


def format_dates(axes: Any) -> None:
    """Let the ticks of dates be years, months or days, as there is room."""
    from matplotlib import dates

    library: Any = dates  # which is not annotated
    locator = library.AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(library.ConciseDateFormatter(locator))


def draw_loss_panel(axes: Any, drawing: Drawing, losses: NumpyArray) -> None:
    """Draw the losses by epoch, and those of what is held out."""
    curves = {"": losses}
    held_out = drawing.held_out
    if held_out is not None and np.size(held_out):
        curves = {"trained on": losses, "held out": held_out}
    draw_losses(axes, curves)
    if drawing.per_step:
        axes.set_ylabel("loss of a step (log scale)")
    if len(curves) > 1:
        axes.legend(frameon=False)
