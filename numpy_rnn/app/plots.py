"""The plot of a run, and where it goes. Matplotlib is imported only by functions that draw."""

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable
from importlib.util import find_spec
from itertools import cycle
from typing import Any

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.results import Result, band
from numpy_rnn.common.errors import InputError, printable, shortened
from numpy_rnn.common.files import written_whole
from numpy_rnn.common.format import MAX_TITLE, MAX_WIDTH, join_names

ENDINGS = (".png", ".pdf", ".svg", ".jpg")
MAX_FEATURES = 4
MAX_POINTS = 100  # a longer series is drawn as lines
MAX_STEPS = 600  # of a longer series, only a part is drawn

# Okabe and Ito's colours, which are distinct for the colour-blind. Markers and lines differ too.
ACTUAL, GRAY = "#000000", "#999999"
STYLES = (
    ("#E69F00", "s", "-"),
    ("#0072B2", "x", ":"),
    ("#009E73", "+", "--"),
    ("#CC79A7", "^", "-."),
)  # by backend


def check_matplotlib(what: str) -> None:
    """Raise InputError if Matplotlib cannot be imported; `what` is the advice at the end of the message."""
    try:
        importlib.import_module("matplotlib")
    except (ImportError, ValueError) as error:  # ValueError: MPLBACKEND names no backend
        raise InputError(f"matplotlib cannot be imported ({error}): {what}") from None


def plot_target(arguments: Namespace, name: str) -> str | None:
    """The file of the plot; None without a plot. Without matplotlib that is a note, unless a file is named."""
    if arguments.no_plot:
        if arguments.plot is not None:
            raise InputError(
                "--no-plot and --plot are both given: expected one of the two; leave one out"
            )
        return None
    if arguments.plot is None and find_spec("matplotlib") is None:
        print(f"{name}: no plot: matplotlib is not installed", file=sys.stderr)
        return None
    check_matplotlib("install it, or use --no-plot")
    return arguments.plot or f"{name if arguments.command == 'train' else arguments.command}.png"


def draw(path: str | None, figure: Callable[[Any], Any]) -> None:
    """Draw a plot and write it to `path`, if any. figure: draws on an empty Matplotlib figure."""
    if path is None:
        return
    import matplotlib.figure

    plot = matplotlib.figure.Figure(layout="constrained")
    figure(plot)
    with written_whole(path) as temporary:
        plot.savefig(temporary, dpi=120, format=path.rpartition(".")[2].lower())
    print(f"plot saved to {printable(path)}")


def drawable(text: str, longest: int) -> str:
    """The text, shortened, with escapes for characters that are not printable or not in Matplotlib's font."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font, text = get_font(findfont(FontProperties())), printable(text)
    text = "".join(
        c if font.get_char_index(ord(c)) else c.encode("unicode_escape").decode() for c in text
    )
    return shortened(text, longest)


def draw_results(
    plot: Any,
    experiment: Experiment,
    results: dict[str, Result],
    drift: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Draw actual against predicted points, the free-running continuation, and the loss curve on a Matplotlib figure.

    Of a long series, the end is drawn, with all rows that are held out. results: by backend; of an ensemble, the median and the 10th and 90th percentile are
    drawn. drift: (drift, spread) per epoch; a panel shows how far unsynchronized runs drift apart.
    """
    results = {drawable(name, MAX_WIDTH): result for name, result in results.items()}
    T, features = len(experiment.x), min(experiment.x.shape[-1], MAX_FEATURES)
    first = (
        1
        if T <= MAX_STEPS
        else max(1, min(T - MAX_STEPS, T - experiment.held_out - MAX_STEPS // 2) + 1)
    )
    title = [f"{join_names(list(results))}: {drawable(experiment.name, MAX_TITLE)}, one step ahead"]
    title[0] += f", the last {T - first + 1} of {T} steps" if first > 1 else ""
    title[0] += f", the first {features} of {experiment.x.shape[-1]} features" * (
        features < experiment.x.shape[-1]
    )
    if (networks := next(iter(results.values())).converged()).size > 1:
        title.append(
            f"medians of {networks.sum()} networks, bands from their 10th to their 90th percentile"
        )
    plot.set_size_inches(12, 2.2 + 2.6 * max(features, 1 if drift is None else 1.6))
    plot.suptitle("\n".join(title), parse_math=False)
    grid = plot.add_gridspec(features, 2, width_ratios=(8, 4))
    panels = [plot.add_subplot(grid[feature, 0]) for feature in range(features)]
    for feature, axes in enumerate(panels):
        _draw_series(axes, experiment, results, feature, first)
        has_name = features > 1 or experiment.columns is not None
        label = (
            drawable(experiment.column_names[feature], MAX_WIDTH)
            if has_name
            else "value (units of the series)"
        )
        axes.set_ylabel(label, parse_math=False)
    panels[-1].set_xlabel("time (steps)")
    _add_legend(panels[0], ncols=4 if len(results) == 1 else 2)
    if all(len(result.losses) for result in results.values()):
        right = grid[: 2 if drift is None else None, 1].subgridspec(1 if drift is None else 2, 1)
        _draw_losses(plot.add_subplot(right[0]), experiment, results)
        if drift is not None:
            _draw_drift(plot.add_subplot(right[1]), *drift)


def _draw_series(
    axes: Any, experiment: Experiment, results: dict[str, Result], feature: int, first: int
) -> None:
    """Draw one feature of the series and of all results, from time `first` on.

    Times: the rows of the series are 1 to T + 1. The last prediction is that of T + 1, also if there are fewer than T
    predictions. Free-running values begin at T + 2 − held_out, joined to the prediction of the time before.
    """
    T, held_out = len(experiment.x), experiment.held_out
    actual = experiment.rows(first - 1)[..., feature]
    points = len(actual) <= MAX_POINTS
    axes.plot(
        np.arange(first, T + 2),
        actual,
        "o" if points else "-",
        color=ACTUAL,
        label="actual",
        ms=5,
        lw=1,
    )
    for (color, marker, line), (name, result) in zip(cycle(STYLES), results.items()):
        networks, by = result.converged(), "" if len(results) == 1 else f", {name}"
        P = len(result.predictions)
        trained = result.predictions[: max(0, P - held_out)]
        before = trained[-1:] if len(result.generated) else trained[:0]
        after = np.concatenate([before, result.generated])
        look: dict[str, Any] = (
            {"ls": "", "marker": marker} if points else {"ls": "--" if line == "-" else line}
        )
        for values, begin, style in (
            (
                result.predictions,
                T + 2 - P,
                {"label": "predicted" + by, "fillstyle": "none", "lw": 1.2} | look,
            ),
            (after, T + 2 - held_out - len(before), {"label": "free-running" + by, "ls": line}),
        ):
            values = values[max(0, first - begin) :, ..., feature]
            if len(values) and networks.any():
                times = np.arange(max(first, begin), max(first, begin) + len(values))
                _draw_band(axes, times, band(values, networks), color, **style)
    if held_out:
        axes.axvline(T + 1.5 - held_out, color=GRAY, lw=1, zorder=0, label="held out from here on")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_band(axes: Any, times: np.ndarray, bands: np.ndarray, color: str, **style: Any) -> None:
    """Draw bands (3, N): the median as a line, and the area between the percentiles if they differ."""
    low, middle, high = bands
    axes.plot(times, middle, color=color, **style)
    if (high > low).any():
        axes.fill_between(times, low, high, color=color, alpha=0.2, linewidth=0)


def _draw_losses(axes: Any, experiment: Experiment, results: dict[str, Result]) -> None:
    """Draw one loss curve per result; for an ensemble, its median and a band.

    Networks that diverged are left out; a curve without other networks has only an entry in the legend.
    """
    lowest = np.inf
    for (color, _, line), (name, result) in zip(cycle(STYLES), results.items()):
        epochs = np.arange(1, len(result.losses) + 1)
        style = {"ls": line, "marker": "." if len(epochs) == 1 else ""}  # a line needs two points
        if not (networks := result.converged()).any():
            axes.plot([], [], color=color, label=f"{name}: diverged")
            continue
        losses = band(result.losses, networks)
        _draw_band(axes, epochs, losses, color, label=name, **style)
        lowest = min(lowest, losses.min())
    if is_log := 0 < lowest < np.inf:
        axes.set_yscale("log")
    units = (",\nin standardized units" if np.ndim(experiment.deviation) else "") + (
        ", log scale" if is_log else ""
    )
    axes.set(
        xlabel="epoch",
        ylabel=f"loss of an epoch\n(half squared error{units})",
        xlim=(0, len(epochs) + 1),
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(results) > 1:
        _add_legend(axes)


def _draw_drift(axes: Any, drift: np.ndarray, spread: np.ndarray) -> None:
    """Draw how far two runs drift apart by epoch, and how far runs do whose initial weights differ by one ulp."""
    epochs = np.arange(1, len(drift) + 1)
    axes.semilogy(epochs, spread, color=GRAY, ls="--", label="runs that start an ulp apart")
    axes.semilogy(epochs, np.where(drift > 0, drift, np.nan), color=ACTUAL, label="these runs")
    axes.set(
        xlabel="epoch",
        ylabel="largest difference\nof the losses so far (log scale)",
        xlim=(0, len(epochs) + 1),
    )
    _add_legend(axes)


def _add_legend(axes: Any, **options: Any) -> None:
    """Add a legend, above the panel unless the options say otherwise; a $ in a name does not start a formula."""
    options = {"loc": "lower left", "bbox_to_anchor": (0, 1), "frameon": False} | options
    for text in axes.legend(**options).get_texts():
        text.set_parse_math(False)
