"""A learned initial state: a parameter that enters, and has a gradient, where a series begins, and nowhere else.

Its gradient is held to other witnesses in test_bptt.py, whole runs with it in test_train.py and test_momentum.py.
"""

import numpy as np
import pytest
from cases import bits, fewer, random_case, runs
from hypothesis import given

pytestmark = pytest.mark.with_reference

T, B, D, H, O = 6, 2, 3, 5, 1
TRUNCATIONS = pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 3), (3, 3), (2, 6), (6, 6), (7, 9)])
EVERYTHING = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "max_norm": 0.5}


def example(**options):
    return random_case(3, T, B, D, H, O, learned=True, **options)


def train(rnn, case, **options):
    return rnn.train(*case.for_train(rnn), **{"k1": 2, "k2": 3, "learning_rate": 0.05, "epochs": 2} | options)


# -- what it does ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("E", [(), (2,)], ids=["one network", "two"])
@TRUNCATIONS
def test_it_moves_in_the_windows_that_it_enters_and_stays_in_all_others(rnn, k1, k2, E, options):
    """To the bit, though momentum and weight decay would move a parameter whose gradient is zero."""
    case = example(E=E)
    before, moving = case.params.h_0, None
    for update in map(rnn.to_numpy, train(rnn, case, k1=k1, k2=k2, **options)):
        velocity = update.velocity and update.velocity.h_0
        if update.window.start == 0:
            assert update.gradients.h_0.shape == update.parameters.h_0.shape == (*E, B, H)
            assert (update.parameters.h_0 != before).all()
            assert (velocity is None) == (not options)
        else:
            assert update.gradients.h_0 is None
            assert bits((update.parameters.h_0, velocity)) == bits((before, moving))
        before, moving = update.parameters.h_0, velocity


@TRUNCATIONS
def test_what_enters_a_series_is_the_state_as_learned_by_now(rnn, k1, k2):
    """Not the one that the run, or the epoch, began with."""
    before = example().params.h_0
    entered = []
    for update in map(rnn.to_numpy, train(rnn, example(), k1=k1, k2=k2, record=True)):
        if update.window.start == 0:
            assert bits(update.activations.h[0]) == bits(before)
            entered.append(bits(before))
        before = update.parameters.h_0
    assert len(set(entered)) == len(entered) >= 2


@fewer(4)
@given(run=runs())
def test_one_that_stands_still_is_a_given_one(rnn, run):
    """At a rate of zero, with any options: the updates of the run that is given that state, but for its gradient."""
    case, options = run
    state = case.initial
    learned = case._replace(params=case.params._replace(h_0=state), h_0=None)
    plain = case._replace(params=case.params._replace(h_0=None), h_0=state)
    options = options | {"learning_rate": 0.0}
    updates = [list(rnn.train(*c.for_train(rnn), **options, **c.options, record=True)) for c in (learned, plain)]
    for one, other in zip(*updates, strict=True):
        assert bits((one.loss, one.activations, one.adjoints)) == bits((other.loss, other.activations, other.adjoints))
        assert bits(one.gradients._replace(h_0=None)) == bits(other.gradients)
        assert bits(one.parameters._replace(h_0=None)) == bits(other.parameters)


def test_it_learns_what_no_weights_can(rnn):
    """Two sequences with the same inputs, none, and different targets: only their states can tell them apart."""
    case = example(bias=False)
    target = np.ones((T, 2, 1)) * [[0.3], [-0.4]]
    case = case._replace(x=np.zeros_like(case.x), target=target)
    given_state = case._replace(params=case.params._replace(h_0=None), h_0=np.zeros((2, H)))
    options = {"k1": T, "k2": T, "learning_rate": 0.05, "epochs": 300}
    learned, stuck = ([float(u.loss) for u in train(rnn, c, **options)] for c in (case, given_state))
    assert learned[-1] < learned[0] / 100
    assert stuck[-1] == stuck[0]
