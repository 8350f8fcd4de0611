"""Files are written whole or not at all, and read without pickle; what cannot be read or written is one line."""

import errno
import itertools
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from children import environment
from comparing import bits
from hypothesis import given
from hypothesis import strategies as st
from in_process import command, contents, refused
from made_up import Bomb

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app.checkpoint import load_parameters, save_parameters
from numpy_rnn.common import files
from numpy_rnn.common.files import load_arrays, save_arrays, written_whole

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


CAUSES = [*itertools.product([FULL, KeyboardInterrupt()], [True, False], [True, False])]


@pytest.mark.parametrize(("reason", "early", "exists"), CAUSES)
def test_failed_write_changes_nothing(monkeypatch, reason, early, exists):
    """While it is written, or when it is replaced."""
    if exists:
        Path("a.npz").write_bytes(b"old")
    before = contents()
    monkeypatch.setattr(os, "replace", Mock(side_effect=reason))

    def write():
        with written_whole("a.npz") as temporary:
            temporary.write_bytes(b"half")
            if early:
                raise reason

    with pytest.raises(
        (InputError, KeyboardInterrupt), match=r"^a\.npz cannot be written: No space left|^$"
    ):
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
    for option in ("--save", "--output"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", Mock(side_effect=FULL))
            name = "a.csv" if option == "--output" else "a.npz"
            ended = command(numpy_rnn, capsys, "--epochs", 1, option, name, "--no-plot")
        why = (
            f"numpy_rnn: {name} cannot be written: No space left on device; choose another place\n"
        )
        assert (ended.status, ended.err) == (2, why)
        assert "free-running" in ended.out
        assert os.listdir() == []


ONE = numpy_rnn.initial_parameters()
WEIGHTS: list[tuple[dict, str, str]] = [  # arrays that are changed, other options, the message
    (
        {"W_hy": None},
        "",
        ": it has no W_hy: expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0",
    ),
    (
        {"W": np.ones(3)},
        "",
        ": it has W: expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0",
    ),
    ({"W_hh": np.ones((5, 6), "f4")}, "", ": W_hh has shape (5, 6): expected (6, 6)"),
    (
        {"W_hy": np.full((6, 1), np.nan, "f4")},
        "",
        ": W_hy contains NaN or infinity: expected finite numbers",
    ),
    (
        {"W_hh": np.array([Bomb()])},
        "",
        " is damaged, or no .npz file of plain arrays: pickle is never read",
    ),
    (
        {"W_xh": np.ones((2, 6), "f4")},
        "",
        ": it is for 2 inputs and 1 outputs: expected 1 of each, the columns of the",
    ),
    ({"h_0": np.ones((2, 6), "f4")}, "", ": it has an initial state for 2 sequences: expected 1"),
    (
        {"h_0": np.ones((1, 6), "f4")},
        "--no-learn-initial-state",
        ": it has learn initial state True: leave",
    ),
    (
        {W: getattr(ONE, W).astype("f8") * 1e39 for W in ONE._fields[:3]},
        "",
        ": it has values too large for float32",
    ),
    ({}, "--hidden-size 5", ": it has hidden size 6: leave --hidden-size out"),
    ({}, "--bias", ": it has bias False: leave --bias out"),
]


@pytest.mark.parametrize(("changed", "options", "message"), WEIGHTS)
def test_refused_weights(capsys, changed, options, message):
    arrays = ONE._asdict() | changed
    np.savez("w.npz", **{name: array for name, array in arrays.items() if array is not None})
    words = ["--weights", "w.npz", "--dtype", "float32", "--no-plot", *options.split()]
    assert refused(numpy_rnn, capsys, *words).startswith(f"weights file w.npz{message}")
    assert not Path("exploded").exists()


def test_small_file_of_huge_arrays_is_refused_unread(monkeypatch):
    """Also compressed files of usual ratios are read."""
    monkeypatch.setattr(files, "MAX_BYTES", 10)
    params = ONE._asdict() | {"W_hh": np.zeros((6, 6), "f4")}
    np.savez_compressed("w.npz", **{name: W for name, W in params.items() if W is not None})
    assert load_parameters("w.npz").W_hh.any() == np.False_
    np.savez_compressed(
        "w.npz", **{name: np.zeros((10**6,), "f4") for name in ("W_xh", "W_hh", "W_hy")}
    )
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: pytest.fail("read"))
    with pytest.raises(
        InputError, match=r"^weights file w.npz is compressed to less than a 100th: write it with"
    ):
        load_parameters("w.npz")


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
