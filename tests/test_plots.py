"""The pictures: what is drawn is what was computed, at the right times, and nothing covers anything."""

import numpy as np
import pytest
from cases import assert_within, bits

import numpy_rnn
from numpy_rnn.common import plots
from numpy_rnn.common.experiment import Experiment, Result

pytestmark = pytest.mark.needs_matplotlib

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}


def made_up(T=20, D=1, E=(), G=5, epochs=7, backends=("numpy_rnn",)):
    """An Experiment and Results of random numbers."""
    generator = np.random.default_rng(0)
    x, target = generator.normal(size=(2, T, 1, D))
    experiment = Experiment("made up", x, target, np.zeros((1, 6)), numpy_rnn.initial_parameters(D, 6, D))

    def result():
        losses = np.exp(generator.normal(size=(epochs, *E)))
        y, following = generator.normal(size=(T, *E, 1, D)), generator.normal(size=(G, *E, 1, D))
        return Result(losses, experiment.params, y, following)

    return experiment, {name: result() for name in backends}


KINDS: dict[str, dict] = {
    "one network": {},
    "one epoch": {"epochs": 1},
    "no epochs": {"epochs": 0},
    "nothing generated": {"G": 0},
    "ensemble": {"E": (5,)},
    "features": {"D": 3},
    "many features": {"D": 6, "E": (4,)},
    "long": {"T": 500},
    "compared": {"backends": ("numpy_rnn", "torch_rnn")},
    "ensembles compared": {"backends": ("numpy_rnn", "torch_rnn"), "E": (5,)},
    "long names compared": {"backends": ("my_own_rnn_in_rust", "another_rnn_in_fortran"), "E": (3,)},
}


@pytest.fixture(params=KINDS)
def drawn(request):
    """Experiment, results, panels of the series, panel of the losses (if any), and the figure."""
    experiment, results = made_up(**KINDS[request.param])
    figure = plots.figure(experiment, results)
    panels = min(experiment.x.shape[-1], 4)
    series, losses = figure.axes[:panels], figure.axes[panels:]
    return experiment, results, series, losses, figure


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_the_series(drawn):
    experiment, results, series, *_ = drawn
    T = len(experiment.x)
    for feature, axes in enumerate(series):
        by_label = lines(axes)
        assert bits(by_label["actual"].get_xdata()) == bits(np.arange(1, T + 1))
        assert bits(by_label["actual"].get_ydata()) == bits(experiment.x[:, 0, feature])
        expected = ["actual"]
        for name, result in results.items():
            by = f", {name}" if len(results) > 1 else ""
            y = result.predictions[..., 0, feature].reshape(T, -1)
            assert bits(by_label["predicted" + by].get_xdata()) == bits(np.arange(2, T + 2))
            assert_within(by_label["predicted" + by].get_ydata(), np.median(y, axis=1), 1e-12)
            expected.append("predicted" + by)
            G = len(result.generated)
            if G:
                after = result.generated[..., 0, feature].reshape(G, -1)
                line = by_label["free-running" + by]
                assert bits(line.get_xdata()) == bits(np.arange(T + 1, T + G + 2))  # on from the last prediction
                assert_within(line.get_ydata(), np.median(np.concatenate([y[-1:], after]), axis=1), 1e-12)
                expected.append("free-running" + by)
        assert list(by_label) == expected


def test_the_losses(drawn):
    _, results, _, panels, _ = drawn
    assert len(panels) == any(len(result.losses) for result in results.values())
    for axes in panels:
        assert list(lines(axes)) == list(results)
        for name, result in results.items():
            epochs = len(result.losses)
            assert bits(lines(axes)[name].get_xdata()) == bits(np.arange(1, epochs + 1))
            medians = np.median(result.losses.reshape(epochs, -1), axis=1)
            assert_within(lines(axes)[name].get_ydata(), medians, 1e-12)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "loss of an epoch\n(half squared error)")
        low, high = axes.get_xlim()
        assert low < 1 <= epochs < high


def test_bands_reach_from_the_10th_to_the_90th_percentile():
    experiment, results = made_up(E=(5,))
    figure = plots.figure(experiment, results)
    predicted, free_running = figure.axes[0].collections
    [loss] = figure.axes[1].collections
    result = results["numpy_rnn"]
    after = np.concatenate([result.predictions[-1:], result.generated])
    for drawn, values in (
        (predicted, result.predictions[..., 0, 0]),
        (free_running, after[..., 0, 0]),
        (loss, result.losses),
    ):
        corners = drawn.get_paths()[0].vertices[:, 1]
        for edge in np.percentile(values, (10, 90), axis=1):
            assert all(np.abs(corners - value).min() <= 1e-12 for value in edge)


def test_a_network_that_diverged_is_not_drawn():
    experiment, results = made_up(E=(5,))
    result = results["numpy_rnn"]
    for gone in (result.losses, result.predictions, result.generated):
        gone[-1, 2] = np.nan
    axes = plots.figure(experiment, results).axes
    after = np.concatenate([result.predictions[-1:], result.generated])[..., 0, 0]
    for line, values in zip(
        (*axes[0].lines[1:], axes[1].lines[0]), (result.predictions[..., 0, 0], after, result.losses), strict=True
    ):
        assert_within(line.get_ydata(), np.median(np.delete(values, 2, axis=1), axis=1), 1e-12)
    assert "medians of 4 networks" in axes[0].figure.get_suptitle()


def test_the_title_says_what_is_drawn(drawn):
    experiment, results, _, _, figure = drawn
    title = figure.get_suptitle()
    assert title.startswith(f"{' and '.join(results)}: made up, one step ahead")
    networks = next(iter(results.values())).predictions[0].size // experiment.x.shape[-1]
    ensemble = f"medians of {networks} networks, bands from their 10th to their 90th percentile"
    assert (ensemble in title) == (networks > 1)
    assert ("the first 4 of 6 features" in title) == (experiment.x.shape[-1] == 6)


def test_the_axes_are_labelled(drawn):
    experiment, _, series, *_ = drawn
    assert series[-1].get_xlabel() == "time (steps)"
    if experiment.x.shape[-1] == 1:
        assert series[0].get_ylabel() == "value (units of the series)"
    else:
        assert [axes.get_ylabel() for axes in series] == [f"feature {n}" for n in range(1, len(series) + 1)]


def test_legends_cover_nothing_and_everything_is_inside(drawn):
    *_, figure = drawn
    figure.draw_without_rendering()  # lays everything out
    legends = [axes.get_legend() for axes in figure.axes if axes.get_legend() is not None]
    assert legends[0].axes is figure.axes[0]
    assert [text.get_text() for text in legends[0].get_texts()] == list(lines(figure.axes[0]))
    assert len(legends) == (2 if len(drawn[1]) > 1 else 1)
    frames = [axes.get_window_extent() for axes in figure.axes]
    boxes = [legend.get_window_extent() for legend in legends]
    assert not any(box.overlaps(frame) for box in boxes for frame in frames)
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    for box in (*frames, *boxes, figure._suptitle.get_window_extent()):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
    assert all(frame.width > 0.2 * figure.bbox.width for frame in frames)


def test_what_the_colour_blind_cannot_tell_apart_differs_in_form(drawn):
    *_, figure = drawn
    for axes in figure.axes:
        assert {line.get_color() for line in axes.lines} <= OKABE_ITO
        coloured = [line for line in axes.lines if line.get_color() != "#000000"]
        forms = [(line.get_marker(), line.get_linestyle()) for line in coloured]
        assert len(set(forms)) == len(forms)
        assert [line.get_label() for line in axes.lines if line not in coloured] in ([], ["actual"])


def test_short_series_are_points_and_long_ones_lines():
    for T, marks in ((20, ["o", "s"]), (500, ["", ""])):
        drawn = plots.figure(*made_up(T=T, G=0)).axes[0].lines
        assert [line.get_marker().replace("None", "") for line in drawn] == marks
        assert [line.get_linestyle() == "None" for line in drawn] == [T == 20] * 2


def test_the_drift_of_two_runs_has_a_panel_of_its_own():
    experiment, results = made_up(T=20, G=5)
    drift, spread = np.array([0.0, 1e-8, 3e-7]), np.array([2e-7, 2e-7, 9e-7])
    *_, losses, panel = plots.figure(experiment, results, drift=(drift, spread)).axes
    shown = {line.get_label(): line.get_ydata() for line in panel.lines}
    assert shown["runs that start an ulp apart"].tolist() == spread.tolist()
    assert shown["these two"][1:].tolist() == drift[1:].tolist()  # no drift has no place on a logarithmic axis
    assert np.isnan(shown["these two"][0])
    assert (panel.get_xlabel(), panel.get_yscale()) == ("epoch", "log")
    assert losses.get_xlabel() == "epoch"
