"""How the figures of the study look: one style, colours that the colour-blind can tell apart, labels on the curves."""

import textwrap
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import numpy as np

from numpy_rnn.study.findings import Band

# Okabe and Ito's colours, in an order in which neighbours differ in lightness too.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, GREY = (
    "#0072B2",
    "#C77700",
    "#007A57",
    "#B3400E",
    "#56B4E9",
    "#AA4499",
    "#666666",
)
# What a colour means, in every figure and in the explorer.
SLIDING, CHUNKS = BLUE, ORANGE
BEFORE, AFTER = GREEN, PURPLE  # training
DEFINITION, VARIANT = "#222222", RED
ZERO = "#DDDDDD"  # a component that is zero
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, RED, SKY)
HEAT = "viridis"  # of sizes: perceptually even, and readable in grey
BAND = 0.2  # opacity of a band from the 10th to the 90th percentile

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "study",  # the same numbers make the same file
    "figure.constrained_layout.use": True,
}


@contextmanager
def style():
    """The context in which a figure is made and written."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float, digits: int = 1) -> str:
    """5e-12 as 5·10⁻¹², with this many significant digits; from 0.01 to 1000 without an exponent, and at least two."""
    if not np.isfinite(value):
        return "not finite"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{float(f'{value:.{max(digits, 2)}g}'):g}"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPTS)}"


CONTRAST = 4.5  # of text on white, at least (WCAG 2.1, level AA)


def contrast(color) -> float:
    """The contrast of a colour with white, by WCAG 2.1."""
    from matplotlib.colors import to_rgb

    linear = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(color))
    return 1.05 / (sum(share * v for share, v in zip((0.2126, 0.7152, 0.0722), linear)) + 0.05)


def readable(color):
    """The colour, made darker until text of it can be read on white."""
    from matplotlib.colors import to_rgb

    rgb = np.array(to_rgb(color))
    while contrast(rgb) < CONTRAST:
        rgb = rgb * 0.95
    return tuple(map(float, rgb))


def label_end(axes, x, y, text, color, **options):
    """Write the name of a curve at its end, in its colour or, if that is light, a darker shade."""
    axes.annotate(
        text,
        (x, y),
        xytext=(5, 0),
        textcoords="offset points",
        color=readable(color),
        va="center",
        annotation_clip=False,
        **options,
    )


NARROW = 5  # inches


def is_narrow(figure) -> bool:
    """Is the figure too narrow for long names next to the curves?"""
    return bool(figure.get_size_inches()[0] < NARROW)


LINE = 1.25  # times the font size: the smallest distance of two lines
TICK_DISTANCES = (1, 2, 5, 10, 20, 50, 100)  # steps between two marks
MAX_TICKS = 6


def label_ends(axes, ends, lines: int = 1) -> None:
    """Write the names of curves, of `lines` lines, at their ends, in their colours.

    ends: (x, y, text, colour), x and y in data coordinates; the limits of the axes must not change afterwards.
    """
    import matplotlib

    axes.figure.get_layout_engine().execute(axes.figure)  # heights depend on the layout
    height = matplotlib.rcParams["font.size"] * LINE * lines * axes.figure.dpi / 72
    ends = sorted(ends, key=lambda end: end[1])
    pixels = [float(axes.transData.transform((x, y))[1]) for x, y, *_ in ends]
    inverse = axes.transData.inverted().transform
    for (x, _, text, color), pixel in zip(ends, spread_apart(pixels, height, axes.bbox.y0 + height / 2, axes.bbox.y1)):
        label_end(axes, x, float(inverse((0, pixel))[1]), text, color)


def spread_apart(places: list[float], apart: float, bottom: float, top: float) -> list[float]:
    """Move ascending places apart, as little as possible, to this distance; none is above the top nor, if there is
    room, below the bottom: those that are too near make a group, around their middle.
    """
    groups: list[list[float]] = []
    for place in places:
        groups.append([place])
        while len(groups) > 1 and _spread(groups[-2], apart)[-1] + apart > _spread(groups[-1], apart)[0]:
            groups[-2:] = [groups[-2] + groups[-1]]
    result = [place for group in groups for place in _spread(group, apart)]
    for i in range(len(result)):
        result[i] = bottom = max(result[i], bottom)
        bottom += apart
    for i in reversed(range(len(result))):
        result[i] = top = min(result[i], top)
        top -= apart
    return result


def _spread(group, apart):
    middle = sum(group) / len(group)
    return [middle + (i - (len(group) - 1) / 2) * apart for i in range(len(group))]


def step_ticks(steps: int) -> list[int]:
    """Round numbers of steps to mark on an axis from 1 to `steps`, and the first of them."""
    apart = next((apart for apart in TICK_DISTANCES if steps <= MAX_TICKS * apart), TICK_DISTANCES[-1])
    return [1, *range(apart if apart > 2 else 1 + apart, steps + 1, apart)]


def epoch_axis(axes, epochs: list[int]) -> None:
    """Epochs on a logarithmic axis that has room for 0."""
    from matplotlib.ticker import NullLocator

    last = epochs[-1]
    axes.set_xscale("symlog", linthresh=1, linscale=0.4)
    powers = [10**power for power in range(len(str(last))) if 10**power <= last]
    axes.set_xticks([0, *powers, *([last] if powers and last >= 2 * powers[-1] else [])])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(-0.1, max(1, last) * 1.05)
    axes.set_xlabel("epoch")


def plot_band(axes, x, band: Band, color, alpha: float = BAND, is_log: bool = True, **options) -> np.ndarray:
    """Plot the median as a line and the rest of the band as an area; return the median.

    is_log: whether to leave out what is not above 0.
    """
    low, median, high = (positive(part) if is_log else part for part in (band.low, band.median, band.high))
    axes.plot(x, median, color=color, **options)
    axes.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)
    return median


def by_epoch(bands: Iterable[Band]) -> Band:
    """The bands of the epochs as one band of arrays, (epochs, ...)."""
    bands = list(bands)
    return Band(*(np.array([getattr(band, part) for band in bands], float) for part in ("low", "median", "high")))


def positive(values) -> np.ndarray:
    """The values as an array, NaN where they are not above 0 and so have no place on a logarithmic axis."""
    result = np.array(values, float)
    return np.where(result > 0, result, np.nan)


def wrapped(text: str, width: int) -> str:
    """The text on lines of at most so many characters."""
    return "\n".join(textwrap.wrap(text, width))
