"""Series: the bytes of a file, or of standard input, as an array or as a message. Mapped files: test_memory.py."""

import csv
import io
import os
import pickle
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from comparing import bits
from fuzz_inputs import Bomb, npy
from hypothesis import example, given
from hypothesis import strategies as st
from in_process import refused, succeed

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app import text_series
from numpy_rnn.app.series import load_series, read_series

THREE = np.array([[1, 2], [3, -4.5], [5e-3, 6]])
SILSO_CSV = b"1749;01;1749.042;  96.7; -1.0;   -1;1\n1749;02;1749.123; 104.3; -1.0;   -1;1\n2024;12;2024.9; 154.5;;2;0"
SILSO_TXT = b"1749 01 1749.042   96.7  -1.0\n1749 02 1749.123  104.3  -1.0\n2024 12 2024.958  154.5  25.6  1191 *\n"
DATED = b'date,"sunspots, monthly",place\n1749-01,96.7,\n1749-02,104.3,Zurich\n2024-12,154.5,Brussels\n'
SEVEN = b"1;2;3;4;5;6;7\n1;2;3;4;5;6;7\n1;2;3;4;5;6;7\n"


# -- bytes as an array ----------------------------------------------------------------------------------------------

TWO = ("one", "two")
SUNSPOTS = np.array([[96.7], [104.3], [154.5]])
TEXTS = {  # file, content, columns, rows, names
    "csv": ("a.csv", b"1,2\n3,-4.5\n5e-3,6\n", None, THREE, None),
    "one-column": ("a.csv", b"1\r\n\r\n2\r\n3", None, np.array([[1.0], [2.0], [3.0]]), None),
    "chosen-order": ("a.txt", b"2 x 1\n-4.5 y 3\n6 z 5e-3\n", ("3", "1"), THREE, None),
    "header": ("a.csv", b"one,two\n1,2\n3,-4.5\n5e-3,6\n", None, THREE, TWO),
    "name-without-letters": ("a.csv", b",#\n1,2\n3,-4.5\n5e-3,6\n", None, THREE, ("column 1", "#")),
    "quoted": ("a.csv", b'"one","two, or 2"\n"1","2"\n"3","-4.5"\n"5e-3","6"\n', None, THREE, ("one", "two, or 2")),
    "blank-lines": ("a.csv", b"\none,two\n\n1,2\n \n3,-4.5\n5e-3,6\n\n\n", None, THREE, TWO),
    "BOM": ("a.csv", b"\xef\xbb\xbf1,2\n3,-4.5\n5e-3,6\n", None, THREE, None),
    "BOM-and-header": ("a.csv", b"\xef\xbb\xbfone,two\n1,2\n3,-4.5\n5e-3,6\n", None, THREE, TWO),
    "CRLF": ("a.csv", b"one,two\r\n1,2\r\n3,-4.5\r\n\r\n5e-3,6\r\n", None, THREE, TWO),
    "spaces": ("a.csv", b'one , two\n 1, 2 \n3 ,-4.5\n5e-3, "6"\n', None, THREE, TWO),
    "no-last-newline": ("a.CSV", b"1,2\n3,-4.5\n5e-3,6", None, THREE, None),
    "semicolons": ("a.csv", b"one;two\n1;2\n3;-4.5\n5e-3;6\n", None, THREE, TWO),
    "spaces-in-csv": ("a.csv", b"one two\n1 2\n3 -4.5\n5e-3 6\n", None, THREE, TWO),
    "tabs-in-csv": ("a.csv", b"one, or 1\ttwo\n1\t2\n3\t-4.5\n5e-3\t6\n", None, THREE, ("one, or 1", "two")),
    "tsv": ("a.tsv", b"one two\tthree\n1\t2\n3\t-4.5\n5e-3\t6\n", None, THREE, ("one two", "three")),
    "digits-in-names": ("a.csv", b"# 2m_temp,10m_wind\n1,2\n3,-4.5\n5e-3,6\n", None, THREE, ("2m_temp", "10m_wind")),
    "names-of-other-columns": ("a.csv", b"one\n1,2\n3,-4.5\n5e-3,6\n", None, THREE, None),
    "txt": ("a.txt", b"one\ttwo\n1\t2\n3\t-4.5\n5e-3\t6\n", None, THREE, TWO),
    "txt-in-columns": ("a.txt", b"  1     2\n  3    -4.5\n\n  5e-3  6   \n", None, THREE, None),
    "semicolons-column": ("a.csv", SILSO_CSV, ("4",), SUNSPOTS, None),
    "BOM-column": ("a.csv", b"\xef\xbb\xbf" + SILSO_CSV, (" 4 ",), SUNSPOTS, None),
    "txt-column": ("a.txt", SILSO_TXT, ("4",), SUNSPOTS, None),
    "by-name": ("a.csv", DATED, "sunspots, monthly", SUNSPOTS, ("sunspots, monthly",)),
    "by-number": ("a.csv", b"\n" + DATED.replace(b",9", b" , 9"), ("2",), SUNSPOTS, ("sunspots, monthly",)),
    "comment": ("a.csv", b"# t,spots\n1749-01,96.7\n1749-02,104.3\n2024-12,154.5\n", ("2",), SUNSPOTS, ("spots",)),
    "txt-comment": ("a.txt", b"# spots month\n96.7 Jan\n104.3 Feb\n154.5 Dec\n", ("spots",), SUNSPOTS, ("spots",)),
    "quotes": ("a.csv", b'"month, local";"s"\n"Jan";"96.7"\n"Feb";104.3\nDec;154.5\n', ("s",), SUNSPOTS, ("s",)),
    "quoted-separator": ("a.csv", b'a,b,c\n"x,y",96.7,1\n"z",104.3,2\nw,154.5,3\n', ("b",), SUNSPOTS, ("b",)),
    "two-separators": ("a.csv", b"month;local,s\nJan,96.7\nFeb,104.3\nDec,154.5\n", ("s",), SUNSPOTS, ("s",)),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_is_read_as_numbers_and_names(monkeypatch, case):
    """From a file, and from standard input, which is read as a .csv file is."""
    name, content, columns, rows, names = TEXTS[case]
    Path(name).write_bytes(content)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
    for path in (name, "-") if name == "a.csv" else (name,):
        series = read_series(path, columns)
        assert (bits(series.rows), series.names) == (bits(rows), names)


def outcome(text, ending, columns):
    """The bits of the rows and the names that read_text returns, or its message."""
    try:
        rows, names = text_series.read_text(io.StringIO(text, newline=""), ending, columns)
    except (ValueError, csv.Error) as error:
        return str(error)
    return rows.shape, bits(rows), names


NUMBERS = st.sampled_from(["1", "-2.5", " 3 ", "5e-3", "0.1"])
FIELDS = NUMBERS | st.sampled_from(["", " ", "nan", "1_0", "x", '"4"', "１", "0x1", "1e999", "#", '"', "1,5"])


@given(
    lines=st.lists(st.lists(NUMBERS, min_size=2, max_size=2) | st.lists(FIELDS, max_size=3), max_size=5),
    header=st.sampled_from(["", "a,b", "# a b", "\n"]),
    separator=st.sampled_from([",", ";", "\t", " ", " \t "]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    ending=st.sampled_from([".csv", ".tsv", ".txt"]),
    columns=st.sampled_from([None, ("1",), ("2",), ("2", "1"), ("b",)]),
)
@example([["1", "2"], ["", ""], ["3", "4"]], "v w x y z\tb", "\t", "\n", ".tsv", ("1",))
@example([["1", "2"], ["3", "4", "5"]], "", ",", "\n", ".csv", ("2",))
@example([["4", "5", "6"], ['"x', "1", 'y"']], "a,b,c", ",", "\n", ".csv", ("2",))
@example([["1", "2"], ["1e999", "3"]], "", ",", "\n", ".csv", None)
def test_loadtxt_and_the_reader_line_by_line_agree(lines, header, separator, end, ending, columns):
    text = header + end * bool(header) + "".join(separator.join(fields) + end for fields in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "loadtxt", Mock(side_effect=ValueError))
        expected = outcome(text, ending, columns)
    assert outcome(text, ending, columns) == expected


@pytest.mark.parametrize("columns", [None, ("2", "1")])
def test_loadtxt_reads_a_plain_file_alone(monkeypatch, columns):
    monkeypatch.setattr(text_series, "_read_by_line", Mock(side_effect=AssertionError))
    Path("a.csv").write_bytes(b"one,two\r\n1,2\r\n3,-4.5\r\n\r\n5e-3,6\r\n")
    assert bits(load_series("a.csv", columns)) == bits(THREE if columns is None else THREE[:, ::-1])


# -- bytes that are no series: one line that says why, and nothing is unpickled --------------------------------------

NOT_NPY = "it is not a complete array that numpy.save wrote"
WHOLE = npy(np.ones(100_000, "float32"))
SIZES = (0, 3, 7, 9, 60, 127, 128, 129, 223, *(len(WHOLE) - n for n in (1, 3, 4, 1000, 399_999)))
BAD = {  # name and content of the file, columns, pieces of the message
    "missing": ("a.csv", None, None, "a.csv does not exist: expected a .csv, .tsv, .txt or .npy file; check the path"),
    "ending": ("a.xls", b"1", None, "unknown ending '.xls'; expected .csv, .tsv, .txt or .npy"),
    "folder": ("a.csv", "folder", None, "a.csv cannot be read: Is a directory; check the path"),
    "empty": ("a.csv", b"", None, "it has no rows; expected finite numbers, one row per time step"),
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
    "too-short": ("a.txt", b"1 2 3\n4 5\n", ("1", "3"), "2 columns, but column 3 is chosen; expected 3 or more"),
    "too-long": ("a.csv", b"1,2\n3,4,5\n6,7\n", ("1",), "line 2 has 3 columns, but the first row has 2; expected"),
    "open-quote": ("a.csv", b'1,2\n"3,4\n5,6\n', None, "unexpected end of data; expected"),
    "space-after-quotes": ("a.csv", b'a,"b" ,c\n1,2\n3,4\n5,6\n', ("b",), "',' expected after '\"'; expected finite"),
    "bytes": ("a.txt", b"\xff\xfe1\x00", None, "'utf-8' codec can't decode byte 0xff", "; expected finite numbers"),
    "decimal-commas": ("a.csv", b"1,5;2,5\n3,5;4,5\n", None, "is '1,5': neither a number (a decimal comma: write"),
    "decimal-commas-2": ("a.csv", b"a;b\n1,5;2,5\n3;4\n", None, "line 2, column 1 is '1,5' (a decimal comma: write"),
    "hexadecimal": ("a.csv", b"a,-0x1\n2,3\n3,4\n4,5\n", None, "line 1, column 2 is '-0x1': neither a"),
    "percentage": ("a.csv", b".1%\n2\n3\n4\n", None, "line 1, column 1 is '.1%': neither a number nor"),
    "date": ("a.csv", b"1749-01;n/a\n1749-02;2\n", ("2",), "line 1, column 1 is '1749-01': neither a"),
    "no-number": ("a.csv", DATED, ("1",), "line 2, column 1 is '1749-01'; expected finite numbers"),
    "gap-in-column": ("a.csv", b"t,v\n1,2\n2,\n3,4\n", ("v",), "line 3, column 2 is ''; expected finite numbers"),
    "column-0": ("a.csv", SEVEN, ("0",), "there is no column '0'; expected a number, 1 to 7, as there is no header"),
    "no-header": ("a.csv", SEVEN, ("spots",), "expected a number, 1 to 7, as there is no header"),
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
    "no-columns": ("a.npy", npy(np.zeros((3, 0))), None, "it is empty, of shape (3, 0)"),
    "objects": ("a.npy", npy(np.array([Bomb()] * 3)), None, "or contains Python objects; pickle is never read"),
    "pickle": ("a.npy", pickle.dumps(Bomb()), None, NOT_NPY, "pickle is never read"),
    **{f"cut-at-{size}": ("a.npy", WHOLE[:size], None, f"a.npy: {NOT_NPY}") for size in SIZES},
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


def test_a_file_that_is_unpickled_explodes():
    """So the tests would see it."""
    pickle.loads(pickle.dumps(Bomb())).close()
    assert Path("exploded").exists()


def test_a_run_on_standard_input_cannot_be_resumed_without_it(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\n4\n3\n"))
    out = succeed(numpy_rnn, capsys, "--data", "-", "--save", "run.npz", "--epochs", 2, "--no-plot")
    assert out.startswith("numpy_rnn: standard input, T=3 ")
    message = refused(numpy_rnn, capsys, "--resume", "run.npz", "--epochs", 2, "--no-plot")
    assert message.startswith("the run was trained on standard input, which was not saved: expected --data FILE")


@pytest.mark.parametrize("stdin", [None, "a terminal"])
def test_a_terminal_or_a_closed_standard_input_is_not_waited_for(capsys, monkeypatch, stdin):
    terminal = io.StringIO("1\n2\n3\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", stdin and terminal)
    message = refused(numpy_rnn, capsys, "--data", "-", "--no-plot")
    assert message == "data from standard input: it is a terminal or closed; expected a pipe, or < FILE"
