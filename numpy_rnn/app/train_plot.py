"""The plot of `train`: the series, its predictions and the losses."""

from typing import Any

from numpy_rnn.app.experiment import Curve
from numpy_rnn.app.figures import (
    BLACK,
    BLUE,
    ORANGE,
    add_legend,
    draw_band,
    draw_losses,
)
from numpy_rnn.app.series import Series

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
