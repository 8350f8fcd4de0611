"""When the file of a run is written, what happens if it cannot be, and what is in it if the run is killed meanwhile.

What is in a file, and which are refused: test_checkpoint.py.
"""

import errno
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest
from children import LIMIT, start
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


# -- killed ---------------------------------------------------------------------------------------------------------

KILLS = 15
SAVE = ["--save", "run.npz", "--save-every", "0"]  # after every update
RUN = [  # too long to end before the last kill, and short if it is not saved
    *("--epochs", "300", "--learning-rate", "0.01,0.05", "--seeds", "2", "--k1", "2", "--k2", "5"),
    *("--momentum", "0.5", "--learn-initial-state"),
]

# Runs command lines in processes of their own, which are forked after the import: arguments in, process id out, and
# when the process has ended, its exit status.
SERVER = """
import os, shlex, sys
from numpy_rnn.__main__ import main

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        sys.stdout = open(os.devnull, "w")
        os._exit(main(shlex.split(line)))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def kill_at_a_random_moment(child, generator):
    """Every fourth time while it starts, otherwise while it trains and writes, after its first save."""
    if generator.random() < 0.25:
        time.sleep(generator.uniform(0, 0.05))
    else:
        before, until = written(), time.monotonic() + LIMIT
        while written() == before and time.monotonic() < until:
            time.sleep(0.001)
        assert written() != before
        time.sleep(generator.uniform(0, 0.02))
    os.kill(child, signal.SIGKILL)


def written():
    """The time at which the file was written; None without a file."""
    return os.stat("run.npz").st_mtime_ns if Path("run.npz").exists() else None


@pytest.fixture
def server():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with start([sys.executable, "-c", SERVER], **pipes) as process:
        yield process


@pytest.mark.slow
def test_a_run_killed_at_random_moments_leaves_a_file_that_can_be_resumed(server, capsys):
    """The result is that of the run that was not killed, bit for bit."""
    generator = random.Random(0)
    place, saved, moved, unfinished = (0, 0), 0, 0, 0
    for _ in range(KILLS):
        is_there = Path("run.npz").exists()
        arguments = ["--no-plot", *SAVE, *(["--resume", "run.npz"] if is_there else RUN)]
        print(shlex.join(arguments), file=server.stdin, flush=True)
        kill_at_a_random_moment(int(server.stdout.readline()), generator)
        assert int(server.stdout.readline()) == -signal.SIGKILL
        assert is_there <= Path("run.npz").exists()
        if Path("run.npz").exists():
            saved += 1
            before, place = place, load_checkpoint("run.npz").state[:2]
            assert place >= before
            moved += place > before
        others = [name for name in os.listdir() if name != "run.npz"]
        assert all(re.match(r"\.unfinished-", name) for name in others)
        unfinished += len(others) > 0
    _, errors = server.communicate(timeout=LIMIT)
    assert errors == ""
    # Three of four kills come after a save of their own process, and about half of all leave an unfinished file.
    assert saved >= KILLS / 2
    assert moved >= KILLS / 2
    assert unfinished >= 1

    succeed(numpy_rnn, capsys, "--resume", "run.npz", "--save", "run.npz", "--no-plot")
    succeed(numpy_rnn, capsys, *RUN, "--save", "whole.npz", "--no-plot")
    assert Path("run.npz").read_bytes() == Path("whole.npz").read_bytes()
    assert sorted(os.listdir()) == ["run.npz", "whole.npz"]  # unfinished files are removed
