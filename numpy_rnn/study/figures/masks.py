"""Truncations as 0/1 masks over the heat map of the items."""

import numpy as np

from numpy_rnn.study.figures.heat_map import draw_matrix, scale_of
from numpy_rnn.study.items.masks import mask
from numpy_rnn.study.records import Findings

CUT = "#D55E00"  # Okabe and Ito's vermilion, which viridis does not have
MANY = 25  # steps
PANELS = 5


def draw(figure, findings: Findings) -> None:
    """Side by side the masks that are shown: kept items in their colours, cut ones pale and crossed out."""
    found = findings["items"]
    norms = np.array(found["heat"]["end"], float)
    scale = scale_of(norms)
    every = figure.subplots(1, PANELS, sharey=True)
    for axes in every[len(found["masks"]) :]:
        axes.set_axis_off()
    for axes, shown in zip(every, found["masks"]):
        kept = mask(len(norms), shown["k1"], shown["k2"]) > 0
        cut = np.tril(~kept)
        draw_matrix(axes, norms, scale, alpha=np.where(cut, 0.25, 1.0))
        _cross(axes, cut)
        share = shown["end"]["share"]
        of_norms = "" if share is None else f"\n{share:.0%} of the norms"
        numbers = "(k1, k2) = " if axes is every[0] else ""
        axes.set_title(f"{numbers}({shown['k1']}, {shown['k2']})\n{shown['name']}")
        axes.set_xlabel(f"step s\n{shown['kept']} of {shown['of']} items{of_norms}")
    every[0].set_ylabel("step t")


def _cross(axes, cut):
    """A small mark on every cut item, or where they are many on every other one."""
    t, s = np.nonzero(cut)
    marked = (s + t) % 2 == 0 if len(cut) > MANY else slice(None)
    axes.scatter(s[marked] + 1, t[marked] + 1, marker="x", s=8, linewidths=0.6, color=CUT)


def caption(findings: Findings) -> str:
    """What there is to see."""
    return (
        f"What {len(findings['items']['masks'])} truncations keep of the items, over their norms after training:"
        " crossed out is cut. One step keeps the diagonal, chunks keep blocks, a sliding window keeps a band, and"
        " full back-propagation the triangle. An update sums the kept items of its rows."
    )


def alternative(findings: Findings) -> str:
    """For those who do not see it."""
    parts = (
        f"({shown['k1']}, {shown['k2']}), {shown['name']}, keeps {shown['kept']} of {shown['of']} items"
        for shown in findings["items"]["masks"]
    )
    return f"Masks on the item matrix: {'; '.join(parts)}."
