"""The plot of a training run. Matplotlib is imported only by functions that draw."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.predictions import Result
from numpy_rnn.app.tables import MAX_WIDTH
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.texts import printable

MAX_FEATURES, MAX_POINTS = 4, 100  # of a plot; a longer series is drawn as lines
MAX_TITLE = 60  # characters of the name of a series in the title

# Okabe and Ito's colours, which are distinct for the colour-blind.
BLACK, GREY, ORANGE, BLUE = "#000000", "#999999", "#E69F00", "#0072B2"
GREEN, RED, PURPLE = "#009E73", "#D55E00", "#CC79A7"


def write_figure(path: str, draw_on: Callable[[Any], None]) -> None:
    """Write the figure that a function draws."""
    import matplotlib
    from matplotlib.figure import Figure

    with (
        matplotlib.rc_context(),
        warnings.catch_warnings(action="ignore"),  # of missing glyphs
    ):
        matplotlib.rcdefaults()  # settings of the user, such as LaTeX, change nothing
        figure = Figure(layout="constrained")
        draw_on(figure)
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=120, format=path.rpartition(".")[2].lower())
    print(f"plot saved to {printable(path)}")


def draw(path: str, experiment: Experiment, name: str, result: Result) -> None:
    """Write the plot of the result of a package."""
    write_figure(path, lambda figure: draw_result(figure, experiment, name, result))


def draw_result(figure: Any, experiment: Experiment, name: str, result: Result) -> None:
    """Draw actual and predicted points, the free-running continuation, and the losses
    by epoch, on an empty figure. Of an ensemble, these are the median and the 10th to
    90th percentile.
    """
    names = experiment.columns
    title = f"{name}: {printable(experiment.name, MAX_TITLE)}, one step ahead"
    if experiment.networks:
        count = result.converged().sum()
        title += f"\nmedians of {count} networks, and 10th to 90th percentiles"
    rows = min(len(names), MAX_FEATURES)
    figure.set_size_inches(12, 2.2 + 2.6 * rows)
    figure.suptitle(title, parse_math=False)
    grid = figure.add_gridspec(rows, 2, width_ratios=(8, 4))
    for feature in range(rows):
        axes = figure.add_subplot(grid[feature, 0])
        _draw_series(axes, experiment, result, feature)
        axes.set_ylabel(printable(names[feature], MAX_WIDTH), parse_math=False)
    axes.set_xlabel("time (steps)")
    figure.axes[0].legend(
        loc="lower left", frameon=False, bbox_to_anchor=(0, 1), ncols=4
    )
    if len(result.losses):
        axes = figure.add_subplot(grid[:2, 1])
        label = "loss of an epoch\n(half squared error, log scale)"
        if np.ndim(experiment.deviation):
            label = label.replace(",", ",\nin standardized units,")
        axes.set(xlabel="epoch", ylabel=label, yscale="log")
        marker = "." if len(result.losses) == 1 else ""  # a line needs two points
        _draw_band(axes, 1, result, result.losses, color=ORANGE, marker=marker)


def _draw_series(
    axes: Any, experiment: Experiment, result: Result, feature: int
) -> None:
    """Draw one column of the series and of the result."""
    actual = experiment.series[:, feature]
    times = range(1, len(actual) + 1)
    styles: dict[str, dict[str, Any]] = {
        "predicted": {"ls": "--"},
        "free-running": {"ls": "-"},
    }
    marker, line = "", "-"
    if len(actual) <= MAX_POINTS:
        marker, line = "o", ""
        styles["predicted"] = {"ls": "", "marker": "s", "fillstyle": "none"}
    axes.plot(times, actual, color=BLACK, label="actual", lw=1, ls=line, marker=marker)
    for kind, style in styles.items():
        begin, values = result.curves(experiment)[kind]
        values = values[..., feature]
        _draw_band(axes, begin, result, values, color=ORANGE, label=kind, **style)
    if experiment.held_out:
        border = len(actual) + 0.5 - experiment.held_out
        axes.axvline(border, color=GREY, lw=1, zorder=0, label="held out from here on")


def _draw_band(
    axes: Any, first: int, result: Result, values: Any, **style: Any
) -> None:
    """Draw values from a time on: median, and percentiles if they differ."""
    axes.xaxis.get_major_locator().set_params(integer=True)
    if not len(values) or not result.converged().any():
        return
    low, middle, high = result.band(values)
    times = np.arange(first, first + len(values))
    axes.plot(times, middle, **style)
    if (high > low).any():
        axes.fill_between(
            times, low, high, color=style["color"], alpha=0.2, linewidth=0
        )
