"""What truncating after k steps costs: cosine and bias, chunked and sliding, before and after training."""

import numpy as np

from numpy_rnn.study.figures.style import BAND, BLUE, GREY, HEAT, ORANGE, label_ends, step_ticks
from numpy_rnn.study.findings import Drawing, Findings

KINDS = {"chunks": ("chunks (k, k)", ORANGE, "s"), "sliding": ("sliding (1, k)", BLUE, "o")}
ROWS = {"cosine": "cosine with the\nfull gradient", "bias": r"relative bias" "\n" r"$\|g_k - g\|\ /\ \|g\|$"}


def draw_truncation_cost(figure, findings: Findings) -> None:
    """Cosine above, bias below; a column for each end of training."""
    result = findings["components"]
    columns = {"before training": "start"} | ({f"after {result['epochs']} epochs": "end"} if result["epochs"] else {})
    k = result["truncation"]["k"]
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for row, (part, label) in zip(grid, ROWS.items()):
        for axes, end in zip(row, columns.values()):
            for kind, (name, color, marker) in KINDS.items():
                values = np.array(result["truncation"][end]["all"][kind][part], float)
                axes.plot(k, values, color=color, marker=marker, markersize=3.5, label=name)
            axes.axhline(1 if part == "cosine" else 0, color="black", linewidth=0.6)
            axes.set_xticks(step_ticks(len(k)))
        row[0].set_ylabel(label)
    for axes, title in zip(grid[0], columns):
        axes.set_title(title)
        if axes.get_ylim()[0] < 0:
            axes.axhline(0, color="black", linewidth=0.6, linestyle=":")
            axes.text(len(k), 0, "below: the opposite direction", ha="right", va="top", fontsize="small", color=GREY)
    for axes in grid[-1]:
        axes.set_xlabel("k, steps per window")
    grid[-1, 0].legend(loc="upper right")


def caption_truncation_cost(findings: Findings) -> str:
    """The caption."""
    return (
        "Distance of the truncated gradient of an epoch from the full one, with fixed parameters. Cosine 1 and bias 0"
        " mean the same direction and length. The sliding window, which keeps the k newest steps for every loss, is"
        " mostly closer than chunks of the same k, which separate some losses from the step just before them. The"
        " curve of the chunks is jagged because it matters where their borders fall."
    )


def alternative_truncation_cost(findings: Findings) -> str:
    """The alternative text."""
    result = findings["components"]["truncation"]

    def cosines(end):
        of = result[end]["all"]
        return ", ".join(f"{name} {_number(of[kind]['cosine'][0])}" for kind, (name, *_) in KINDS.items())

    before, after = cosines("start"), cosines("end")
    return f"Cosine and relative bias against k. Cosine at k = 1 before training: {before}; after: {after}."


def _number(value):
    return "not defined" if value is None else f"{value:.2f}"


TITLES = {"chunks": "chunks (k, k)", "sliding": "sliding window (1, k)"}


def draw_along_training(figure, findings: Findings) -> None:
    """The cosine with the full gradient by epoch, a curve for a few k: chunks on the left, sliding on the right."""
    from matplotlib import colormaps

    along = findings["components"]["along"]
    shown = along["k"][:-1]  # at the last, k = T, it is 1
    colors = [colormaps[HEAT](place) for place in np.linspace(0, 0.75, max(1, len(shown)))]
    every = figure.subplots(1, 2, sharey=True)
    for axes, (kind, title) in zip(every, TITLES.items()):
        curves = [np.array(curve, float) for curve in along[kind]["cosine"][: len(shown)]]
        for curve, color in zip(curves, colors):
            axes.plot(along["epochs"], curve, color=color, marker="o", markersize=3.5)
        axes.axhline(1, color="black", linewidth=0.6)
        axes.set_title(title)
        _epochs(axes, along["epochs"])
    every[0].set_ylabel("cosine with the full gradient")
    for axes, kind in zip(every, TITLES):
        ends = [(along["epochs"][-1], along[kind]["cosine"][place][-1], k) for place, k in enumerate(shown)]
        known = [(x, y, f"k = {k}", color) for (x, y, k), color in zip(ends, colors) if y is not None]
        label_ends(axes, known)


def _epochs(axes, epochs):
    """Epochs on a logarithmic axis that has room for 0."""
    last = epochs[-1]
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    powers = [10**power for power in range(len(str(last))) if 10**power <= last]
    axes.set_xticks([0, *powers, *([last] if powers and last >= 2 * powers[-1] else [])])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(_none())
    axes.set_xlim(-0.1, max(1, last) * 1.05)
    axes.set_xlabel("epoch")


def _none():
    from matplotlib.ticker import NullLocator

    return NullLocator()


def caption_along_training(findings: Findings) -> str:
    """The caption."""
    return (
        "The same cosine along training, at the weights after each number of epochs. A truncation that is harmless at"
        " the start need not stay so: what the network has learned decides how far back its losses reach. Where the"
        " full gradient has become small, large components cancel, and leaving some out matters most."
    )


def alternative_along_training(findings: Findings) -> str:
    """The alternative text."""
    along = findings["components"]["along"]
    parts = []
    for kind, name in TITLES.items():
        curve = [value for value in along[kind]["cosine"][0] if value is not None]
        if curve:
            parts.append(f"{name} with k = {along['k'][0]}: from {min(curve):.2f} to {max(curve):.2f}")
    return "Cosine with the full gradient by epoch, for a few k. " + "; ".join(parts) + "."


ENDS = {"start": ("before training", BLUE), "end": ("after training", ORANGE)}


def draw_norm_by_lag(figure, findings: Findings) -> None:
    """The mean norm at each lag on a logarithmic axis, with a band from the smallest to the largest over t."""
    result = findings["components"]
    axes = figure.subplots()
    ends = []
    for end, (name, color) in ENDS.items():
        if end == "end" and not result["epochs"]:
            continue
        mean, largest, smallest = (positive(result["lag"][end][part]) for part in ("mean", "largest", "smallest"))
        lags = np.arange(len(mean))
        axes.plot(lags, mean, color=color, marker="o", markersize=3.5)
        axes.fill_between(lags, smallest, largest, color=color, alpha=BAND, linewidth=0)
        there = np.flatnonzero(np.isfinite(mean))
        if there.size:
            reach = result["reach"][end]["90"]
            ends.append((there[-1], mean[there[-1]], f"{name}:\n90 % within {reach:.1f} steps", color))
    axes.set_yscale("log")
    axes.set_xlabel("lag t − s, steps back from the loss")
    axes.set_ylabel("‖G[t, s]‖, mean and range over t")
    axes.set_xlim(-0.3, result["steps"] - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


def positive(values) -> np.ndarray:
    """The values as an array, NaN where they are not above 0 and so have no place on a logarithmic axis."""
    result = np.array(values, float)
    return np.where(result > 0, result, np.nan)


def caption_norm_by_lag(findings: Findings) -> str:
    """The caption."""
    return (
        "The norms of the components by lag: mean over t, and band from the smallest to the largest. On a logarithmic"
        " axis, a straight line is a constant factor per step. The labels give the number of steps, counted back from"
        " the loss and including its own, that have 90 % of the norms of a row, as a mean over the rows."
    )


def alternative_norm_by_lag(findings: Findings) -> str:
    """The alternative text."""
    lag = findings["components"]["lag"]
    parts = [
        f"{name} from {lag[end]['mean'][0]:.2g} at lag 0 to {lag[end]['mean'][-1]:.2g} at lag"
        f" {len(lag[end]['mean']) - 1}"
        for end, (name, _) in ENDS.items()
    ]
    return f"Mean norm of the components by lag on a logarithmic axis: {'; '.join(parts)}."


TRUNCATION_DRAWINGS = (
    Drawing("cosine_bias", (8.4, 5), draw_truncation_cost, caption_truncation_cost, alternative_truncation_cost),
    Drawing("along_training", (8.4, 3.6), draw_along_training, caption_along_training, alternative_along_training),
    Drawing("norm_by_lag", (7, 3.6), draw_norm_by_lag, caption_norm_by_lag, alternative_norm_by_lag),
)
