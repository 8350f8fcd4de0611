"""Trace files: errors in their format, and training loops by hand that record one."""

import json

import numpy as np
import pytest
from test_judge import PACKAGE, sine_run, without

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Step
from numpy_rnn.conformance.case import INTERMEDIATES, present
from numpy_rnn.conformance.definition import Definition, train
from numpy_rnn.conformance.judge import judge
from numpy_rnn.conformance.random_cases import RandomDraw, random_run
from numpy_rnn.conformance.trace import Trace, load_trace, read_arrays, trace_arrays

PLAIN = trace_arrays(PACKAGE.trace(sine_run(Step(0.1))))
MOMENTUM = trace_arrays(PACKAGE.trace(sine_run(Step(0.1, 0.9))))
SEEN, STATES, BOX = (), tuple(name for name in INTERMEDIATES if name != "h"), INTERMEDIATES


def message(arrays, **changes):
    """The error in a trace with these arrays; None: without them. "" if there is none."""
    try:
        read_arrays({name: v for name, v in (arrays | changes).items() if v is not None})
    except InputError as error:
        return str(error)
    return ""


def configured(**changes):
    known = json.loads(PLAIN["configuration"]) | changes
    known = {name: value for name, value in known.items() if value != "left out"}
    return np.bytes_(json.dumps(known))


def test_errors_in_a_file_are_named():
    for name in ("x", "a", "dW_hh", "initial", "loss", "epoch", "initial_h_0", "configuration"):
        assert message(PLAIN, **{name: None}) == f"{name} is missing"
    assert message(MOMENTUM, vb_h=None) == "vb_h is missing"
    for arrays in (PLAIN, MOMENTUM):
        assert message(arrays, dx=None) == message(arrays, **dict.fromkeys(BOX)) == ""
    nan = np.where(np.arange(20)[:, None] == 3, np.nan, PLAIN["db_h"])
    wrong = [  # part of the message, and what is changed
        ("x has shape ()", {"x": np.array("text")}),
        ("y is float32: expected float64", {"y": PLAIN["y"].astype("f")}),
        ("db_h[3, 0] is nan", {"db_h": nan}),
        ("epoch is no array of integers", {"epoch": PLAIN["epoch"].astype(float)}),
        ("stop is no array of integers, one per update", {"stop": PLAIN["stop"][:-1]}),
        ("a window is wrong", {"loss_start": PLAIN["stop"]}),
        ("vW_xh is present", {"vW_xh": PLAIN["dW_xh"]}),
        ("configuration is not a JSON object", {"configuration": np.bytes_(b"[" * 100_000)}),
        ("k1 is missing", {"configuration": configured(k1="left out")}),
        ("'momentun' is no option", {"configuration": configured(momentun=0.5)}),
        ("the learning rate is nan", {"configuration": configured(learning_rate=float("nan"))}),
    ]
    for part, changes in wrong:
        assert part in message(PLAIN, **changes)


def test_file_is_read_as_it_was_written(tmp_path):
    """Random runs with every option, ensembles included."""
    runs = [random_run(RandomDraw(seed)) for seed in range(4)]
    runs.append(sine_run(Step(np.array([0.1, 0.02])), networks=(2,)))
    for run in runs:
        recorded = PACKAGE.trace(run)
        np.savez(tmp_path / "t.npz", **trace_arrays(recorded))
        read = load_trace(str(tmp_path / "t.npz"))
        assert judge(read) == judge(recorded)
        assert str(read.run.options) == str(run.options)
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(InputError, match="has no format 'elman-trace 3'"):
        load_trace(str(tmp_path / "other.npz"))


def loop_trace(left_out=(), **equations):
    """The Trace of a loop like that of the definition, with other equations."""
    run = sine_run(Step(0.1), k1=5, k2=5)
    trace = Trace(present(run.params), run.x, run.target, run.h_0, **run.options.keywords())
    for epoch, _, window, state, report in train(run, of=Definition(**equations)):
        values = {name: v for name, v in report.items() if name not in left_out}
        trace.update(epoch, window, state, **values)
    return trace


@pytest.mark.parametrize("left_out", [SEEN, STATES, BOX])
def test_loop_is_judged_by_its_trace(left_out, tmp_path):
    """The states are reported, or recomputed from weights, inputs and initial state."""
    loop_trace(left_out).save(tmp_path / "t.npz")
    judgement = judge(load_trace(tmp_path / "t.npz"))
    assert judgement.passed, judgement.first
    assert judgement.updates == 8
    for mistake in (
        lambda states, window, epoch: states[max(window.start - 1, 0)],
        lambda states, window, epoch: 0 * states[window.start],
    ):
        judgement = judge(loop_trace(left_out, carried_state=mistake).recorded())
        assert judgement.first[:3] == (1, 2, "initial")
        others = {name: ratio for name, ratio in judgement.worst.items() if name != "initial"}
        assert max(others.values()) <= 1
    assert without(loop_trace().recorded(), "h").updates.keys() >= {"a", "initial"}


def test_wrong_use_of_trace_is_one_line(tmp_path):
    arrays = np.zeros((4, 1, 2)), np.zeros((4, 1, 1)), np.zeros((1, 3))
    p = {"W_xh": np.zeros((2, 3)), "W_hh": np.zeros((3, 3)), "W_hy": np.zeros((3, 1))}
    options = {"k1": 2, "k2": 2, "learning_rate": 0.1, "epochs": 1}
    trace = Trace(p, *arrays, **options)
    single = Trace({name: v.astype("f") for name, v in p.items()}, *arrays, **options)
    single.update(1, (0, 0, 2), arrays[2], loss=0.1)  # zeros and numbers are cast
    assert single.run.x.dtype == single.columns["loss"][0].dtype == np.float32
    calls = (
        lambda: Trace(p | {"U": 1}, *arrays, **options),
        lambda: Trace(p, *arrays, **options, lr=1),
        lambda: Trace(p, "some text", *arrays[1:], **options),
        lambda: single.update(1, (2, 2, 4), arrays[2], dW_hh=np.full((3, 3), 0.1)),
        lambda: trace.save("t.npz"),
        lambda: single.save("t.npz"),
        lambda: trace.update(1, (0, 0, 2), arrays[2], dU=1),
    )
    for call in calls:
        with pytest.raises(InputError, match=r"^[^\n]+$"):
            call()
