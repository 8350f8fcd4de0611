"""Every figure of the study: which findings it plots, where, and in which color.

The findings are made up: every number is another one, so that any two that are exchanged are seen. What each panel
must show is stated here by the place of its numbers in the findings.
"""

import numpy as np
import pytest
from study_panels import PARTS, bands_are, color_of, figure_of, lines_are, names_of_lines, numbers, panels, same
from study_settings import made_up, untrained

from numpy_rnn.study.figures import style
from numpy_rnn.study.figures.check_figures import COUNTED, EQUAL, MARKS
from numpy_rnn.study.figures.disagreement_figures import VERDICTS
from numpy_rnn.study.figures.svg import NARROW, narrow_figure
from numpy_rnn.study.study import DRAWINGS

pytestmark = pytest.mark.needs_matplotlib


# -- checks -----------------------------------------------------------------------------------------------------------


def test_differences():
    """A mark for each check, in the row of its equation, at its ratio to the bound; one line at 1."""
    [axes] = panels("differences", 1)
    equations = made_up()["checks"]["equations"]
    expected = sorted(
        (check["witness"] if check["witness"] in MARKS else COUNTED, row, max(check["bounds"], 1e-5) or EQUAL)
        for row, one in enumerate(equations.values())
        for check in one["checks"]
        if check["bounds"]
    ) + [EQUAL] * sum(check["bounds"] == 0 for one in equations.values() for check in one["checks"])
    marks = [line for line in axes.lines if line.get_linestyle() == "None"]
    points = [(line.get_label(), round(y), x) for line in marks for x, y in line.get_xydata().tolist()]
    assert sorted(point for point in points if point[2] != EQUAL) + [x for *_, x in points if x == EQUAL] == expected
    assert [label.get_text()[1:].split(")")[0] for label in axes.get_yticklabels()] == list(equations)
    assert any(list(line.get_xdata()) == [1, 1] for line in axes.lines)


def test_v_curve():
    far, near = panels("v_curve", 2)
    curve = made_up()["checks"]["v_curve"]
    steps = numbers(curve["steps"])
    lines = (np.maximum(curve["central"], 1e-17), style.RED), (np.maximum(curve["complex"], 1e-17), style.BLUE)
    slopes = (curve["truncation"] * steps**2, style.GREY), (curve["rounding"] / steps, style.GREY)
    lines_are(near, [*lines, *slopes], "near", x=steps)
    same(near.lines[4].get_xydata(), [[curve["best_step"], curve["best_error"]]], "best")
    lines_are(far, [(np.maximum(curve["complex_smaller"], 1e-17), style.BLUE)], "far", x=curve["smaller_steps"])


# -- components -------------------------------------------------------------------------------------------------------


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
    colors = {
        "as drawn": style.BEFORE,
        "scaled to vanish": style.SKY,
        "scaled to explode": style.RED,
        "after training": style.AFTER,
    }
    own = {of["name"]: of["mean"] for of in (*result["jacobians"], result["trained"])}
    lines, bands = [], []
    for name, start in result["seeds"]["starts"].items():
        growth, radius, color = start["growth"], start["spectral_radius"]["median"], colors[name]
        lines += [(growth["median"], color), (radius ** np.arange(9), color), (own[name], color)]
        bands.append((growth["low"], growth["high"], color))
    assert len(lines) == 12
    lines_are(axes, lines, "jacobians", x=range(9))
    bands_are(axes, bands, "jacobians")
    drawn, *scaled = result["jacobians"]
    for axes, of in zip(panels("trajectories", 4), [drawn, result["trained"], *scaled], strict=True):
        lines_are(axes, list(zip(numbers(of["h"]).T, style.CYCLE)), of["name"], x=range(9))
        assert axes.get_title(loc="left").startswith(f"{of['name']}\nρ = {of['spectral_radius']:.2g}")


def test_the_flat_ends_of_tanh_are_grey():
    from matplotlib.figure import Figure

    [drawing] = [one for one in DRAWINGS if one.name == "trajectories"]
    of = {"name": "a", "spectral_radius": 1.0, "slope": 0.5, "h": [[0.0], [0.5]]}
    figure = Figure()
    drawing.draw(figure, {"components": {"jacobians": [of], "trained": of, "epochs": 0, "threshold": 0.75}})
    spans = [
        patch.get_window_extent().transformed(axes.transData.inverted())
        for axes in figure.axes
        for patch in axes.patches
    ]
    same(sorted((span.y0, span.y1) for span in spans), [(-1, -0.75), (0.75, 1)], "spans")


def test_recurrence():
    result = made_up()["components"]
    left, right = panels("recurrence", 2)
    for axes, names in (
        (left, {"spectral_radius": style.BEFORE}),
        (right, {"slope": style.BEFORE, "saturated": style.RED}),
    ):
        lines, bands = [], []
        for name, color in names.items():
            low, median, high = ([of[name][part] for of in result["seeds"]["along"]] for part in PARTS)
            lines += [(median, color), (result["along"][name], color)]
            bands.append((low, high, color))
        lines_are(axes, lines, names, x=[0, 1, 2, 4])
        bands_are(axes, bands, names)


# -- the cost of truncation -------------------------------------------------------------------------------------------

KINDS = {"chunks": (style.CHUNKS, "chunks (k, k)"), "sliding": (style.SLIDING, "sliding (1, k)")}


def test_cosine_bias():
    result = made_up()["components"]
    places = [(part, end, index) for part in ("cosine", "bias") for end, index in (("start", 0), ("end", -1))]
    for axes, (part, end, index) in zip(panels("cosine_bias", 4), places):
        lines, bands = [], []
        for kind, (color, _) in KINDS.items():
            band = result["seeds"]["along"][index]["cost"]["all"][kind][part]
            lines += [(band["median"], color), (result["truncation"][end]["all"][kind][part], color)]
            bands.append((band["low"], band["high"], color))
        lines_are(axes, lines, (part, end), x=range(1, 9))
        bands_are(axes, bands, (part, end))
        names = [line.get_label() for line in axes.lines[:4:2]]
        assert names == [name for _, name in KINDS.values()]


def test_along_training():
    result = made_up()["components"]
    assert result["along"]["k"] == [1, 2, 3, 5, 8]
    for axes, (kind, (_, name)) in zip(panels("along_training", 2), KINDS.items()):
        by_k = [[of["cost"]["all"][kind]["cosine"] for of in result["seeds"]["along"]], [1, 2, 3, 5]]
        curves = [{part: [of[part][k - 1] for of in by_k[0]] for part in PARTS} for k in by_k[1]]
        lines_are(axes, [(curve["median"], None) for curve in curves], kind, x=[0, 1, 2, 4])
        bands_are(axes, [(curve["low"], curve["high"], None) for curve in curves], kind)
        assert names_of_lines(axes)[:4] == [f"k = {k}" for k in by_k[1]]
        assert axes.get_title(loc="left") == name


def test_norm_by_lag():
    result = made_up()["components"]
    [axes] = panels("norm_by_lag", 1)
    lines, bands, names = [], [], []
    for end, index, color, name in (("start", 0, style.BEFORE, "before"), ("end", -1, style.AFTER, "after")):
        of = result["seeds"]["along"][index]
        lines += [(of["lag"]["median"], color), (result["lag"][end]["mean"], color)]
        bands.append((of["lag"]["low"], of["lag"]["high"], color))
        names.append(f"{name} training:\n90 % within {of['reach']['median'][1]:.1f} steps")
    lines_are(axes, lines, "norm_by_lag", x=range(8))
    bands_are(axes, bands, "norm_by_lag")
    assert names_of_lines(axes)[::2][:2] == names


# -- training ---------------------------------------------------------------------------------------------------------


def test_loss_by_k_and_final_losses():
    by_k = made_up()["training"]["by_k"]
    kinds = {"sliding": ("sliding window (1, k)", style.SLIDING), "chunks": ("chunks (k, k)", style.CHUNKS)}
    for axes, (kind, (title, _)) in zip(panels("loss_by_k", 2), kinds.items()):
        lines_are(axes, [(run["median"], None) for run in by_k[kind]], kind, x=range(5))
        bands_are(axes, [(run["low"], run["high"], None) for run in by_k[kind]], kind)
        assert names_of_lines(axes) == [f"k = {run['k']}" for run in by_k[kind]]
        assert axes.get_title(loc="left") == title
    [axes] = panels("final_by_k", 1)
    lines = iter(axes.lines)
    for kind, (title, color) in kinds.items():
        of_kind = [next(lines) for _ in (*by_k[kind], "medians")]
        for line, run in zip(of_kind, by_k[kind]):
            same(line.get_ydata(), run["final"], (kind, run["k"]))
        same(of_kind[-1].get_ydata(), [run["final_median"] for run in by_k[kind]], kind)
        assert {color_of(line) for line in of_kind} == {color.lower()}, kind
        [label] = [text for text in axes.texts if text.get_text().endswith(title)]
        assert label.get_color() == style.readable(color)
        notes = [text.get_text() for text in axes.texts if text.get_text().endswith("diverged")]
    assert notes == [f"{run['diverged']} ↑\ndiverged" for kind in kinds for run in by_k[kind]]


def test_disagreements():
    result = made_up()["training"]["disagreements"]
    for number, (axes, one) in enumerate(zip(panels("disagreements", 9), result, strict=True)):
        sides = {style.DEFINITION: one["right"], style.VARIANT: one["wrong"]}
        lines_are(axes, [(of["median"], color) for color, of in sides.items()], one["name"], x=range(5))
        bands_are(axes, [(of["low"], of["high"], color) for color, of in sides.items()], one["name"])
        assert axes.get_title(loc="left").split() == f"{number + 1} {one['name']}".split()
        note = f"final loss × {one['ratio']['median']:.2g}\n{one['wrong']['diverged']} of 5 diverged"
        assert axes.texts[0].get_text() == note
    names = {text.get_color(): text.get_text() for text in figure_of("disagreements").axes[0].texts[1:]}
    assert names == {style.DEFINITION: "by the definition", style.VARIANT: "the variant"}


def test_disagreement_masks():
    result = {one["key"]: one for one in made_up()["training"]["disagreements"]}
    keys = ("one_more", "chunks", "added_up")
    expected = [("definition, k1 = 1, k2 = 5", result["one_more"]["right_counts"])]
    expected += [(result[key]["name"], result[key]["counts"]) for key in keys]
    for axes, (title, counts) in zip(panels("disagreement_masks", 4), expected):
        same(axes.images[0].get_array().filled(0), counts, title)
        assert axes.get_title(loc="left").split() == title.split()


def test_disagreement_steps():
    [axes] = panels("disagreement_steps", 1)
    shown = [one for one in made_up()["training"]["disagreements"] if one["steps"]["of_step"]]
    assert len(shown) == 8  # chunks make other updates
    for line, one in zip(axes.lines, shown, strict=True):
        same(line.get_ydata(), [v or None for v in one["steps"]["of_step"]], one["name"])
        same(line.get_xdata(), one["steps"]["epochs"], one["name"])
    names = names_of_lines(axes)
    assert names[1:] == [one["name"] for one in shown[1:]]
    assert names[0] == names[-1]  # solid and dashed lines of one color: the later name is found


def test_mistakes():
    """From the lowest final loss to the highest; one that diverged is at four times the largest of the others."""
    mistakes = [one for one in made_up()["training"]["mistakes"] if one["verdict"] != "not in a run"]
    edge = 4 * max(one["ratio"]["median"] or 0 for one in mistakes)
    ratios = {one["name"]: one["ratio"]["median"] or edge for one in mistakes}
    mistakes.sort(key=lambda one: ratios[one["name"]])
    [axes] = panels("mistakes", 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == [one["name"] for one in mistakes]
    points = [
        (*point, color_of(line)) for line in axes.lines if line.get_linestyle() == "None" for point in line.get_xydata()
    ]
    colors = [VERDICTS[one["verdict"]][0].lower() for one in mistakes]
    expected = [(ratios[one["name"]], row, color) for row, (one, color) in enumerate(zip(mistakes, colors))]
    assert sorted(points, key=lambda point: point[1]) == expected
    counts = {
        f"{VERDICTS[v][2]} ({sum(one['verdict'] == v for one in mistakes)})" for v in {m["verdict"] for m in mistakes}
    }
    assert {text.get_text() for text in axes.get_legend().get_texts()} == counts


# -- colors and places ------------------------------------------------------------------------------------------------


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
    assert [axes.get_title("left") for axes in panels] == ["before training", "after 4 epochs"] * 2
