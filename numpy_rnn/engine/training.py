"""Training on a series and on a stream, by the engine.

`train` and `train_stream` have the signatures, the docstrings and the results of those of `tbptt.py`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any, Unpack

import numpy as np

from numpy_rnn import tbptt
from numpy_rnn.common.arrays import NUMPY_ARRAYS
from numpy_rnn.common.records import Nonlinearity, Reduction, SgdKeywords, SgdOptions, State, Update, YieldEvery
from numpy_rnn.common.shapes import with_ensemble_axes
from numpy_rnn.common.training import Training, check_train, check_train_stream, first_state
from numpy_rnn.common.windows import next_start, stream_windows, windows
from numpy_rnn.elman import NONLINEARITIES
from numpy_rnn.engine.columns import ColumnTape
from numpy_rnn.engine.ensemble import Ensemble, Piece, Segment, Series, Settings, Trained, segments
from numpy_rnn.engine.layout import Block, Layout, available_threads, blocks
from numpy_rnn.engine.update import Networks
from numpy_rnn.engine.window import MAX_VIEWED, Tape
from numpy_rnn.loss import DIVISORS
from numpy_rnn.parameters import Array, Gradients, InitialState, Inputs, LearningRate, Parameters, Targets, copy_of, own
from numpy_rnn.sgd import as_learning_rate

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
    record: bool = False,
    yield_every: YieldEvery = 1,
    resume: State[Array] | None = None,
    **sgd: Unpack[SgdKeywords],
) -> Training[Array]:
    options = SgdOptions(**sgd).check()
    params = check_train(
        NUMPY_ARRAYS, params, x, target, h_0, learning_rate, (k1, k2, epochs), record, yield_every, resume
    )
    x, target = (np.asarray(with_ensemble_axes(series, params.W_hh.ndim + 1)) for series in (x, target))
    T, every = len(x), None if isinstance(yield_every, str) else yield_every
    names = NONLINEARITIES.validate(nonlinearity), DIVISORS.validate(reduction)
    following, rate = partial(next_start, steps=T, k1=k1, k2=k2), as_learning_rate(params, learning_rate)
    settings = Settings(copy_of(h_0), k1, k2, T, rate, options, *names, record, every, following)

    def series(begin: int, end: int) -> tuple[Array, Array]:
        return x[begin:end], target[begin:end]

    def updates(state: State[Array]) -> Generator[tuple[Update[Array], Array]]:
        first_epoch, done = state.epoch, state.number
        if done * k1 >= T:
            first_epoch, done = first_epoch + 1, 0
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
    steps: Iterable[tuple[Array, Array]],
    h_0: InitialState | None,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    nonlinearity: Nonlinearity = "tanh",
    reduction: Reduction = "sum",
    record: bool = False,
    yield_every: int = 1,
    velocity: Gradients[Array] | None = None,
    **sgd: Unpack[SgdKeywords],
) -> Training[Array]:
    options = SgdOptions(**sgd).check()
    B = check_train_stream(NUMPY_ARRAYS, params, h_0, learning_rate, record, yield_every, velocity)
    of_stream = stream_windows(NUMPY_ARRAYS, params, B, steps, k1, k2, np.stack, copy_of)
    names = NONLINEARITIES.validate(nonlinearity), DIVISORS.validate(reduction)
    rate, following = as_learning_rate(params, learning_rate), attrgetter("stop")
    settings = Settings(copy_of(h_0), k1, k2, k2, rate, options, *names, record, yield_every, following)
    latest: list[Array] = []  # x and the target of the window that is computed

    def segments_of_stream() -> Iterator[Segment]:
        for number, (window, *latest[:]) in enumerate(of_stream, start=1):
            yield Segment(number, [(Piece(window.start, window.stop), [window])], due=number % yield_every == 0)

    def updates(state: State[Array]) -> Generator[tuple[Update[Array], Array]]:
        trained = ensemble(state, 0, settings, lambda begin, end: latest)
        yield from trained.updates(1, segments_of_stream())

    return Training(updates, state_of, first_state(own(params), copy_of(velocity)), repeatable=False)


def state_of(update: Update[Array], h: Array) -> State[Array]:
    """The State after an update; h: the initial state of the next window."""
    of_update = copy_of(update.parameters), copy_of(update.velocity)
    return State(update.epoch, update.number, update.window, copy_of(h), *of_update)


def ensemble(state: State[Array], begin: int, settings: Settings, series: Series) -> Ensemble:
    """The networks of a run, in the state that it starts from.

    begin: where the next window starts; series: (begin, end) → x and target of these steps, with the axes of the
    ensemble, of its sizes or 1, or without.
    """
    h_0: Any = settings.h_0
    _, k1, k2, steps, rate, options, nonlinearity, reduction, *_ = settings
    params: Any = state.parameters
    E = params.W_hh.shape[:-2]
    initial: Any = params.h_0 if h_0 is None else h_0
    B = initial.shape[-2]
    threads = available_threads() if E else 1
    flat = _flat(params, E)
    velocity = None if state.velocity is None else _flat(state.velocity, E)
    carried = state.h if begin else initial
    trained = []
    parts = blocks(params, B, min(k2, steps), threads)
    for block in parts:
        layout = block.layout
        index = np.s_[block.first : block.stop] if layout.networks else block.first
        kind: Any = ColumnTape if layout.columns else Tape
        steps_of_tape = tape_steps(layout, k2, steps, len(parts))
        tape = kind(layout, steps_of_tape, min(k1, steps), min(k2, steps), reduction == "mean")
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


def _series_of(series: Series, E: tuple[int, ...], block: Block, begin: int, end: int) -> tuple[Array, ...]:
    return tuple(_of_block(part, E, block) for part in series(begin, end))


def tape_steps(layout: Layout, k2: int, steps: int, tapes: int) -> int:
    """How many steps each of these tapes holds: those of one window at least, and of more while they are few bytes."""
    bytes_of_step = layout.B * (layout.D + layout.H + 2 * layout.O) * layout.dtype.itemsize * (layout.networks or 1)
    return min(steps, max(k2, min(TAPE_BYTES, TAPE_BYTES * MAX_TAPES // tapes) // bytes_of_step))


train.__doc__, train_stream.__doc__ = tbptt.train.__doc__, tbptt.train_stream.__doc__
