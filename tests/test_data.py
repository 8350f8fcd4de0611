"""The series: the sine wave, and what is read from files (what is refused: test_bad_files)."""

from pathlib import Path

import numpy as np
import pytest
from cases import bits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from terminal import actual_and_predicted, free_running, succeed

from numpy_rnn import InputError
from numpy_rnn.common.data import inputs_and_targets, load_series, sine

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


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int8", "uint32", ">f8", "<i2", "bool"])
@pytest.mark.parametrize("shape", [(6,), (3, 2), (6, 1)])
def test_npy_files(dtype, shape):
    array = (np.arange(6) % 2).astype(dtype).reshape(shape)
    np.save("a.npy", array)
    assert bits(load_series("a.npy")) == bits(array.astype("float64").reshape(shape[0], -1))


def test_npy_in_the_order_of_fortran():
    np.save("a.npy", np.asfortranarray(THREE))
    assert np.array_equal(load_series("a.npy"), THREE)


@given(series=hnp.arrays("float64", st.tuples(st.integers(3, 6), st.integers(1, 3)), elements=st.floats(-1e300, 1e300)))
def test_every_number_comes_back_bitwise(tmp_path_factory, series):
    folder = tmp_path_factory.getbasetemp()
    np.savetxt(folder / "a.csv", series, delimiter=",", fmt="%.17g")
    np.savetxt(folder / "a.txt", series, fmt="%.17g", header="x " * series.shape[1])
    np.save(folder / "a.npy", series)
    for name in ("a.csv", "a.txt", "a.npy"):
        assert bits(load_series(folder / name)) == bits(series)


@given(content=st.binary(max_size=40), ending=st.sampled_from(["csv", "txt", "npy"]))
def test_no_content_raises_anything_but_an_input_error(tmp_path_factory, content, ending):
    path = tmp_path_factory.getbasetemp() / f"a.{ending}"
    path.write_bytes(content)
    _only_input_errors(path)


@given(flips=st.lists(st.tuples(st.integers(0, 151), st.integers(1, 255)), min_size=1, max_size=3))
def test_no_damaged_npy_raises_anything_but_an_input_error(tmp_path_factory, flips):
    path = tmp_path_factory.getbasetemp() / "a.npy"
    np.save(path, np.arange(3.0))
    damaged = bytearray(path.read_bytes())
    for place, change in flips:
        damaged[place] ^= change
    path.write_bytes(damaged)
    _only_input_errors(path)


def _only_input_errors(path):
    try:
        series = load_series(path)
    except InputError:
        pass
    else:
        assert series.dtype == np.float64
        assert series.ndim == 2
        assert len(series) >= 3
        assert np.isfinite(series).all()


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.npy"])
def test_a_run_on_a_file(rnn, capsys, name):
    series = np.random.default_rng(2).uniform(-1, 1, (8, 2))
    if name == "a.npy":
        np.save(name, series)
    else:
        np.savetxt(name, series, delimiter="," if name == "a.csv" else " ", header="one two", comments="")
    out = succeed(rnn, capsys, "--data", name, "--epochs", 2, "--generate", 3, "--no-plot")
    assert out.startswith(f"{rnn.__name__}: {name}, T=7 B=1 D=2 H=6 O=2, ")
    table = actual_and_predicted(out)
    assert list(table) == [2, 3, 4, 5, 6, 7, 8]
    for time, row in table.items():
        assert np.abs(np.array(row[::2]) - series[time - 1]).max() <= PRINTED + 2**-24
    assert {time: len(row) for time, row in free_running(out).items()} == {9: 2, 10: 2, 11: 2}
