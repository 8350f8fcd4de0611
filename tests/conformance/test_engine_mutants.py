"""The engine is within its bounds in every layout, and every mutant of it is killed."""

import sys

import numpy as np
import pytest
from hypothesis import Phase, settings

import numpy_rnn.engine
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.mutants.catalogue import ENGINE_MUTANTS, load, named
from numpy_rnn.conformance.mutants.engine_checks import LIMITS, engine_violation, random_limits, reduced_limits
from numpy_rnn.conformance.mutants.score import first_violation, random_case, report_on, score
from numpy_rnn.conformance.ports.backends import EnginePort, port_of
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.properties import (
    BoundExceeded,
    check_port_global,
    check_port_local,
    check_port_lockstep,
    profile,
)
from numpy_rnn.conformance.traces.drive import trace_of
from numpy_rnn.conformance.traces.judge import judge

MAX_EXAMPLES = max(5, settings().max_examples // 8)
PROFILE = settings(profile("default"), derandomize=settings().derandomize, max_examples=MAX_EXAMPLES)
ONLY_SEEN = settings(profile("ci"), phases=[Phase.generate], max_examples=100)
SEED = 11  # of runs that kill every mutant soon


@pytest.mark.parametrize("threads", [1, 2])
def test_the_engine_survives_in_every_layout(threads):
    generator = np.random.default_rng(threads)
    assert [engine_violation(numpy_rnn.engine, generator, threads) for _ in range(30)] == [None] * 30


@pytest.mark.parametrize("mutant", ENGINE_MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_of_the_engine_is_killed(mutant):
    """At any tensor: where memory is shared or returned too early, the random run decides which one shows it first."""
    found = score(mutant, "engine", max_cases=50, seed=SEED)
    assert found.tensor is not None, f"{mutant.name} survived {found.cases} cases"


def test_the_tapes_of_unequal_blocks_hold_the_same_steps():
    """Two and three of five networks: the tape of the three, which is the shorter one, limits the pieces of both."""
    configuration = Configuration(epochs=2, k1=1, k2=2, networks=5)
    limits = {"layout": {"MIN_GROUP": 1, "MIN_OF_THREAD": 1}, "loop": {"TAPE_BYTES": 600}}
    with reduced_limits(numpy_rnn.engine, limits, threads=2):
        assert judge(trace_of(numpy_rnn.engine, prepare(configuration), configuration)).passed


def test_limits_are_lowered_and_put_back():
    def values():
        modules = ((module, getattr(numpy_rnn.engine, module), of) for module, of in LIMITS.items())
        return {module: {name: getattr(loaded, name) for name in of} for module, loaded, of in modules}

    before, limits = values(), random_limits(np.random.default_rng(0))
    with reduced_limits(numpy_rnn.engine, limits):
        assert values() == limits
    assert values() == before


WAYS = {  # of small windows: their own, and those of large ones
    "small": {},
    "large": {"window": {"MAX_STACKED": 3, "MIN_TRANSPOSED": 3}},
    "columns": {"layout": {"MIN_COLUMNS": 3, "MIN_COLUMN_STEPS": 2, "MIN_COLUMN_BATCH": 1}},  # in float32
}


@pytest.mark.parametrize(
    ("check", "dtype", "way"),
    [
        (check_port_local, "float32", "columns"),
        (check_port_local, "float64", "large"),
        (check_port_local, "float64", "small"),
        (check_port_global, "float32", "large"),
        (check_port_lockstep, "float32", "small"),
    ],
)
def test_the_engine_is_a_port_of_its_own(check, dtype, way):
    port = port_of(numpy_rnn.engine)
    assert type(port) is EnginePort
    with reduced_limits(numpy_rnn.engine, WAYS[way]):
        check(port, dtype, PROFILE)


@pytest.mark.parametrize("name", ["slopes overwritten before they are used", "first step of momentum dampened"])
def test_the_port_of_the_engine_runs_the_code_of_the_engine(name):
    """A mistake of the engine is seen in its windows, where that of a package of functions does not see it."""
    mutant, seen = load(named(name)), False
    for seed in range(20):
        case = random_case((2, seed))
        arrays = case.params._asdict(), case.x, case.target, case.h_0
        with np.errstate(all="ignore"):
            report = EnginePort(mutant).window_update(*arrays, learning_rate=case.learning_rate, **case.options)
            seen |= first_violation(check_local(case, report)) is not None
            assert first_violation(check_local(case, report_on(case, mutant))) is None
    assert seen


def test_a_run_of_the_port_is_that_of_train():
    mutant = load(named("h_0 not reset at a new epoch"))
    with (
        reduced_limits(mutant, {"loop": {"MAX_WINDOWS": 1}}),
        pytest.raises(BoundExceeded, match=r"L3, run \d+, epoch 2, update 1: initial \(T3\)"),
    ):
        check_port_lockstep(EnginePort(mutant), "float64", ONLY_SEEN)


def test_a_train_that_raises_is_a_fault_of_the_port(monkeypatch):
    mutant = load(named("velocity not resumed"))
    monkeypatch.setattr(sys.modules[mutant.train.__module__.replace("loop", "window")].Tape, "load", lambda *_: 1 / 0)
    with pytest.raises(PortFault, match="train raises ZeroDivisionError: division by zero"):
        check_port_lockstep(EnginePort(mutant), "float64", ONLY_SEEN)
