"""Runs that are resumed or interrupted: each is the run that was not, bit for bit.

An exception at any place of an update leaves the run as it was after the latest yielded one.
"""

import pickle
import sys
from contextlib import contextmanager, suppress
from itertools import count, islice

import numpy as np
import pytest
from cases import Kind, Sizes, arguments, random_run, runs, train, train_stream
from comparing import bits, each, fewer
from hypothesis import example, given
from hypothesis import strategies as st

from numpy_rnn import InputError

pytestmark = pytest.mark.with_reference

RUN = random_run(5, Sizes(5, 2, 3, 4, 1))


def resumed(rnn, run, state, **changes):
    """The bits of all updates after a state; the parameters passed in are not read."""
    training = train(
        rnn,
        run,
        params=each(lambda theta: 0 * theta, rnn.from_numpy(run.params)),
        resume=state,
        **changes,
    )
    assert bits(training.state()) == bits(state)
    updates = [bits(update) for update in training]
    assert next(training, None) is None
    return updates


@fewer(4)
@example(run=RUN, seed=0, record=True, every=1, order="C")
@given(
    run=runs(),
    seed=st.integers(0, 2**31),
    record=st.booleans(),
    every=st.sampled_from([1, 1, 2, 3, "epoch"]),
    order=st.sampled_from("CF"),
)
def test_resumed_run_is_the_uninterrupted_one(rnn, run, seed, record, every, order):
    """With all options, after any update, and again after each. The state goes through NumPy arrays, as it does through
    a file, in either order of memory. Neither the run that returned it changes it, nor the one that began from it.
    """
    run = run._replace(params=each(lambda theta: np.asarray(theta, order=order), run.params))
    options = {"record": record, "yield_every": every}
    training, whole, states, kept = train(rnn, run, **options), [], [], []
    for update in training:
        whole.append(bits(update))
        states.append(state := training.state())
        kept.append(bits(state))
        same = update.epoch, update.number, update.window, update.parameters, update.velocity
        assert bits((*state[:3], *state[4:])) == bits(same)
        if record and update.window.stop == len(run.x):
            assert bits(state.h) == bits(update.activations.h[-1])
    assert bits(training.state()) == kept[-1]  # the end of a run is a valid state too
    for number in {seed % len(whole), len(whole) - 1}:
        state = rnn.from_numpy(rnn.to_numpy(states[number]))
        assert bits(state) == bits(states[number])
        numbers = {"epoch": np.uint8(state.epoch), "number": np.int8(state.number)}
        rest = train(rnn, run, **options, resume=state._replace(**numbers))
        assert (
            resumed(rnn, run, state, **options)
            == [bits(update) for update in rest]
            == whole[number + 1 :]
        )
        assert bits(state) == kept[number]
    options["epochs"] = run.options.schedule.epochs + 1
    more = [bits(update) for update in train(rnn, run, **options)][len(whole) :]
    assert resumed(rnn, run, states[-1], **options) == more != []
    training, made = train(rnn, run, **options), []
    for _ in whole:  # each update by a run of its own
        made.append(bits(next(training)))
        training = train(rnn, run, **options, resume=training.state())
    assert made == whole
    assert [bits(state) for state in states] == kept


def test_resumed_run_counts_from_the_start_of_the_epoch(rnn):
    """Also where the run that is resumed had another yield_every."""
    training = train(rnn, RUN, k1=1)
    next(training)
    rest = train(rnn, RUN, k1=1, yield_every=2, resume=training.state())
    assert [(u.epoch, u.number, len(u.losses)) for u in rest] == [
        (1, 2, 1), (1, 4, 2), (1, 5, 1), (2, 2, 2), (2, 4, 2), (2, 5, 1)
    ]  # fmt: skip


# -- interrupted at any line ------------------------------------------------------------------------------------------

RUNS = {
    "one window": {"k1": 4, "k2": 4, "reduction": "mean"},
    "learned": {"k1": 1, "k2": 2, "learned": True, "momentum": 0.9, "record": True},
    "one step": {"k1": 1, "k2": 1},
    "ensemble": {"k1": 2, "k2": 3, "E": (3,)},
    "every third": {
        "k1": 1,
        "k2": 3,
        "yield_every": 3,
        "momentum": 0.9,
        "weight_decay": 0.01,
        "max_norm": 0.5,
    },
    "once an epoch": {"k1": 2, "k2": 2, "yield_every": "epoch", "record": True},
}
FIRST, TRIED, MORE = (
    3,
    2,
    2,
)  # updates before, under and after the interruption; the second one tried begins an epoch

# Lines from one interruption to the next: primes, so that a loop is not interrupted at the same line every time.
STRIDE = {"numpy_rnn": 11, "numpy_rnn.reference": 23, "torch_rnn": 71}


def begin(rnn, E=(), learned=False, **options):
    """A run of a billion epochs: updates are made one at a time."""
    run = random_run(4, Sizes(4, 2, 2, 3, 1, E), Kind(learned=learned))
    return train(rnn, run, **{"epochs": 10**9} | options)


class Broken(Exception):
    """Raised by an interruption; no code of the packages catches it."""


@contextmanager
def interruption(n):
    """Raise at the n-th line that either package runs; yields [how many lines are left to it]."""
    left = [n]

    def trace(frame, event, _):
        in_package = frame.f_globals.get("__name__", "").startswith(("numpy_rnn.", "torch_rnn."))
        if not in_package or frame.f_code.co_name == "__del__":  # whose exceptions Python ignores
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


# Python 3.13 also traces the lines of a generator that is being closed, where it ignores exceptions.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", RUNS)
def test_exception_at_any_line_leaves_the_latest_update(rnn, name):
    """After it the state is that of the update that was yielded last, or of the next one if that was completed but not
    yielded; and the run continues from there with the bits of an uninterrupted run.
    """
    options = RUNS[name]
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
        assert completed - len(made) in (0, 1), n
        assert made == whole[: len(made)], n
        rest = [bits(update) for update in islice(run, MORE)]
        assert rest == whole[completed : completed + MORE], n
        if left[0] > 0:
            break
    assert len(made) == FIRST + TRIED
    assert n > 15 * TRIED


def test_exception_before_the_first_update_leaves_the_beginning(rnn):
    run = begin(rnn, k1=1, k2=2)
    with interruption(20):
        next(run)
    with pytest.raises(InputError, match="the run has no state yet"):
        run.state()
    assert bits(next(run)) == bits(next(begin(rnn, k1=1, k2=2)))


# -- streams ----------------------------------------------------------------------------------


def stream_run(rnn, run, instead=None, at=None):
    """A run on a stream of steps, and on what a function returns instead of one of them."""
    given = arguments(rnn, run)
    pairs = enumerate(zip(given["x"], given["target"]), start=1)
    steps = (instead() if number == at else step for number, step in pairs)
    return train_stream(rnn, run, steps, momentum=0.9)


def broken():
    raise Broken


def test_stream_that_breaks_off_has_not_ended(rnn):
    """Neither where its own iterator raises nor where an update is interrupted: the state is that of a completed
    update, and each further one is refused.
    """
    series = random_run(5, Sizes(12, 2, 3, 4, 1))
    run = stream_run(rnn, series)
    states = [bits(run.state()) for _ in run]
    assert next(run, None) is None
    breaks = [(interruption(n), None) for n in range(5, 100, 10)] + [
        (suppress(Broken), at) for at in (5, 6)
    ]
    for interrupted, at in breaks:
        run = stream_run(rnn, series, broken, at)
        made = list(islice(run, 2))
        with interrupted:
            next(run)
        assert states.index(bits(run.state())) + 1 - len(made) in (0, 1)
        for _ in range(2):
            with pytest.raises(
                InputError, match="its stream cannot be read again: start a new train_stream"
            ):
                next(run)


@pytest.mark.filterwarnings(
    "ignore:You are using `torch.load`:FutureWarning"
)  # by the pickle of torch 2.4 itself
def test_states_and_updates_are_pickled(rnn):
    run = begin(rnn, momentum=0.9, record=True)
    for value in (next(run), run.state()):
        assert bits(pickle.loads(pickle.dumps(value))) == bits(value)


def test_run_that_computes_an_update_is_not_asked_for_another(rnn):
    def asking():
        with pytest.raises(InputError, match="is already computing an update"):
            next(training)
        yield from zip(*map(rnn.from_numpy, (RUN.x, RUN.target)))

    training = train_stream(rnn, RUN, asking())
    assert next(training).number == 1
