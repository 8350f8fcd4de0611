"""Training on a series and on a stream, by the engine.

`train` and `train_stream` have the signatures, the docstrings and the results of those of `tbptt.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import chain, islice
from operator import attrgetter
from typing import Any, Unpack

import numpy as np

from numpy_rnn import tbptt
from numpy_rnn.common.arrays import NUMPY_ARRAYS, weights_with_axes
from numpy_rnn.common.records import (
    LossName,
    Nonlinearity,
    Reduction,
    SgdKeywords,
    SgdOptions,
    State,
    Update,
    YieldEvery,
)
from numpy_rnn.common.shapes import is_integer, series_axes
from numpy_rnn.common.training import Training, check_squares, check_train, check_train_stream, first_state
from numpy_rnn.common.windows import next_start, stream_windows, windows
from numpy_rnn.elman import NONLINEARITIES, one_hot
from numpy_rnn.engine.columns import ColumnTape
from numpy_rnn.engine.ensemble import Ensemble, Piece, Segment, Series, Settings, Trained, segments
from numpy_rnn.engine.layout import Block, Layout, available_threads, blocks
from numpy_rnn.engine.objective import Objective
from numpy_rnn.engine.update import Networks
from numpy_rnn.engine.window import MAX_VIEWED, Tape
from numpy_rnn.loss import DIVISORS, LOSSES
from numpy_rnn.parameters import (
    Array,
    Gradients,
    InitialState,
    Inputs,
    LearningRate,
    Parameters,
    Targets,
    Weights,
    copy_of,
    own,
)
from numpy_rnn.sgd import as_learning_rate

Rows = tuple[Array, Array, Array | None]  # inputs, targets, weights

TAPE_BYTES = 2**19  # of the rows of a tape, unless one window needs more
MAX_TAPES = 64  # as large as that, or with as many views as `MAX_VIEWED` allows, in one run
MAX_WINDOWS = 256  # of a piece
MAX_KEPT = 2048  # windows of an epoch, whose segments are made once and not in every epoch


def train(
    params: Parameters[Array],
    x: Inputs,
    target: Targets,
    h_0: InitialState | None,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    epochs: int,
    nonlinearity: Nonlinearity = "tanh",
    reduction: Reduction = "sum",
    loss: LossName = "squared_error",
    weights: Weights | None = None,
    record: bool = False,
    yield_every: YieldEvery = 1,
    resume: State[Array] | None = None,
    **sgd: Unpack[SgdKeywords],
) -> Training[Array]:
    options = SgdOptions(**sgd).check()
    check_names(nonlinearity, reduction, loss)
    schedule, of_loss = (k1, k2, epochs), (weights, loss)
    params = check_train(
        NUMPY_ARRAYS, params, x, target, h_0, learning_rate, schedule, record, yield_every, resume, of_loss
    )
    check_squares(None if resume is None else resume.velocity, options)
    ndim, of_window = params.W_hh.ndim + 1, rows_of_window(params)
    x, target, weights = series_axes(x, ndim), series_axes(target, ndim), weights_with_axes(weights, ndim)
    x, target = np.asarray(x), np.asarray(target)
    T, every = len(x), None if isinstance(yield_every, str) else yield_every
    following, rate = partial(next_start, steps=T, k1=k1, k2=k2), as_learning_rate(params, learning_rate)
    objective = objective_of(reduction, loss, target, weights)
    settings = Settings(copy_of(h_0), k1, k2, T, rate, options, nonlinearity, objective, record, every, following)

    def series(begin: int, end: int) -> Rows:
        return of_window(x[begin:end], target[begin:end], None if weights is None else weights[begin:end])

    def updates(state: State[Array]) -> Generator[tuple[Update[Array], Array]]:
        first_epoch, done = state.epoch, state.number
        trained = ensemble(state, following(state.window) if done else 0, settings, series)
        steps, viewed = min(one.tape.steps for one in trained.trained), trained.trained[0].tape.most_viewed
        # Views of the first windows, which are shorter, of the first piece, and of all others: a third of them each.
        longest = min(k2, T)
        most = max(1, min(MAX_WINDOWS, viewed // 3 // longest))
        are_kept = -(-T // k1) <= MAX_KEPT and longest * (longest // k1 // 2 + 1) <= viewed // 3
        whole = list(segments(windows(T, k1, k2), 0, every, steps, most, kept=True)) if are_kept else None
        for epoch in range(first_epoch, epochs + 1):
            if done or whole is None:
                rest = segments(islice(windows(T, k1, k2), done, None), done, every, steps, most)
                yield from trained.updates(epoch, rest)
            else:
                yield from trained.updates(epoch, whole)
            done = 0

    return Training(updates, state_of, first_state(own(params)) if resume is None else copy_of(resume))


def train_stream(
    params: Parameters[Array],
    steps: Iterable[tuple[Array, ...]],
    h_0: InitialState | None,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    nonlinearity: Nonlinearity = "tanh",
    reduction: Reduction = "sum",
    loss: LossName = "squared_error",
    record: bool = False,
    yield_every: int = 1,
    velocity: Gradients[Array] | None = None,
    **sgd: Unpack[SgdKeywords],
) -> Training[Array]:
    options = SgdOptions(**sgd).check()
    check_names(nonlinearity, reduction, loss)
    B = check_train_stream(NUMPY_ARRAYS, params, h_0, learning_rate, record, yield_every, velocity)
    check_squares(velocity, options)
    of_stream = stream_windows(NUMPY_ARRAYS, params, B, steps, k1, k2, loss, np.stack, copy_of)
    rate, following = as_learning_rate(params, learning_rate), attrgetter("stop")
    initial, of_window = copy_of(h_0), rows_of_window(params)
    latest: list[Array | None] = []  # x, the target and the weights of the window that is computed

    def segments_of_stream(first: Any) -> Iterator[Segment]:
        for number, (window, x, target, weights) in enumerate(chain([first], of_stream), start=1):
            latest[:] = of_window(x, target, weights_with_axes(weights, 3))
            yield Segment(number, [(Piece(window.start, window.stop), [window])], due=number % yield_every == 0)

    def updates(state: State[Array]) -> Generator[tuple[Update[Array], Array]]:
        first = next(of_stream, None)
        if first is None:
            return
        objective = objective_of(reduction, loss, *first[2:])
        settings = Settings(initial, k1, k2, k2, rate, options, nonlinearity, objective, record, yield_every, following)
        trained = ensemble(state, 0, settings, lambda begin, end: latest)
        yield from trained.updates(1, segments_of_stream(first))

    return Training(updates, state_of, first_state(own(params), copy_of(velocity)), repeatable=False)


def check_names(nonlinearity: str, reduction: str, loss: str) -> None:
    """Raise InputError on a name that is unknown."""
    for choices, name in ((NONLINEARITIES, nonlinearity), (DIVISORS, reduction), (LOSSES, loss)):
        choices.validate(name)


def objective_of(reduction: str, loss: str, target: Targets, weights: Weights | None) -> Objective:
    """The Objective of a run whose target holds classes or rows."""
    return Objective(reduction == "mean", loss == "cross_entropy", is_integer(target), weights is not None)


def rows_of_window(params: Parameters[Array]) -> Callable[[Inputs, Targets, Weights | None], Rows]:
    """A function of inputs, targets and weights that makes rows of classes."""
    D, O, dtype = params.W_xh.shape[-2], params.W_hy.shape[-1], params.W_hh.dtype

    def rows(x: Inputs, target: Targets, weights: Weights | None) -> Rows:
        x, target = (one_hot(v, n, dtype) if is_integer(v) else v for v, n in ((x, D), (target, O)))  # (F4)
        return x, target, weights

    return rows


def state_of(update: Update[Array], h: Array) -> State[Array]:
    """The State after an update; h: the initial state of the next window."""
    of_update = copy_of(update.parameters), copy_of(update.velocity)
    return State(update.epoch, update.number, update.window, copy_of(h), *of_update)


def ensemble(state: State[Array], begin: int, settings: Settings, series: Series) -> Ensemble:
    """The networks of a run, in the state that it starts from.

    begin: where the next window starts; series: (begin, end) → x, target and weights of these steps, with the axes of
    the ensemble, of its sizes or 1, or without.
    """
    h_0: Any = settings.h_0
    _, k1, k2, steps, rate, options, nonlinearity, objective, *_ = settings
    params: Any = state.parameters
    E = params.W_hh.shape[:-2]
    initial: Any = params.h_0 if h_0 is None else h_0
    B = initial.shape[-2]
    threads = available_threads() if E else 1
    flat = _flat(params, E)
    velocity = None if state.velocity is None else _flat(state.velocity, E)
    carried = state.h if begin else initial
    trained = []
    parts = blocks(params, B, min(k2, steps), threads, objective.plain)
    for block in parts:
        layout = block.layout
        index = np.s_[block.first : block.stop] if layout.networks else block.first
        kind: Any = ColumnTape if layout.columns else Tape
        steps_of_tape = tape_steps(layout, k2, steps, len(parts))
        tape = kind(layout, steps_of_tape, min(k1, steps), min(k2, steps), objective)
        tape.most_viewed = min(MAX_VIEWED, MAX_VIEWED * MAX_TAPES // len(parts))
        networks = Networks(layout, tape, _rate_of(rate, E, block), options, nonlinearity)
        layout.fill(networks.theta, _of_networks(flat, index, E))
        if velocity is not None and networks.velocity is not None:
            layout.fill(networks.velocity, _of_networks(velocity, index, E))
            networks.moving = [True, velocity.h_0 is not None]
        given = None if h_0 is None else _of_block(h_0[None], E, block)[0]
        one = Trained(block, networks, partial(_series_of, series, E, block), given)
        tape.base = begin
        tape.state(begin)[...] = _of_block(carried[None], E, block)[0]
        trained.append(one)
    return Ensemble(trained, E, settings, threads)


def _flat(params: Any, E: tuple[int, ...]) -> Any:
    """Parameters with one axis of networks for all axes of the ensemble."""
    return params if not E else Parameters(*(t if t is None else t.reshape(-1, *t.shape[len(E) :]) for t in params))


def _of_networks(params: Any, index: Any, E: tuple[int, ...]) -> Any:
    """Of parameters with one axis of networks: those of some networks, or of one."""
    return params if not E else Parameters(*(theta if theta is None else theta[index] for theta in params))


def _rate_of(rate: Array, E: tuple[int, ...], block: Block) -> Array:
    """η of a block: a number, or (N, 1), one for every network."""
    if not rate.ndim:
        return rate
    of_all = np.broadcast_to(rate, E).reshape(-1)
    return of_all[block.first] if block.layout.networks is None else of_all[block.first : block.stop, None].copy()


def _of_block(series: Array, E: tuple[int, ...], block: Block) -> Array:
    """Of (n, B, ·) or (n, *E, B, ·), with axes of 1 that are shared: what a block needs, (n, B, ·) or (n, N, B, ·)."""
    if series.ndim == 3:
        return series
    if all(size == 1 for size in series.shape[1:-2]):
        return series.reshape(len(series), *series.shape[-2:])
    n, *_, B, size = series.shape
    of_all = np.broadcast_to(series, (n, *E, B, size)).reshape(n, -1, B, size)
    return of_all[:, block.first] if block.layout.networks is None else of_all[:, block.first : block.stop]


def _series_of(series: Series, E: tuple[int, ...], block: Block, begin: int, end: int) -> tuple[Array | None, ...]:
    return tuple(None if part is None else _of_block(part, E, block) for part in series(begin, end))


def tape_steps(layout: Layout, k2: int, steps: int, tapes: int) -> int:
    """How many steps each of these tapes holds: those of one window at least, and of more while they are few bytes."""
    bytes_of_step = layout.B * (layout.D + layout.H + 2 * layout.O) * layout.dtype.itemsize * (layout.networks or 1)
    return min(steps, max(k2, min(TAPE_BYTES, TAPE_BYTES * MAX_TAPES // tapes) // bytes_of_step))


train.__doc__, train_stream.__doc__ = tbptt.train.__doc__, tbptt.train_stream.__doc__
