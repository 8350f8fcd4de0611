"""Truncated BPTT: the windows, and the plain training loop (DERIVATION.md,
section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Unpack

import numpy as np

from numpy_rnn.arrays import ARRAY_KIND, Array, copy_of, frozen_copy
from numpy_rnn.backward import compute_adjoints, compute_gradients
from numpy_rnn.common.checks import checked_training
from numpy_rnn.common.numbers import checked_integer
from numpy_rnn.common.option_checks import checked_schedule
from numpy_rnn.common.records import (
    Parameters,
    Run,
    Schedule,
    TrainKeywords,
    Update,
    Window,
)
from numpy_rnn.common.signatures import with_keywords
from numpy_rnn.elman import compute_activations
from numpy_rnn.loss import compute_loss
from numpy_rnn.step import (
    compute_clipped,
    compute_direction,
    compute_parameters,
    rounded_rate,
)


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """Yield the windows of TBPTT(k1, k2) over a series of `steps` steps, in order.

        e_n = min(n·k1, T)                     (T1)
        s_n = max(0, e_{n-1} − (k2 − k1))      (T2)

    The window of update n is (s_n, e_n]; its new steps, those with a loss, are
    (e_{n-1}, e_n]. Before them it has k2 − k1 older steps, fewer at the start of the
    series. So windows with k1 = k2 do not overlap, also where k1 does not divide T.

    Parameters
    ----------
    steps : int
        T, the length of the series, 0 or more.
    k1, k2 : int
        New steps of an update, and steps of its window, 1 ≤ k1 ≤ k2.

    Returns
    -------
    iterator of Window
        The windows of one epoch.

    Raises
    ------
    InputError
        If an argument is not as above. It is raised at once.

    References
    ----------
    Williams and Peng 1990, BPTT(h; h'). Sutskever 2013, section 2.8.6.

    Examples
    --------
    >>> import numpy_rnn as rnn
    >>> [tuple(window) for window in rnn.windows(7, k1=3, k2=3)]
    [(0, 0, 3), (3, 3, 6), (6, 6, 7)]
    >>> [tuple(window) for window in rnn.windows(7, k1=3, k2=5)]
    [(0, 0, 3), (1, 3, 6), (4, 6, 7)]
    """
    steps = checked_integer("steps", steps, 0)
    return compute_windows(steps, checked_schedule(Schedule(k1, k2)))


def compute_windows(T: int, schedule: Schedule) -> Iterator[Window]:
    """Yield the windows of an epoch."""
    older = schedule.k2 - schedule.k1
    for loss_start in range(0, T, schedule.k1):
        stop = min(loss_start + schedule.k1, T)  # (T1)
        start = max(0, loss_start - older)  # (T2)
        yield Window(start, loss_start, stop)


@with_keywords(TrainKeywords, np.ndarray)
def train(
    params: Parameters[Array],
    x: Array,
    target: Array,
    h_0: Array,
    **options: Unpack[TrainKeywords[Array]],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2), in the plainest way; it is `numpy_rnn.reference.train`.

    Parameters, results and errors are those of `numpy_rnn.train`, which describes them.
    """
    run, record, by_epoch = checked_training(
        ARRAY_KIND, params, x, target, h_0, options
    )
    params, h_0, velocity = copy_of((run.params, run.h_0, run.velocity))
    run = run._replace(params=params, h_0=h_0, velocity=velocity)
    every_update = compute_updates(run, record=record)
    if by_epoch:
        return last_of_epochs(every_update, len(x))
    return every_update


def compute_updates(run: Run, *, record: bool) -> Iterator[Update[Array]]:
    """Yield every update of TBPTT, in order."""
    schedule, objective, step = run.options
    params = run.params
    velocity = run.velocity
    rate = rounded_rate(params, step.learning_rate)
    for epoch in range(1, schedule.epochs + 1):
        states = {0: run.h_0}  # by step, as the latest window computed them
        for number, window in enumerate(compute_windows(len(run.x), schedule), start=1):
            x = run.x[window.start : window.stop]
            target = run.target[window.loss_start : window.stop]
            h_0 = states[window.start]  # (T3)
            activations = compute_activations(params, x, h_0, objective.nonlinearity)
            L = compute_loss(activations.y[-len(target) :], target, objective)
            derivatives = compute_adjoints(params, activations, target, objective)
            gradients = compute_gradients(params, activations, derivatives)
            clipped = compute_clipped(gradients, step)
            delta, velocity = compute_direction(params, clipped, velocity, step)
            params = compute_parameters(params, delta, rate)
            states = dict(enumerate(copy_of(activations.h), start=window.start))
            yield Update(
                epoch,
                number,
                window,
                L,
                gradients=frozen_copy(gradients),
                parameters=frozen_copy(params),
                velocity=frozen_copy(velocity),
                activations=activations if record else None,
                adjoints=derivatives if record else None,
            )


def last_of_epochs(
    every_update: Iterator[Update[Array]], T: int
) -> Iterator[Update[Array]]:
    """Yield the last update of each epoch of T steps, with the losses of all."""
    losses: list[Array] = []
    for update in every_update:
        losses.append(update.loss)
        if update.window.stop == T:
            yield replace(update, losses=np.stack(losses))
            losses = []
