"""The trace file: keys, shapes and values as the docstring of trace.py promises them to programs in other languages."""

import json
import re
import zipfile

import numpy as np
import pytest
from cases import bits
from terminal import command, succeed

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.common import trace
from numpy_rnn.common.configuration import Configuration
from numpy_rnn.common.experiment import prepare
from numpy_rnn.common.storage import save_arrays
from numpy_rnn.common.trace import Recorder, check_size, load_trace
from numpy_rnn.common.windows import windows

WEIGHTS, BIASES = ["W_xh", "W_hh", "W_hy"], ["b_h", "b_y"]
BY_STEP = ["a", "h", "y", "dy", "dh", "da"]
RUNS: dict[str, tuple[str, dict]] = {
    "main job": ("", {}),
    "windows": (
        "--k1 3 --k2 7 --bias --reduction mean --dtype float64",
        {"k1": 3, "k2": 7, "bias": True, "reduction": "mean", "dtype": "float64"},
    ),
    "ensemble": (
        "--k2 3 --seeds 2 --nonlinearity relu --bias",
        {"k2": 3, "networks": 2, "nonlinearity": "relu", "bias": True},
    ),
}


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=RUNS)
def traced(rnn, capsys, request):
    """The arrays of a trace of three epochs, as NumPy alone reads them, and the run that it is of."""
    options, changed = RUNS[request.param]
    out = succeed(rnn, capsys, "--epochs", 3, "--trace", "t.npz", "--no-plot", *options.split())
    with np.load("t.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    assert f"\ntrace of {len(arrays['epoch'])} updates written to t.npz\n" in out
    return arrays, Configuration(epochs=3, **changed)


def documented_keys(bias):
    names = WEIGHTS + BIASES if bias else WEIGHTS
    return [
        *("format", "configuration", "x", "target", "h_0", "epoch", "number", "start", "counted_from", "stop"),
        *("entering", "loss", *BY_STEP),
        *(prefix + name for prefix in ("initial_", "d", "") for name in names),
    ]


def test_the_docstring_names_every_key():
    words = set(re.findall(r"\w+", trace.__doc__))
    initial = {f"initial_{name}" for name in WEIGHTS + BIASES}  # written there as initial_W_xh, _W_hh, ...
    assert set(documented_keys(bias=True)) - initial <= words
    assert {"initial_W_xh", "_W_hh", "_W_hy", "_b_h", "_b_y"} <= words


def test_keys_and_shapes(traced):
    arrays, configuration = traced
    assert sorted(arrays) == sorted(documented_keys(bool(configuration.bias)))
    T, B, D, H, O = 20, 1, 1, 6, 1
    E = () if configuration.networks is None else (configuration.networks,)
    schedule = list(windows(T, configuration.k1, configuration.k2))
    N, S = 3 * len(schedule), 3 * sum(window.steps for window in schedule)
    expected = {"x": (T, B, D), "target": (T, B, O), "h_0": (B, H), "entering": (N, *E, B, H), "loss": (N, *E)}
    expected |= dict.fromkeys(("epoch", "number", "start", "counted_from", "stop"), (N,))
    expected |= dict.fromkeys(("a", "h", "dh", "da"), (S, *E, B, H)) | dict.fromkeys(("y", "dy"), (S, *E, B, O))
    sizes = {"W_xh": (D, H), "W_hh": (H, H), "W_hy": (H, O), "b_h": (H,), "b_y": (O,)}
    for name, shape in sizes.items():
        if configuration.bias or name in WEIGHTS:
            expected |= {f"initial_{name}": (*E, *shape), f"d{name}": (N, *E, *shape), name: (N, *E, *shape)}
    found = {name: array.shape for name, array in arrays.items() if name not in ("format", "configuration")}
    assert found == expected
    whole = ("epoch", "number", "start", "counted_from", "stop")
    assert {str(arrays[name].dtype) for name in expected if name not in whole} == {configuration.dtype or "float32"}
    assert {arrays[name].dtype.kind for name in whole} == {"i"}


def test_the_strings_are_plain_bytes(traced):
    arrays, configuration = traced
    for name in ("format", "configuration"):
        assert arrays[name].dtype.kind == "S"
        assert arrays[name].shape == ()
    assert arrays["format"].item() == b"elman-trace 1"
    assert json.loads(arrays["configuration"].item()) == configuration.to_dict()
    with zipfile.ZipFile("t.npz") as archive:
        content = archive.read("format.npy")  # magic, version, length of the header, header, and then the bytes
    assert content[10 + int.from_bytes(content[8:10], "little") :] == b"elman-trace 1"


def test_the_values_are_those_of_the_run(rnn, traced):
    arrays, configuration = traced
    experiment = prepare(configuration)
    assert bits((arrays["x"], arrays["target"], arrays["h_0"])) == bits(experiment[1:4])
    initial = experiment.params._asdict().items()
    assert all(bits(arrays[f"initial_{name}"]) == bits(theta) for name, theta in initial if theta is not None)
    options = configuration.train_options()
    updates = list(rnn.train(*map(rnn.from_numpy, (experiment.params, *experiment[1:4])), **options, record=True))
    assert len(arrays["epoch"]) == len(updates)
    step = 0
    for n, update in enumerate(map(rnn.to_numpy, updates)):
        assert [arrays[name][n] for name in ("epoch", "number")] == [update.epoch, update.number]
        assert [arrays[name][n] for name in ("start", "counted_from", "stop")] == list(update.window)
        steps = slice(step, step + update.window.steps)
        step = steps.stop
        _, a, h, y = update.activations
        expected = {"a": a, "h": h[1:], "y": y, **update.deltas._asdict()}
        assert {name: bits(arrays[name][steps]) for name in expected} == {k: bits(v) for k, v in expected.items()}
        single = {"loss": update.loss, "entering": h[0], **update.parameters._asdict()}
        single |= {f"d{name}": gradient for name, gradient in update.gradients._asdict().items()}
        single = {name: bits(value) for name, value in single.items() if value is not None}
        assert {name: bits(arrays[name][n]) for name in single} == single
    assert step == len(arrays["a"])


def test_a_trace_is_read_back(traced):
    arrays, _ = traced
    read = load_trace("t.npz")
    assert {name: bits(array) for name, array in read.items()} == {name: bits(array) for name, array in arrays.items()}


@pytest.mark.parametrize("said", [{}, {"format": np.bytes_("elman-trace 2")}, {"format": np.zeros(2)}])
def test_a_file_of_another_format_is_refused(said):
    save_arrays("t.npz", {"x": np.zeros(3), **said})
    with pytest.raises(InputError, match=r"trace file t\.npz does not say format 'elman-trace 1': expected a trace"):
        load_trace("t.npz")


@pytest.mark.parametrize("options", [{}, {"k1": 3, "k2": 9, "bias": True}, {"networks": 3, "dtype": "float64"}])
def test_the_size_of_a_trace_is_known_before_the_run(monkeypatch, options):
    configuration = Configuration(epochs=4, hidden_size=30, **options)
    experiment = prepare(configuration)
    recorder = Recorder(experiment, configuration)
    arrays = map(numpy_rnn.from_numpy, (experiment.params, *experiment[1:4]))
    for update in numpy_rnn.train(*arrays, **configuration.train_options(), record=True):
        recorder.append(update)
    size = sum(array.nbytes for array in recorder.arrays().values())
    monkeypatch.setattr(trace, "LARGEST", size)
    check_size(experiment, configuration)
    monkeypatch.setattr(trace, "LARGEST", 0.9 * size)
    with pytest.raises(InputError):
        check_size(experiment, configuration)


def test_a_trace_that_is_too_large_says_how_large(rnn, capsys):
    # an update keeps 2·48 numbers of parameters and gradients and 4·6 + 2 of its step, 4 bytes each: 9760 an epoch
    ended = command(rnn, capsys, "--epochs", 10**6, "--trace", "t.npz", "--no-plot")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err == (
        f"{rnn.__name__}: the trace of this run would take 9 GiB: expected 4 at most; choose fewer --epochs\n"
    )
