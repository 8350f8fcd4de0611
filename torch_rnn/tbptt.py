"""Training by truncated BPTT, on a series and on a stream (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, TypeAlias, Unpack

import torch

from numpy_rnn.common.records import Nonlinearity, Reduction, SgdKeywords, SgdOptions, Window, YieldEvery
from numpy_rnn.common.shapes import with_ensemble_axes
from numpy_rnn.common.training import Training, check_train, check_train_stream, first_state, yielded
from numpy_rnn.common.windows import next_start, stream_windows, windows
from torch_rnn.bptt import window_gradients
from torch_rnn.clipping import clip
from torch_rnn.elman import NONLINEARITIES
from torch_rnn.loss import DIVISORS
from torch_rnn.momentum import directed
from torch_rnn.parameters import (
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
    copy_of,
    handed_out,
    own,
)
from torch_rnn.sgd import as_learning_rate, sgd_step

Windows: TypeAlias = Iterator[tuple[Window, Inputs, Targets]]
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
    per network, (T, *E, B, D) and so on. Series that are mapped from a file are read window by window. With a learned
    initial state, params.h_0 of shape (*E, B, H), pass h_0=None; it has a gradient in the windows with s_n = 0.

    The step: `clip_by_global_norm` to max_norm if that is given, `direction` with momentum, dampening, nesterov and
    weight_decay, and `sgd` with the learning rate, a number, or one per network, of shape E. These five keywords are
    those of torch.optim.SGD and clip_grad_norm_; without them the step is plain gradient descent.

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
    refuse, on a state that does not fit, and on an unknown nonlinearity or reduction.
    Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    options = SgdOptions(**sgd).check()
    params = check_train(ARRAYS, params, x, target, h_0, learning_rate, (k1, k2, epochs), record, yield_every, resume)
    x, target = (with_ensemble_axes(series, params.W_hh.ndim + 1) for series in (x, target))
    T = len(x)

    def epoch() -> Windows:
        for window in windows(T, k1, k2):
            start, loss_start, stop = window
            yield window, x[start:stop], target[loss_start:stop]

    names = NONLINEARITIES.validate(nonlinearity), DIVISORS.validate(reduction)
    rate, h_0 = as_learning_rate(params, learning_rate), copy_of(h_0)

    def begin(state: State[Array]) -> Steps:
        of_run = updates(epoch, epochs, h_0, state, rate, options, *names, record)
        return yielded(of_run, yield_every, T, torch.stack)

    start = first_state(own(params)) if resume is None else copy_of(resume)
    return Training(begin, partial(state_of, (T, k1, k2)), start)


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
    """Train as `train` does, in one pass over a stream: any iterable of steps (x_t, target_t), finite or not.

    x_t: (B, D), target_t: (B, O), in the parameters' dtype, the same for all networks of an ensemble. They are copied,
    so a stream may fill the same arrays again; only the k2 latest steps are kept in memory. velocity: the initial one,
    for example that of an earlier stream. The other arguments and the result are those of `train`, with one epoch;
    yield_every is a number.

    After an exception inside an update, or in the stream, the run does not continue: the next update raises InputError,
    and a new run can start from the result of `state`.

    Raises InputError as `train` does, on a velocity that does not fit, and, when it is read, on a step that does not
    fit or is not finite.
    """
    options = SgdOptions(**sgd).check()
    B = check_train_stream(ARRAYS, params, h_0, learning_rate, record, yield_every, velocity)
    of_stream = stream_windows(ARRAYS, params, B, steps, k1, k2, torch.stack, copy_of)

    def epoch() -> Windows:
        for window, x, target in of_stream:
            yield window, *(with_ensemble_axes(series, params.W_hh.ndim + 1) for series in (x, target))

    names = NONLINEARITIES.validate(nonlinearity), DIVISORS.validate(reduction)
    rate, h_0 = as_learning_rate(params, learning_rate), copy_of(h_0)

    def begin(state: State[Array]) -> Steps:
        of_run = updates(epoch, 1, h_0, state, rate, options, *names, record)
        return yielded(of_run, yield_every, None, torch.stack)

    start = first_state(own(params), copy_of(velocity))
    return Training(begin, partial(state_of, (None, k1, k2)), start, repeatable=False)


def updates(
    of_epoch: Callable[[], Windows],
    epochs: int,
    h_0: InitialState | None,
    state: State[Array],
    rate: Array,
    options: SgdOptions,
    nonlinearity: str,
    reduction: str,
    record: bool,
) -> Steps:
    """The loop of TBPTT: yields (update, carried) for every update of a run after `state`.

    of_epoch(): an iterator of (window, x, target of its new steps) over one epoch. h_0: the given initial state, None
    if params has a learned one. rate: of `as_learning_rate`. carried: what the next update starts from, the states of
    the window, the parameters and the velocity.

    done: the number of updates of the first epoch made before. states: those of the latest window, from step `first` of
    the series on. learned: the parameters that have a gradient in this window: all but a learned h_0 where s_n > 0.
    """
    first_epoch, done, _, h, params, velocity = state
    states: Any
    first: int | None
    states, first = [h], None  # of the window before; of a resumed run only the initial state of the next
    params, velocity = own(params), velocity if options.momentum else None
    for epoch in range(first_epoch, epochs + 1):
        for number, (window, x, target) in enumerate(islice(of_epoch(), done, None), start=done + 1):
            if window.start == 0:
                states, first = [params.h_0 if h_0 is None else h_0], 0
            learned = params if window.start == 0 or h_0 is not None else params._replace(h_0=None)
            initial = states[0 if first is None else window.start - first]  # (T3)
            activations, loss, gradients, flow = window_gradients(
                params, learned, x, initial, target, nonlinearity, reduction, record
            )
            states, first = activations.h, window.start
            shortened = gradients if options.max_norm is None else clip(gradients, options.max_norm)
            s, velocity = directed(params, shortened, velocity, options)
            params = sgd_step(params, s, rate)
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
