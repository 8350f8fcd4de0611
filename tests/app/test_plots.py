"""The plots: the data is that of the run, at the right times, nothing covers anything; and where a plot goes."""

import re
from pathlib import Path

import numpy as np
import pytest
from comparing import assert_within
from in_process import succeed
from inline_snapshot import snapshot
from made_up import lines, made_up

import numpy_rnn
from numpy_rnn.app import plots

pytestmark = pytest.mark.needs_matplotlib

KINDS: dict[str, dict] = {
    "one epoch": {"epochs": 1, "G": 0},
    "no epochs": {"T": 20, "epochs": 0},
    "columns": {"D": 6, "E": (4,)},
    "compared": {"backends": ("my_own_rnn_in_rust", "another_rnn_in_fortran"), "E": (3,)},
    "held out": {"T": 40, "held_out": 12, "G": 12, "scaled": True, "D": 2},
    "some held-out rows without predictions": {"T": 40, "P": 10, "held_out": 12, "G": 5},
    "last steps and held out": {"T": 3309, "held_out": 1200, "G": 1220, "P": 500},
}
FIRST = {"last steps and held out": 1810}  # the first time that is drawn


@pytest.fixture(params=KINDS, scope="module")  # nothing changes a figure, and making one takes long
def drawn(request):
    """Experiment, results, panels of the series, panel of the losses (if any), the figure, the first time."""
    from matplotlib.figure import Figure

    experiment, results = made_up(**KINDS[request.param])
    figure = Figure(layout="constrained")
    drift = (
        (np.array([0.0, 1e-8, 3e-7]), np.array([2e-7, 2e-7, 9e-7]))
        if request.param == "compared"
        else None
    )
    plots.draw_results(figure, experiment, results, drift)
    figure.draw_without_rendering()
    panels = min(experiment.x.shape[-1], 4)
    losses = figure.axes[panels : panels + 1]
    return experiment, results, figure.axes[:panels], losses, figure, FIRST.get(request.param, 1)


def median(values):
    """The median of all networks, at every step."""
    return np.median(values.reshape(len(values), -1), axis=1)


def test_series_has_its_values_at_their_times(drawn):
    """The medians over the networks, in units of the series."""
    experiment, results, series, _, figure, first = drawn
    T, D, held_out = len(experiment.x), experiment.x.shape[-1], experiment.held_out
    for feature, axes in enumerate(series):
        columns = {"actual": (1, experiment.series[:, feature])}
        for name, result in results.items():
            by, P = f", {name}" if len(results) > 1 else "", len(result.predictions)
            y, after = result.predictions[..., feature], result.generated[..., feature]
            columns["predicted" + by] = T + 2 - P, y
            if len(after):
                before = (
                    y[P - held_out - 1 :][:1] if held_out < P else after[:0]
                )  # on from the last one trained on
                columns["free-running" + by] = (
                    T + 2 - held_out - len(before),
                    np.concatenate([before, after]),
                )
        shown = lines(axes)
        border = shown.pop("held out from here on", None)
        assert list(shown) == list(columns)
        assert (border is None and held_out == 0) or list(border.get_xdata()) == [
            T + 1.5 - held_out
        ] * 2
        for label, (begin, values) in columns.items():
            times = np.arange(begin, begin + len(values))
            assert list(shown[label].get_xdata()) == times[times >= first].tolist()
            drawn_values = np.asarray(shown[label].get_ydata())
            assert_within(drawn_values, median(values)[times >= first], 1e-9)  # of numbers of 1e7
    title = figure.get_suptitle()
    assert title.startswith(f"{' and '.join(results)}: made up, one step ahead")
    assert ("the first 4 of 6 features" in title) == (D == 6)
    assert (f"the last {T - first + 1} of {T} steps" in title) == (first > 1)


def test_losses_are_medians_by_epoch(drawn):
    _, results, _, panels, *_ = drawn
    assert len(panels) == any(len(result.losses) for result in results.values())
    for axes in panels:
        curves = {name: result.losses for name, result in results.items()}
        shown = lines(axes)
        assert list(shown) == list(curves)
        assert (axes.get_yscale() == "log") == ("log scale" in axes.get_ylabel())
        for name, losses in curves.items():
            assert list(shown[name].get_xdata()) == list(range(1, len(losses) + 1))
            assert_within(np.asarray(shown[name].get_ydata()), median(losses), 1e-12)


def test_axes_have_labels(drawn):
    """By the name of the column, or that of its number; all panels of the series have one axis of time."""
    experiment, _, series, losses, figure, _ = drawn
    named = experiment.column_names if len(series) > 1 or experiment.columns is not None else [None]
    assert [axes.get_ylabel() for axes in series] == [
        name or "value (units of the series)" for name in named[:4]
    ]
    assert series[-1].get_xlabel() == "time (steps)"
    for axes in figure.axes[len(series) :]:
        assert axes.get_xlabel() == "epoch"
        assert re.match(r"loss of an epoch|largest difference", axes.get_ylabel())
    for axes in losses:
        assert ("standardized units" in axes.get_ylabel()) == bool(np.ndim(experiment.deviation))


def test_nothing_covers_anything(drawn):
    *_, figure, _ = drawn
    legends = [
        axes.get_legend().get_window_extent()
        for axes in figure.axes
        if axes.get_legend() is not None
    ]
    frames = [axes.get_window_extent() for axes in figure.axes]
    boxes = [*frames, *legends]
    assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    for box in (*frames, *legends, figure._suptitle.get_window_extent()):
        assert min(box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1) >= 0
    for axes in figure.axes[: len(drawn[2])]:
        looks = [
            (line.get_color(), line.get_marker(), line.get_linestyle())
            for line in lines(axes).values()
        ]
        assert len(set(looks)) == len(looks)


def looks(figure):
    """The size of a figure, and what its panels have: place, labels, limits, scale, legend, lines and areas."""
    texts = [f"{figure.get_size_inches()}, {figure.axes[0].get_gridspec().get_width_ratios()}"]
    for axes in figure.axes:
        spec, legend = axes.get_subplotspec(), axes.get_legend()
        place = [
            tuple(each.start for each in (spec.rowspan, spec.colspan)),
            spec.get_gridspec().get_geometry(),
        ]
        texts.append(f"{place} {axes.get_xlabel()!r}, {axes.get_ylabel()!r}, {axes.get_yscale()}")
        texts += [
            f"  {line.get_label()}: {line.get_color()} {line.get_marker()} {line.get_linestyle()}"
            f" {line.get_linewidth():g} {line.get_markersize():g} {line.get_fillstyle()}"
            for line in axes.lines
        ]
        texts += [
            f"  area: {area.get_alpha()} {area.get_linewidth()}" for area in axes.collections[:1]
        ]
        if legend is not None:
            box = legend.get_bbox_to_anchor().transformed(axes.transAxes.inverted()).p0
            texts.append(
                f"  legend {legend.get_title().get_text()!r} {np.round(box, 3)} {legend._loc} {legend._ncols}"
            )
    return "\n".join(texts)


def test_looks_of_a_long_comparison():
    drift = np.array([2e-7, 2e-7, 9e-7])
    figure = figure_of(
        *made_up(E=(3,), T=620, backends=("numpy_rnn", "other", "third")), (drift, drift)
    )
    assert (figure.axes[-1].get_xlim(), looks(figure)) == (
        (0, 4),
        snapshot("""\
[12.    6.36], (8, 4)
[(0, 0), (1, 2)] 'time (steps)', 'value (units of the series)', linear
  actual: #000000 None - 1 5 full
  predicted, numpy_rnn: #E69F00 None -- 1.2 6 none
  free-running, numpy_rnn: #E69F00 None - 1.5 6 full
  predicted, other: #0072B2 None : 1.2 6 none
  free-running, other: #0072B2 None : 1.5 6 full
  predicted, third: #009E73 None -- 1.2 6 none
  free-running, third: #009E73 None -- 1.5 6 full
  area: 0.2 [0]
  legend '' [0. 1.] 3 2
[(0, 0), (2, 1)] 'epoch', 'loss of an epoch\\n(half squared error, log scale)', log
  numpy_rnn: #E69F00  - 1.5 6 full
  other: #0072B2  : 1.5 6 full
  third: #009E73  -- 1.5 6 full
  area: 0.2 [0]
  legend '' [0. 1.] 3 1
[(1, 0), (2, 1)] 'epoch', 'largest difference\\nof the losses so far (log scale)', log
  runs that start an ulp apart: #999999 None -- 1.5 6 full
  these runs: #000000 None - 1.5 6 full
  legend '' [0. 1.] 3 1\
"""),
    )


def figure_of(experiment, results, drift=None):
    from matplotlib.figure import Figure

    figure = Figure()
    plots.draw_results(figure, experiment, results, drift)
    return figure


@pytest.mark.parametrize("left_out", [(), (2,)], ids=["all", "one diverged"])
def test_bands_are_percentiles_of_the_networks_that_converged(left_out):
    experiment, results = made_up(E=(5,))
    result = results["numpy_rnn"]
    for network in left_out:
        result.losses[-1, network] = result.predictions[-1, network] = result.generated[
            -1, network
        ] = np.nan
    _, losses = figure_of(experiment, results).axes
    low, middle, high = np.percentile(
        np.delete(result.losses, left_out, axis=1), (10, 50, 90), axis=1
    )
    assert_within(np.asarray(losses.lines[0].get_ydata()), middle, 1e-12)
    corners = losses.collections[0].get_paths()[0].vertices[:, 1]
    assert all(np.abs(corners - value).min() <= 1e-12 for value in (*low, *high))
    assert f"medians of {5 - len(left_out)} networks" in losses.figure.get_suptitle()


@pytest.mark.parametrize(("loss", "scale"), [(1e-9, "log"), (0.0, "linear"), (-0.1, "linear")])
def test_axis_of_losses_has_a_place_for_all(loss, scale):
    """A loss of 0 has none on a logarithmic axis, and rounding can make that of a cross-entropy negative."""
    experiment, results = made_up()
    results["numpy_rnn"].losses[1] = loss
    assert figure_of(experiment, results).axes[1].get_yscale() == scale


def test_drift_has_a_panel():
    drift, spread = np.array([0.0, 1e-8, 3e-7]), np.array([2e-7, 2e-7, 9e-7])
    *_, panel = figure_of(*made_up(), drift=(drift, spread)).axes
    shown = {line.get_label(): list(line.get_ydata()) for line in panel.lines}
    assert shown["runs that start an ulp apart"] == spread.tolist()
    assert shown["these runs"][1:] == drift.tolist()[1:]
    assert np.isnan(shown["these runs"][0])  # no drift has no place on a logarithmic axis


def test_plot_is_written_in_the_format_of_its_ending(capsys):
    for ending, start in {
        "png": b"\x89PNG",
        "pdf": b"%PDF",
        "SVG": b"<?xml",
        "jpg": b"\xff\xd8\xff",
    }.items():
        plots.draw(f"a.{ending}", lambda plot: plot.text(0, 0, "x"))
        assert Path(f"a.{ending}").read_bytes().startswith(start)
    assert capsys.readouterr().out.startswith("plot saved to a.png\n")


def test_default_plot_has_the_name_of_the_package(capsys, monkeypatch):
    draw, drawn_results = plots.draw_results, []
    monkeypatch.setattr(
        plots,
        "draw_results",
        lambda plot, *given: (drawn_results.append(given[1]), draw(plot, *given)),
    )
    assert succeed(numpy_rnn, capsys, "--epochs", 1).endswith("plot saved to numpy_rnn.png\n")
    assert Path("numpy_rnn.png").exists()
    assert [
        [(name, len(result.losses)) for name, result in each.items()] for each in drawn_results
    ] == [[("numpy_rnn", 1)]]
