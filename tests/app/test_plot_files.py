"""Where the plot of a run goes: the kinds of file, a window, and what is left if it cannot be written."""

import os
from pathlib import Path

import pytest
from comparing import bits
from in_process import configured, succeed, trained
from made_up import made_up

import numpy_rnn
from numpy_rnn.app import plots
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import parser

pytestmark = pytest.mark.needs_matplotlib


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
    [(experiment, results, path, show, drift, of_text)] = drawn
    configuration = configured("--epochs 3")
    assert bits(tuple(experiment[1:])) == bits(tuple(prepare(configuration)[1:]))
    assert bits(tuple(results[rnn.__name__])) == bits(tuple(trained(rnn, configuration, 20)))
    assert (list(results), path, show, drift, of_text) == ([rnn.__name__], name, False, None, None)
    assert out.endswith(f"\nplot saved to {name}\n")
    compare = parser("numpy_rnn").parse_args(["compare", "other", *options])
    assert plots.plot_target(compare, "numpy_rnn") == (options[1] if options else "compare.png", False)


@pytest.mark.parametrize("options", [[], ["--plot", "a.png"]])
def test_show_opens_a_window_and_writes_a_file_only_when_asked(capsys, monkeypatch, options):
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(plt, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    out = succeed(numpy_rnn, capsys, "--epochs", 1, "--show", *options)
    assert [len(figures) for figures in shown] == [1]
    assert plt.get_fignums() == []
    assert os.listdir() == options[1:]
    assert ("plot saved" in out) == bool(options)
