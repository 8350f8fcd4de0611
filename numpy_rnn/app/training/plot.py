"""The plot of a training run: its series, its predictions and its losses."""

from collections.abc import Mapping
from typing import Any

from numpy_rnn.app.curves import Curve
from numpy_rnn.app.data import Series
from numpy_rnn.app.drawing import (
    BLACK,
    BLUE,
    ORANGE,
    add_legend,
    draw_band,
    draw_losses,
)

MAX_PANELS = 4  # columns of a series that are drawn

STYLES: dict[str, dict[str, Any]] = {
    "actual": {"color": BLACK, "marker": ".", "lw": 0.5},
    "predicted": {"color": ORANGE, "ls": "--"},
    "free-running": {"color": ORANGE},
}


def draw_result(
    figure: Any, series: Series, title: str, curves: Mapping[str, Curve]
) -> None:
    """Draw the result of a run: actual and predicted points, the free-running
    continuation, and the losses by epoch.

    Of an ensemble, these are the median and the 10th to 90th percentile.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        An empty figure; its size is set.
    series : Series
        The series. Its first four columns are drawn.
    title : str
        The title.
    curves : mapping of str to Curve
        Curves of the networks that converged; "loss" is that of every epoch.
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
            curve = curves[kind]
            values = curve.values[..., feature]
            draw_band(axes, curve.first, values, label=kind, **style)
        if series.held_out:
            axes.axvline(border, color=BLUE, lw=1, label="held out from here on")
        axes.set_ylabel(names[feature], parse_math=False)
    axes.set_xlabel("time (steps)")
    add_legend(figure, [axes])
