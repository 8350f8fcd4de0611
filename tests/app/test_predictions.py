"""Plots of made-up numbers, and files of predictions and losses."""

import csv
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.app.forecast import Predictions
from numpy_rnn.app.result_files import write_losses, write_predictions
from numpy_rnn.app.series import Series
from numpy_rnn.app.times import Times, steps_as_times
from numpy_rnn.app.train_plot import STYLES, Drawing, draw_result
from tests.helpers.command_line import command, refused, succeed

START = datetime(2024, 2, 27)
DAYS = [START + timedelta(days=n) for n in range(6)]
DATES = Times("date", [f"{day:%Y-%m-%d}" for day in DAYS], DAYS, "%Y-%m-%d")


def made_drawing(networks, targets, times=DATES):
    """Return six rows, of which two are held out, and a forecast of three steps."""
    generator = np.random.default_rng(1)
    columns = [f"feature {n}" for n in range(targets)]
    rows = generator.random((6, targets))
    series = Series("s", rows, rows, columns, columns, times, held_out=2)
    shapes = [(steps, networks, targets) for steps in (5, 2, 3)]
    predictions = Predictions(*map(generator.random, shapes))
    losses = generator.random((4, networks))
    return Drawing(series, predictions, losses, held_out=losses / 2)


@pytest.mark.needs_matplotlib
@pytest.mark.parametrize("times", [DATES, steps_as_times(6)])
def test_plot_has_the_values_at_their_times(times):
    """The lines are medians of the networks, and the bands percentiles: of 11 networks
    they are numbers of these, so that nothing rounds.
    """
    from matplotlib.dates import num2date
    from matplotlib.figure import Figure

    drawing = made_drawing(11, 6, times)
    draw_result(figure := Figure(), drawing, "title")
    figure.canvas.draw()
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    losses = panels.pop("loss of an epoch (log scale)")
    assert list(panels) == drawing.series.columns[:4]
    points = [*times.points, *times.followed_by(3).points]
    expected = {
        "actual": (points[:6], drawing.series.targets[:, None]),
        "predicted": (points[1:6], drawing.predictions.one_step),
        "free-running": (points[4:6], drawing.predictions.free_running),
        "forecast": (points[6:], drawing.predictions.forecast),
    }
    for index, axes in enumerate(panels.values()):
        lines = {line.get_label(): line for line in axes.lines}
        for label in STYLES:
            at, values = expected[label]
            assert list(lines[label].get_xdata()) == at
            drawn = list(lines[label].get_ydata())
            assert drawn == list(np.median(values[..., index], axis=1))
        border = lines["held out from here on"].get_xdata()[0]
        if times is DATES:
            border = num2date(lines["held out from here on"].get_xdata(False)[0])
            border = border.replace(tzinfo=None)
            ticks = [tick.get_text() for tick in axes.get_xticklabels()]
            assert "Mar" in ticks
        assert points[3] < border < points[4]
    assert axes.get_xlabel() == {"step": "time (steps)"}.get(times.name, times.name)
    (legend,) = figure.legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels == {*STYLES, "held out from here on"}
    ordered = np.sort(drawing.losses, axis=1)
    assert list(losses.lines[0].get_ydata()) == list(ordered[:, 5])
    assert list(losses.lines[1].get_ydata()) == list(ordered[:, 5] / 2)
    band = losses.collections[0]
    assert {*band.get_paths()[0].vertices[:, 1]} == {*ordered[:, [1, 9]].flat}
    assert band.get_alpha() < 0.5  # the line is seen through it
    assert losses.get_yscale() == "log"


def test_file_of_predictions():
    drawing = made_drawing(1, 2)
    series, predictions = drawing.series, drawing.predictions
    line = write_predictions("p.csv", series, predictions)
    assert line == "predictions saved to p.csv"
    with open("p.csv", newline="") as file:
        heading, *rows = csv.reader(file)
    names = [
        f"{kind} feature {n}" for n in range(2) for kind in ("actual", "predicted")
    ]
    assert heading == ["date", "part", *names]
    assert [row[0] for row in rows] == [*DATES.labels, *DATES.followed_by(3).labels]
    parts = ["trained"] * 4 + ["held out"] * 2 + ["forecast"] * 3
    assert [row[1] for row in rows] == parts
    for index in range(2):
        actual = [row[2 + 2 * index] for row in rows]
        assert list(map(float, actual[:6])) == list(series.targets[:, index])
        assert actual[6:] == [""] * 3
        first, *predicted = (row[3 + 2 * index] for row in rows)
        expected = [*predictions.one_step[:, 0], *predictions.forecast[:, 0]]
        np.testing.assert_allclose(
            list(map(float, predicted)), np.array(expected)[:, index], rtol=5e-9
        )
        assert first == ""


def test_files_of_an_ensemble():
    """Of 11 networks the percentiles are numbers of these."""
    drawing = made_drawing(11, 1)
    write_predictions("p.csv", drawing.series, drawing.predictions, "predicted")
    with open("p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    ordered = np.sort(drawing.predictions.forecast[0, :, 0])
    names = ("10 % feature 0", "predicted feature 0", "90 % feature 0")
    written = [float(rows[6][name]) for name in names]
    np.testing.assert_allclose(written, ordered[[1, 5, 9]], rtol=5e-9)
    assert rows[0]["part"] == "predicted"
    write_losses("l.csv", drawing.losses, drawing.held_out)
    with open("l.csv", newline="") as file:
        heading, *losses = csv.reader(file)
    kinds = ("training loss", "training 10 %", "training 90 %")
    assert heading == [
        *("epoch", *kinds),
        *("held-out loss", "held-out 10 %", "held-out 90 %"),
    ]
    ordered = np.sort(drawing.losses, axis=1)[:, [5, 1, 9]]
    expected = np.hstack([np.arange(1, 5)[:, None], ordered, ordered / 2])
    np.testing.assert_allclose(np.array(losses, float), expected, rtol=5e-9)


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
