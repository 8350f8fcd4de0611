"""The iterator of the updates of a training run, and the checks of the arguments of `train` and `train_stream`."""

from collections.abc import Callable, Generator, Iterable, Iterator
from inspect import GEN_RUNNING, getgeneratorstate
from typing import Any, Generic, NoReturn

from numpy_rnn.common.arrays import Arrays, check_window_loss
from numpy_rnn.common.errors import InputError, check_flag, check_whole
from numpy_rnn.common.records import A, Array, Gradients, Parameters, SgdOptions, State, Update, YieldEvery
from numpy_rnn.common.shapes import check_epochs, check_finite, check_like, check_run, check_stream, is_integer
from numpy_rnn.common.windows import Window, windows


class Training(Iterator[Update[A]], Generic[A]):
    """An iterator of the updates of a run; `train` and `train_stream` return one.

    `state` returns the state after the latest update: `train(..., resume=state)` continues from there as if the run had
    not been interrupted.

    An exception inside an update (KeyboardInterrupt, or FloatingPointError under numpy.errstate) leaves the run as it
    was after the latest completed update. The next update of a `train` run repeats the interrupted one. A stream cannot
    be read again, so a `train_stream` run then raises InputError.

    A run cannot be copied or pickled; its state can.
    """

    def __init__(
        self,
        begin: Callable[[State[A]], Generator[tuple[Update[A], Any]]],
        state_of: Callable[[Update[A], Any], State[A]],
        start: State[A],
        *,
        repeatable: bool = True,
    ):
        """begin(state): generates (update, carried) from that state on; state_of(update, carried): the state after the
        update, as copies; start: the initial state; repeatable: whether `begin` can be called again.
        """
        self._begin, self._state_of, self._start, self._repeatable = begin, state_of, start, repeatable
        self._updates = begin(start)
        self._latest: tuple[Update[A], Any] | None = None  # assigned at once, whatever an exception interrupts
        self._between = True  # False during an update

    @property
    def latest(self) -> Update[A] | None:
        """The latest completed update."""
        return None if self._latest is None else self._latest[0]

    def __iter__(self) -> "Training[A]":
        return self

    def __next__(self) -> Update[A]:
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

    def state(self) -> State[A]:
        """The state after the latest completed update, or the one that the run was resumed from.

        Raises InputError before the first update of a run that was not resumed.
        """
        if self._latest is not None:
            return self._state_of(*self._latest)
        if self._start.number == 0:
            raise InputError("the run has no state yet: expected at least one update before state() is called")
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


def first_state(params: Parameters[A], velocity: Gradients[A] | None = None) -> State[A]:
    """The state before the first update of a run."""
    no_h: Any = None
    return State(1, 0, Window(0, 0, 0), no_h, params, velocity)


def check_resume(state: State[Array], x: Array, k1: int, k2: int) -> None:
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
            f"the state to resume from is that after update {state.number}, window {tuple(state.window)}: expected"
            f" {tuple(expected)} for k1 = {k1}, k2 = {k2} and {len(x)} steps; resume with the arguments of that run"
        )
    *E, H, _ = state.parameters.W_hh.shape
    shape = (*E, x.shape[-1 if is_integer(x) else -2], H)
    if tuple(state.h.shape) != shape:
        raise InputError(f"the state to resume from has h of shape {tuple(state.h.shape)}: expected {shape}")
    check_state(state)


def check_state(state: State[Array]) -> None:
    """Raise InputError unless its h and its velocity fit its parameters and are finite."""
    params, h = state.parameters, state.h
    *E, H, _ = params.W_hh.shape
    B = h.shape[-2] if h.ndim > 1 else 1
    _check_array("h", h, (*E, B, H), params.W_hh.dtype)
    check_velocity(params, state.velocity)


def check_velocity(params: Parameters[Array], velocity: Gradients[Array] | None) -> None:
    """Raise InputError unless the velocity is None, or fits the parameters, is complete and is finite."""
    if velocity is None:
        return
    check_like(params, "velocity", velocity)
    for name, v, theta in zip(Parameters._fields, velocity, params, strict=True):
        if v is not None:
            check_finite(f"the velocity of {name}", v)
        elif theta is not None and name != "h_0":  # which has a velocity from its first gradient on
            raise InputError(f"the state has no velocity of {name}: expected one, as other parameters have one")


def check_squares(velocity: Gradients[Array] | None, options: SgdOptions) -> None:
    """Raise InputError if Adagrad is to continue from a velocity that is not a sum of squares."""
    for name, v in zip(Parameters._fields, velocity or ()):
        if options.adagrad and v is not None and bool((v < 0).any()):
            raise InputError(
                f"the velocity of {name} has numbers below 0: expected the sums of squares of Adagrad; do not continue"
                " a run with momentum by Adagrad"
            )


def _check_array(name: str, array: Array, shape: tuple[int, ...], dtype: object) -> None:
    if tuple(array.shape) != shape or array.dtype != dtype:
        raise InputError(f"{name} is {array.dtype} of shape {tuple(array.shape)}: expected {dtype} of shape {shape}")
    check_finite(name, array)


EPOCH = "epoch"


def check_train(
    arrays: Arrays,
    params: Parameters[Array],
    x: Array,
    target: Array,
    h_0: Array | None,
    learning_rate: Any,
    schedule: tuple[int, int, int],
    record: bool,
    yield_every: YieldEvery,
    resume: State[Array] | None,
    of_loss: tuple[Array | None, str],
) -> Parameters[Array]:
    """The parameters that a run starts from: params, or those of `resume`.

    schedule: k1, k2 and epochs; of_loss: the weights, or None, and the name of the loss.

    Raises InputError on arguments that `train` refuses.
    """
    k1, k2, epochs = schedule
    if resume is not None:
        arrays.state(resume)
        params = resume.parameters
    check_flag("record", record)
    check_yield_every(yield_every)
    arrays.run(params, h_0, x=x, target=target)
    check_run(params, x, target, h_0, learning_rate)
    check_window_loss(arrays, params, target, of_loss[0], x, of_loss[1])
    check_finite("target", target)
    check_epochs(epochs)
    windows(len(x), k1, k2)
    if resume is not None:
        check_resume(resume, x, k1, k2)
    return params


def check_train_stream(
    arrays: Arrays,
    params: Parameters[Array],
    h_0: Array | None,
    learning_rate: Any,
    record: bool,
    yield_every: YieldEvery,
    velocity: Gradients[Array] | None,
) -> int:
    """The batch size B. Raises InputError on arguments that `train_stream` refuses."""
    check_flag("record", record)
    if isinstance(yield_every, str) and yield_every == EPOCH:
        raise InputError("yield_every is 'epoch': expected a whole number, 1 or more, as a stream may be infinite")
    check_yield_every(yield_every)
    arrays.run(params, h_0)
    B: int = check_stream(params, h_0, learning_rate).shape[-2]
    if velocity is not None:
        arrays.like_parameters("velocity", velocity)
    check_velocity(params, velocity)
    return B


def check_yield_every(yield_every: YieldEvery) -> None:
    """Raise InputError unless it is a number of updates or 'epoch'."""
    if not (isinstance(yield_every, str) and yield_every == EPOCH):
        check_whole("yield_every", yield_every, 1, "'epoch', or a whole number of updates")


def yielded(
    updates: Iterable[tuple[Update[A], Any]],
    yield_every: YieldEvery,
    steps: int | None,
    stack: Callable[[list[A]], A],
) -> Generator[tuple[Update[A], Any]]:
    """The (update, carried) pairs that `yield_every` selects, with the losses of all updates since the one before.

    steps: of the series, None for a stream.
    """
    if yield_every == 1:
        yield from updates
        return
    losses: list[A] = []
    for update, carried in updates:
        losses.append(update.loss)
        latest = update, carried
        if update.window.stop == steps or (not isinstance(yield_every, str) and update.number % yield_every == 0):
            yield update._replace(losses=stack(losses)), carried
            losses = []
    if losses:
        update, carried = latest
        yield update._replace(losses=stack(losses)), carried
