"""Processes: what `python -m numpy_rnn` prints, Ctrl-C, SIGTERM and SIGHUP, and whatever is left of the streams."""

import io
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from children import environment, run, start
from in_process import command, contents, main, succeed

import numpy_rnn
from numpy_rnn.app import results, terminal
from numpy_rnn.app import run as running
from numpy_rnn.app.checkpoint import load_checkpoint
from numpy_rnn.app.terminal import SIGNALS, deferred_signals


def outer():
    """The environment of another process, which finds this source tree and nothing that the tests set up."""
    return environment(MPLBACKEND="agg", PYTHONUNBUFFERED="")


@pytest.mark.slow
def test_numpy_alone_is_imported():
    program = (
        "import sys; from numpy_rnn.__main__ import main;"
        "main(['--no-plot', '--epochs', '1']);"
        "print(sorted({'torch', 'matplotlib', 'torch_rnn', 'tqdm', 'jinja2'} & set(sys.modules)))"
    )
    assert run([sys.executable, "-c", program], check=True, env=outer()).stdout.endswith("\n[]\n")


ORDERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def press(monkeypatch, at, *orders, yield_every=1):
    """Send signals to this process when so many updates are made at once for the `at`-th time; returns those sent."""
    made, sent = [], []
    monkeypatch.setattr(running, "MAX_UPDATES", yield_every)

    def advance(self, *_):
        made.append(1)
        for order in orders if len(made) == at else ():
            sent.append(order)
            os.kill(os.getpid(), order)

    monkeypatch.setattr(terminal.Progress, "advance", advance)
    return sent


SAVING = {  # options, and what the message says was saved
    "": "",
    "--save run.npz": "; nothing was saved",
    "--save run.npz --save-every 0": "; run.npz has the run after epoch 2, update 20: continue with --resume run.npz",
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("save", SAVING)
def test_a_signal_acts_at_once_without_save_and_with_it_a_second_one(capsys, monkeypatch, order, save):
    """With --save the first one waits for the end of the update; whoever cannot wait sends a second one."""
    orders = [signal.SIGINT, order] if save else [order]
    sent = press(monkeypatch, 41, *orders, signal.SIGINT)
    ended = command(numpy_rnn, capsys, "--no-plot", *save.split())
    assert (ended.status, ended.err) == (128 + order, f"numpy_rnn: interrupted{SAVING[save]}\n")
    assert sent == orders
    assert os.listdir() == ["run.npz"] * ("has the run" in SAVING[save])
    assert not os.path.exists("run.npz") or load_checkpoint("run.npz").state[:2] == (2, 20)


@pytest.mark.parametrize("yield_every", [1, 5])
def test_the_updates_in_progress_are_finished_and_saved_whatever_save_every_is(rnn, capsys, monkeypatch, yield_every):
    for at in (1, 4, 60 // yield_every):
        press(monkeypatch, at, signal.SIGINT, yield_every=yield_every)
        ended = command(rnn, capsys, "--epochs", 3, "--save", "run.npz", "--no-plot")
        state = load_checkpoint("run.npz").state
        # the signal comes when its updates are made; it is checked after the next ones, if there are any
        assert (ended.status, (state.epoch - 1) * 20 + state.number) == (130, min(60, (at + 1) * yield_every))
        assert f"after epoch {state.epoch}, update {state.number}: continue with --resume run.npz" in ended.err
    assert os.listdir() == ["run.npz"]


def test_ctrl_c_while_the_last_state_is_written(capsys, monkeypatch):
    """A second one is for those who cannot wait for the disk: nothing is half written, and there is no traceback."""
    Path("run.npz").write_text("old")
    press(monkeypatch, 7, signal.SIGINT)
    monkeypatch.setattr(os, "fsync", lambda _: os.kill(os.getpid(), signal.SIGINT))
    ended = command(numpy_rnn, capsys, "--epochs", 3, "--save", "run.npz", "--no-plot")
    assert (ended.status, ended.err) == (130, "numpy_rnn: interrupted; nothing was saved\n")
    assert contents() == {Path("run.npz"): b"old"}


def test_signal_handlers_are_restored_and_left_alone_in_another_thread(capsys):
    before = [signal.getsignal(number) for number in SIGNALS]
    options = ["--epochs", "2", "--save", "run.npz", "--save-every", "9", "--no-plot"]
    with ThreadPoolExecutor() as pool:
        assert pool.submit(main, numpy_rnn, options).result() == 0
    succeed(numpy_rnn, capsys, *options)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with suppress(EOFError), deferred_signals():
        assert all(signal.getsignal(number) not in before for number in SIGNALS)
        raise EOFError
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("order", ORDERS)
def test_a_signal_that_is_ignored_stays_so(capsys, monkeypatch, order):
    """As under nohup, or in a script's background; with --save and without."""
    with ExitStack() as stack:
        stack.callback(signal.signal, order, signal.signal(order, signal.SIG_IGN))
        for save in ([], ["--save", "run.npz"]):
            press(monkeypatch, 2, order)
            succeed(numpy_rnn, capsys, "--epochs", 3, "--no-plot", *save)
            assert signal.getsignal(order) == signal.SIG_IGN


@pytest.mark.parametrize("passes", [[20], [20, 1]], ids=["predicts", "generates"])
def test_ctrl_c_while_it_predicts_or_generates_acts(capsys, monkeypatch, passes):
    """The run was saved before. Nothing more is computed after the signal, which comes in the last of these passes."""
    made, forward = [], results._forward

    def interrupted(rnn, params, x, *rest):
        made.append(len(x))
        if made == passes:
            os.kill(os.getpid(), signal.SIGINT)
        return forward(rnn, params, x, *rest)

    monkeypatch.setattr(results, "_forward", interrupted)
    ended = command(numpy_rnn, capsys, "--epochs", 3, "--save", "run.npz", "--no-plot", "--generate", 1000)
    assert (ended.status, made) == (130, passes)
    assert "; saved the run so far to run.npz, after epoch 3, update 20:" in ended.err
    assert load_checkpoint("run.npz").state[:2] == (3, 20)


@pytest.mark.parametrize("save", [[], ["--save", "run.npz"]])
def test_a_plot_that_cannot_be_drawn_does_not_lose_the_run(capsys, monkeypatch, save):
    def draw(*_):
        assert os.path.exists("run.npz") == bool(save)
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("numpy_rnn.app.plots.draw", draw)
    monkeypatch.setattr("numpy_rnn.app.plots.check_can_draw", lambda *_: None)
    ended = command(numpy_rnn, capsys, "--epochs", 2, "--plot", "a.png", *save)
    held = "; the run is saved in run.npz" if save else ""
    assert ended.status == 2
    assert ended.err == f"numpy_rnn: the plot cannot be drawn (RuntimeError: two lines): use --no-plot{held}\n"
    assert "free-running" in ended.out
    assert sorted(os.listdir()) == save[1:]


IMPORTING = """
import signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name in ("torch", "numpy_rnn.app.command_line"):
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""


@pytest.mark.slow
@pytest.mark.parametrize("package", ["numpy_rnn", pytest.param("torch_rnn", marks=pytest.mark.needs_torch)])
def test_ctrl_c_during_the_imports_is_one_line(package):
    Path("sitecustomize.py").write_text(IMPORTING)  # which Python runs before all else
    path = os.pathsep.join([os.getcwd(), outer()["PYTHONPATH"]])
    ended = run([sys.executable, "-m", package], env={**outer(), "PYTHONPATH": path})
    assert (ended.stdout, ended.stderr) == ("", "interrupted\n")
    assert ended.returncode in (130, -signal.SIGINT)


# A formula, half a formula, no UTF-8, no glyphs, not ASCII, a line end, an escape, braces and per cent.
ODD = rb"a$\foo$ $x_ " + b"\xff\xfe " + "漢字 é → ﬁ\n".encode() + b"\x1b[31m {0} %s"


@pytest.mark.needs_matplotlib
def test_a_run_on_a_file_of_any_name_writes_all_its_files(monkeypatch):
    """Warnings are errors here, so there is none either. That such a name is drawn as it is: test_plots.py."""
    name = os.fsdecode(ODD)
    files = {"--data": f"{name}.csv", "--save": name, "--output": f"{name}.json", "--plot": f"{name}.png"}
    try:
        Path(files["--data"]).write_text('"' + ODD.decode("utf-8", "replace") + '","b"\n1,2\n2,1\n3,5\n4,3\n', "utf-8")
    except OSError:
        pytest.skip("the file system has no such names")
    streams = {stream: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for stream in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        for stream in streams.items():
            patch.setattr(sys, *stream)
        assert main(numpy_rnn, ["--epochs", "1", *map("=".join, files.items())]) == 0
        assert main(numpy_rnn, [f"--data=no{name}.csv", "--no-plot"]) == 2
        patch.setattr(sys, "stdout", None)
        assert main(numpy_rnn, ["--epochs", "1", "--no-plot"]) == 0
        assert sys.stdout is None
    assert sorted(os.listdir()) == sorted(files.values())
    printed, message = (stream.buffer.getvalue().decode("ascii") for stream in streams.values())
    assert printed.startswith("numpy_rnn: a$")
    assert "\x1b" not in printed.splitlines()[0] + message
    assert message.count("\n") == 1
    assert {stream.errors for stream in streams.values()} == {"strict"}  # as before


@pytest.mark.needs_matplotlib
def test_names_of_files_are_printed_without_control_characters(capsys):
    names = {"--save": "s\x1b.npz", "--trace": "t\x1b.npz", "--output": "o\x1b.csv", "--plot": "p\x1b.png"}
    out = succeed(numpy_rnn, capsys, "--epochs", 1, *(word for pair in names.items() for word in pair))
    out += succeed(numpy_rnn, capsys, "--resume", names["--save"], "--epochs", 2, "--no-plot")
    assert (out.count("\x1b"), out.count("\\x1b")) == (0, 5)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="streams are closed by a POSIX shell")
@pytest.mark.parametrize(("closed", "status", "words"), [("1", 0, ""), ("2", 2, "--epochs x")])
def test_a_process_without_a_stream_ends_as_any_other(closed, status, words):
    command = f'exec "$0" -m numpy_rnn --epochs 2 --no-plot --save run.npz {words} {closed}>&-'
    ended = run(["sh", "-c", command, sys.executable], text=False)
    assert ended.returncode == status
    assert os.listdir() == ([] if status else ["run.npz"])
    assert ended.stderr == b""
    assert ended.stdout.startswith(b"" if status or closed == "1" else b"numpy_rnn: ")


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "epochs"), [(1, "100"), (0, "0")])  # without epochs all is written at the end
def test_a_reader_that_goes_away_is_no_error(lines, epochs):
    command = [sys.executable, "-m", "numpy_rnn", "--no-plot", "--epochs", epochs, "--log-every", "1"]
    with start(command, env=outer(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
