"""Files are written whole or not at all, and keep the mode of what they replace."""

import errno
import os
import stat

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.common.files import load_arrays, save_arrays


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
