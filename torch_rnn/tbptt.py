"""The loop of truncated BPTT with detach() and torch.optim's step (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import torch

from numpy_rnn.common.checks import check_schedule, check_training
from numpy_rnn.common.errors import check_integer
from numpy_rnn.common.records import (
    MomentumKeywords,
    Parameters,
    Run,
    Schedule,
    TrainKeywords,
    Update,
    Window,
)
from torch_rnn.backward import adjoints_of, gradients_of
from torch_rnn.elman import forward
from torch_rnn.loss import window_loss
from torch_rnn.parameters import ARRAYS, Array, as_leaves, copy_of
from torch_rnn.step import clip_by_global_norm, clip_by_value, direction, sgd


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of one epoch over a series of `steps` steps, as `numpy_rnn.windows`."""
    steps = check_integer("steps", steps, 0)
    k1, k2, _ = check_schedule(Schedule(k1, k2))
    starts = range(0, steps, k1)  # of the new steps
    stops = [min(start + k1, steps) for start in starts]  # (T1)
    return (Window(max(b - k2, 0), a, b) for a, b in zip(starts, stops))  # (T2)


@torch.inference_mode(False)
def train(
    params: Parameters[Array],
    x: Array,
    target: Array,
    h_0: Array,
    **options: Unpack[TrainKeywords[Array]],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2) and SGD, as `numpy_rnn.train`, which describes the arguments.

    The arrays of an Update are copies. Tensors that require a gradient, or have a graph, are taken
    as numbers: nothing flows back into them. torch.autocast has no effect.
    """
    run, record, by_epoch = check_training(ARRAYS, (params, x, target, h_0), **options)
    run = run._replace(x=x.detach(), target=target.detach(), h_0=copy_of(h_0))
    every = updates(run, as_leaves(run.params), copy_of(run.velocity), record)
    return _last_of_epochs(every, len(x)) if by_epoch else every


@torch.inference_mode(False)
@torch.enable_grad()
def updates(
    run: Run, params: Parameters[Array], velocity: Any, record: bool
) -> Iterator[Update[Array]]:
    """The loop of TBPTT: every update, in order."""
    (k1, k2, epochs), objective, step = run.options
    momentum: Any = {name: getattr(step, name) for name in MomentumKeywords.__annotations__}
    for epoch in range(1, epochs + 1):
        states = {0: run.h_0}  # by step, as the latest window computed them
        for number, window in enumerate(windows(len(run.x), k1, k2), start=1):
            x = run.x[window.start : window.stop].clone()  # clones of inference tensors have graphs
            target = run.target[window.loss_start : window.stop].clone()
            initial = states[window.start]  # (T3)
            activations = forward(params, x, initial, nonlinearity=objective.nonlinearity)
            L = window_loss(activations.y[-len(target) :], target, objective)
            gradients = clipped = gradients_of(L, params)
            if step.max_norm is not None:
                clipped = clip_by_global_norm(gradients, step.max_norm)
            if step.max_value is not None:
                clipped = clip_by_value(gradients, step.max_value)
            delta, velocity = direction(params, clipped, velocity, **momentum)
            params = sgd(params, delta, step.learning_rate)
            states = dict(zip(range(window.start, window.stop + 1), activations.h.detach()))
            recorded = (copy_of(activations), adjoints_of(L, activations)) if record else ()
            yielded = as_leaves(params), copy_of(velocity), *recorded
            yield Update(epoch, number, window, L.detach(), gradients, *yielded)


def _last_of_epochs(every: Iterator[Update[Array]], T: int) -> Iterator[Update[Array]]:
    """The last update of each epoch, with the losses of all."""
    losses: list[Array] = []
    for update in every:
        losses.append(update.loss)
        if update.window.stop == T:
            yield replace(update, losses=torch.stack(losses))
            losses = []
