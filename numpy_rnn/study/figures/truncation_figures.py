"""The cost of truncation for many networks: cosine and bias by k, along training, norms by lag, and the loss by k."""

from typing import Any

import numpy as np

from numpy_rnn.study import findings as names
from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import (
    AFTER,
    BAND,
    BEFORE,
    CHUNKS,
    GREY,
    HEAT,
    SLIDING,
    by_epoch,
    epoch_axis,
    label_ends,
    plot_band,
    positive,
    readable,
    step_ticks,
)
from numpy_rnn.study.findings import Band, Curve, Findings

KINDS = {"chunks": ("chunks (k, k)", CHUNKS, "s"), "sliding": ("sliding (1, k)", SLIDING, "o")}
ROWS = {"cosine": "cosine with the\nfull gradient", "bias": r"relative bias" "\n" r"$\|g_k - g\|\ /\ \|g\|$"}
ENDS = {names.BEFORE: (BEFORE, 0), names.AFTER: (AFTER, -1)}  # color, and index into the epochs


def draw_truncation_cost(figure, findings: Findings) -> None:
    """Cosine above, bias below, a column for each end of training: median and band; dotted, the run's network."""
    result = findings.components
    columns = {names.BEFORE: 0} | ({f"after {result.epochs[-1]} epochs": -1} if result.is_trained else {})
    k = range(1, result.steps + 1)
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False)
    for row, (part, label) in zip(grid, ROWS.items()):
        for axes, at in zip(row, columns.values()):
            for kind, (name, color, marker) in KINDS.items():
                over_networks, own = (getattr(of[at].cost[kind], part) for of in (result.bands, result.own))
                plot_band(axes, k, over_networks, color, is_log=False, marker=marker, markersize=3.5, label=name)
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


def few(T: int) -> list[int]:
    """The k of the tables and of the curves along training."""
    return sorted({k for k in (1, 2, 3, 5, 10, 20) if k < T} | {T})


def at_length(band: Band, k: int) -> Band:
    """The band at windows of k steps."""
    return Band(*(part[k - 1] for part in (band.low, band.median, band.high)))


def draw_along_training(figure, findings: Findings) -> None:
    """Median and band of the cosine with the full gradient by epoch, one curve per k: chunks left, sliding right."""
    result = findings.components
    shown = few(result.steps)[:-1]  # at the last, k = T, it is 1
    colors = shades(len(shown), 0.75)
    every = figure.subplots(1, 2, sharey=True)
    ends: list[list[tuple[Any, ...]]] = [[], []]
    for axes, named, (kind, (title, *_)) in zip(every, ends, KINDS.items()):
        for k, color in zip(shown, colors):
            cosine = by_epoch(at_length(of.cost[kind].cosine, k) for of in result.bands)
            median = plot_band(axes, result.epochs, cosine, color, BAND / 2, is_log=False, marker="o", markersize=3.5)
            if np.isfinite(median[-1]):
                named.append((result.epochs[-1], median[-1], f"k = {k}", color))
        axes.axhline(1, color="black", linewidth=0.6)
        axes.set_title(title)
        epoch_axis(axes, result.epochs)
    every[0].set_ylabel("cosine with the full gradient")
    for axes, named in zip(every, ends):
        label_ends(axes, named)


def draw_norm_by_lag(figure, findings: Findings) -> None:
    """The mean norm at each lag on a logarithmic axis: median and band; dotted, the run's network."""
    result = findings.components
    axes = figure.subplots()
    ends = []
    for name, (color, at) in ENDS.items():
        if at and not result.is_trained:
            continue
        over_networks, lags = result.bands[at], np.arange(result.steps)
        median = plot_band(axes, lags, over_networks.lag, color, marker="o", markersize=3.5)
        axes.plot(lags, positive(result.own[at].lag), color=color, linewidth=0.9, linestyle=":")
        there = np.flatnonzero(np.isfinite(median))
        if there.size:
            reach = over_networks.reach.median[1]
            ends.append((there[-1], median[there[-1]], f"{name}:\n90 % within {reach:.1f} steps", color))
    axes.set_yscale("log")
    axes.set_xlabel("lag t − s, steps back from the loss")
    axes.set_ylabel("‖G[t, s]‖, mean over t")
    axes.set_xlim(-0.3, result.steps - 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


BEYOND = 1e6  # times the highest untrained loss: drawn for an infinite one, above the panel
LOSS = "loss of a pass, Σ ℓ_t"
LOSS_KINDS = (("sliding", "sliding window (1, k)"), ("chunks", "chunks (k, k)"))


def draw_loss_by_k(figure, findings: Findings) -> None:
    """Two panels, sliding windows and chunks: one curve per k, median and band over the seeds."""
    by_k = findings.training.by_k
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    colors = dict(zip(by_k.chunks, shades(len(by_k.chunks))))
    for axes, (kind, title) in zip(panels, LOSS_KINDS):
        for k, curve in getattr(by_k, kind).items():
            draw_learning_curve(axes, curve, colors[k], band=0.1)
        axes.set_xlabel("epoch")
        axes.set_title(title)
    log_axis(panels[0].yaxis, [*by_k.sliding.values(), *by_k.chunks.values()])
    panels[0].set_ylabel(LOSS)
    for axes, (kind, _) in zip(panels, LOSS_KINDS):
        name_curves(axes, [(curve, f"k = {k}", colors[k]) for k, curve in getattr(by_k, kind).items()])


def draw_final_by_k(figure, findings: Findings) -> None:
    """The final loss of every seed against k, sliding windows and chunks, with a line through the medians."""
    by_k = findings.training.by_k
    axes = figure.subplots()
    axes.set_yscale("log")
    for (kind, _), color, shift, marker in zip(LOSS_KINDS, (SLIDING, CHUNKS), (-0.16, 0.16), "os"):
        curves = list(getattr(by_k, kind).values())
        for place, curve in enumerate(curves):
            final = curve.final[np.isfinite(curve.final)]
            across = place + shift + 0.1 * np.linspace(-1, 1, len(final))
            axes.plot(
                across, final, marker, color=color, markersize=3.2, alpha=0.45, markeredgewidth=0, linestyle="none"
            )
            if curve.diverged:
                at = {"xy": (place + shift, 1), "xycoords": ("data", "axes fraction")}
                axes.annotate(
                    f"{curve.diverged} ↑\ndiverged", **at, color=readable(color), ha="center", va="top", fontsize=9
                )
        medians = [finite(curve.final_median) for curve in curves]
        axes.plot(np.arange(len(curves)) + shift, medians, color=color, marker=marker, markersize=7,
                  markeredgecolor="white")  # fmt: skip
    for (_, title), color, mark, left in zip(LOSS_KINDS, (SLIDING, CHUNKS), "●■", (0.0, 0.55)):
        axes.text(left, 1.03, f"{mark} {title}", color=readable(color), transform=axes.transAxes)
    axes.margins(y=0.12)  # room for how many diverged
    axes.set_xticks(range(len(by_k.chunks)), [str(k) for k in by_k.chunks])
    axes.set_xlabel("k, steps per window")
    axes.set_ylabel("after training: " + LOSS)


def shades(number: int, lightest: float = 0.82) -> list:
    """So many colours from dark to light, the lightest still to be seen on white."""
    import matplotlib

    return [matplotlib.colormaps[HEAT](v) for v in np.linspace(0, lightest, max(1, number))]


def draw_learning_curve(axes, curve: Curve, color, band: float, **options) -> None:
    """Median and band; where the median diverged its line ends, where the band did it leaves at the top."""
    beyond = BEYOND * max(float(curve.band.high[0]), 1e-300)
    low, high = (np.where(np.isfinite(part), part, beyond) for part in (curve.band.low, curve.band.high))
    axes.fill_between(curve.epochs, low, high, color=color, alpha=band, linewidth=0)
    axes.plot(curve.epochs, finite(curve.band.median), color=color, **options)


def log_axis(axis, curves: list[Curve]) -> None:
    """A logarithmic axis from the lowest band to the highest loss of the untrained, marked at powers of ten only."""
    from matplotlib.ticker import NullLocator

    axis.axes.set_yscale("log")
    highest = positive([finite(v) for curve in curves for v in (curve.band.high[0], curve.band.median[-1])])
    if np.isfinite(highest).any():
        lowest = positive([finite(v) for curve in curves for v in curve.band.low])
        axis.axes.set_ylim(np.nanmin(lowest) / 1.5, np.nanmax(highest) * 2)
    axis.set_minor_locator(NullLocator())


def finite(values):
    """The values, NaN where they are infinite."""
    return np.where(np.isfinite(values), values, np.nan)


def name_curves(axes, curves: list[tuple[Curve, str, Any]]) -> None:
    """Write the names at the ends of the curves, and above the panel those that diverged: (curve, text, colour)."""
    ends = [(c.epochs[-1], c.final_median, text, color) for c, text, color in curves if np.isfinite(c.final_median)]
    label_ends(axes, ends)
    gone = [text for c, text, _ in curves if not np.isfinite(c.final_median)]
    if gone:
        note = f"{', '.join(gone)}: diverged"
        axes.text(1, 1, note, transform=axes.transAxes, ha="right", va="top")


TRUNCATION_DRAWINGS = (
    Drawing("cosine_bias", (8.4, 5), draw_truncation_cost),
    Drawing("along_training", (8.4, 3.6), draw_along_training),
    Drawing("norm_by_lag", (7, 3.6), draw_norm_by_lag),
    Drawing("loss_by_k", (9, 4), draw_loss_by_k),
    Drawing("final_by_k", (7, 4.2), draw_final_by_k),
)
