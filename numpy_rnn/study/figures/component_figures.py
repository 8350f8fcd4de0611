"""The figures of the components: the masks on their matrix, and the Jacobians of the states."""

import numpy as np

from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import AFTER, BEFORE, HEAT, plot_band, step_ticks
from numpy_rnn.study.findings import Findings

DECADES = 8  # below the largest that have a colour of their own


def draw_matrix(axes, norms, scale, **options):
    """One matrix with steps from 1 on both axes; what is zero or NaN has no colour. Returns the image."""
    from matplotlib import colormaps

    values, T = norms, len(norms)
    image = axes.imshow(
        np.ma.masked_where(~(values > 0), values),
        norm=scale,
        cmap=colormaps[HEAT].with_extremes(bad="none", under=colormaps[HEAT](0.0)),
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
    norms = result.norms
    scale = scale_of(norms)
    every = figure.subplots(1, PANELS, sharey=True)
    for axes in every[len(result.masks) :]:
        axes.set_axis_off()
    for axes, shown in zip(every, result.masks):
        kept = mask(len(norms), shown.k1, shown.k2) > 0
        cut = np.tril(~kept)
        draw_matrix(axes, norms, scale, alpha=np.where(cut & (norms > 0), 0.25, 1.0))
        _cross(axes, cut)
        share = f",\n{shown.share:.0%} of the norms" if np.isfinite(shown.share) else ""
        axes.set_title(f"({shown.k1}, {shown.k2})\n{shown.name}", fontsize=9.5)
        axes.set_xlabel(f"step s\n{shown.kept} of {shown.of}{share}", fontsize=9)
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


def draw_jacobians(figure, findings: Findings) -> None:
    """By lag, on a logarithmic axis: median and band over the networks; dotted, ρ^lag."""
    axes = figure.subplots()
    for (name, growth), color in zip(findings.components.growth.items(), (BEFORE, AFTER)):
        radius, lags = float(growth.spectral_radius.median), np.arange(len(growth.by_lag.median))
        plot_band(axes, lags, growth.by_lag, color, label=f"{name}; dotted: ρ to the lag, ρ = {radius:.2g}")
        axes.plot(lags, radius**lags, color=color, linewidth=1.2, linestyle=":")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlim(0, findings.components.steps)
    axes.set_xlabel("lag t − s, steps")
    axes.set_ylabel("largest singular value\nof ∂hₜ/∂hₛ")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if findings.components.growth:
        axes.legend(loc="lower left")


COMPONENT_DRAWINGS = (
    Drawing("masks", (7.4, 2.7), draw_masks),
    Drawing("jacobians", (7.4, 2.9), draw_jacobians),
)
