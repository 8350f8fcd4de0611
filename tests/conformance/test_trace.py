"""Trace files: read as they were written, refused by name, judged as runs."""

import json

import numpy as np
import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Step
from numpy_rnn.conformance.case import INTERMEDIATES, VELOCITY_AXES, present
from numpy_rnn.conformance.definition import DEFINITION, Definition, train
from numpy_rnn.conformance.mutants.loops import hint_for_run
from numpy_rnn.conformance.random_cases import RandomDraw, random_run
from numpy_rnn.conformance.runs.judge import judge
from numpy_rnn.conformance.runs.recorded_run import finite_part
from numpy_rnn.conformance.trace import Trace, load_trace, read_arrays, trace_arrays
from tests.helpers.comparing import bits
from tests.helpers.ports import PACKAGE_SOURCE
from tests.helpers.random_runs import STEPS, small_run
from tests.helpers.windows import SEED

SGD_TRACE = trace_arrays(PACKAGE_SOURCE.trace(small_run(Step(0.1))))
MOMENTUM_TRACE = trace_arrays(PACKAGE_SOURCE.trace(small_run(Step(0.1, 0.9))))


def with_options(**changes):
    """Return the configuration of SGD_TRACE with other options."""
    return np.bytes_(json.dumps(json.loads(SGD_TRACE["configuration"]) | changes))


SGD = Step(0.1)
ONE_NAN = np.where(np.arange(20)[:, None] == 3, np.nan, SGD_TRACE["db_h"])
WRONG_TRACES = [  # part of the message, and what is changed; None is left out
    ("epoch is missing", {"epoch": None}),
    ("vb_h is missing", MOMENTUM_TRACE | {"vb_h": None}),
    ("x has shape ()", {"x": np.array("text")}),
    ("y is float32: expected float64", {"y": SGD_TRACE["y"].astype("f")}),
    ("db_h[3, 0] is nan", {"db_h": ONE_NAN}),
    (
        "stop is no array of integers, one per update",
        {"stop": SGD_TRACE["stop"][:-1]},
    ),
    ("a window is wrong", {"loss_start": SGD_TRACE["stop"]}),
    ("vW_xh is present", {"vW_xh": SGD_TRACE["dW_xh"]}),
    ("is not a JSON object", {"configuration": np.bytes_(b"[" * 100_000)}),
    ("has no format 'elman-trace 3'", {"format": None}),
    ("argument: 'k1'", {"configuration": np.bytes_(b'{"k2": 5, "epochs": 1}')}),
    ("epochs is 0: expected 1", {"configuration": with_options(epochs=0)}),
]


@pytest.mark.parametrize(
    ("part", "changes"), WRONG_TRACES, ids=[part for part, _ in WRONG_TRACES]
)
def test_error_in_a_file_is_named(part, changes):
    with pytest.raises(InputError) as error:
        read_arrays({n: v for n, v in (SGD_TRACE | changes).items() if v is not None})
    assert part in str(error.value)


def test_file_is_read_as_it_was_written(tmp_path):
    """The runs are random, with every option, ensembles included."""
    runs = [random_run(RandomDraw(SEED, number)) for number in range(4)]
    runs.append(small_run(Step(np.array([0.1, 0.02])), N=2))
    for run in runs:
        written = PACKAGE_SOURCE.trace(run)
        np.savez(tmp_path / "t.npz", **trace_arrays(written))
        loaded = load_trace(str(tmp_path / "t.npz"))
        for name, values in trace_arrays(written).items():
            assert bits(trace_arrays(loaded)[name]) == bits(values)
        # The products of arrays in another order in memory are rounded otherwise.
        judgement = judge(loaded)._replace(worst={}, ratios={})
        assert judgement == judge(written)._replace(worst={}, ratios={})
        assert str(loaded.run.options) == str(run.options)


def loop_trace(left_out=(), step=SGD, dtype="float64", **equations):
    """Return the Trace of the definition's loop with other equations."""
    run = small_run(step, k1=5, k2=5, dtype=dtype)
    trace = Trace(
        present(run.params), run.x, run.target, run.h_0, **run.options.keywords()
    )
    with np.errstate(all="ignore"):
        for epoch, _, window, state, report in train(
            run, definition=Definition(**equations)
        ):
            values = {name: v for name, v in report.items() if name not in left_out}
            trace.update(epoch, window, state, **values)
    return trace


LEFT_OUT = {
    "nothing": (),
    "all but states": tuple(name for name in INTERMEDIATES if name != "h"),
    "intermediate values": INTERMEDIATES,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("left_out", LEFT_OUT)
def test_right_loop_without_velocities_passes(left_out, step, tmp_path):
    trace = loop_trace((*LEFT_OUT[left_out], *VELOCITY_AXES), step, "float32")
    trace.save(tmp_path / "t.npz")
    judgement = judge(load_trace(tmp_path / "t.npz"))
    assert judgement.passed, judgement.first
    assert judgement.updates == 8


def slower_velocity(n, g, before, step):
    """Compute the velocity with a momentum of 0.8."""
    return DEFINITION.velocity(n, g, before, step._replace(momentum=0.8))


def squares_without_the_first(n, g, before, step):
    """Forget Adagrad's former sum of squares."""
    return g * g


WRONG_VELOCITIES = [  # a step, its wrong velocity, and the equation that is named
    (Step(0.02, 0.9, nesterov=True), slower_velocity, "U5"),
    (Step(0.02, adagrad=True), squares_without_the_first, "U8"),
]


@pytest.mark.parametrize(("step", "velocity", "equation"), WRONG_VELOCITIES)
@pytest.mark.parametrize("left_out", LEFT_OUT)
def test_wrong_velocity_is_found_in_the_parameters(
    left_out, step, velocity, equation, tmp_path
):
    """The trace has no velocities; the first update has none before it."""
    left_out = (*LEFT_OUT[left_out], *VELOCITY_AXES)
    trace = loop_trace(left_out, step, velocity=velocity)
    trace.save(tmp_path / "t.npz")
    recorded = load_trace(tmp_path / "t.npz")
    first = judge(recorded).first
    assert first[:3] == (1, 2, "W_xh")
    assert equation in first.equation
    hint_for_run(recorded, first)


@pytest.mark.parametrize("left_out", LEFT_OUT)
@pytest.mark.parametrize(
    "carried_state",
    [
        lambda states, window: states[max(window.start - 1, 0)],
        lambda states, window: states[0],
    ],
    ids=["one step early", "reset"],
)
def test_wrong_carried_state_is_found_in_a_trace(carried_state, left_out):
    """The states are reported, or recomputed from weights, inputs and initial state."""
    trace = loop_trace(LEFT_OUT[left_out], carried_state=carried_state)
    judgement = judge(trace.recorded())
    assert judgement.first[:3] == (1, 2, "initial")
    wrong = [name for name, ratio in judgement.worst.items() if ratio > 1]
    assert wrong == ["initial"]


def test_number_that_is_not_finite_is_named(tmp_path):
    """Its name is that of its tensor, epoch and update; what follows is not saved."""
    seen = []

    def total(n, w):
        seen.append(1)
        value = DEFINITION.recurrent_weights_gradient(n, w)
        return value * np.nan if len(seen) == 6 else value

    loop_trace(recurrent_weights_gradient=total).save(tmp_path / "t.npz")
    recorded = load_trace(tmp_path / "t.npz")
    assert recorded.length == 6
    first = judge(finite_part(recorded)).first
    assert (first.epoch, first.number, first.tensor) == (2, 2, "dW_hh")
    assert "dW_hh[0, 0] is nan, expected " in first.message()
