"""Files that cannot be used: one line that says why, status 2, no pickle run, no file touched (design, 7)."""

import io
import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from in_process import refused


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def weights(**changed):
    W_xh, W_hh, W_hy = np.zeros((1, 6), "f4"), np.zeros((6, 6), "f4"), np.zeros((6, 1), "f4")
    return {"W_xh": W_xh, "W_hh": W_hh, "W_hy": W_hy, **changed}


class Bomb:
    """Unpickled, it makes a file."""

    def __reduce__(self):
        return open, ("exploded", "w")


DATA: dict[str, tuple] = {
    "missing": ("a.csv", None, "a.csv does not exist: expected a .csv, .tsv, .txt or .npy file; check the path"),
    "unknown ending": ("a.xls", b"1", "unknown ending '.xls'; expected .csv, .tsv, .txt or .npy"),
    "folder": ("a.csv", "folder", "a.csv cannot be read: Is a directory; check the path"),
    "empty": ("a.csv", b"", "it has no rows; expected finite numbers, one row per time step"),
    "names only": ("a.csv", b"one,two\n", "it has no rows; expected"),
    "blank lines only": ("a.txt", b"\n \n", "it has no rows; expected"),
    "one row": ("a.csv", b"1,2\n", "it has 1 row; expected 3 or more"),
    "two rows": ("a.npy", npy(np.zeros(2)), "it has 2 rows; expected 3 or more"),
    "text": ("a.csv", b"1\n2\nthree\n4\n", "line 3, column 1 is 'three'; expected finite numbers"),
    "two lines of names": ("a.txt", b"a b\nm s\n1 2\n", "line 2, column 1 is 'm'; expected"),
    "half a header": ("a.csv", b"time,1\n1,2\n3,4\n", "line 1, column 1 is 'time'; expected"),
    "gap": ("a.csv", b"x,y\n1,2\n3,\n5,6\n", "line 3, column 2 is ''; expected"),
    "row of gaps": ("a.csv", b"1,2\n,\n5,6\n", "line 2, column 1 is ''; expected"),
    "underscore": ("a.txt", b"1\n1_000\n2\n", "line 2, column 1 is '1_000'; expected"),
    "NaN": ("a.csv", b"x\n1\nnan\n3\n", "line 3, column 1 is 'nan'; expected finite numbers"),
    "NaN first": ("a.csv", b"nan\n1\n2\n3\n", "line 1, column 1 is 'nan'; expected finite numbers"),
    "infinity": ("a.txt", b"1 2\n3 -inf\n5 6\n", "line 2, column 2 is '-inf'; expected finite numbers"),
    "too large": ("a.txt", b"1\n2\n1e999\n", "line 3, column 1 is '1e999'; expected finite numbers"),
    "ragged": (
        "a.csv",
        b"1,2\n3,4\n\n5\n",
        "line 4 has 1 column, but the first row has 2; expected the same number of columns in every row",
    ),
    "quote left open": ("a.csv", b'1,2\n"3,4\n5,6\n', "unexpected end of data; expected"),
    "bytes": ("a.txt", b"\xff\xfe1\x00", "'utf-8' codec can't decode byte 0xff", "; expected finite numbers"),
    "NaN in npy": ("a.npy", npy(np.array([[1, 2], [3, np.nan], [5, 6]])), "row 2, column 2 is nan; expected"),
    "infinity in npy": ("a.npy", npy(np.array([np.inf, 1, 2])), "row 1, column 1 is inf; expected"),
    "three axes": (
        "a.npy",
        npy(np.zeros((3, 3, 3))),
        "float64 of shape (3, 3, 3), not real numbers with one or two axes",
    ),
    "no axis": ("a.npy", npy(np.float64(1)), "float64 of shape (), not real numbers with one or two axes"),
    "complex": ("a.npy", npy(np.zeros(3, complex)), "complex128 of shape (3,), not real numbers"),
    "strings": ("a.npy", npy(np.array(["a", "b", "c"])), "<U1 of shape (3,), not real numbers"),
    "no rows": ("a.npy", npy(np.zeros((0, 3))), "it is empty, of shape (0, 3)"),
    "no columns": ("a.npy", npy(np.zeros((3, 0))), "it is empty, of shape (3, 0)"),
    "npz": ("a.npy", npz(x=np.zeros(3)), "it is not a complete array that numpy.save wrote"),
    "objects": ("a.npy", npy(np.array([Bomb()] * 3)), "or contains Python objects; pickle is never read"),
    "pickle": ("a.npy", pickle.dumps(Bomb()), "it is not a complete array", "pickle is never read"),
    **{
        f"npy cut to {size}": (
            "a.npy",
            npy(np.zeros((4, 3)))[:size],
            "it is not a complete array that numpy.save wrote",
        )
        for size in (0, 3, 7, 9, 60, 127, 128, 129, 223)
    },
}


@pytest.mark.parametrize("case", DATA)
def test_data_that_cannot_be_used(rnn, capsys, case):
    name, content, *pieces = DATA[case]
    if content == "folder":
        os.mkdir(name)
    elif content is not None:
        Path(name).write_bytes(content)
    message = refused(rnn, capsys, "--data", name, "--save", "w.npz", "--trace", "t.npz", "--no-plot")
    assert message.startswith(f"data file {name}")
    assert all(piece in message for piece in pieces), message


WHOLE = npz(**weights())
with io.BytesIO() as _file:
    np.savez_compressed(_file, **weights())
    COMPRESSED = _file.getvalue()
CUTS = (1, 3, 4, 29, 30, 60, 300, 500, len(WHOLE) // 2, len(WHOLE) - 200, len(WHOLE) - 22, len(WHOLE) - 1)
HEADERS = [match.start() + 8 for match in re.finditer(b"\x93NUMPY", WHOLE)]  # where the lengths of .npy headers are


def flipped(content, *places):
    content = bytearray(content)
    for place in places:
        content[place] ^= 0xFF
    return bytes(content)


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


def bomb(size):
    """A small archive of an array that declares `size` bytes, all of them zero."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("W_xh.npy", "w") as entry:
        entry.write(npy(np.zeros(1, "f4")))
    content = bytearray(file.getvalue())
    place = content.index(b"PK\x01\x02") + 24  # of the declared size in the directory
    content[place : place + 4] = size.to_bytes(4, "little")
    return bytes(content)


DAMAGED = "is truncated or damaged: expected a complete .npz file; write or copy it again"
FOREIGN = "is not an .npz file: expected named arrays as numpy.savez writes them"
NAMES = "expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0, as --save writes them"
WEIGHTS: dict[str, tuple] = {
    "missing": (None, "w.npz does not exist: check the path"),
    "folder": ("folder", "w.npz cannot be read: Is a directory; check the path"),
    "empty": (b"", FOREIGN),
    "text": (b"1,2,3\n", FOREIGN),
    "npy": (npy(np.zeros(3)), FOREIGN),
    "pickle": (pickle.dumps(Bomb()), FOREIGN),
    "pickle like a zip": (b"PK\x03\x04" + pickle.dumps(Bomb()), DAMAGED),
    "objects": (
        npz(**weights(W_xh=np.array([[Bomb()] * 6]))),
        "contains Python objects: expected plain arrays; pickle",
    ),
    "no array": (zipped("W_xh", "text"), "holds W_xh, which is not an array: expected a file that numpy.savez wrote"),
    "no arrays": (npz(), "has no W_xh, W_hh, W_hy:", NAMES),
    "other names": (npz(weight=np.zeros(3)), "has no W_xh, W_hh, W_hy:", NAMES),
    "a name too many": (npz(**weights(c_0=np.zeros(6))), "has c_0:", NAMES),
    "one bias": (npz(**weights(b_h=np.zeros(6, "f4"))), "b_h is given without b_y: expected both biases or neither"),
    "shape": (npz(**weights(W_hy=np.zeros((5, 1), "f4"))), "W_hy has shape (5, 1): expected (6, 1)"),
    "not square": (npz(**weights(W_hh=np.zeros((5, 6), "f4"))), "W_hh has shape (5, 6): expected a square matrix"),
    "too few axes": (npz(**weights(W_xh=np.zeros(6, "f4"))), "W_xh has shape (6,): expected 2 axes"),
    "no networks": (
        npz(**{k: v[None][:0] for k, v in weights().items()}),
        "shape (0, 1, 6); expected no axis of length 0",
    ),
    "integers": (npz(**weights(W_xh=np.zeros((1, 6), int))), "W_xh is int64; expected float32 or float64"),
    "two dtypes": (npz(**weights(W_xh=np.zeros((1, 6)))), "W_xh is float64 and W_hh is float32: expected one dtype"),
    "NaN": (
        npz(**weights(W_hy=np.full((6, 1), np.nan, "f4"))),
        "W_hy contains NaN or infinity; expected finite numbers",
    ),
    "infinity": (
        npz(**weights(W_xh=np.full((1, 6), np.inf))),
        "W_xh contains NaN or infinity; expected finite numbers",
    ),
    "encrypted": (flipped(zipped("W_xh.npy", "a"), 6, zipped("W_xh.npy", "a").index(b"PK\x01\x02") + 8), DAMAGED),
    **{f"cut to {size}": (WHOLE[:size], FOREIGN if size < 4 else DAMAGED) for size in CUTS},
    **{f"compressed, cut to {size}": (COMPRESSED[:size], DAMAGED) for size in (30, 100, len(COMPRESSED) - 30)},
    **{f"header changed at {place}": (flipped(WHOLE, place), DAMAGED) for place in HEADERS},
    "gigabytes declared": (
        bomb(2**32 - 2**20),
        "bytes and declares arrays of 4293918720: expected",
        " at most; the file is",
    ),
    "thousands of names": (npz(**weights(), **{f"n{n}": np.zeros(0) for n in range(3000)}), "has n0, n1, n2,", "...:"),
    "a long name": (npz(**weights(), **{"n" * 60_000: np.zeros(0)}), "has nnnn", "...:"),
    "no array of a long name": (zipped("n" * 60_000, "text"), "holds nnnn", "..., which is not an array"),
    "numbers changed": (flipped(WHOLE, HEADERS[1] + 130), DAMAGED),
    "compressed changed": (flipped(COMPRESSED, 60), DAMAGED),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_that_cannot_be_used(rnn, capsys, case):
    content, *pieces = WEIGHTS[case]
    if content == "folder":
        os.mkdir("w.npz")
    elif content is not None:
        Path("w.npz").write_bytes(content)
    message = refused(rnn, capsys, "--weights", "w.npz", "--save", "s.npz", "--no-plot")
    assert message.startswith("weights file w.npz")
    assert len(message) < 600
    assert all(piece in message for piece in pieces), message
    assert not Path("exploded").exists()


def test_the_bomb_explodes_when_it_is_unpickled():
    pickle.loads(pickle.dumps(Bomb())).close()
    assert Path("exploded").exists()
