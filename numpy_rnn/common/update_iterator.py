"""The iterator of the updates of a training run."""

from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic

from numpy_rnn.common.checks import EPOCH, check_yield_every
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import A, State, Update, Window, YieldEvery

Updates = Generator[tuple[Update[A], A]]  # with every update, the initial state of the next window


class Training(Iterator[Update[A]], Generic[A]):
    """An iterator of the updates of a run; `train` and `train_stream` return one.

    `state` returns the state after the latest update: `train(..., resume=state)` continues from there as if the run had
    not been interrupted.

    An exception inside an update (KeyboardInterrupt, or FloatingPointError under numpy.errstate) leaves the run as it
    was after the latest yielded update, from which the next call continues. A stream cannot be read again, so a
    `train_stream` run then raises InputError.
    """

    def __init__(
        self,
        begin: Callable[[State[A]], Updates[A]],
        start: State[A],
        copy: Callable[[Any], Any],
        *,
        repeatable: bool = True,
    ):
        """begin(state): generates the updates from that state on; start: the initial state; copy: of the records of
        the package; repeatable: whether `begin` can be called again.
        """
        self._begin, self._start, self._copy, self._repeatable = begin, start, copy, repeatable
        self._updates = begin(start)
        self._latest: tuple[Update[A], A] | None = (
            None  # assigned in one step, which no exception divides
        )
        self._between = True  # False during an update

    def __next__(self) -> Update[A]:
        if not self._between:
            self._begin_again()
        self._between = False
        latest = next(self._updates, None)
        self._latest = latest or self._latest
        self._between = True
        if latest is None:
            raise StopIteration
        return latest[0]

    def state(self) -> State[A]:
        """The state after the latest yielded update, or the one that the run was resumed from.

        Raises InputError before the first update of a run that was not resumed.
        """
        if self._latest is not None:
            update, h = self._latest
            arrays = h, update.parameters, update.velocity
            return State(update.epoch, update.number, update.window, *map(self._copy, arrays))
        if self._start.number == 0:
            raise InputError(
                "the run has no state yet: expected at least one update before state() is called"
            )
        return self._start

    def _begin_again(self) -> None:
        if getattr(self._updates, "gi_running", False):
            raise InputError(
                "the run is already computing an update, in another thread or in its own stream"
            )
        if not self._repeatable:
            raise InputError(
                "an exception ended this run inside an update, and its stream cannot be read again: start a new"
                " train_stream with the parameters and the velocity of state(), and with its h as h_0"
            )
        self._updates = self._begin(self._start if self._latest is None else self.state())


def first_state(params: Any, velocity: Any = None) -> State[Any]:
    """The state before the first update of a run."""
    return State(1, 0, Window(0, 0, 0), None, params, velocity)


def training(
    begin: Callable[[State[A]], Updates[A]],
    start: State[A],
    T: int | None,
    yield_every: YieldEvery,
    copy: Callable[[Any], Any],
    stack: Callable[[list[A]], A],
) -> Training[A]:
    """The iterator of the updates that `yield_every` selects, with the losses of all updates since the one before.

    T: the steps of the series, None on a stream, whose last update is yielded too; copy, stack: functions of the
    package. Raises InputError on an invalid yield_every.
    """
    every = check_yield_every(yield_every, is_stream=T is None)

    def selected(state: State[A]) -> Updates[A]:
        losses: list[A] = []
        for update, h in begin(state):
            losses.append(update.loss)
            if update.window.stop == T or (every != EPOCH and update.number % every == 0):
                yield update.replace(losses=stack(losses)), h
                losses = []
        if losses:
            yield update.replace(losses=stack(losses)), h

    return Training(begin if every == 1 else selected, start, copy, repeatable=T is not None)
