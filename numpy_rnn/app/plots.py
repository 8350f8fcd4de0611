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

MAX_PANELS, MAX_POINTS = 4, 100  # of a plot; a longer series is drawn as lines
MAX_TITLE = 60  # characters of the name of a series in the title

# Okabe and Ito's colours, which are distinct for the colour-blind.
BLACK, GREY, ORANGE, BLUE = "#000000", "#999999", "#E69F00", "#0072B2"
GREEN, RED, PURPLE = "#009E73", "#D55E00", "#CC79A7"


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


def draw_result(figure: Any, experiment: Experiment, name: str, result: Result) -> None:
    """Draw the result of a run: actual and predicted points, the free-running
    continuation, and the losses by epoch.

    Of an ensemble, these are the median and the 10th to 90th percentile.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        An empty figure; its size is set.
    experiment : Experiment
        The series. Its first four columns are drawn.
    name : str
        The name of the package, for the title.
    result : Result
        What was found.
    """
    names = experiment.columns[:MAX_PANELS]
    figure.set_size_inches(12, 2.2 + 2.6 * len(names))
    title = f"{name}: {printable(experiment.name, MAX_TITLE)}, one step ahead"
    count = result.converged().sum()
    if experiment.params.networks:
        title += f"\nmedians of {count} networks, and 10th to 90th percentiles"
    figure.suptitle(title, parse_math=False)
    left, right = figure.subfigures(1, 2, width_ratios=(8, 4))
    panels = left.subplots(len(names), squeeze=False)[:, 0]
    for feature, axes in enumerate(panels):
        draw_series(axes, experiment, result, feature)
        label = printable(names[feature], MAX_WIDTH)
        axes.set_ylabel(label, parse_math=False)
    panels[-1].set_xlabel("time (steps)")
    left.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside upper left",
        frameon=False,
        ncols=4,
    )
    axes = right.subplots()
    axes.set(xlabel="epoch", ylabel="loss of an epoch (log scale)", yscale="log")
    draw_band(axes, 1, result, result.losses, marker=".")


def draw_series(
    axes: Any, experiment: Experiment, result: Result, feature: int
) -> None:
    """Draw one column of the series and of the result."""
    actual = experiment.series[:, feature]
    style = {"ls": "", "marker": "o"}
    if len(actual) > MAX_POINTS:
        style = {"ls": "-"}
    axes.plot(range(1, len(actual) + 1), actual, color=BLACK, label="actual", **style)
    for kind, line in (("predicted", "--"), ("free-running", "-")):
        begin, values = result.curves(experiment)[kind]
        draw_band(axes, begin, result, values[..., feature], label=kind, ls=line)
    if experiment.held_out:
        border = len(actual) + 0.5 - experiment.held_out
        axes.axvline(border, color=GREY, lw=1, zorder=0, label="held out from here on")


def draw_band(axes: Any, first: int, result: Result, values: Any, **style: Any) -> None:
    """Draw values from a time on: median, and percentiles if they differ."""
    low, middle, high = result.band(values)
    times = np.arange(first, first + len(values))
    axes.plot(times, middle, color=ORANGE, **style)
    axes.fill_between(times, low, high, color=ORANGE, alpha=0.2, lw=0)
