"""Series that may be larger than the memory: mapped .npy files, their mean and deviation, and the memory of a run."""

import io
import re
import statistics
import tracemalloc
from fractions import Fraction
from itertools import product
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from comparing import assert_within, bits
from hypothesis import given
from hypothesis import strategies as st
from in_process import command, configured, refused

import numpy_rnn
from numpy_rnn import InputError, Parameters
from numpy_rnn.app import experiment, size
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Scaling, scaling_of
from numpy_rnn.app.run import FLOPS, MAX_UPDATES, SECONDS, updates_per_yield
from numpy_rnn.app.series import inputs_and_targets, load_series
from numpy_rnn.app.size import Size, bytes_needed, size_of
from numpy_rnn.app.storage import save_parameters

EPS = 2.0**-52


def traced(work, *arguments):
    """What a function returns, and how many bytes it takes: by tracemalloc, to which NumPy reports its memory."""
    tracemalloc.start()
    try:
        return work(*arguments), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


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
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}\n"
    assert (10 + len(header)) % 8
    content = b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + np.arange(3.0).tobytes()
    Path("a.npy").write_bytes(content)
    series = load_series("a.npy")
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
    (x, target), peak = traced(lambda: inputs_and_targets(load_series("a.npy"), "float32"))
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
    scaling, peak = traced(scaling_of, np.tile(np.float32([1, 0]), 1_500_000)[:, None])
    assert scaling == Scaling(0.5, 0.5)
    assert peak < 6 * 2**19  # the series in float64 would be 24 MB


# -- the memory of a run ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _series():
    np.save("short.npy", np.sin(np.arange(600.0)))
    np.save("long.npy", np.sin(np.arange(5000.0)))
    np.save("wide.npy", np.random.default_rng(0).normal(size=(200, 300)).astype("f4"))


RUNS = {
    "options": "--hidden-size 300 --k1 5 --momentum 0.9 --nesterov --weight-decay 0.1 --max-norm 1 --dtype float64"
    " --learning-rate 1e-5",
    "sweep": "--hidden-size 400 --learning-rate 1e-5,1e-6,1e-4",
    "ensemble": "--seeds 1000 --k1 20 --hidden-size 2 --epochs 50",
    "long-windows": "--data long.npy --k1 1000 --k2 2000 --hidden-size 3 --seeds 30 --learning-rate 0",
    "windows": "--data short.npy --held-out 300 --generate 1 --k2 100 --learning-rate 0",
    "networks": "--data short.npy --held-out 560 --generate 1 --seeds 30 --hidden-size 70 --k2 10 --learning-rate 1e-4",
    "standardized": "--data long.npy --k1 1000 --standardize --seeds 40 --learning-rate 1e-5",
    "features": "--data wide.npy --k1 50 --hidden-size 200 --learning-rate 1e-5",
    "generated": "--generate 1000 --hidden-size 2 --seeds 100",
    "diverging": "--data long.npy --k1 5000 --hidden-size 100 --nonlinearity relu --learning-rate 1e30",
    "some-diverge": "--seeds 50 --learning-rate 0,1e30,1e35 --momentum 0.5 --epochs 4 --hidden-size 40",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_no_run_takes_more_than_the_estimate(capsys, monkeypatch, name):
    spy = Mock(wraps=size.check_size)
    monkeypatch.setattr(experiment, "check_size", spy)
    command(numpy_rnn, capsys, "--epochs", 1, "--no-plot")  # all modules are imported
    spy.reset_mock()
    options = "--epochs", 1, "--save", "r.npz", "--no-plot", *RUNS[name].split()
    ended, taken = traced(command, numpy_rnn, capsys, *options)
    assert ended.status == (3 if name == "diverging" else 0)
    estimate = max(bytes_needed(*call.args) for call in spy.call_args_list)
    assert taken <= estimate <= 10 * (taken + size.FIXED_BYTES)


def test_the_estimate_grows_by_every_array_that_grows():
    """A term that is left out is smaller than the margin in the runs above; so each one is checked by itself."""
    sizes = Size(rows=1000, features=2, hidden_size=8, networks=10, itemsize=4, generate=100)

    def of(options=None, **changed):
        values = {"epochs": 50, "k1": 20, "k2": 20} | (options or {})
        return bytes_needed(sizes._replace(**changed), Configuration(**values))

    assert of(rows=100_001) - of(rows=100_000) >= 8 * 3 * 2  # read, standardized, converted
    assert of(rows=200_000, copies_of_series=0) - of(rows=100_000, copies_of_series=0) < 100_000 * 8  # mapped
    one_by_one = of(networks=1000, generate=1100) - of(networks=1000)
    assert one_by_one >= 1000 * 1000 * 2 * 4 * 2  # free-running values; and all concatenated
    assert of({"epochs": 150}) - of() >= 100 * 10 * 8 * 2  # the losses, as rows and as an array
    assert of({"k1": 120, "k2": 120}) - of() >= 100 * 10 * 4 * (3 * 8 + 3 * 2)  # a, h, da and so on
    assert of(networks=20) - of() >= 10 * 4 * (2 * 8 + 64 + 16) * 4  # drawn, before and after an update, gradients
    assert of(itemsize=8) > of(networks=15)
    assert of({"momentum": 0.9}) - of() >= 10 * 4 * (2 * 8 + 64 + 16)


@pytest.mark.parametrize(
    ("options", "copies"),
    [("--dtype float64", 0), ("", 3), ("--dtype float64 --standardize", 3), ("--dtype float64 --columns 1", 0)],
)
def test_a_mapped_series_takes_no_memory_unless_it_is_converted(options, copies):
    series, configuration = load_series("long.npy"), configured(f"--data long.npy {options} --seeds 3")
    itemsize = 8 if "float64" in options else 4
    assert size_of(configuration, series, None, 7) == Size(5000, 1, 6, 3, itemsize, 7, copies)
    assert size_of(configuration, np.array(series), None, 7).copies_of_series == 3
    params = numpy_rnn.initial_parameters(1, 5, 1, networks=2, dtype="float64")
    assert size_of(configuration, series, params, 0)[2:5] == (5, 2, 8)


@pytest.mark.parametrize("options", ["--seeds 3000000", "--data long.npy --k1 4999 --hidden-size 20000", "huge"])
def test_a_run_that_is_too_large_is_refused_before_it_takes_memory(capsys, options):
    if options == "huge":
        np.lib.format.open_memmap("huge.npy", "w+", "f8", (10, 20_000))  # a matrix of weights for every pair of columns
        options = "--data huge.npy --hidden-size 20000"
    message, taken = traced(refused, numpy_rnn, capsys, *options.split(), "--no-plot")
    assert "GiB: expected 8 at most; choose fewer" in message
    assert taken < 2**24


def test_the_weights_of_a_file_count_too(capsys, monkeypatch):
    save_parameters("w.npz", numpy_rnn.initial_parameters(1, 300, 1))
    monkeypatch.setattr(size, "MAX_BYTES", 2**22 + 2**21)
    message = refused(numpy_rnn, capsys, "--weights", "w.npz", "--no-plot")
    assert message.startswith("hidden size 300, 1 network, windows of 1 step, 21 rows and 20 free-running steps take")


def shaped(E, D, H, O):
    """Parameters of these sizes, which take no memory."""
    return Parameters(*(np.broadcast_to(np.float32(0), (*E, *shape)) for shape in ((D, H), (H, H), (H, O))))


def test_the_more_an_update_computes_the_fewer_are_made_per_yield():
    assert updates_per_yield(shaped((), 1, 6, 1), 1) == MAX_UPDATES
    for E, D, H, k2 in product([(), (7,), (3, 5)], [1, 300], [6, 600, 6000], [1, 20, 1000]):
        count = updates_per_yield(shaped(E, D, H, D), k2)
        flops = 6 * np.prod(E) * (2 * D * H + H * H) * k2  # of one update
        assert 1 <= count <= MAX_UPDATES
        assert count == 1 or count * flops <= SECONDS * FLOPS
        assert count >= updates_per_yield(shaped((2, *E), D, H, D), k2)
