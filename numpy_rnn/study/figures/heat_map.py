"""The item matrix as a heat map, before and after training."""

import numpy as np

from numpy_rnn.study.figures.labels import step_ticks
from numpy_rnn.study.figures.style import GREY, HEAT
from numpy_rnn.study.records import Findings

DECADES = 8  # below the largest that have a colour of their own
NOTHING = "#DDDDDD"  # the colour of an item that is zero, and of s > t


def draw(figure, findings: Findings) -> None:
    """‖G[t, s]‖ by colour, t down and s to the right, at both ends of training on one scale."""
    found = findings["items"]
    panels = {"before training": found["heat"]["start"]}
    if found["epochs"]:
        panels[f"after {found['epochs']} epochs"] = found["heat"]["end"]
    scale = scale_of(*panels.values())
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, norms) in zip(every, panels.items()):
        image = draw_matrix(axes, norms, scale)
        axes.set_title(title)
        axes.text(0.97, 0.95, "s > t: always zero", transform=axes.transAxes, ha="right", va="top", color=GREY)
        axes.set_xlabel("step s, whose copy of the parameters acts")
    every[0].set_ylabel("step t, whose loss is acted upon")
    figure.colorbar(image, ax=list(every), label="‖G[t, s]‖", extend="min", shrink=0.85)


def draw_matrix(axes, norms, scale, **options):
    """One matrix with steps from 1 on both axes; what is zero or NaN has no colour. Returns the image."""
    from matplotlib import colormaps

    values = np.array(norms, float)
    T = len(values)
    image = axes.imshow(
        np.ma.masked_where(~(values > 0), values),
        norm=scale,
        cmap=colormaps[HEAT].with_extremes(bad=NOTHING, under=colormaps[HEAT](0.0)),
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


def caption(findings: Findings) -> str:
    """What there is to see."""
    found = findings["items"]
    return (
        f"The item matrix of {found['steps']} steps: the size of ∂ℓ_t/∂θ_s, where step s has a copy of all"
        f" {found['parameters']} parameters. Above the diagonal there is nothing: a step cannot act on an earlier"
        " loss. Along a row the colour says how fast the effect of earlier steps fades; a bright row is a loss with"
        " a large error."
    )


def alternative(findings: Findings) -> str:
    """For those who do not see it."""
    reach = findings["items"]["reach"]
    return (
        "Lower triangular heat maps of the norms of the items on a logarithmic scale. On average"
        f" {reach['start']['90']:.1f} steps, counted back from the loss, hold 90 % of a row's norms before training,"
        f" and {reach['end']['90']:.1f} after it."
    )
