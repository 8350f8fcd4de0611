"""`python -m numpy_rnn` and `python -m torch_rnn` as processes: output, picture, Ctrl-C, a reader that goes away."""

import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from children import environment, run, start
from in_process import command, contents, main, succeed

import numpy_rnn
from numpy_rnn.app import results, terminal
from numpy_rnn.app import run as running
from numpy_rnn.app.checkpoint import load_checkpoint
from numpy_rnn.app.terminal import SIGNALS, deferred_signals

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
def test_without_options_the_plot_is_a_file():
    ended = outside(numpy_rnn)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("\nplot saved to numpy_rnn.png\n")
    assert os.listdir() == ["numpy_rnn.png"]
    assert Path("numpy_rnn.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_as_a_process_it_prints_what_main_prints(capsys):
    ended = outside(numpy_rnn, "--epochs", "12", "--no-plot")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == succeed(numpy_rnn, capsys, "--epochs", 12, "--no-plot")
    assert os.listdir() == []


def test_numpy_alone_is_imported():
    program = (
        "import sys; from numpy_rnn.__main__ import main;"
        "main(['--no-plot', '--epochs', '1']);"
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


# Runs one command line after the other, so that the package is imported once: arguments in, exit status out.
SERVER = """
import shlex, sys
from {package}.__main__ import main

for line in sys.stdin:
    print("status", main(shlex.split(line)), flush=True)
"""


@pytest.fixture(scope="module")
def server(rnn):
    with start(
        [sys.executable, "-c", SERVER.format(package=rnn.__name__)], env=outer(), stdin=subprocess.PIPE, **PIPES
    ) as process:
        yield process


def interrupted(server, order, arguments, moment=0.0):
    """Send the signal to a run so many seconds after its first loss. Returns the exit status and standard error."""
    print(shlex.join(arguments), file=server.stdin, flush=True)
    for _ in range(3):  # two lines of headings, and the first loss
        assert server.stdout.readline()
    time.sleep(moment)
    server.send_signal(order)
    status = next(line for line in iter(server.stdout.readline, "") if line.startswith("status"))
    return int(status.split()[1]), server.stderr.readline()


# A run that does not end before the signal comes, however late that is.
ENDLESS = ["--epochs", "1000000000", "--no-plot", "--k2", "3", "--momentum", "0.5", "--learning-rate", "0.01"]
ORDERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("order", ORDERS)
def test_a_run_interrupted_at_a_random_moment_is_saved_and_can_be_resumed(rnn, server, capsys, order, seed):
    """Between two updates, or while it writes. The message names the update that is in the file."""
    moment = random.Random(10 * seed + order).uniform(0, 0.2)
    path = os.path.realpath("run.npz")
    status, message = interrupted(server, order, [*ENDLESS, "--save", path, "--save-every", "0"], moment)
    assert status == 128 + order
    state = load_checkpoint("run.npz").state
    assert message == (
        f"{rnn.__name__}: interrupted; saved the run so far to {path}, after epoch {state.epoch}, update"
        f" {state.number}: continue with --resume {path}\n"
    )
    assert os.listdir() == ["run.npz"]
    epochs = ["--epochs", state.epoch + 1]
    succeed(rnn, capsys, "--resume", "run.npz", *epochs, "--save", "run.npz", "--no-plot")
    succeed(rnn, capsys, *ENDLESS, *epochs, "--save", "whole.npz")
    assert Path("run.npz").read_bytes() == Path("whole.npz").read_bytes()


@pytest.mark.parametrize("order", ORDERS)
def test_without_save_a_signal_is_one_line(rnn, server, order):
    assert interrupted(server, order, ENDLESS) == (128 + order, f"{rnn.__name__}: interrupted\n")
    assert os.listdir() == []


# The command line, whose updates take a minute each once so many are made.
STUCK = """
import sys, time
from numpy_rnn.__main__ import main
from numpy_rnn.app import terminal

def advance(self, updates, details):
    if details()["epoch"] == 3:
        print("stuck", flush=True)
        time.sleep(60)

terminal.Progress.advance = advance
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("every", [None, "0"])
def test_a_second_ctrl_c_acts_at_once_and_says_what_was_saved(order, every):
    """The first one waits for the end of the update; whoever cannot wait presses it again, or terminates the run."""
    options = [] if every is None else ["--save-every", every]
    program = [sys.executable, "-c", STUCK, "--no-plot", "--save", "run.npz", "--log-every", "1", *options]
    with start(program, env=outer(), **PIPES) as process:
        while process.stdout.readline() != "stuck\n":
            pass
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.1)
        process.send_signal(order)
        message = process.stderr.read()
    assert process.returncode == 128 + order
    if every is None:
        assert message == "numpy_rnn: interrupted; nothing was saved\n"
        assert os.listdir() == []
    else:
        state = load_checkpoint("run.npz").state
        assert message == (
            f"numpy_rnn: interrupted; run.npz has the run after epoch {state.epoch}, update {state.number}:"
            " continue with --resume run.npz\n"
        )
        assert os.listdir() == ["run.npz"]


def press_ctrl_c(monkeypatch, at, yield_every=1):
    """Send the signal to this process when so many updates are made at once for the `at`-th time, and only then."""
    made = []
    monkeypatch.setattr(running, "MAX_UPDATES", yield_every)

    def update(self, *_):
        made.append(1)
        if len(made) == at:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(terminal.Progress, "advance", update)


@pytest.mark.parametrize("yield_every", [1, 5])
def test_the_updates_that_are_under_way_are_finished(rnn, capsys, monkeypatch, yield_every):
    """And with --save alone, whatever --save-every says, what is saved is that of the moment."""
    for at in (1, 3, 4, 5, 11):
        press_ctrl_c(monkeypatch, at, yield_every)
        assert main(rnn, ["--epochs", "3", "--save", "run.npz", "--no-plot"]) == 130
        capsys.readouterr()
        state = load_checkpoint("run.npz").state
        # the signal comes when its updates are made; the question is asked after the next ones
        assert (state.epoch - 1) * 20 + state.number == (at + 1) * yield_every
    assert os.listdir() == ["run.npz"]


def test_ctrl_c_after_the_last_update_is_heeded_too(rnn, capsys, monkeypatch):
    press_ctrl_c(monkeypatch, 60)
    assert main(rnn, ["--epochs", "3", "--save", "run.npz", "--no-plot"]) == 130
    assert "after epoch 3, update 20: continue with --resume run.npz" in capsys.readouterr().err
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
    assert capsys.readouterr().err == f"{rnn.__name__}: interrupted; nothing was saved\n"
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
    before = [signal.getsignal(number) for number in SIGNALS]
    options = ["--epochs", "2", "--save", "run.npz", "--save-every", "0", "--no-plot"]
    thread = threading.Thread(target=lambda: ended.append(main(rnn, options)))
    thread.start()
    thread.join()
    assert ended == [0]
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert load_checkpoint("run.npz").state.epoch == 2


def test_signals_are_handled_as_before_when_the_run_is_over(rnn, capsys):
    before = [signal.getsignal(number) for number in SIGNALS]
    succeed(rnn, capsys, "--epochs", 1, "--save", "run.npz", "--no-plot")
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with deferred_signals():
        assert all(signal.getsignal(number) not in before for number in SIGNALS)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("save", [[], ["--save", "run.npz"]])
@pytest.mark.parametrize("order", ORDERS)
def test_a_signal_that_is_ignored_stays_so(capsys, monkeypatch, order, save):
    """As under nohup, or in a script's background; with --save and without."""
    sent = []

    def update(self, *_):
        if len(sent) < 3:
            sent.append(order)
            os.kill(os.getpid(), order)

    monkeypatch.setattr(terminal.Progress, "advance", update)
    former = signal.signal(order, signal.SIG_IGN)
    try:
        succeed(numpy_rnn, capsys, "--epochs", 3, "--no-plot", *save)
        assert signal.getsignal(order) == signal.SIG_IGN
    finally:
        signal.signal(order, former)
    assert len(sent) == 3


@pytest.mark.parametrize("part", ["generates", "predicts"])
def test_ctrl_c_while_it_generates_or_predicts_acts(rnn, capsys, monkeypatch, part):
    """The run was saved before that. Nothing more is computed after the signal."""
    passes = []

    def forward(rnn, params, x, *rest):
        passes.append(len(x))
        if passes[0 if part == "predicts" else -1] == (20 if part == "predicts" else 1) and len(passes) < 4:
            os.kill(os.getpid(), signal.SIGINT)
        return honest(rnn, params, x, *rest)

    honest = results._forward
    monkeypatch.setattr(results, "_forward", forward)
    assert main(rnn, ["--epochs", "3", "--save", "run.npz", "--no-plot", "--generate", "1000"]) == 130
    assert passes == ([20] if part == "predicts" else [20, 1])
    assert "; saved the run so far to run.npz, after epoch 3, update 20:" in capsys.readouterr().err
    assert load_checkpoint("run.npz").state[:2] == (3, 20)


@pytest.mark.parametrize("save", [[], ["--save", "run.npz"]])
def test_a_plot_that_cannot_be_drawn_does_not_lose_the_run(rnn, capsys, monkeypatch, save):
    def draw(*_):
        assert os.path.exists("run.npz") == bool(save)
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("numpy_rnn.app.plots.draw", draw)
    monkeypatch.setattr("numpy_rnn.app.plots.check_can_draw", lambda *_: None)
    ended = command(rnn, capsys, "--epochs", 2, "--plot", "a.png", *save)
    held = "; the run is saved in run.npz" if save else ""
    assert (ended.status, ended.err) == (
        2,
        f"{rnn.__name__}: the plot cannot be drawn (RuntimeError: two lines): use --no-plot{held}\n",
    )
    assert "free-running" in ended.out
    assert sorted(os.listdir()) == (["run.npz"] if save else [])


IMPORTING = """
import signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == {at!r}:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.parametrize(
    "at",
    ["numpy", "numpy_rnn.elman", "numpy_rnn.app.command_line", pytest.param("torch", marks=pytest.mark.needs_torch)],
)
def test_ctrl_c_while_it_is_imported_is_one_line(rnn, at):
    if at == "torch" and rnn is numpy_rnn:
        return
    os.mkdir("site")
    Path("site/sitecustomize.py").write_text(IMPORTING.format(at=at))  # which Python runs before all else
    path = os.pathsep.join([os.path.realpath("site"), outer()["PYTHONPATH"]])
    ended = run([sys.executable, "-m", rnn.__name__], env={**outer(), "PYTHONPATH": path})
    assert (ended.stdout, ended.stderr) == ("", "interrupted\n")
    assert ended.returncode in (130, -signal.SIGINT)
