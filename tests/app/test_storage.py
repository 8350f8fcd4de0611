"""Files are written whole or not at all, and read without pickle; what cannot be read or written is one line."""

import errno
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from children import environment, run
from comparing import bits
from hypothesis import given
from hypothesis import strategies as st
from in_process import command, contents, listed, refused, succeed
from inline_snapshot import snapshot
from made_up import Bomb

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app.checkpoint import load_parameters, save_parameters
from numpy_rnn.common.files import load_arrays, save_arrays, written_whole

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("fails", ["while it is written", "when it is replaced", "by Ctrl-C"])
@pytest.mark.parametrize("exists", [True, False])
def test_failed_write_changes_nothing(monkeypatch, fails, exists):
    if exists:
        Path("a.npz").write_bytes(b"old")
    before = contents()
    reason = KeyboardInterrupt() if fails == "by Ctrl-C" else FULL

    def write():
        with written_whole("a.npz") as temporary:
            temporary.write_bytes(b"half")
            if fails != "when it is replaced":
                raise reason

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", Mock(side_effect=FULL))
        with pytest.raises((InputError, KeyboardInterrupt), match=r"^a\.npz cannot be written: No space left|^$"):
            write()
    assert contents() == before


def test_replaced_file_keeps_permissions_and_links():
    Path("real.npz").write_bytes(b"old")
    os.chmod("real.npz", 0o600)
    os.symlink("real.npz", "link.npz")
    save_arrays("link.npz", {"x": np.arange(3)})
    assert os.path.islink("link.npz")
    assert os.stat("real.npz").st_mode & 0o777 == 0o600
    assert load_arrays("link.npz", "file")["x"].tolist() == [0, 1, 2]


def test_full_disk_after_the_run_is_one_line(capsys, monkeypatch):
    for option in ("--save", "--output", "--trace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", Mock(side_effect=FULL))
            name = "a.json" if option == "--output" else "a.npz"
            ended = command(numpy_rnn, capsys, "--epochs", 1, option, name, "--no-plot")
        why = f"numpy_rnn: {name} cannot be written: No space left on device; choose another place\n"
        assert (ended.status, ended.err) == (2, why)
        assert "free-running" in ended.out
        assert os.listdir() == []


@pytest.mark.needs_matplotlib
def test_refused_outputs(capsys):
    os.mkdir("folder")
    Path("a.csv").write_text("1\n2\n3\n4\n")
    cases = (
        "--save folder",
        "--save folder/pipe",
        "--save none/a.npz",
        "--output a.txt",
        "--plot a.gif",
        "--save a.npz --trace a.npz --no-plot",
        "--data a.csv --output ./a.csv --no-plot",
    )
    os.mkfifo("folder/pipe")
    messages = {words: refused(numpy_rnn, capsys, *words.split()) for words in cases}
    assert listed(messages) == snapshot("""\
--save folder:
    --save folder is not a file, or standard input or output: choose another name
--save folder/pipe:
    --save folder/pipe is not a file, or standard input or output: choose another name
--save none/a.npz:
    --save none/a.npz cannot be written: No such file or directory; choose another place
--output a.txt:
    --output a.txt: unknown ending '.txt'; expected .csv or .json
--plot a.gif:
    --plot a.gif: unknown ending '.gif'; expected .png or .pdf or .svg or .jpg
--save a.npz --trace a.npz --no-plot:
    --save and --trace both name a.npz: expected different files
--data a.csv --output ./a.csv --no-plot:
    --data and --output both name ./a.csv: expected different files\
""")


@pytest.mark.slow
def test_standard_input_is_not_replaced():
    """By whichever of its names."""
    Path("s.csv").write_text("1\n2\n3\n5\n")
    for option in ("--save /dev/stdin", "--save /proc/self/fd/0", "--data - --output s.csv"):
        words = [sys.executable, "-m", "numpy_rnn", "--epochs", "1", "--no-plot", *option.split()]
        with open("s.csv") as file:
            ended = run(words, stdin=file, env=environment())
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert "standard input" in ended.stderr
        assert Path("s.csv").read_text() == "1\n2\n3\n5\n"
        assert os.listdir() == ["s.csv"]


def test_weights_in_and_out(capsys):
    params = numpy_rnn.initial_parameters(bias=True, networks=3)
    save_parameters("w.npz", params)
    assert bits(load_parameters("w.npz")) == bits(params)
    np.savez(
        "f.npz", **{name: np.asfortranarray(theta) for name, theta in params._asdict().items() if theta is not None}
    )
    assert all(theta is None or theta.flags.c_contiguous for theta in load_parameters("f.npz"))
    one, other = (
        succeed(numpy_rnn, capsys, "--weights", name, "--epochs", 2, "--no-plot") for name in ("w.npz", "f.npz")
    )
    assert one == other.replace("f.npz", "w.npz")


ONE = numpy_rnn.initial_parameters()
WEIGHTS = {
    "missing": {"W_hh": None},
    "unknown": {"W": np.ones(3)},
    "integers": {"W_hh": np.ones((6, 6), int)},
    "shape": {"W_hh": np.ones((5, 6), "f4")},
    "NaN": {"W_hy": np.full((6, 1), np.nan, "f4")},
    "empty": {"W_xh": np.ones((0, 6), "f4")},
    "objects": {"W_hh": np.array([Bomb()])},
    "two-inputs": {"W_xh": np.ones((2, 6), "f4")},
    "two-sequences": {"h_0": np.ones((2, 6), "f4")},
    "large": {name: theta.astype("f8") * 1e39 for name, theta in ONE._asdict().items() if theta is not None},
}


def test_refused_weights(capsys):
    messages = {}
    for case, changed in WEIGHTS.items():
        arrays = ONE._asdict() | changed
        np.savez("w.npz", **{name: array for name, array in arrays.items() if array is not None})
        messages[case] = refused(numpy_rnn, capsys, "--weights", "w.npz", "--dtype", "float32", "--no-plot")
    save_parameters("w.npz", ONE)
    for words in ("--hidden-size 5", "--weights none.npz", "--weights ."):
        messages[words] = refused(numpy_rnn, capsys, "--weights", "w.npz", *words.split(), "--no-plot")
    assert not Path("exploded").exists()
    assert listed(messages) == snapshot("""\
missing:
    weights file w.npz has no W_hh: expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0, as
    --save writes them
unknown:
    weights file w.npz has W: expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0, as --save
    writes them
integers:
    weights file w.npz: W_hh is int64 of shape (6, 6); expected floats, not empty
shape:
    weights file w.npz: W_hh has shape (5, 6): expected (6, 6)
NaN:
    weights file w.npz: W_hy contains NaN or infinity; expected finite numbers
empty:
    weights file w.npz: W_xh is float32 of shape (0, 6); expected floats, not empty
objects:
    weights file w.npz is damaged, or no .npz file of plain arrays: pickle is never read; write it again
two-inputs:
    weights file w.npz is for 2 inputs and 1 outputs: expected 1 of each, the columns of the series
two-sequences:
    weights file w.npz has an initial state for 2 sequences: expected 1
large:
    weights file w.npz has values too large for float32: use --dtype float64
--hidden-size 5:
    weights file w.npz has hidden size 6: leave --hidden-size out
--weights none.npz:
    weights file none.npz cannot be read: No such file or directory; check the path
--weights .:
    weights file . cannot be read: Is a directory; check the path\
""")


@given(place=st.integers(0, 2**20), bit=st.integers(0, 7), size=st.integers(0, 2**20))
def test_damaged_npz_is_refused_or_complete(place, bit, size):
    """A flipped bit and a missing end."""
    save_parameters("w.npz", ONE)
    whole = Path("w.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[place % len(whole)] ^= 1 << bit
    for content in (bytes(flipped), whole[: size % len(whole)]):
        Path("w.npz").write_bytes(content)
        with suppress(InputError):  # any other exception is a failure
            assert bits(load_parameters("w.npz")) == bits(ONE)
            assert content == bytes(flipped)


def test_lost_reader_is_no_error():
    words = [sys.executable, "-m", "numpy_rnn", "--no-plot", "--epochs", "1000", "--log-every", "1"]
    with subprocess.Popen(
        words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1
