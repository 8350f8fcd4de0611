"""A run that is interrupted and resumed is the run that was not, bit for bit, wherever the break is."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from cases import bits, fewer, random_case, runs
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import InputError, Parameters, State

pytestmark = pytest.mark.with_reference

T, B, D, H, O = 5, 2, 3, 4, 1
TRUNCATIONS = pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 2), (2, 3), (2, 5), (5, 5), (6, 8)])
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


@fewer(4)
@given(
    run=runs(),
    E=st.sampled_from([(), (), (1,), (2,), (1, 2), (2, 1)]),
    seed=st.integers(0, 2**31),
    record=st.booleans(),
    many=st.sampled_from([1, 64]),
)
def test_a_resumed_run_is_the_run_that_was_not_interrupted(rnn, run, E, seed, record, many):
    """All options, any schedule, ensembles, learned states; after three of its updates, one at least the last. From
    `many` networks on, numpy_rnn lays them out innermost in memory.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpy_rnn.engine.layout.MIN_GROUP", many)
        assert_resumed(rnn, *run, E, seed, record)


def assert_resumed(rnn, case, options, E, seed, record):
    if E:
        sizes = len(case.x), *case.params.W_xh.shape, case.target.shape[-1]
        kind = {"bias": case.params.b_h is not None, "learned": case.h_0 is None, "dtype": str(case.dtype)}
        case = random_case(seed, sizes[0], case.x.shape[1], *sizes[1:], E=E, own=("x",), **kind, **case.options)
    options |= case.options | {"record": record}
    updates, states = states_of(rnn.train(*case.for_train(rnn), **options))
    whole = [bits(u) for u in updates]
    for number in {seed % len(whole), seed // 7 % len(whole), len(whole) - 1}:
        assert resumed(rnn, case, states[number], **options) == whole[number + 1 :]


@pytest.mark.parametrize("learned", [False, True], ids=["given", "learned"])
@TRUNCATIONS
def test_it_may_break_off_after_any_update(rnn, k1, k2, learned):
    """After every one of two epochs, the last of each among them: there the next epoch begins, or nothing is left. The
    state went through NumPy arrays, as it does through a file.
    """
    case = example(learned=learned)
    options = {"k1": k1, "k2": k2, "learning_rate": 0.05, "epochs": 2, **EVERYTHING}
    updates, states = states_of(rnn.train(*case.for_train(rnn), **options))
    whole = [bits(u) for u in updates]
    for number, state in enumerate(states, start=1):
        there_and_back = rnn.from_numpy(rnn.to_numpy(state))
        assert bits(there_and_back) == bits(state)
        assert resumed(rnn, case, there_and_back, **options) == whole[number:]
    assert resumed(rnn, case, states[-1], **options) == []
    longer = options | {"epochs": 3}
    assert resumed(rnn, case, states[-1], **longer) == [bits(u) for u in train(rnn, case, **longer)][len(whole) :] != []


def test_a_resumed_run_may_be_interrupted_again(rnn):
    """After every update of it, all the way: each is then made by a run of its own."""
    case = example(learned=True)
    options = {"k1": 1, "k2": 3, "learning_rate": 0.05, "epochs": 2, **EVERYTHING}
    training = train(rnn, case, **options)
    made, whole = [next(training)], [bits(u) for u in train(rnn, case, **options)]
    while len(made) < len(whole):
        training = train(rnn, case, **options, resume=training.state())
        made.append(next(training))
    assert [bits(u) for u in made] == whole


@TRUNCATIONS
def test_going_on_changes_no_state_that_was_handed_out(rnn, k1, k2):
    """Neither the run that handed it out nor the one that began from it; and what a caller does to the states in it
    reaches no run.
    """
    case, options = example(learned=True), {"k1": k1, "k2": k2, **EVERYTHING}
    whole = [bits(u) for u in train(rnn, case, **options)]
    training = train(rnn, case, **options)
    made, states, kept = [], [], []
    for update in training:
        made.append(bits(update))
        states.append(training.state())
        kept.append(bits(states[-1]))
        training.state().h[...] = 99.0
    assert made == whole
    for state in states:
        list(train(rnn, case, **options, resume=state))
    assert [bits(state) for state in states] == kept


def test_a_state_says_where_the_run_stands(rnn):
    case = example()
    training = train(rnn, case, record=True, momentum=0.9)
    following = {1: 1, 2: 2, 3: T}  # where the next window starts; after the last, the end
    assert isinstance(training, Iterator)
    for update in training:
        state = training.state()
        assert isinstance(state, State)
        assert state[:3] == (update.epoch, update.number, update.window)
        h = update.activations.h[following[update.number] - update.window.start]
        assert bits(state[3:]) == bits((h, update.parameters, update.velocity))
    assert bits(training.state()) == bits(state)  # the end of a run is a place to stand at too
    assert next(training, None) is None


def test_next_and_for_are_the_same_run(rnn):
    training = train(rnn, example())
    first = bits(next(training))
    rest = [bits(u) for u in islice(training, 2)]
    assert [first, *rest, *map(bits, training)] == [bits(u) for u in train(rnn, example())]


def test_no_state_before_the_first_update(rnn):
    with pytest.raises(InputError, match="the run has no state yet: expected at least one update"):
        train(rnn, example()).state()


def test_a_resumed_run_stands_where_it_was_resumed(rnn):
    training = train(rnn, example(), momentum=0.9)
    for _ in training:
        pass
    state = training.state()
    at_the_end = train(rnn, example(), momentum=0.9, resume=state)
    assert bits(at_the_end.state()) == bits(state)
    assert next(at_the_end, None) is None
    assert bits(at_the_end.state()) == bits(state)


# -- states that do not fit -------------------------------------------------------------------------------------------


def state_after(rnn, number, case=None, **options):
    training = train(rnn, case or example(), **options)
    list(islice(training, number))
    return training.state()


@pytest.mark.parametrize(
    ("number", "other", "says"),
    [
        (2, {"k1": 1}, "is that after update 2, window (1, 2, 4): expected (0, 1, 2) for k1 = 1, k2 = 3 and 5 steps"),
        (2, {"k2": 2}, "is that after update 2, window (1, 2, 4): expected (2, 2, 4) for k1 = 2, k2 = 2 and 5 steps"),
        (1, {"k1": 3}, "is that after update 1, window (0, 0, 2): expected (0, 0, 3) for k1 = 3, k2 = 3 and 5 steps"),
        (3, {"k2": 4}, "is that after update 3, window (2, 4, 5): expected (1, 4, 5) for k1 = 2, k2 = 4 and 5 steps"),
    ],
    ids=str,
)
def test_a_state_of_another_schedule_is_refused(rnn, number, other, says):
    with pytest.raises(InputError) as refusal:
        train(rnn, example(), **other, resume=state_after(rnn, number))
    assert str(refusal.value).startswith("the state to resume from ")
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_state_of_a_longer_series_is_refused(rnn):
    state = state_after(rnn, 3)
    shorter = example()._replace(x=example().x[:4], target=example().target[:4])
    with pytest.raises(InputError, match="and 4 steps; resume with the arguments of that run"):
        train(rnn, shorter, resume=state)


def test_a_state_of_another_batch_or_no_place_of_a_run_is_refused(rnn):
    state = state_after(rnn, 2)
    wider = random_case(5, T, B + 1, D, H, O)
    with pytest.raises(InputError, match=r"has h of shape \(2, 4\): expected \(3, 4\)"):
        train(rnn, wider, resume=state)
    for nowhere in ({"epoch": 0}, {"number": 0}, {"number": 3}, {"number": 9}):
        with pytest.raises(InputError, match="the state to resume from is that after"):
            train(rnn, example(), resume=state._replace(**nowhere))


def test_the_parameters_of_a_state_are_checked_as_all_are(rnn):
    state = rnn.to_numpy(state_after(rnn, 2))
    state.parameters.W_hh[0, 0] = np.nan
    with pytest.raises(InputError, match="W_hh contains NaN or infinity"):
        train(rnn, example(), resume=rnn.from_numpy(state))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s._replace(h=s.h.astype("float32")), "h is "),
        (lambda s: s._replace(h=s.h * np.nan), "h contains NaN or infinity: expected finite numbers"),
        (lambda s: moving(s, W_hy=s.velocity.W_hy[:1]), "the velocity of W_hy is "),
        (lambda s: moving(s, W_hy=s.velocity.W_hy.astype("float32")), "the velocity of W_hy is "),
        (lambda s: moving(s, W_hy=s.velocity.W_hy * np.inf), "the velocity of W_hy contains NaN or infinity"),
        (lambda s: moving(s, b_h=None), "the state has no velocity of b_h: expected one, as other parameters have one"),
        (lambda s: moving(s, h_0=s.h[0]), "there is a velocity of h_0: expected none"),
    ],
    ids=range(7),
)
def test_states_and_velocities_that_do_not_fit_the_parameters_are_refused(rnn, change, says):
    state = rnn.from_numpy(change(rnn.to_numpy(state_after(rnn, 2, momentum=0.9))))
    with pytest.raises(InputError) as refusal:
        train(rnn, example(), momentum=0.9, resume=state)
    assert says in str(refusal.value)
    assert "expected" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def moving(state, **velocity):
    return state._replace(velocity=state.velocity._replace(**velocity))
