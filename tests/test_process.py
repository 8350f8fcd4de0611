"""`python -m numpy_rnn` and `python -m torch_rnn` as processes: output, picture, Ctrl-C, a reader that goes away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import succeed

import numpy_rnn

ROOT = Path(numpy_rnn.__file__).parents[1]


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def outer():
    """The environment for another process, which is to find this source tree and nothing that we set up here."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "PYTHONUNBUFFERED": ""}


def outside(rnn, *options):
    program = [sys.executable, "-m", rnn.__name__, *options]
    return subprocess.run(program, capture_output=True, text=True, env=outer(), check=False)


def started(rnn, *options):
    program = [sys.executable, "-m", rnn.__name__, "--no-plot", *options]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=outer())


@pytest.mark.needs_matplotlib
def test_without_options_the_picture_is_a_file(rnn, tmp_path):
    ended = outside(rnn)
    assert (ended.returncode, ended.stderr) == (0, "")
    name = f"{rnn.__name__}.png"
    assert ended.stdout.endswith(f"\npicture written to {name}\n")
    assert os.listdir() == [name]
    assert Path(name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_as_a_process_it_prints_what_main_prints(capsys):
    ended = outside(numpy_rnn, "--epochs", "12", "--no-plot")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == succeed(numpy_rnn, capsys, "--epochs", 12, "--no-plot")
    assert os.listdir() == []


def test_numpy_alone_is_imported():
    program = (
        "import sys, numpy_rnn; from numpy_rnn.common.command_line import main;"
        "main(numpy_rnn, ['--no-plot', '--epochs', '1']);"
        "print(sorted({'torch', 'matplotlib', 'torch_rnn'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=outer())
    assert ended.stdout.endswith("\n[]\n")


@pytest.mark.parametrize(("lines", "epochs"), [(1, "100"), (0, "0")])  # without epochs all is written at the end
def test_a_reader_that_goes_away_is_no_error(lines, epochs):
    with started(numpy_rnn, "--epochs", epochs, "--log-every", "1") as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_ctrl_c_is_one_line(rnn, tmp_path):
    with started(rnn, "--epochs", "1000000000", "--save", "weights.npz") as process:
        for _ in range(3):  # the heading, and the first loss
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == f"{rnn.__name__}: interrupted\n"
    assert process.returncode == 130
    assert os.listdir() == []
