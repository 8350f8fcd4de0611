"""The loss by the length of the truncation: along training, and in the end."""

import numpy as np

from numpy_rnn.study.figures.style import CHUNKS, SLIDING, label_ends, readable
from numpy_rnn.study.setting import Drawing, Findings

BEYOND = 1e6  # times the highest untrained loss: drawn for an infinite one, above the panel
LOSS = "loss of a pass, Σ ℓ_t"
KINDS = (("sliding", "sliding window (1, k)"), ("chunks", "chunks (k, k)"))


def draw_loss_by_k(figure, findings: Findings) -> None:
    """Two panels, sliding windows and chunks: one curve per k, median and band over the seeds."""
    by_k = findings["training"]["by_k"]
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    colors = dict(zip(by_k["ks"], shades(len(by_k["ks"]))))
    for axes, (kind, title) in zip(panels, KINDS):
        for run in by_k[kind]:
            draw_learning_curve(axes, run, colors[run["k"]], band=0.1)
        axes.set_xlabel("epoch")
        axes.set_title(title)
    log_axis(panels[0].yaxis, [run for kind, _ in KINDS for run in by_k[kind]])
    panels[0].set_ylabel(LOSS)
    for axes, (kind, _) in zip(panels, KINDS):
        name_curves(axes, [(run, f"k = {run['k']}", colors[run["k"]]) for run in by_k[kind]])


def draw_final_by_k(figure, findings: Findings) -> None:
    """The final loss of every seed against k, sliding windows and chunks, with a line through the medians."""
    by_k = findings["training"]["by_k"]
    axes = figure.subplots()
    axes.set_yscale("log")
    for (kind, _), color, shift, marker in zip(KINDS, (SLIDING, CHUNKS), (-0.16, 0.16), "os"):
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
    for (_, title), color, mark, left in zip(KINDS, (SLIDING, CHUNKS), "●■", (0.0, 0.55)):
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


LOSS_DRAWINGS = (
    Drawing("loss_by_k", (9, 4), draw_loss_by_k, loss_by_k_caption, _final_losses),
    Drawing("final_by_k", (7, 4.2), draw_final_by_k, final_by_k_caption, _final_losses),
)
