"""The panels of the plot: actual and predicted series, the free-running continuation, losses, and drift."""

from itertools import cycle
from math import inf
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.report import band
from numpy_rnn.app.results import Result

# Okabe and Ito's colours, which are distinct for the colour-blind. Markers and lines differ too.
ACTUAL = "#000000"
STYLES = (("#E69F00", "s", "-"), ("#0072B2", "x", ":"), ("#009E73", "+", "--"), ("#CC79A7", "^", "-."))  # by backend
MAX_POINTS = 100  # a longer series is drawn as lines
MAX_STEPS = 600  # of a longer series, only a part is drawn
HEADROOM = 0.1  # of the height, for the annotation of the border


class View(NamedTuple):
    """The range of times that is drawn, inclusive."""

    first: int
    last: float  # infinity: up to the end
    title: str  # describes the range; empty if everything is drawn

    def of(self, values: np.ndarray, begin: int) -> tuple[np.ndarray, np.ndarray]:
        """The times in the range and the values at these times, of values (N, ...) at begin, begin + 1, and so on."""
        first, last = max(self.first, begin), min(self.last, begin + len(values) - 1)
        times = np.arange(first, last + 1)
        return times, values[first - begin :][: len(times)]


def view_of(experiment: Experiment) -> View:
    """The whole of a short series; of a long one the end, or the part around the first held-out row."""
    T = len(experiment.x)
    if T <= MAX_STEPS:
        return View(1, inf, "")
    last = min(T, max(MAX_STEPS, T - experiment.held_out + MAX_STEPS // 2))
    first = last - MAX_STEPS + 1
    if last == T:
        return View(first, inf, f"the last {MAX_STEPS} of {T} steps")
    return View(first, last, f"steps {first} to {last} of {T}")


def draw_series(axes: Any, experiment: Experiment, results: dict[str, Result], feature: int, view: View) -> None:
    """Draw one feature of the series and of all results, each of one network or of an ensemble of any shape E.

    Times: the rows of the series are 1 to T + 1. The last prediction is that of T + 1, also if there are fewer than T
    predictions. Free-running values begin at T + 2 − held_out, joined to the prediction of the time before.
    """
    from matplotlib.ticker import MaxNLocator

    T, held_out = len(experiment.x), experiment.held_out
    units = _units(experiment, feature)
    actual = experiment.rows(view.first - 1, None if view.last == inf else int(view.last))
    times = np.arange(view.first, view.first + len(actual))
    points = len(times) <= MAX_POINTS
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


def draw_band(axes: Any, times: np.ndarray, bands: np.ndarray, color: str, **style: Any) -> None:
    """Draw bands (3, N): the median as a line, and the area between the percentiles if they differ.

    Without times, nothing is drawn, and the legend has no entry.
    """
    if not len(times):
        return
    low, middle, high = bands
    axes.plot(times, middle, color=color, **style)
    if (high > low).any():
        axes.fill_between(times, low, high, color=color, alpha=0.2, linewidth=0)


def add_legend(axes: Any, height: float = 1.0, **options: Any) -> None:
    """Add a legend above the panel; a $ in a name does not start a formula."""
    for text in axes.legend(loc="lower left", bbox_to_anchor=(0, height), frameon=False, **options).get_texts():
        text.set_parse_math(False)


def _units(experiment, feature):
    """A function (N, *E, 1, D) as trained → (N, *E), this feature in units of the series."""
    scaling = experiment.scaling
    return lambda values: (values if scaling is None else scaling.original(values))[..., 0, feature]


def _draw_border(axes, time):
    """Draw a line between the last training row and the first held-out row."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + HEADROOM * (high - low))
    first, last = axes.get_xlim()
    axes.axvline(time, color="#999999", linewidth=1, zorder=0, label="_border")
    right = time < (first + last) / 2  # where there is more room
    axes.annotate(
        "held out →",
        (time, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4 if right else -4, -4),
        textcoords="offset points",
        ha="left" if right else "right",
        va="top",
    )


# Okabe and Ito's other colours, from dark to light, without the yellow that is hard to see on white.
RATES = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
AGAIN = {"-": "--", ":": "-.", "--": "-", "-.": ":"}  # the second line style of a colour
FAR = 100  # times the lowest final loss; such a curve does not determine the limits of the panel
MIN_DISTANCE = 0.055  # between two labels, of the height of the panel


def draw_losses(axes: Any, experiment: Experiment, results: dict[str, Result]) -> None:
    """Draw one loss curve per result; for an ensemble, its median and a band."""
    limits = []
    for (color, _, line), (name, result) in zip(cycle(STYLES), results.items()):
        low, _, high = bands = band(result.losses, result.converged())
        draw_band(axes, _epochs(result), bands, color, label=name, linestyle=line, marker=_marker(result))
        limits += [low.min(), high.max()]
    _label(axes, experiment, _epochs(result)[-1], "loss of an epoch")
    _scale(axes, limits)
    if len(results) > 1:
        add_legend(axes)


def draw_rates(axes: Any, experiment: Experiment, results: dict[str, Result]) -> None:
    """Draw one loss curve per learning rate of a sweep, the median over its networks, with the rate at its end.

    losses: (epochs, R) or (epochs, R, N). A second result has another line style. Networks that diverged are left out;
    a rate without other networks has no curve and is named above the panel. Curves far above the best one are cut at
    the top of the panel, so that the others can be distinguished.
    """
    curves, gone = [], []
    for (_, _, line), (name, result) in zip(cycle(STYLES), results.items()):
        for number, rate in enumerate(experiment.rates):
            networks = result.converged()[number]
            if networks.any():
                _, median, _ = band(result.losses[:, number], networks)
                color, form = RATES[number % len(RATES)], line if number < len(RATES) else AGAIN[line]
                few = "" if networks.all() else f" ({networks.sum()} of {networks.size})"
                curves.append((name, median, f"{rate:g}{few}", color))
                label = f"{rate:g}" if len(results) == 1 else f"{rate:g}, {name}"
                axes.plot(_epochs(result), median, color=color, linestyle=form, marker=_marker(result), label=label)
            elif f"{rate:g}" not in gone:
                gone.append(f"{rate:g}")
    best = min(median[-1] for _, median, *_ in curves)
    near = [median for _, median, *_ in curves if median[-1] <= FAR * best]
    _label(axes, experiment, _epochs(result)[-1], "loss of an epoch" if result.losses.ndim < 3 else "median loss")
    _scale(axes, [min(map(np.min, near)), max(map(np.max, near))])
    if len(near) < len(curves):
        axes.set_ylim(*_with_margins(axes, min(map(np.min, near)), max(map(np.max, near))))
    first = curves[0][0]
    _label_ends(axes, [(median[-1], label, color) for name, median, label, color in curves if name == first])
    if gone:
        axes.set_title(f"diverged at {', '.join(gone)}", loc="left", fontsize="medium")
    if len(results) > 1:
        kinds = [
            axes.plot([], [], color=ACTUAL, linestyle=line, label=name)[0]
            for (*_, line), name in zip(cycle(STYLES), results)
        ]
        add_legend(axes, 1.06 if gone else 1, handles=kinds)


def draw_drift(axes: Any, drift: np.ndarray, spread: np.ndarray) -> None:
    """Draw how far two runs drift apart by epoch, and how far runs do whose initial weights differ by one ulp."""
    epochs = np.arange(1, len(drift) + 1)
    axes.semilogy(epochs, spread, color="#999999", linestyle="--", label="runs that start an ulp apart")
    axes.semilogy(epochs, np.where(drift > 0, drift, np.nan), color=ACTUAL, label="these runs")
    axes.set_xlabel("epoch")
    axes.set_ylabel("largest difference\nof the losses so far (log scale)")
    axes.set_xlim(0, len(epochs) + 1)
    add_legend(axes)


def _epochs(result):
    return result.epochs_of_losses()


def _marker(result):
    return "." if len(result.losses) == 1 else ""  # a line needs two points


def _label(axes, experiment, epochs, of):
    from matplotlib.ticker import MaxNLocator

    units = "" if experiment.scaling is None else ",\nin standardized units"
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{of}\n(half squared error{units})")
    axes.set_xlim(0, epochs + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))


def _scale(axes, limits):
    """A logarithmic axis if the losses span more than a factor of 4."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if max(limits) > 4 * min(limits) > 0:
        few = max(limits) < 1000 * min(limits)
        axes.set_yscale("log")
        axes.set_ylabel(axes.get_ylabel().removesuffix(")") + ", log scale)")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _with_margins(axes, low, high):
    """The limits of a panel from low to high, with the margins of Matplotlib."""
    margin, scale = axes.margins()[1], axes.yaxis.get_transform()
    low, high = scale.transform(np.array([low, high]))
    beyond = margin * ((high - low) or 1)
    return scale.inverted().transform(np.array([low - beyond, high + beyond]))


def _label_ends(axes, ends):
    """Label every curve at its end; overlapping labels are moved apart. The best is bold, and a curve that ends above
    the panel has an arrow.
    """
    ends = sorted(ends)
    apart = min(MIN_DISTANCE, 1 / max(1, len(ends) - 1))
    to_height = axes.transData + axes.transAxes.inverted()
    heights = [to_height.transform((0, value))[1] for value, _, _ in ends]
    for i in range(1, len(heights)):  # upwards
        heights[i] = max(heights[i], heights[i - 1] + apart)
    top = 0.98
    for i in reversed(range(len(heights))):  # and down again from the top, if they went beyond it
        heights[i] = top = min(heights[i], top)
        top -= apart
    for place, (height, (value, label, color)) in enumerate(zip(heights, ends)):
        beyond = " ↑" if value > axes.get_ylim()[1] else ""
        weight = "bold" if place == 0 else "normal"
        axes.text(1.02, height, label + beyond, color=color, weight=weight, transform=axes.transAxes, va="center")
    axes.text(1.02, 1.03, "rate", transform=axes.transAxes, va="bottom")
