"""A run that is interrupted and resumed is the run that was not, bit for bit, wherever the break is."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from cases import random_case, runs, with_ensemble
from comparing import arrays_in, bits, fewer, in_numpy
from hypothesis import given
from hypothesis import strategies as st
from witness_runs import assert_fewer, is_due

from numpy_rnn import InputError, Parameters, State

pytestmark = pytest.mark.with_reference

T, B, D, H, O = 5, 2, 3, 4, 1
EVERYTHING = {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, "max_norm": 0.5}


def example(**options):
    return random_case(5, T, B, D, H, O, **options)


def train(rnn, case, **options):
    return rnn.train(*case.for_train(rnn), **{"k1": 2, "k2": 3, "learning_rate": 0.05, "epochs": 2} | options)


def states_of(training):
    """(updates, the state after each), of all that is left of a run."""
    updates, states = [], []
    for update in training:
        updates.append(update)
        states.append(training.state())
    return updates, states


def resumed(rnn, case, state, **options):
    """The bits of all updates after a state; the parameters passed in are not looked at."""
    params, *series = case.for_train(rnn)
    nothing = Parameters(*(None if theta is None else theta * 0 for theta in params))
    return [bits(u) for u in rnn.train(nothing, *series, **options, resume=state)]


# -- the break is not seen --------------------------------------------------------------------------------------------


@fewer(8)
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
    which one is the last, and again after each. The state goes through NumPy arrays, as it does through a file. From
    `many` networks on, numpy_rnn lays them out innermost in memory.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpy_rnn.engine.layout.MIN_GROUP", many)
        case = with_ensemble(run[0], E, seed, own=("x",))
        options = run[1] | case.form(rnn) | {"record": record, "yield_every": every}
        updates, states = states_of(rnn.train(*case.for_train(rnn), **options))
        whole = [bits(u) for u in updates]
        for number in {seed % len(whole), len(whole) - 1}:
            state = rnn.from_numpy(rnn.to_numpy(states[number]))
            assert bits(state) == bits(states[number])
            assert resumed(rnn, case, state, **options) == whole[number + 1 :]
        longer = options | {"epochs": options["epochs"] + 1}
        more = resumed(rnn, case, states[-1], **longer)
        assert more == [bits(u) for u in rnn.train(*case.for_train(rnn), **longer)][len(whole) :] != []
        training, made = rnn.train(*case.for_train(rnn), **options), []
        for _ in whole:  # each update by a run of its own
            made.append(bits(next(training)))
            training = rnn.train(*case.for_train(rnn), **options, resume=training.state())
        assert made == whole


def test_a_state_says_where_the_run_stands_and_stays_as_it_is(rnn):
    """Neither the run that handed it out changes it, nor the one that began from it."""
    case = example()
    training, states, kept = train(rnn, case, record=True, momentum=0.9), [], []
    following = {1: 1, 2: 2, 3: T}  # where the next window starts; after the last, the end
    assert isinstance(training, Iterator)
    for update in training:
        states.append(training.state())
        kept.append(bits(states[-1]))
        assert isinstance(states[-1], State)
        assert states[-1][:3] == (update.epoch, update.number, update.window)
        h = update.activations.h[following[update.number] - update.window.start]
        assert kept[-1][3:] == bits((h, update.parameters, update.velocity))
    assert bits(training.state()) == kept[-1]  # the end of a run is a valid state too
    assert next(training, None) is None
    for state in states:
        list(train(rnn, case, momentum=0.9, resume=state))
    assert [bits(state) for state in states] == kept


def test_a_run_has_no_state_before_its_first_update_unless_it_is_resumed(rnn):
    training = train(rnn, example(), momentum=0.9)
    with pytest.raises(InputError, match="the run has no state yet: expected at least one update"):
        training.state()
    *_, state = states_of(training)[1]
    at_the_end = train(rnn, example(), momentum=0.9, resume=state)
    for _ in range(2):
        assert bits(at_the_end.state()) == bits(state)
        assert next(at_the_end, None) is None


def test_a_learned_state_has_no_velocity_before_its_first_gradient(rnn):
    """If the state to resume from has none, the velocity of h_0 begins with the next epoch, and is not dampened."""
    case, options = example(learned=True), {"momentum": 0.9, "dampening": 0.5}
    state = state_after(rnn, 2, case, **options)
    for velocity in (None, state.velocity._replace(h_0=None)):
        rest = list(train(rnn, case, **options, resume=state._replace(velocity=velocity)))
        assert [update.velocity.h_0 is None for update in rest] == [True, False, False, False]
        assert bits(rest[1].velocity.h_0) == bits(rest[1].gradients.h_0)


# -- fewer updates ---------------------------------------------------------------------------------------------------

EVERY = st.sampled_from([2, 3, 4, 100])


@fewer(8)
@given(run=runs(), every=EVERY | st.just("epoch"), E=st.sampled_from([(), (), (2,)]), seed=st.integers(0, 2**31))
def test_every_nth_update_of_an_epoch_and_its_last_are_yielded(rnn, run, every, E, seed):
    case, options = run
    case = with_ensemble(case, E, seed)
    options |= case.form(rnn) | {"record": True}
    updates = list(rnn.train(*case.for_train(rnn), **options))
    few = list(rnn.train(*case.for_train(rnn), **options, yield_every=every))
    assert_fewer(case, few, updates, is_due(every, len(case.x)))


@pytest.mark.parametrize(("k1", "every"), [(1, 2), (1, 3), (2, 2), (3, 4), (1, 100)])
def test_every_nth_update_of_a_stream_and_its_last_are_yielded(rnn, k1, every):
    case, options = example(), {"k1": k1, "k2": 3, "learning_rate": 0.02, "momentum": 0.5}
    params, x, target, h_0 = case.for_train(rnn)
    updates = list(rnn.train_stream(params, zip(x, target), h_0, **options))
    few = list(rnn.train_stream(params, zip(x, target), h_0, **options, yield_every=every))
    assert_fewer(case, few, updates, is_due(every, T))


def test_a_resumed_run_counts_its_updates_from_the_start_of_the_epoch(rnn):
    """Also where the run that is resumed had another yield_every."""
    training = train(rnn, example(), k1=1)
    next(training)
    rest = train(rnn, example(), k1=1, yield_every=2, resume=training.state())
    assert [(u.epoch, u.number, len(u.losses)) for u in rest] == [
        (1, 2, 1), (1, 4, 2), (1, 5, 1), (2, 2, 2), (2, 4, 2), (2, 5, 1)
    ]  # fmt: skip


# -- what is handed out, and what is taken -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_case", "options"),
    [
        ({"learned": True}, {"k1": 1, "k2": 1}),
        ({"learned": True}, {"k1": 1, "k2": 3, "record": True, **EVERYTHING}),
        ({"learned": True}, {"k1": 5, "k2": 5, **EVERYTHING}),
        ({"E": (3,)}, {"k1": 1, "k2": 3}),
        ({"E": (3,)}, {"k1": 2, "k2": 2, "record": True, **EVERYTHING}),
    ],
)
def test_nothing_that_is_handed_out_changes_the_run(rnn, of_case, options):
    """Every array of every update and state is overwritten, where it can be; what cannot be is the run's own."""
    case = example(**of_case)
    untouched = [rnn.to_numpy(update) for update in train(rnn, case, **options)]
    run = train(rnn, case, **options)
    for update, expected in zip(run, untouched, strict=True):
        assert bits(update) == bits(expected)
        state = run.state()
        copies = rnn.from_numpy(rnn.to_numpy(update))
        for array in map(in_numpy, arrays_in((copies, update, state))):
            if array.flags.writeable:
                array[...] = 7.0
        if rnn.__name__ != "torch_rnn":
            own = arrays_in((update.parameters, update.velocity))
            free = arrays_in((copies, update.gradients, *update[7:], state))
            assert not any(array.flags.writeable for array in own)
            assert all(array.flags.writeable for array in free if array.ndim)


# -- states that do not fit -------------------------------------------------------------------------------------------


def state_after(rnn, number, case=None, **options):
    training = train(rnn, case or example(), **options)
    list(islice(training, number))
    return training.state()


def moving(state, **velocity):
    return state._replace(velocity=state.velocity._replace(**velocity))


def cut(state):
    state.parameters.W_hh[0, 0] = np.nan
    return state


PLACE = "the state to resume from is that after update "
STATES: list[tuple] = [  # (updates made, the change of the state, other arguments, words)
    (2, {}, {"k1": 1}, f"{PLACE}2, window (1, 2, 4): expected (0, 1, 2) for k1 = 1, k2 = 3 and 5 steps"),
    (2, {}, {"k2": 2}, f"{PLACE}2, window (1, 2, 4): expected (2, 2, 4) for k1 = 2, k2 = 2 and 5 steps"),
    (1, {}, {"k1": 3}, f"{PLACE}1, window (0, 0, 2): expected (0, 0, 3) for k1 = 3, k2 = 3 and 5 steps"),
    (3, {}, {"k2": 4}, f"{PLACE}3, window (2, 4, 5): expected (1, 4, 5) for k1 = 2, k2 = 4 and 5 steps"),
    (3, {}, {"T": 4}, "and 4 steps; resume with the arguments of that run"),
    (2, {}, {"B": B + 1}, "has h of shape (2, 4): expected (3, 4)"),
    *((2, nowhere, {}, PLACE) for nowhere in ({"epoch": 0}, {"number": 0}, {"number": 3}, {"number": 9})),
    (2, cut, {}, "W_hh contains NaN or infinity"),
    (2, lambda s: s._replace(h=s.h.astype("float32")), {}, "h is "),
    (2, lambda s: s._replace(h=s.h * np.nan), {}, "h contains NaN or infinity: expected finite numbers"),
    (2, lambda s: moving(s, W_hy=s.velocity.W_hy[:1]), {}, "the velocity of W_hy is "),
    (2, lambda s: moving(s, W_hy=s.velocity.W_hy.astype("float32")), {}, "the velocity of W_hy is "),
    (2, lambda s: moving(s, W_hy=s.velocity.W_hy * np.inf), {}, "the velocity of W_hy contains NaN or infinity"),
    (2, lambda s: moving(s, b_h=None), {}, "has no velocity of b_h: expected one, as other parameters have one"),
    (2, lambda s: moving(s, h_0=s.h[0]), {}, "there is a velocity of h_0: expected none"),
    (2, {}, {"momentum": 0, "adagrad": True}, "expected the sums of squares of Adagrad"),  # none is below 0
]


@pytest.mark.parametrize(("number", "change", "other", "says"), STATES, ids=range(len(STATES)))
def test_a_state_that_does_not_fit_is_refused(rnn, number, change, other, says):
    state = rnn.to_numpy(state_after(rnn, number, momentum=0.9))
    state = rnn.from_numpy(change(state) if callable(change) else state._replace(**change))
    sizes = {"T": T, "B": B} | {name: size for name, size in other.items() if name in ("T", "B")}
    options = {name: value for name, value in other.items() if name not in sizes}
    with pytest.raises(InputError) as refusal:
        train(rnn, random_case(5, *sizes.values(), D, H, O), **{"momentum": 0.9} | options, resume=state)
    assert says in str(refusal.value)
    assert "expected" in str(refusal.value)
    assert "\n" not in str(refusal.value)
