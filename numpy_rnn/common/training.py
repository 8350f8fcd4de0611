"""A run of training: its updates, and its state between two of them."""

from collections.abc import Callable, Generator, Iterator
from inspect import GEN_RUNNING, getgeneratorstate
from typing import Any, NoReturn

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Array, Gradients, Parameters, State, Update
from numpy_rnn.common.scalars import check_whole
from numpy_rnn.common.shapes import check_finite, check_like
from numpy_rnn.common.windows import Window


class Training(Iterator[Update]):
    """The updates of a run, one after the other; `train` and `train_stream` return one.

    `state` returns the state after the latest update: `train(..., resume=state)` continues from there as if the run had
    not been interrupted.

    An exception inside an update (KeyboardInterrupt, or FloatingPointError under numpy.errstate) leaves the run as it
    was after the latest completed update. The next update of a `train` run repeats the interrupted one. A stream cannot
    be read again, so a `train_stream` run then raises InputError.

    A run cannot be copied or pickled; its state can.
    """

    def __init__(
        self,
        begin: Callable[[State], Generator[tuple[Update, Any]]],
        state_of: Callable[[Update, Any], State],
        start: State,
        *,
        repeatable: bool = True,
    ):
        """begin: from a state, generates (update, carried); state_of(update, carried): the state after that update, in
        arrays of its own; start: the state to begin with; repeatable: whether `begin` can be called again.
        """
        self._begin, self._state_of, self._start, self._repeatable = begin, state_of, start, repeatable
        self._updates = begin(start)
        self._latest: tuple[Update, Any] | None = None  # one object, so that no exception comes between its parts
        self._between = True  # False from the beginning of an update until it is completed

    @property
    def latest(self) -> Update | None:
        """The latest completed update."""
        return None if self._latest is None else self._latest[0]

    def __iter__(self) -> Iterator[Update]:
        return self

    def __next__(self) -> Update:
        if not self._between:
            self._begin_again()
        self._between = False
        try:
            latest = next(self._updates)
        except StopIteration:
            self._between = True
            raise
        self._latest = latest
        self._between = True
        return latest[0]

    def state(self) -> State:
        """The state after the latest completed update, or the one that the run was resumed from.

        Raises InputError before the first update of a run that was not resumed.
        """
        if self._latest is not None:
            return self._state_of(*self._latest)
        if self._start.number == 0:
            raise InputError("the run has made no update yet: expected one before its state is taken")
        return self._start

    def close(self) -> None:
        """End the run: no update follows. `state` still returns the state after the latest update."""
        self._updates.close()
        self._between = True

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(
            "a run of training cannot be copied or pickled: take its state(), and pass it to train as resume"
        )

    def _begin_again(self) -> None:
        if getgeneratorstate(self._updates) == GEN_RUNNING:
            raise InputError("the run is already computing an update, in another thread or in its own stream")
        if not self._repeatable:
            raise InputError(
                "an exception ended this run inside an update, and its stream cannot be read again: start a new"
                " train_stream with the parameters and the velocity of state(), and with its h as h_0"
            )
        self._updates = self._begin(self._start if self._latest is None else self._state_of(*self._latest))


def first_state(params: Parameters, velocity: Gradients | None = None) -> State:
    """The state before the first update of a run."""
    return State(1, 0, Window(0, 0, 0), None, params, velocity)


def check_resume(state: State, x: Array, k1: int, k2: int) -> None:
    """Raise InputError unless the state is one of TBPTT(k1, k2) over x."""
    check_whole("the epoch of the state to resume from", state.epoch, 0)
    check_whole("the number of the state to resume from", state.number, 0)
    if not isinstance(state.window, tuple):
        raise InputError(
            f"the window of the state to resume from is a {type(state.window).__name__}: expected a Window"
        )
    stop = min(state.number * k1, len(x))
    expected = Window(max(0, stop - k2), (state.number - 1) * k1, stop)
    if state.epoch < 1 or state.number < 1 or tuple(state.window) != expected:
        raise InputError(
            f"the state to resume from stands after update {state.number}, window {tuple(state.window)}: expected"
            f" {tuple(expected)} for k1 = {k1}, k2 = {k2} and {len(x)} steps; resume with the arguments of that run"
        )
    *E, H, _ = state.parameters.W_hh.shape
    shape = (*E, x.shape[-2], H)
    if tuple(state.h.shape) != shape:
        raise InputError(f"the state to resume from has h of shape {tuple(state.h.shape)}: expected {shape}")
    check_state(state)


def check_state(state: State) -> None:
    """Raise InputError unless its h and its velocity fit its parameters and are finite."""
    params, h = state.parameters, state.h
    *E, H, _ = params.W_hh.shape
    B = h.shape[-2] if h.ndim > 1 else 1
    _check_array("h", h, (*E, B, H), params.W_hh.dtype)
    check_velocity(params, state.velocity)


def check_velocity(params: Parameters, velocity: Gradients | None) -> None:
    """Raise InputError unless the velocity, if there is one, fits the parameters, is whole, and is finite."""
    if velocity is None:
        return
    check_like(params, "velocity", velocity)
    for name, v, theta in zip(Parameters._fields, velocity, params, strict=True):
        if v is not None:
            check_finite(f"the velocity of {name}", v)
        elif theta is not None and name != "h_0":  # which has none before its first gradient
            raise InputError(f"the state has no velocity of {name}: expected one, as it has others")


def _check_array(name, array, shape, dtype):
    if tuple(array.shape) != shape or array.dtype != dtype:
        raise InputError(f"{name} is {array.dtype} of shape {tuple(array.shape)}: expected {dtype} of shape {shape}")
    check_finite(name, array)
