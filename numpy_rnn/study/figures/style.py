"""How the figures of the study look: one style, colours that the colour-blind can tell apart, labels on the curves."""

import re
import textwrap
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
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "mathtext.fontset": "dejavusans",  # its signs are in the fonts of browsers
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


SUBSCRIPT = re.compile(r"(\w+)_(?:\{(.*?)\}|([a-z0-9]+))(²?)")


def with_subscripts(text: str) -> str:
    """Text with names such as W_hh and h_{t-1}² as Matplotlib's formulas."""
    return SUBSCRIPT.sub(lambda of: rf"$\mathdefault{{{of[1]}_{{{of[2] or of[3]}}}{'^2' if of[4] else ''}}}$", text)


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def scientific(value: float) -> str:
    """5e-12 as 5·10⁻¹², with one significant digit; from 0.01 to 1000 without an exponent, and with two."""
    if not np.isfinite(value):
        return "not finite"
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{float(f'{value:.2g}'):g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def step_ticks(steps: int) -> list[int]:
    """The steps to mark on an axis from 1 to `steps`: the first, and round numbers."""
    apart = next(apart for apart in (1, 2, 5, 10, 20, 50, 100) if steps <= 6 * apart or apart == 100)
    return [1, *range(apart if apart > 2 else 1 + apart, steps + 1, apart)]


def plot_band(axes, x, band: Band, color, alpha: float = BAND, is_log: bool = True, **options) -> np.ndarray:
    """Plot the median as a line and the rest of the band as an area; return the median.

    is_log: whether to leave out what is not above 0.
    """
    low, median, high = (positive(part) if is_log else part for part in (band.low, band.median, band.high))
    axes.plot(x, median, color=color, **options)
    axes.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)
    return median


def positive(values) -> np.ndarray:
    """The values as an array, NaN where they are not above 0 and so have no place on a logarithmic axis."""
    result = np.array(values, float)
    return np.where(result > 0, result, np.nan)


def wrapped(text: str, width: int) -> str:
    """The text on lines of at most so many characters."""
    return "\n".join(textwrap.wrap(text, width))
