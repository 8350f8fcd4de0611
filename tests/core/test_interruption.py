"""A run that is interrupted and resumed is the run that was not, bit for bit, wherever the break is.

An exception at any place of an update leaves the run as it was after the latest completed one.
"""

import copy
import pickle
import sys
from contextlib import contextmanager, suppress
from itertools import count, islice

import numpy as np
import pytest
from cases import random_case, runs, with_ensemble
from comparing import bits, fewer
from hypothesis import example as explicitly
from hypothesis import given
from hypothesis import strategies as st

import numpy_rnn
from numpy_rnn import InputError, Parameters

pytestmark = pytest.mark.with_reference

T, B, D, H, O = 5, 2, 3, 4, 1


def example(**options):
    return random_case(5, T, B, D, H, O, **options)


def train(rnn, case, **options):
    return rnn.train(*case.for_train(rnn), **{"k1": 2, "k2": 3, "learning_rate": 0.05, "epochs": 2} | options)


def resumed(rnn, case, state, **options):
    """The bits of all updates after a state; the parameters passed in are not looked at."""
    params, *series = case.for_train(rnn)
    nothing = Parameters(*(None if theta is None else theta * 0 for theta in params))
    training = rnn.train(nothing, *series, **options, resume=state)
    assert bits(training.state()) == bits(state)
    updates = [bits(u) for u in training]
    assert next(training, None) is None
    return updates


SHORT_TAIL = example(), {"k1": 2, "k2": 3, "learning_rate": 0.05, "epochs": 2, "momentum": 0.9}


@fewer(8)
@explicitly(run=SHORT_TAIL, E=(), seed=0, record=True, many=64, every=1)
@given(
    run=runs(),
    E=st.sampled_from([(), (), (1,), (2,), (1, 2), (2, 1)]),
    seed=st.integers(0, 2**31),
    record=st.booleans(),
    many=st.sampled_from([1, 64]),
    every=st.sampled_from([1, 1, 2, 3, "epoch"]),
)
def test_a_resumed_run_is_the_run_that_was_not_interrupted(rnn, run, E, seed, record, many, every):
    """All options, any schedule, ensembles, learned states, any yield_every, any interruption: after two updates, of
    which one is the last, and again after each. The state goes through NumPy arrays, as it does through a file. Neither
    the run that handed it out changes it, nor the one that began from it. From `many` networks on, numpy_rnn lays them
    out innermost in memory.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpy_rnn.engine.layout.MIN_GROUP", many)
        case = with_ensemble(run[0], E, seed, own=("x",))
        options = run[1] | case.form(rnn) | {"record": record, "yield_every": every}
        training, whole, states, kept = rnn.train(*case.for_train(rnn), **options), [], [], []
        for update in training:
            whole.append(bits(update))
            states.append(state := training.state())
            kept.append(bits(state))
            assert bits((*state[:3], *state[4:])) == bits((*update[:3], *update[5:7]))
            if record and update.window.stop == len(case.x):
                assert bits(state.h) == bits(update.activations.h[-1])
        assert bits(training.state()) == kept[-1]  # the end of a run is a valid state too
        for number in {seed % len(whole), len(whole) - 1}:
            state = rnn.from_numpy(rnn.to_numpy(states[number]))
            assert bits(state) == bits(states[number])
            assert resumed(rnn, case, state, **options) == whole[number + 1 :]
            assert bits(state) == kept[number]
        longer = options | {"epochs": options["epochs"] + 1}
        more = resumed(rnn, case, states[-1], **longer)
        assert more == [bits(u) for u in rnn.train(*case.for_train(rnn), **longer)][len(whole) :] != []
        training, made = rnn.train(*case.for_train(rnn), **options), []
        for _ in whole:  # each update by a run of its own
            made.append(bits(next(training)))
            training = rnn.train(*case.for_train(rnn), **options, resume=training.state())
        assert made == whole
        assert [bits(state) for state in states] == kept


def test_a_learned_state_has_no_velocity_before_its_first_gradient(rnn):
    """If the state to resume from has none, the velocity of h_0 begins with the next epoch, and is not dampened."""
    case, options = example(learned=True), {"momentum": 0.9, "dampening": 0.5}
    training = train(rnn, case, **options)
    list(islice(training, 2))
    state = training.state()
    for velocity in (None, state.velocity._replace(h_0=None)):
        rest = list(train(rnn, case, **options, resume=state._replace(velocity=velocity)))
        assert [update.velocity.h_0 is None for update in rest] == [True, False, False, False]
        assert bits(rest[1].velocity.h_0) == bits(rest[1].gradients.h_0)


def test_a_resumed_run_counts_its_updates_from_the_start_of_the_epoch(rnn):
    """Also where the run that is resumed had another yield_every."""
    training = train(rnn, example(), k1=1)
    next(training)
    rest = train(rnn, example(), k1=1, yield_every=2, resume=training.state())
    assert [(u.epoch, u.number, len(u.losses)) for u in rest] == [
        (1, 2, 1), (1, 4, 2), (1, 5, 1), (2, 2, 2), (2, 4, 2), (2, 5, 1)
    ]  # fmt: skip


# -- interrupted at any line ------------------------------------------------------------------------------------------

RUNS = {
    "one window": {"k1": 4, "k2": 4, "reduction": "mean"},
    "learned": {"k1": 1, "k2": 2, "learned": True, "momentum": 0.9, "record": True},
    "every third": {"k1": 1, "k2": 3, "yield_every": 3},
}
RUNS_OF_ENGINE = RUNS | {  # and on its other paths
    "one step": {"k1": 1, "k2": 1},
    "ensemble": {"k1": 2, "k2": 3, "E": (3,)},
    "momentum": {"k1": 1, "k2": 3, "momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5},
    "once an epoch": {"k1": 2, "k2": 2, "yield_every": "epoch", "record": True},
}
FIRST, TRIED, MORE = 3, 2, 2  # updates before, under and after the interruption; the second one tried begins an epoch

# Lines from one interruption to the next: primes, so that a loop is not interrupted at the same line every time.
STRIDE = {"numpy_rnn": 7, "numpy_rnn.reference": 17, "torch_rnn": 53}


def begin(rnn, E=(), learned=False, **options):
    """A run of a billion epochs: updates are made one at a time."""
    return train(rnn, random_case(4, 4, 2, 2, 3, 1, E=E, learned=learned), **{"epochs": 10**9} | options)


class Broken(Exception):
    """What an interruption raises; no code of the packages catches it."""


@contextmanager
def interruption(n):
    """Raise at the n-th line that either package runs; yields [how many lines are left to it]."""
    left = [n]

    def trace(frame, event, _):
        of_package = frame.f_globals.get("__name__", "").startswith(("numpy_rnn.", "torch_rnn."))
        if not of_package or frame.f_code.co_name == "__del__":  # whose exceptions Python ignores
            return None
        left[0] -= event == "line"
        if left[0] == 0 and event == "line":
            raise Broken
        return trace

    sys.settrace(trace)
    with suppress(Broken):
        try:
            yield left
        finally:
            sys.settrace(None)


def test_an_exception_at_any_line_leaves_the_latest_completed_update(rnn):
    """After it the state is that of the update that was handed out last, or of the next one if that was completed but
    not handed out; and the run continues from there with the bits of an uninterrupted run.
    """
    for name, options in (RUNS_OF_ENGINE if rnn.__name__ == "numpy_rnn" else RUNS).items():
        run = begin(rnn, **options)
        whole, states = [], []
        for update in islice(run, FIRST + TRIED + MORE):
            whole.append(bits(update))
            states.append(bits(run.state()))
        for n in count(STRIDE[rnn.__name__], STRIDE[rnn.__name__]):
            run = begin(rnn, **options)
            made = [bits(update) for update in islice(run, FIRST)]
            with interruption(n) as left:
                for update in islice(run, TRIED):
                    made.append(bits(update))
            completed = states.index(bits(run.state())) + 1
            assert completed - len(made) in (0, 1), (name, n)
            assert made == whole[: len(made)], (name, n)
            rest = [bits(update) for update in islice(run, MORE)]
            assert rest == whole[completed : completed + MORE], (name, n)
            if left[0] > 0:
                break
        assert len(made) == FIRST + TRIED
        assert n > 15 * TRIED


def test_an_exception_before_the_first_update_leaves_the_run_as_it_began(rnn):
    run = begin(rnn, k1=1, k2=2)
    with interruption(20):
        next(run)
    with pytest.raises(InputError, match="the run has no state yet"):
        run.state()
    assert bits(next(run)) == bits(next(begin(rnn, k1=1, k2=2)))


@pytest.mark.parametrize("E", [(), (10,)], ids=["one network", "threads"])
def test_floating_point_errors_are_exceptions_too(E, monkeypatch):
    """numpy.errstate(all="raise"), also in threads: the state is that of the update before."""
    monkeypatch.setattr("numpy_rnn.engine.layout.MIN_OF_THREAD", 4)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    case, options = random_case(0, 9, 1, 2, 4, 2, nonlinearity="relu", E=E), {"learning_rate": 1e120, "epochs": 9}
    run, states = train(numpy_rnn, case, **options, nonlinearity="relu"), []
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        states.extend(bits(run.state()) for _ in run)
    assert bits(run.state()) == states[-1]


def stream_run(rnn, case, instead=None, at=None):
    """A run on the steps of a case, and on what a function returns instead of one of them."""
    params, x, target, h_0 = case.for_train(rnn)
    steps = (instead() if number == at else step for number, step in enumerate(zip(x, target), start=1))
    return rnn.train_stream(params, steps, h_0, k1=2, k2=3, learning_rate=0.05, momentum=0.9)


def broken():
    raise Broken


def test_a_stream_that_breaks_off_is_not_one_that_has_ended(rnn):
    """Neither where its own iterator raises nor where an update is interrupted: the state is that of a completed
    update, and each further one is refused.
    """
    case = random_case(5, 12, B, D, H, O)
    run = stream_run(rnn, case)
    states = [bits(run.state()) for _ in run]
    assert next(run, None) is None
    breaks = [(interruption(n), None) for n in range(5, 100, 10)] + [(suppress(Broken), at) for at in (5, 6)]
    for interrupted, at in breaks:
        run = stream_run(rnn, case, broken, at)
        made = list(islice(run, 2))
        with interrupted:
            next(run)
        assert states.index(bits(run.state())) + 1 - len(made) in (0, 1)
        for _ in range(2):
            with pytest.raises(InputError, match="its stream cannot be read again: start a new train_stream"):
                next(run)


def test_a_stream_may_not_ask_for_an_update_of_its_own_run(rnn):
    run = stream_run(rnn, example(), lambda: next(run), at=3)
    next(run)
    with pytest.raises(InputError, match="already computing an update"):
        next(run)


def test_a_closed_run_makes_no_update_and_keeps_its_state(rnn):
    run = begin(rnn, k1=1, k2=2)
    next(run)
    state = bits(run.state())
    run.close()
    run.close()
    assert next(run, None) is None
    assert bits(run.state()) == state
    assert bits(run.latest.parameters) == state[4]
    assert list(begin(rnn, epochs=0)) == []


def test_a_run_is_not_copied_and_its_state_is(rnn):
    run = begin(rnn)
    next(run)
    state = run.state()
    for way in (copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        with pytest.raises(TypeError, match=r"cannot be copied or pickled: take its state\(\)"):
            way(run)
        assert bits(way(state)) == bits(state)
