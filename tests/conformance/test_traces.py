"""Trace files: the errors in their format; and training loops by hand that record one, each of which is judged."""

import json

import numpy as np
import pytest
from inline_snapshot import snapshot
from test_judge import PACKAGE, sine_run

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Step
from numpy_rnn.conformance.case import INTERMEDIATES, present
from numpy_rnn.conformance.definition import DEFINITION, train, window_update
from numpy_rnn.conformance.mutants.catalogue import named
from numpy_rnn.conformance.ports.protocol import Abilities
from numpy_rnn.conformance.random_cases import RandomDraw, random_run
from numpy_rnn.conformance.traces.drive import with_second_bias
from numpy_rnn.conformance.traces.judge import judge
from numpy_rnn.conformance.traces.recorder import RecordedRun, Trace
from numpy_rnn.conformance.traces.trace_file import load_trace, read_arrays, trace_arrays

PLAIN = trace_arrays(*PACKAGE.trace(sine_run(Step(0.1), learned=False)))
FULL = trace_arrays(*PACKAGE.trace(sine_run(Step(0.1, 0.9, nesterov=True, weight_decay=0.01))))
BLACK_BOX = dict.fromkeys(INTERMEDIATES)


def changed(array, index, value):
    """The array with another element."""
    other = np.array(array)
    other[index] = value
    return other


def configured(**changes):
    known = json.loads(FULL["configuration"]) | changes
    return {
        "configuration": np.bytes_(json.dumps({n: v for n, v in known.items() if v != "left out"}))
    }


def message(arrays, **changes):
    """The error in a trace with these arrays; None: without them. "" if there is none."""
    try:
        read_arrays(
            {name: array for name, array in (arrays | changes).items() if array is not None}
        )
    except InputError as error:
        return str(error)[:100]
    return ""


def test_missing_arrays_are_named():
    for name in (
        "x",
        "a",
        "dW_hh",
        "dh_0",
        "initial",
        "loss",
        "epoch",
        "initial_W_hy",
        "initial_h_0",
        "configuration",
    ):
        assert message(PLAIN, **{name: None}) == f"{name} is missing"
    for name in ("vW_xh", "vb_h", "vh_0", "dh_0"):
        assert message(FULL, **{name: None}) == f"{name} is missing"
    assert "expected both biases or neither" in message(PLAIN, initial_b_y=None)
    for arrays in (PLAIN, FULL):
        assert message(arrays) == message(arrays, dx=None) == message(arrays, **BLACK_BOX) == ""
    assert message(PLAIN, dx=None, dh_0=None) == ""


def test_wrong_arrays_are_named():
    wrong = [
        {"x": np.array("text")},
        {"y": PLAIN["y"].astype("f")},
        {"da": changed(PLAIN["da"], (4, 0, 1), np.nan)},
        {"epoch": PLAIN["epoch"].astype(float)},
        {"stop": PLAIN["stop"][:-1]},
        {"loss_start": PLAIN["stop"]},
        {"vW_xh": PLAIN["dW_xh"]},
        {"x": changed(np.zeros((20, 1), int), 3, -1)},
    ]
    assert [message(PLAIN, **changes) for changes in wrong] == snapshot(
        [
            "its run cannot be repeated: x has shape (): expected (T, B, 1), time first, with no empty axis",
            "y is float32: expected float64",
            "da[4, 0, 1] is nan: expected a finite number",
            "epoch is float64 of shape (20,): expected integers, one per update",
            "stop is int64 of shape (19,): expected integers, one per update",
            "the windows are not those of a series of 20 steps: expected 0 ≤ start ≤ loss_start < stop",
            "vW_xh is present, but the configuration excludes it",
            "its run cannot be repeated: x holds the class -1: expected classes from 0 to 0",
        ]
    )


def test_wrong_options_are_named():
    wrong = [
        *({"configuration": np.bytes_(text)} for text in (b"[" * 100_000, b'["k1"]')),
        *(configured(**changes) for changes in (
            {"k1": "left out"},
            {"momentun": 0.5},
            {"learning_rate": [["a"]]},
            {"learning_rate": float("nan")},
        )),
    ]  # fmt: skip
    assert [message(FULL, **changes) for changes in wrong] == snapshot(
        [
            "configuration is not a JSON object of options, with numbers for learning rates",
            "k1 is missing: expected k1, k2, learning_rate and epochs",
            "k1 is missing: expected k1, k2, learning_rate and epochs",
            "'momentun' is no option of a run: expected k1, k2, epochs, nonlinearity, loss, reduction, learning_r",
            "configuration is not a JSON object of options, with numbers for learning rates",
            "its run cannot be repeated: the learning rate is nan: expected a finite number, 0 or more",
        ]
    )


def test_file_is_read_as_it_was_written(tmp_path):
    """Random runs with every option, ensembles included."""
    runs = [random_run(RandomDraw(seed)) for seed in range(6)]
    runs.append(sine_run(Step(np.array([0.1, 0.02])), networks=(2,), learned=False))
    runs.append(with_second_bias(sine_run(Step(0.1), learned=False), Abilities(("two_biases",))))
    for run in runs:
        recorded = PACKAGE.trace(run)
        np.savez(tmp_path / "t.npz", **trace_arrays(*recorded))
        read = RecordedRun(*load_trace(str(tmp_path / "t.npz")))
        assert judge(read) == judge(recorded)
        assert str(read.run) == str(run._replace(options=read.run.options))
        assert str(read.run.options) == str(run.options)
    (tmp_path / "t.npz").write_bytes((tmp_path / "t.npz").read_bytes()[:-100])
    np.savez(tmp_path / "other.npz", x=1)
    np.savez(tmp_path / "pickle.npz", x=np.array([{}], object))
    for name, said in (("t", "is damaged, or no .npz file"), ("none", "cannot be read: No such file"),
                       ("other", "has no format 'elman-trace 3'"), ("pickle", "pickle is never read")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            load_trace(str(tmp_path / f"{name}.npz"))


# -- loops that record a trace ---------------------------------------------------------------------------------------

# The states are reported, or recomputed from weights, inputs and initial state.
SEEN, STATES, BOX = (), tuple(name for name in INTERMEDIATES if name != "h"), INTERMEDIATES
NEVER_RESET = named("state not reset between epochs").functions


def loop_trace(resets=True, left_out=(), **functions):
    """The Trace of a loop like that of the definition, with other functions, over two epochs of four updates."""
    run, of = sine_run(Step(0.1), k1=5, k2=5, learned=False), DEFINITION._replace(**functions)
    trace = Trace(
        present(run.params), run.x, run.target, run.h_0, resets=resets, **run.options.keywords()
    )
    for epoch, _, window, state, report in train(run, report_and_states, of):
        trace.update(
            epoch, window, state, **{name: v for name, v in report.items() if name not in left_out}
        )
    return trace


def report_and_states(case):
    report = window_update(case)
    return report, report["h"]


@pytest.mark.parametrize("left_out", [SEEN, STATES, BOX])
def test_right_loop_is_judged_right(left_out, tmp_path):
    """Also one that never resets its state, which is one epoch over the series repeated."""
    for functions, resets in (({}, True), (NEVER_RESET, False)):
        loop_trace(resets=resets, left_out=left_out, **functions).save(tmp_path / "t.npz")
        judgement = judge(RecordedRun(*load_trace(tmp_path / "t.npz")))
        assert judgement.passed, judgement.first
        assert judgement.updates == 8


@pytest.mark.parametrize("mistake", [
    lambda states, window, epoch: states[max(window.start - 1, 0)],
    lambda states, window, epoch: 0 * states[window.start],
])  # fmt: skip
@pytest.mark.parametrize("left_out", [SEEN, STATES, BOX])
def test_carried_state_is_checked(mistake, left_out):
    judgement = judge(loop_trace(left_out=left_out, carried_state=mistake).recorded())
    assert judgement.first[:3] == (1, 2, "initial")
    assert judgement.worst["initial"] > 1e9
    assert max(ratio for name, ratio in judgement.worst.items() if name != "initial") <= 1


def test_carried_states_of_an_ensemble_are_checked():
    """In overlapping windows, of every network; elsewhere, and one ulp away, nothing is said."""
    recorded = PACKAGE.trace(sine_run(Step(0.1), k1=3, k2=5, networks=(2,), learned=False)).without(
        *INTERMEDIATES
    )
    initial, start = recorded.updates["initial"], recorded.updates["start"]
    assert judge(recorded).worst["initial"] <= 1
    for update in np.flatnonzero(start > 0)[[0, -1]]:
        first = judge(recorded.replace({"initial": changed(initial, (update, 1, 0, 2), 0.4)})).first
        place = recorded.updates["epoch"][update], recorded.updates["number"][update]
        assert (*first[:3], first.element, first.reported) == (*place, "initial", (1, 0, 2), 0.4)
        assert abs(first.expected - initial[update, 1, 0, 2]) <= first.allowed < 1e-13


def test_wrong_use_of_trace_is_one_line(tmp_path):
    arrays = np.zeros((4, 1, 2)), np.zeros((4, 1, 1)), np.zeros((1, 3))
    p = {"W_xh": np.zeros((2, 3)), "W_hh": np.zeros((3, 3)), "W_hy": np.zeros((3, 1))}
    options = {"k1": 2, "k2": 2, "learning_rate": 0.1, "epochs": 1}
    trace = Trace(p, *arrays, **options)
    single = Trace(
        {name: theta.astype("f") for name, theta in p.items()}, *arrays, **options
    )  # zeros are cast
    single.update(1, (0, 0, 2), arrays[2], loss=0.1)  # and so are numbers
    assert {array.dtype for array in (single.run.x, single.run.h_0, *single.columns["loss"])} == {
        np.dtype("f")
    }
    uneven = Trace(p, *arrays, **options)
    uneven.update(1, (0, 0, 2), arrays[2], **dict.fromkeys(("dW_xh", "W_xh"), p["W_xh"]),
                  **dict.fromkeys(("dW_hh", "W_hh"), p["W_hh"]), dW_hy=p["W_hy"], loss=0)  # fmt: skip
    calls = (
        lambda: Trace(p | {"U": 1}, *arrays, **options),
        lambda: Trace(p, *arrays, **options, lr=1),
        lambda: Trace(p, "some text", *arrays[1:], **options),
        lambda: single.update(1, (2, 2, 4), arrays[2], dW_hh=np.full((3, 3), 0.1)),
        lambda: trace.save("t.npz"),
        lambda: uneven.save("t.npz"),
        lambda: Trace(p, *arrays, resets=False, **options | {"k2": 3}),
        lambda: trace.update(1, (0, 0, 2), arrays[2], dU=1),
        lambda: Trace({name: theta.T for name, theta in p.items()}, *arrays, **options),
    )
    messages = []
    for call in calls:
        with pytest.raises(InputError) as error:
            call()
        messages.append(str(error.value)[:75])
    assert messages == snapshot(
        [
            "the parameters are W_xh, W_hh, W_hy, U: expected W_xh, W_hh, W_hy, b_h, b_y",
            "'lr' is no option of a run: expected k1, k2, epochs, nonlinearity, loss, re",
            "x is <U9, and W_hh is float64: expected one dtype, float64",
            "dW_hh is float64, and W_hh is float32: expected one dtype, float32",
            "no update is recorded: expected one or more, as of --epochs 1",
            "W_hy is missing",
            "a loop that never resets its state: expected k2 = k1, and T a multiple of k",
            "'dU' is not a name of a trace: expected loss, a, h, y, dy, dh, da, dh_0, dx",
            "W_xh has shape (3, 2): expected (2, 3), rows for inputs; transpose the weig",
        ]
    )
