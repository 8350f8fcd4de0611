"""Bytes that are not a series: one line that says why, and nothing is unpickled."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from fuzz_inputs import Bomb, npy, npz
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import InputError
from numpy_rnn.app.series import load_series

SEVEN = b"1;2;3;4;5;6;7\n1;2;3;4;5;6;7\n1;2;3;4;5;6;7\n"
DATED = b'date,"sunspots, monthly",place\n1749-01,96.7,\n1749-02,104.3,Zurich\n2024-12,154.5,Brussels\n'
NOT_NPY = "it is not a complete array that numpy.save wrote"
BAD = {  # name and content of the file, columns, pieces of the message
    "missing": ("a.csv", None, None, "a.csv does not exist: expected a .csv, .tsv, .txt or .npy file; check the path"),
    "ending": ("a.xls", b"1", None, "unknown ending '.xls'; expected .csv, .tsv, .txt or .npy"),
    "folder": ("a.csv", "folder", None, "a.csv cannot be read: Is a directory; check the path"),
    "empty": ("a.csv", b"", None, "it has no rows; expected finite numbers, one row per time step"),
    "header-only": ("a.csv", b"one,two\n", None, "it has no rows; expected"),
    "blank": ("a.txt", b"\n \n", None, "it has no rows; expected"),
    "one-row": ("a.csv", b"1,2\n", None, "it has 1 row; expected 3 or more"),
    "two-rows": ("a.npy", npy(np.zeros(2)), None, "it has 2 rows; expected 3 or more"),
    "text": ("a.csv", b"1\n2\nthree\n4\n", None, "line 3, column 1 is 'three'; expected finite numbers"),
    "two-headers": ("a.txt", b"a b\nm s\n1 2\n", None, "line 2, column 1 is 'm'; expected"),
    "half-a-header": ("a.csv", b"time,1\n1,2\n3,4\n", None, "line 1, column 1 is 'time'; expected"),
    "gap": ("a.csv", b"x,y\n1,2\n3,\n5,6\n", None, "line 3, column 2 is ''; expected"),
    "row-of-gaps": ("a.csv", b"1,2\n,\n5,6\n", None, "line 2, column 1 is ''; expected"),
    "underscore": ("a.txt", b"1\n1_000\n2\n", None, "line 2, column 1 is '1_000'; expected"),
    "NaN": ("a.csv", b"x\n1\nnan\n3\n", None, "line 3, column 1 is 'nan'; expected finite numbers"),
    "NaN-first": ("a.csv", b"nan\n1\n2\n3\n", None, "line 1, column 1 is 'nan'; expected finite numbers"),
    "infinity": ("a.txt", b"1 2\n3 -inf\n5 6\n", None, "line 2, column 2 is '-inf'; expected finite numbers"),
    "too-large": ("a.txt", b"1\n2\n1e999\n", None, "line 3, column 1 is '1e999'; expected finite numbers"),
    "ragged": ("a.csv", b"1,2\n3,4\n\n5\n", None, "line 4 has 1 column, but the first row has 2; expected the same"),
    "ragged-txt": ("a.txt", b"1 2 3\n4 5\n", None, "line 2 has 2 columns, but the first row has 3; expected the same"),
    "too-short": ("a.txt", b"1 2 3\n4 5\n", ("1", "3"), "2 columns, but column 3 is chosen; expected 3 or more"),
    "too-long": ("a.csv", b"1,2\n3,4,5\n6,7\n", ("1",), "line 2 has 3 columns, but the first row has 2; expected"),
    "open-quote": ("a.csv", b'1,2\n"3,4\n5,6\n', None, "unexpected end of data; expected"),
    "space-after-quotes": ("a.csv", b'a,"b" ,c\n1,2\n3,4\n5,6\n', ("b",), "',' expected after '\"'; expected finite"),
    "bytes": ("a.txt", b"\xff\xfe1\x00", None, "'utf-8' codec can't decode byte 0xff", "; expected finite numbers"),
    "decimal-commas": ("a.csv", b"1,5;2,5\n3,5;4,5\n", None, "is '1,5': neither a number (a decimal comma: write"),
    "decimal-commas-2": ("a.csv", b"a;b\n1,5;2,5\n3;4\n", None, "line 2, column 1 is '1,5' (a decimal comma: write"),
    "typo": ("a.csv", b"1a\n2\n3\n4\n", None, "line 1, column 1 is '1a': neither a number nor a name, which"),
    "underscore-first": ("a.csv", b"1_0\n2\n3\n4\n", None, "line 1, column 1 is '1_0': neither a number nor"),
    "hexadecimal": ("a.csv", b"a,-0x1\n2,3\n3,4\n4,5\n", None, "line 1, column 2 is '-0x1': neither a"),
    "percentage": ("a.csv", b".1%\n2\n3\n4\n", None, "line 1, column 1 is '.1%': neither a number nor"),
    "date": ("a.csv", b"1749-01;n/a\n1749-02;2\n", ("2",), "line 1, column 1 is '1749-01': neither a"),
    "no-number": ("a.csv", DATED, ("1",), "line 2, column 1 is '1749-01'; expected finite numbers"),
    "gap-in-column": ("a.csv", b"t,v\n1,2\n2,\n3,4\n", ("v",), "line 3, column 2 is ''; expected finite numbers"),
    "column-0": ("a.csv", SEVEN, ("0",), "there is no column '0'; expected a number, 1 to 7, as there is no header"),
    "column-1.0": ("a.csv", SEVEN, ("1.0",), "there is no column '1.0'; expected a number, 1 to 7"),
    "no-header": ("a.csv", SEVEN, ("spots",), "expected a number, 1 to 7, as there is no header"),
    "of-one": ("a.csv", b"1\n2\n3\n", ("2",), "there is no column '2'; expected a number, 1, as there is no header"),
    "of-npy": ("a.npy", npy(np.ones((3, 2))), ("x",), "there is no column 'x'; expected a number, 1 to 2, as there is"),
    "beyond-npy": ("a.npy", npy(np.ones((3, 2))), ("3",), "there is no column '3'; expected a number, 1 to 2, as"),
    "twice": ("a.csv", SEVEN, ("4", "4"), "column '4' is chosen twice; expected every column once"),
    "name-and-number": ("a.csv", DATED, ("2", "sunspots, monthly"), "column 'sunspots, monthly' is chosen twice"),
    "none": ("a.csv", DATED, (), "no column is chosen; expected 'date', 'sunspots, monthly', 'place', or a number, 1"),
    "two-of-a-name": ("a.csv", b"a,a\n1,2\n3,4\n5,6\n", ("a",), "2 columns are named 'a'; choose by number, 1 to 2"),
    "short-header": ("a.csv", b"a,b\n1,2,3\n4,5,6\n", ("b",), "the header has 2 columns and the line after it 3, so"),
    "many-names": (
        *("a.csv", b",".join(b"c%d" % n for n in range(25)) + b"\n" + 3 * (b"1" + 24 * b",1" + b"\n"), ("d",)),
        "'c18', 'c19', ..., or a number, 1 to 25",
    ),
    "NaN-in-npy": ("a.npy", npy(np.array([[1, 2], [3, np.nan], [5, 6]])), None, "row 2, column 2 is nan; expected"),
    "three-axes": ("a.npy", npy(np.zeros((3, 3, 3))), None, "(3, 3, 3), not real numbers with one or two axes"),
    "no-axis": ("a.npy", npy(np.float64(1)), None, "float64 of shape (), not real numbers with one or two axes"),
    "complex": ("a.npy", npy(np.zeros(3, complex)), None, "complex128 of shape (3,), not real numbers"),
    "strings": ("a.npy", npy(np.array(["a", "b", "c"])), None, "<U1 of shape (3,), not real numbers"),
    "no-rows": ("a.npy", npy(np.zeros((0, 3))), None, "it is empty, of shape (0, 3)"),
    "no-columns": ("a.npy", npy(np.zeros((3, 0))), None, "it is empty, of shape (3, 0)"),
    "npz": ("a.npy", npz({"x": np.zeros(3)}), None, NOT_NPY),
    "objects": ("a.npy", npy(np.array([Bomb()] * 3)), None, "or contains Python objects; pickle is never read"),
    "pickle": ("a.npy", pickle.dumps(Bomb()), None, NOT_NPY, "pickle is never read"),
    "URL": ("http:/x/y.csv", None, None, "is a URL: expected a file; download it, or pipe it to --data -"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_not_a_series_is_refused(case):
    name, content, columns, *pieces = BAD[case]
    if content == "folder":
        os.mkdir(name)
    elif content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        load_series(name, columns)
    message = str(raised.value)
    assert message.startswith(f"data file {name}")
    assert "\n" not in message
    assert all(piece in message for piece in pieces), message
    assert not Path("exploded").exists()


def test_a_truncated_npy_is_refused_before_it_is_used():
    whole = npy(np.ones(100_000, "float32"))
    for size in (0, 3, 7, 9, 60, 127, 128, 129, 223, *(len(whole) - n for n in (1, 3, 4, 1000, 399_999))):
        Path("a.npy").write_bytes(whole[:size])
        with pytest.raises(InputError, match=f"^data file a\\.npy: {NOT_NPY}"):
            load_series("a.npy")
    pickle.loads(pickle.dumps(Bomb())).close()  # pickle would have run
    assert Path("exploded").exists()


@given(
    content=st.binary(max_size=40) | st.text(',;"\t\n 12ab#', max_size=40).map(str.encode),
    flips=st.lists(st.tuples(st.integers(0, 151), st.integers(1, 255)), min_size=1, max_size=3),
    ending=st.sampled_from(["csv", "tsv", "txt", "npy"]),
    columns=st.none() | st.lists(st.sampled_from(["1", "2", "a", "b", ""]), max_size=2).map(tuple),
)
def test_any_content_is_a_series_or_an_input_error(content, flips, ending, columns):
    damaged = bytearray(npy(np.arange(3.0)))
    for place, change in flips:
        damaged[place] ^= change
    Path(f"a.{ending}").write_bytes(damaged if ending == "npy" else content)
    try:
        series = load_series(f"a.{ending}", columns)
    except InputError:
        return
    assert series.dtype in (np.float32, np.float64)
    assert series.ndim == 2
    assert len(series) >= 3
    assert np.isfinite(series).all()
