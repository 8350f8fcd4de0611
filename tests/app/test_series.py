"""Series: the bytes of a file, or of standard input, as an array or as one line that says what is wrong."""

import io
from pathlib import Path

import numpy as np
import pytest
from comparing import bits, fewer
from hypothesis import given
from hypothesis import strategies as st
from in_process import configured, refused, succeed
from made_up import Bomb

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app.experiment import mean_and_deviation, prepare
from numpy_rnn.app.series import NUMBERS, read_series

THREE = np.array([[1, 2], [3, -4.5], [5e-3, 6]])
SILSO_CSV = b"1749;01;1749.042;  96.7; -1.0;   -1;1\n1749;02;1749.123; 104.3; -1.0;   -1;1\n2024;12;2024.9; 154.5;2;2;0"
DATED = (
    b'date,"sunspots, monthly",place\n1749-01,96.7,\n1749-02,104.3,Zurich\n2024-12,154.5,Brussels\n'
)
TWO = ("one", "two")
SUNSPOTS = np.array([[96.7], [104.3], [154.5]])
TEXTS = {  # file, content, columns, rows, names
    "quoted-number-first": (
        "a.txt",
        b'"1"\n2\n3\n4\n',
        None,
        np.array([[1.0], [2.0], [3.0], [4.0]]),
        None,
    ),
    "quoted": (
        "a.csv",
        b'"one","two, or 2"\n"1","2"\n"3","-4.5"\n"5e-3","6"\n',
        None,
        THREE,
        ("one", "two, or 2"),
    ),
    "BOM-and-header": (
        "a.csv",
        b"\xef\xbb\xbfone , two\n 1, 2 \n3 ,-4.5\n5e-3, 6\n",
        None,
        THREE,
        TWO,
    ),
    "names-of-other-columns": ("a.csv", b"one\n1,2\n3,-4.5\n5e-3,6\n", None, THREE, None),
    "txt-in-columns": ("a.txt", b"  1     2\n  3    -4.5\n\n  5e-3  6   \n", None, THREE, None),
    "SILSO": ("a.csv", SILSO_CSV, ("4",), SUNSPOTS, None),
    "by-name": ("a.csv", DATED, ("sunspots, monthly",), SUNSPOTS, ("sunspots, monthly",)),
    "comment": (
        "a.csv",
        b"# 1t,spots\n1749-01,96.7\n1749-02,104.3\n2024-12,154.5\n",
        ("2",),
        SUNSPOTS,
        ("spots",),
    ),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_as_numbers_and_names(monkeypatch, case):
    """From a file, and from standard input."""
    name, content, columns, rows, names = TEXTS[case]
    Path(name).write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
    for path in (name, "-"):
        series = read_series(path, columns)
        assert (bits(series.rows), series.names) == (bits(rows), names)


@fewer(2)
@given(
    rows=st.lists(
        st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=2), min_size=3, max_size=6
    ),
    header=st.sampled_from(["", "a{}b", "# a{}b", "\n"]),
    separator=st.sampled_from([",", ";", "\t", " ", ", "]),
    end=st.sampled_from(["\n", "\r\n", "\n\n"]),
    columns=st.sampled_from([None, ("1",), ("2", "1")]),
)
def test_any_well_formed_text_is_read(rows, header, separator, end, columns):
    head = header.format(separator) + end * bool(header)
    Path("r.csv").write_text(
        head + end.join(separator.join(map(repr, row)) for row in rows), newline=""
    )
    places = [int(column) - 1 for column in columns or "12"]
    found = read_series("r.csv", columns)
    assert bits(found.rows) == bits(np.array(rows)[:, places])
    assert found.names == (tuple("ab"[place] for place in places) if "a" in header else None)


def npy_of_shape(shape):
    """The bytes of a .npy file of float64 whose header says this, and of a few numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return file.getvalue() + bytes(80)


REFUSED: list[tuple] = [  # file, content, columns, message
    ("a.csv", None, None, " cannot be read: No such file or directory; check the path"),
    ("a.csv", b"a,b\n", None, f": it has no row of numbers; {NUMBERS}"),
    ("a.csv", b"1\n2\n", None, ": it has 2 rows; expected 3 or more"),
    ("a.csv", b"time,1\n1,2\n3,4\n", None, f": line 1, column 1 is 'time'; {NUMBERS}"),
    ("a.csv", b"x,y\n1,2\n3,\n5,6\n", None, f": line 3, column 2 is ''; {NUMBERS}"),
    ("a.csv", b"x\n1\nnan\n3\n", None, f": line 3, column 1 is 'nan'; {NUMBERS}"),
    ("a.csv", b"x\n1_000\n2\n3\n", None, f": line 2, column 1 is '1_000'; {NUMBERS}"),
    ("a.csv", b"1,2\n3,4\n\n5\n", None, f": line 4 has 1 column, the first row 2; {NUMBERS}"),
    ("a.csv", b"1,2\n#3,4\n5,6\n7,8\n", None, f": line 2, column 1 is '#3'; {NUMBERS}"),
    ("a.csv", b"# x\n1\n#3\n4\n5\n", None, f": line 3, column 1 is '#3'; {NUMBERS}"),
    ("a.csv", b"7" * 140_000, None, f": line 1: field larger than field limit (131072); {NUMBERS}"),
    (
        "a.txt",
        b"\xff\xfe1\x00",
        None,
        ": it is not UTF-8 (invalid start byte at byte 0); expected a text file",
    ),
    (
        "a.csv",
        b"x,y\n1,2\n3,4\n5,6\n",
        ("z",),
        ": there is not one column 'z'; expected x, y, or a number, 1 to 2",
    ),
    (
        "a.csv",
        b"x,y\n1,2\n3,4\n5,6\n",
        ("0",),
        ": there is not one column '0'; expected x, y, or a number, 1 to 2",
    ),
    (
        "a.csv",
        b"x,y\n1,2\n3,4\n5,6\n",
        ("x", "1"),
        ": column '1' is chosen twice; expected every column once",
    ),
    (
        "a.npy",
        np.zeros((3, 3, 3)),
        None,
        ": it holds float64 of shape (3, 3, 3); expected real numbers with one or two",
    ),
    (
        "a.npy",
        np.array([[1, 2], [3, np.inf], [5, 6]]),
        None,
        f": row 2, column 2 is inf; {NUMBERS}",
    ),
    (
        "a.npy",
        np.array([Bomb()] * 3),
        None,
        ": it is not a complete array that numpy.save wrote; pickle is never",
    ),
    (
        "a.npy",
        npy_of_shape((2**62, 4)),
        None,
        ": it is not a complete array that numpy.save wrote; pickle is never",
    ),
    (
        "a.npy",
        b"\x93NUMPY\x01\x00v\x00{",
        None,
        ": it is not a complete array that numpy.save wrote; pickle is never",
    ),
]


@pytest.mark.parametrize(("name", "content", "columns", "message"), REFUSED)
def test_refused_files(name, content, columns, message):
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif content is not None:
        np.save(name, content)
    with pytest.raises(InputError) as raised:
        read_series(name, columns)
    assert str(raised.value).startswith(f"data file {name}{message}")
    assert not Path("exploded").exists()


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return array is not None


@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", ">f8", "?"])
def test_npy_of_floats_stays_mapped(dtype):
    rows = np.arange(24).reshape(6, 4).astype(dtype)
    np.save("a.npy", rows)
    for columns, places in ((None, [0, 1, 2, 3]), (("4", "1"), [3, 0])):
        found = read_series("a.npy", columns).rows
        assert found.dtype == ("f4" if dtype == "f4" else "f8")
        np.testing.assert_array_equal(found, rows[:, places])
        assert is_mapped(found) == (dtype in ("f4", "f8") and columns is None)
    assert is_mapped(prepare(configured("--data a.npy")).x) == (dtype == "f4")
    np.save("a.npy", rows[:, 1])
    np.testing.assert_array_equal(read_series("a.npy").rows, rows[:, 1:2])


def test_mean_and_deviation_are_of_float64():
    series = np.array(
        [[34.3, 1.23e-5], [166.4, 0.0], [1 / 3, -7.12345e-5], [59.1, 1.234567e-4]]
    ).astype("f4")
    exact = series.astype("f8")
    for found, expected in zip(
        mean_and_deviation(series), (exact.mean(axis=0), exact.std(axis=0)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_standard_input_is_given_again_to_resume(capsys, monkeypatch):
    for words, found in (
        ("--data - --epochs 1", "standard input, T=3 "),
        ("--resume r.npz --epochs 2", "resuming"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"1\n2\n4\n3\n")))
        assert found in succeed(numpy_rnn, capsys, *words.split(), "--save", "r.npz", "--no-plot")
    monkeypatch.setattr("sys.stdin", None)
    message = refused(numpy_rnn, capsys, "--resume", "r.npz", "--epochs", 3, "--no-plot")
    assert (
        message
        == "data from standard input: it is a terminal or closed; expected a pipe, or < FILE"
    )
