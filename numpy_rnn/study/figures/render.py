"""Figures as files, SVG and PNG, and as the two SVG of the page, one for wide and one for narrow columns."""

import io
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.study.figures.style import style, wrapped
from numpy_rnn.study.findings import Findings

DPI = 110
UNSEEN = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|\s*\n\s*", re.DOTALL)
PATH = re.compile(r'(?<= d=")[^"]*')
SPACE = re.compile(r" ?([MLQCz]) ?")
TAG = re.compile("<[^>]*>")
DECIMALS = re.compile(r"-?\d+\.\d\d+")
FONT = re.compile(r"(?<=font-family: )'[^;\"]*sans-serif")
MAX_LABEL = 42  # characters on a line below a narrow panel
NARROW = 4.3  # inches: 413 pixels
PANEL, SMALL_PANEL = 2.9, 2.0  # inches, the height of a panel of several, and of many
MAX_PANELS = 6  # of the full height


class Drawing(NamedTuple):
    """One figure. Its caption is in page/captions.txt."""

    name: str  # of its files, and of its place on the page
    size: tuple[float, float]  # inches
    draw: Callable[[Any, Findings], None]  # onto an empty Matplotlib Figure


class Picture(NamedTuple):
    """A drawing as the page shows it: SVG and its size in inches, with panels side by side, and stacked."""

    wide: tuple[bytes, tuple[float, float]]
    narrow: tuple[bytes, tuple[float, float]]


def pictures(drawing: Drawing, findings: Findings) -> tuple[bytes, bytes, Picture]:
    """The files of a drawing, SVG and PNG, and its SVG for the page. The same findings make the same bytes."""
    import matplotlib

    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=drawing.size)
        drawing.draw(figure, findings)
        svg = _saved(figure, "svg")
        figure.set_layout_engine("none")  # the layout is made; the other two files have the same
        png = _saved(figure, "png", dpi=DPI)
        with matplotlib.rc_context({"svg.fonttype": "none"}):
            wide = for_page(_saved(figure, "svg"))
            stacked = narrow_figure(drawing)
            drawing.draw(stacked, findings)
            stacked.label_panels()
            width, height = map(float, stacked.get_size_inches())
            narrow = for_page(_saved(stacked, "svg"))
    return svg, png, Picture((wide, drawing.size), (narrow, (width, height)))


def narrow_figure(drawing: Drawing) -> Any:
    """A Matplotlib figure of one narrow column, on which `subplots` stacks the panels."""
    from matplotlib.figure import Figure

    class Stacked(Figure):
        grid: Any = np.empty((0, 0))

        def subplots(self, nrows=1, ncols=1, *, squeeze=True, width_ratios=None, **options):
            if nrows * ncols > 1:
                self.set_size_inches(NARROW, (PANEL if nrows * ncols < MAX_PANELS else SMALL_PANEL) * nrows * ncols)
            if options.get("sharey") == "row":
                options["sharey"] = False
            panels = super().subplots(nrows * ncols, 1, squeeze=False, **options).reshape(nrows, ncols)
            for axes in panels.flat:
                axes.tick_params(labelbottom=True)
            self.grid = panels
            if not squeeze:
                return panels
            return panels.item() if panels.size == 1 else panels.squeeze()

        def label_panels(self):
            """Titles of the columns and labels of the rows for every panel, no longer side by side."""
            for row in self.grid:
                for axes, first in zip(row, self.grid[0]):
                    axes.set_ylabel(axes.get_ylabel() or row[0].get_ylabel())
                    axes.set_xlabel(axes.get_xlabel() or self.grid[-1][0].get_xlabel())
                    axes.set_title(axes.get_title("left") or first.get_title("left"))
            for axes in self.axes:
                axes.set_xlabel(wrapped(axes.get_xlabel(), MAX_LABEL))

    return Stacked(figsize=(NARROW, drawing.size[1]))


def _saved(figure, form, **options):
    file = io.BytesIO()
    figure.savefig(file, format=form, **options, **({"metadata": {"Date": None}} if form == "svg" else {}))
    return file.getvalue()


def for_page(svg: bytes) -> bytes:
    """An SVG inside a page: without what is not seen, and with coordinates to a tenth of a point."""
    text = FONT.sub("sans-serif", UNSEEN.sub("", svg.decode("utf-8")))
    text = PATH.sub(lambda path: SPACE.sub(r"\1", path[0]), text)

    def rounded(number):
        return f"{float(number[0]):.1f}".removesuffix(".0")

    return TAG.sub(lambda tag: DECIMALS.sub(rounded, tag[0]), text).encode()
