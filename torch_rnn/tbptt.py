"""The loop of truncated BPTT with detach() and torch.optim's step (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Unpack

import torch

from numpy_rnn.common.checks import check_schedule, check_training
from numpy_rnn.common.errors import check_integer
from numpy_rnn.common.records import Parameters, Run, Schedule, TrainKeywords, Update, Window
from torch_rnn.backward import adjoints_of, gradients_of
from torch_rnn.elman import NONLINEARITIES, unroll
from torch_rnn.loss import window_loss
from torch_rnn.parameters import ARRAYS, Array, as_leaves, copy_of
from torch_rnn.step import clip, make_direction, sgd_step


def windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    """The windows of one epoch over a series of `steps` steps, as `numpy_rnn.windows`."""
    steps = check_integer("steps", steps, 0)
    schedule = check_schedule(Schedule(k1, k2))
    return _windows(steps, schedule.k1, schedule.k2)


def _windows(steps: int, k1: int, k2: int) -> Iterator[Window]:
    stop = 0
    while stop < steps:
        previous, stop = stop, min(stop + k1, steps)  # (T1)
        yield Window(max(stop - k2, 0), previous, stop)  # (T2)


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
    (k1, k2, epochs), _, step = run.options
    for epoch in range(1, epochs + 1):
        states = {0: run.h_0}  # by step, as the latest window computed them
        for number, window in enumerate(_windows(len(run.x), k1, k2), start=1):
            found = window_pass(run, params, states[window.start], window, record)
            gradients, h = found["gradients"], found.pop("h")
            states = dict(zip(range(window.start, window.stop + 1), h))
            delta, velocity = make_direction(params, clip(gradients, step), velocity, step)
            params = sgd_step(params, delta, step.learning_rate)
            given = {"parameters": as_leaves(params), "velocity": copy_of(velocity)}
            yield Update(epoch, number, window, **found, **given)


def window_pass(
    run: Run, params: Parameters[Array], initial: Array, window: Window, record: bool
) -> dict[str, Any]:
    """Forward and backward pass over one window: its states h, loss, gradients, and records."""
    objective, phi = run.options.objective, NONLINEARITIES[run.options.objective.nonlinearity]
    x = run.x[window.start : window.stop].clone()  # clones of inference tensors have graphs
    target = run.target[window.loss_start : window.stop].clone()
    activations = unroll(params, x, initial.detach(), phi)  # (T3)
    L = window_loss(activations.y[-len(target) :], target, objective)
    found = {"loss": L.detach(), "gradients": gradients_of(L, params)}
    if record:
        found["adjoints"] = adjoints_of(L, activations)
        found["activations"] = copy_of(activations)
    return found | {"h": activations.h.detach()}


def _last_of_epochs(every: Iterator[Update[Array]], T: int) -> Iterator[Update[Array]]:
    """The last update of each epoch, with the losses of all."""
    losses: list[Array] = []
    for update in every:
        losses.append(update.loss)
        if update.window.stop == T:
            yield replace(update, losses=torch.stack(losses))
            losses = []
