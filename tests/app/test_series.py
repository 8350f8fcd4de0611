"""Series: the bytes of a file as an array, or one line that says what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.app.options import make_options
from numpy_rnn.app.series import make_data, read_series
from tests.helpers.comparing import bits

THREE = [[1, 2], [3, -4.5], [5e-3, 6]]
SPOTS = [[96.7], [104.3], [154.5]]
DATED = b'date,"sunspots, monthly",place\n49-01,96.7,\n49-02,104.3,Z\n24-12,154.5,B\n'
NUMBERED = ["column 1", "column 2"]
TEXTS = [  # content, columns, rows, names
    (b'"one","two"\n"1","2"\n"3","-4.5"\n"5e-3","6"\n', None, THREE, ["one", "two"]),
    (b"\xef\xbb\xbfa , b\r\n 1, 2 \r\n3 ,-4.5\r\n5e-3, 6\r\n", None, THREE, ["a", "b"]),
    (b"1\t2\n3\t-4.5\n5e-3\t6\n", None, THREE, NUMBERED),
    (b"  1     2\n  3    -4.5\n\n  5e-3  6   \n", None, THREE, NUMBERED),
    (b"17;01; 96.7;1\n17;02; 104.3;1\n20;12; 154.5;0", "3", SPOTS, ["column 3"]),
    (DATED, "2", SPOTS, ["sunspots, monthly"]),
    (b'"a;b",c\n1,2\n3,-4.5\n5e-3,6\n', None, THREE, ["a;b", "c"]),
    (b"5 1 2\n5 3 -4.5\n5 5e-3 6\n", " 2, 3,2", THREE, ["column 2", "column 3"]),
    (b"# 1t,s\n49-01,96.7\n49-02,104.3\n24-12,154.5\n", "2", SPOTS, ["s"]),
    (b"\n# a b\n1 2\n3 -4.5\n5e-3 6\n", None, THREE, ["a", "b"]),
]


@pytest.mark.parametrize(("content", "columns", "rows", "names"), TEXTS)
def test_text_as_numbers_and_names(content, columns, rows, names):
    Path("a.csv").write_bytes(content)
    values, read_names = read_series("a.csv", columns)
    assert bits(values) == bits(np.array(rows, float))
    assert read_names == names


REFUSED_FILES: list[tuple] = [  # content, columns, part of the message
    (None, None, "cannot be read: No such file or directory"),
    (b"a,b\n", None, "has 0 rows of numbers: expected 3 or more"),
    (b"x,y\n1,2\n3,\n5,6\n", None, "row 2 of numbers, column 2 is ''"),
    (b"x\n1\nnan\n3\n", None, "row 2 of numbers, column 1 is 'nan'"),
    (b"x\n1\n2_0\n3\n", None, "row 2 of numbers, column 1 is '2_0'"),
    (
        b"1,2\n3,4\n\n5\n7,8\n",
        None,
        "columns changed from 2 to 1 at row 3; expected",
    ),
    (DATED, None, "is '49-01'; expected finite numbers with decimal points"),
    (DATED, None, "; --columns 2 leaves it out"),
    (b"d;v\na;1,5\nb;2,5\nc;3,5\n", "2", "row 1 of numbers, column 2 is '1,5'"),
    (b"\xff\xfe1\x00", None, "it is not UTF-8"),
    (b"x,y\n1,2\n3,4\n5,6\n", "2,3", "'3'; expected numbers from 1, of x, y"),
]


@pytest.mark.parametrize(("content", "columns", "message"), REFUSED_FILES)
def test_refused_files(content, columns, message):
    if content is not None:
        Path("a.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"^data file a\.csv[^\n]+$") as raised:
        read_series("a.csv", columns)
    assert message in str(raised.value)


def test_series_is_standardized_by_what_is_trained_on():
    rows = np.random.default_rng(1).normal((100, -3), (30, 0.2), (15, 2))
    np.savetxt("a.csv", rows, "%.17g")
    series = make_data(make_options(data="a.csv", held_out=3), "float64")
    trained = rows[:12]
    expected = (rows - trained.mean(axis=0)) / trained.std(axis=0)
    assert bits(series.sequence[:, 0]) == bits(expected)
    # Four roundings of numbers up to |value| + |mean|, half an eps each.
    limit = 2 * np.finfo(float).eps * (abs(rows) + abs(series.mean))
    error = series.sequence[:, 0] * series.deviation + series.mean - rows
    assert (abs(error) <= limit).all()
