"""Series: bytes as an array, mapped files, columns, and standard input. What is refused: test_bad_data.py."""

import csv
import io
import tracemalloc
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from comparing import bits
from fuzz_inputs import npy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from in_process import actual_and_predicted, command, free_running, refused, succeed

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app import text_series
from numpy_rnn.app.series import inputs_and_targets, load_series, read_series, sine

THREE = np.array([[1, 2], [3, -4.5], [5e-3, 6]])


def test_the_sine_wave_and_its_targets():
    series = sine()
    assert bits(series) == bits(np.sin(np.linspace(2, 10, 21))[:, None])
    for dtype in ("float32", "float64"):
        x, target = inputs_and_targets(THREE, dtype)
        assert bits((x, target)) == bits((THREE[:-1, None].astype(dtype), THREE[1:, None].astype(dtype)))


# -- bytes as an array ----------------------------------------------------------------------------------------------

TWO = ("one", "two")
TEXTS = {  # file, content, names; the rows are THREE
    "csv": ("a.csv", b"1,2\n3,-4.5\n5e-3,6\n", None),
    "header": ("a.csv", b"one,two\n1,2\n3,-4.5\n5e-3,6\n", TWO),
    "name-without-letters": ("a.csv", b",#\n1,2\n3,-4.5\n5e-3,6\n", ("column 1", "#")),
    "quoted": ("a.csv", b'"one","two, or 2"\n"1","2"\n"3","-4.5"\n"5e-3","6"\n', ("one", "two, or 2")),
    "blank-lines": ("a.csv", b"\none,two\n\n1,2\n \n3,-4.5\n5e-3,6\n\n\n", TWO),
    "BOM": ("a.csv", b"\xef\xbb\xbf1,2\n3,-4.5\n5e-3,6\n", None),
    "BOM-and-header": ("a.csv", b"\xef\xbb\xbfone,two\n1,2\n3,-4.5\n5e-3,6\n", TWO),
    "CRLF": ("a.csv", b"one,two\r\n1,2\r\n3,-4.5\r\n\r\n5e-3,6\r\n", TWO),
    "spaces": ("a.csv", b'one , two\n 1, 2 \n3 ,-4.5\n5e-3, "6"\n', TWO),
    "no-last-newline": ("a.CSV", b"1,2\n3,-4.5\n5e-3,6", None),
    "semicolons": ("a.csv", b"one;two\n1;2\n3;-4.5\n5e-3;6\n", TWO),
    "spaces-in-csv": ("a.csv", b"one two\n1 2\n3 -4.5\n5e-3 6\n", TWO),
    "tabs-in-csv": ("a.csv", b"one, or 1\ttwo\n1\t2\n3\t-4.5\n5e-3\t6\n", ("one, or 1", "two")),
    "tsv": ("a.tsv", b"one two\tthree\n1\t2\n3\t-4.5\n5e-3\t6\n", ("one two", "three")),
    "commas-in-txt": ("a.txt", b"one,two\n1, 2\n3, -4.5\n5e-3,6\n", TWO),
    "digits-in-names": ("a.csv", b"# 2m_temp,10m_wind\n1,2\n3,-4.5\n5e-3,6\n", ("2m_temp", "10m_wind")),
    "names-of-other-columns": ("a.csv", b"one\n1,2\n3,-4.5\n5e-3,6\n", None),
    "txt": ("a.txt", b"one\ttwo\n1\t2\n3\t-4.5\n5e-3\t6\n", TWO),
    "txt-in-columns": ("a.txt", b"  1     2\n  3    -4.5\n\n  5e-3  6   \n", None),
    "txt-CRLF": ("a.txt", b"\xef\xbb\xbfone two\r\n1 2\r\n3 -4.5\r\n5e-3 6\r\n", TWO),
}
SILSO_CSV = b"1749;01;1749.042;  96.7; -1.0;   -1;1\n1749;02;1749.123; 104.3; -1.0;   -1;1\n2024;12;2024.9; 154.5;;2;0"
SILSO_TXT = b"1749 01 1749.042   96.7  -1.0\n1749 02 1749.123  104.3  -1.0\n2024 12 2024.958  154.5  25.6  1191 *\n"
DATED = b'date,"sunspots, monthly",place\n1749-01,96.7,\n1749-02,104.3,Zurich\n2024-12,154.5,Brussels\n'
SUNSPOTS = np.array([[96.7], [104.3], [154.5]])
COLUMNS = {  # file, content, columns, names; the rows are SUNSPOTS
    "semicolons": ("a.csv", SILSO_CSV, ("4",), None),
    "CRLF": ("a.csv", SILSO_CSV.replace(b"\n", b"\r\n"), ("4",), None),
    "BOM": ("a.csv", b"\xef\xbb\xbf" + SILSO_CSV, (" 4 ",), None),
    "txt": ("a.txt", SILSO_TXT, ("4",), None),
    "txt-header": ("a.txt", b"year month t spots error\n" + SILSO_TXT, ("spots",), ("spots",)),
    "by-name": ("a.csv", DATED, "sunspots, monthly", ("sunspots, monthly",)),
    "by-number": ("a.csv", b"\n" + DATED.replace(b",9", b" , 9"), ("2",), ("sunspots, monthly",)),
    "comment": ("a.csv", b"# month,spots\n1749-01,96.7\n1749-02,104.3\n2024-12,154.5\n", ("spots",), ("spots",)),
    "txt-comment": ("a.txt", b"# spots month\n96.7 Jan\n104.3 Feb\n154.5 Dec\n", ("spots",), ("spots",)),
    "no-space": ("a.csv", b"#spots;month\n96.7;Jan\n104.3;Feb\n154.5;Dec\n", ("spots",), ("spots",)),
    "quotes": ("a.csv", b'"month, local";"s"\n"Jan";"96.7"\n"Feb";104.3\nDec;154.5\n', ("s",), ("s",)),
    "quoted-separator": ("a.csv", b'a,b,c\n"x,y",96.7,1\n"z",104.3,2\nw,154.5,3\n', ("b",), ("b",)),
    "two-separators": ("a.csv", b"month;local,s\nJan,96.7\nFeb,104.3\nDec,154.5\n", ("s",), ("s",)),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_is_read_as_numbers_and_names(case):
    name, content, names = TEXTS[case]
    Path(name).write_bytes(content)
    series = read_series(name)
    assert bits(series.rows) == bits(THREE)
    assert series.names == names


@pytest.mark.parametrize("case", COLUMNS)
def test_a_column_is_read_whatever_the_others_contain(case):
    name, content, columns, names = COLUMNS[case]
    Path(name).write_bytes(content)
    series = read_series(name, columns)
    assert bits(series.rows) == bits(SUNSPOTS)
    assert series.names == names


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.npy"])
def test_one_column_and_columns_in_the_chosen_order(name):
    for content in (b"1\n2\n3\n", b"name\n1\n2\n3\n", b"1\r\n\r\n2\r\n3"):
        Path(name).write_bytes(npy(np.array([1.0, 2, 3])) if name == "a.npy" else content)
        assert bits(load_series(name)) == bits(np.array([[1.0], [2.0], [3.0]]))
    series = np.arange(12.0).reshape(4, 3)
    np.savetxt(name, series, delimiter="," if name == "a.csv" else " ")
    if name == "a.npy":
        np.save(name, series)
    for columns in (("3", "1"), ("1", "3"), ("2", "1"), ("2", "1", "3"), ("2",), ("2", "3")):
        assert bits(load_series(name, columns)) == bits(series[:, [int(c) - 1 for c in columns]]), columns


def outcome(text, ending, columns):
    """The bits of the rows and the names that read_text returns, or its message."""
    try:
        rows, names = text_series.read_text(io.StringIO(text, newline=""), ending, columns)
    except (ValueError, csv.Error) as error:
        return str(error)
    return rows.shape, bits(rows), names


NUMBERS = st.sampled_from(["1", "-2.5", " 3 ", "5e-3", "0.1"])
FIELDS = NUMBERS | st.sampled_from(["", " ", "nan", "1_0", "x", '"4"', "１", "0x1", "1e999", "#", '"', "1,5"])


@settings(max_examples=300)
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


@settings(max_examples=50)
@given(series=hnp.arrays("float64", st.tuples(st.integers(3, 6), st.integers(1, 3)), elements=st.floats(-1e300, 1e300)))
def test_every_number_is_read_bitwise(series):
    np.savetxt("a.csv", series, delimiter=",", fmt="%.17g")
    np.savetxt("a.txt", series, fmt="%.17g", header="x " * series.shape[1])
    np.savetxt("b.csv", series, delimiter=" ; ", fmt="%.17g")
    np.savetxt("a.tsv", series, delimiter="\t", fmt="%.17g", header="x\t" * series.shape[1])
    np.save("a.npy", series)
    for name in ("a.csv", "b.csv", "a.tsv", "a.txt", "a.npy"):
        assert bits(load_series(name)) == bits(series), name


# -- mapped files ---------------------------------------------------------------------------------------------------


def overwrite(name, place, value):
    """Change one number of an .npy file; `place` counts from its end."""
    dtype = np.load(name, mmap_mode="r").dtype
    with open(name, "r+b") as file:
        file.seek(place * dtype.itemsize, io.SEEK_END)
        file.write(np.array(value, dtype).tobytes())


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i1", "u4", ">f4", ">f8", "<i2", "bool"])
@pytest.mark.parametrize("shape", [(6,), (3, 2), (6, 1)])
def test_an_npy_is_mapped_if_it_holds_native_floats_and_copied_otherwise(dtype, shape):
    array = (np.arange(6) % 2).astype(dtype).reshape(shape)
    np.save("a.npy", array)
    series, is_mapped = load_series("a.npy"), dtype in ("f4", "f8")
    assert bits(series) == bits(array.astype(dtype if is_mapped else "f8").reshape(shape[0], -1))
    assert series.dtype.isnative
    assert type(series) is np.ndarray
    x, target = inputs_and_targets(series, series.dtype)
    assert (series.flags.writeable, x.flags.writeable) == (not is_mapped, not is_mapped)
    overwrite("a.npy", -1, 0)
    assert (series[-1, -1] == target[-1, 0, -1] == 0) == is_mapped
    np.save("a.npy", np.asfortranarray(THREE))
    assert np.array_equal(load_series("a.npy"), THREE)


@pytest.mark.parametrize("columns", [("2",), ("2", "3"), ("1", "2", "3")])
def test_adjacent_columns_of_an_npy_stay_mapped(columns):
    np.save("a.npy", np.ones((6, 3), "float32"))
    series = load_series("a.npy", columns)
    overwrite("a.npy", -2, 7)
    assert series[-1, columns.index("2")] == 7


def test_an_npy_that_is_not_aligned_is_copied():
    """Other writers of .npy may not pad the header; not every library can use such an array."""
    whole = npy(np.arange(3.0))
    header = whole[10:128].rstrip() + b"\n"
    header = header.rjust(len(header) + (1 if len(header) % 2 == 0 else 0), b" ")
    Path("a.npy").write_bytes(whole[:8] + len(header).to_bytes(2, "little") + header + whole[128:])
    series = load_series("a.npy")
    assert (10 + len(header)) % 8
    assert series.flags.aligned
    assert bits(series) == bits(np.arange(3.0)[:, None])


@pytest.mark.parametrize(
    ("shape", "place", "columns", "where"),
    [
        ((200_000,), -1, None, "row 200000, column 1"),
        ((200_000,), -200_000, None, "row 1, column 1"),
        ((200_000,), -134_464, None, "row 65537, column 1"),  # the first one of the second block
        ((70_000, 3), -2, None, "row 70000, column 2"),
        ((70_000, 3), -1, ("3", "1"), "row 70000, column 3"),
        ((2, 70_000), -1, None, "row 2, column 70000"),  # a row longer than a block
    ],
    ids=range(6),
)
def test_a_number_that_is_not_finite_is_found_wherever_it_is(shape, place, columns, where):
    np.save("a.npy", np.zeros(shape, "float32"))
    for wrong in (np.nan, np.inf, -np.inf):
        overwrite("a.npy", place, wrong)
        with pytest.raises(InputError) as raised:
            load_series("a.npy", columns)
        assert str(raised.value) == (
            f"data file a.npy: {where} is {wrong}; expected finite numbers, one row per time step"
        )
    np.save("a.npy", np.array([[1, np.nan], [2, 5], [3, 6]]))
    assert load_series("a.npy", ("1",)).tolist() == [[1], [2], [3]]


def test_reading_a_mapped_file_takes_no_memory_that_grows_with_it():
    """Blocks of 65536 numbers give booleans of 64 KiB; a T-sized temporary would be 4 MB of them here."""
    with open("a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (4_000_000,)})
        file.truncate(file.tell() + 16_000_000)  # zeros that take no place on the disk
    tracemalloc.start()
    x, target = inputs_and_targets(load_series("a.npy"), "float32")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert x.shape == target.shape == (3_999_999, 1, 1)
    assert peak < 2**19


# -- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [SILSO_CSV, SILSO_TXT, b"\xef\xbb\xbf" + SILSO_CSV.replace(b"\n", b"\r\n")])
def test_standard_input_is_read_as_a_file_is(monkeypatch, content):
    for columns in (("4",), ("1",)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
        Path("a.csv").write_bytes(content)
        assert bits(load_series("-", columns)) == bits(load_series("a.csv", columns))


def test_a_run_on_standard_input_cannot_be_resumed_without_it(rnn, capsys, monkeypatch):
    for options in (["--data", "-", "--save", "run.npz"], ["--resume", "run.npz"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\n4\n3\n"))
        ended = command(rnn, capsys, *options, "--epochs", 2, "--no-plot")
        if options[0] == "--data":
            assert (ended.status, ended.err) == (0, "")
            assert ended.out.startswith(f"{rnn.__name__}: standard input, T=3 ")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "the run was trained on standard input, which was not saved: expected --data FILE" in ended.err


@pytest.mark.parametrize("stdin", [None, "a terminal"])
def test_a_terminal_or_a_closed_standard_input_is_not_waited_for(capsys, monkeypatch, stdin):
    terminal = io.StringIO("1\n2\n3\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", stdin and terminal)
    message = refused(numpy_rnn, capsys, "--data", "-", "--no-plot")
    assert message == "data from standard input: it is a terminal or closed; expected a pipe, or < FILE"


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.npy"])
def test_a_run_on_a_file(rnn, capsys, name):
    series = np.random.default_rng(2).uniform(-1, 1, (8, 2))
    separator = "," if name == "a.csv" else " "
    np.savetxt(name, series, delimiter=separator, header=f"one{separator}two", comments="")
    if name == "a.npy":
        np.save(name, series)
    out = succeed(rnn, capsys, "--data", name, "--epochs", 2, "--generate", 3, "--no-plot")
    named = "" if name == "a.npy" else " (columns one, two)"
    assert out.startswith(f"{rnn.__name__}: {name}{named}, T=7 B=1 D=2 H=6 O=2, ")
    table = actual_and_predicted(out)
    assert list(table) == [2, 3, 4, 5, 6, 7, 8]
    for time, row in table.items():
        assert np.abs(np.array(row[::2]) - series[time - 1]).max() <= 0.5e-6 + 2**-24
    assert {time: len(row) for time, row in free_running(out).items()} == {9: 2, 10: 2, 11: 2}
