"""Predictions, and the tables and plots of made-up numbers, which can be checked by
eye.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app.experiment import Curve, Training
from numpy_rnn.app.series import Series
from numpy_rnn.app.train_plot import STYLES, draw_result
from numpy_rnn.app.train_report import error_table, predict
from numpy_rnn.common.records import Run
from tests.helpers.command_line import command, refused, succeed, train_options

TABLE = """
one step ahead, root mean square error   network    persistence baseline
trained on, 3 steps: a                   0.707107   1.414214
trained on, 3 steps: b                   1.500000   0.000000
held out, 1 step: a                      2.000000   0.000000
held out, 1 step: b                      1.500000   3.000000
the network is not better than persistence for b: try more --epochs, or another --learning-rate
"""  # noqa: E501


def test_table_has_the_median_errors_of_networks():
    """The errors of three networks are those of `errors`, halved in the median."""
    rows = np.array([[0.0, 0], [1, 0], [2, 0], [4, 0], [4, 3]])
    errors = np.array([[1.0, 3], [1, 3], [2, 3], [4, 3]])
    predicted = rows[1:, None] + errors[:, None] * np.array([[9.0], [0.5], [0.0]])
    series = Series("", rows, rows, 2, ("a", "b"), held_out=1)
    assert error_table(series, predicted) == TABLE.strip().splitlines()


@pytest.mark.parametrize("networks", [(), (3,)])
@pytest.mark.parametrize("held_out", [0, 30])
def test_free_running_network_is_fed_its_own_outputs(rnn, networks, held_out):
    """The output of the network is x_t + 2 x_{t-1}, without rounding. Predictions of
    one step ahead are fed the series.
    """
    weights = np.eye(1, 2), np.eye(2, k=1), np.array([[1.0], [2.0]])
    params = Parameters(*(np.broadcast_to(W, (*networks, *W.shape)) for W in weights))
    x = np.random.default_rng(3).integers(0, 9, (50, 1, 1)).astype(float)
    state = np.array([[3.0, 0.0]])  # the input before the first is 3
    series = Series("", np.append(x, x[:1], 0), x, 1, held_out=held_out)
    options = train_options("--nonlinearity relu").run_options()
    training = Training(rnn, Run(params, x, x, state, options))
    curves = predict(training, series)
    before = np.append(3, x)
    expected = before[1:] + 2 * before[:-1]
    assert (expected == curves["predicted"].values[..., 0].T).all()
    border = 50 - held_out
    steps = held_out or 20
    fed = [before[border], expected[border - 1]]
    while len(fed) < steps + 2:
        fed.append(fed[-1] + 2 * fed[-2])
    assert (fed[2:] == curves["free-running"].values[..., 0].T).all()


@pytest.mark.needs_matplotlib
def test_plot_has_the_values_at_their_times():
    """The lines are medians of the networks, and the bands percentiles: of 11 networks
    they are numbers of these, so that nothing rounds.
    """
    from matplotlib.figure import Figure

    generator = np.random.default_rng(1)
    curves = {}
    for first, kind in enumerate((*STYLES, "loss")):
        curves[kind] = Curve(first, generator.random((5, 11, 6)))
    columns = [f"feature {n}" for n in range(6)]
    series = Series("", np.ones(6), np.ones(6), 6, columns, held_out=2)
    draw_result(figure := Figure(), series, "title", curves)
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    losses = panels.pop("loss of an epoch (log scale)")
    assert list(panels) == columns[:4]
    for feature, axes in enumerate(panels.values()):
        lines = {line.get_label(): line.get_data() for line in axes.lines}
        for label in STYLES:
            times, drawn = lines[label]
            first, values = curves[label]
            assert list(times) == [*range(first, first + len(values))]
            assert list(drawn) == list(np.median(values[..., feature], axis=1))
        assert "held out from here on" in lines
    (legend,) = figure.legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {*STYLES, "held out from here on"}
    ordered = np.sort(curves["loss"].values[..., 0], axis=1)
    assert list(losses.lines[0].get_ydata()) == list(ordered[:, 5])
    (band,) = losses.collections
    assert {*band.get_paths()[0].vertices[:, 1]} == {*ordered[:, [1, 9]].flat}
    assert band.get_alpha() < 0.5  # the line is seen through it
    assert losses.get_yscale() == "log"


@pytest.mark.needs_matplotlib
def test_plots_have_the_format_of_their_names(capsys):
    """Neither LaTeX in the user's settings nor characters of names hinder the plot."""
    matplotlib = pytest.importorskip("matplotlib")
    table = '"$\\foo 漢","b"\n1,2\n2,1\n3,5\n4,3\n'
    Path("$x_ 漢.csv").write_text(table, encoding="utf-8")
    with matplotlib.rc_context({"text.usetex": True}):
        words = ["--data", "$x_ 漢.csv", "--epochs", 1, "--plot", "a.SVG"]
        assert succeed(numpy_rnn, capsys, *words).endswith("plot saved to a.SVG\n")
    assert Path("a.SVG").read_bytes().startswith(b"<?xml")
    out = succeed(numpy_rnn, capsys, "--epochs", 0)
    assert out.endswith("plot saved to numpy_rnn.png\n")
    assert Path("numpy_rnn.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_a_plot_that_is_asked_for_is_refused(capsys, monkeypatch):
    """A plot that is not asked for is left out."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = command(numpy_rnn, capsys, "--epochs", 1)
    assert (ended.status, ended.err[:19]) == (0, "numpy_rnn: no plot:")
    message = refused(numpy_rnn, capsys, "--plot", "b.png")
    assert "install it, or use --no-plot" in message
