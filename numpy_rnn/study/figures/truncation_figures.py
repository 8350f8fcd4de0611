"""The cost of truncation over many networks: cosine and bias by k, along training, and the norms by lag."""

import numpy as np

from numpy_rnn.study.figures.style import (
    AFTER,
    BAND,
    BEFORE,
    CHUNKS,
    GREY,
    HEAT,
    SLIDING,
    epoch_axis,
    label_ends,
    positive,
    step_ticks,
)
from numpy_rnn.study.setting import Drawing, Findings

KINDS = {"chunks": ("chunks (k, k)", CHUNKS, "s"), "sliding": ("sliding (1, k)", SLIDING, "o")}
ROWS = {"cosine": "cosine with the\nfull gradient", "bias": r"relative bias" "\n" r"$\|g_k - g\|\ /\ \|g\|$"}
ENDS = {"start": ("before training", BEFORE, 0), "end": ("after training", AFTER, -1)}  # index into "along"


def draw_truncation_cost(figure, findings: Findings) -> None:
    """Cosine above, bias below, a column for each end of training: median and band; dotted, the run's network."""
    result = findings["components"]
    columns = {f"after {result['epochs']} epochs": "end"} if result["epochs"] else {}
    columns = {"before training": "start"} | columns
    k = result["truncation"]["k"]
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for row, (part, label) in zip(grid, ROWS.items()):
        for axes, end in zip(row, columns.values()):
            for kind, (name, color, marker) in KINDS.items():
                low, median, high = _band(_at(result, end)["cost"]["all"][kind][part])
                axes.plot(k, median, color=color, marker=marker, markersize=3.5, label=name)
                axes.fill_between(k, low, high, color=color, alpha=BAND, linewidth=0)
                own = np.array(result["truncation"][end]["all"][kind][part], float)
                axes.plot(k, own, color=color, linewidth=0.9, linestyle=":", label=f"{name}, this network")
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
    grid[-1, 0].legend(loc="upper right", fontsize=8.5)


def _at(result, end):
    """The bands over the networks before or after training."""
    return result["seeds"]["along"][ENDS[end][2]]


def _band(band):
    return (np.array(band[name], float) for name in ("low", "median", "high"))


def caption_truncation_cost(findings: Findings) -> str:
    """The caption."""
    seeds = findings["components"]["seeds"]
    return (
        "Distance of the truncated gradient of an epoch from the full one, with fixed parameters: median of"
        f" {seeds['networks']} networks and band from the 10th to the 90th percentile; dotted, the network of this run,"
        " which is one of many. Cosine 1 and bias 0 mean the same direction and length. The sliding window, which keeps"
        " the k newest steps for every loss, is mostly closer than chunks of the same k, which separate some losses"
        " from the step just before them."
    )


def alternative_truncation_cost(findings: Findings) -> str:
    """The alternative text."""
    result = findings["components"]

    def cosines(end):
        of = _at(result, end)["cost"]["all"]
        return ", ".join(f"{name} {_number(of[kind]['cosine']['median'][0])}" for kind, (name, *_) in KINDS.items())

    before, after = cosines("start"), cosines("end")
    return f"Cosine and relative bias against k. Median cosine at k = 1 before training: {before}; after: {after}."


def _number(value):
    return "not defined" if value is None else f"{value:.2f}"


def draw_along_training(figure, findings: Findings) -> None:
    """Median and band of the cosine with the full gradient by epoch, one curve per k: chunks left, sliding right."""
    from matplotlib import colormaps

    along = findings["components"]["along"]
    shown = along["k"][:-1]  # at the last, k = T, it is 1
    colors = [colormaps[HEAT](place) for place in np.linspace(0, 0.75, max(1, len(shown)))]
    every = figure.subplots(1, 2, sharey=True)
    ends: list[list[tuple]] = [[], []]
    for axes, named, (kind, (title, *_)) in zip(every, ends, KINDS.items()):
        for k, color in zip(shown, colors):
            low, median, high = _curve(findings["components"]["seeds"], kind, k)
            axes.plot(along["epochs"], median, color=color, marker="o", markersize=3.5)
            axes.fill_between(along["epochs"], low, high, color=color, alpha=BAND / 2, linewidth=0)
            if np.isfinite(median[-1]):
                named.append((along["epochs"][-1], median[-1], f"k = {k}", color))
        axes.axhline(1, color="black", linewidth=0.6)
        axes.set_title(title)
        epoch_axis(axes, along["epochs"])
    every[0].set_ylabel("cosine with the full gradient")
    for axes, named in zip(every, ends):
        label_ends(axes, named)


def _curve(seeds, kind, k):
    """The band of the cosine with windows of k steps, by epoch."""
    of_epochs = [of_epoch["cost"]["all"][kind]["cosine"] for of_epoch in seeds["along"]]
    return (np.array([of[name][k - 1] for of in of_epochs], float) for name in ("low", "median", "high"))


def caption_along_training(findings: Findings) -> str:
    """The caption."""
    return (
        f"The same cosine along training: median and band of {findings['components']['seeds']['networks']} networks, at"
        " the weights after each number of epochs. A truncation that is harmless at the start need not stay so: what a"
        " network has learned decides how far back its losses reach. Where the full gradient has become small, large"
        " components cancel, and leaving some out matters most."
    )


def alternative_along_training(findings: Findings) -> str:
    """The alternative text."""
    result, parts = findings["components"], []
    k = result["along"]["k"][0]
    for kind, (name, *_) in KINDS.items():
        _, median, _ = _curve(result["seeds"], kind, k)
        if np.isfinite(median).any():
            parts.append(f"{name} with k = {k}: from {np.nanmin(median):.2f} to {np.nanmax(median):.2f}")
    return "Median cosine with the full gradient by epoch, for a few k. " + "; ".join(parts) + "."


def draw_norm_by_lag(figure, findings: Findings) -> None:
    """The mean norm at each lag on a logarithmic axis: median and band; dotted, the run's network."""
    result = findings["components"]
    axes = figure.subplots()
    ends = []
    for end, (name, color, _) in ENDS.items():
        if end == "end" and not result["epochs"]:
            continue
        of_networks = _at(result, end)
        low, median, high = (positive(of_networks["lag"][part]) for part in ("low", "median", "high"))
        lags = np.arange(len(median))
        axes.plot(lags, median, color=color, marker="o", markersize=3.5)
        axes.fill_between(lags, low, high, color=color, alpha=BAND, linewidth=0)
        axes.plot(lags, positive(result["lag"][end]["mean"]), color=color, linewidth=0.9, linestyle=":")
        there = np.flatnonzero(np.isfinite(median))
        if there.size:
            reach = of_networks["reach"]["median"][1]
            ends.append((there[-1], median[there[-1]], f"{name}:\n90 % within {reach:.1f} steps", color))
    axes.set_yscale("log")
    axes.set_xlabel("lag t − s, steps back from the loss")
    axes.set_ylabel("‖G[t, s]‖, mean over t")
    axes.set_xlim(-0.3, result["steps"] - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


def caption_norm_by_lag(findings: Findings) -> str:
    """The caption."""
    return (
        "The norms of the components by lag, as a mean over t: median of"
        f" {findings['components']['seeds']['networks']} networks and band from the 10th to the 90th percentile;"
        " dotted, the network of this run. On a logarithmic axis, a straight line is a constant factor per step. The"
        " labels give the median number of steps, counted back from the loss and including its own, that have 90 % of"
        " the norms of a row."
    )


def alternative_norm_by_lag(findings: Findings) -> str:
    """The alternative text."""
    parts = []
    for end, (name, *_) in ENDS.items():
        median = _at(findings["components"], end)["lag"]["median"]
        parts.append(f"{name} from {median[0]:.2g} at lag 0 to {median[-1]:.2g} at lag {len(median) - 1}")
    return f"Median norm of the components by lag on a logarithmic axis: {'; '.join(parts)}."


TRUNCATION_DRAWINGS = (
    Drawing("cosine_bias", (8.4, 5), draw_truncation_cost, caption_truncation_cost, alternative_truncation_cost),
    Drawing("along_training", (8.4, 3.6), draw_along_training, caption_along_training, alternative_along_training),
    Drawing("norm_by_lag", (7, 3.6), draw_norm_by_lag, caption_norm_by_lag, alternative_norm_by_lag),
)
