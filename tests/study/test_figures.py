"""Every figure of the study, of made-up findings: the numbers that it plots, where, in which colour, and by which name.

figures.txt has the artists of every panel. To change it on purpose: pytest --inline-snapshot=fix, and look at the
figures.
"""

import numpy as np
import pytest
from inline_snapshot import external_file
from study_findings import made_up

from numpy_rnn.study.figures import style
from numpy_rnn.study.figures.render import NARROW, Drawing, for_page, narrow_figure, pictures
from numpy_rnn.study.study import DRAWINGS

pytestmark = pytest.mark.needs_matplotlib


def drawn(drawing):
    from matplotlib.figure import Figure

    with style.style():
        figure = Figure(figsize=drawing.size)
        drawing.draw(figure, made_up())
        figure.draw_without_rendering()
    return figure


def few(values):
    return " ".join(f"{v:.3g}" for v in np.ravel(np.ma.filled(np.ma.asarray(values, float), np.nan)))


def described(figure):
    """The artists of a figure, one per line."""
    from matplotlib.collections import FillBetweenPolyCollection
    from matplotlib.colors import to_hex

    for axes in figure.axes:
        yield f"panel {axes.get_title(loc='left')!r}: {axes.get_xlabel()!r}, {axes.get_ylabel()!r}, {axes.get_yscale()}"
        ticks = [label.get_text() for label in axes.get_yticklabels()]
        if axes.get_yscale() == "linear" and not any(tick.strip("−0123456789.") == "" for tick in ticks):
            yield f"  ticks {ticks}"
        for line in axes.lines:
            look = f"{to_hex(line.get_color())} {line.get_linestyle()} {line.get_marker()}"
            yield f"  line {look}: {few(line.get_xdata())} | {few(line.get_ydata())}"
        for one in axes.collections:
            if isinstance(one, FillBetweenPolyCollection):
                yield f"  band {to_hex(one.get_facecolor()[0])}: {few(one.get_paths()[0].vertices[:, 1])}"
        for image in axes.images:
            yield f"  image {few(image.get_array())}"
        for text in axes.texts:
            yield f"  text {to_hex(text.get_color())} {text.get_text()!r}"
        if axes.get_legend():
            yield f"  legend {[text.get_text() for text in axes.get_legend().get_texts()]}"


def test_every_figure_plots_its_findings():
    text = "".join("\n".join([f"# {drawing.name}", *described(drawn(drawing)), ""]) for drawing in DRAWINGS)
    assert text == external_file("figures.txt")


def test_all_is_within_the_borders_and_readable():
    from matplotlib.text import Text

    for drawing in DRAWINGS:
        figure = drawn(drawing)
        box, margin = figure.get_tightbbox(), 1 / figure.dpi  # inches; the margin is a pixel
        assert min(box.x0, box.y0) >= -margin, drawing.name
        assert (box.max <= figure.get_size_inches() + margin).all(), drawing.name
        for text in figure.findobj(Text):
            assert not text.get_text() or style.contrast(text.get_color()) >= 4.5, (drawing.name, text.get_text())


def test_a_narrow_column_stacks_the_panels_each_with_its_labels():
    for drawing in DRAWINGS:
        with style.style():
            figure = narrow_figure(drawing)
            drawing.draw(figure, made_up())
            figure.label_panels()
        panels = list(figure.grid.flat)
        assert figure.get_size_inches()[0] == NARROW
        assert {axes.get_subplotspec().colspan for axes in panels} == {range(1)}, drawing.name
        for labels in zip(*((axes.get_xlabel(), axes.get_ylabel()) for axes in panels)):
            assert all(labels) or not any(labels), drawing.name


def test_the_files_of_a_figure_are_the_same_each_time():
    """So that a study can be kept under version control, and compared."""

    def draw(figure, findings):
        figure.subplots().plot([0, 1.23456], label="x")

    drawing = Drawing("one", (3.0, 2.0), draw)
    svg, png, picture = pictures(drawing, made_up())
    assert (svg, png, picture) == pictures(drawing, made_up())
    assert svg.startswith(b"<?xml")
    assert b"<text" not in svg  # but outlines, which need no font
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    for (text, (width, _)), expected in zip(picture, (3.0, NARROW), strict=True):
        assert width == expected
        assert b"<text" in text


def test_the_svg_of_the_page_is_short():
    text = """<?xml version="1.0"?>
<svg viewBox="0 0 9.12345 9"> <metadata> <a>x</a> </metadata> <!-- M 1.234567 -->
 <path d="M 1.234567 -0.04
L 2.5 3.96
z
" style="font-family: 'DejaVu Sans', sans-serif"/><text>0.987 L 1</text>
</svg>
"""
    path = '<path d="M1.2 -0L2.5 4z" style="font-family: sans-serif"/>'
    short = f'<svg viewBox="0 0 9.1 9">  {path}<text>0.987 L 1</text></svg>'
    assert for_page(text.encode()).decode() == short


@pytest.mark.parametrize(
    ("places", "expected"),
    [([1, 5, 9], [1, 5, 9]), ([4, 4], [3, 5]), ([9.5, 10], [8, 10]), ([0, 0.5, 9], [0, 2, 9]), ([5, 5, 5], [3, 5, 7])],
)
def test_names_at_curves_keep_apart_and_in_their_order(places, expected):
    assert style.spread_apart([float(place) for place in places], 2.0, 0.0, 10.0) == expected


def test_ticks_and_numbers():
    for steps, expected in ((1, [1]), (3, [1, 2, 3]), (6, [*range(1, 7)]), (7, [1, 3, 5, 7]), (20, [1, 5, 10, 15, 20])):
        assert style.step_ticks(steps) == expected
    values = {5e-12: "5·10⁻¹²", 0.0: "0", 0.25: "0.25", 123.4: "120", 1e5: "1·10⁵", np.inf: "not finite"}
    assert {value: style.scientific(value) for value in values} == values
