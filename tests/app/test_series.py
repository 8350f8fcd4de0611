"""Series: the columns of a file as arrays, or one line that says what is wrong."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.app.options import make_options
from numpy_rnn.app.series import (
    check_range,
    make_scaling,
    make_series,
    read_series,
    without_constants,
)
from tests.helpers.comparing import bits

THREE = [[1, 2], [3, -4.5], [5e-3, 6]]
SPOTS = [[96.7], [104.3], [154.5]]
DATED = b'date,"sunspots, monthly",place\n49-01,96.7,\n49-02,104.3,Z\n24-12,154.5,B\n'
NUMBERED = ["column 1", "column 2"]
TEXTS = [  # content, columns, rows, names
    (b'"one","two"\n"1","2"\n"3","-4.5"\n"5e-3","6"\n', None, THREE, ["one", "two"]),
    (b"\xef\xbb\xbfa , b\r\n 1, 2 \r\n3 ,-4.5\r\n5e-3, 6\r\n", None, THREE, ["a", "b"]),
    (b"1\t2\n3\t-4.5\n5e-3\t6\n", None, THREE, NUMBERED),
    (b"17;01; 96.7;1\n17;02; 104.3;1\n20;12; 154.5;0", "3", SPOTS, ["column 3"]),
    (DATED, "2", SPOTS, ["sunspots, monthly"]),
    (DATED, '"sunspots, monthly"', SPOTS, ["sunspots, monthly"]),
    (DATED, None, SPOTS, ["sunspots, monthly"]),
    (b"5 1 2\n9 3 -4.5\n5 5e-3 6\n", " 2, 3,2", THREE, ["column 2", "column 3"]),
    (b"a;B\n1,0;2\n3;-4,5\n5e-3;6\n", "A,b", THREE, ["a", "B"]),
    (
        b"date,a\n2020-01-02,154.5\n2020-01-01,104.3\n2019-12-31,96.7",
        None,
        SPOTS,
        ["a"],
    ),
]


def series_of(content, **options):
    """Return the series of a file with this content."""
    Path("a.csv").write_bytes(content)
    return read_series("a.csv", make_options(data="a.csv", **options))


@pytest.mark.parametrize(("content", "columns", "rows", "names"), TEXTS)
def test_text_as_numbers_and_names(content, columns, rows, names):
    series = series_of(content, columns=columns)
    assert bits(series.inputs) == bits(np.array(rows, float))
    assert series.columns == series.target_columns == names
    assert series.targets is series.inputs


REFUSED_FILES: list[tuple] = [  # content, options, part of the message
    (b"a,b\n", {}, "it has 1 row: expected 3 rows of numbers or more"),
    (b"x,y\n1,2\n3,\n5,6\n", {}, "line 3, column y is empty, and 1 cell of it in all:"),
    (b"x\n1\nnan\n3\n", {}, "line 3, column x is 'nan'"),
    (b"1;7\n;2\n3;1\n", {}, "line 2, column 1 is empty, and 1 cell of it"),
    (b"x\n1\nnan\n3\n", {}, "use --missing interpolate, or leave the column out"),
    (b"x,y\n1,1\n2_0,2\n3,5\n", {}, "line 3, column x is '2_0': expected a number"),
    (b"x,y\n1,1\n2_0,2\n3,5\n", {}, "or leave the column out: --columns y"),
    (
        b"d;v\na;1,5\nb;2,5\nc;3,5\n",
        {"decimal": "point"},
        "it has no column of numbers",
    ),
    (b"\xff\xfe1\x00", {}, "it is not UTF-8"),
    (b"x,y\n1,2\n3,4\n5,1\n", {"columns": "2,3"}, "there is no column '3'; expected"),
    (b"rain,y\n1,2\n3,4\n5,1\n", {"columns": "rian"}, "'rian' (did you mean rain?)"),
    (b"x,y\n1,2\n3,4\n5,1\n", {"columns": " ,"}, "--columns names no column"),
    (b"year,y\n1,2\n2,4\n3,1\n", {"columns": "year"}, "year is the time of the rows"),
    (b"year,y\n1,2\n2,4\n3,1\n", {"target": "year"}, "--target: year is the time"),
    (b"x,y\n1,2\n3,4\n5,1\n", {"where": "x"}, "--where is 'x': expected COLUMN=VALUE"),
    (b"x,y\n1,2\n3,4\n5,1\n", {"where": "x=2"}, "leaves no row: expected one of 1, 3"),
]


@pytest.mark.parametrize(("content", "options", "message"), REFUSED_FILES)
def test_refused_files(content, options, message):
    with pytest.raises(InputError, match=r"^data file a\.csv[^\n]+$") as raised:
        series_of(content, **options)
    assert message in str(raised.value)


def test_file_that_is_not_there():
    with pytest.raises(InputError, match="cannot be read: No such file or directory"):
        read_series("none.csv", make_options(data="none.csv"))


def test_what_was_found_is_told():
    text = b"year;rain;town;empty\n1900;1,5;a;\n1901;2;b;\n1902;9;c;\n1903;4;d;\n"
    series = series_of(text)
    assert series.description == (
        "a.csv: 4 rows, semicolons between columns, decimal comma, a header, time:"
        " year, 1900 to 1903; input and target: rain"
    )
    assert series.notes == [
        "a.csv: left out, no numbers: town",
        "a.csv: left out, empty: empty",
    ]


def test_missing_numbers_are_interpolated_and_told():
    text = b"t,a,b\n1,NA,5\n2,1,2\n3,,\n4,4,7\n5,n/a,3\n6,,1\n"
    series = series_of(text, missing="interpolate")
    expected = [[1, 5], [1, 2], [2.5, 4.5], [4, 7], [4, 3], [4, 1]]
    np.testing.assert_array_equal(series.inputs, expected)
    told = ["a.csv: 4 missing numbers of a interpolated"]
    assert series.notes == [*told, "a.csv: 1 missing number of b interpolated"]


def test_targets_of_their_own():
    series = series_of(b"a,b,c\n1,2,9\n3,4,2\n4,1,3\n", columns="a,b", target="c")
    assert (series.columns, series.target_columns) == (["a", "b"], ["c"])
    np.testing.assert_array_equal(series.targets, [[9], [2], [3]])
    assert series.feedback() is None
    assert series.description.endswith("; inputs: a, b; target: c")
    series = series_of(b"a,b,c\n1,2,9\n3,4,2\n4,1,3\n", columns="a,b", target="c,b,a")
    assert series.feedback() == [2, 1]


def test_rows_with_a_value():
    text = b"town,a\nx,1\ny,7\nx,2\nx,4\ny,9\n"
    assert series_of(text, where="town=x").inputs.ravel().tolist() == [1, 2, 4]


def test_standard_input(monkeypatch):
    read, write = os.pipe()
    os.write(write, b"a\n1\n3\n2\n")
    os.close(write)
    with os.fdopen(read) as pipe:
        monkeypatch.setattr(sys, "stdin", pipe)
        series = read_series("-", make_options(data="-"))
    assert series.description.startswith("standard input: 3 rows")


def test_constant_columns_are_left_out_and_told():
    """A column is constant if it is on the rows that are trained on."""
    Path("a.csv").write_text("a,b,c\n1,5,2\n3,5,4\n2,5,1\n2,7,1\n")
    series = make_series(make_options(data="a.csv", held_out=1))
    series = without_constants(series, True)
    assert (series.columns, series.target_columns) == (["a", "c"], ["a", "c"])
    np.testing.assert_array_equal(series.inputs, [[1, 2], [3, 4], [2, 1], [2, 1]])
    assert series.notes[-1] == "a.csv: left out, constant: b"
    whole = make_series(make_options(data="a.csv"))
    assert without_constants(whole, True) is whole
    Path("a.csv").write_text("5\n5\n5\n")
    constant = make_series(make_options(data="a.csv"))
    assert without_constants(constant, False) is constant
    with pytest.raises(InputError, match=r"column 1 is constant on the rows that are"):
        without_constants(constant, True)


def test_series_is_standardized_by_what_is_trained_on():
    rows = np.random.default_rng(1).normal((100, -3), (30, 0.2), (15, 2))
    np.savetxt("a.csv", rows, "%.17g")
    series = make_series(make_options(data="a.csv", held_out=3))
    scaling = make_scaling(series, True)
    trained = rows[:12]
    expected = (rows - trained.mean(axis=0)) / trained.std(axis=0)
    scaled = scaling.scaled_inputs(series, "float64")
    assert bits(scaled[:, 0]) == bits(expected)
    # Four roundings of numbers up to |value| + |mean|, half an eps each.
    limit = 2 * np.finfo(float).eps * (abs(rows) + abs(scaling.mean))
    assert (abs(scaling.unscaled(scaled)[:, 0] - rows) <= limit).all()


def test_numbers_that_overflow_are_refused():
    Path("a.csv").write_text("a,b\n1,1e200\n3,1\n2,2\n")
    series = make_series(make_options(data="a.csv"))
    with pytest.raises(InputError, match="b is too large for float32: leave it out"):
        check_range(series, make_scaling(series, True), "float32")
    check_range(series, make_scaling(series, False), "float64")
