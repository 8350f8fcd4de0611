"""The loop of truncated BPTT with detach() (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Unpack

import torch

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
from torch_rnn.arrays import ARRAY_KIND, Array, copy_of
from torch_rnn.backward import compute_derivatives
from torch_rnn.elman import compute_activations
from torch_rnn.loss import compute_loss
from torch_rnn.step import (
    compute_clipped,
    compute_direction,
    compute_parameters,
    rounded_rate,
)


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """Yield the windows of TBPTT(k1, k2) over a series of `steps` steps, in order, as
    `numpy_rnn.windows`.

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

    Examples
    --------
    >>> import torch_rnn as rnn
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


@with_keywords(TrainKeywords, torch.Tensor)
def train(
    params: Parameters[Array],
    x: Array,
    target: Array,
    h_0: Array,
    **options: Unpack[TrainKeywords[Array]],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2), one update at a time, as `numpy_rnn.train`.

    Parameters
    ----------
    params : Parameters
        The initial parameters, of one network or of an ensemble of N.
    x : Tensor
        Inputs, of shape (T, B, D) or (T, N, B, D); classes, (T, B) or (T, N, B).
    target : Tensor
        Targets, of shape (T, B, O) or (T, N, B, O); classes, (T, B) or (T, N, B).
    h_0 : Tensor
        The state at the start of every epoch, of shape (B, H) or (N, B, H).
    k1, k2 : int
        Steps from one update to the next, and steps of its window, 1 ≤ k1 ≤ k2.
    learning_rate : float or Tensor
        η, a number, or one per network, of shape (N,).
    epochs : int
        Passes through the series, 0 or more.
    nonlinearity : str
        φ, one of those of `forward`; "tanh" by default.
    loss : str
        One of those of `adjoints`; "squared_error" by default.
    reduction : {"sum", "mean"}
        Whether L is the sum, by default, or the mean of the terms of a window.
    max_norm : float, optional
        Limit of the gradient's norm, as in torch.nn.utils.clip_grad_norm_.
    max_value : float, optional
        Limit of each element of the gradient, as in torch.nn.utils.clip_grad_value_.
    momentum, dampening, weight_decay : float
        0 by default; as in torch.optim.SGD.
    nesterov : bool
        False by default; as in torch.optim.SGD.
    adagrad : bool
        False by default; True divides each element of the gradient as in `direction`.
    velocity : Gradients, optional
        That of an Update of an earlier run, to continue it; from rest by default.
    record : bool
        Whether each Update has its activations and adjoints; False by default.
    yield_every : {1, "epoch"}
        1, by default, yields every update; "epoch" the last one of each epoch, with the
        losses of all.

    Returns
    -------
    iterator of Update
        The tensors of an Update are copies, and nothing flows back into the arguments.
        It may be called under torch.no_grad, and not under torch.inference_mode;
        torch.autocast has no effect.

    Raises
    ------
    InputError, TypeError
        As `numpy_rnn.train` does.

    Notes
    -----
    All arguments are copied, also x and target, which `numpy_rnn.train` reads part by
    part.

    Examples
    --------
    >>> import torch, torch_rnn as rnn
    >>> series, params = torch.ones(11, 1, 1), rnn.initial_parameters()
    >>> x, target, h_0 = series[:-1], series[1:], torch.zeros(1, 6)
    >>> options = {"k1": 5, "k2": 5, "learning_rate": 0.1, "epochs": 2}
    >>> [update.number for update in rnn.train(params, x, target, h_0, **options)]
    [1, 2, 1, 2]
    """
    run, record, by_epoch = checked_training(
        ARRAY_KIND, params, x, target, h_0, options
    )
    run = run._replace(
        params=copy_of(run.params, as_leaves=True),
        x=copy_of(run.x),
        target=copy_of(run.target),
        h_0=copy_of(run.h_0),
        velocity=copy_of(run.velocity),
    )
    every_update = compute_updates(run, record=record)
    if by_epoch:
        return last_of_epochs(every_update, len(x))
    return every_update


@torch.enable_grad()
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
            recorded = activations if record else None
            gradients, derivatives = compute_derivatives(L, params, recorded)
            clipped = compute_clipped(gradients, step)
            delta, velocity = compute_direction(params, clipped, velocity, step)
            params = compute_parameters(params, delta, rate)
            states = dict(enumerate(activations.h.detach(), start=window.start))
            yield Update(
                epoch,
                number,
                window,
                L.detach(),
                gradients=copy_of(gradients),
                parameters=copy_of(params, as_leaves=True),
                velocity=copy_of(velocity),
                activations=copy_of(recorded),
                adjoints=derivatives,
            )


def last_of_epochs(
    every_update: Iterator[Update[Array]], T: int
) -> Iterator[Update[Array]]:
    """Yield the last update of each epoch of T steps, with the losses of all."""
    losses: list[Array] = []
    for update in every_update:
        losses.append(update.loss)
        if update.window.stop == T:
            yield replace(update, losses=torch.stack(losses))
            losses = []
