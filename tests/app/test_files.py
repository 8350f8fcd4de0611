"""Files: weights that are read and refused, and files that are written whole or not at
all, with the mode of what they replace.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import numpy_rnn
from numpy_rnn import Gradients, InputError
from numpy_rnn.app.model_file import SavedModel, load_model, save_model
from numpy_rnn.common.files import load_arrays, save_arrays
from tests.helpers.command_line import refused
from tests.helpers.comparing import bits, fewer

ONE = numpy_rnn.initial_parameters()
WEIGHTS = {name: getattr(ONE, name) for name in ("W_xh", "W_hh", "W_hy")}


class Bomb:
    """An object that creates the file `exploded` when it is unpickled."""

    def __reduce__(self):
        return open, ("exploded", "w")


REFUSED_WEIGHTS: list[tuple[dict, str]] = [  # changed arrays, part of the message
    ({"W_hy": None}, "it has W_xh, W_hh: expected W_xh, W_hh, W_hy and what --save"),
    ({"W_hy": np.full((6, 1), np.nan, "f4")}, "W_hy contains NaN or infinity"),
    ({"W_hh": np.array([Bomb()])}, "is damaged, or no .npz file of plain arrays"),
    (
        {"W_xh": np.ones((2, 6), "f4")},
        "w.npz has (2, 1) inputs and outputs: expected 1 of both",
    ),
    ({"vW_hh": np.ones((6, 6), "f4")}, "W_xh of the velocity is of type NoneType"),
]


@pytest.mark.parametrize(("changed", "message"), REFUSED_WEIGHTS)
def test_refused_weights(capsys, changed, message):
    arrays = WEIGHTS | changed
    np.savez("w.npz", **{name: W for name, W in arrays.items() if W is not None})
    assert message in refused(numpy_rnn, capsys, "--weights", "w.npz", "--no-plot")
    assert not Path("exploded").exists()


def test_lack_of_memory_is_no_damage(capsys, monkeypatch):
    np.savez("w.npz", **WEIGHTS)
    monkeypatch.setattr(np, "load", Mock(side_effect=MemoryError))
    message = refused(numpy_rnn, capsys, "--weights", "w.npz", "--no-plot")
    assert message.startswith("there is not enough memory")


@fewer(2)
@given(place=st.integers(0, 2**20), bit=st.integers(0, 7), size=st.integers(0, 2**20))
def test_damaged_file_is_refused_or_complete(place, bit, size):
    save_model("w.npz", SavedModel(ONE, Gradients(*ONE)))
    whole = Path("w.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[place % len(whole)] ^= 1 << bit
    for content in (bytes(flipped), whole[: size % len(whole)]):
        Path("w.npz").write_bytes(content)
        with suppress(InputError):  # any other exception is a failure
            params = load_model("w.npz").params
            assert bits(params) == bits(ONE)
            assert content == bytes(flipped)


@pytest.mark.needs_matplotlib
def test_inputs_are_never_overwritten(capsys):
    """An output that is an input by another name, or by a link, is refused."""
    np.savez("w.npz", **WEIGHTS)
    for name in ("s.npz", "s.png"):
        Path(name).write_text("1\n2\n4\n3\n" * 20)
    os.symlink("s.npz", "link.npz")
    for words in (
        "--weights w.npz --save ./w.npz",
        "--data s.npz --save link.npz",
        "--data link.npz --save s.npz",
        "--text s.npz --save s.npz",
        "--data s.png --plot s.png",
    ):
        assert "expected different files" in refused(numpy_rnn, capsys, *words.split())


# Any file


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mode", [0o640, 0o444])
def test_mode_of_a_replaced_file_is_kept(tmp_path, mode, monkeypatch):
    """Nobody else can read the unfinished file."""
    modes = []
    savez = np.savez

    def observed(file, **arrays):
        modes.append(mode_of(file.name))
        savez(file, **arrays)

    monkeypatch.setattr(np, "savez", observed)
    file, link = tmp_path / "w.npz", tmp_path / "link.npz"
    file.write_bytes(b"old")
    file.chmod(mode)
    link.symlink_to(file)
    save_arrays(str(link), {"W": np.ones(2)})
    assert (modes, mode_of(file)) == ([0o600], mode)
    assert link.is_symlink()
    np.testing.assert_array_equal(load_arrays(str(file), "weights")["W"], [1, 1])


def test_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "w.npz")
    with pytest.raises(InputError, match="is no file: expected the name of a file"):
        save_arrays(str(tmp_path / "w.npz"), {"W": np.ones(2)})
    assert os.listdir(tmp_path) == ["w.npz"]
    assert (tmp_path / "w.npz").is_fifo()


def test_file_in_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        save_arrays(str(tmp_path / "file/w.npz"), {"W": np.ones(2)})


def test_mode_of_a_new_file_is_that_of_any_new_file(tmp_path):
    (tmp_path / "any").write_text("")
    save_arrays(str(tmp_path / "w.npz"), {"W": np.ones(2)})
    assert mode_of(tmp_path / "w.npz") == mode_of(tmp_path / "any")


def test_unfinished_file_changes_nothing(tmp_path, monkeypatch):
    """A full disk leaves the old file, and no other file."""
    file = tmp_path / "w.npz"
    save_arrays(str(file), {"W": np.ones(2)})
    before = file.read_bytes()

    def half_written(stream, **arrays):
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", half_written)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        save_arrays(str(file), {"W": np.zeros(2)})
    assert file.read_bytes() == before
    assert os.listdir(tmp_path) == ["w.npz"]
