"""How often an update is yielded: the same run in fewer updates, with the losses of all."""

import numpy as np
import pytest
from cases import bits, fewer, random_case, runs
from hypothesis import given
from hypothesis import strategies as st

from numpy_rnn import InputError

pytestmark = pytest.mark.with_reference

T, B, D, H, O = 7, 2, 3, 4, 2
EVERY = st.sampled_from([2, 3, 4, 100])
OPTIONS = {"k1": 1, "k2": 3, "learning_rate": 0.02}


def example(**options):
    return random_case(4, T, B, D, H, O, **options)


def steps_of(rnn, case):
    return list(zip(*map(rnn.from_numpy, (case.x, case.target)), strict=True))


def assert_fewer(case, few, updates, is_due):
    """Of all updates those that are due, to the bit, and all losses: each a sum of terms that are not negative, which
    may be added in another order.
    """
    few = list(few)
    due = [update for update in updates if is_due(update)]
    assert [bits((u[:3], u[4:9])) for u in few] == [bits((u[:3], u[4:9])) for u in due]
    assert all(update.losses is None for update in updates)
    ends = np.cumsum([len(update.losses) for update in few])
    assert list(ends) == [number for number, update in enumerate(updates, start=1) if is_due(update)]
    losses = [np.asarray(loss) for update in few for loss in update.losses]
    assert [bits(update.loss) for update in few] == [bits(update.losses[-1]) for update in few]
    for found, update in zip(losses, updates, strict=True):
        expected = np.asarray(update.loss)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        assert (np.abs(found - expected) <= case.target[:, 0].size * B * np.finfo(case.dtype).eps * expected).all()


@fewer(4)
@given(run=runs(), every=EVERY | st.just("epoch"), E=st.sampled_from([(), (), (2,)]), seed=st.integers(0, 2**31))
def test_every_nth_update_of_an_epoch_and_its_last_are_yielded(rnn, run, every, E, seed):
    case, options = run
    if E:
        kind = {"bias": case.params.b_h is not None, "learned": case.h_0 is None, "dtype": str(case.dtype)}
        sizes = *case.x.shape[:2], *case.params.W_xh.shape, case.target.shape[-1]
        case = random_case(seed, *sizes, E=E, **kind, **case.options)
    options |= case.options | {"record": True}
    updates = list(rnn.train(*case.for_train(rnn), **options))
    few = rnn.train(*case.for_train(rnn), **options, yield_every=every)

    def is_due(update):
        return update.window.stop == len(case.x) or (every != "epoch" and update.number % every == 0)

    assert_fewer(case, few, updates, is_due)


@pytest.mark.parametrize("k1", [1, 2, 3])
@given(every=EVERY)
def test_every_nth_update_of_a_stream_and_its_last_are_yielded(rnn, k1, every):
    case, options = example(), OPTIONS | {"k1": k1, "momentum": 0.5}
    params, _, _, h_0 = case.for_train(rnn)
    updates = list(rnn.train_stream(params, steps_of(rnn, case), h_0, **options))
    few = rnn.train_stream(params, steps_of(rnn, case), h_0, **options, yield_every=every)
    assert_fewer(case, few, updates, lambda u: u.number % every == 0 or u.number == len(updates))


@pytest.mark.parametrize("every", [2, 3, "epoch"])
@pytest.mark.parametrize("E", [(), (2,)], ids=str)
def test_a_run_is_resumed_from_each_update_that_is_yielded(rnn, every, E):
    case = example(E=E, learned=True)
    options = OPTIONS | {"epochs": 2, "momentum": 0.9, "max_norm": 0.5, "yield_every": every}
    training, whole, states = rnn.train(*case.for_train(rnn), **options), [], []
    for update in training:
        whole.append(bits(update))
        states.append(training.state())
        assert bits(states[-1].parameters) == bits(update.parameters)
    for number, state in enumerate(states, start=1):
        assert [bits(u) for u in rnn.train(*case.for_train(rnn), **options, resume=state)] == whole[number:]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "all", "epochs"], ids=str)
def test_other_values_are_refused_at_once(rnn, wrong):
    params, x, target, h_0 = example().for_train(rnn)
    for train in (
        lambda: rnn.train(params, x, target, h_0, **OPTIONS, epochs=1, yield_every=wrong),
        lambda: rnn.train_stream(params, [], h_0, **OPTIONS, yield_every=wrong),
    ):
        with pytest.raises(InputError, match=r"yield_every is .*: expected .*whole number") as refusal:
            train()
        assert repr(wrong) in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_a_stream_has_no_epochs(rnn):
    params, _, _, h_0 = example().for_train(rnn)
    with pytest.raises(InputError, match="yield_every is 'epoch': expected a whole number, 1 or more"):
        rnn.train_stream(params, [], h_0, **OPTIONS, yield_every="epoch")
