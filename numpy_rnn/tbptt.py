"""Training by truncated BPTT, on a series and on a stream (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, TypeAlias, Unpack

import numpy as np

from numpy_rnn.bptt import window_gradients
from numpy_rnn.clipping import apply_clipping
from numpy_rnn.common.arrays import weights_with_axes
from numpy_rnn.common.records import LossName, Nonlinearity, Reduction, SgdKeywords, SgdOptions, Window, YieldEvery
from numpy_rnn.common.shapes import series_axes
from numpy_rnn.common.training import Training, check_squares, check_train, check_train_stream, first_state, yielded
from numpy_rnn.common.windows import next_start, stream_windows, windows
from numpy_rnn.elman import NONLINEARITIES
from numpy_rnn.loss import DIVISORS, LOSSES
from numpy_rnn.momentum import directed
from numpy_rnn.parameters import (
    ARRAYS,
    Array,
    Gradients,
    InitialState,
    Inputs,
    LearningRate,
    Parameters,
    State,
    Targets,
    Update,
    Weights,
    copy_of,
    handed_out,
    own,
)
from numpy_rnn.sgd import as_learning_rate, sgd_step

Windows: TypeAlias = Iterator[tuple[Window, Inputs, Targets, Weights | None]]
Carried: TypeAlias = Any  # (states, params, velocity)
Steps: TypeAlias = Generator[tuple[Update[Array], Carried]]


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
    """Train by TBPTT(k1, k2) and SGD, one update at a time.

    Every epoch starts from h_0 and passes through the series once. Update n runs the forward pass over its window,
    the steps (s_n, e_n], with the current parameters, takes the gradient of the loss of its new steps (e_{n-1}, e_n],
    and makes one SGD step, where

        e_n = min(n·k1, T)                                                                                (T1)
        s_n = max(0, e_n − k2)                                                                            (T2)
        initial state of the window: h at s_n as update n−1 computed it, a constant; h_0 if s_n = 0       (T3)

    x: (T, B, D) inputs, target: (T, B, O), h_0: (B, H), all in the parameters' dtype; with an ensemble, optionally one
    per network, (T, *E, B, D) and so on. x may hold classes as in `forward`, and with the loss "cross_entropy" so may
    the target. weights: (T, B), of the losses, as in `half_squared_error`; None for 1. Series that are mapped from a
    file are read window by window. With a learned initial state, params.h_0 of shape (*E, B, H), pass h_0=None; it has
    a gradient in the windows with s_n = 0.

    The step: `clip_by_global_norm` to max_norm or `clip_by_value` to max_value, if one of them is given, `direction`
    with momentum, dampening, nesterov, weight_decay and adagrad, and `sgd` with the learning rate, a number, or one per
    network, of shape E. These keywords, but for adagrad, are those of torch.optim.SGD, clip_grad_norm_ and
    clip_grad_value_; without them the step is plain gradient descent.

    Returns an iterator of Updates, with a method `state`. Pass such a state as `resume`, and all other arguments as
    before (params are not read then), and the run continues after it. With `record`, every Update has its activations
    and adjoints too. yield_every: 1 yields every update; n yields every n-th update of an epoch and its last one;
    "epoch" yields its last one. The `losses` of an Update are then those of all updates since the one yielded before.

    Arguments are never changed, nor are arrays after they have been yielded. A caller cannot change the run through
    these arrays: parameters and velocity are read-only in numpy_rnn and copies in torch_rnn; `to_numpy` and
    `from_numpy` make copies that can be written to.

    After an exception inside an update, such as KeyboardInterrupt, `state` returns the state after the latest
    completed update, and the next update continues from there.

    Raises InputError, before the first update, on values that are not arrays of this package, on shapes or dtypes that
    do not fit, on masked arrays, on k2 < k1, on numbers that are not finite, on options that torch.optim.SGD would
    refuse, on adagrad with momentum, on both max_norm and max_value, on a state that does not fit, and on an unknown
    nonlinearity, reduction or loss.
    Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    options = SgdOptions(**sgd).check()
    names = NONLINEARITIES.validate(nonlinearity), DIVISORS.validate(reduction), LOSSES.validate(loss)
    schedule, of_loss = (k1, k2, epochs), (weights, loss)
    params = check_train(ARRAYS, params, x, target, h_0, learning_rate, schedule, record, yield_every, resume, of_loss)
    check_squares(None if resume is None else resume.velocity, options)
    ndim, T = params.W_hh.ndim + 1, len(x)
    x, target, weights = series_axes(x, ndim), series_axes(target, ndim), weights_with_axes(weights, ndim)

    def epoch() -> Windows:
        for window in windows(T, k1, k2):
            start, loss_start, stop = window
            w = None if weights is None else weights[loss_start:stop]
            yield window, x[start:stop], target[loss_start:stop], w

    rate, h_0 = as_learning_rate(params, learning_rate), copy_of(h_0)

    def begin(state: State[Array]) -> Steps:
        of_run = updates(epoch, epochs, h_0, state, rate, options, names, record)
        return yielded(of_run, yield_every, T, np.stack)

    start = first_state(own(params)) if resume is None else copy_of(resume)
    return Training(begin, partial(state_of, (T, k1, k2)), start)


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
    """Train as `train` does, in one pass over a stream: any iterable of steps (x_t, target_t), finite or not.

    x_t: (B, D), target_t: (B, O), in the parameters' dtype, the same for all networks of an ensemble; or classes, (B,).
    A step may also be (x_t, target_t, weights_t), with the weights (B,) of its losses; then all are. They are copied,
    so a stream may fill the same arrays again; only the k2 latest steps are kept in memory. velocity: the initial one,
    for example that of an earlier stream. The other arguments and the result are those of `train`, with one epoch;
    yield_every is a number.

    After an exception inside an update, or in the stream, the run does not continue: the next update raises InputError,
    and a new run can start from the result of `state`.

    Raises InputError as `train` does, on a velocity that does not fit, and, when it is read, on a step that does not
    fit or is not finite.
    """
    options = SgdOptions(**sgd).check()
    names = NONLINEARITIES.validate(nonlinearity), DIVISORS.validate(reduction), LOSSES.validate(loss)
    B = check_train_stream(ARRAYS, params, h_0, learning_rate, record, yield_every, velocity)
    check_squares(velocity, options)
    ndim = params.W_hh.ndim + 1
    of_stream = stream_windows(ARRAYS, params, B, steps, k1, k2, loss, np.stack, copy_of)

    def epoch() -> Windows:
        for window, x, target, weights in of_stream:
            yield window, series_axes(x, ndim), series_axes(target, ndim), weights_with_axes(weights, ndim)

    rate, h_0 = as_learning_rate(params, learning_rate), copy_of(h_0)

    def begin(state: State[Array]) -> Steps:
        of_run = updates(epoch, 1, h_0, state, rate, options, names, record)
        return yielded(of_run, yield_every, None, np.stack)

    start = first_state(own(params), copy_of(velocity))
    return Training(begin, partial(state_of, (None, k1, k2)), start, repeatable=False)


def updates(
    of_epoch: Callable[[], Windows],
    epochs: int,
    h_0: InitialState | None,
    state: State[Array],
    rate: Array,
    options: SgdOptions,
    names: tuple[str, str, str],
    record: bool,
) -> Steps:
    """The loop of TBPTT: yields (update, carried) for every update of a run after `state`.

    of_epoch(): an iterator of (window, x, target of its new steps, their weights or None) over one epoch. h_0: the
    given initial state, None if params has a learned one. rate: of `as_learning_rate`. names: of the nonlinearity, the
    reduction and the loss. carried: what the next update starts from, the states of the window, the parameters and the
    velocity.

    done: the number of updates of the first epoch made before. states: those of the latest window, from step `first` of
    the series on. learned: the parameters that have a gradient in this window: all but a learned h_0 where s_n > 0.
    """
    first_epoch, done, _, h, params, velocity = state
    states: Any
    first: int | None
    states, first = [h], None  # of the window before; of a resumed run only the initial state of the next
    params, velocity = own(params), velocity if options.has_velocity else None
    for epoch in range(first_epoch, epochs + 1):
        for number, (window, x, target, weights) in enumerate(islice(of_epoch(), done, None), start=done + 1):
            if window.start == 0:
                states, first = [params.h_0 if h_0 is None else h_0], 0
            learned = params if window.start == 0 or h_0 is not None else params._replace(h_0=None)
            initial = states[0 if first is None else window.start - first]  # (T3)
            activations, loss, gradients, flow = window_gradients(
                params, learned, x, initial, target, weights, names, record
            )
            states, first = activations.h, window.start
            shortened = apply_clipping(gradients, options)
            delta, velocity = directed(params, shortened, velocity, options)
            params = sgd_step(params, delta, rate)
            kept = (copy_of(activations), flow) if record else (None, None)
            of_user = handed_out(params), handed_out(velocity)
            yield Update(epoch, number, window, loss, gradients, *of_user, *kept), (states, params, velocity)
        done = 0


def state_of(schedule: tuple[int | None, int, int], update: Update[Array], carried: Carried) -> State[Array]:
    """The State after an update; schedule: the steps of the series, k1 and k2; carried: as `updates` yields it."""
    states, params, velocity = carried
    epoch, number, window, *_ = update
    h = states[next_start(window, *schedule) - window.start]
    return State(epoch, number, window, copy_of(h), own(params), copy_of(velocity))
