"""Training on a stream is training on the series of its steps, with no more of them held, or asked for, than needed."""

import weakref
from itertools import count, islice

import numpy as np
import pytest
from cases import random_case, random_velocity, runs, with_ensemble
from comparing import bits, fewer
from hypothesis import given
from hypothesis import strategies as st
from witness_runs import assert_right

from numpy_rnn import InputError

pytestmark = pytest.mark.with_reference

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


# -- the same run -----------------------------------------------------------------------------------------------------


@fewer(4)
@given(
    run=runs(largest=6),
    E=st.sampled_from([(), (), (2,), (1, 2)]),
    seed=st.integers(0, 2**31),
    moving=st.sampled_from(["no", "all", "weights"]),
)
def test_a_stream_is_an_epoch_of_the_series(rnn, run, E, seed, moving):
    """All options, schedules and short tails; networks of an ensemble share the stream. It begins with the velocity
    that it is given, which may be that of the weights alone. Its state says where it stands.
    """
    case, options = run
    case = with_ensemble(case, E, seed)
    options = options | {"epochs": 1}
    of_stream = {name: value for name, value in (options | case.options).items() if name != "epochs"}
    velocity = random_velocity(case, options, moving)
    given_velocity = rnn.from_numpy(velocity)
    stream = train_stream(rnn, case, iter(steps_of(rnn, case)), **of_stream, record=True, velocity=given_velocity)
    updates = []
    for update in stream:
        updates.append(update)
        after = update.activations.h[-1], update.parameters, update.velocity
        assert bits(stream.state()) == bits((*update[:3], *after))
    if velocity is None and rnn.__name__ != "torch_rnn":  # whose products may depend on where in memory an operand is
        series = rnn.train(*case.for_train(rnn), **options, **case.form(rnn), record=True)
        assert [bits(u) for u in updates] == [bits(u) for u in series]
    else:
        assert_right(rnn, case, updates, **options, velocity=velocity)


def test_without_momentum_a_velocity_is_not_carried_on_and_not_by_adagrad(rnn):
    case = example(learned=True)
    *_, before = train_stream(rnn, case, steps_of(rnn, case), momentum=0.9)
    for update in train_stream(rnn, case, steps_of(rnn, case), velocity=before.velocity):
        assert update.velocity is None
    with pytest.raises(InputError, match="expected the sums of squares of Adagrad"):  # none of which is below 0
        train_stream(rnn, case, [], velocity=before.velocity, adagrad=True)


def test_an_empty_stream_has_no_updates_and_one_that_is_none_is_refused(rnn):
    assert list(train_stream(rnn, example(), [])) == []
    with pytest.raises(InputError, match="the stream is a int: expected an iterable of pairs"):
        train_stream(rnn, example(), 3)


# -- no more than needed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 5), (4, 4)])
def test_an_endless_stream_can_be_learnt_from_and_only_what_is_needed_is_taken(rnn, k1, k2):
    taken = 0

    def endless():
        nonlocal taken
        for t in count():
            taken += 1
            yield rnn.from_numpy(np.sin(np.full((B, D), 0.1 * t))), rnn.from_numpy(np.cos(np.full((B, O), 0.1 * t)))

    training = train_stream(rnn, example(), endless(), k1=k1, k2=k2, learning_rate=0.001)
    assert taken == 0
    for number, update in enumerate(islice(training, 50), start=1):
        assert taken == number * k1 == update.window.stop
        assert update.number == number
        assert update.window.steps == min(k2, taken)
    assert number == 50


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(("k1", "k2"), [(1, 3), (3, 3)])
def test_no_given_step_is_held(rnn, k1, k2, record):
    """When the next step is made, no given array is held any more: the run has copies of what it needs."""
    made, held = [], []

    def steps():
        for arrays in zip(case.x, case.target, strict=True):
            held.append(sum(array() is not None for array in made))
            step = tuple(map(rnn.from_numpy, arrays))
            made.extend(map(weakref.ref, step))
            yield step
            del step

    case = random_case(0, 20, B, D, H, O)
    for _ in train_stream(rnn, case, steps(), k1=k1, k2=k2, record=record):
        pass
    assert held == [0] * 20


@pytest.mark.parametrize(("k1", "k2"), [(1, 4), (3, 5)])
def test_a_stream_may_fill_one_array_again_and_again(rnn, k1, k2):
    case = example()

    def refilled():
        x_t, target_t = map(rnn.from_numpy, (case.x[0], case.target[0]))
        for x, target in zip(case.x, case.target, strict=True):
            x_t[...], target_t[...] = map(rnn.from_numpy, (x, target))
            yield x_t, target_t

    runs = (train_stream(rnn, case, steps, k1=k1, k2=k2) for steps in (steps_of(rnn, case), refilled()))
    assert len({tuple(bits(update) for update in run) for run in runs}) == 1


# -- what is refused --------------------------------------------------------------------------------------------------


def ones(*shape, dtype="float64"):
    return np.ones(shape, dtype)


NO_PAIR = ": expected a pair of arrays"
NOT_FINITE = "contains NaN or infinity: expected finite numbers"
ANOTHER_FORM = "has another form than those before it: expected classes"
BAD_STEPS = [
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
ENTROPY = [
    ((ones(B, D), np.full(B, O)), ": target holds the class 5: expected classes from 0 to 4"),
    ((ones(B, D), ones(B, O)), ": target has a row whose sum is 5.0: expected distributions"),
    ((np.full(B, -1), ones(B, O) / O), ": x holds the class -1: expected classes from 0 to 2"),
    ((ones(B, D), ones(B, O) / O, ones(B) * np.inf), ": weights holds NaN or infinity"),
]


@pytest.mark.parametrize(
    ("loss", "step", "says"),
    [*(("squared_error", *row) for row in BAD_STEPS), *(("cross_entropy", *row) for row in ENTROPY)],
)
def test_a_bad_step_is_refused_by_its_number_when_it_comes(rnn, loss, step, says):
    """And the updates before it are made."""
    case = example(loss=loss)
    first, *_ = train_stream(rnn, case, steps_of(rnn, case), loss=loss)
    bad = tuple(rnn.from_numpy(v) if isinstance(v, np.ndarray) else v for v in step) if type(step) is tuple else step
    for number in (4,) if says == ANOTHER_FORM else (1, 4):
        steps = steps_of(rnn, case)
        steps[number - 1] = bad
        training = train_stream(rnn, case, steps, loss=loss)
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
