"""Truncated BPTT: the windows, and the plain training loop (DERIVATION.md,
section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from numpy_rnn.backward import backward, weight_gradients
from numpy_rnn.common.checks import check_schedule, check_training
from numpy_rnn.common.errors import check_integer
from numpy_rnn.common.records import (
    Parameters,
    Run,
    Schedule,
    TrainKeywords,
    Update,
    Window,
)
from numpy_rnn.elman import NONLINEARITIES, unroll
from numpy_rnn.loss import target_rows, window_loss
from numpy_rnn.parameters import (
    ARRAYS,
    Array,
    InitialState,
    Inputs,
    Targets,
    copy_of,
    read_only,
)
from numpy_rnn.step import as_learning_rate, clip, make_direction, sgd_step


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of one epoch over a series of `steps` steps, in order.

        e_n = min(n·k1, T)                     (T1)
        s_n = max(0, e_{n-1} − (k2 − k1))      (T2)

    The window of update n is (s_n, e_n]; its new steps, those with a loss, are
    (e_{n-1}, e_n]. Before them it has k2 − k1 older steps, fewer at the start of the
    series. So windows with k1 = k2 do not overlap, also where k1 does not divide T.

    Raises InputError, at once, unless 1 ≤ k1 ≤ k2, and steps is an integer, 0 or more.
    Source: Williams and Peng 1990, BPTT(h; h'); Sutskever 2013, section 2.8.6.
    """
    steps = check_integer("steps", steps, 0)
    return series_windows(steps, check_schedule(Schedule(k1, k2)))


def series_windows(T: int, schedule: Schedule) -> Iterator[Window]:
    """`windows` without its checks."""
    for loss_start in range(0, T, schedule.k1):
        stop = min(loss_start + schedule.k1, T)  # (T1)
        start = max(0, loss_start - (schedule.k2 - schedule.k1))  # (T2)
        yield Window(start, loss_start, stop)


def train(
    params: Parameters[Array],
    x: Inputs,
    target: Targets,
    h_0: InitialState,
    **options: Unpack[TrainKeywords[Array]],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2) and SGD, as `numpy_rnn.train` does, in the plainest way.

    `numpy_rnn.train` describes the arguments, the updates and the errors raised.
    Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    run, record, by_epoch = check_training(ARRAYS, (params, x, target, h_0), **options)
    given = copy_of((run.params, run.h_0, run.velocity))
    every = updates(run, *given, record=record)
    return epoch_ends(every, len(x)) if by_epoch else every


def updates(
    run: Run,
    params: Parameters[Array],
    h_0: InitialState,
    velocity: Any,
    *,
    record: bool,
) -> Iterator[Update[Array]]:
    """The loop of TBPTT: every update, in order.

    h: the states of the latest window, from step `first` of the series on.
    """
    schedule, objective, step = run.options
    phi = NONLINEARITIES[objective.nonlinearity]
    rate = as_learning_rate(params, step.learning_rate)
    for epoch in range(1, schedule.epochs + 1):
        h, first = h_0[None], 0
        for number, window in enumerate(series_windows(len(run.x), schedule), start=1):
            start, loss_start, stop = window
            x, target = run.x[start:stop], run.target[loss_start:stop]
            activations = unroll(params, x, h[start - first], phi)  # (T3)
            y = activations.y[-len(target) :]
            L = window_loss(y, target_rows(y, target), objective)
            adjoints = backward(params, activations, target, objective)
            gradients = weight_gradients(params, activations, adjoints)
            delta, velocity = make_direction(
                params, clip(gradients, step), velocity, step
            )
            params = sgd_step(params, delta, rate)
            h, first = activations.h, start
            recorded = (copy_of(activations), adjoints) if record else (None, None)
            yielded = copy_of((params, velocity))
            yield Update(
                epoch, number, window, L, gradients, *map(read_only, yielded), *recorded
            )


def epoch_ends(every: Iterator[Update[Array]], T: int) -> Iterator[Update[Array]]:
    """The last update of each epoch, with the losses of all."""
    losses: list[Array] = []
    for update in every:
        losses.append(update.loss)
        if update.window.stop == T:
            yield replace(update, losses=np.stack(losses))
            losses = []
