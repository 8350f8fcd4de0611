"""Predictions, and the tables and plots of made-up numbers, which can be checked by
eye.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import plots, tables
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.predictions import Result, predict
from numpy_rnn.common.records import Objective
from tests.helpers.command_line import command, refused, succeed


def made_up(T=5, D=1, N=1, G=3, held_out=0):
    """Return an experiment and a result of random numbers."""
    generator = np.random.default_rng(T)
    rows = generator.normal(size=(T + 1, D))
    columns = tuple(f"feature {n + 1}" for n in range(D))
    params = Parameters(*(np.zeros((N, *shape)) for shape in ((D, 6), (6, 6), (6, D))))
    data = rows[:-1, None], rows[1:, None], np.zeros((1, 6)), params
    shapes = (3, N), (T, N, D), (G, N, D)
    result = Result(*(generator.random(shape) for shape in shapes))
    made = Experiment("made up", *data, series=rows, columns=columns, held_out=held_out)
    return made, result


def test_tables_have_the_medians_of_networks_that_converged():
    """The last 40 rows of a long series, and the first three of many columns."""
    experiment, result = made_up(T=50, D=4, N=4, G=9, held_out=9)
    result.predictions[2, 1] = np.inf
    fine = [0, 2, 3]
    _, first, *body = tables.series_table(experiment, result)
    assert (first, len(body)) == ("...  (10 earlier times)", 40)
    one, free = (np.median(curve[:, fine], axis=1) for curve in result[1:])
    actual, changes = experiment.series[1:], np.diff(experiment.series, axis=0)
    curves = np.stack([actual[41:], one[41:], free], axis=-1)[..., :3, :]
    for t, line in enumerate(body[-9:]):
        expected = [t + 43, *curves[t].ravel()]
        np.testing.assert_allclose([*map(float, line.split())], expected, atol=1e-6)
    _, *lines, advice = tables.error_table(experiment, result)
    assert advice.startswith("the network is not better than persistence for feature 1")
    errors = result.predictions[:, fine] - actual[:, None]
    for part, steps in enumerate((slice(41), slice(41, 50))):
        network = np.median(np.sqrt((errors[steps] ** 2).mean(axis=0)), axis=0)
        naive = np.sqrt((changes[steps] ** 2).mean(axis=0))
        for line, numbers in zip(lines[4 * part :], zip(network, naive)):
            assert line.startswith(("trained on", "held out")[part])
            found = [*map(float, line.split()[-2:])]
            np.testing.assert_allclose(found, numbers, atol=1e-6)


@pytest.mark.parametrize("E", [(), (3,)])
@pytest.mark.parametrize("held_out", [0, 30])
def test_predictions(rnn, E, held_out):
    """Of a network whose output is x_t + 2 x_{t-1}, without rounding."""
    weights = np.eye(1, 2), np.eye(2, k=1), np.array([[1.0], [2.0]])
    params = Parameters(*(np.broadcast_to(W, (*E, *W.shape)) for W in weights))
    x = np.random.default_rng(3).integers(0, 9, (50, 1, 1)).astype(float)
    state = np.array([[3.0, 0.0]])  # the input before the first is 3
    experiment = Experiment("", x, x, state, params, held_out=held_out)
    one, free = predict(rnn, params, experiment, Objective("relu"))
    before = np.append(3, x)
    expected = before[1:] + 2 * before[:-1]
    np.testing.assert_array_equal(one.reshape(50, -1).T - expected, 0)
    border = 50 - held_out
    fed = [before[border], expected[border - 1]]
    while len(fed) < (held_out or 20) + 2:
        fed.append(fed[-1] + 2 * fed[-2])
    np.testing.assert_array_equal(free.reshape(len(fed) - 2, -1).T - fed[2:], 0)


def lines(axes):
    return {line.get_label(): [*map(list, line.get_data())] for line in axes.lines}


KINDS: list[dict] = [{"T": 20}, {"D": 6, "N": 4}, {"T": 140, "held_out": 12, "D": 2}]


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("kind", KINDS)
def test_plot_has_the_values_at_their_times(kind):
    """Medians over the networks that converged."""
    from matplotlib.figure import Figure

    experiment, result = made_up(**kind)
    if "N" in kind:
        result.losses[-1, 1] = np.nan
    fine = result.converged()
    plots.draw_result(figure := Figure(), experiment, "numpy_rnn", result)
    *series, losses = figure.axes
    assert len(series) == min(len(experiment.columns), 4)
    for feature, axes in enumerate(series):
        shown = lines(axes)
        for label, (begin, values) in result.curves(experiment).items():
            times, found = shown[label]
            if label == "actual":
                begin, medians = 1, experiment.series[:, feature]
            else:
                medians = np.median(values[:, fine][..., feature], axis=1)
            assert times == [*range(begin, begin + len(medians))]
            np.testing.assert_allclose(found, medians, rtol=1e-12)
        assert ("held out from here on" in shown) == bool(experiment.held_out)
    low, medians, high = np.percentile(result.losses[:, fine], (10, 50, 90), axis=1)
    assert [*lines(losses).values()] == [[[1, 2, 3], medians.tolist()]]
    corners = losses.collections[0].get_paths()[0].vertices[:, 1]
    assert all(np.abs(corners - value).min() <= 1e-12 for value in (*low, *high))
    assert losses.get_yscale() == "log"


@pytest.mark.needs_matplotlib
def test_plot_files(capsys, monkeypatch):
    """Their formats, LaTeX in the settings of the user, names of any characters, and no
    plot.
    """
    matplotlib = pytest.importorskip("matplotlib")
    Path("$x_ 漢.csv").write_text(
        '"$\\foo 漢","b"\n1,2\n2,1\n3,5\n4,3\n', encoding="utf-8"
    )
    starts = {"a.pdf": b"%PDF", "a.SVG": b"<?xml", "a.jpg": b"\xff\xd8"}
    with matplotlib.rc_context({"text.usetex": True}):
        for name, start in starts.items():
            words = ["--data", "$x_ 漢.csv", "--epochs", 1, "--plot", name]
            out = succeed(numpy_rnn, capsys, *words)
            assert out.endswith(f"plot saved to {name}\n")
            assert Path(name).read_bytes().startswith(start)
    out = succeed(numpy_rnn, capsys, "--epochs", 1)
    assert out.endswith("plot saved to numpy_rnn.png\n")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ended = command(numpy_rnn, capsys, "--epochs", 1)
    assert (ended.status, ended.err[:19]) == (0, "numpy_rnn: no plot:")
    message = refused(numpy_rnn, capsys, "--plot", "b.png")
    assert "install it, or use --no-plot" in message


def test_numbers_of_a_table_are_below_each_other():
    rows = [["time", "actual", "predicted"], ["3", "-0.5", "12"], ["10", "0.25", "1"]]
    assert tables.format_table(rows) == [
        "time  actual  predicted",
        "3       -0.5         12",
        "10      0.25          1",
    ]
