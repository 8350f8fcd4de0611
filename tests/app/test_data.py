"""The series: the sine wave, and what is read from files (what is refused of whole files: test_bad_files)."""

import csv
import io
import tracemalloc
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from cases import bits
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from in_process import actual_and_predicted, command, free_running, refused, succeed

from numpy_rnn import InputError
from numpy_rnn.app import text_series
from numpy_rnn.app.series import inputs_and_targets, load_series, read_series, sine

THREE = np.array([[1, 2], [3, -4.5], [5e-3, 6]])
PRINTED = 0.5e-6  # half a unit of the last of six decimals


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_sine_wave():
    series = sine()
    assert series.shape == (21, 1)
    assert bits(series[:, 0]) == bits(np.sin(np.linspace(2, 10, 21)))
    assert np.abs(series[[0, -1], 0] - [0.9092974268256817, -0.5440211108893698]).max() <= 2**-53


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_target_is_the_next_input(dtype):
    x, target = inputs_and_targets(THREE, dtype)
    assert x.shape == target.shape == (2, 1, 2)
    assert bits(x[:, 0]) == bits(THREE[:-1].astype(dtype))
    assert bits(target[:, 0]) == bits(THREE[1:].astype(dtype))


TEXTS = {
    "csv": ("a.csv", b"1,2\n3,-4.5\n5e-3,6\n"),
    "names": ("a.csv", b"one,two\n1,2\n3,-4.5\n5e-3,6\n"),
    "a name without letters": ("a.csv", b",#\n1,2\n3,-4.5\n5e-3,6\n"),
    "quoted": ("a.csv", b'"one","two, or 2"\n"1","2"\n"3","-4.5"\n"5e-3","6"\n'),
    "blank lines": ("a.csv", b"\none,two\n\n1,2\n \n3,-4.5\n5e-3,6\n\n\n"),
    "byte order mark": ("a.csv", b"\xef\xbb\xbf1,2\n3,-4.5\n5e-3,6\n"),
    "byte order mark before names": ("a.csv", b"\xef\xbb\xbfone,two\n1,2\n3,-4.5\n5e-3,6\n"),
    "Windows line ends": ("a.csv", b"one,two\r\n1,2\r\n3,-4.5\r\n\r\n5e-3,6\r\n"),
    "spaces": ("a.csv", b'one , two\n 1, 2 \n3 ,-4.5\n5e-3, "6"\n'),
    "no end of the last line": ("a.csv", b"1,2\n3,-4.5\n5e-3,6"),
    "capital ending": ("a.CSV", b"1,2\n3,-4.5\n5e-3,6\n"),
    "semicolons": ("a.csv", b"one;two\n1;2\n3;-4.5\n5e-3;6\n"),
    "white space in a .csv": ("a.csv", b"one two\n1 2\n3 -4.5\n5e-3 6\n"),
    "tabs in a .csv": ("a.csv", b"one, or 1\ttwo\n1\t2\n3\t-4.5\n5e-3\t6\n"),
    "tsv": ("a.tsv", b"one two\tthree\n1\t2\n3\t-4.5\n5e-3\t6\n"),
    "commas in a .txt": ("a.txt", b"one,two\n1, 2\n3, -4.5\n5e-3,6\n"),
    "names that begin with digits": ("a.csv", b"# 2m_temperature,10m_wind\n1,2\n3,-4.5\n5e-3,6\n"),
    "txt": ("a.txt", b"1 2\n3 -4.5\n5e-3 6\n"),
    "txt with tabs and names": ("a.txt", b"one\ttwo\n1\t2\n3\t-4.5\n5e-3\t6\n"),
    "txt in columns": ("a.txt", b"  1     2\n  3    -4.5\n\n  5e-3  6   \n"),
    "txt with Windows line ends": ("a.txt", b"\xef\xbb\xbfone two\r\n1 2\r\n3 -4.5\r\n5e-3 6\r\n"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_files(case):
    name, content = TEXTS[case]
    Path(name).write_bytes(content)
    assert bits(load_series(name)) == bits(THREE)


@pytest.mark.parametrize("name", ["a.csv", "a.txt"])
@pytest.mark.parametrize("content", [b"1\n2\n3\n", b"name\n1\n2\n3\n", b"1\r\n\r\n2\r\n3"])
def test_one_column(name, content):
    Path(name).write_bytes(content)
    assert bits(load_series(name)) == bits(np.array([[1.0], [2.0], [3.0]]))


def outcome(text, ending, columns):
    """What read_text gives: the bits of the rows and the names of their columns; or its message."""
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
def test_numpy_reads_what_the_lines_say(lines, header, separator, end, ending, columns):
    """np.loadtxt reads the numbers only where it gives the same result as the reader that goes line by line."""
    text = header + end * bool(header) + "".join(separator.join(fields) + end for fields in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "loadtxt", Mock(side_effect=ValueError))
        expected = outcome(text, ending, columns)
    assert outcome(text, ending, columns) == expected


@pytest.mark.parametrize("columns", [None, ("2", "1")])
def test_numpy_reads_a_plain_file_alone(monkeypatch, columns):
    monkeypatch.setattr(text_series, "_read_by_line", Mock(side_effect=AssertionError))
    Path("a.csv").write_bytes(b"one,two\r\n1,2\r\n3,-4.5\r\n\r\n5e-3,6\r\n")
    assert bits(load_series("a.csv", columns)) == bits(THREE if columns is None else THREE[:, ::-1])


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint32", ">f8", "<i2", "bool"])
@pytest.mark.parametrize("shape", [(6,), (3, 2), (6, 1)])
def test_npy_files(dtype, shape):
    array = (np.arange(6) % 2).astype(dtype).reshape(shape)
    np.save("a.npy", array)
    read_as = "float32" if dtype == "float32" else "float64"
    assert bits(load_series("a.npy")) == bits(array.astype(read_as).reshape(shape[0], -1))


def test_npy_in_the_order_of_fortran():
    np.save("a.npy", np.asfortranarray(THREE))
    assert np.array_equal(load_series("a.npy"), THREE)


# -- mapped files ---------------------------------------------------------------------------------------------------


def changed(name, place, value):
    """Overwrite one number of an .npy file, counted from its end, in its dtype."""
    dtype = np.load(name, mmap_mode="r").dtype
    with open(name, "r+b") as file:
        file.seek(place * dtype.itemsize, io.SEEK_END)
        file.write(np.array(value, dtype).tobytes())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(6,), (6, 3)])
def test_an_npy_of_floats_is_the_file_itself_and_cannot_be_written_to(dtype, shape):
    np.save("a.npy", np.ones(shape, dtype))
    series = load_series("a.npy")
    assert type(series) is np.ndarray
    assert series.dtype == dtype
    assert not series.flags.writeable
    x, target = inputs_and_targets(series, dtype)
    changed("a.npy", -1, 7)  # the last number of the last row
    assert series[-1, -1] == target[-1, 0, -1] == 7
    changed("a.npy", -2 * series.shape[1], 8)  # the first of the row before
    assert series[-2, 0] == target[-2, 0, 0] == x[-1, 0, 0] == 8
    assert not x.flags.writeable


@pytest.mark.parametrize("columns", [("2",), ("2", "3"), ("1", "2", "3")])
def test_neighbouring_columns_of_an_npy_stay_in_the_file(columns):
    np.save("a.npy", np.ones((6, 3), "float32"))
    series = load_series("a.npy", columns)
    changed("a.npy", -2, 7)
    assert series[-1, columns.index("2")] == 7


@pytest.mark.parametrize("dtype", [">f4", ">f8", "float16", "int32"])
def test_an_npy_of_other_numbers_is_a_copy(dtype):
    np.save("a.npy", np.ones(6, dtype))
    series = load_series("a.npy")
    changed("a.npy", -1, 7)
    assert series[-1, 0] == 1
    assert (series.dtype, series.dtype.isnative) == (np.float64, True)


def test_an_npy_that_is_not_aligned_is_a_copy():
    """Other writers of .npy may not pad the header; not every library can take what they leave."""
    np.save("a.npy", np.arange(3.0))
    whole = Path("a.npy").read_bytes()
    header = whole[10:128].rstrip() + b"\n"
    header = header.rjust(len(header) + (1 if len(header) % 2 == 0 else 0), b" ")
    Path("a.npy").write_bytes(whole[:8] + len(header).to_bytes(2, "little") + header + whole[128:])
    series = load_series("a.npy")
    assert (10 + len(header)) % 8
    assert series.flags.aligned
    assert bits(series) == bits(np.arange(3.0)[:, None])


@pytest.mark.parametrize("missing", [1, 3, 4, 1000, 399_999])
def test_a_file_that_is_shorter_than_it_says_is_refused_before_it_is_used(missing):
    np.save("a.npy", np.ones(100_000, "float32"))
    whole = Path("a.npy").read_bytes()
    Path("a.npy").write_bytes(whole[:-missing])
    with pytest.raises(InputError, match=r"^data file a\.npy: it is not a complete array that numpy\.save wrote"):
        load_series("a.npy")


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
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
)
def test_a_number_that_is_not_finite_is_found_wherever_it_is(wrong, shape, place, columns, where):
    np.save("a.npy", np.zeros(shape, "float32"))
    changed("a.npy", place, wrong)
    with pytest.raises(InputError) as raised:
        load_series("a.npy", columns)
    assert str(raised.value) == f"data file a.npy: {where} is {wrong}; expected finite numbers, one row per time step"


def test_what_is_not_finite_in_a_column_that_is_not_chosen_does_not_matter():
    np.save("a.npy", np.array([[1, np.nan], [2, 5], [3, 6]]))
    assert load_series("a.npy", ("1",)).tolist() == [[1], [2], [3]]


def test_looking_at_a_mapped_file_takes_no_memory_that_grows_with_it():
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


# -- columns --------------------------------------------------------------------------------------------------------

SILSO_CSV = b"""\
1749;01;1749.042;  96.7; -1.0;   -1;1
1749;02;1749.123; 104.3; -1.0;   -1;1
2024;12;2024.958; 154.5; 25.6; 1191;0
"""
SILSO_TXT = b"""\
1749 01 1749.042   96.7  -1.0    -1
1749 02 1749.123  104.3  -1.0    -1
2024 12 2024.958  154.5  25.6  1191 *
"""
DATED = b'date,"sunspots, monthly",place\n1749-01,96.7,\n1749-02,104.3,Zurich\n2024-12,154.5,Brussels\n'
SUNSPOTS = np.array([[96.7], [104.3], [154.5]])


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.csv", SILSO_CSV, ("4",)),
        ("a.csv", SILSO_CSV.replace(b"\n", b"\r\n"), ("4",)),
        ("a.csv", b"\xef\xbb\xbf" + SILSO_CSV, (" 4 ",)),
        ("a.txt", SILSO_TXT, ("4",)),
        ("a.txt", b"year month t sunspots error stations\n" + SILSO_TXT, ("sunspots",)),
        ("a.csv", DATED, ("sunspots, monthly",)),
        ("a.csv", DATED, ("2",)),
        ("a.csv", b"\n" + DATED.replace(b",9", b" , 9"), ("2",)),
        ("a.csv", b"# month,sunspots\n1749-01,96.7\n1749-02,104.3\n2024-12,154.5\n", ("sunspots",)),
        ("a.txt", b"# sunspots month\n96.7 Jan\n104.3 Feb\n154.5 Dec\n", ("sunspots",)),
        ("a.csv", b"#sunspots;month\n96.7;Jan\n104.3;Feb\n154.5;Dec\n", ("sunspots",)),
        ("a.csv", b'"month, local";"sunspots"\n"Jan";"96.7"\n"Feb";104.3\nDec;154.5\n', ("sunspots",)),
        ("a.csv", b"month;local,sunspots\nJan,96.7\nFeb,104.3\nDec,154.5\n", ("sunspots",)),
        ("a.csv", DATED, "sunspots, monthly"),
    ],
)
def test_a_column_of_a_text_file(name, content, columns):
    Path(name).write_bytes(content)
    assert bits(load_series(name, columns)) == bits(SUNSPOTS)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.npy"])
@pytest.mark.parametrize("columns", [("3", "1"), ("1", "3"), ("2", "1"), ("2", "1", "3"), ("2",)])
def test_columns_come_in_the_order_in_which_they_are_chosen(name, columns):
    series = np.arange(12.0).reshape(4, 3)
    if name == "a.npy":
        np.save(name, series)
    else:
        np.savetxt(name, series, delimiter="," if name == "a.csv" else " ")
    assert bits(load_series(name, columns)) == bits(series[:, [int(column) - 1 for column in columns]])


@pytest.mark.parametrize(
    ("content", "columns", "names"),
    [
        (b'x,"y, z",w\n1,2,3\n3,4,5\n5,6,7\n', ("w", "2"), ("w", "y, z")),
        (b"a,,c\n1,2,3\n3,4,5\n5,6,7\n", None, ("a", "column 2", "c")),
        (b"# a b\n1 2\n3 4\n5 6\n", ("2",), ("b",)),
        (b"a,b\n1,2,3\n3,4,5\n5,6,7\n", None, None),  # too few
        (SILSO_CSV, ("4",), None),
    ],
)
def test_the_names_of_the_columns_are_those_of_the_ones_that_are_read(content, columns, names):
    Path("a.csv").write_bytes(content)
    assert read_series("a.csv", columns).names == names


@pytest.mark.parametrize("content", [SILSO_CSV, SILSO_TXT, b"\xef\xbb\xbf" + SILSO_CSV.replace(b"\n", b"\r\n")])
def test_standard_input_is_read_as_a_file_is(monkeypatch, content):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), encoding="ascii"))
    assert bits(load_series("-", ("4",))) == bits(SUNSPOTS)


def test_a_run_on_standard_input_is_not_resumed_on_nothing(rnn, capsys, monkeypatch):
    for options in (["--data", "-", "--save", "run.npz"], ["--resume", "run.npz"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("1\n2\n4\n3\n"))
        ended = command(rnn, capsys, *options, "--epochs", 2, "--no-plot")
        if options[0] == "--data":
            assert (ended.status, ended.err) == (0, "")
            assert ended.out.startswith(f"{rnn.__name__}: standard input, T=3 ")
    assert (ended.status, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "the run was trained on standard input, which was not saved: expected --data FILE" in ended.err


@pytest.mark.parametrize("stdin", [None, "a terminal"])
def test_a_terminal_or_nothing_on_standard_input_is_not_waited_for(rnn, capsys, monkeypatch, stdin):
    terminal = io.StringIO("1\n2\n3\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", stdin and terminal)
    message = refused(rnn, capsys, "--data", "-", "--no-plot")
    assert message == "data from standard input: it is a terminal or closed; expected a pipe, or < FILE"


WRONG_COLUMNS: dict[str, tuple] = {
    "zero": (SILSO_CSV, ("0",), "there is no column '0'; expected a number, 1 to 7, as there is no header"),
    "no whole number": (SILSO_CSV, ("1.0",), "there is no column '1.0'; expected a number, 1 to 7"),
    "a name without a line of names": (SILSO_CSV, ("sunspots",), "expected a number, 1 to 7, as there is no header"),
    "of one": (b"1\n2\n3\n", ("2",), "there is no column '2'; expected a number, 1, as there is no header"),
    "twice": (SILSO_CSV, ("4", "4"), "column '4' is chosen twice; expected every column once"),
    "by name and number": (DATED, ("2", "sunspots, monthly"), "column 'sunspots, monthly' is chosen twice"),
    "none": (DATED, (), "no column is chosen; expected 'date', 'sunspots, monthly', 'place', or a number, 1 to 3"),
    "a name of two": (b"a,a\n1,2\n3,4\n5,6\n", ("a",), "2 columns are named 'a'; choose by number, 1 to 2"),
    "a name too few": (
        b"a,b\n1,2,3\n4,5,6\n7,8,9\n",
        ("b",),
        "the header has 2 columns and the line after it 3, so the place of 'b' is not certain; choose by",
    ),
    "many names": (
        b",".join(b"c%d" % n for n in range(25)) + b"\n" + 3 * (b"1" + 24 * b",1" + b"\n"),
        ("d",),
        "'c18', 'c19', ..., or a number, 1 to 25",
    ),
    "no number in it": (DATED, ("1",), "line 2, column 1 is '1749-01'; expected finite numbers"),
    "a gap in it": (b"t,v\n1,2\n2,\n3,4\n", ("v",), "line 3, column 2 is ''; expected finite numbers"),
    "a line too long": (
        b"1,2\n3,4,5\n6,7\n",
        ("1",),
        "line 2 has 3 columns, but the first row has 2; expected the same number",
    ),
    "a space after quotes": (
        b'a,"b" ,c\n1,2\n3,4\n5,6\n',
        ("b",),
        "',' expected after '\"'; expected finite numbers",
    ),
    "decimal commas": (
        b"1,5;2,5\n3,5;4,5\n5,5;6,5\n",
        None,
        "line 1, column 1 is '1,5': neither a number (a decimal comma: write",
    ),
    "decimal commas below names": (b"a;b\n1,5;2,5\n3;4\n", None, "line 2, column 1 is '1,5' (a decimal comma: write"),
    "a typo in the first row": (b"1a\n2\n3\n4\n", None, "line 1, column 1 is '1a': neither a number nor a name, which"),
    "an underscore in the first row": (b"1_0\n2\n3\n4\n", None, "line 1, column 1 is '1_0': neither a number nor"),
    "a hexadecimal in the first row": (b"a,-0x1\n2,3\n3,4\n4,5\n", None, "line 1, column 2 is '-0x1': neither a"),
    "a percentage in the first row": (b".1%\n2\n3\n4\n", None, "line 1, column 1 is '.1%': neither a number nor"),
    "a date in the first row": (b"1749-01;n/a\n1749-02;2\n", ("2",), "line 1, column 1 is '1749-01': neither a"),
}


@pytest.mark.parametrize("case", WRONG_COLUMNS)
def test_columns_that_cannot_be_chosen(case):
    content, columns, piece = WRONG_COLUMNS[case]
    Path("a.csv").write_bytes(content)
    with pytest.raises(InputError) as raised:
        load_series("a.csv", columns)
    message = str(raised.value)
    assert message.startswith("data file a.csv: ")
    assert piece in message
    assert "\n" not in message


def test_a_line_of_words_must_reach_to_the_columns_that_are_chosen():
    Path("a.txt").write_bytes(b"1 2 3\n4 5\n6 7 8 *\n")
    assert load_series("a.txt", ("2",)).tolist() == [[2], [5], [7]]
    with pytest.raises(
        InputError, match="line 2 has 2 columns, but column 3 is chosen; expected 3 or more columns in every row"
    ):
        load_series("a.txt", ("1", "3"))
    with pytest.raises(
        InputError,
        match="line 2 has 2 columns, but the first row has 3; expected the same number of columns in every row",
    ):
        load_series("a.txt")


def test_columns_of_an_npy_that_cannot_be_chosen():
    np.save("a.npy", np.ones((3, 2)))
    for column in ("3", "sunspots"):
        expected = f"^data file a.npy: there is no column '{column}'; expected a number, 1 to 2, as there is no header"
        with pytest.raises(InputError, match=expected):
            load_series("a.npy", (column,))


# -- anything -------------------------------------------------------------------------------------------------------


@given(series=hnp.arrays("float64", st.tuples(st.integers(3, 6), st.integers(1, 3)), elements=st.floats(-1e300, 1e300)))
def test_every_number_comes_back_bitwise(tmp_path_factory, series):
    folder = tmp_path_factory.getbasetemp()
    np.savetxt(folder / "a.csv", series, delimiter=",", fmt="%.17g")
    np.savetxt(folder / "a.txt", series, fmt="%.17g", header="x " * series.shape[1])
    np.savetxt(folder / "b.csv", series, delimiter=" ; ", fmt="%.17g")
    np.savetxt(folder / "a.tsv", series, delimiter="\t", fmt="%.17g", header="x\t" * series.shape[1])
    np.save(folder / "a.npy", series)
    for name in ("a.csv", "b.csv", "a.tsv", "a.txt", "a.npy"):
        assert bits(load_series(folder / name)) == bits(series)


@given(
    content=st.binary(max_size=40) | st.text(',;"\t\n 12ab#', max_size=40).map(str.encode),
    ending=st.sampled_from(["csv", "tsv", "txt", "npy"]),
    columns=st.none() | st.lists(st.sampled_from(["1", "2", "a", "b", ""]), max_size=2).map(tuple),
)
def test_no_content_raises_anything_but_an_input_error(tmp_path_factory, content, ending, columns):
    path = tmp_path_factory.getbasetemp() / f"a.{ending}"
    path.write_bytes(content)
    _only_input_errors(path, columns)


@given(flips=st.lists(st.tuples(st.integers(0, 151), st.integers(1, 255)), min_size=1, max_size=3))
def test_no_damaged_npy_raises_anything_but_an_input_error(tmp_path_factory, flips):
    path = tmp_path_factory.getbasetemp() / "a.npy"
    np.save(path, np.arange(3.0))
    damaged = bytearray(path.read_bytes())
    for place, change in flips:
        damaged[place] ^= change
    path.write_bytes(damaged)
    _only_input_errors(path)


def _only_input_errors(path, columns=None):
    try:
        series = load_series(path, columns)
    except InputError:
        pass
    else:
        assert series.dtype in (np.float32, np.float64)
        assert series.ndim == 2
        assert len(series) >= 3
        assert np.isfinite(series).all()


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.npy"])
def test_a_run_on_a_file(rnn, capsys, name):
    series = np.random.default_rng(2).uniform(-1, 1, (8, 2))
    if name == "a.npy":
        np.save(name, series)
    else:
        separator = "," if name == "a.csv" else " "
        np.savetxt(name, series, delimiter=separator, header=f"one{separator}two", comments="")
    out = succeed(rnn, capsys, "--data", name, "--epochs", 2, "--generate", 3, "--no-plot")
    named = "" if name == "a.npy" else " (columns one, two)"
    assert out.startswith(f"{rnn.__name__}: {name}{named}, T=7 B=1 D=2 H=6 O=2, ")
    table = actual_and_predicted(out)
    assert list(table) == [2, 3, 4, 5, 6, 7, 8]
    for time, row in table.items():
        assert np.abs(np.array(row[::2]) - series[time - 1]).max() <= PRINTED + 2**-24
    assert {time: len(row) for time, row in free_running(out).items()} == {9: 2, 10: 2, 11: 2}
