"""The estimated memory of a run, compared with what it takes; and how many updates a run makes per yield."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from in_process import command, configured, refused

import numpy_rnn
from numpy_rnn import Parameters
from numpy_rnn.app import experiment, size
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.run import FLOPS, MAX_UPDATES, SECONDS, updates_per_yield
from numpy_rnn.app.series import load_series
from numpy_rnn.app.size import Size, bytes_needed, size_of


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
    """By tracemalloc, to which NumPy reports its memory."""
    estimates = []

    def spy(sizes, configuration):
        estimates.append(bytes_needed(sizes, configuration))
        size.check_size(sizes, configuration)

    monkeypatch.setattr(experiment, "check_size", spy)
    options = ["--epochs", 1, "--save", "r.npz", "--no-plot", *RUNS[name].split()]
    command(numpy_rnn, capsys, "--epochs", 1, "--no-plot")  # all modules are imported
    tracemalloc.start()
    try:
        ended = command(numpy_rnn, capsys, *options)
        _, taken = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ended.status == (3 if name == "diverging" else 0)
    assert taken <= max(estimates) <= 10 * (taken + size.FIXED_BYTES)


def test_the_estimate_grows_by_every_array_that_grows():
    """A term that is left out is smaller than the margin in the runs above; so each one is checked by itself."""
    sizes = Size(rows=1000, features=2, hidden_size=8, networks=10, itemsize=4, generate=100)
    configuration = Configuration(epochs=50, k1=20, k2=20)

    def growth(configuration=configuration, **changed):
        of_changed = bytes_needed(sizes._replace(**changed), configuration)
        return of_changed - bytes_needed(sizes, Configuration(epochs=50, k1=20, k2=20))

    one_more_row = bytes_needed(sizes._replace(rows=100_001), configuration)
    one_more_row -= bytes_needed(sizes._replace(rows=100_000), configuration)
    assert one_more_row >= 8 * 3 * 2  # read, standardized, converted
    mapped = sizes._replace(copies_of_series=0)
    grown = bytes_needed(mapped._replace(rows=200_000), configuration)
    assert grown - bytes_needed(mapped._replace(rows=100_000), configuration) < 100_000 * 8
    many = bytes_needed(sizes._replace(networks=1000, generate=1100), configuration)
    many -= bytes_needed(sizes._replace(networks=1000), configuration)
    assert many >= 1000 * 1000 * 2 * 4 * 2  # one by one, and concatenated
    assert growth(configuration.changed(epochs=150)) >= 100 * 10 * 8 * 2  # the losses, as rows and as an array
    assert growth(configuration.changed(k1=120, k2=120)) >= 100 * 10 * 4 * (3 * 8 + 3 * 2)  # a, h, da and so on
    assert growth(networks=20) >= 10 * 4 * (2 * 8 + 64 + 16) * 4  # drawn, before and after an update, gradients
    assert growth(itemsize=8) > growth(networks=15)
    assert growth(configuration.changed(momentum=0.9)) >= 10 * 4 * (2 * 8 + 64 + 16)


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
    tracemalloc.start()
    try:
        message = refused(numpy_rnn, capsys, *options.split(), "--no-plot")
        _, taken = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "GiB: expected 8 at most; choose fewer" in message
    assert taken < 2**24


def test_the_weights_of_a_file_count_too(capsys, monkeypatch):
    params = numpy_rnn.initial_parameters(1, 300, 1)
    np.savez("w.npz", **{name: theta for name, theta in params._asdict().items() if theta is not None})
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
