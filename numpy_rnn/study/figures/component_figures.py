"""The figures of the components: the matrix, the masks on it, and the Jacobians of the states."""

import numpy as np

from numpy_rnn.study import findings as names
from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import (
    AFTER,
    BEFORE,
    CYCLE,
    GREY,
    HEAT,
    RED,
    SKY,
    ZERO,
    by_epoch,
    epoch_axis,
    label_ends,
    plot_band,
    positive,
    step_ticks,
)
from numpy_rnn.study.findings import Findings

DECADES = 8  # below the largest that have a colour of their own


def draw_heat_map(figure, findings: Findings) -> None:
    """‖G[t, s]‖ by colour, t down and s to the right, at both ends of training on one scale."""
    result = findings.components
    panels = {names.BEFORE: result.norms[names.BEFORE]}
    if result.is_trained:
        panels[f"after {result.epochs[-1]} epochs"] = result.norms[names.AFTER]
    scale = scale_of(*panels.values())
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, norms) in zip(every, panels.items()):
        image = draw_matrix(axes, norms, scale)
        axes.set_title(title)
        axes.text(0.97, 0.95, "s > t: always zero", transform=axes.transAxes, ha="right", va="top", color=GREY)
        axes.set_xlabel("step s of the parameters")
    every[0].set_ylabel("step t of the loss")
    figure.colorbar(image, ax=list(every), label="‖G[t, s]‖", extend="min", shrink=0.85)


def draw_matrix(axes, norms, scale, **options):
    """One matrix with steps from 1 on both axes; what is zero or NaN has no colour. Returns the image."""
    from matplotlib import colormaps

    values, T = norms, len(norms)
    image = axes.imshow(
        np.ma.masked_where(~(values > 0), values),
        norm=scale,
        cmap=colormaps[HEAT].with_extremes(bad=ZERO, under=colormaps[HEAT](0.0)),
        extent=(0.5, T + 0.5, T + 0.5, 0.5),
        interpolation="nearest",
        **options,
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(step_ticks(T))
    return image


def scale_of(*matrices):
    """A logarithmic scale for all of them, over DECADES at most."""
    from matplotlib.colors import LogNorm

    values = np.concatenate([np.ravel(matrix) for matrix in matrices])
    values = values[values > 0]
    if not values.size:
        return LogNorm(1e-1, 1)
    most = values.max()
    return LogNorm(min(max(values.min(), most * 10.0**-DECADES), most / 10), most)


CUT = "#D55E00"  # Okabe and Ito's vermilion, which viridis does not have
MAX_CROSSED_STEPS = 25  # steps
CROSS = 0.3  # of a step: half its width
PANELS = 5


def draw_masks(figure, findings: Findings) -> None:
    """Side by side the masks that are shown: kept components in their colours, cut ones pale and crossed out."""
    result = findings.components
    norms = result.norms[names.AFTER]
    scale = scale_of(norms)
    every = figure.subplots(1, PANELS, sharey=True)
    for axes in every[len(result.masks) :]:
        axes.set_axis_off()
    for axes, shown in zip(every, result.masks):
        kept = mask(len(norms), shown.k1, shown.k2) > 0
        cut = np.tril(~kept)
        draw_matrix(axes, norms, scale, alpha=np.where(cut & (norms > 0), 0.25, 1.0))
        _cross(axes, cut)
        share = f"\n{shown.share:.0%} of the norms" if np.isfinite(shown.share) else ""
        numbers = "(k1, k2) = " if axes is every[0] else ""
        axes.set_title(f"{numbers}({shown.k1}, {shown.k2})\n{shown.name}")
        axes.set_xlabel(f"step s\n{shown.kept} of {shown.of} components{share}")
    every[0].set_ylabel("step t")


def _cross(axes, cut):
    """A small mark on every cut component, or where they are many on every other one."""
    t, s = np.nonzero(cut)
    marked = (s + t) % 2 == 0 if len(cut) > MAX_CROSSED_STEPS else slice(None)
    lines = [
        [((column - CROSS, row - CROSS * way), (column + CROSS, row + CROSS * way)) for way in (1, -1)]
        for row, column in zip(t[marked] + 1, s[marked] + 1)
    ]
    ends = np.array([[start, end, (np.nan, np.nan)] for pair in lines for start, end in pair]).reshape(-1, 2)
    axes.plot(*ends.T, linewidth=0.6, color=CUT)  # as one line, which makes a small file


START_COLORS = {"as drawn": BEFORE, "scaled to vanish": SKY, "scaled to explode": RED, "after training": AFTER}


def draw_jacobians(figure, findings: Findings) -> None:
    """By lag, on a logarithmic axis: median and band over the networks; thin, the run's network; dotted, ρ^lag."""
    result = findings.components
    axes = figure.subplots()
    ends, low_end, high_end = [], 1.0, 1.0
    for name, growth in result.start_bands.items():
        if (name == names.AFTER and not result.is_trained) or np.isnan(growth.by_lag.median).all():
            continue
        color, radius = START_COLORS[name], float(growth.spectral_radius.median)
        lags = np.arange(len(growth.by_lag.median))
        median = plot_band(axes, lags, growth.by_lag, color)
        axes.plot(lags, radius**lags, color=color, linewidth=1, linestyle=":")
        if name in result.starts:  # a network whose W_hh has no eigenvalue but 0 is not scaled
            axes.plot(lags, positive(result.starts[name].growth.by_lag), color=color, linewidth=0.7)
        there = np.flatnonzero(np.isfinite(median))
        ends.append((there[-1], median[there[-1]], f"{name}\nρ = {radius:.2g}", color))
        low_end = min(low_end, np.nanmin(median) / 30, np.nanmin(radius ** lags[-1:]))
        high_end = max(high_end, np.nanmax(growth.by_lag.high))
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(low_end / 3, high_end * 10)
    axes.set_xlim(0, result.steps)
    axes.set_xlabel("lag t − s, steps")
    axes.set_ylabel(r"largest singular value of $\partial h_t / \partial h_s$")
    axes.xaxis.get_major_locator().set_params(integer=True)
    label_ends(axes, ends, lines=2)


def draw_trajectories(figure, findings: Findings) -> None:
    """One panel per network, one curve per hidden unit; tanh is saturated in the grey bands."""
    result = findings.components
    shown = {"as drawn": result.starts["as drawn"], names.AFTER: result.starts[names.AFTER], **result.starts}
    if not result.is_trained:
        del shown[names.AFTER]
    bounded = all((np.abs(start.h) <= 1).all() for start in shown.values())
    every = figure.subplots(1, len(shown), sharey=bounded, squeeze=False)[0]
    for axes, (name, start) in zip(every, shown.items()):
        h = start.h
        for unit in range(h.shape[1]):
            width = 1.6 if h.shape[1] <= len(CYCLE) else 0.7
            axes.plot(h[:, unit], color=CYCLE[unit % len(CYCLE)], linewidth=width)
        if bounded:
            for side in (-1, 1):
                axes.axhspan(side * result.threshold, side, color=GREY, alpha=0.2, linewidth=0)
            axes.set_ylim(-1.03, 1.03)
        axes.set_title(f"{name}\nρ = {start.growth.spectral_radius:.2g}, mean slope {start.growth.slope:.2f}")
        axes.set_xticks([0, *step_ticks(len(h) - 1)[1:]])
        axes.set_xlabel("step t")
    every[0].set_ylabel("units of $h_t$")


def draw_recurrence(figure, findings: Findings) -> None:
    """Median and band by epoch: left, the spectral radius of W_hh; right, the slopes of the nonlinearity."""
    result = findings.components
    epochs = result.epochs
    left, right = figure.subplots(1, 2)
    medians = {}
    for axes, name, color in ((left, "spectral_radius", BEFORE), (right, "slope", BEFORE), (right, "saturated", RED)):
        band = by_epoch(getattr(of, name) for of in result.bands)
        medians[name] = plot_band(axes, epochs, band, color, is_log=False, marker="o", markersize=3.5)
        axes.plot(epochs, [getattr(of, name) for of in result.own], color=color, linewidth=0.9, linestyle=":")
    left.axhline(1, color="black", linewidth=0.8, linestyle="--")
    left.set_ylabel("spectral radius of $W_{hh}$")
    left.set_ylim(0, 1.15 * max(1.0, max(float(of.spectral_radius.high) for of in result.bands)))
    left.text(0, 0.03, "dashed: above 1, a linear network\nexplodes", fontsize="small", transform=left.transAxes)
    right.set_ylim(-0.03, 1.05)
    right.set_ylabel("mean slope; share of units")
    for axes in (left, right):
        epoch_axis(axes, epochs)
    label_ends(
        right,
        [
            (epochs[-1], medians["slope"][-1], "mean slope\nφ′(a$_t$)", BEFORE),
            (epochs[-1], medians["saturated"][-1], "saturated\nunits", RED),
        ],
        lines=2,
    )


COMPONENT_DRAWINGS = (
    Drawing("heat_map", (8.4, 4.2), draw_heat_map),
    Drawing("masks", (10, 3.2), draw_masks),
    Drawing("jacobians", (7, 3.8), draw_jacobians),
    Drawing("recurrence", (8.4, 3.4), draw_recurrence),
    Drawing("trajectories", (10, 3.2), draw_trajectories),
)
