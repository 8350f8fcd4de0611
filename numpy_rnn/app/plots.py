"""The plot of a run, and where it goes. Matplotlib is imported only by functions that
draw.
"""

import importlib
import sys
import warnings
from importlib.util import find_spec
from itertools import cycle
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.run import MAX_WIDTH, Result
from numpy_rnn.common.errors import InputError, join_names, printable
from numpy_rnn.common.files import written_whole

MAX_FEATURES, MAX_POINTS = 4, 100  # of a plot; a longer series is drawn as lines
MAX_TITLE = 60  # characters of the name of a series in the title

# Okabe and Ito's colours, which are distinct for the colour-blind. Markers and lines
# differ too.
STYLES = (
    ("#E69F00", "s", "-", "--"),
    ("#0072B2", "x", ":", "-."),
    ("#009E73", "+", "--", ":"),
)


def plot_target(options: Configuration, name: str) -> str | None:
    """The file of the plot; None without one. Without Matplotlib and --plot that is a
    note.

    Raises InputError if Matplotlib cannot be imported.
    """
    if options.no_plot or options.text is not None:
        return None
    if options.plot is None and find_spec("matplotlib") is None:
        print(f"{name}: no plot: matplotlib is not installed", file=sys.stderr)
        return None
    try:
        importlib.import_module("matplotlib")
    except (
        ImportError,
        ValueError,
    ) as error:  # ValueError: MPLBACKEND names no backend
        why = f"matplotlib cannot be imported ({error})"
        raise InputError(f"{why}: install it, or use --no-plot") from None
    default = name if options.command == "train" else options.command
    return options.plot or f"{default}.png"


def draw(path: str, experiment: Experiment, results: dict[str, Result]) -> None:
    """Write the plot of results by package."""
    import matplotlib
    from matplotlib.figure import Figure

    with (
        matplotlib.rc_context(),
        warnings.catch_warnings(action="ignore"),
    ):  # of missing glyphs
        matplotlib.rcdefaults()  # settings of the user, such as LaTeX, change nothing
        draw_results(figure := Figure(layout="constrained"), experiment, results)
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=120, format=path.rpartition(".")[2].lower())
    print(f"plot saved to {printable(path)}")


def draw_results(
    figure: Any, experiment: Experiment, results: dict[str, Result]
) -> None:
    """Draw actual and predicted points, the free-running continuation, and the losses
    by epoch, on an empty figure. Of an ensemble, these are the median and the 10th to
    90th percentile.
    """
    names, first = experiment.columns, next(iter(results.values()))
    title = (
        f"{join_names(list(results))}: "
        f"{printable(experiment.name, MAX_TITLE)}, one step ahead"
    )
    if experiment.networks:
        title += (
            f"\nmedians of {first.converged().sum()} networks, and 10th to "
            "90th percentiles"
        )
    rows = min(len(names), MAX_FEATURES)
    figure.set_size_inches(12, 2.2 + 2.6 * rows)
    figure.suptitle(title, parse_math=False)
    grid = figure.add_gridspec(rows, 2, width_ratios=(8, 4))
    for feature in range(rows):
        axes = figure.add_subplot(
            grid[feature, 0], xlabel="time (steps)" * (feature == rows - 1)
        )
        _draw_series(axes, experiment, results, feature)
        axes.set_ylabel(printable(names[feature], MAX_WIDTH), parse_math=False)
    place: Any = {"bbox_to_anchor": (0, 1), "ncols": 4 if len(results) == 1 else 2}
    legend = figure.axes[0].legend(loc="lower left", frameon=False, **place)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a $ in a name does not start a formula
    if len(first.losses):
        _draw_losses(figure.add_subplot(grid[:2, 1]), experiment, results)


def _draw_series(axes: Any, experiment: Experiment, results: Any, feature: int) -> None:
    """Draw one column of the series and of all results."""
    actual = experiment.series[:, feature]
    is_short = len(actual) <= MAX_POINTS
    own = {"ls": "", "marker": "o"} if is_short else {"ls": "-"}
    axes.plot(
        range(1, len(actual) + 1), actual, color="#000000", label="actual", lw=1, **own
    )
    for (color, marker, line, dashes), (name, result) in zip(
        cycle(STYLES), results.items()
    ):
        look = (
            {"fillstyle": "none", "ls": "", "marker": marker}
            if is_short
            else {"ls": dashes}
        )
        for kind, style in {"predicted": look, "free-running": {"ls": line}}.items():
            begin, values = result.curves(experiment)[kind]
            label = kind + f", {name}" * (len(results) > 1)
            _draw_band(
                axes,
                begin,
                result,
                values[..., feature],
                color=color,
                label=label,
                **style,
            )
    if experiment.held_out:
        border = len(actual) + 0.5 - experiment.held_out
        axes.axvline(
            border, color="#999999", lw=1, zorder=0, label="held out from here on"
        )


def _draw_losses(axes: Any, experiment: Experiment, results: dict[str, Result]) -> None:
    """Draw the loss by epoch."""
    for (color, _, line, _), (name, result) in zip(cycle(STYLES), results.items()):
        marker = "." * (len(result.losses) == 1)  # a line needs two points
        _draw_band(
            axes,
            1,
            result,
            result.losses,
            color=color,
            label=name,
            ls=line,
            marker=marker,
        )
    units = ",\nin standardized units" * np.ndim(experiment.deviation)
    label = f"loss of an epoch\n(half squared error{units}, log scale)"
    axes.set(xlabel="epoch", ylabel=label, yscale="log")


def _draw_band(
    axes: Any, first: int, result: Result, values: Any, **style: Any
) -> None:
    """Draw values from a time on: median, and percentiles if they differ."""
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(values) and result.converged().any():
        low, middle, high = result.band(values)
        times = np.arange(first, first + len(values))
        axes.plot(times, middle, **style)
        if (high > low).any():
            axes.fill_between(
                times, low, high, color=style["color"], alpha=0.2, linewidth=0
            )
