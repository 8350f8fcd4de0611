"""Every figure of the study, of made-up findings: the numbers that it plots, where, in which colour, and by which name.

figures.txt has the artists of every panel. To change it on purpose: pytest --inline-snapshot=fix, and look at the
figures.
"""

from functools import cache

import numpy as np
import pytest
from inline_snapshot import external_file
from study_findings import extreme, made_up

from numpy_rnn.study.figures import style
from numpy_rnn.study.figures.drawings import DRAWINGS
from numpy_rnn.study.figures.style import Drawing, dark, pictures, with_dark_colors

pytestmark = pytest.mark.needs_matplotlib


@cache
def drawn(drawing, size, findings):
    from matplotlib.figure import Figure

    with style.style():
        figure = Figure(figsize=size)
        drawing.draw(figure, findings())
        figure.draw_without_rendering()
    return figure


def few(values):
    return " ".join(
        f"{v:.3g}" for v in np.ravel(np.ma.filled(np.ma.asarray(values, float), np.nan))
    )


def described(figure):
    """The artists of a figure, one per line."""
    from matplotlib.collections import FillBetweenPolyCollection, LineCollection
    from matplotlib.colors import to_hex

    for legend in figure.legends:
        yield f"legend {texts(legend.get_texts())}, {legend._ncols} columns"
    for axes in figure.axes:
        place = few(axes.get_subplotspec().get_geometry()) if axes.get_subplotspec() else "its side"
        yield f"panel {axes.get_title(loc='left')!r}: {axes.get_xlabel()!r}, {axes.get_ylabel()!r}, {axes.get_yscale()}"
        yield f"  x from {few(axes.get_xlim())}, y from {few(axes.get_ylim())}, at {place}"
        low, high = sorted(
            axes.get_xlim()
        )  # which ticks a logarithmic axis has beyond depends on the version
        within = [tick for tick in axes.get_xticklabels() if low <= tick.get_position()[0] <= high]
        ticks = [f"{few(tick.get_position())} {tick.get_text()}" for tick in within]
        sides = [side for side, spine in axes.spines.items() if spine.get_visible() and axes.axison]
        sizes = [axes.xaxis.label, axes._left_title, *axes.get_yticklabels()[:1]]
        yield f"  x ticks {ticks}, sides {sides}, sizes {few([text.get_fontsize() for text in sizes])}"
        ticks = [label.get_text() for label in axes.get_yticklabels()]
        if axes.get_yscale() == "linear" and not any(
            tick.strip("−0123456789.") == "" for tick in ticks
        ):
            yield f"  ticks {ticks}"
        for line in axes.lines:
            look = f"{to_hex(line.get_color())} {line.get_linestyle()} {line.get_marker()}"
            sizes = few([line.get_linewidth(), line.get_markersize(), line.get_markeredgewidth()])
            sizes += f" {line.get_alpha()} {to_hex(line.get_markeredgecolor())}"
            yield f"  line {look} {sizes}: {few(line.get_xdata())} | {few(line.get_ydata())}"
        for one in axes.collections:
            if isinstance(one, FillBetweenPolyCollection):
                yield f"  band {to_hex(one.get_facecolor()[0], True)}: {few(one.get_paths()[0].vertices[:, 1])}"
            elif isinstance(one, LineCollection):
                look = f"{to_hex(one.get_colors()[0])} {few(one.get_linewidths())}"
                yield f"  lines {look}: {few(one.get_segments()[:2])}"
        for image in axes.images:
            look = (
                f"{image.get_cmap().name}, of the zeros {to_hex(image.get_cmap().get_bad(), True)}"
            )
            yield f"  image {few(image.get_array())}, colors {look} {few(image.get_clim())}"
            yield f"  steps {few(axes.get_xticks())}, {few(axes.get_yticks())}, alpha {few(image.get_alpha())}"
        for text in axes.texts:
            look = f"{to_hex(text.get_color())} {text.get_ha()} {text.get_va()} {text.get_fontsize():g}"
            yield f"  text {look} {text.get_text()!r} at {few(text.get_position())}"
        if legend := axes.get_legend():
            size = few(legend.get_texts()[0].get_size())
            yield f"  legend {texts(legend.get_texts())}, place {legend._loc}, size {size}"


def texts(artists):
    return [artist.get_text() for artist in artists]


def test_every_figure_plots_its_findings():
    """For wide pages, and what differs on narrow ones and of other findings."""
    lines = []
    for drawing in DRAWINGS:
        wide = list(described(drawn(drawing, drawing.size, made_up)))
        lines += [
            f"# {drawing.name}, inches {few(drawing.size)}, narrow {few(drawing.narrow)}",
            *wide,
        ]
        for name, size, findings in (
            ("narrow", drawing.narrow, made_up),
            ("extreme", drawing.size, extreme),
        ):
            other = described(drawn(drawing, size, findings))
            lines += [
                f"{name}:",
                *(line for line in other if line not in wide or line.startswith("  x ticks")),
            ]
    assert "\n".join([*lines, ""]) == external_file("figures.txt")


@pytest.mark.parametrize(
    ("size", "findings"), [("size", made_up), ("narrow", made_up), ("size", extreme)]
)
def test_all_is_within_the_borders_and_legible(size, findings):
    from matplotlib.text import Text

    for drawing in DRAWINGS:
        figure = drawn(drawing, getattr(drawing, size), findings)
        smallest = min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text())
        assert smallest * 96 / 72 >= 12 - 0.01, drawing.name  # pixels of the page
        box, margin = figure.get_tightbbox(), 1 / figure.dpi  # inches; the margin is a pixel
        assert min(box.x0, box.y0) >= -margin, drawing.name
        assert (box.max <= figure.get_size_inches() + margin).all(), drawing.name


def test_the_files_of_a_figure_are_the_same_each_time():
    """So that a study can be kept under version control, and compared."""
    drawing = Drawing(
        "one",
        lambda figure, findings: figure.subplots().plot([0, 1.23456], label="x"),
        (6, 2),
        (3, 2),
    )
    wide, narrow = pictures(drawing, made_up())
    assert (wide, narrow) == pictures(drawing, made_up())
    assert (wide.size, narrow.size) == ((6, 2), (3, 2))
    for picture in (wide, narrow):
        assert picture.svg.startswith(b"<?xml")
        assert b"<text" in picture.svg
        assert b"@media(prefers-color-scheme:dark)" in picture.svg


def test_a_dark_page_has_light_colors_of_the_same_hue():
    assert [dark(color) for color in ("#000000", "#ffffff", "#0072b2")] == [
        "#ffffff",
        "#141414",
        "#5bc4ff",
    ]
    svg = b'<svg x="1"><path style="fill: #0072b2; stroke: #000000"/></svg>'
    rules = b'[style*="fill: #0072b2"]{fill:#5bc4ff!important}[style*="stroke: #000000"]{stroke:#ffffff!important}'
    sheet = b"<style>@media(prefers-color-scheme:dark){svg{fill:#ffffff}" + rules + b"}</style>"
    assert with_dark_colors(svg) == svg.replace(b'<svg x="1">', b'<svg x="1">' + sheet)


def test_ticks_and_numbers():
    for steps, expected in (
        (1, [1]),
        (3, [1, 2, 3]),
        (6, [*range(1, 7)]),
        (7, [1, 3, 5, 7]),
        (20, [1, 5, 10, 15, 20]),
    ):
        assert style.step_ticks(steps) == expected
    np.testing.assert_array_equal(style.positive([-1, 0, 0.5]), [np.nan, np.nan, 0.5])
    values = {
        5e-12: "5·10⁻¹²",
        0.0: "0",
        0.25: "0.25",
        123.4: "120",
        1e5: "1·10⁵",
        np.inf: "not finite",
    }
    assert {value: style.scientific(value) for value in values} == values
