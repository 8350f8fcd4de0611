"""`python -m numpy_rnn` and `python -m torch_rnn` as processes: output, picture, Ctrl-C, a reader that goes away."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from children import environment, run, start
from terminal import contents, succeed

import numpy_rnn
from numpy_rnn.common.command_line import main
from numpy_rnn.common.runs import progress
from numpy_rnn.common.runs.checkpoint import load_checkpoint
from numpy_rnn.common.runs.interrupts import HEEDED, heeded

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}


def outer():
    """The environment for another process, which is to find this source tree and nothing that we set up here."""
    return environment(MPLBACKEND="agg", PYTHONUNBUFFERED="")


def outside(rnn, *options):
    return run([sys.executable, "-m", rnn.__name__, *options], env=outer())


def started(rnn, *options):
    return start([sys.executable, "-m", rnn.__name__, "--no-plot", *options], env=outer(), **PIPES)


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
    ended = run([sys.executable, "-c", program], check=True, env=outer())
    assert ended.stdout.endswith("\n[]\n")


@pytest.mark.parametrize(("lines", "epochs"), [(1, "100"), (0, "0")])  # without epochs all is written at the end
def test_a_reader_that_goes_away_is_no_error(lines, epochs):
    with started(numpy_rnn, "--epochs", epochs, "--log-every", "1") as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


LONG = ["--k2", "3", "--momentum", "0.5", "--learning-rate", "0.01", "--epochs", "100"]


@pytest.fixture(scope="module")
def whole(rnn, tmp_path_factory):
    """The file that a run leaves which nobody breaks off."""
    path = tmp_path_factory.mktemp("whole") / "run.npz"
    assert main(rnn, [*LONG, "--save", str(path), "--no-plot"]) == 0
    return path.read_bytes()


MOMENTS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("order", "status"), MOMENTS, ids=["Ctrl-C", "order to end"])
def test_broken_off_at_a_random_moment_the_run_is_saved_and_goes_on(rnn, capsys, whole, order, status, seed):
    """Between two updates, or while it writes. What it says of the place is true, and the end is the whole run's."""
    moment = random.Random(10 * seed + status).uniform(0, 0.2)
    with started(rnn, *LONG, "--save", "run.npz", "--save-every", "0") as process:
        for _ in range(3):  # the heading, and the first loss
            assert process.stdout.readline()
        time.sleep(moment)
        process.send_signal(order)
        message = process.stderr.read()
    assert process.returncode == status
    state = load_checkpoint("run.npz").state
    assert message == (
        f"{rnn.__name__}: interrupted; run.npz holds the run so far, after epoch {state.epoch}, update {state.number},"
        " and --resume run.npz goes on from there\n"
    )
    assert os.listdir() == ["run.npz"]
    succeed(rnn, capsys, "--resume", "run.npz", "--save", "run.npz", "--no-plot")
    assert Path("run.npz").read_bytes() == whole


# The command line, whose updates take a minute each once so many are made.
STUCK = """
import sys, time
import numpy_rnn
from numpy_rnn.common import command_line; from numpy_rnn.common.runs import progress

def update(self, epoch, loss):
    if epoch == 3:
        print("stuck", flush=True)
        time.sleep(60)

progress.Progress.update = update
sys.exit(command_line.main(numpy_rnn, sys.argv[1:]))
"""


def test_a_second_ctrl_c_works_as_always():
    """The first one waits for the end of the update; whoever cannot wait presses it again."""
    program = [sys.executable, "-c", STUCK, "--no-plot", "--save", "run.npz", "--log-every", "1"]
    with start(program, env=outer(), **PIPES) as process:
        while process.stdout.readline() != "stuck\n":
            pass
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "numpy_rnn: interrupted\n"
    assert process.returncode == 130
    assert os.listdir() == []


def press_ctrl_c(monkeypatch, at):
    """Send the signal to this process at one update of the run, counted from 1, and to no other."""
    made = []

    def update(self, *_):
        made.append(1)
        if len(made) == at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(progress.Progress, "update", update)


def test_the_update_that_is_under_way_is_finished(rnn, capsys, monkeypatch):
    """And with --save alone, whatever --save-every says, what is saved is that of the moment."""
    for at in (1, 7, 20, 21, 59):
        press_ctrl_c(monkeypatch, at)
        assert main(rnn, ["--epochs", "3", "--save", "run.npz", "--no-plot"]) == 130
        capsys.readouterr()
        state = load_checkpoint("run.npz").state
        # the signal comes when its update is made; the question is asked at the next one
        assert (state.epoch - 1) * 20 + state.number == at + 1
    assert os.listdir() == ["run.npz"]


def test_ctrl_c_after_the_last_update_is_heeded_too(rnn, capsys, monkeypatch):
    press_ctrl_c(monkeypatch, 60)
    assert main(rnn, ["--epochs", "3", "--save", "run.npz", "--no-plot"]) == 130
    assert "after epoch 3, update 20, and --resume run.npz" in capsys.readouterr().err
    press_ctrl_c(monkeypatch, 0)
    succeed(rnn, capsys, "--resume", "run.npz", "--no-plot")


def test_ctrl_c_without_save_comes_at_once(rnn, capsys, monkeypatch):
    press_ctrl_c(monkeypatch, 7)
    assert main(rnn, ["--epochs", "3", "--no-plot"]) == 130
    assert capsys.readouterr().err == f"{rnn.__name__}: interrupted\n"
    assert os.listdir() == []


def test_ctrl_c_while_the_last_state_is_written(rnn, capsys, monkeypatch):
    """A second one is for those who cannot wait for the disk: nothing is half written, and there is no traceback."""
    Path("run.npz").write_text("old")
    press_ctrl_c(monkeypatch, 7)

    def interrupted(*_):
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(os, "fsync", interrupted)
    assert main(rnn, ["--epochs", "3", "--save", "run.npz", "--no-plot"]) == 130
    assert capsys.readouterr().err == f"{rnn.__name__}: interrupted\n"
    assert contents() == {Path("run.npz"): b"old"}


def test_ctrl_c_when_the_disk_is_full(rnn, capsys, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    press_ctrl_c(monkeypatch, 7)
    monkeypatch.setattr(os, "replace", no_space)
    assert main(rnn, ["--epochs", "3", "--save", "run.npz", "--no-plot"]) == 130
    assert capsys.readouterr().err == (
        f"{rnn.__name__}: interrupted; the run so far could not be saved: run.npz cannot be written: No space left on"
        " device; choose another place\n"
    )


def test_in_another_thread_signals_are_left_alone(rnn):
    ended = []
    before = [signal.getsignal(number) for number in HEEDED]
    options = ["--epochs", "2", "--save", "run.npz", "--save-every", "0", "--no-plot"]
    thread = threading.Thread(target=lambda: ended.append(main(rnn, options)))
    thread.start()
    thread.join()
    assert ended == [0]
    assert [signal.getsignal(number) for number in HEEDED] == before
    assert load_checkpoint("run.npz").state.epoch == 2


def test_signals_are_handled_as_before_when_the_run_is_over(rnn, capsys):
    before = [signal.getsignal(number) for number in HEEDED]
    succeed(rnn, capsys, "--epochs", 1, "--save", "run.npz", "--no-plot")
    assert [signal.getsignal(number) for number in HEEDED] == before
    with heeded():
        assert all(signal.getsignal(number) not in before for number in HEEDED)
    assert [signal.getsignal(number) for number in HEEDED] == before


def test_a_signal_that_is_ignored_stays_so():
    """As under nohup, or in a script's background."""
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heeded() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert interrupts() is None
    finally:
        signal.signal(signal.SIGINT, former)


def test_ctrl_c_without_save_is_one_line(rnn):
    with started(rnn, "--epochs", "1000000000") as process:
        for _ in range(3):
            assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == f"{rnn.__name__}: interrupted\n"
    assert process.returncode == 130
    assert os.listdir() == []
