"""Whatever a file is called, and whatever is left of standard output and standard error, a run comes to its end."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from children import run, start
from in_process import main

import numpy_rnn
from numpy_rnn.app.terminal import printing_anything

# A formula, half a formula, no UTF-8, no glyphs, not ASCII, a line end, an escape, braces and per cent.
ODD = rb"a$\foo$ $x_ " + b"\xff\xfe " + "漢字 é → ﬁ\n".encode() + b"\x1b[31m {0} %s"


def ascii_stream():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


@pytest.mark.needs_matplotlib
def test_a_run_on_a_file_of_any_name_writes_all_its_files(monkeypatch):
    """Warnings are errors here, so there is none either. That such a name is drawn as it is: test_plots.py."""
    name = os.fsdecode(ODD)
    data = name + ".csv"
    try:
        Path(data).write_text('"' + ODD.decode("utf-8", "replace") + '","b"\n1,2\n2,1\n3,5\n4,3\n', "utf-8")
    except OSError:
        pytest.skip("the file system has no such names")
    files = {"--data": data, "--save": name, "--output": f"{name}.json", "--plot": f"{name}.png"}
    out, err = streams = ascii_stream(), ascii_stream()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        status = main(numpy_rnn, ["--epochs", "1", *map("=".join, files.items())])
        missing = main(numpy_rnn, [f"--data=no{data}", "--no-plot"])
    assert (status, missing) == (0, 2)
    assert sorted(os.listdir()) == sorted(files.values())
    printed, message = (stream.buffer.getvalue().decode("ascii") for stream in streams)
    assert printed.startswith("numpy_rnn: a$")
    assert "\x1b" not in printed.splitlines()[0] + message
    assert message.count("\n") == 1


def test_the_streams_are_as_before_when_it_is_over(monkeypatch):
    ascii_only = ascii_stream()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", ascii_only)
        patch.setattr(sys, "stderr", None)
        with printing_anything():
            print("é\udcff\n漢")
            print("lost", file=sys.stderr)
        assert sys.stderr is None
        with pytest.raises(UnicodeEncodeError):
            print("é", flush=True)
    assert ascii_only.errors == "strict"
    assert ascii_only.buffer.getvalue() == b"\\xe9\\udcff\n\\u6f22\n"


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
    with start(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
