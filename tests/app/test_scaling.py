"""Series that may be larger than the memory: mapped .npy files, and the mean and the deviation of their columns."""

import io
import re
import statistics
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from comparing import assert_within, bits
from fuzz_inputs import npy
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import InputError
from numpy_rnn.app.experiment import Scaling, scaling_of
from numpy_rnn.app.series import inputs_and_targets, load_series

EPS = 2.0**-52
SERIES = np.array([[1, 10], [2, 30], [4, 30], [5, 10.0]])

# -- mapped files ---------------------------------------------------------------------------------------------------


def overwrite(name, place, value):
    """Change one number of an .npy file; `place` counts from its end."""
    dtype = np.load(name, mmap_mode="r").dtype
    with open(name, "r+b") as file:
        file.seek(place * dtype.itemsize, io.SEEK_END)
        file.write(np.array(value, dtype).tobytes())


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i8", "i1", "u4", ">f4", ">f8", "<i2", "bool"])
def test_an_npy_is_mapped_if_it_holds_native_floats_and_copied_otherwise(dtype):
    array = (np.arange(6) % 2).astype(dtype).reshape((3, 2) if dtype in ("f4", "i8") else (6,))
    np.save("a.npy", array)
    series, is_mapped = load_series("a.npy"), dtype in ("f4", "f8")
    assert bits(series) == bits(array.astype(dtype if is_mapped else "f8").reshape(len(array), -1))
    assert series.dtype.isnative
    assert type(series) is np.ndarray
    x, target = inputs_and_targets(series, series.dtype)
    assert (series.flags.writeable, x.flags.writeable) == (not is_mapped, not is_mapped)
    overwrite("a.npy", -1, 0)
    assert (series[-1, -1] == target[-1, 0, -1] == 0) == is_mapped


@pytest.mark.parametrize("columns", [("2",), ("2", "3"), ("1", "2", "3"), ("3", "2"), ("1", "3"), ("2", "1", "3")])
def test_columns_of_an_npy_have_the_chosen_order_and_stay_mapped_if_they_are_adjacent(columns):
    rows = np.arange(12, dtype="float32").reshape(4, 3)
    np.save("a.npy", rows)
    series = load_series("a.npy", columns)
    assert bits(series) == bits(rows[:, [int(column) - 1 for column in columns]])
    overwrite("a.npy", -2, 77)
    assert (77 in series[-1]) == (sorted(columns) == list(columns) != ["1", "3"])


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


def test_a_number_that_is_not_finite_is_found_wherever_it_is():
    for shape, place, columns, where in (
        ((200_000,), -1, None, "row 200000, column 1"),
        ((200_000,), -200_000, None, "row 1, column 1"),
        ((200_000,), -134_464, None, "row 65537, column 1"),  # the first one of the second block
        ((70_000, 3), -2, None, "row 70000, column 2"),
        ((70_000, 3), -1, ("3", "1"), "row 70000, column 3"),
        ((2, 70_000), -1, None, "row 2, column 70000"),  # a row longer than a block
    ):
        np.save("a.npy", np.zeros(shape, "float32"))
        for wrong in (np.nan, np.inf, -np.inf):
            overwrite("a.npy", place, wrong)
            message = f"data file a.npy: {where} is {wrong}; expected finite numbers, one row per time step"
            with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
                load_series("a.npy", columns)
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


# -- mean and deviation ----------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32 - 1),
    N=st.integers(2, 40),
    D=st.integers(1, 3),
    centre=st.sampled_from([0, 1, -1e3, 1e6, 1e10]),
    size=st.sampled_from([1, 1e-100, 1e100]),
    dtype=st.sampled_from(["float64", "float32"]),
    block=st.sampled_from([2, 30, 1000]),
)
def test_mean_and_deviation_are_those_of_exact_arithmetic(seed, N, D, centre, size, dtype, block):
    """The mean is a sum of N differences to a first mean, of which each is rounded; and so is the variance.

    Of N differences d, their sum is off by N·eps·Σ|d| at most, with the first mean near enough that Σ|d| is that of the
    true ones but for a part that the numbers below keep under one half; the mean is rounded once more. Each d is off by
    eps/2 of itself, and the sum of N squares by (N+2)·eps of itself; the root halves that (Higham, section 4.2).
    """
    size, centre = (1, min(centre, 1e3)) if dtype == "float32" else (size, centre)
    series = (np.random.default_rng(seed).normal(centre, 1, (N, D)) * size).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpy_rnn.app.experiment.BLOCK", block)
        scaling = scaling_of(series)
    columns = [[Fraction(float(number)) for number in column] for column in series.T]
    mean, deviation = (
        np.array([float(of(column)) for column in columns]) for of in (statistics.mean, statistics.pstdev)
    )
    spread = np.abs(series.astype("float64") - mean).mean(axis=0)
    assert_within(scaling.mean, mean, EPS * (np.abs(mean) + 2 * (N + 2) * spread), "mean")
    assert_within(scaling.deviation, deviation, (N + 6) * EPS * deviation, "deviation")


def test_rows_are_standardized_and_values_of_any_shape_are_returned_to_the_units_of_the_series():
    scaling = Scaling(np.array([3.0, 20.0]), np.array([1.5, 10.0]))
    assert bits(scaling.standardized(SERIES.astype("f4"))) == bits((SERIES - [3, 20]) / [1.5, 10])
    for shape in ((2,), (4, 2), (5, 3, 1, 2)):
        values = np.random.default_rng(2).normal(size=shape).astype("f4")
        assert bits(scaling.original(values)) == bits(values * np.array([1.5, 10.0]) + [3, 20])


def test_a_series_that_cannot_be_standardized_is_refused():
    no_deviation = "has no standard deviation in float64"
    for rows, message in (
        ([[1, 5], [2, 5], [3, 5]], "column 2 of the series is 5 in all 3 rows and cannot be standardized"),
        ([[0.1], [0.1], [0.1]], "column 1 of the series is 0.1 in all 3 rows"),  # whose mean is not 0.1
        ([[1.0]], "column 1 of the series is 1 in all 1 rows"),
        ([[1e308], [1e308], [-1e308]], f"column 1 of the series, -1e+308 to 1e+308, {no_deviation}"),
        ([[1e200], [-1e200]], f"column 1 of the series, -1e+200 to 1e+200, {no_deviation}"),  # too large squares
        ([[1e-200], [-1e-200]], f"column 1 of the series, -1e-200 to 1e-200, {no_deviation}"),  # too small ones
    ):
        with pytest.raises(InputError, match=f"^{re.escape(message)}[^\n]*$"):
            scaling_of(np.array(rows, np.float64))


def test_the_memory_of_the_scaling_does_not_grow_with_the_series():
    """A block is 512 KiB in float64, and it, its differences and their squares are held at once, or two of them."""
    series = np.zeros((3_000_000, 1), "float32")
    series[::2] = 1
    tracemalloc.start()
    scaling = scaling_of(series)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scaling == Scaling(0.5, 0.5)
    assert peak < 6 * 2**19  # the series in float64 would be 24 MB
