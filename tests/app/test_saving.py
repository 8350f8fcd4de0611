"""When the file of a run is written, what happens if it cannot be, and what is in it if the run is killed meanwhile.

What is in a file, and which are refused: test_checkpoint.py.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from children import LIMIT, environment, start
from in_process import command, succeed

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app import command_line
from numpy_rnn.app.checkpoint import Saver, load_checkpoint


class Disk:
    """os.replace, of a disk that is full at the first `refusals` times."""

    def __init__(self, monkeypatch, refusals):
        self.refusals, self.places, self.replace = refusals, [], os.replace
        monkeypatch.setattr(os, "replace", self)

    def __call__(self, source, target):
        if self.refusals > 0:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.replace(source, target)
        self.places.append(load_checkpoint(target).state[:2])


@pytest.mark.parametrize(
    ("options", "places", "every"),
    [
        ("--save-every 0", [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3), (2, 3)], 0),  # and once more at the end
        ("--save-every 9.5", [(2, 3)], 9.5),
        ("", [(2, 3)], 30),
    ],
)
def test_a_run_is_saved_every_so_many_seconds_and_at_its_end(capsys, monkeypatch, options, places, every):
    disk, savers = Disk(monkeypatch, 0), []
    monkeypatch.setattr(command_line, "Saver", lambda *given: savers.append(Saver(*given)) or savers[0])
    succeed(numpy_rnn, capsys, "--epochs", 2, "--k1", 7, "--save", "r.npz", *options.split(), "--no-plot")
    assert disk.places == places
    assert (savers[0].path, savers[0].every) == ("r.npz", every)


@pytest.mark.parametrize(("every", "duration", "pause"), [(30, 0, 30), (30, 2, 30), (3, 2, 20), (0, 2, 0)])
@pytest.mark.parametrize("fails", [False, True])
def test_the_next_checkpoint_is_due_after_a_pause(monkeypatch, every, duration, pause, fails):
    """`every` seconds after the latest one, but at least ten times as long as a write takes, also if it failed."""
    now = 100.0

    def write(*_):
        nonlocal now
        now += duration
        if fails:
            raise InputError("full")

    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("numpy_rnn.app.checkpoint.save_checkpoint", write)
    saver = Saver("r.npz", every)
    for wait in (every, pause, pause):
        assert wait == 0 or not saver.is_due()
        now += wait
        assert saver.is_due()
        assert saver.due == now
        saver(Mock())
        assert (saver.error is None, saver.saved is None) == (not fails, fails)


def test_a_write_that_fails_does_not_end_the_run(capsys, monkeypatch):
    disk = Disk(monkeypatch, 3)
    options = ["--epochs", 2, "--k1", 7, "--no-plot"]
    out = succeed(numpy_rnn, capsys, *options, "--save", "r.npz", "--save-every", 0)
    assert disk.places == [(2, 1), (2, 2), (2, 3), (2, 3)]
    assert out == succeed(numpy_rnn, capsys, *options) + "weights saved to r.npz\n"
    assert os.listdir() == ["r.npz"]


def test_the_trace_and_the_plot_are_made_although_the_run_could_not_be_saved(capsys, monkeypatch):
    monkeypatch.setattr("numpy_rnn.app.checkpoint.save_arrays", Mock(side_effect=InputError("r.npz cannot be written")))
    drawn = []
    monkeypatch.setattr("numpy_rnn.app.command_line._draw", lambda *_, **files: drawn.append(files["path"]))
    ended = command(numpy_rnn, capsys, "--epochs", 1, "--save", "r.npz", "--trace", "t.npz", "--no-plot")
    assert (ended.status, ended.err) == (2, "numpy_rnn: r.npz cannot be written\n")
    assert Path("t.npz").exists()
    assert drawn == [None]


ORDERS = [getattr(signal, name) for name in ("SIGINT", "SIGKILL", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.slow
def test_a_run_killed_or_interrupted_at_random_moments_is_resumed_and_has_the_bits_of_one_that_was_not(capsys):
    """Its file is saved after every update, so that most signals come while it is written."""
    random = np.random.default_rng(0)
    given = "--learning-rate", "0.01,0.05", "--seeds", "2", "--k1", "2", "--k2", "5", "--momentum", "0.5"
    options, written, place = given, None, (0, 0)
    for order in ORDERS:
        save = "--save", "run.npz", "--save-every", "0", "--epochs", "100000", "--log-every", "100000", "--no-plot"
        program = [sys.executable, "-m", "numpy_rnn", *options, *save]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with start(program, **pipes, env=environment(PYTHONUNBUFFERED="")) as process:
            if options == given:  # two headings, and the loss of the first epoch, at once
                assert [process.stdout.readline() for _ in range(3)][-1].startswith("    1  ")
            until = time.monotonic() + LIMIT
            while changed_at("run.npz") == written and time.monotonic() < until:
                time.sleep(0.001)
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(order)
            message = process.stderr.read()
        before, place, written = place, load_checkpoint("run.npz").state[:2], changed_at("run.npz")
        assert place > before
        is_killed = order == signal.SIGKILL
        assert process.returncode == (-order if is_killed else 128 + order)
        assert (
            message == ""
            if is_killed
            else (
                f"numpy_rnn: interrupted; saved the run so far to run.npz, after epoch {place[0]}, update {place[1]}:"
                " continue with --resume run.npz\n"
            )
        )
        assert all(name == "run.npz" or (is_killed and name.startswith(".unfinished-")) for name in os.listdir())
        options = "--resume", "run.npz"
    epochs = "--epochs", place[0], "--no-plot"
    succeed(numpy_rnn, capsys, "--resume", "run.npz", *epochs, "--save", "run.npz")
    succeed(numpy_rnn, capsys, *given, *epochs, "--save", "whole.npz")
    assert Path("run.npz").read_bytes() == Path("whole.npz").read_bytes()
    assert sorted(os.listdir()) == ["run.npz", "whole.npz"]  # unfinished files are removed


def changed_at(path):
    """The time at which the file was written; None without a file."""
    return os.stat(path).st_mtime_ns if os.path.exists(path) else None
