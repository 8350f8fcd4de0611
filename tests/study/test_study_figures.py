"""Every figure of the study: which findings it plots, where, and in which color.

The findings are made up: every number is another one, so that any two that are exchanged are seen. What each panel
must show is stated here by the place of its numbers in the findings.
"""

from functools import cache

import numpy as np
import pytest
from study_settings import made_up, untrained

from numpy_rnn.study.figures import style
from numpy_rnn.study.figures.check_figures import COUNTED, EQUAL, MARKS
from numpy_rnn.study.figures.disagreement_figures import VERDICTS
from numpy_rnn.study.figures.svg import NARROW, narrow_figure
from numpy_rnn.study.study import DRAWINGS

pytestmark = pytest.mark.needs_matplotlib

PARTS = ("low", "median", "high")


@cache
def figure_of(name):
    from matplotlib.figure import Figure

    [drawing] = [one for one in DRAWINGS if one.name == name]
    with style.style():
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


def shows(axes, lines, bands, where, x):
    """The first lines of the panel, in order: (values, color); and all its bands: (low and high by name, color).

    Without a color, a color map chooses.
    """
    from matplotlib.collections import FillBetweenPolyCollection

    for number, (line, (values, color)) in enumerate(zip(axes.lines[: len(lines)], lines, strict=True)):
        same(line.get_xydata(), np.column_stack((x, numbers(values))), (where, number))
        assert color is None or color_of(line) == color.lower(), (where, number)
    drawn = [one for one in axes.collections if isinstance(one, FillBetweenPolyCollection)]
    for number, (band, (of, color)) in enumerate(zip(drawn, bands, strict=True)):
        [path] = band.get_paths()  # around: along the low end to the right, along the high end to the left
        n = len(of["low"])
        same(path.vertices[1 : n + 1, 1], of["low"], (where, number))
        same(path.vertices[n + 2 : 2 * n + 2, 1][::-1], of["high"], (where, number))
        assert color is None or color_of(band) == color.lower(), (where, number)


def names_of_lines(axes):
    """The name at the end of each line, by the line's color made readable."""
    texts = {tuple(np.round(text.get_color(), 6)): text.get_text() for text in axes.texts
             if text.get_color() != style.GREY}  # fmt: skip
    return [texts.get(tuple(np.round(style.readable(line.get_color()), 6))) for line in axes.lines]


def panels(name, number):
    axes = figure_of(name).axes
    assert len(axes) >= number, name
    return axes[:number]


def test_differences():
    """A mark for each check, in the row of its equation, at its ratio to the bound; one line at 1."""
    [axes] = panels("differences", 1)
    equations = made_up()["checks"]["equations"]
    checks = [(row, check) for row, one in enumerate(equations.values()) for check in one["checks"]]
    expected = sorted(
        (check["witness"] if check["witness"] in MARKS else COUNTED, row, max(check["bounds"], 1e-5) or EQUAL)
        for row, check in checks
        if check["bounds"]
    ) + [EQUAL] * sum(check["bounds"] == 0 for _, check in checks)
    marks = [line for line in axes.lines if line.get_linestyle() == "None"]
    points = [(line.get_label(), round(y), x) for line in marks for x, y in line.get_xydata().tolist()]
    assert sorted(point for point in points if point[2] != EQUAL) + [x for *_, x in points if x == EQUAL] == expected
    assert [label.get_text()[1:].split(")")[0] for label in axes.get_yticklabels()] == list(equations)
    assert any(list(line.get_xdata()) == [1, 1] for line in axes.lines)


def test_v_curve():
    far, near = panels("v_curve", 2)
    curve = made_up()["checks"]["v_curve"]
    steps = numbers(curve["steps"])
    lines = [
        (np.maximum(curve[kind], 1e-17), color) for kind, color in (("central", style.RED), ("complex", style.BLUE))
    ]
    slopes = (curve["truncation"] * steps**2, style.GREY), (curve["rounding"] / steps, style.GREY)
    shows(near, [*lines, *slopes], [], "near", steps)
    same(near.lines[4].get_xydata(), [[curve["best_step"], curve["best_error"]]], "best")
    low, high = near.get_ylim()
    assert low < high
    shows(far, [(np.maximum(curve["complex_smaller"], 1e-17), style.BLUE)], [], "far", curve["smaller_steps"])


def test_heat_map_and_masks():
    components = made_up()["components"]
    for axes, end, title in zip(panels("heat_map", 2), ("start", "end"), ("before training", "after 4 epochs")):
        same(axes.images[0].get_array().filled(0), components["heat"][end], end)
        assert axes.get_title(loc="left") == title
    for axes, shown in zip(panels("masks", 5), components["masks"], strict=True):
        same(axes.images[0].get_array().filled(0), components["heat"]["end"], shown["name"])
        k1, k2 = shown["k1"], shown["k2"]
        cut = {(s, t) for t in range(1, 9) for s in range(1, t + 1) if s <= max(0, min(-(-t // k1) * k1, 8) - k2)}
        crosses = axes.lines[0].get_xydata().reshape(-1, 3, 2)[:, :2].mean(axis=1)  # of every stroke, its middle
        assert {tuple(point) for point in crosses.round(9).tolist()} == cut, shown["name"]
        label = f"step s\n{shown['kept']} of {shown['of']} components\n{shown['end']['share']:.0%} of the norms"
        assert axes.get_xlabel() == label
        assert axes.get_title(loc="left").endswith(f"({k1}, {k2})\n{shown['name']}")


def test_jacobians_and_trajectories():
    result = made_up()["components"]
    [axes] = panels("jacobians", 1)
    colors = {"as drawn": style.BEFORE, "scaled to vanish": style.SKY, "scaled to explode": style.RED}
    colors["after training"] = style.AFTER
    own = {of["name"]: of["mean"] for of in (*result["jacobians"], result["trained"])}
    lines, bands = [], []
    assert list(result["seeds"]["starts"]) == list(colors)
    for name, start in result["seeds"]["starts"].items():
        curves = (start["growth"]["median"], start["spectral_radius"]["median"] ** np.arange(9), own[name])
        lines += [(curve, colors[name]) for curve in curves]
        bands.append((start["growth"], colors[name]))
    shows(axes, lines, bands, "jacobians", range(9))
    drawn, *scaled = result["jacobians"]
    for axes, of in zip(panels("trajectories", 4), [drawn, result["trained"], *scaled], strict=True):
        shows(axes, list(zip(numbers(of["h"]).T, style.CYCLE)), [], of["name"], range(9))
        assert axes.get_title(loc="left").startswith(f"{of['name']}\nρ = {of['spectral_radius']:.2g}")


def test_recurrence():
    result = made_up()["components"]
    shown = {"spectral_radius": style.BEFORE}, {"slope": style.BEFORE, "saturated": style.RED}
    for axes, colors in zip(panels("recurrence", 2), shown):
        lines, bands = [], []
        for name, color in colors.items():
            band = {part: [of[name][part] for of in result["seeds"]["along"]] for part in PARTS}
            lines += [(band["median"], color), (result["along"][name], color)]
            bands.append((band, color))
        shows(axes, lines, bands, colors, [0, 1, 2, 4])


KINDS = {"chunks": (style.CHUNKS, "chunks (k, k)"), "sliding": (style.SLIDING, "sliding (1, k)")}


def test_cosine_bias():
    result = made_up()["components"]
    places = [(part, end, index) for part in ("cosine", "bias") for end, index in (("start", 0), ("end", -1))]
    for axes, (part, end, index) in zip(panels("cosine_bias", 4), places):
        lines, bands = [], []
        for kind, (color, _) in KINDS.items():
            band = result["seeds"]["along"][index]["cost"]["all"][kind][part]
            lines += [(band["median"], color), (result["truncation"][end]["all"][kind][part], color)]
            bands.append((band, color))
        shows(axes, lines, bands, (part, end), range(1, 9))
        assert [line.get_label() for line in axes.lines[:4:2]] == [name for _, name in KINDS.values()]


def test_along_training():
    result = made_up()["components"]
    assert result["along"]["k"] == [1, 2, 3, 5, 8]
    for axes, (kind, (_, name)) in zip(panels("along_training", 2), KINDS.items()):
        of_epochs = [of["cost"]["all"][kind]["cosine"] for of in result["seeds"]["along"]]
        curves = [{part: [of[part][k - 1] for of in of_epochs] for part in PARTS} for k in (1, 2, 3, 5)]
        shows(axes, [(of["median"], None) for of in curves], [(of, None) for of in curves], kind, [0, 1, 2, 4])
        assert names_of_lines(axes)[:4] == ["k = 1", "k = 2", "k = 3", "k = 5"]
        assert axes.get_title(loc="left") == name


def test_norm_by_lag():
    result = made_up()["components"]
    [axes] = panels("norm_by_lag", 1)
    lines, bands, names = [], [], []
    for end, index, color, name in (("start", 0, style.BEFORE, "before"), ("end", -1, style.AFTER, "after")):
        of = result["seeds"]["along"][index]
        lines += [(of["lag"]["median"], color), (result["lag"][end]["mean"], color)]
        bands.append((of["lag"], color))
        names.append(f"{name} training:\n90 % within {of['reach']['median'][1]:.1f} steps")
    shows(axes, lines, bands, "norm_by_lag", range(8))
    assert names_of_lines(axes)[::2][:2] == names


def test_loss_by_k_and_final_losses():
    by_k = made_up()["training"]["by_k"]
    kinds = {"sliding": ("sliding window (1, k)", style.SLIDING), "chunks": ("chunks (k, k)", style.CHUNKS)}
    for axes, (kind, (title, _)) in zip(panels("loss_by_k", 2), kinds.items()):
        runs = by_k[kind]
        shows(axes, [(run["median"], None) for run in runs], [(run, None) for run in runs], kind, range(5))
        assert names_of_lines(axes) == [f"k = {run['k']}" for run in runs]
        assert axes.get_title(loc="left") == title
    [axes] = panels("final_by_k", 1)
    lines = iter(axes.lines)
    for kind, (title, color) in kinds.items():
        expected = [*(run["final"] for run in by_k[kind]), [run["final_median"] for run in by_k[kind]]]
        for line, values in zip([next(lines) for _ in expected], expected):
            same(line.get_ydata(), values, kind)
            assert color_of(line) == color.lower(), kind
        [label] = [text for text in axes.texts if text.get_text().endswith(title)]
        assert label.get_color() == style.readable(color)
    notes = [text.get_text() for text in axes.texts if text.get_text().endswith("diverged")]
    assert notes == [f"{run['diverged']} ↑\ndiverged" for kind in kinds for run in by_k[kind]]


def test_disagreements_their_masks_and_their_steps():
    result = made_up()["training"]["disagreements"]
    for number, (axes, one) in enumerate(zip(panels("disagreements", 9), result, strict=True)):
        sides = [(one["right"], style.DEFINITION), (one["wrong"], style.VARIANT)]
        shows(axes, [(of["median"], color) for of, color in sides], sides, one["name"], range(5))
        assert axes.get_title(loc="left").split() == f"{number + 1} {one['name']}".split()
        note = f"final loss × {one['ratio']['median']:.2g}\n{one['wrong']['diverged']} of 5 diverged"
        assert axes.texts[0].get_text() == note
    names = {text.get_color(): text.get_text() for text in figure_of("disagreements").axes[0].texts[1:]}
    assert names == {style.DEFINITION: "by the definition", style.VARIANT: "the variant"}

    by_key = {one["key"]: one for one in result}
    expected = [("definition, k1 = 1, k2 = 5", by_key["one_more"]["right_counts"])]
    expected += [(by_key[key]["name"], by_key[key]["counts"]) for key in ("one_more", "chunks", "added_up")]
    for axes, (title, counts) in zip(panels("disagreement_masks", 4), expected):
        same(axes.images[0].get_array().filled(0), counts, title)
        assert axes.get_title(loc="left").split() == title.split()

    [axes] = panels("disagreement_steps", 1)
    stepped = [one for one in result if one["steps"]["of_step"]]
    assert len(axes.lines) == len(stepped) == 8  # chunks make other updates
    epochs = stepped[0]["steps"]["epochs"]
    shows(axes, [([v or None for v in one["steps"]["of_step"]], None) for one in stepped], [], "steps", epochs)
    names = names_of_lines(axes)
    assert names[1:] == [one["name"] for one in stepped[1:]]
    assert names[0] == names[-1]  # solid and dashed lines of one color: the later name is found


def test_mistakes():
    """From the lowest final loss to the highest; one that diverged is at four times the largest of the others."""
    mistakes = [one for one in made_up()["training"]["mistakes"] if one["verdict"] != "not in a run"]
    edge = 4 * max(one["ratio"]["median"] or 0 for one in mistakes)
    mistakes.sort(key=lambda one: one["ratio"]["median"] or edge)
    [axes] = panels("mistakes", 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == [one["name"] for one in mistakes]
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    points = [(row, ratio, color_of(line)) for line in dots for ratio, row in line.get_xydata().tolist()]
    assert sorted(points) == [
        (row, one["ratio"]["median"] or edge, VERDICTS[one["verdict"]][0].lower()) for row, one in enumerate(mistakes)
    ]
    verdicts = [one["verdict"] for one in mistakes]
    counts = {f"{VERDICTS[verdict][2]} ({verdicts.count(verdict)})" for verdict in verdicts}
    assert {text.get_text() for text in axes.get_legend().get_texts()} == counts


def test_all_is_within_the_borders_and_all_text_can_be_read_on_white():
    from matplotlib.text import Text

    for drawing in DRAWINGS:
        figure = figure_of(drawing.name)
        drawn, margin = figure.get_tightbbox(), 1 / figure.dpi  # inches; the margin is a pixel
        assert min(drawn.x0, drawn.y0) >= -margin, drawing.name
        assert (drawn.max <= figure.get_size_inches() + margin).all(), drawing.name
        for text in figure.findobj(Text):
            assert not text.get_text() or style.contrast(text.get_color()) >= 4.5, (drawing.name, text.get_text())


def test_a_narrow_column_has_the_panels_one_above_the_other_each_with_its_labels():
    """Of a run that was not trained, which has less to draw; and two rows of two panels, which share their titles."""
    [in_rows] = [one for one in DRAWINGS if one.name == "cosine_bias"]
    for drawing, findings in [*((one, untrained()) for one in DRAWINGS), (in_rows, made_up())]:
        with style.style():
            figure = narrow_figure(drawing)
            drawing.draw(figure, findings)
            figure.label_panels()
        panels = list(figure.grid.flat)
        assert figure.get_size_inches()[0] == NARROW
        assert {axes.get_subplotspec().colspan for axes in panels} == {range(1)}, drawing.name
        for labels in zip(*((axes.get_xlabel(), axes.get_ylabel()) for axes in panels)):
            assert all(labels) or not any(labels), drawing.name
        if drawing.name == "trajectories":  # the flat ends of tanh are grey
            for axes in panels:
                spans = [patch.get_extents().transformed(axes.transData.inverted()) for patch in axes.patches]
                same(sorted((span.y0, span.y1) for span in spans), [(-1, -0.9), (0.9, 1)], "spans")
    assert [axes.get_title("left") for axes in panels] == ["before training", "after 4 epochs"] * 2
