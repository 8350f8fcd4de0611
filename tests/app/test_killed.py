"""A run that is saved after every update and killed at random moments: its file can always be resumed, and the result
is that of the run that was not killed, bit for bit.
"""

import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from children import LIMIT, start
from in_process import succeed

import numpy_rnn
from numpy_rnn.app.checkpoint import load_checkpoint

pytestmark = pytest.mark.slow

KILLS = 15  # of each run
SAVE = ["--save", "run.npz", "--save-every", "0"]  # after every update
RUNS = [  # too long to end before the last kill, and short if they are not saved
    "--epochs 500 --k2 5 --momentum 0.9 --learning-rate 0.01 --learn-initial-state --bias",
    "--epochs 800 --learning-rate 0.01,0.05 --seeds 2 --k1 4 --reduction mean",
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


@pytest.mark.parametrize("run", RUNS)
def test_a_run_killed_at_random_moments_leaves_a_file_that_can_be_resumed(server, capsys, run):
    generator, options = random.Random(run), run.split()
    place, saved, moved, unfinished = (0, 0), 0, 0, 0
    for _ in range(KILLS):
        is_there = Path("run.npz").exists()
        arguments = ["--no-plot", *SAVE, *(["--resume", "run.npz"] if is_there else options)]
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
    succeed(numpy_rnn, capsys, *options, "--save", "whole.npz", "--no-plot")
    assert Path("run.npz").read_bytes() == Path("whole.npz").read_bytes()
    assert sorted(os.listdir()) == ["run.npz", "whole.npz"]  # unfinished files are removed
