"""A run of training: its updates, and where it stands between two of them."""

from collections.abc import Callable, Iterator
from typing import Any

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Array, Gradients, Parameters, State, Update
from numpy_rnn.common.shapes import check_finite
from numpy_rnn.common.windows import Window


class Training(Iterator[Update]):
    """The updates of a run, one after the other; `train` returns one.

    `state` tells where it stands: from there, `train(..., resume=state)` goes on as if there had been no break.
    """

    def __init__(
        self,
        updates: Callable[["Training"], Iterator[Update]],
        states_of: Callable[[Any], Array],
        resumed: State | None = None,
    ):
        self.latest: Update | None = None
        self.resumed = resumed
        self.carried: Any = None  # what holds the states of the latest window until the next update
        self._states_of = states_of  # a copy of them, (steps+1, *E, B, H)
        self._updates = updates(self)

    def __iter__(self) -> Iterator[Update]:
        return self._updates

    def __next__(self) -> Update:
        return next(self._updates)

    def state(self) -> State:
        """Where the run stands after the update that it handed out last, or where it was resumed.

        Raises InputError before the first update of a run that was not resumed.
        """
        if self.latest is None and self.resumed is not None:
            return self.resumed
        if self.latest is None:
            raise InputError("the run has made no update yet: expected one before its state is taken")
        epoch, number, window, _, _, parameters, velocity = self.latest[:7]
        return State(epoch, number, window, self._states_of(self.carried), parameters, velocity)


def check_resume(state: State, x: Array, k1: int, k2: int) -> None:
    """Raise InputError unless the state is one of TBPTT(k1, k2) over x."""
    stop = min(state.number * k1, len(x))
    expected = Window(max(0, stop - k2), (state.number - 1) * k1, stop)
    if state.epoch < 1 or state.number < 1 or tuple(state.window) != expected:
        raise InputError(
            f"the state to resume from stands after update {state.number}, window {tuple(state.window)}: expected"
            f" {tuple(expected)} for k1 = {k1}, k2 = {k2} and {len(x)} steps; resume with the arguments of that run"
        )
    *E, H, _ = state.parameters.W_hh.shape
    shape = (expected.steps + 1, *E, x.shape[-2], H)
    if tuple(state.h.shape) != shape:
        raise InputError(f"the state to resume from has h of shape {tuple(state.h.shape)}: expected {shape}")
    check_state(state)


def check_state(state: State) -> None:
    """Raise InputError unless its states and its velocity fit its parameters and are finite."""
    params, h = state.parameters, state.h
    *E, H, _ = params.W_hh.shape
    B = h.shape[-2] if h.ndim > 1 else 1
    _check_array("h", h, (state.window.steps + 1, *E, B, H), params.W_hh.dtype)
    check_velocity(params, state.velocity)


def check_velocity(params: Parameters, velocity: Gradients | None) -> None:
    """Raise InputError unless the velocity, if there is one, fits the parameters and is finite."""
    for name, v, theta in zip(Parameters._fields, velocity or (), params):
        if theta is None and v is not None:
            raise InputError(f"the state has a velocity of {name}: expected none, as the parameters have no {name}")
        if v is not None:
            _check_array(f"the velocity of {name}", v, tuple(theta.shape), theta.dtype)
        elif theta is not None and name != "h_0":  # which has none before its first gradient
            raise InputError(f"the state has no velocity of {name}: expected one, as it has others")


def _check_array(name, array, shape, dtype):
    if tuple(array.shape) != shape or array.dtype != dtype:
        raise InputError(f"{name} is {array.dtype} of shape {tuple(array.shape)}: expected {dtype} of shape {shape}")
    check_finite(name, array)
