"""The plot of a run, and where it goes. Matplotlib is imported only by functions that draw."""

import importlib
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import cycle
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.options import Configuration
from numpy_rnn.app.run import Result
from numpy_rnn.common.errors import InputError, printable, shortened
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.format import MAX_TITLE, MAX_WIDTH, join_names

MAX_FEATURES = 4
MAX_POINTS = 100  # a longer series is drawn as lines

# Okabe and Ito's colours, which are distinct for the colour-blind. Markers and lines differ too.
ACTUAL, GRAY = "#000000", "#999999"
STYLES = [("#E69F00", "s", "-"), ("#0072B2", "x", ":"), ("#009E73", "+", "--")]  # by package


def check_matplotlib(what: str) -> None:
    """Raise InputError if Matplotlib cannot be imported; `what` is the advice of the message."""
    try:
        importlib.import_module("matplotlib")
    except (ImportError, ValueError) as error:  # ValueError: MPLBACKEND names no backend
        raise InputError(f"matplotlib cannot be imported ({error}): {what}") from None


def plot_target(configuration: Configuration, name: str) -> str | None:
    """The file of the plot; None without one. Without matplotlib and --plot that is a note."""
    if configuration.no_plot or configuration.text is not None:
        return None
    if configuration.plot is None and find_spec("matplotlib") is None:
        print(f"{name}: no plot: matplotlib is not installed", file=sys.stderr)
        return None
    check_matplotlib("install it, or use --no-plot")
    default = name if configuration.command == "train" else configuration.command
    return configuration.plot or f"{default}.png"


def draw(path: str, draw_on: Callable[[Any], Any]) -> None:
    """Write a plot. draw_on: draws on an empty Matplotlib figure."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings(action="ignore"):  # of missing glyphs
        matplotlib.rcdefaults()  # settings of the user, such as LaTeX, change nothing
        figure = Figure(layout="constrained")
        draw_on(figure)
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=120, format=path.rpartition(".")[2].lower())
    print(f"plot saved to {printable(path)}")


def draw_results(figure: Any, experiment: Experiment, results: dict[str, Result]) -> None:
    """Draw actual and predicted points, the free-running continuation, and the losses by epoch.

    results: by package. Of an ensemble, median and 10th to 90th percentile are drawn.
    """
    features = experiment.x.shape[-1]
    rows, first = min(features, MAX_FEATURES), next(iter(results.values()))
    title = f"{join_names(list(results))}: {shortened(experiment.name, MAX_TITLE)}, one step ahead"
    title += f", the first {rows} of {features} features" * (features > rows)
    if experiment.networks:
        title += f"\nmedians of {first.converged().sum()} networks, and 10th to 90th percentiles"
    figure.set_size_inches(12, 2.2 + 2.6 * rows)
    figure.suptitle(title, parse_math=False)
    grid = figure.add_gridspec(rows, 2, width_ratios=(8, 4))
    for feature, name in enumerate(experiment.column_names[:rows]):
        axes = figure.add_subplot(grid[feature, 0])
        _draw_series(axes, experiment, results, feature)
        is_named = features > 1 or experiment.columns is not None
        label = shortened(name, MAX_WIDTH) if is_named else "value (units of the series)"
        axes.set_ylabel(label, parse_math=False)
        if feature == 0:
            _add_legend(axes, ncols=4 if len(results) == 1 else 2)
    axes.set_xlabel("time (steps)")
    if len(first.losses):
        _draw_losses(figure.add_subplot(grid[:2, 1]), experiment, results)


def _draw_series(
    axes: Any, experiment: Experiment, results: dict[str, Result], feature: int
) -> None:
    """Draw one feature of the series and of all results."""
    is_short = len(experiment.series) <= MAX_POINTS
    look: Any = {"ls": "", "marker": "o", "ms": 5} if is_short else {"lw": 1}
    actual = experiment.series[:, feature]
    axes.plot(range(1, len(actual) + 1), actual, color=ACTUAL, label="actual", **look)
    for (color, marker, line), (name, result) in zip(cycle(STYLES), results.items()):
        look = {"ls": "", "marker": marker} if is_short else {"ls": "--" if line == "-" else line}
        styles = {
            "predicted": {"fillstyle": "none", "lw": 1.2, **look},
            "free-running": {"ls": line},
        }
        for kind, style in styles.items():
            begin, values = result.curves(experiment)[kind]
            label = kind + f", {name}" * (len(results) > 1)
            if len(values) and result.converged().any():
                bands = result.band(values[..., feature])
                _draw_band(axes, begin, bands, color=color, label=label, **style)
    if experiment.held_out:
        border = len(actual) + 0.5 - experiment.held_out
        axes.axvline(border, color=GRAY, lw=1, zorder=0, label="held out from here on")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_losses(axes: Any, experiment: Experiment, results: dict[str, Result]) -> None:
    """Draw the loss by epoch; of an ensemble, of the networks that converged."""
    lowest = np.inf
    for (color, _, line), (name, result) in zip(cycle(STYLES), results.items()):
        if result.converged().any():
            bands = result.band(result.losses)
            marker = "." * (len(result.losses) == 1)  # a line needs two points
            _draw_band(axes, 1, bands, color=color, label=name, ls=line, marker=marker)
            lowest = min(lowest, bands.min())
    is_log = bool(0 < lowest < np.inf)
    units = ",\nin standardized units" * np.ndim(experiment.deviation) + ", log scale" * is_log
    axes.set(xlabel="epoch", ylabel=f"loss of an epoch\n(half squared error{units})")
    axes.set_yscale("log" if is_log else "linear")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(results) > 1:
        _add_legend(axes)


def _draw_band(axes: Any, first: int, bands: np.ndarray, color: str, **style: Any) -> None:
    """Draw the median, and the area between the percentiles if they differ, from a time on."""
    low, middle, high = bands
    times = np.arange(first, first + len(middle))
    axes.plot(times, middle, color=color, **style)
    if (high > low).any():
        axes.fill_between(times, low, high, color=color, alpha=0.2, linewidth=0)


def _add_legend(axes: Any, ncols: int = 1) -> None:
    """Add a legend above the panel; a $ in a name does not start a formula."""
    legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False, ncols=ncols)
    for text in legend.get_texts():
        text.set_parse_math(False)
