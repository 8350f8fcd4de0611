"""Times of rows: dates in many forms, numbers, calendar columns, and how they go on."""

from datetime import datetime

import numpy as np
import pytest

from numpy_rnn import InputError
from numpy_rnn.app.table_file import parse_table
from numpy_rnn.app.time_columns import with_times


def timed(header, *rows, time=None):
    """Return the columns in order of time; each row also has a number of its own."""
    lines = [f"{header};v"]
    lines += [f"{row};{n**2 % 7}.5" for n, row in enumerate(rows, 1)]
    return with_times(parse_table("\n".join(lines)), time)


FOLLOWED = """
2024-01-30 2024-01-31 2024-02-01 → 2024-02-02
2024-01-31 2024-02-29 2024-03-31 → 2024-04-30
2023-11-30 2023-12-31 2024-01-31 → 2024-02-29
2023-12-31 2024-01-31 2024-02-29 → 2024-03-31
2024-01-15 2024-04-15 2024-07-15 → 2024-10-15
31.12.2023 01.01.2024 02.01.2024 → 03.01.2024
13/01/2024 14/01/2024 15/01/2024 → 16/01/2024
01/13/2024 01/14/2024 01/15/2024 → 01/16/2024
01/02/2024 01/03/2024 01/04/2024 → 01/05/2024
2024/1/8 2024/1/9 2024/1/10 → 2024/1/11
2024-01-01T22:00 2024-01-01T23:00 2024-01-02T00:00 → 2024-01-02T01:00
1959Q3 1959Q4 1960Q1 → 1960Q2
1959-11 1959-12 1960-01 → 1960-02
19591130 19591231 19600131 → 19600229
195911 195912 196001 → 196002
Nov-2023 Dec-2023 Jan-2024 → Feb-2024
1949 1949.08333333 1949.16666667 → 1949.25
1700 1701 1702 → 1703
10 7.5 5 → 12.5
2024-01-01 2024-01-02 2024-01-05 2024-01-06 → 2024-01-07
2020-01-01T00:00:00Z 2020-01-02T00:00:00Z 2020-01-03T00:00:00Z → 2020-01-04T00:00:00
"""


@pytest.mark.parametrize("line", FOLLOWED.strip().splitlines())
def test_times_go_on(line):
    """By months, also at their ends, or by the step that is most frequent."""
    cells, after = line.split(" → ")
    columns = timed("date", *cells.split())
    later = columns.times.followed_by(1)
    assert (columns.time_columns, list(later.labels)) == ([0], [after])
    assert later.points[0] > columns.times.points[-1]


def test_dates_with_names_of_months():
    for first, second, third, after in (
        ("Jan 1 2000", "Feb 1 2000", "Mar 1 2000", "Apr 1 2000"),
        ("30 January 2000", "31 January 2000", "1 February 2000", "2 February 2000"),
    ):
        times = timed("date", first, second, third).times
        assert times.followed_by(1).labels == [after]


def test_newest_first_is_turned_round():
    columns = timed("date", "2024-01-03", "2024-01-02", "2024-01-01")
    assert list(columns.times.labels) == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert list(columns.columns[1].values) == [2.5, 4.5, 1.5]
    assert list(columns.lines) == [4, 3, 2]
    assert "turned round" in columns.notes[0]


TIMES = [  # header, rows, name of the time, columns that tell it
    ("n;year", ("1;1871", "2;1872", "3;1873"), "year", [0, 1]),
    ("n;x", ("1;0.5", "2;0.75", "3;1"), "x", [0, 1]),
    ("year;quarter", ("1959;3", "1959;4", "1960;1"), "year-quarter", [0, 1]),
    ("month;day", ("5;30", "5;31", "6;1"), "month-day", [0, 1]),
    ("YEAR;x", ("1959;3", "1960;4", "1963;1"), "YEAR", [0]),
    ("date;year", ("2020-12-31;2020", "2021-01-01;2021", "2021-01-02;2021"), "date", 2),
    ("date;x", ("800102;3", "800103;4", "800107;1"), "date", [0]),
    ("x;y", ("1;3", "2;4", "4;1"), "step", []),
    ("year;x", ("1;3", "3;4", "2;1"), "step", [0]),
]


@pytest.mark.parametrize(("header", "rows", "name", "indices"), TIMES)
def test_columns_that_tell_the_time(header, rows, name, indices):
    """Numbers that count rows say less than years."""
    columns = timed(header, *rows)
    expected = list(range(indices)) if isinstance(indices, int) else indices
    assert (columns.times.name, list(columns.time_columns)) == (name, expected)


def test_labels_of_calendar_columns():
    times = timed("year;quarter", "1959;3", "1959;4", "1960;1").times
    assert list(times.labels) == ["1959Q3", "1959Q4", "1960Q1"]
    assert timed("date", *times.labels).times.points == times.points
    assert times.points[2] == datetime(1960, 1, 1)
    times = timed("year;month;day", "1959;3;31", "1959;4;1", "1959;4;2").times
    assert times.followed_by(1).labels == ["1959-04-03"]


def test_series_that_grows_steadily_is_no_time():
    """There must be another column of numbers."""
    columns = with_times(parse_table("a\n1\n2\n3\n"), None)
    assert (columns.times.name, columns.time_columns) == ("step", [])
    columns = with_times(parse_table("a,b\n1,2\n2,4\n3,6\n"), None)
    assert columns.time_columns == [0]


def test_whole_numbers_have_no_rounding():
    """A population that grows by nearly the same number is no time."""
    for rows in (("100", "105", "110", "116"), ("0.1", "0.2", "0.3", "0.5")):
        assert list(timed("x", *rows).time_columns) == []


def test_dates_end_with_the_year_9999():
    times = timed("date", "9999-12-29", "9999-12-30", "9999-12-31").times
    with pytest.raises(InputError, match="there is no date a step after 9999-12-31"):
        times.followed_by(1)
    times = timed("date", "9999-10", "9999-11", "9999-12").times
    with pytest.raises(InputError, match="there is no date a step after 9999-12-01"):
        times.followed_by(1)


def test_asked_time():
    columns = timed("a;year", "3;1", "4;2", "7;3", time="a")
    assert (columns.times.name, list(columns.time_columns)) == ("a", [0, 1])
    assert timed("year", "1", "2", "3", time="none").times.name == "step"
    with pytest.raises(InputError, match="its first cell is 'x'; expected dates"):
        timed("a", "x", "y", "z", time="a")


def test_rows_of_several_series_are_refused():
    rows = [f"2024-01-0{day};{city}" for city in "ab" for day in range(1, 7)]
    with pytest.raises(InputError) as raised:
        timed("date;city", *rows)
    expected = "line 8: 2024-01-01 in date comes after 2024-01-06; expected rows in"
    assert str(raised.value).startswith(expected)
    assert str(raised.value).endswith('such as --where "city=a"')
    with pytest.raises(InputError, match=r"line 3: 2024-01-01 in date is there twice"):
        timed("date;city", *sorted(rows))


def test_a_repeated_time_is_told():
    rows = [f"2024-01-{day:02}" for day in range(1, 21)]
    rows.insert(5, rows[4])
    columns = timed("date", *rows)
    assert columns.notes == [
        "1 row with the time of the row before, the first 2024-01-05 on line 7"
    ]
    assert np.isfinite(columns.columns[1].values).all()
