"""Training on a series and on a stream, by the engine.

`train` and `train_stream` have the signatures, the docstrings and the results of those of `tbptt.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Unpack

import numpy as np

from numpy_rnn import tbptt
from numpy_rnn.common.arrays import NUMPY_ARRAYS
from numpy_rnn.common.records import Nonlinearity, Reduction, SgdKeywords, SgdOptions, State, YieldEvery
from numpy_rnn.common.shapes import with_ensemble_axes
from numpy_rnn.common.training import Training, check_train, check_train_stream, first_state
from numpy_rnn.common.windows import next_start, stream_windows, windows
from numpy_rnn.elman import NONLINEARITIES
from numpy_rnn.engine.ensemble import Settings, ensemble
from numpy_rnn.engine.schedule import Piece, Segment, segments
from numpy_rnn.loss import DIVISORS
from numpy_rnn.parameters import Array, Gradients, InitialState, Inputs, LearningRate, Parameters, Targets, copy_of, own
from numpy_rnn.sgd import as_learning_rate

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

    def series(begin, end):
        return x[begin:end], target[begin:end]

    def updates(state):
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
    latest: list = []  # x and the target of the window that is computed

    def segments_of_stream():
        for number, (window, *latest[:]) in enumerate(of_stream, start=1):
            yield Segment(number, [(Piece(window.start, window.stop), [window])], due=number % yield_every == 0)

    def updates(state):
        trained = ensemble(state, 0, settings, lambda begin, end: latest)
        yield from trained.updates(1, segments_of_stream())

    return Training(updates, state_of, first_state(own(params), copy_of(velocity)), repeatable=False)


def state_of(update, h):
    """The State after an update; h: the initial state of the next window."""
    of_update = copy_of(update.parameters), copy_of(update.velocity)
    return State(update.epoch, update.number, update.window, copy_of(h), *of_update)


train.__doc__, train_stream.__doc__ = tbptt.train.__doc__, tbptt.train_stream.__doc__
