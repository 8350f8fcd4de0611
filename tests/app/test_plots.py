"""The plots: the data is that of the run, at the right times, and nothing covers anything; and where a plot goes."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from comparing import assert_within, bits
from in_process import configured, refused, succeed, trained
from made_up import lines, made_up

import numpy_rnn
from numpy_rnn.app import plots
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import parser

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
    "rates-and-seeds": {"E": (9, 4), "rates": tuple(2.0**-n for n in range(9)), "scaled": True, "held_out": 5},
    "rates-compared": {"E": (3,), "rates": (0.01, 0.1, 0.5), "backends": ("numpy_rnn", "torch_rnn")},
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
    return experiment, results, figure.axes[:panels], figure.axes[panels:], figure


def median(values):
    """Of all networks, at every step."""
    return np.median(values.reshape(len(values), -1), axis=1)


def test_the_series_with_its_labels_and_its_title(drawn, request):
    """The medians over the networks, in units of the series; in a sweep, of the rate with the lowest final loss."""
    experiment, results, series, _, figure = drawn
    first, last, part = VIEWS.get(request.node.callspec.params["drawn"], (1, np.inf, None))
    T, D, held_out = len(experiment.x), experiment.x.shape[-1], experiment.held_out
    mean, deviation = experiment.scaling or (np.zeros(D), np.ones(D))
    if experiment.rates:
        best = next(iter(results.values())).best_rate()
        results = {name: result.of_rate(best) for name, result in results.items()}
    for feature, axes in enumerate(series):
        columns = {"actual": (1, np.concatenate([experiment.x, experiment.target[-1:]])[:, 0, feature])}
        for name, result in results.items():
            by, P = f", {name}" if len(results) > 1 else "", len(result.predictions)
            y, after = result.predictions[..., 0, feature], result.generated[..., 0, feature]
            columns["predicted" + by] = T + 2 - P, y
            if len(after):
                before = y[P - held_out - 1 :][:1] if held_out < P else after[:0]  # on from the last one trained on
                columns["free-running" + by] = T + 2 - held_out - len(before), np.concatenate([before, after])
        expected = {}
        for label, (begin, values) in columns.items():
            times = np.arange(begin, begin + len(values))
            is_shown = (times >= first) & (times <= last)
            if is_shown.any():
                expected[label] = times[is_shown], (median(values) * deviation[feature] + mean[feature])[is_shown]
        shown = lines(axes)
        assert list(shown) == list(expected)
        assert feature > 0 or [text.get_text() for text in axes.get_legend().get_texts()] == list(expected)
        for label, (times, values) in expected.items():
            assert bits(shown[label].get_xdata()) == bits(times)
            assert_within(np.asarray(shown[label].get_ydata()), values, 1e-12)
        assert (shown["actual"].get_marker() == "o") == (len(expected["actual"][0]) <= 100)  # points, or a line
        assert axes.get_ylabel() == ("value (units of the series)" if D == 1 else f"feature {feature + 1}")
    assert series[-1].get_xlabel() == "time (steps)"
    title, networks = figure.get_suptitle(), next(iter(results.values())).predictions[0].size // D
    assert title.startswith(f"{' and '.join(results)}: made up, one step ahead")
    ensemble = f"medians of {networks} networks, bands from their 10th to their 90th percentile"
    assert (ensemble in title) == (networks > 1)
    assert ("the first 4 of 6 features" in title) == (D == 6)
    assert ("with the lowest final loss" in title) == bool(experiment.rates)
    assert f", {part}" in title if part else "steps" not in title


def test_the_border_is_before_the_first_row_that_was_not_trained_on(drawn):
    experiment, _, series, _, _ = drawn
    for axes in series:
        borders = [line for line in axes.lines if line.get_label() == "_border"]
        assert [word.get_text() for word in axes.texts] == ["held out →"] * len(borders)
        assert len(borders) == (experiment.held_out > 0)
        for border, word in zip(borders, axes.texts):
            assert list(border.get_xdata()) == [len(experiment.x) + 1 - experiment.held_out + 0.5] * 2
            frame, box = axes.get_window_extent(), word.get_window_extent()
            highest = max(np.max(line.get_ydata()) for line in lines(axes).values())
            at, top = axes.transData.transform((border.get_xdata()[0], highest))
            assert frame.x0 < box.x0 < box.x1 < frame.x1
            assert min(abs(box.x0 - at), abs(box.x1 - at)) < 10  # points
            assert box.y0 > top


def test_the_losses(drawn):
    experiment, results, _, panels, _ = drawn
    assert len(panels) == any(len(result.losses) for result in results.values())
    for axes in panels:
        curves = {name: result.losses for name, result in results.items()}
        if experiment.rates:
            labels = "{:g}" if len(results) == 1 else "{:g}, {}"
            numbers = list(enumerate(experiment.rates))
            curves = {labels.format(rate, name): curves[name][:, n] for name in results for n, rate in numbers}
        shown = lines(axes)
        assert list(shown) == list(curves)
        for name, losses in curves.items():
            epochs = len(losses)
            assert bits(shown[name].get_xdata()) == bits(np.arange(1, epochs + 1))
            assert_within(shown[name].get_ydata(), median(losses), 1e-12)
        if not experiment.rates:
            parts = [np.percentile(of.reshape(len(of), -1), (10, 50, 90), axis=1) for of in curves.values()]
            assert axes.get_yscale() == ("log" if np.max(parts) > 4 * np.min(parts) else "linear")
        what = "median loss" if len(experiment.rates) == 9 else "loss of an epoch"
        units = ",\nin standardized units" if experiment.scaling else ""
        units += ", log scale" if axes.get_yscale() == "log" else ""
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", f"{what}\n(half squared error{units})")
        assert axes.get_xlim()[0] < 1 <= epochs < axes.get_xlim()[1]


@pytest.mark.parametrize("drawn", ["rates-and-seeds", "rates-compared"], indirect=True)
def test_every_rate_is_named_beside_the_end_of_its_curve(drawn):
    experiment, results, _, [axes], figure = drawn
    *words, head = axes.texts
    assert head.get_text() == "rate"
    name = "" if len(results) == 1 else f", {next(iter(results))}"
    ends = {f"{rate:g}": lines(axes)[f"{rate:g}{name}"] for rate in experiment.rates}
    in_order = sorted(ends, key=lambda rate: ends[rate].get_ydata()[-1])
    weights = ["bold"] + ["normal"] * (len(words) - 1)
    found = [(word.get_text(), word.get_weight(), word.get_color()) for word in words]
    assert found == [(rate, weight, ends[rate].get_color()) for rate, weight in zip(in_order, weights, strict=True)]
    boxes = [word.get_window_extent() for word in axes.texts]
    frame, canvas = axes.get_window_extent(), figure.bbox
    assert all(box.x0 > frame.x1 and box.x1 <= canvas.x1 and box.y1 <= canvas.y1 for box in boxes)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])


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
    experiment, *_, figure = drawn
    for axes in figure.axes:
        looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines(axes).values()]
        assert {color for color, *_ in looks} <= OKABE_ITO
        if not (axes is figure.axes[-1] and experiment.rates):  # there every curve is labelled at its end
            black = [label for label, look in zip(lines(axes), looks) if look[0] == "#000000"]
            assert black in ([], ["actual"])
            looks = [forms for color, *forms in looks if color != "#000000"]
        assert len(set(map(tuple, looks))) == len(looks)


@pytest.mark.parametrize("left_out", [(), (2,)], ids=["all", "one diverged"])
def test_lines_and_bands_are_medians_and_percentiles_of_the_networks_that_converged(left_out):
    experiment, results = made_up(E=(5,))
    result = results["numpy_rnn"]
    for network in left_out:
        result.losses[-1, network] = result.predictions[-1, network] = result.generated[-1, network] = np.nan
    series, losses = plots.figure(experiment, results).axes
    after = np.concatenate([result.predictions[-1:], result.generated])
    shown = zip((*series.lines[1:], *losses.lines), (*series.collections, *losses.collections), strict=True)
    parts = (result.predictions[..., 0, 0], after[..., 0, 0], result.losses)
    for (line, band), values in zip(shown, parts, strict=True):
        low, middle, high = np.percentile(np.delete(values, left_out, axis=1), (10, 50, 90), axis=1)
        assert_within(line.get_ydata(), middle, 1e-12)
        corners = band.get_paths()[0].vertices[:, 1]
        assert all(np.abs(corners - value).min() <= 1e-12 for value in (*low, *high))
        assert np.ptp(corners) <= np.max(high) - np.min(low) + 1e-12
    assert f"medians of {5 - len(left_out)} networks" in series.figure.get_suptitle()


def test_a_rate_far_above_the_others_leaves_the_panel():
    experiment, results = made_up(E=(3,), rates=(0.01, 0.1, 50.0))
    losses = results["numpy_rnn"].losses
    losses[:, 2] = 1e9
    axes = plots.figure(experiment, results).axes[-1]
    low, high = axes.get_ylim()
    assert low <= losses[:, :2].min() < losses[:, :2].max() <= high < 2 * losses[:, :2].max()
    assert [word.get_text() for word in axes.texts[-2:]] == ["50 ↑", "rate"]


def test_rates_that_diverged_are_named_and_their_networks_left_out():
    """And so is a second backend in the series, if it diverged at the rate that is best with the first."""
    experiment, results = made_up(E=(3, 4), rates=(0.01, 0.1, 50.0), backends=("numpy_rnn", "torch_rnn"))
    result, other = results.values()
    result.losses[-1, 2] = np.inf
    result.predictions[3, 0, 1] = np.nan
    result.losses[-1, 1] = 1e-3  # the best
    figure = plots.figure(experiment, {"numpy_rnn": result})
    axes = figure.axes[-1]
    assert list(lines(axes)) == ["0.01", "0.1"]
    assert [word.get_text() for word in axes.texts] == ["0.1", "0.01 (3 of 4)", "rate"]
    assert axes.get_title(loc="left") == "diverged at 50"
    assert_within(lines(axes)["0.01"].get_ydata(), median(np.delete(result.losses[:, 0], 1, axis=1)), 1e-12)
    assert "learning rate 0.1, the one of 3 with the lowest final loss" in figure.get_suptitle()
    other.losses[-1, 1] = np.inf
    series, losses = plots.figure(experiment, results).axes
    assert list(lines(series)) == ["actual", "predicted, numpy_rnn", "free-running, numpy_rnn"]
    assert list(lines(losses)) == ["0.01, numpy_rnn", "0.1, numpy_rnn", "0.01, torch_rnn", "50, torch_rnn"]


def test_the_drift_of_two_runs_has_a_panel_of_its_own():
    """Above it are the losses, of a long run over the epochs that are kept."""
    drift, spread, kept = np.array([0.0, 1e-8, 3e-7]), np.array([2e-7, 2e-7, 9e-7]), np.array([1, 4, 8, 9])
    experiment, results = made_up(epochs=4)
    long = {name: result._replace(epochs=kept) for name, result in results.items()}
    *_, losses, panel = plots.figure(experiment, long, drift=(drift, spread)).axes
    assert bits(losses.lines[0].get_xdata()) == bits(kept)
    shown = {line.get_label(): line.get_ydata() for line in panel.lines}
    assert shown["runs that start an ulp apart"].tolist() == spread.tolist()
    # no drift has no place on a logarithmic axis
    assert bits(np.asarray(shown["these runs"])) == bits(np.array([np.nan, *drift[1:]]))
    assert (losses.get_xlabel(), panel.get_xlabel(), panel.get_yscale()) == ("epoch", "epoch", "log")


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
    figure = plots.figure(experiment._replace(name=names[2], columns=tuple(names)), results)
    figure.savefig(io.BytesIO(), format="svg")  # raises where a name is taken for a formula, warns of missing glyphs
    *series, losses = figure.axes
    assert [axes.get_ylabel() for axes in series] == drawable
    assert f": {ODD_NAMES[names[2]]}, one step ahead" in figure.get_suptitle()
    legends = [*series[0].get_legend().get_texts(), *losses.get_legend().get_texts()]
    shown = " ".join(text.get_text() for text in legends)
    assert all(shown.count(name) == 3 for name in drawable)  # predicted, free-running, and the losses
    assert not any(text.get_parse_math() for text in (figure._suptitle, *(a.yaxis.label for a in series), *legends))
    experiment, results = made_up()
    one = plots.figure(experiment._replace(name=9 * "a long name ", columns=("spots",)), results)
    assert one.axes[0].get_ylabel() == "spots"  # a single column is named too
    assert f": {(9 * 'a long name ')[:57]}..., one step ahead" in one.get_suptitle()


@pytest.mark.parametrize("ending", plots.ENDINGS)
def test_the_kinds_of_file(ending):
    plots.draw(*made_up(), path="a" + ending.upper())
    begin = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".jpg": b"\xff\xd8\xff"}[ending]
    assert Path("a" + ending.upper()).read_bytes().startswith(begin)
    assert os.listdir() == ["a" + ending.upper()]


@pytest.mark.parametrize("options", [[], ["--plot", "a.png"]])
def test_the_plot_of_the_default_experiment_shows_its_run(rnn, capsys, monkeypatch, options):
    drawn = []
    monkeypatch.setattr(plots, "draw", lambda *arguments: drawn.append(arguments))
    out = succeed(rnn, capsys, "--epochs", 3, *options)
    name = options[1] if options else f"{rnn.__name__}.png"
    [(experiment, results, *rest)] = drawn
    configuration = configured("--epochs 3")
    assert bits(tuple(experiment[1:])) == bits(tuple(prepare(configuration)[1:]))
    assert list(results) == [rnn.__name__]
    assert bits(tuple(results[rnn.__name__])) == bits(tuple(trained(rnn, configuration, 20)))
    assert rest == [name, False, None, None]
    assert out.endswith(f"\nplot saved to {name}\n")
    compare = parser("numpy_rnn").parse_args(["compare", "other", *options])
    assert plots.plot_target(compare, "numpy_rnn") == (options[1] if options else "compare.png", False)


@pytest.mark.parametrize("options", [[], ["--plot", "a.png"]])
def test_show_opens_a_window_and_writes_a_file_only_when_asked(capsys, monkeypatch, options):
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(plt, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.get_fignums())))
    out = succeed(numpy_rnn, capsys, "--epochs", 1, "--show", *options)
    assert (shown, plt.get_fignums(), os.listdir()) == ([1], [], options[1:])
    assert ("plot saved" in out) == bool(options)
    monkeypatch.setattr(plt, "get_backend", lambda: "svg")
    assert refused(numpy_rnn, capsys, "--show") == "--show: there is no display for a window; use --plot FILE instead"
