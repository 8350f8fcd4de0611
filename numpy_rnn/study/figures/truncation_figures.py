"""What truncation costs many networks: cosine and bias by k, along training, the norms by lag, and the loss by k."""

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
    readable,
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


BEYOND = 1e6  # times the highest untrained loss: drawn for an infinite one, above the panel
LOSS = "loss of a pass, Σ ℓ_t"
LOSS_KINDS = (("sliding", "sliding window (1, k)"), ("chunks", "chunks (k, k)"))


def draw_loss_by_k(figure, findings: Findings) -> None:
    """Two panels, sliding windows and chunks: one curve per k, median and band over the seeds."""
    by_k = findings["training"]["by_k"]
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    colors = dict(zip(by_k["ks"], shades(len(by_k["ks"]))))
    for axes, (kind, title) in zip(panels, LOSS_KINDS):
        for run in by_k[kind]:
            draw_learning_curve(axes, run, colors[run["k"]], band=0.1)
        axes.set_xlabel("epoch")
        axes.set_title(title)
    log_axis(panels[0].yaxis, [run for kind, _ in LOSS_KINDS for run in by_k[kind]])
    panels[0].set_ylabel(LOSS)
    for axes, (kind, _) in zip(panels, LOSS_KINDS):
        name_curves(axes, [(run, f"k = {run['k']}", colors[run["k"]]) for run in by_k[kind]])


def draw_final_by_k(figure, findings: Findings) -> None:
    """The final loss of every seed against k, sliding windows and chunks, with a line through the medians."""
    by_k = findings["training"]["by_k"]
    axes = figure.subplots()
    axes.set_yscale("log")
    for (kind, _), color, shift, marker in zip(LOSS_KINDS, (SLIDING, CHUNKS), (-0.16, 0.16), "os"):
        for place, run in enumerate(by_k[kind]):
            final = np.array([v for v in run["final"] if v is not None])
            across = place + shift + 0.1 * np.linspace(-1, 1, len(final))
            axes.plot(
                across, final, marker, color=color, markersize=3.2, alpha=0.45, markeredgewidth=0, linestyle="none"
            )
            if run["diverged"]:
                at = {"xy": (place + shift, 1), "xycoords": ("data", "axes fraction")}
                axes.annotate(
                    f"{run['diverged']} ↑\ndiverged", **at, color=readable(color), ha="center", va="top", fontsize=9
                )
        medians = [(place + shift, run["final_median"] or np.nan) for place, run in enumerate(by_k[kind])]
        axes.plot(*zip(*medians), color=color, marker=marker, markersize=7, markeredgecolor="white")
    for (_, title), color, mark, left in zip(LOSS_KINDS, (SLIDING, CHUNKS), "●■", (0.0, 0.55)):
        axes.text(left, 1.03, f"{mark} {title}", color=readable(color), transform=axes.transAxes)
    axes.margins(y=0.12)  # room for how many diverged
    axes.set_xticks(range(len(by_k["ks"])), [str(k) for k in by_k["ks"]])
    axes.set_xlabel("k, steps per window")
    axes.set_ylabel("after training: " + LOSS)


def shades(number: int) -> list:
    """So many colours from dark to light, the lightest still to be seen on white."""
    import matplotlib

    return [matplotlib.colormaps["viridis"](v) for v in np.linspace(0, 0.82, number)]


def draw_learning_curve(axes, run: dict, color, band: float, **options) -> None:
    """Median and band of a course; where the median diverged its line ends, where the band did it leaves at the top."""
    beyond = BEYOND * max(run["high"][0], 1e-300)
    low, median, high = (
        np.array([beyond if v is None else v for v in run[name]]) for name in ("low", "median", "high")
    )
    axes.fill_between(run["epochs"], low, high, color=color, alpha=band, linewidth=0)
    axes.plot(run["epochs"], np.where(median == beyond, np.nan, median), color=color, **options)


def log_axis(axis, runs: list[dict]) -> None:
    """A logarithmic axis from the lowest band to the highest loss of the untrained, marked at powers of ten only."""
    from matplotlib.ticker import NullLocator

    axis.axes.set_yscale("log")
    highest = [v for run in runs for v in (run["high"][0], run["median"][-1]) if v]
    if highest:
        axis.axes.set_ylim(min(v for run in runs for v in run["low"] if v) / 1.5, max(highest) * 2)
    axis.set_minor_locator(NullLocator())


def name_curves(axes, runs: list[tuple]) -> None:
    """Write the names at the ends of the curves, and above the panel those that diverged: (run, text, colour) each."""
    ends = [(run["epochs"][-1], run["median"][-1], text, color) for run, text, color in runs if run["median"][-1]]
    label_ends(axes, ends)
    gone = [text for run, text, _ in runs if not run["median"][-1]]
    if gone:
        note = f"{', '.join(gone)}: diverged"
        axes.text(1, 1, note, transform=axes.transAxes, ha="right", va="top")


def loss_by_k_caption(findings: Findings) -> str:
    """For the curves by k."""
    by_k = findings["training"]["by_k"]
    return (
        f"Loss along training by k: median of {by_k['seeds']} networks and band from the 10th to the 90th percentile,"
        f" at learning rate {by_k['learning_rate']:g}. Left, windows of k steps that slide by one step; right,"
        " chunks of k steps." + _diverged_networks(by_k)
    )


def final_by_k_caption(findings: Findings) -> str:
    """For the final losses by k."""
    by_k = findings["training"]["by_k"]
    return (
        f"The same runs after training: one dot per network, {by_k['seeds']} for every k, and a line through"
        " the medians. A single network may end above or below nearly any other; only median and spread tell about k."
        + _diverged_networks(by_k)
    )


def _diverged_networks(by_k):
    if not by_k["any_diverged"]:
        return ""
    gone = ", ".join(f"{one['diverged']} with {one['kind']} of k = {one['k']}" for one in by_k["diverged"])
    return f" Some of each {by_k['seeds']} networks diverged: {gone}; they are ranked as the worst."


def _final_losses(findings: Findings) -> str:
    by_k = findings["training"]["by_k"]
    parts = []
    for kind, name in (("sliding", "sliding windows"), ("chunks", "chunks")):
        medians = (
            f"{run['final_median']:.2g} at k = {run['k']}" if run["final_median"] else f"diverged at k = {run['k']}"
            for run in by_k[kind]
        )
        parts.append(f"{name}: " + ", ".join(medians))
    return "Median final losses. " + "; ".join(parts) + "."


TRUNCATION_DRAWINGS = (
    Drawing("cosine_bias", (8.4, 5), draw_truncation_cost, caption_truncation_cost, alternative_truncation_cost),
    Drawing("along_training", (8.4, 3.6), draw_along_training, caption_along_training, alternative_along_training),
    Drawing("norm_by_lag", (7, 3.6), draw_norm_by_lag, caption_norm_by_lag, alternative_norm_by_lag),
    Drawing("loss_by_k", (9, 4), draw_loss_by_k, loss_by_k_caption, _final_losses),
    Drawing("final_by_k", (7, 4.2), draw_final_by_k, final_by_k_caption, _final_losses),
)
