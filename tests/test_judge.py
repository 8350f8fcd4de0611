"""Whole traces: right ones pass, and a fault planted anywhere is named where it is."""

import json

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.configuration import Configuration
from numpy_rnn.common.experiment import prepare
from numpy_rnn.common.trace import BY_STEP
from numpy_rnn.conformance.cases import DTYPES, random_run
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.traces.drive import trace_of, trace_of_port
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, judge
from numpy_rnn.conformance.traces.trace_form import start_of, trace_faults

CONFIGURATION = Configuration(k1=2, k2=5, epochs=2, bias=True, dtype="float64", hidden_size=4)


def trace(configuration=CONFIGURATION, rnn=numpy_rnn):
    return trace_of(rnn, prepare(configuration), configuration)


def black_box(arrays):
    return {name: array for name, array in arrays.items() if name not in BY_STEP}


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_runs_pass_at_every_level(rnn, dtype):
    generator = np.random.default_rng(21)
    for number in range(25):
        arrays = trace_of(rnn, *random_run(generator, dtype))
        assert trace_faults(arrays) == []
        judgement = judge(arrays)
        assert judgement.passed, judgement.first
        if number < 4:
            judgement = judge(black_box(arrays))
            assert judgement.passed, judgement.first


def test_right_ensembles_pass(rnn):
    for configuration in (CONFIGURATION.changed(networks=3), Configuration(k1=1, k2=4, epochs=1, networks=2)):
        judgement = judge(trace(configuration, rnn))
        assert judgement.passed, judgement.first


def test_a_driven_port_makes_the_trace_that_the_package_makes():
    experiment = prepare(CONFIGURATION)
    driven = trace_of_port(PackagePort(numpy_rnn), experiment, CONFIGURATION)
    own = trace()
    assert driven.keys() == own.keys()
    for name, array in own.items():
        assert np.array_equal(driven[name], array), name


@pytest.mark.parametrize("tensor", CAUSAL_ORDER[2:])
@pytest.mark.parametrize("update", [0, 7, 19])
@pytest.mark.parametrize("last", [0, 1])
def test_a_planted_fault_is_named(tensor, update, last):
    """One element moved in one update: that update, tensor and element, and nothing before it."""
    arrays = trace()
    wrong = np.array(arrays[tensor])
    if tensor in BY_STEP:
        ends = np.cumsum(arrays["stop"] - arrays["start"])
        row = ends[update] - 1 - last  # the window's last step, or the one before
        element = (row, 0, wrong.shape[-1] - 1)
    else:
        element = (update, *(size - 1 for size in wrong.shape[1:]))
    wrong[element] += 1e-6
    first = judge(arrays | {tensor: wrong}).first
    assert (first.tensor, first.epoch, first.number) == (tensor, arrays["epoch"][update], arrays["number"][update])
    assert first.reported == wrong[element]
    assert abs(first.reported - first.expected - 1e-6) < 1e-12
    assert first.ratio > 1e3
    if tensor in BY_STEP:
        assert first.step == arrays["stop"][update] - arrays["start"][update] - last
        assert first.element == element[1:]
    else:
        assert first.element == element[1:]


def test_black_box_faults_are_named():
    arrays = black_box(trace())
    for tensor in ("loss", "dW_hh", "b_y"):
        wrong = np.array(arrays[tensor])
        wrong[(3, *(0,) * (wrong.ndim - 1))] += 1e-6
        first = judge(arrays | {tensor: wrong}).first
        assert (first.tensor, first.number) == (tensor, 4)


def test_a_wrong_state_is_exactly_wrong():
    """The state that enters is not rounded: one unit in the last place is a fault."""
    arrays = trace()
    wrong = np.array(arrays["entering"])
    wrong[5, 0, 2] = np.nextafter(wrong[5, 0, 2], 1)
    first = judge(arrays | {"entering": wrong}).first
    assert (first.tensor, first.number, first.element) == ("entering", 6, (0, 2))


def test_a_wrong_schedule_is_named():
    arrays = trace()
    start = ("format", "configuration", "x", "target", "h_0")
    given = {name: array for name, array in arrays.items() if name in start or name.startswith("initial_")}
    short = given | {name: array[:-3] for name, array in black_box(arrays).items() if name not in given}
    first = judge(short).first
    assert (first.tensor, first.epoch, first.number, first.expected) == ("window", 2, 8, 16)
    renamed = json.loads(arrays["configuration"].tobytes()) | {"k2": 4}
    first = judge(arrays | {"configuration": np.bytes_(json.dumps(renamed))}).first
    assert (first.tensor, first.number, first.element, first.expected) == ("window", 3, (0,), 2)


def test_start_of_a_trace_runs_again():
    arrays = trace()
    again = trace_of(numpy_rnn, *start_of(arrays))
    for name in arrays:
        if name != "configuration":
            assert np.array_equal(arrays[name], again[name]), name


def test_trace_faults_name_what_is_wrong():
    right = trace()

    def faults(**changes):
        return trace_faults({name: array for name, array in (right | changes).items() if array is not None})

    assert faults() == []
    assert trace_faults(black_box(right)) == []
    assert faults(x=None) == ["x is missing"]
    assert faults(dW_hh=None) == ["dW_hh is missing"]
    assert faults(a=None) == ["a is missing"]
    assert faults(configuration=np.bytes_(b"no")) == ["configuration is not JSON text"]
    assert faults(configuration=np.bytes_(b"{}"))[0] == "configuration has no k1"
    assert faults(h=right["h"][:-1])[0].startswith("h has shape (")
    assert faults(y=right["y"].astype(np.float32)) == ["y is float32: expected float32 or float64, the same everywhere"]
    bad = right["da"].copy()
    bad[4, 0, 1] = np.nan
    assert faults(da=bad) == ["da[4, 0, 1] is nan: expected a finite number"]
    assert "integers" in faults(epoch=right["epoch"].astype(float))[0]
    assert faults(start=right["start"] + 50) == ["a window has no steps, or reaches beyond the series"]
    assert "counts no loss" in faults(counted_from=right["stop"])[0]
    assert "do not fit" in faults(target=right["target"][:-1])[0]
