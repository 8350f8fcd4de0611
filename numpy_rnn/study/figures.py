"""The figures of the study: one SVG each, whose text and lines have the colour of the
text around them.
"""

import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.study.components import KINDS, Costs, Network, mask

# Colours that the colour-blind can tell apart, on light and on dark pages.
COLORS = {
    "chunks": "#CC7A00",
    "sliding": "#2E86C1",
}
CUT = "#D55E00"
HEAT = "viridis"  # of sizes: perceptually even, and readable in grey
NAMES = {"chunks": "chunks (k, k)", "sliding": "sliding (1, k)"}
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


class Findings(NamedTuple):
    """The numbers that the figures show."""

    norms: np.ndarray  # (T, T) of the components, after training
    masks: list[tuple[int, int]]  # (k1, k2) of the truncations that are drawn
    own: list[Network]  # the network of the run before and after training
    many: list[Network]  # before and after training, with an axis of networks in front


# -- files
# ------------------------------------------------------------

MADE_ID = re.compile(r' id="[\w.]+_\d+"')  # Matplotlib's, which nothing refers to
PAINT = re.compile(rf"\b(fill|stroke): {INK}")


Draw = Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure


def svg(draw: Draw, findings: Findings) -> str:
    """A figure as an SVG element. The same findings make the same text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # The same numbers make the same file, and two figures share no id.
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": draw.__name__}):
        figure, file = Figure(figsize=SIZES[draw]), io.BytesIO()
        draw(figure, findings)
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    text = file.getvalue().decode("utf-8")
    text = MADE_ID.sub("", PAINT.sub(r"\1: currentColor", text[text.index("<svg") :]))
    width = (
        96 * SIZES[draw][0]
    )  # CSS pixels; on narrow screens it shrinks while text is readable
    look = f"max-width: {width:.0f}px; min-width: {0.8 * width:.0f}px"
    return text.replace("<svg", f'<svg fill="currentColor" style="{look}"', 1)


def svg_file(element: str) -> bytes:
    """The SVG as a file of its own."""
    sheet = (
        "<style>@media (prefers-color-scheme: dark) "
        f"{{ svg {{ color: {DARK_INK} }} }}</style>"
    )
    return re.sub(r"(<svg[^>]*>)", rf"\1{sheet}", element, count=1).encode()


# -- matrices
# ------------------------------------------------------------

DECADES = 8  # below the largest norm that have a colour of their own
MAX_CROSSED_STEPS = 25
CROSS = 0.3  # of a step: half the width of a cross


def draw_masks(figure: Any, findings: Findings) -> None:
    """Side by side some truncations: kept components in their colours, cut ones pale
    and crossed out.
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    norms, T = findings.norms, len(findings.norms)
    above = norms[norms > 0] if np.any(norms > 0) else np.array([1.0])
    most = above.max()
    scale = LogNorm(min(max(above.min(), most * 10.0**-DECADES), most / 10), most)
    look = colormaps[HEAT].with_extremes(bad="none", under=colormaps[HEAT](0.0))
    panels = np.ravel(
        figure.subplots(1, len(findings.masks), sharey=True, squeeze=False)
    )
    for axes, (k1, k2) in zip(panels, findings.masks):
        is_cut = np.tril(mask(T, k1, k2) == 0)
        axes.imshow(
            np.ma.masked_where(norms <= 0, norms),
            cmap=look,
            norm=scale,
            interpolation="nearest",
            extent=(0.5, T + 0.5, T + 0.5, 0.5),
            alpha=np.where(is_cut & (norms > 0), 0.25, 1.0),
        )
        _cross(axes, is_cut)
        axes.set_title(f"({k1}, {k2})\n{mask_name(k1, k2, T)}", fontsize=10)
        axes.set_xlabel("step s")
        axes.set_xticks(step_ticks(T), step_ticks(T))
        axes.set_yticks(step_ticks(T), step_ticks(T))
    panels[0].set_ylabel("step t")


def mask_name(k1: int, k2: int, T: int) -> str:
    """The name of a truncation of T steps."""
    if k1 == k2:
        return "one step" if k1 == 1 else "full" if k1 == T else "chunks"
    return "sliding window" if k1 == 1 else "overlapping"


def _cross(axes: Any, is_cut: np.ndarray) -> None:
    """A small mark on every cut component, or where they are many on every
    other one.
    """
    t, s = np.nonzero(is_cut)
    marked = (s + t) % 2 == 0 if len(is_cut) > MAX_CROSSED_STEPS else slice(None)
    gap = [np.nan, np.nan]
    cross = CROSS * np.array([[-1, -1], [1, 1], gap, [-1, 1], [1, -1], gap])
    centers = np.stack((s[marked] + 1, t[marked] + 1), axis=-1)
    line = (centers[:, None] + cross).reshape(-1, 2)  # one line makes a small file
    axes.plot(*line.T, linewidth=0.6, color=CUT)


# -- curves
# ------------------------------------------------------------


class Band(NamedTuple):
    """The 10th percentile, the median and the 90th percentile over networks."""

    low: np.ndarray
    median: np.ndarray
    high: np.ndarray


def band(values: np.ndarray) -> Band:
    """The band over the first axis; NaN is left out. The percentiles are values of
    networks.
    """
    ordered = np.sort(values, axis=0)  # NaN last
    known = np.sum(~np.isnan(ordered), axis=0, keepdims=True)

    def ranked(rank: np.ndarray) -> np.ndarray:  # from 1
        return np.take_along_axis(ordered, np.maximum(rank - 1, 0), axis=0)[0]

    low, high = (ranked(np.ceil(share * known).astype(int)) for share in (0.1, 0.9))
    return Band(low, (ranked((known + 1) // 2) + ranked(known // 2 + 1)) / 2, high)


def plot_band(axes: Any, x: Any, values: Band, color: str, **options: Any) -> None:
    """Plot the median as a line and the rest of the band as an area."""
    axes.plot(x, values.median, color=color, **options)
    axes.fill_between(x, values.low, values.high, color=color, alpha=0.25, linewidth=0)


def draw_cosine_bias(figure: Any, findings: Findings) -> None:
    """Cosine above, bias below, before training left and after it right: median and
    band; dotted, the run's network.
    """
    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    k = np.arange(1, len(findings.norms) + 1)
    labels = {
        "cosine": "cosine with the\nfull gradient",
        "bias": "relative bias\n‖gₖ − g‖ / ‖g‖",
    }
    for row, (part, label) in zip(grid, labels.items()):
        for axes, own, many in zip(row, findings.own, findings.many):
            for kind in KINDS:
                costs: Costs = getattr(many, kind)
                look = {"marker": "s" if kind == "chunks" else "o", "markersize": 3.5}
                plot_band(
                    axes,
                    k,
                    band(getattr(costs, part)),
                    COLORS[kind],
                    label=NAMES[kind],
                    **look,
                )
                values = getattr(getattr(own, kind), part)
                name = f"{NAMES[kind]}, this run"
                axes.plot(k, values, ":", color=COLORS[kind], linewidth=1.1, label=name)
            axes.axhline(1 if part == "cosine" else 0, color=INK, linewidth=0.6)
            axes.set_xticks(step_ticks(len(k)), step_ticks(len(k)))
        row[0].set_ylabel(label)
    for axes, title in zip(grid[0], ("before training", "after training")):
        axes.set_title(title)
    if grid[0, 0].get_ylim()[0] < 0:
        for axes in grid[0]:
            axes.axhline(0, color=INK, linewidth=0.6, linestyle=":")
        grid[0, 1].text(
            k[-1], 0, "below: the opposite direction ", ha="right", va="top", fontsize=9
        )
    for axes in grid[-1]:
        axes.set_xlabel("k, steps per window")
    grid[-1, 0].legend(loc="upper right", fontsize=9)


SIZES: dict[Draw, tuple[float, float]] = {  # inches
    draw_masks: (7.2, 2.4),
    draw_cosine_bias: (7.2, 4.6),
}
DRAWINGS = {draw.__name__.removeprefix("draw_"): draw for draw in SIZES}


def step_ticks(steps: int) -> list[int]:
    """The steps to mark on an axis from 1 to `steps`: the first, and round numbers."""
    apart = next(n for n in (1, 2, 5, 10, 20, 50, 100) if steps <= 6 * n or n == 100)
    return [1, *range(apart if apart > 2 else 1 + apart, steps + 1, apart)]
