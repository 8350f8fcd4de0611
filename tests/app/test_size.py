"""What a run is said to take, against what it takes."""

import tracemalloc

import numpy as np
import pytest
from in_process import command, refused

import numpy_rnn
from numpy_rnn.app import experiment, size

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("long.npy", np.sin(np.arange(10_000.0)))
    np.save("wide.npy", np.random.default_rng(0).normal(size=(200, 300)).astype("f4"))
    np.savetxt("text.csv", np.sin(np.arange(3_000.0)))


RUNS = {
    "large network": "--hidden-size 700 --learning-rate 1e-5",
    "all options": "--hidden-size 500 --momentum 0.9 --nesterov --weight-decay 0.1 --max-norm 1 --learning-rate 1e-5",
    "float64": "--hidden-size 400 --momentum 0.9 --dtype float64 --learning-rate 1e-5",
    "sweep": "--hidden-size 400 --learning-rate 1e-5,1e-6,1e-4",
    "ensemble": "--seeds 3000 --k1 20",
    "many epochs of an ensemble": "--seeds 1000 --k1 20 --hidden-size 2 --epochs 300",
    "long windows": "--data long.npy --k1 4000 --k2 4000 --hidden-size 3 --seeds 50 --learning-rate 0",
    "long windows that overlap": "--data long.npy --k1 2000 --k2 4000 --hidden-size 3 --seeds 50 --learning-rate 0",
    "a window for every step": "--data long.npy --held-out 9400 --generate 1 --k2 100 --learning-rate 0",
    "large networks": "--data long.npy --held-out 9800 --generate 1 --seeds 30 --hidden-size 70 --k2 10"
    " --learning-rate 1e-4",
    "standardized": "--data long.npy --k1 1000 --standardize --learning-rate 1e-5",
    "text": "--data text.csv --k1 1000 --seeds 100 --held-out 1000 --learning-rate 1e-5",
    "mapped": "--data long.npy --k1 1000 --dtype float64 --learning-rate 1e-5",
    "many features": "--data wide.npy --k1 50 --hidden-size 200 --learning-rate 1e-5",
    "generated": "--generate 2000 --hidden-size 2 --seeds 100",
    "diverging": "--hidden-size 500 --nonlinearity relu --learning-rate 1e30",
    "diverging in long windows": "--data long.npy --k1 5000 --hidden-size 100 --nonlinearity relu --learning-rate 1e30",
    "some diverge": "--seeds 50 --learning-rate 0,1e30,1e35 --momentum 0.5 --epochs 4 --hidden-size 40",
}


@pytest.mark.parametrize("name", RUNS)
def test_no_run_takes_more_than_is_said(capsys, monkeypatch, name):
    """By Python's own account, to which NumPy reports its memory."""
    said = []

    def spy(sizes, configuration):
        said.append(size.bytes_needed(sizes, configuration))
        size.check_size(sizes, configuration)

    monkeypatch.setattr(experiment, "check_size", spy)
    options = ["--epochs", 1, "--save", "r.npz", "--no-plot", *RUNS[name].split()]
    command(numpy_rnn, capsys, "--epochs", 1, "--no-plot")  # all modules are there
    tracemalloc.start()
    try:
        ended = command(numpy_rnn, capsys, *options)
        _, taken = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ended.status == (3 if name.startswith("diverging") else 0)
    assert taken <= max(said)
    assert max(said) <= 10 * (taken + size.FIXED_BYTES)


@pytest.mark.parametrize(
    "options",
    ["--hidden-size 40000", "--seeds 3000000", "--data long.npy --k1 9999 --hidden-size 12000", "--data huge.npy"],
)
def test_a_run_that_is_too_large_is_refused_before_it_takes_memory(rnn, capsys, options):
    if "huge" in options:
        np.lib.format.open_memmap(
            "huge.npy", "w+", "f8", (10, 20_000)
        )  # as many outputs as inputs, and weights between
        options += " --hidden-size 20000"
    tracemalloc.start()
    try:
        message = refused(rnn, capsys, *options.split(), "--no-plot")
        _, taken = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "GiB: expected 8 at most; choose fewer" in message
    assert taken < 2**24


def test_weights_from_a_file_are_counted_too(rnn, capsys, monkeypatch):
    params = numpy_rnn.initial_parameters(1, 300, 1)
    np.savez("w.npz", **{name: theta for name, theta in params._asdict().items() if theta is not None})
    monkeypatch.setattr(size, "MAX_BYTES", 2**22 + 2**21)
    message = refused(rnn, capsys, "--weights", "w.npz", "--no-plot")
    assert message.startswith("hidden size 300, 1 network, windows of 1 step, 21 rows and 20 free-running steps take")
