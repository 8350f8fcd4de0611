"""The trace file: keys, shapes and values as the docstring of trace.py promises them to programs in other languages."""

import json
import re
import zipfile

import numpy as np
import pytest
from comparing import bits
from in_process import configured, succeed

import numpy_rnn
from numpy_rnn import InputError
from numpy_rnn.app import trace
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.divergence import begin
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.storage import save_arrays
from numpy_rnn.app.trace import Recorder, check_trace_size, load_trace
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.trace_format import read_trace, start_of

WEIGHTS, BIASES = ["W_xh", "W_hh", "W_hy"], ["b_h", "b_y"]
BY_STEP = ["a", "h", "y", "dy", "dh", "da", "dx"]
RUNS = {
    "default": "",
    "windows": "--k1 3 --k2 7 --bias --reduction mean --dtype float64",
    "ensemble": "--k2 3 --seeds 2 --nonlinearity relu --bias",
    "learned state": "--k1 4 --k2 6 --learn-initial-state --momentum 0.5 --weight-decay 0.01 --max-norm 1",
    "sweep": "--k1 5 --k2 5 --learning-rate 0.1,0.01 --seeds 2 --learn-initial-state",
    "held out": "--k1 5 --held-out 7",
}


def documented_keys(configuration):
    names = WEIGHTS + (BIASES if configuration.bias else []) + (["h_0"] if configuration.learn_initial_state else [])
    keys = {
        *("format", "configuration", "x", "target", "initial_h_0", "epoch", "number", "start", "loss_start", "stop"),
        *("initial", "loss", *BY_STEP, "dh_0"),
        *(prefix + name for prefix in ("initial_", "d", "") for name in names),
    }
    return keys | ({"v" + name for name in names} if configuration.momentum else set())


def test_docstring_names_every_key():
    words = set(re.findall(r"\w+", trace.__doc__))
    initial = {f"initial_{name}" for name in WEIGHTS + BIASES}  # written there as initial_W_xh, _W_hh, ...
    assert documented_keys(Configuration(bias=True, momentum=0.9, learn_initial_state=True)) - initial <= words
    assert {"initial_W_xh", "_W_hh", "_W_hy", "_b_h", "_b_y"} <= words
    assert {*SgdOptions._fields, "learn_initial_state"} <= words


@pytest.mark.parametrize("run", RUNS)
def test_trace_has_the_numbers_of_the_run(rnn, capsys, run):
    """Also their shapes and dtypes; the strings are plain bytes."""
    options = f"--epochs 2 {RUNS[run]}"
    out = succeed(rnn, capsys, "--trace", "t.npz", "--no-plot", *options.split())
    configuration = configured(options)
    with np.load("t.npz", allow_pickle=False) as archive:  # as NumPy alone reads it
        arrays = dict(archive)
    assert set(arrays) == documented_keys(configuration)
    assert {name: bits(array) for name, array in load_trace("t.npz").items()} == {k: bits(v) for k, v in arrays.items()}
    assert (arrays["format"].dtype.kind, arrays["format"].item()) == ("S", b"elman-trace 3")
    assert json.loads(arrays["configuration"].item()) == json.loads(json.dumps(configuration.to_dict()))
    with zipfile.ZipFile("t.npz") as archive:
        content = archive.read("format.npy")  # magic, version, length of the header, header, and then the bytes
    assert content[10 + int.from_bytes(content[8:10], "little") :] == b"elman-trace 3"

    experiment = prepare(configuration).trained()
    assert len(arrays["x"]) == 20 - configuration.held_out
    assert bits((arrays["x"], arrays["target"], arrays["initial_h_0"])) == bits(experiment[1:4])
    initial = experiment.params._asdict().items()
    assert all(bits(arrays[f"initial_{name}"]) == bits(theta) for name, theta in initial if theta is not None)
    updates = list(begin(rnn, experiment.run(configuration.run_options()), record=True))
    assert len(arrays["epoch"]) == len(updates)
    assert f"\ntrace of {len(updates)} updates saved to t.npz\n" in out
    step = 0
    for n, update in enumerate(map(rnn.to_numpy, updates)):
        assert [arrays[name][n] for name in ("epoch", "number")] == [update.epoch, update.number]
        assert [arrays[name][n] for name in ("start", "loss_start", "stop")] == list(update.window)
        steps = slice(step, step + update.window.steps)
        step = steps.stop
        _, a, h, y = update.activations
        by_step = {"a": a, "h": h[1:], "y": y, **update.adjoints._asdict()}
        single = {"loss": update.loss, "initial": h[0], "dh_0": by_step.pop("dh_0"), **update.parameters._asdict()}
        assert {name: bits(arrays[name][steps]) for name in by_step} == {k: bits(v) for k, v in by_step.items()}
        assert (update.velocity is not None) == (configuration.momentum > 0)
        for prefix, tensors in (("d", update.gradients), ("v", update.velocity)):
            single |= {} if tensors is None else {prefix + name: of for name, of in tensors._asdict().items()}
        single = {name: bits(value) for name, value in single.items() if value is not None}
        assert {name: bits(arrays[name][n]) for name in single} == single
    assert all(len(arrays[name]) == step for name in BY_STEP)


@pytest.mark.parametrize("head", [{}, {"format": np.bytes_("elman-trace 4")}, {"format": np.zeros(2)}])
def test_other_format_is_refused(head):
    save_arrays("t.npz", {"x": np.zeros(3), **head})
    with pytest.raises(InputError, match=r"trace file t\.npz has no format 'elman-trace 3': expected a trace"):
        load_trace("t.npz")


def test_older_versions_are_read():
    """Version 2 had the key `entering` for the initial state of the window. Version 1 also had h_0 for that of the
    epoch, which is now a learned one, no options of the momentum and no gradients of the inputs.
    """
    configuration = configured("--epochs 1 --k1 3 --k2 5 --momentum 0.5 --learn-initial-state")
    now = trace_of(numpy_rnn, prepare(configuration), configuration)
    second = {{"initial": "entering"}.get(name, name): array for name, array in now.items()}
    save_arrays("t.npz", second | {"format": np.bytes_("elman-trace 2")})
    assert {name: bits(array) for name, array in read_trace("t.npz").items()} == {k: bits(v) for k, v in now.items()}

    configuration = configured("--epochs 2 --k1 3 --k2 5 --dtype float64 --seeds 2 --bias")
    experiment = prepare(configuration)
    now = trace_of(numpy_rnn, experiment, configuration)
    older = {"initial": "entering", "initial_h_0": "h_0"}
    first = {older.get(name, name): array for name, array in now.items() if name not in ("dx", "dh_0")}
    fields = ("k1", "k2", "learning_rate", "epochs", "nonlinearity", "reduction", "bias", "seed")
    settings = {name: value for name, value in configuration.to_dict().items() if name in fields}
    first |= {"format": np.bytes_("elman-trace 1"), "configuration": np.bytes_(json.dumps(settings))}
    save_arrays("t.npz", first)
    arrays = read_trace("t.npz")
    assert set(arrays) == set(now) - {"dx", "dh_0"}
    assert all(bits(array) == bits(now[name]) for name, array in arrays.items() if name != "configuration")
    assert judge(arrays).passed
    again, _ = start_of(arrays)
    assert bits((again.h_0, again.params)) == bits((experiment.h_0, experiment.params))
    save_arrays("t.npz", first | {"h_0": now["initial_h_0"] + 1e-9})
    assert judge(read_trace("t.npz")).first.tensor == "initial"
    for name, message in (("h_0", "initial_h_0 is missing"), ("W_hh", "W_hh is missing")):
        save_arrays("t.npz", {key: array for key, array in first.items() if key != name})
        with pytest.raises(InputError, match=message):
            read_trace("t.npz")


def test_missing_velocity_is_zero():
    """So that every column has an entry per update, also if a package loses the velocity of the learned state."""
    configuration = Configuration(epochs=1, k1=5, k2=5, momentum=0.9, learn_initial_state=True)
    experiment = prepare(configuration)
    recorder = Recorder(experiment, configuration)
    for update in begin(numpy_rnn, experiment.run(configuration.run_options()), record=True):
        recorder.append(update._replace(velocity=update.velocity._replace(h_0=None)))
    arrays = recorder.arrays()
    assert arrays["vh_0"].shape == arrays["h_0"].shape
    assert not arrays["vh_0"].any()
    assert judge(arrays).first.tensor == "vh_0"


@pytest.mark.parametrize("run", RUNS)
def test_size_is_known_before_the_run(monkeypatch, run):
    configuration = configured(f"--epochs 4 --hidden-size 30 {RUNS[run]}")
    experiment = prepare(configuration).trained()
    size = sum(array.nbytes for array in trace_of(numpy_rnn, experiment, configuration).values())
    monkeypatch.setattr(trace, "MAX_BYTES", size)
    check_trace_size(experiment, configuration)
    monkeypatch.setattr(trace, "MAX_BYTES", 0.9 * size)
    with pytest.raises(
        InputError, match=r"^the trace of this run would take 0 GiB: expected 0 at most; choose fewer --ep"
    ):
        check_trace_size(experiment, configuration)
