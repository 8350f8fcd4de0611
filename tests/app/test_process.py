"""Processes: what is imported, Ctrl-C, SIGTERM and SIGHUP, and whatever is left of the streams."""

import io
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from children import environment, run, with_benchmarks
from in_process import command, contents, main, succeed

import numpy_rnn
from numpy_rnn.app import command_line, results
from numpy_rnn.app import run as running
from numpy_rnn.app.checkpoint import load_checkpoint
from numpy_rnn.app.series import name_of

ORDERS = command_line.Signals.NUMBERS


SLOW_IMPORTS = "torch torch_rnn matplotlib tqdm jinja2 csv json difflib hypothesis numpy.ma numpy_rnn.conformance"


@pytest.mark.slow
def test_only_what_a_run_needs_is_imported():
    program = (
        "import sys; from numpy_rnn.__main__ import main; main(['--no-plot', '--epochs', '1']);"
        f"print(sorted(set({SLOW_IMPORTS!r}.split()) & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", program], check=True, env=environment()).stdout.endswith(
        "\n[]\n"
    )


def press(monkeypatch, at, *orders, updates=1):
    """Send signals to this process after the `at`-th yield of the run; returns those sent."""
    made, sent = [], []
    monkeypatch.setattr(running, "MAX_UPDATES", updates)
    advance = running.Trainer._advance

    def pressed(self):
        progress = advance(self)
        made.append(1)
        for order in orders if len(made) == at else ():
            sent.append(order)
            os.kill(os.getpid(), order)
        return progress

    monkeypatch.setattr(running.Trainer, "_advance", pressed)
    return sent


@pytest.mark.parametrize("save", ["", "--save run.npz"])
def test_signal_without_save_and_second_signal_act_at_once(capsys, monkeypatch, save):
    orders = [signal.SIGINT, signal.SIGTERM] if save else [signal.SIGTERM]
    sent = press(monkeypatch, 41, *orders, signal.SIGINT)
    ended = command(numpy_rnn, capsys, "--no-plot", *save.split())
    saved = "; nothing was saved" if save else "; nothing was saved: --save FILE keeps the run"
    assert (ended.status, ended.err) == (128 + signal.SIGTERM, f"numpy_rnn: interrupted{saved}\n")
    assert sent == orders
    assert os.listdir() == []


@pytest.mark.parametrize(("order", "updates", "at"), [*zip(ORDERS, (1, 5, 5), (1, 4, 12))])
def test_updates_in_progress_are_finished_and_saved(capsys, monkeypatch, order, updates, at):
    press(monkeypatch, at, order, updates=updates)
    ended = command(numpy_rnn, capsys, "--epochs", 3, "--save", "run.npz", "--no-plot")
    state = load_checkpoint("run.npz").state
    assert (ended.status, (state.epoch - 1) * 20 + state.number) == (128 + order, at * updates)
    assert (
        f"after epoch {state.epoch}, update {state.number}: continue with --resume run.npz"
        in ended.err
    )
    assert os.listdir() == ["run.npz"]


def test_second_signal_while_the_state_is_written(capsys, monkeypatch):
    """It is for those who cannot wait for the disk: nothing is half written, and there is no traceback."""
    Path("run.npz").write_text("old")
    press(monkeypatch, 7, signal.SIGINT)
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGINT))
    ended = command(numpy_rnn, capsys, "--epochs", 3, "--save", "run.npz", "--no-plot")
    assert (ended.status, ended.err) == (130, "numpy_rnn: interrupted\n")
    assert contents() == {Path("run.npz"): b"old"}


def test_signal_while_the_last_state_is_written(capsys, monkeypatch):
    """The write ends, and the program too: it makes no plot."""
    replace, orders = os.replace, [signal.SIGINT]
    monkeypatch.setattr(
        os,
        "replace",
        lambda *names: (orders and os.kill(os.getpid(), orders.pop()), replace(*names)),
    )
    ended = command(numpy_rnn, capsys, "--epochs", 3, "--save", "run.npz")
    assert ended.status == 130
    assert ended.err.endswith(
        "run.npz has the run after epoch 3, update 20: continue with --resume run.npz\n"
    )
    assert os.listdir() == ["run.npz"]


def test_ignored_signal_stays_ignored(capsys, monkeypatch):
    """So it is under nohup, or in a script's background."""
    with ExitStack() as stack:
        for order in ORDERS[1:]:
            stack.callback(signal.signal, order, signal.signal(order, signal.SIG_IGN))
        press(monkeypatch, 2, *ORDERS[1:])
        succeed(numpy_rnn, capsys, "--epochs", 3, "--no-plot", "--save", "run.npz")
        assert {signal.getsignal(order) for order in ORDERS[1:]} == {signal.SIG_IGN}


def test_signal_during_the_predictions_acts_at_once(capsys, monkeypatch):
    """The run was saved before. Nothing more is computed after the signal."""
    made, forward = [], results._forward

    def interrupted(*arguments):
        made.append(1)
        if len(made) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(*arguments)

    monkeypatch.setattr(results, "_forward", interrupted)
    ended = command(
        numpy_rnn, capsys, "--epochs", 3, "--save", "run.npz", "--no-plot", "--generate", 1000
    )
    assert (ended.status, len(made)) == (130, 2)
    where = "run.npz has the run after epoch 3, update 20: continue with --resume run.npz"
    assert ended.err == f"numpy_rnn: interrupted; {where}\n"
    assert load_checkpoint("run.npz").state[:2] == (3, 20)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# A formula, half a formula, no UTF-8, no glyphs, not ASCII, a line end, an escape, braces and per cent.
ODD = rb"a$\foo$ $x_ " + b"\xff\xfe " + "漢字 é → ﬁ\n".encode() + b"\x1b[31m {0} %s"


@pytest.mark.needs_matplotlib
def test_files_of_any_name(monkeypatch):
    """Warnings are errors here, so there is none either. Streams of ASCII get escapes."""
    name = os.fsdecode(ODD)
    files = {
        "--data": f"{name}.csv",
        "--save": f"{name}.npz",
        "--output": f"{name}.out.csv",
        "--plot": f"{name}.png",
    }
    Path(files["--data"]).write_text(
        '"' + ODD.decode("utf-8", "replace").replace("\n", "") + '","b"\n1,2\n2,1\n3,5\n4,3\n',
        "utf-8",
    )
    streams = {
        stream: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for stream in ("stdout", "stderr")
    }
    with monkeypatch.context() as patch:
        for stream in streams.items():
            patch.setattr(sys, *stream)
        assert main(numpy_rnn, ["--epochs", "1", *map("=".join, files.items())]) == 0
        assert main(numpy_rnn, [f"--data=no{name}.csv", "--no-plot"]) == 2
        for stream in streams.values():
            stream.flush()
        patch.setattr(sys, "stdout", None)
        assert main(numpy_rnn, ["--epochs", "1", "--no-plot"]) == 0
    assert sorted(os.listdir()) == sorted(files.values())
    assert name_of(files["--data"]).isprintable()  # for the page of a study, too
    printed, message = (stream.buffer.getvalue().decode("ascii") for stream in streams.values())
    assert printed.startswith("numpy_rnn: a$")
    assert "\x1b" not in printed + message
    assert message.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("closed", "status", "words"), [("1", 0, ""), ("2", 2, "--epochs x")])
def test_process_without_a_stream(closed, status, words):
    command = f'exec "$0" -m numpy_rnn --epochs 2 --no-plot --save run.npz {words} {closed}>&-'
    ended = run(["sh", "-c", command, sys.executable], text=False)
    assert ended.returncode == status
    assert os.listdir() == ([] if status else ["run.npz"])
    assert ended.stderr == b""
    assert ended.stdout == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "numpy_rnn --epochs 1 --no-plot",
        "numpy_rnn --quiet --epochs 1 --no-plot",
        "benchmarks --list",
    ],
)
def test_full_disk_is_one_line(words, tmp_path):
    module = words.split()[0]
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", *words.split()]
        where = with_benchmarks(tmp_path)
        ended = subprocess.run(
            command, cwd=where, stdout=full, stderr=subprocess.PIPE, text=True, env=environment()
        )
    message = f"{module}: the output cannot be written: No space left on device\n"
    expected = (0, "") if "--quiet" in words else (2, message)  # where nothing is printed
    assert (ended.returncode, ended.stderr.removeprefix("python -m ")) == expected
