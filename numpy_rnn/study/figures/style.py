"""How the figures of the study look, and their files: one style, and colours that the colour-blind can tell apart.

An SVG has other colours where dark ones are preferred.
"""

import colorsys
import io
import re
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.study.findings import Band, Findings

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
HEAT = "viridis"  # of sizes: perceptually even, and readable in grey

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
    "svg.fonttype": "none",  # text, in the fonts of the browser
    "svg.hashsalt": "study",  # the same numbers make the same file
    "figure.constrained_layout.use": True,
}


@contextmanager
def style():
    """The context in which a figure is made and written."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


# -- parts of figures -------------------------------------------------------------------------------------------------

SUBSCRIPT = re.compile(r"(\w+)_(?:\{(.*?)\}|([a-z0-9]+))(²?)")
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


SUBSCRIPTS = str.maketrans("-0123456789aehijklmnoprstuvxy", "₋₀₁₂₃₄₅₆₇₈₉ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓᵧ")


def with_subscripts(text: str) -> str:
    """Text with names such as W_hh and h_{t-1}² with their index below: Wₕₕ and hₜ₋₁²."""
    return SUBSCRIPT.sub(lambda of: f"{of[1]}{(of[2] or of[3]).translate(SUBSCRIPTS)}{of[4]}", text)


def logarithmic(axis) -> None:
    """Write the numbers at a logarithmic axis as `scientific` does. Formulas would take a third of the time."""
    axis.set_major_formatter(lambda value, _: scientific(value))
    axis.set_minor_formatter(lambda value, _: "")


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
    apart = next(
        apart for apart in (1, 2, 5, 10, 20, 50, 100) if steps <= 6 * apart or apart == 100
    )
    return [1, *range(apart if apart > 2 else 1 + apart, steps + 1, apart)]


def plot_band(axes, x, band: Band, color: str, is_log: bool = True, **options) -> None:
    """Plot the median as a line and the rest of the band as an area.

    is_log: whether to leave out what is not above 0.
    """
    low, median, high = (
        positive(part) if is_log else part for part in (band.low, band.median, band.high)
    )
    axes.plot(x, median, color=color, **options)
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def positive(values) -> np.ndarray:
    """The values as an array, NaN where they are not above 0 and so have no place on a logarithmic axis."""
    result = np.array(values, float)
    return np.where(result > 0, result, np.nan)


# -- files ------------------------------------------------------------------------------------------------------------

COLOR = re.compile(r"\b(fill|stroke): (#[0-9a-f]{6})")
SVG = re.compile(r"(?<=<svg)[^>]*>")
DARKENED = 0.92  # of white, on a dark page


class Drawing(NamedTuple):
    """One figure. Its caption is in page/captions.txt."""

    name: str  # of its files, and of its place on the page
    draw: Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure
    size: tuple[float, float]  # inches
    narrow: tuple[float, float]  # inches, for narrow screens: panels are below each other


class Picture(NamedTuple):
    """A drawing as the page shows it."""

    svg: bytes
    size: tuple[float, float]  # inches


NARROW = 5  # inches: a figure that is less wide has its panels below each other


def is_narrow(figure) -> bool:
    """Whether a Figure is drawn for a narrow screen."""
    return bool(figure.get_size_inches()[0] < NARROW)


def pictures(drawing: Drawing, findings: Findings) -> tuple[Picture, Picture]:
    """The drawing for wide and for narrow screens. The same findings make the same bytes."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    result = []
    for size in (drawing.size, drawing.narrow):
        with style():
            figure, file = Figure(figsize=size), io.BytesIO()
            drawing.draw(figure, findings)
            FigureCanvasSVG(figure).print_svg(
                file, metadata={"Date": None}
            )  # savefig would draw twice
        result.append(Picture(with_dark_colors(file.getvalue()), size))
    return result[0], result[1]


def with_dark_colors(svg: bytes) -> bytes:
    """The SVG with a style sheet for readers who prefer dark pages. What has no colour is black, and becomes white."""
    text = svg.decode("utf-8")
    rules = [
        f'[style*="{kind}: {color}"]{{{kind}:{dark(color)}!important}}'
        for kind, color in sorted(set(COLOR.findall(text)))
    ]
    sheet = f"<style>@media(prefers-color-scheme:dark){{svg{{fill:{dark('#000000')}}}{''.join(rules)}}}</style>"
    return SVG.sub(lambda tag: tag[0] + sheet, text, count=1).encode()


def dark(color: str) -> str:
    """The colour of the same hue for a dark page: light ones become dark, and dark ones light."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    parts = colorsys.hls_to_rgb(hue, 1 - DARKENED * lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)
