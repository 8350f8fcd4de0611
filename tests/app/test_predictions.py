"""Predictions, and the tables and plots of made-up numbers, which can be checked by
eye.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app.data import Series
from numpy_rnn.app.experiment import Curve, Training
from numpy_rnn.app.train_command import error_table, predict
from numpy_rnn.app.train_plot import STYLES, draw_result
from numpy_rnn.common.records import Run
from tests.helpers.command_line import command, refused, succeed, train_options


def made_up(T=5, D=1, N=1, held_out=0):
    """Return a series, and curves of random numbers for it."""
    generator = np.random.default_rng(T)
    rows = generator.normal(size=(T + 1, D))
    columns = tuple(f"feature {n + 1}" for n in range(D))
    curves = {"actual": Curve(1, rows[:, None])}
    for kind, shape in (("loss", (3, N, 1)), ("predicted", (T, N, D))):
        curves[kind] = Curve(2, generator.random(shape))
    curves["free-running"] = Curve(T + 2, generator.random((3, N, D)))
    series = Series("", rows, rows, D, columns, held_out=held_out)
    return series, curves


def test_table_has_the_median_errors_of_networks():
    """The table has a line for each part and column, in their order."""
    series, curves = made_up(T=50, D=4, N=3, held_out=9)
    rows = series.rows
    predicted = curves["predicted"].values
    _, *lines, advice = error_table(series, predicted)
    worse = "the network is not better than persistence for feature 1"
    assert advice.partition(":")[0] == worse
    assert len({*map(len, lines)}) == 1
    errors = predicted - rows[1:, None]
    changes = np.diff(rows, axis=0)
    for part, steps in enumerate((slice(41), slice(41, 50))):
        network = np.median(np.sqrt((errors[steps] ** 2).mean(axis=0)), axis=0)
        naive = np.sqrt((changes[steps] ** 2).mean(axis=0))
        for line, numbers in zip(lines[4 * part :], zip(network, naive)):
            assert line.startswith(("trained on", "held out")[part])
            assert line.split()[-2:] == [f"{number:.6f}" for number in numbers]


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

    series, curves = made_up(D=6, N=11, held_out=2)
    draw_result(figure := Figure(), series, "title", curves)
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    losses = panels.pop("loss of an epoch (log scale)")
    assert list(panels) == list(series.columns[:4])
    for feature, axes in enumerate(panels.values()):
        lines = {line.get_label(): line.get_data() for line in axes.lines}
        for label in STYLES:
            times, drawn = lines[label]
            first, values = curves[label]
            assert list(times) == [*range(first, first + len(values))]
            assert list(drawn) == list(np.median(values[..., feature], axis=1))
        assert "held out from here on" in lines
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
