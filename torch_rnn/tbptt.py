"""The loop of truncated BPTT with detach() and torch.optim's step (DERIVATION.md,
section 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Unpack

import torch

from numpy_rnn.common import records
from numpy_rnn.common.checks import check_schedule, check_training
from numpy_rnn.common.errors import check_integer
from numpy_rnn.common.records import Parameters, Run, Schedule, Update, Window
from torch_rnn.backward import derivatives
from torch_rnn.elman import unroll
from torch_rnn.loss import window_loss
from torch_rnn.parameters import ARRAYS, Array, copy_of
from torch_rnn.step import clip_by_global_norm, clip_by_value, make_direction, move


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of one epoch over a series of `steps` steps, as
    `numpy_rnn.windows`.
    """
    steps = check_integer("steps", steps, 0)
    k1, k2, _ = check_schedule(Schedule(k1, k2))
    return _chunks(steps, k1, k2 - k1)


def _chunks(steps: int, size: int, older: int) -> Iterator[Window]:
    """Yield the chunks of a series, each with up to `older` steps before it."""
    for new in range(0, steps, size):
        stop = min(new + size, steps)  # (T1)
        yield Window(max(new - older, 0), new, stop)  # (T2)


@torch.inference_mode(False)
def train(
    params: Parameters[Array],
    x: Array,
    target: Array,
    h_0: Array,
    **options: Unpack[records.TrainKeywords[Array]],
) -> Iterator[Update[Array]]:
    """Train by TBPTT(k1, k2) and SGD, as `numpy_rnn.train`, which describes the
    arguments.

    The arrays of an Update are copies. Arguments are taken as numbers: nothing flows
    back into them. torch.autocast has no effect.
    """
    run, record, by_epoch = check_training(ARRAYS, (params, x, target, h_0), **options)
    run = run._replace(x=copy_of(x), target=copy_of(target), h_0=copy_of(h_0))
    run = run._replace(
        params=copy_of(run.params, as_leaves=True), velocity=copy_of(run.velocity)
    )
    return updates(run, record, by_epoch)


@torch.inference_mode(False)
@torch.enable_grad()
def updates(run: Run, record: bool, by_epoch: bool) -> Iterator[Update[Array]]:
    """The loop of TBPTT: every update, or the last one of each epoch."""
    (k1, k2, epochs), objective, step = run.options
    params, velocity = run.params, run.velocity
    for epoch in range(1, epochs + 1):
        losses: list[Array] = []
        states = {0: run.h_0}  # by step, as the latest window computed them
        for number, window in enumerate(windows(len(run.x), k1, k2), start=1):
            x = run.x[window.start : window.stop]
            target = run.target[window.loss_start : window.stop]
            activations = unroll(
                params, x, states[window.start], objective.nonlinearity
            )  # (T3)
            L = window_loss(activations.y[-len(target) :], target, objective)
            gradients, flow = derivatives(L, params, activations if record else None)
            clipped = gradients
            if step.max_norm is not None:
                clipped = clip_by_global_norm(gradients, step.max_norm)
            if step.max_value is not None:
                clipped = clip_by_value(gradients, step.max_value)
            delta, velocity = make_direction(params, clipped, velocity, step)
            params = move(params, delta, step.learning_rate)
            states = dict(
                zip(range(window.start, window.stop + 1), activations.h.detach())
            )
            losses.append(L.detach())
            if by_epoch and window.stop < len(run.x):
                continue
            copies = copy_of(params, as_leaves=True), copy_of(velocity)
            kept = copy_of(activations) if record else None
            rest: Any = *copies, kept, flow, torch.stack(losses) if by_epoch else None
            yield Update(epoch, number, window, losses.pop(), gradients, *rest)
