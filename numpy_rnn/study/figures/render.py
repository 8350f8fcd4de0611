"""Figures as files, SVG and PNG, and as the SVG of the page. An SVG has other colours where dark ones are preferred."""

import colorsys
import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from numpy_rnn.study.figures.style import style
from numpy_rnn.study.findings import Findings

DPI = 110
COLOR = re.compile(r"\b(fill|stroke): (#[0-9a-f]{6})")
SVG = re.compile(r"(?<=<svg)[^>]*>")
DARKENED = 0.92  # of white, on a dark page


class Drawing(NamedTuple):
    """One figure. Its caption is in page/captions.txt."""

    name: str  # of its files, and of its place on the page
    size: tuple[float, float]  # inches
    draw: Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure


class Picture(NamedTuple):
    """A drawing as the page shows it."""

    svg: bytes
    size: tuple[float, float]  # inches


def pictures(drawing: Drawing, findings: Findings) -> tuple[bytes, bytes, Picture]:
    """The files of a drawing, SVG and PNG, and its SVG for the page. The same findings make the same bytes."""
    import matplotlib

    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=drawing.size)
        drawing.draw(figure, findings)
        svg = with_dark_colors(_saved(figure, "svg"))
        figure.set_layout_engine("none")  # the layout is made; the other two files have the same
        png = _saved(figure, "png", dpi=DPI, facecolor="white")
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            page = with_dark_colors(_saved(figure, "svg"))
    return svg, png, Picture(page, drawing.size)


def _saved(figure, form, **options):
    file = io.BytesIO()
    figure.savefig(file, format=form, **options, **({"metadata": {"Date": None}} if form == "svg" else {}))
    return file.getvalue()


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
