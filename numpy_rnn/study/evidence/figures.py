"""The figures of the study: one SVG each, whose text and lines have the colour of the
text around them.
"""

import io
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.study.evidence.components import Findings, mask

# Colours that the colour-blind can tell apart, on light and on dark pages.
KIND_COLORS = ("#CC7A00", "#2E86C1")  # of the two kinds
CUT = "#D55E00"
HEAT = "viridis"  # of sizes: perceptually even, and readable in grey
TRUNCATION_NAMES = ("chunks (k, k)", "sliding (1, k)")
INK = "#000000"  # becomes currentColor
DARK_INK = "#e9e8e4"  # where the SVG is a file of its own, and dark pages are preferred

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "svg.fonttype": "none",  # text, in the fonts of the browser
    "figure.constrained_layout.use": True,
}

MADE_ID = re.compile(r' id="[\w.]+_\d+"')  # Matplotlib's, which nothing refers to
PAINT = re.compile(rf"\b(fill|stroke): {INK}")
DECADES = 8  # below the largest norm that have a colour of their own
COST_PARTS = (  # of the costs, and what they are without a cut
    ("cosine", "cosine with the\nfull gradient", 1),
    ("bias", "relative bias\n‖gₖ − g‖ / ‖g‖", 0),
)


Draw = Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure


class Drawing(NamedTuple):
    """A figure of the study, and how it is drawn."""

    name: str
    size: tuple[float, float]  # width and height in inches
    draw: Draw


def svg(drawing: Drawing, findings: Findings) -> str:
    """Return a figure as an SVG element. The same findings make the same text."""
    import matplotlib
    from matplotlib.figure import Figure

    # The same numbers make the same file, and two figures share no id.
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": drawing.draw.__name__}):
        figure = Figure(figsize=drawing.size)
        file = io.BytesIO()
        drawing.draw(figure, findings)
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue().decode("utf-8")
    text = MADE_ID.sub("", PAINT.sub(r"\1: currentColor", text[text.index("<svg") :]))
    # CSS pixels; on narrow screens it shrinks while text is readable.
    width = 96 * drawing.size[0]
    look = f"max-width: {width:.0f}px; min-width: {0.8 * width:.0f}px"
    return text.replace("<svg", f'<svg fill="currentColor" style="{look}"', 1)


def svg_file(element: str) -> bytes:
    """Return the SVG as a file of its own."""
    sheet = (
        "<style>@media (prefers-color-scheme: dark) "
        f"{{ svg {{ color: {DARK_INK} }} }}</style>"
    )
    return re.sub(r"(<svg[^>]*>)", rf"\1{sheet}", element, count=1).encode()


def draw_masks(figure: Any, findings: Findings) -> None:
    """Draw some truncations side by side.

    Kept components have their colours; cut ones are pale and crossed out.
    """
    from matplotlib.colors import LogNorm

    norms = findings.norms
    T = len(norms)
    positive = norms[norms > 0]
    largest = positive.max(initial=0.0) or 1.0
    smallest = positive.min(initial=largest)
    lowest = np.clip(smallest, largest * 10.0**-DECADES, largest / 10)
    scale = LogNorm(lowest, largest)
    panels = np.ravel(
        figure.subplots(1, len(findings.masks), sharey=True, squeeze=False)
    )
    for axes, (k1, k2) in zip(panels, findings.masks):
        is_cut = np.tril(mask(T, k1, k2) == 0)
        axes.imshow(
            np.ma.masked_where(norms <= 0, norms),
            cmap=HEAT,
            norm=scale,
            interpolation="nearest",
            extent=(0.5, T + 0.5, T + 0.5, 0.5),
            alpha=np.where(is_cut & (norms > 0), 0.25, 1.0),
        )
        cut_t, cut_s = np.nonzero(is_cut)
        look_of_cut = {"markersize": 80 / T, "markeredgewidth": 0.6, "color": CUT}
        axes.plot(cut_s + 1, cut_t + 1, "x", **look_of_cut)
        axes.set_title(f"({k1}, {k2})\n{mask_name(k1, k2, T)}", fontsize=10)
        axes.set_xlabel("step s")
        for axis in (axes.xaxis, axes.yaxis):
            axis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("step t")


def mask_name(k1: int, k2: int, T: int) -> str:
    """Return the name of a truncation of T steps."""
    if k1 == k2 == 1:
        return "one step"
    if k1 == k2 == T:
        return "full"
    if k1 == k2:
        return "chunks"
    return "sliding window" if k1 == 1 else "overlapping"


class Band(NamedTuple):
    """The 10th percentile, the median and the 90th percentile over networks."""

    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def band(values: np.ndarray) -> Band:
    """Return the band over the first axis; NaN is left out.

    The percentiles are values of networks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all are NaN
        low, high = np.nanpercentile(values, (10, 90), axis=0, method="inverted_cdf")
        return Band(low, np.nanmedian(values, axis=0), high)


def draw_cosine_bias(figure: Any, findings: Findings) -> None:
    """Draw cosine above, bias below, before training left and after it right.

    Median and band of the networks; dotted, the network of the run.
    """
    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    k = np.arange(1, len(findings.norms) + 1)
    for row, (part, label, goal) in enumerate(COST_PARTS):
        single = getattr(findings.single, part)
        for column, costs in enumerate(findings.ensemble):
            axes = grid[row, column]
            ensemble = getattr(costs, part)
            for kind, name in enumerate(TRUNCATION_NAMES):
                color = KIND_COLORS[kind]
                low, median, high = band(ensemble[:, kind])
                axes.plot(k, median, ".-", color=color, label=name)
                axes.fill_between(k, low, high, color=color, alpha=0.25, lw=0)
                look = {"color": color, "linewidth": 1.1, "label": f"{name}, this run"}
                axes.plot(k, single[column, kind], ":", **look)
            axes.axhline(goal, color=INK, linewidth=0.6)
            axes.xaxis.get_major_locator().set_params(integer=True)
        grid[row, 0].set_ylabel(label)
    for axes, title in zip(grid[0], ("before training", "after training"), strict=True):
        axes.set_title(title)
        axes.axhline(0, color=INK, linewidth=0.6, linestyle=":")
    for axes in grid[1]:
        axes.set_xlabel("k, steps per window")
    grid[1, 0].legend(loc="upper right", fontsize=9)


DRAWINGS = (
    Drawing("masks", (7.2, 2.4), draw_masks),
    Drawing("cosine_bias", (7.2, 4.6), draw_cosine_bias),
)
