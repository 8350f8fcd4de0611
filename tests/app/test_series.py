"""Series: the bytes of a file as an array or as one line that says what is wrong."""

from pathlib import Path

import numpy as np
import pytest
from comparing import bits, fewer
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import InputError
from numpy_rnn.app.experiment import mean_and_deviation
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
def test_text_as_numbers_and_names(case):
    name, content, columns, rows, names = TEXTS[case]
    Path(name).write_bytes(content)
    series = read_series(name, columns)
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
]


@pytest.mark.parametrize(("name", "content", "columns", "message"), REFUSED)
def test_refused_files(name, content, columns, message):
    if content is not None:
        Path(name).write_bytes(content)
    with pytest.raises(InputError) as raised:
        read_series(name, columns)
    assert str(raised.value).startswith(f"data file {name}{message}")


def test_mean_and_deviation_are_of_float64():
    series = np.array(
        [[34.3, 1.23e-5], [166.4, 0.0], [1 / 3, -7.12345e-5], [59.1, 1.234567e-4]]
    ).astype("f4")
    exact = series.astype("f8")
    for found, expected in zip(
        mean_and_deviation(series), (exact.mean(axis=0), exact.std(axis=0)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-15)
