"""Pictures as files and in windows: their kinds, written whole or not at all, of the run that was asked for."""

import errno
import os
from pathlib import Path

import pytest
from cases import bits
from in_process import command, contents, succeed

import numpy_rnn
from numpy_rnn.app import plots
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.run import run

pytestmark = pytest.mark.needs_matplotlib


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("ending", plots.ENDINGS)
def test_the_kinds_of_file(ending):
    configuration = Configuration(epochs=1)
    experiment = prepare(configuration)
    plots.draw(experiment, {"numpy_rnn": run(numpy_rnn, experiment, configuration)}, path="a" + ending.upper())
    begin = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml", ".jpg": b"\xff\xd8\xff"}[ending]
    assert Path("a" + ending.upper()).read_bytes().startswith(begin)
    assert os.listdir() == ["a" + ending.upper()]


@pytest.mark.parametrize("options", [[], ["--plot", "a.png"]])
def test_the_plot_of_the_default_experiment_shows_its_run(rnn, capsys, monkeypatch, options):
    drawn = []
    draw = plots.draw

    def spy(*arguments):
        drawn.append(arguments)
        draw(*arguments)

    monkeypatch.setattr(plots, "draw", spy)
    out = succeed(rnn, capsys, "--epochs", 3, *options)
    name = options[1] if options else f"{rnn.__name__}.png"
    [(experiment, results, path, show, drift)] = drawn
    configuration = Configuration(epochs=3)
    assert bits(tuple(experiment[1:])) == bits(tuple(prepare(configuration)[1:]))
    assert bits(tuple(results[rnn.__name__])) == bits(tuple(run(rnn, prepare(configuration), configuration, 20)))
    assert (list(results), path, show, drift) == ([rnn.__name__], name, False, None)
    assert out.endswith(f"\nplot saved to {name}\n")
    assert os.listdir() == [name]


@pytest.mark.parametrize("options", [[], ["--plot", "a.png"]])
def test_show_opens_a_window_and_writes_a_file_only_when_asked(rnn, capsys, monkeypatch, options):
    import matplotlib.pyplot as plt

    shown = []
    monkeypatch.setattr(plt, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.get_fignums()))
    out = succeed(rnn, capsys, "--epochs", 1, "--show", *options)
    assert [len(figures) for figures in shown] == [1]
    assert plt.get_fignums() == []
    assert os.listdir() == options[1:]
    assert ("plot saved" in out) == bool(options)


@pytest.mark.parametrize("before", [{}, {"a.png": b"old"}])
def test_a_disk_that_is_full_leaves_no_half_plot(rnn, capsys, monkeypatch, before):
    from matplotlib.figure import Figure

    for name, content in before.items():
        Path(name).write_bytes(content)

    def savefig(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Figure, "savefig", savefig)
    ended = command(rnn, capsys, "--epochs", 1, "--plot", "a.png")
    assert ended.status == 2
    assert ended.err == f"{rnn.__name__}: a.png cannot be written: No space left on device; choose another place\n"
    assert contents() == {Path(name): content for name, content in before.items()}
