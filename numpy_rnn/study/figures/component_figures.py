"""The component matrix as a heat map, before and after training."""

import numpy as np

from numpy_rnn.study.components.matrix import mask
from numpy_rnn.study.figures.style import GREY, HEAT, ZERO, step_ticks
from numpy_rnn.study.setting import Drawing, Findings

DECADES = 8  # below the largest that have a colour of their own


def draw_heat_map(figure, findings: Findings) -> None:
    """‖G[t, s]‖ by colour, t down and s to the right, at both ends of training on one scale."""
    result = findings["components"]
    panels = {"before training": result["heat"]["start"]}
    if result["epochs"]:
        panels[f"after {result['epochs']} epochs"] = result["heat"]["end"]
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

    values = np.array(norms, float)
    T = len(values)
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

    values = np.concatenate([np.ravel(np.array(matrix, float)) for matrix in matrices])
    values = values[values > 0]
    if not values.size:
        return LogNorm(1e-1, 1)
    most = values.max()
    return LogNorm(min(max(values.min(), most * 10.0**-DECADES), most / 10), most)


def caption_heat_map(findings: Findings) -> str:
    """The caption."""
    result = findings["components"]
    return (
        f"The component matrix of {result['steps']} steps: the size of ∂ℓ_t/∂θ_s, where step s has a copy of all"
        f" {result['parameters']} parameters. Above the diagonal all are zero: a step cannot affect an earlier"
        " loss. Along a row the colour shows how fast the effect of earlier steps fades; a bright row is a loss with"
        " a large error."
    )


def alternative_heat_map(findings: Findings) -> str:
    """The alternative text."""
    reach = findings["components"]["reach"]
    return (
        "Lower triangular heat maps of the norms of the components on a logarithmic scale. On average"
        f" {reach['start']['90']:.1f} steps, counted back from the loss, have 90 % of a row's norms before training,"
        f" and {reach['end']['90']:.1f} after it."
    )


CUT = "#D55E00"  # Okabe and Ito's vermilion, which viridis does not have
MAX_CROSSED_STEPS = 25  # steps
CROSS = 0.3  # of a step: half its width
PANELS = 5


def draw_masks(figure, findings: Findings) -> None:
    """Side by side the masks that are shown: kept components in their colours, cut ones pale and crossed out."""
    result = findings["components"]
    norms = np.array(result["heat"]["end"], float)
    scale = scale_of(norms)
    every = figure.subplots(1, PANELS, sharey=True)
    for axes in every[len(result["masks"]) :]:
        axes.set_axis_off()
    for axes, shown in zip(every, result["masks"]):
        kept = mask(len(norms), shown["k1"], shown["k2"]) > 0
        cut = np.tril(~kept)
        draw_matrix(axes, norms, scale, alpha=np.where(cut & (norms > 0), 0.25, 1.0))
        _cross(axes, cut)
        share = shown["end"]["share"]
        of_norms = "" if share is None else f"\n{share:.0%} of the norms"
        numbers = "(k1, k2) = " if axes is every[0] else ""
        axes.set_title(f"{numbers}({shown['k1']}, {shown['k2']})\n{shown['name']}")
        axes.set_xlabel(f"step s\n{shown['kept']} of {shown['of']} components{of_norms}")
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


def caption_masks(findings: Findings) -> str:
    """The caption."""
    return (
        f"The components that {len(findings['components']['masks'])} truncations keep, over their norms after training;"
        " crosses mark the ones that are cut. One step keeps the diagonal, chunks keep blocks, a sliding window keeps a"
        " band, and full back-propagation keeps the triangle. An update sums the kept components of its rows."
    )


def alternative_masks(findings: Findings) -> str:
    """The alternative text."""
    parts = (
        f"({shown['k1']}, {shown['k2']}), {shown['name']}, keeps {shown['kept']} of {shown['of']} components"
        for shown in findings["components"]["masks"]
    )
    return f"Masks on the component matrix: {'; '.join(parts)}."


COMPONENT_DRAWINGS = (
    Drawing("heat_map", (8.4, 4.2), draw_heat_map, caption_heat_map, alternative_heat_map),
    Drawing("masks", (10, 3.2), draw_masks, caption_masks, alternative_masks),
)
