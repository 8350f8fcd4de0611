"""An exception at any place of an update leaves the run as it was after the latest completed one."""

import copy
import pickle
import sys
from itertools import islice

import numpy as np
import pytest
from cases import random_case
from comparing import bits

from numpy_rnn import InputError

T, B, D, H, O = 4, 2, 2, 3, 1
RUNS = {
    "one window": {"k1": T, "k2": T, "reduction": "mean"},
    "learned": {"k1": 1, "k2": 2, "learned": True, "momentum": 0.9, "record": True},
    "every third": {"k1": 1, "k2": 3, "yield_every": 3},
}
RUNS_OF_ENGINE = RUNS | {  # and on its other paths
    "one step": {"k1": 1, "k2": 1},
    "ensemble": {"k1": 2, "k2": 3, "E": (3,)},
    "momentum": {"k1": 1, "k2": 3, "momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5},
    "once an epoch": {"k1": 2, "k2": 2, "yield_every": "epoch", "record": True},
}
pytestmark = pytest.mark.with_reference
FIRST, TRIED, MORE = 3, 2, 2  # updates before, under and after the interruption; the second one tried begins an epoch

# Lines from one interruption to the next: primes, so that a loop is not interrupted at the same line every time.
STRIDE = {"numpy_rnn": 7, "numpy_rnn.reference": 17, "torch_rnn": 53}


def begin(rnn, E=(), learned=False, resume=None, **options):
    case = random_case(4, T, B, D, H, O, E=E, learned=learned)
    return rnn.train(*case.for_train(rnn), learning_rate=0.05, epochs=9, **options, resume=resume)


class Broken(Exception):
    """What an interruption raises; no code of the packages catches it."""


class Interruption:
    """Raises at the n-th line that either package runs, inside `with`; `happened` says whether there were so many."""

    def __init__(self, n):
        self.left, self.happened = n, False

    def __enter__(self):
        sys.settrace(self.trace)
        return self

    def __exit__(self, kind, *_):
        sys.settrace(None)
        return kind is Broken

    def trace(self, frame, event, _):
        of_package = frame.f_globals.get("__name__", "").startswith(("numpy_rnn.", "torch_rnn."))
        if not of_package or frame.f_code.co_name == "__del__":  # whose exceptions Python ignores
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                self.happened = True
                raise Broken
        return self.trace


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
        n, interruption = 0, None
        while interruption is None or interruption.happened:
            n += STRIDE[rnn.__name__]
            run = begin(rnn, **options)
            made = [bits(update) for update in islice(run, FIRST)]
            with (interruption := Interruption(n)):
                for update in islice(run, TRIED):
                    made.append(bits(update))
            completed = states.index(bits(run.state())) + 1
            assert completed - len(made) in (0, 1), (name, n)
            assert made == whole[: len(made)], (name, n)
            rest = [bits(update) for update in islice(run, MORE)]
            assert rest == whole[completed : completed + MORE], (name, n)
        assert len(made) == FIRST + TRIED
        assert n > 15 * TRIED


def test_an_exception_before_the_first_update_leaves_the_run_as_it_began(rnn):
    run = begin(rnn, k1=1, k2=2)
    with Interruption(20):
        next(run)
    with pytest.raises(InputError, match="the run has no state yet"):
        run.state()
    assert bits(next(run)) == bits(next(begin(rnn, k1=1, k2=2)))


def test_floating_point_errors_are_exceptions_too():
    """numpy.errstate(all="raise"), without any trace: the state is that of the update before."""
    import numpy_rnn as rnn

    params, x, target, h_0 = random_case(0, 4, 1, 1, 2, 1, nonlinearity="relu").of(rnn)
    options = {"k1": 1, "k2": 3, "learning_rate": 1e120, "epochs": 9, "nonlinearity": "relu"}
    run, states = rnn.train(params, x, target, h_0, **options), []
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        states.extend(bits(run.state()) for _ in run)
    assert states
    assert bits(run.state()) == states[-1]


# -- streams ----------------------------------------------------------------------------------------------------------


def stream_of(rnn, case, broken_at=None):
    """The steps of a case; instead of one of them an exception."""
    for number, step in enumerate(zip(*map(rnn.from_numpy, (case.x, case.target)), strict=True), start=1):
        if number == broken_at:
            raise Broken
        yield step


def stream_run(rnn, case, stream, **options):
    params, _, _, h_0 = case.for_train(rnn)
    return rnn.train_stream(params, stream, h_0, k1=2, k2=3, learning_rate=0.05, momentum=0.9, **options)


def assert_ended(run, states, made):
    """The state is that of a completed update, and each further one is refused: the run does not seem to have ended."""
    assert states.index(bits(run.state())) + 1 - made in (0, 1)
    for _ in range(2):
        with pytest.raises(InputError, match="its stream cannot be read again: start a new train_stream") as refusal:
            next(run)
        assert "\n" not in str(refusal.value)


def test_a_stream_that_breaks_off_is_not_one_that_has_ended(rnn):
    """Neither where its own iterator raises nor where an update is interrupted."""
    case = random_case(5, 3 * T, B, D, H, O)
    run = stream_run(rnn, case, stream_of(rnn, case))
    states = [bits(run.state()) for _ in run]
    assert next(run, None) is None
    for broken_at in (3, 6):
        run = stream_run(rnn, case, stream_of(rnn, case, broken_at))
        made = []
        with pytest.raises(Broken):
            made.extend(run)
        assert_ended(run, states, len(made) or 1)
    for n in range(5, 100, 10):
        run = stream_run(rnn, case, stream_of(rnn, case))
        made = list(islice(run, 2))
        with Interruption(n):
            next(run)
        assert_ended(run, states, len(made))


def test_a_stream_may_not_ask_for_an_update_of_its_own_run(rnn):
    case = random_case(5, T, B, D, H, O)

    def steps():
        yield from stream_of(rnn, case._replace(x=case.x[:2], target=case.target[:2]))
        next(run)

    run = stream_run(rnn, case, steps())
    next(run)
    with pytest.raises(InputError, match="already computing an update"):
        next(run)


# -- the end of a run -------------------------------------------------------------------------------------------------


def test_a_closed_run_makes_no_update_and_keeps_its_state(rnn):
    run = begin(rnn, k1=1, k2=2)
    next(run)
    state = bits(run.state())
    run.close()
    run.close()
    assert list(run) == []
    assert bits(run.state()) == state
    assert bits(run.latest.parameters) == state[4]


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_run_is_not_copied_and_its_state_is(rnn, way):
    run = begin(rnn, k1=1, k2=2)
    next(run)
    with pytest.raises(TypeError, match=r"cannot be copied or pickled: take its state\(\)"):
        way(run)
    state = run.state()
    loaded = pickle.loads(pickle.dumps(state)) if way is pickle.dumps else way(state)
    assert bits(loaded) == bits(state)
