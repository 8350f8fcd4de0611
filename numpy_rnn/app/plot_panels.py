"""The panels of the plot: actual and predicted series, the free-running continuation, losses, and drift."""

from itertools import cycle
from math import inf
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.report import band

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


# Okabe and Ito's other colours, from dark to light, without the yellow that is hard to see on white.
RATES = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
AGAIN = {"-": "--", ":": "-.", "--": "-", "-.": ":"}  # the lines of the rates that have a colour for the second time
FAR = 100  # times the lowest final loss
CLOSEST = 0.055  # of the height: labels nearer than that would cover each other


def draw_losses(axes, experiment, results) -> None:
    """One curve a result; of an ensemble its median and a band."""
    limits = []
    for (color, _, line), (name, result) in zip(cycle(STYLES), results.items()):
        low, _, high = bands = band(result.losses, result.converged())
        draw_band(axes, _epochs(result), bands, color, label=name, linestyle=line, marker=_marker(result))
        limits += [low.min(), high.max()]
    _label(axes, experiment, _epochs(result)[-1], "loss of an epoch")
    _scale(axes, limits)
    if len(results) > 1:
        add_legend(axes)


def draw_rates(axes, experiment, results) -> None:
    """One curve a learning rate of a sweep, the median over its networks, with its rate beside its end.

    losses: (epochs, R) or (epochs, R, N). A second result has lines of its own kind. Networks that diverged are left
    out; a rate that has no other has no curve, and is named above the panel. Curves far above the best leave the panel
    at its top, so that the others can be told from each other.
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


def draw_drift(axes, drift, spread) -> None:
    """How far two runs part, by epoch, beside how far runs part that start an ulp apart."""
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
    return "." if len(result.losses) == 1 else ""  # one point has no line


def _label(axes, experiment, epochs, of):
    from matplotlib.ticker import MaxNLocator

    units = "" if experiment.scaling is None else ",\nin standardised units"
    axes.set_xlabel("epoch")
    axes.set_ylabel(f"{of}\n(half squared error{units})")
    axes.set_xlim(0, epochs + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))


def _scale(axes, limits):
    """Logarithmic where the losses span more than a factor of 4."""
    from matplotlib.ticker import LogLocator, NullFormatter

    if max(limits) > 4 * min(limits) > 0:
        few = max(limits) < 1000 * min(limits)
        axes.set_yscale("log")
        axes.set_ylabel(axes.get_ylabel().removesuffix(")") + ", log scale)")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _with_margins(axes, low, high):
    """The limits of a panel that shows low to high, with as little beyond them as Matplotlib leaves by itself."""
    margin, scale = axes.margins()[1], axes.yaxis.get_transform()
    low, high = scale.transform(np.array([low, high]))
    beyond = margin * ((high - low) or 1)
    return scale.inverted().transform(np.array([low - beyond, high + beyond]))


def _label_ends(axes, ends):
    """Every label beside the end of its curve, and none over another: those too near are moved apart. The best is bold,
    and an arrow stands with a curve that ends above the panel.
    """
    ends = sorted(ends)
    apart = min(CLOSEST, 1 / max(1, len(ends) - 1))
    to_height = axes.transData + axes.transAxes.inverted()
    heights = [to_height.transform((0, value))[1] for value, _, _ in ends]
    for i in range(1, len(heights)):  # upwards
        heights[i] = max(heights[i], heights[i - 1] + apart)
    top = 0.98
    for i in reversed(range(len(heights))):  # and down again from the top, where that went out of it
        heights[i] = top = min(heights[i], top)
        top -= apart
    for place, (height, (value, label, color)) in enumerate(zip(heights, ends)):
        beyond = " ↑" if value > axes.get_ylim()[1] else ""
        weight = "bold" if place == 0 else "normal"
        axes.text(1.02, height, label + beyond, color=color, weight=weight, transform=axes.transAxes, va="center")
    axes.text(1.02, 1.03, "rate", transform=axes.transAxes, va="bottom")
