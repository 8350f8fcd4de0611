"""The figures of the made-up findings, and what their panels, lines and bands must be."""

from functools import cache

import numpy as np
from study_settings import made_up

from numpy_rnn.study.figures.style import GREY, readable, style
from numpy_rnn.study.study import DRAWINGS

PARTS = ("low", "median", "high")


@cache
def figure_of(name):
    from matplotlib.figure import Figure

    [drawing] = [one for one in DRAWINGS if one.name == name]
    with style():
        figure = Figure(figsize=drawing.size)
        drawing.draw(figure, made_up())
        figure.draw_without_rendering()
    return figure


def numbers(values):
    return np.array(values, float)  # None is NaN


def same(found, expected, where):
    np.testing.assert_allclose(numbers(found), numbers(expected), rtol=1e-12, err_msg=str(where))


def color_of(artist):
    from matplotlib.colors import to_hex

    return to_hex(np.ravel(artist.get_facecolor())[:3] if hasattr(artist, "get_facecolor") else artist.get_color())


def lines_are(axes, expected, where, x=None):
    """The first lines of the panel, in order: (values, color, or None where a color map chooses)."""
    assert len(axes.lines) >= len(expected), where
    for number, (line, (values, color)) in enumerate(zip(axes.lines, expected)):
        same(line.get_ydata(), values, (where, number))
        assert color is None or color_of(line) == color.lower(), (where, number)
        if x is not None:
            same(line.get_xdata(), x, (where, number))


def bands_are(axes, expected, where):
    """The bands of the panel, in order: (low, high, color)."""
    from matplotlib.collections import FillBetweenPolyCollection

    bands = [one for one in axes.collections if isinstance(one, FillBetweenPolyCollection)]
    assert len(bands) == len(expected), where
    for number, (band, (low, high, color)) in enumerate(zip(bands, expected)):
        [path] = band.get_paths()  # around: along the low end to the right, along the high end to the left
        n = len(low)
        same(path.vertices[1 : n + 1, 1], low, (where, number))
        same(path.vertices[n + 2 : 2 * n + 2, 1][::-1], high, (where, number))
        assert color is None or color_of(band) == color.lower(), (where, number)


def names_of_lines(axes):
    """The name at the end of each line, by the line's color made readable."""
    texts = {tuple(np.round(text.get_color(), 6)): text.get_text() for text in axes.texts if text.get_color() != GREY}
    return [texts.get(tuple(np.round(readable(line.get_color()), 6))) for line in axes.lines]


def panels(name, number):
    axes = figure_of(name).axes
    assert len(axes) >= number, name
    return axes[:number]
