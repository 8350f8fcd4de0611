"""Figures as files: SVG in few bytes, PNG, and the two SVG of the page, one for wide and one for narrow columns."""

import io
import re
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.study.figures.style import style, wrapped
from numpy_rnn.study.setting import Drawing, Findings

DPI = 110
DECIMALS = 2  # of the coordinates of an SVG: a hundredth of a point
COORDINATES = re.compile(r' (?:d|x|y|x1|y1|x2|y2)="[^"]*"|\btranslate\([^)]*\)')
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
UNSEEN = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|(?<=>)\s+(?=<)", re.DOTALL)
COMMAND = re.compile(r"\s*\b([MLHVQCz])\b\s*")

PAGE_DECIMALS = 1  # of the page's figures
FONT = "'DejaVu Sans', Verdana, Arial, sans-serif"
FONTS = re.compile(r"font(-family)?:( [\d.]+px)? '[^;\"]*sans-serif")
PROLOG = re.compile(r"<\?xml.*?\?>\s*|<!DOCTYPE.*?>\s*", re.DOTALL)
NO_TURN = re.compile(r' transform="rotate\(-?0 [^)]*\)"')
GROUP_NAME = re.compile(r'<g id="[^"]*"')
POLYLINE = re.compile(r'(?<= d=")M[-\d. MLz]+(?=")')
USES = re.compile(r"<g([^>]*)>((?:<use [^>]*/>)+)</g>")
USE_STYLE = re.compile(r' style="[^"]*"')
MAX_LABEL = 42  # characters on a line below a narrow panel
NARROW = 4.3  # inches: 413 pixels
PANEL, SMALL_PANEL = 2.9, 2.0  # inches, the height of a panel of several, and of many
MAX_PANELS = 6  # of the full height


class Picture(NamedTuple):
    """A drawing as the page shows it: SVG and its size in inches, with panels side by side, and stacked."""

    wide: tuple[bytes, tuple[float, float]]
    narrow: tuple[bytes, tuple[float, float]]


def pictures(drawing: Drawing, findings: Findings) -> tuple[bytes, bytes, Picture]:
    """The files of a drawing, SVG and PNG, and what the page shows. The same findings make the same bytes."""
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
            size = tuple(map(float, stacked.get_size_inches()))
            narrow = for_page(_saved(stacked, "svg"))
    return compact(svg), png, Picture((wide, drawing.size), (narrow, (size[0], size[1])))


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


def compact(svg: bytes, decimals: int = DECIMALS) -> bytes:
    """The same picture in fewer bytes: without comments and indentation, and with coordinates that are rounded, to a
    hundredth of a point.
    """

    def attribute(match):
        return COMMAND.sub(r"\1", NUMBER.sub(lambda number: _short(float(number[0]), decimals), match[0]))

    return COORDINATES.sub(attribute, UNSEEN.sub("", svg.decode("utf-8"))).encode()


def _short(number, decimals):
    text = f"{number:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def for_page(svg: bytes) -> bytes:
    """The SVG of a figure whose text is text: rounded to a tenth of a point, lines as differences, one font."""
    text = PROLOG.sub("", compact(svg, PAGE_DECIMALS).decode("utf-8"))
    text = NO_TURN.sub("", GROUP_NAME.sub("<g", text))
    text = FONTS.sub(lambda match: f"font-size:{match[2]}" if match[2] else "font-weight: 400", text)
    text = text.replace('<style type="text/css">', f'<style type="text/css">text{{font-family: {FONT}}} ', 1)
    text = USES.sub(_styled_once, text).replace('xlink:href="#', 'href="#')
    return POLYLINE.sub(lambda match: _relative(match[0]), text).encode()


def _styled_once(match):
    """Marks with one style have it in their group."""
    styles = set(USE_STYLE.findall(match[2]))
    if len(styles) != 1 or match[2].count("<use") != len(USE_STYLE.findall(match[2])) or "style=" in match[1]:
        return match[0]
    return f"<g{match[1]}{styles.pop()}>{USE_STYLE.sub('', match[2])}</g>"


def _relative(path):
    """A path of M, L and z with every L as the difference from the point before, in tenths exactly."""
    result, here, start = [], np.zeros(2, int), np.zeros(2, int)
    for command, numbers in re.findall(r"([MLz])([^MLz]*)", path):
        points = np.round(10 * np.array(numbers.split(), float)).astype(int).reshape(-1, 2)
        if command == "z":
            here = start
            result.append("z")
        elif command == "M":
            here = start = points[-1]
            result.append("M" + _pair(here))
        else:
            lines = " ".join(map(_pair, np.diff([here, *points], axis=0)))
            result.append(("l" if result[-1][0] in "Mz" else " ") + lines)
            here = points[-1]
    return re.sub(r" (?=-)", "", "".join(result))


def _pair(point):
    return " ".join(_tenths(int(v)) for v in point)


def _tenths(value):
    sign, (whole, tenth) = "-" if value < 0 else "", divmod(abs(value), 10)
    return f"{sign}{whole or ('' if tenth else 0)}{f'.{tenth}' if tenth else ''}"
