"""Tables: the rows and cells of text files as people save them."""

import csv
import doctest
import io

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.app import output, table_file
from numpy_rnn.app.columns import columns_of
from numpy_rnn.app.table_file import DELIMITERS, number_in, parse_table

ROWS = [["day", "rain, mm", "level"], ["a", "0.5", "12"], ["b", "-3.25", "7"]]
ROWS += [["c", "1e3", "1"]]


def written(rows, **dialect):
    """Return rows as Python's csv writes them."""
    file = io.StringIO()
    csv.writer(file, **dialect).writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("delimiter", ["semicolon", "tab", "comma"])
def test_marks_are_found(delimiter, decimal, quoting):
    rows = [ROWS[0], *([c.replace(".", decimal) for c in row] for row in ROWS[1:])]
    text = written(rows, delimiter=DELIMITERS[delimiter], quoting=quoting)
    table = parse_table(text)
    assert (table.delimiter, table.has_header) == (delimiter, True)
    assert table.decimal == {".": "point", ",": "comma"}[decimal]
    assert table.names == ROWS[0]
    assert table.rows == rows[1:]
    assert table.lines == [2, 3, 4]
    values = [column.values.tolist() for column in columns_of(table)]
    np.testing.assert_array_equal(values[1:], [[0.5, -3.25, 1000], [12, 7, 1]])


LAYOUTS = [  # text, names, first row
    ("1\n2\n3\n", ["column 1"], ["1"]),
    ("  1     2\n  3    -4.5\n\n  5e-3  6   \n", ["column 1", "column 2"], ["1", "2"]),
    ("# a remark\n# year level\n1 2\n3 4\n", ["year", "level"], ["1", "2"]),
    ("# a remark\n1,2\n3,4\n", ["column 1", "column 2"], ["1", "2"]),
    ("#t,s\nx,2\ny,4\n", ["t", "s"], ["x", "2"]),
    ("a,a,,a\n1,2,3,4\n5,7,6,8\n", ["a", "a (2)", "column 3", "a (3)"], [*"1234"]),
    (',"x"\n"1",3\n"2",4\n', ["column 1", "x"], ["1", "3"]),
    ("year,2001,2002\n1,3,4\n2,5,6\n", ["year", "2001", "2002"], ["1", "3", "4"]),
    ('a,b\n"x;y",1\n"z;w",2\n', ["a", "b"], ["x;y", "1"]),
    ('a;b\n1,5;"2"\n3,5;4\n', ["a", "b"], ["1,5", "2"]),
    ("NA,1\n3,2\n4,5\n", ["column 1", "column 2"], ["NA", "1"]),
]


@pytest.mark.parametrize(("text", "names", "first"), LAYOUTS)
def test_layouts(text, names, first):
    table = parse_table(text)
    assert (table.names, table.rows[0]) == (names, first)


NUMBERS = """
1,234.5 point 1234.5
1.234,5 comma 1234.5
1234,5 comma 1234.5
-,5 comma -0.5
+1e-3 point 0.001
1.5 comma nan
1,5 point nan
12,34 point nan
1_000 point nan
inf point nan
1e999 point nan
. point nan
- comma nan
"""


def test_numbers_of_cells():
    for line in NUMBERS.split("\n")[1:-1]:
        cell, decimal, expected = line.split()
        np.testing.assert_equal(number_in(cell, decimal), float(expected), line)


DECIMALS = """
1,5 2,5 comma
1,234 5.5 point
1,234.5 2,000 point
1.234 5 point
1.234 2,5 comma
0,123 5 comma
1,234,567 5 point
"""


def test_one_cell_can_tell_the_decimal_mark():
    for line in DECIMALS.split("\n")[1:-1]:
        *cells, expected = line.split()
        assert parse_table("\t".join(cells) + "\n").decimal == expected, line


def test_what_may_be_thousands_is_not_guessed():
    """A semicolon is there because commas are decimal."""
    assert parse_table("1,234;5\n2,345;6\n").decimal == "comma"
    with pytest.raises(InputError, match="choose --decimal comma or --decimal point"):
        parse_table("1,234\t5\n2,345\t6\n")
    assert parse_table("1,234\t5\n", decimal="point").decimal == "point"
    assert parse_table("1,5\n2,5\n", decimal="comma").rows == [["1,5"], ["2,5"]]


def test_marks_that_are_asked_for():
    table = parse_table("1;2,3;4\n", delimiter="comma", header=True)
    assert table.names == ["1;2", "3;4"]
    assert parse_table("a\n1\n2\n", header=False).rows == [["a"], ["1"], ["2"]]


def test_examples_run():
    for module in (table_file, output):
        results = doctest.testmod(module)
        assert results.attempted, module
        assert not results.failed, module


REFUSED = [
    ("", "it is empty: expected a row of numbers for each time step"),
    ("1,2\n3,4\n\n5\n7,8\n", "line 4 has 1 cell, divided by commas, and most lines"),
    ("a title\nx;y\n1;2\n3;4\n", "line 1 has 1 cell, divided by semicolons"),
    ("a,b\n1,2\n" + "x" * 200_000 + ",3\n", "line 3: field larger than field limit"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refused_tables(text, message):
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        parse_table(text)
    assert str(raised.value).startswith(message)
