"""Streams, and series that are mapped from a file: the same runs, in memory that depends on k2 and not on T."""

import gc
import tracemalloc
import weakref
from collections import deque
from itertools import count, islice
from statistics import median

import numpy as np
import pytest
from cases import random_case, random_velocity, runs, with_ensemble
from comparing import bits, fewer
from hypothesis import given
from hypothesis import strategies as st
from refusal_calls import ones
from witness_runs import assert_fewer, assert_right

from numpy_rnn import InputError
from numpy_rnn.app.series import inputs_and_targets, load_series
from numpy_rnn.engine import loop

T, B, D, H, O = 7, 2, 3, 4, 5
OPTIONS = {"k1": 2, "k2": 3, "learning_rate": 0.05}


def example(**options):
    return random_case(6, T, B, D, H, O, **options)


def train_stream(rnn, case, steps, **options):
    params, _, _, h_0 = case.for_train(rnn)
    return rnn.train_stream(params, steps, h_0, **OPTIONS | options)


def steps_of(rnn, case):
    series = [v for v in (case.x, case.target, case.weights) if v is not None]
    return list(zip(*map(rnn.from_numpy, series), strict=True))


def refilled(steps):
    """These steps, in the arrays of the first one, which are filled again and again."""
    for step in steps:
        for array, values in zip(steps[0], step):
            array[...] = values
        yield steps[0]


@pytest.mark.with_reference
@fewer(4)
@given(
    run=runs(largest=6),
    E=st.sampled_from([(), (), (2,), (1, 2)]),
    seed=st.integers(0, 2**31),
    moving=st.sampled_from(["no", "all", "weights"]),
    every=st.sampled_from([2, 3, 4]),
)
def test_a_stream_is_an_epoch_of_the_series(rnn, run, E, seed, moving, every):
    """All options, schedules and short tails; networks of an ensemble share the stream, which may fill one array again
    and again. It begins with the velocity that it is given, which may be that of the weights alone. Its state has
    its step and window. Updates that are yielded less often, every n-th and the last, are the same.
    """
    case, options = run
    case = with_ensemble(case, E, seed)
    options = options | {"epochs": 1}
    of_stream = {name: value for name, value in (options | case.options).items() if name != "epochs"}
    velocity = random_velocity(case, options, moving)
    of_stream |= {"record": True, "velocity": rnn.from_numpy(velocity)}
    stream, updates = train_stream(rnn, case, refilled(steps_of(rnn, case)), **of_stream), []
    for update in stream:
        updates.append(update)
        after = update.activations.h[-1], update.parameters, update.velocity
        assert bits(stream.state()) == bits((*update[:3], *after))
    if velocity is None and rnn.__name__ != "torch_rnn":  # whose products may depend on where in memory an operand is
        series = rnn.train(*case.for_train(rnn), **options, **case.form(rnn), record=True)
        assert [bits(u) for u in updates] == [bits(u) for u in series]
    else:
        assert_right(rnn, case, updates, **options, velocity=velocity)
    few = list(train_stream(rnn, case, steps_of(rnn, case), **of_stream, yield_every=every))
    assert_fewer(case, few, updates, every)
    assert list(train_stream(rnn, case, [])) == []


@pytest.mark.with_reference
def test_without_momentum_a_velocity_is_not_carried_on_and_not_by_adagrad(rnn):
    case = example(learned=True)
    *_, before = train_stream(rnn, case, steps_of(rnn, case), momentum=0.9)
    for update in train_stream(rnn, case, steps_of(rnn, case), velocity=before.velocity):
        assert update.velocity is None
    with pytest.raises(InputError, match="expected the sums of squares of Adagrad"):  # none of which is below 0
        train_stream(rnn, case, [], velocity=before.velocity, adagrad=True)


@pytest.mark.with_reference
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 5), (3, 3)])
def test_what_is_needed_of_an_endless_stream_is_taken_and_copied(rnn, k1, k2, record):
    """When the next step is made, no given array is held any more."""
    made, held = [], []

    def endless():
        for t in count():
            held.append(sum(array() is not None for array in made))
            step = tuple(rnn.from_numpy(np.sin(np.full((B, size), 0.1 * t))) for size in (D, O))
            made.extend(map(weakref.ref, step))
            yield step
            del step

    training = train_stream(rnn, example(), endless(), k1=k1, k2=k2, learning_rate=0.001, record=record)
    assert made == []
    for number, update in enumerate(islice(training, 30), start=1):
        assert len(made) / 2 == number * k1 == update.window.stop
        assert (update.number, update.window.steps) == (number, min(k2, number * k1))
    assert held == [0] * 30 * k1


# -- what is refused --------------------------------------------------------------------------------------------------

NO_PAIR = ": expected a pair of arrays"
NOT_FINITE = "contains NaN or infinity: expected finite numbers"
ANOTHER_FORM = "has another form than those before it: expected classes"
BAD_STEPS: list[tuple] = [
    ((ones(B, D + 1), ones(B, O)), ": x has shape (2, 4): expected (2, 3)"),
    ((ones(B + 1, D), ones(B + 1, O)), ": x has shape (3, 3): expected (2, 3)"),
    ((ones(1, D), ones(1, O)), ": x has shape (1, 3): expected (2, 3)"),
    ((ones(D), ones(B, O)), ": x has shape (3,): expected (2, 3)"),
    ((ones(1, B, D), ones(1, B, O)), ": x has shape (1, 2, 3): expected (2, 3)"),
    ((ones(B, D), ones(B, 1)), ": target has shape (2, 1): expected (2, 5)"),
    ((ones(B, D), ones(1, O)), ": target has shape (1, 5): expected (2, 5)"),
    ((ones(B, D, dtype="float32"), ones(B, O)), ": x is "),
    ((ones(B, D), ones(B, O, dtype="int64")), ": target is "),
    ((ones(B, D) * np.nan, ones(B, O)), NOT_FINITE),
    ((ones(B, D), ones(B, O) * np.inf), NOT_FINITE),
    (("x", "y"), ": x is a str: expected a"),
    ((ones(B, D), None), ": target is None: expected a"),
    (([[0.0]], ones(B, O)), ": x is a list: expected a"),
    ((ones(B, D), ones(B, O), None), ": weights is None: expected a"),
    ((np.zeros(B, int), ones(B, O)), ANOTHER_FORM),
    ((ones(B, D), ones(B, O), ones(B)), ANOTHER_FORM),
    *((step, NO_PAIR) for step in ((ones(B, D),), ones(3, B, D), (ones(B, D), *[ones(B)] * 3), None, 3.0, "steps")),
]
ENTROPY: list[tuple] = [
    ((ones(B, D), np.full(B, O)), ": target holds the class 5: expected classes from 0 to 4"),
    ((ones(B, D), ones(B, O)), ": target has a row whose sum is 5.0: expected distributions"),
    ((np.full(B, -1), ones(B, O) / O), ": x holds the class -1: expected classes from 0 to 2"),
    ((ones(B, D), ones(B, O) / O, ones(B) * np.inf), ": weights holds NaN or infinity"),
]


@pytest.mark.with_reference
@pytest.mark.parametrize(("loss", "bad_steps"), [("squared_error", BAD_STEPS), ("cross_entropy", ENTROPY)])
def test_a_bad_step_is_refused_by_its_number_when_it_comes(rnn, loss, bad_steps):
    """And the updates before it are made."""
    case = example(loss=loss)
    steps = steps_of(rnn, case)
    first, *_ = train_stream(rnn, case, steps, loss=loss)
    for step, says in bad_steps:
        if type(step) is tuple:
            step = tuple(rnn.from_numpy(v) if isinstance(v, np.ndarray) else v for v in step)
        for number in (4,) if says == ANOTHER_FORM else (1, 4):
            training = train_stream(rnn, case, [*steps[: number - 1], step], loss=loss)
            if number == 4:
                assert bits(next(training)) == bits(first)
            with pytest.raises(InputError) as refusal:
                next(training)
            message = str(refusal.value)
            assert message.startswith(f"step {number} of the stream")
            assert says in message
            assert "\n" not in message
            if number == 4:
                assert training.state().number == 1


# -- memory -----------------------------------------------------------------------------------------------------------
#
# How much a process holds at a million steps is measured by `python -m benchmarks`. Here it is what Python and NumPy
# ask for, at fewer steps: at the peak, and what is held after a collection. Of torch's tensors only the Python objects
# are seen; one that is kept keeps its object. torch makes some objects once in a run, which hide what is kept from the
# peak.

LOOKED_AT = 250  # of what is looked at in parts: less than the shorter series has
COLLECT_EVERY = 10  # updates; Python keeps up to 2000 tuples of a length for later, and gives them back at a collection

# By backend: steps of a short and of a long run; and bytes a step, of which half a run may not take more than another.
# A byte a step is a mark on every number, "finite or not"; 8 are the pointers of a list of all steps.
RUNS = {"numpy_rnn": (1_500, 9_500, 1), "torch_rnn": (500, 1_500, 8)}


@pytest.fixture
def path(monkeypatch, tmp_path):
    """Of a series; what is looked at in parts, or kept up to a bound, has small parts and bounds."""
    monkeypatch.setattr("numpy_rnn.app.series.BLOCK", LOOKED_AT)
    monkeypatch.setattr("numpy_rnn.common.shapes.CHUNK", LOOKED_AT)
    for name, part in (("MAX_VIEWED", 16), ("MAX_KEPT", 64), ("TAPE_BYTES", 64)):
        monkeypatch.setattr(loop, name, getattr(loop, name) // part)
    return tmp_path / "series.npy"


def updates_of(rnn, path, stream=False):
    """Those of an epoch, on a mapped file or on a stream of its steps, which are read one at a time."""
    params, h_0 = rnn.initial_parameters(), rnn.from_numpy(np.zeros((1, 6), np.float32))
    options = {"k1": 10, "k2": 20, "learning_rate": 0.01}
    if not stream:
        series = inputs_and_targets(load_series(path), np.float32)
        return rnn.train(params, *(rnn.from_numpy(v, copy=False) for v in series), h_0, **options, epochs=1)

    def steps():
        series = np.load(path, mmap_mode="r")
        following = rnn.from_numpy(series[:1, None])
        for t in range(1, len(series)):
            x_t, following = following, rnn.from_numpy(series[t : t + 1, None])
            yield x_t, following

    return rnn.train_stream(params, steps(), h_0, **options)


def growth(rnn, path, stream):
    """Bytes that the long run holds more than the short one, that its peak has more, and what is allowed. What is held
    is the median of the last five collections near the end of a run, as a single one may leave more.
    """
    short, long, bytes_a_step = RUNS[rnn.__name__]
    measured = []
    for T in (100, short, long):  # the first run makes what is made once
        gc.collect()
        gc.freeze()  # so that the collections below look at what the run made alone
        np.save(path, np.sin(np.arange(T + 1) / 10).astype(np.float32))
        tracemalloc.start()
        held = deque([0] * 5, 5)
        for made, update in enumerate(updates_of(rnn, path, stream), start=1):
            stop = update.window.stop
            if made % COLLECT_EVERY == 0:
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        measured.append((median(held), tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
        gc.unfreeze()
        assert stop == T
        del update
    _, of_short, of_long = measured
    return of_long[0] - of_short[0], of_long[1] - of_short[1], (long - short) * bytes_a_step / 2


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True], ids=["mapped file", "stream"])
def test_memory_does_not_grow_with_the_steps(rnn, path, stream):
    """What grows with the steps is seen in each of three measurements; what other tests leave is freed in one."""
    measured = []
    for _ in range(3):
        held, peak, allowed = growth(rnn, path, stream)
        measured.append((held, peak))
        if max(held, peak) < allowed:
            return
    pytest.fail(f"bytes held and peak, {measured}: expected less than {allowed:.0f}")


@pytest.mark.slow
def test_reading_and_checking_take_no_memory_that_grows_with_the_steps(rnn, path):
    """Before the first update, in bytes at the peak."""
    few, many, peaks = 2_000, 400_000, []
    for T in (100, few, many):
        np.save(path, np.zeros(T + 1, np.float32))
        tracemalloc.start()
        updates_of(rnn, path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < (many - few) / 2
