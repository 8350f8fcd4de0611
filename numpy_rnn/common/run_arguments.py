"""The arguments of `train` and `train_stream`, checked before the first update, and how often an update is yielded."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from numpy_rnn.common.arrays import Arrays
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Array, Gradients, Parameters, State, Update
from numpy_rnn.common.scalars import check_flag, check_whole
from numpy_rnn.common.shapes import check_epochs, check_run, check_stream
from numpy_rnn.common.training import check_resume, check_velocity
from numpy_rnn.common.windows import windows

EPOCH = "epoch"


def check_train(
    arrays: Arrays,
    params: Parameters,
    x: Array,
    target: Array,
    h_0: Array | None,
    learning_rate: Any,
    schedule: tuple[int, int, int],
    record: bool,
    yield_every: Any,
    resume: State | None,
) -> Parameters:
    """The parameters that a run starts from, those of `resume` if there is one; schedule: k1, k2 and epochs.

    Raises InputError on anything that a run cannot start from.
    """
    k1, k2, epochs = schedule
    if resume is not None:
        arrays.state(resume)
        params = resume.parameters
    check_flag("record", record)
    check_yield_every(yield_every)
    arrays.run(params, h_0, x=x, target=target)
    check_run(params, x, target, h_0, learning_rate)
    check_epochs(epochs)
    windows(len(x), k1, k2)
    if resume is not None:
        check_resume(resume, x, k1, k2)
    return params


def check_train_stream(
    arrays: Arrays,
    params: Parameters,
    h_0: Array | None,
    learning_rate: Any,
    record: bool,
    yield_every: Any,
    velocity: Gradients | None,
) -> int:
    """The batch size B. Raises InputError on anything that a run on a stream cannot start from."""
    check_flag("record", record)
    if isinstance(yield_every, str) and yield_every == EPOCH:
        raise InputError("yield_every is 'epoch': expected a whole number, 1 or more, as a stream may have no end")
    check_yield_every(yield_every)
    arrays.run(params, h_0)
    B = check_stream(params, h_0, learning_rate).shape[-2]
    if velocity is not None:
        arrays.like_parameters("velocity", velocity)
    check_velocity(params, velocity)
    return B


def check_yield_every(yield_every: Any) -> None:
    """Raise InputError unless it is a number of updates, or 'epoch'."""
    if not (isinstance(yield_every, str) and yield_every == EPOCH):
        check_whole("yield_every", yield_every, 1, "'epoch', or a whole number of updates")


def yielded(
    updates: Iterable[tuple[Update, Any]], yield_every: Any, steps: int | None, stack: Callable[[list[Array]], Array]
) -> Iterator[tuple[Update, Any]]:
    """Of (update, carried) pairs, those to be yielded, with the losses of all updates since the one before.

    They are every n-th of an epoch and its last one, or its last one alone; steps: of the series, None for a stream.
    """
    if yield_every == 1:
        yield from updates
        return
    losses: list[Array] = []
    for update, carried in updates:
        losses.append(update.loss)
        latest = update, carried
        if update.window.stop == steps or (yield_every != EPOCH and update.number % yield_every == 0):
            yield update._replace(losses=stack(losses)), carried
            losses = []
    if losses:
        update, carried = latest
        yield update._replace(losses=stack(losses)), carried
