"""The plots: the data that is drawn is that of the run, at the right times, and nothing covers anything."""

import io

import numpy as np
import pytest
from comparing import assert_within, bits
from made_up import SWEEPS, lines, made_up

from numpy_rnn.app import plots
from numpy_rnn.app.results import Result

pytestmark = pytest.mark.needs_matplotlib

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}


KINDS: dict[str, dict] = {
    "one-epoch": {"epochs": 1, "G": 0},
    "no-epochs": {"epochs": 0},
    "features": {"D": 6, "E": (4,)},
    "long": {"T": 600},
    "compared": {"backends": ("my_own_rnn_in_rust", "another_rnn_in_fortran"), "E": (3,)},
    "held-out": {"T": 40, "held_out": 12, "G": 12, "scaled": True, "D": 2},
    "held-out-early": {"T": 150, "held_out": 120, "G": 30},
    "held-out-and-further": {"T": 40, "held_out": 3, "G": 10, "E": (3,)},
    "last-predictions": {"T": 40, "P": 15, "held_out": 5, "G": 5},
    "predictions-of-some-held-out": {"T": 40, "P": 10, "held_out": 12, "G": 5},
    **SWEEPS,
    "last-steps": {"T": 601, "P": 500, "G": 20},
    "last-steps-and-held-out": {"T": 3309, "held_out": 300, "G": 320},
    "around-the-border": {"T": 3309, "held_out": 301, "G": 321, "P": 500},
    "before-the-predictions": {"T": 3309, "held_out": 1200, "G": 1220, "P": 500},
    "first-steps": {"T": 700, "held_out": 690, "G": 710, "P": 500},
}
VIEWS = {  # of a series of more than 600 steps: the first and the last time that is drawn, and the words in the title
    "last-steps": (2, np.inf, "the last 600 of 601 steps"),
    "last-steps-and-held-out": (2710, np.inf, "the last 600 of 3309 steps"),
    "around-the-border": (2709, 3308, "steps 2709 to 3308 of 3309"),
    "before-the-predictions": (1810, 2409, "steps 1810 to 2409 of 3309"),
    "first-steps": (1, 600, "steps 1 to 600 of 700"),
}


@pytest.fixture(params=KINDS, scope="module")  # nothing changes a figure, and making one takes long
def drawn(request):
    """Experiment, results, panels of the series, panel of the losses (if any), and the figure, laid out."""
    experiment, results = made_up(**KINDS[request.param])
    figure = plots.figure(experiment, results)
    figure.draw_without_rendering()
    panels = min(experiment.x.shape[-1], 4)
    series, losses = figure.axes[:panels], figure.axes[panels:]
    return experiment, results, series, losses, figure


def best(experiment, results):
    """The results whose series is drawn: in a sweep, those of the rate with the lowest final median loss."""
    if not experiment.rates:
        return results
    last = next(iter(results.values())).losses[-1].reshape(len(experiment.rates), -1)
    rate = min(range(len(last)), key=lambda n: np.median(last[n]))
    return {
        name: Result(r.losses[:, rate], r.params, r.predictions[:, rate], r.generated[:, rate])
        for name, r in results.items()
    }


def test_the_series_with_its_labels_and_its_title(drawn, request):
    experiment, results, series, _, figure = drawn
    first, last, part = VIEWS.get(request.node.callspec.params["drawn"], (1, np.inf, None))
    T, D, held_out = len(experiment.x), experiment.x.shape[-1], experiment.held_out
    mean, deviation = experiment.scaling or (np.zeros(D), np.ones(D))
    for feature, axes in enumerate(series):
        by_label, expected = lines(axes), []

        def check(label, begin, values, axes=axes, feature=feature, by_label=by_label, expected=expected):
            """The medians over the networks, in units of the series, from the time `begin` on."""
            times, median = np.arange(begin, begin + len(values)), np.median(values.reshape(len(values), -1), axis=1)
            is_shown = (times >= first) & (times <= last)
            if is_shown.any():
                expected.append(label)
                assert bits(by_label[label].get_xdata()) == bits(times[is_shown])
                median = median * deviation[feature] + mean[feature]
                assert_within(np.asarray(by_label[label].get_ydata()), median[is_shown], 1e-12)

        check("actual", 1, np.concatenate([experiment.x, experiment.target[-1:]])[:, 0, feature])
        points = len(by_label["actual"].get_xdata()) <= 100
        assert by_label["actual"].get_marker().replace("None", "") == ("o" if points else "")  # points, or a line
        for name, result in best(experiment, results).items():
            by, P = f", {name}" if len(results) > 1 else "", len(result.predictions)
            y, after = result.predictions[..., 0, feature], result.generated[..., 0, feature]
            check("predicted" + by, T + 2 - P, y)
            if len(after):
                before = y[P - held_out - 1 :][:1] if held_out < P else after[:0]  # on from the last one trained on
                check("free-running" + by, T + 2 - held_out - len(before), np.concatenate([before, after]))
        assert list(by_label) == expected
        assert axes.get_ylabel() == ("value (units of the series)" if D == 1 else f"feature {feature + 1}")
    assert series[-1].get_xlabel() == "time (steps)"
    title = figure.get_suptitle()
    assert title.startswith(f"{' and '.join(results)}: made up, one step ahead")
    networks = next(iter(best(experiment, results).values())).predictions[0].size // D
    ensemble = f"medians of {networks} networks, bands from their 10th to their 90th percentile"
    assert (ensemble in title) == (networks > 1)
    assert ("the first 4 of 6 features" in title) == (D == 6)
    assert ("with the lowest final loss" in title) == bool(experiment.rates)
    assert f", {part}" in title if part else "steps" not in title


def test_the_border_is_before_the_first_row_that_was_not_trained_on(drawn):
    experiment, _, series, _, _ = drawn
    for axes in series:
        borders = [line for line in axes.lines if line.get_label() == "_border"]
        assert len(borders) == len(axes.texts) == (experiment.held_out > 0)
        for border, word in zip(borders, axes.texts):
            assert list(border.get_xdata()) == [len(experiment.x) + 1 - experiment.held_out + 0.5] * 2
            assert word.get_text() == "held out →"
            frame, box = axes.get_window_extent(), word.get_window_extent()
            at = axes.transData.transform((border.get_xdata()[0], 0))[0]
            assert frame.x0 < box.x0
            assert box.x1 < frame.x1
            assert min(abs(box.x0 - at), abs(box.x1 - at)) < 10  # points
            highest = max(np.max(line.get_ydata()) for line in lines(axes).values())
            assert box.y0 > axes.transData.transform((0, highest))[1]


def test_the_losses(drawn):
    experiment, results, _, panels, _ = drawn
    assert len(panels) == any(len(result.losses) for result in results.values())
    for axes in panels:
        curves = {}
        for name, result in results.items():
            for number, rate in enumerate(experiment.rates):
                label = f"{rate:g}" if len(results) == 1 else f"{rate:g}, {name}"
                curves[label] = result.losses[:, number]
            if not experiment.rates:
                curves[name] = result.losses
        assert list(lines(axes)) == list(curves)
        for name, losses in curves.items():
            epochs = len(losses)
            assert bits(lines(axes)[name].get_xdata()) == bits(np.arange(1, epochs + 1))
            assert_within(lines(axes)[name].get_ydata(), np.median(losses.reshape(epochs, -1), axis=1), 1e-12)
        shown = np.array([np.percentile(c.reshape(len(c), -1), (10, 50, 90), axis=1) for c in curves.values()])
        if not experiment.rates:
            assert axes.get_yscale() == ("log" if shown.max() > 4 * shown.min() else "linear")
        what = "median loss" if len(experiment.rates) == 9 else "loss of an epoch"
        units = ",\nin standardized units" if experiment.scaling else ""
        units += ", log scale" if axes.get_yscale() == "log" else ""
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", f"{what}\n(half squared error{units})")
        low, high = axes.get_xlim()
        assert low < 1 <= epochs < high


def test_every_rate_is_named_beside_the_end_of_its_curve(drawn):
    experiment, results, _, panels, figure = drawn
    if not experiment.rates:
        return
    [axes] = panels
    *words, head = axes.texts
    assert head.get_text() == "rate"
    curves = lines(axes)
    name = "" if len(results) == 1 else f", {next(iter(results))}"
    ends = {f"{rate:g}": curves[f"{rate:g}{name}"] for rate in experiment.rates}
    in_order = sorted(ends, key=lambda rate: ends[rate].get_ydata()[-1])
    assert [word.get_text() for word in words] == in_order
    assert [word.get_weight() for word in words] == ["bold"] + ["normal"] * (len(words) - 1)
    assert [word.get_color() for word in words] == [ends[rate].get_color() for rate in in_order]
    boxes = [word.get_window_extent() for word in axes.texts]
    frame, canvas = axes.get_window_extent(), figure.bbox
    assert all(box.x0 > frame.x1 and box.x1 <= canvas.x1 and box.y1 <= canvas.y1 for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


@pytest.mark.parametrize("left_out", [(), (2,)], ids=["all", "one diverged"])
def test_lines_and_bands_are_medians_and_percentiles_of_the_networks_that_converged(left_out):
    experiment, results = made_up(E=(5,))
    result = results["numpy_rnn"]
    for network in left_out:
        result.losses[-1, network] = result.predictions[-1, network] = result.generated[-1, network] = np.nan
    series, losses = plots.figure(experiment, results).axes
    after = np.concatenate([result.predictions[-1:], result.generated])
    bands = [*series.collections, *losses.collections]
    parts = (result.predictions[..., 0, 0], after[..., 0, 0], result.losses)
    for line, shown, values in zip((*series.lines[1:], *losses.lines), bands, parts, strict=True):
        low, median, high = np.percentile(np.delete(values, left_out, axis=1), (10, 50, 90), axis=1)
        assert_within(line.get_ydata(), median, 1e-12)
        corners = shown.get_paths()[0].vertices[:, 1]
        assert all(np.abs(corners - value).min() <= 1e-12 for value in (*low, *high))
        assert np.ptp(corners) <= np.max(high) - np.min(low) + 1e-12
    assert f"medians of {5 - len(left_out)} networks" in series.figure.get_suptitle()


ODD_NAMES = {  # what is drawn, with escapes for what has no glyph
    "a$\\foo$": "a$\\foo$",
    "$x_$ x^2_{": "$x_$ x^2_{",
    "\udcff漢 é → \t": "\\udcff\\u6f22 é → \\t",
    "a very long name " * 9: "a very long name a ve...",
}


def test_names_are_drawn_as_they_are_whatever_characters_they_have():
    """Those of the columns of a file, of the file itself, and of the implementations."""
    names, drawable = list(ODD_NAMES), list(ODD_NAMES.values())
    experiment, results = made_up(D=4, T=9, epochs=2, backends=names)
    experiment = experiment._replace(name=names[2], columns=tuple(names))
    figure = plots.figure(experiment, results)
    figure.savefig(io.BytesIO(), format="svg")  # raises where a name is taken for a formula, warns of missing glyphs
    *series, losses = figure.axes
    assert [axes.get_ylabel() for axes in series] == drawable
    assert f": {ODD_NAMES[names[2]]}, one step ahead" in figure.get_suptitle()
    legends = [*series[0].get_legend().get_texts(), *losses.get_legend().get_texts()]
    shown = " ".join(text.get_text() for text in legends)
    assert all(shown.count(name) == 3 for name in drawable)  # predicted, free-running, and the losses
    one = plots.figure(made_up()[0]._replace(name=9 * "a long name ", columns=("spots",)), made_up()[1])
    assert one.axes[0].get_ylabel() == "spots"  # a single column is named too
    assert f": {(9 * 'a long name ')[:57]}..., one step ahead" in one.get_suptitle()
    drawn = [figure._suptitle, *(axes.yaxis.label for axes in series), *legends]
    assert not any(text.get_parse_math() for text in drawn)


def test_legends_cover_nothing_and_everything_is_inside(drawn):
    *_, figure = drawn
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend() is not None]
    assert legends[0].axes is figure.axes[0]
    labels = [line.get_label() for line in figure.axes[0].lines if not line.get_label().startswith("_")]
    assert [text.get_text() for text in legends[0].get_texts()] == labels
    assert len(legends) == (2 if len(drawn[1]) > 1 else 1)
    frames = [axes.get_window_extent() for axes in figure.axes]
    boxes = [legend.get_window_extent() for legend in legends]
    assert not any(box.overlaps(frame) for box in boxes for frame in frames)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    for box in (*frames, *boxes, figure._suptitle.get_window_extent()):
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= 0
    assert all(frame.width > 0.2 * figure.bbox.width for frame in frames)


def test_lines_differ_also_for_the_colour_blind(drawn):
    *_, figure = drawn
    for axes in figure.axes:
        assert {line.get_color() for line in lines(axes).values()} <= OKABE_ITO
        if axes is figure.axes[-1] and drawn[0].rates:
            looks = [(line.get_color(), line.get_linestyle()) for line in lines(axes).values()]
            assert len(set(looks)) == len(looks)
            continue  # every curve is labelled at its end
        coloured = [line for line in lines(axes).values() if line.get_color() != "#000000"]
        forms = [(line.get_marker(), line.get_linestyle()) for line in coloured]
        assert len(set(forms)) == len(forms)
        assert [label for label, line in lines(axes).items() if line not in coloured] in ([], ["actual"])


def test_the_drift_of_two_runs_has_a_panel_of_its_own():
    experiment, results = made_up(T=20, G=5)
    drift, spread = np.array([0.0, 1e-8, 3e-7]), np.array([2e-7, 2e-7, 9e-7])
    *_, losses, panel = plots.figure(experiment, results, drift=(drift, spread)).axes
    shown = {line.get_label(): line.get_ydata() for line in panel.lines}
    assert shown["runs that start an ulp apart"].tolist() == spread.tolist()
    assert shown["these runs"][1:].tolist() == drift[1:].tolist()  # no drift has no place on a logarithmic axis
    assert np.isnan(shown["these runs"][0])
    assert (panel.get_xlabel(), panel.get_yscale()) == ("epoch", "log")
    assert losses.get_xlabel() == "epoch"
