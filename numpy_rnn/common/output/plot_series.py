"""The panels of the series: actual against predicted, the free-running continuation, and what was not trained on."""

from itertools import cycle
from math import inf
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.output.report import band

# Okabe and Ito's colours, which the colour-blind can tell apart; and beside the colour, marker and line differ too.
ACTUAL = "#000000"
STYLES = (("#E69F00", "s", "-"), ("#0072B2", "x", ":"), ("#009E73", "+", "--"), ("#CC79A7", "^", "-."))  # by backend
MOST_POINTS = 100  # a longer series is drawn as lines
MOST_STEPS = 600  # of a longer series, a part is drawn, so that predicted can be told from actual
HEADROOM = 0.1  # of the height, for the word at the border


class View(NamedTuple):
    """The times that are drawn, both included."""

    first: int
    last: float  # infinity: all that comes
    title: str  # what to say of it; nothing when all is drawn

    def of(self, values, begin):
        """Those of the values (N, ...) at the times begin, begin + 1 and so on that are in view; times and values."""
        first, last = max(self.first, begin), min(self.last, begin + len(values) - 1)
        times = np.arange(first, last + 1)
        return times, values[first - begin :][: len(times)]


def view_of(experiment) -> View:
    """All of a short series and of what follows it; of a long one the end, or what is around the border."""
    T = len(experiment.x)
    if T <= MOST_STEPS:
        return View(1, inf, "")
    last = min(T, max(MOST_STEPS, T - experiment.held_out + MOST_STEPS // 2))
    first = last - MOST_STEPS + 1
    if last == T:
        return View(first, inf, f"the last {MOST_STEPS} of {T} steps")
    return View(first, last, f"steps {first} to {last} of {T}")


def draw_series(axes, experiment, results, feature, view) -> None:
    """One feature of the series and of all results, each of one network or of an ensemble of any shape E.

    In the numbering of times, the rows of the series are 1 to T + 1, as is the last prediction, also where predictions
    has fewer than T rows; what was generated begins at row T + 2 − held_out, on from the prediction of the row before.
    """
    from matplotlib.ticker import MaxNLocator

    T, held_out = len(experiment.x), experiment.held_out
    units = _units(experiment, feature)
    actual = experiment.rows(view.first - 1, None if view.last == inf else view.last)
    times = np.arange(view.first, view.first + len(actual))
    points = len(times) <= MOST_POINTS
    line = "o" if points else "-"
    axes.plot(times, actual[..., feature], line, color=ACTUAL, label="actual", markersize=5, linewidth=1)
    for (color, marker, line), (name, result) in zip(cycle(STYLES), results.items()):
        networks, by = result.converged(), "" if len(results) == 1 else f", {name}"
        if not networks.any():
            continue
        P = len(result.predictions)
        times, predictions = view.of(result.predictions, T + 2 - P)
        style = {"linestyle": "", "marker": marker} if points else {"linestyle": "--" if line == "-" else line}
        bands = band(units(predictions), networks)
        draw_band(axes, times, bands, color, label="predicted" + by, fillstyle="none", linewidth=1.2, **style)
        if len(result.generated):
            last = max(0, P - held_out)  # 0: the predictions begin later
            before = result.predictions[max(0, last - 1) : last]
            after = np.concatenate([before, result.generated])
            times, after = view.of(after, T + 2 - held_out - len(before))
            draw_band(axes, times, band(units(after), networks), color, label="free-running" + by, linestyle=line)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
    if held_out:
        _draw_border(axes, T + 1.5 - held_out)


def draw_band(axes, times, bands, color, **style) -> None:
    """The median as a line, and a band from the lowest to the highest of the three, where they differ."""
    low, middle, high = bands
    axes.plot(times, middle, color=color, **style)
    if (high > low).any():
        axes.fill_between(times, low, high, color=color, alpha=0.2, linewidth=0)


def add_legend(axes, height=1.0, **options) -> None:
    """A legend above the panel, its names drawn as they are: a $ in one does not begin a formula."""
    for text in axes.legend(loc="lower left", bbox_to_anchor=(0, height), frameon=False, **options).get_texts():
        text.set_parse_math(False)


def _units(experiment, feature):
    """(N, *E, 1, D) as the backend has it → (N, *E), this feature in the units of the series."""
    scaling = experiment.scaling
    return lambda values: (values if scaling is None else scaling.original(values))[..., 0, feature]


def _draw_border(axes, time):
    """Between two rows: the last one that was trained on, and the first one that was not."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + HEADROOM * (high - low))
    first, last = axes.get_xlim()
    axes.axvline(time, color="#999999", linewidth=1, zorder=0, label="_border")
    right = time < (first + last) / 2  # where there is more room
    axes.annotate(
        "not trained on →",
        (time, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4 if right else -4, -4),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
    )
