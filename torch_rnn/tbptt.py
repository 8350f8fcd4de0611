"""The loop of truncated BPTT as PyTorch users write it, with detach() and torch.optim (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Unpack

import torch

from numpy_rnn.common import records
from numpy_rnn.common.checks import check_run, check_stream
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.errors import check_flag
from numpy_rnn.common.records import (
    Gradients,
    Objective,
    Parameters,
    Run,
    RunOptions,
    Schedule,
    State,
    Step,
    Update,
)
from numpy_rnn.common.update_iterator import Training, Updates, first_state, training
from torch_rnn.clipping import clipped
from torch_rnn.elman import NONLINEARITIES, series_inputs, unroll
from torch_rnn.loss import window_loss
from torch_rnn.parameters import ARRAYS, Array, LearningRate, copy_of, copy_of_step, own
from torch_rnn.update import descend, directed, move

Steps = Iterator[tuple[Array, ...]]  # (x_t, target_t), or (x_t, target_t, weights_t)


def train(
    params: Parameters[Array],
    x: Array,
    target: Array,
    h_0: Array | None,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    epochs: int,
    nonlinearity: records.Nonlinearity = "tanh",
    reduction: records.Reduction = "sum",
    loss: records.LossName = "squared_error",
    weights: Array | None = None,
    record: bool = False,
    yield_every: records.YieldEvery = 1,
    resume: State[Array] | None = None,
    **sgd: Unpack[records.SgdKeywords],
) -> Training[Array]:
    """Train by TBPTT(k1, k2) and SGD, one update at a time.

    `numpy_rnn.train` describes the arguments, the result and the errors raised. The arrays of an Update are copies.
    Tensors that require a gradient, or have a graph, are taken as numbers: nothing flows back into them.
    """
    objective, step = Objective(nonlinearity, loss, reduction), Step(learning_rate, **sgd)
    options = RunOptions(Schedule(k1, k2, epochs), objective, step)
    run, resume = check_run(ARRAYS, Run(params, x, target, h_0, weights, options), resume)
    series = [v.detach() for v in (x, target, weights) if v is not None]
    start = first_state(own(params)) if resume is None else copy_of(resume)
    run = run._replace(h_0=copy_of(h_0))
    begin = partial(updates, run, len(x), partial(_steps, series), check_flag("record", record))
    return training(begin, start, len(x), yield_every, copy_of, torch.stack)


def train_stream(
    params: Parameters[Array],
    steps: Iterable[tuple[Array, ...]],
    h_0: Array | None,
    *,
    k1: int,
    k2: int,
    learning_rate: LearningRate,
    nonlinearity: records.Nonlinearity = "tanh",
    reduction: records.Reduction = "sum",
    loss: records.LossName = "squared_error",
    record: bool = False,
    yield_every: records.YieldEvery = 1,
    velocity: Gradients[Array] | None = None,
    **sgd: Unpack[records.SgdKeywords],
) -> Training[Array]:
    """Train in one pass over a stream, as `numpy_rnn.train_stream`, which describes the arguments and errors raised.

    Tensors are taken as numbers, as in `train`.
    """
    objective, step = Objective(nonlinearity, loss, reduction), Step(learning_rate, **sgd)
    run = Run(params, steps, None, h_0, None, RunOptions(Schedule(k1, k2), objective, step))
    run = check_stream(ARRAYS, run, velocity)
    start = first_state(own(params), copy_of(velocity))
    copies, run = map(copy_of_step, run.x), run._replace(h_0=copy_of(h_0))
    begin = partial(updates, run, None, lambda: copies, check_flag("record", record))
    return training(begin, start, None, yield_every, copy_of, torch.stack)


def _steps(series: list[Array]) -> Steps:
    return (
        tuple(v[t] for v in series) for t in range(len(series[0]))
    )  # zip would make views of all steps at once


@torch.inference_mode(False)
@torch.enable_grad()
def updates(
    run: Run, T: int | None, steps: Callable[[], Steps], record: bool, state: State[Array]
) -> Updates[Array]:
    """The loop of TBPTT: generates every update after `state`, and with it the initial state of the next window.

    memory: the steps of the window, at most k2, each an input and the state before it as it was computed last.
    """
    (k1, k2, epochs), objective, step = run.options
    params, velocity = own(state.parameters), copy_of(state.velocity)
    leaves = [theta for theta in params if theta is not None]
    by_torch = not step.adagrad and isinstance(
        step.learning_rate, float
    )  # it has no rate per network
    latest, done = state.h, state.number
    for epoch in range(state.epoch, epochs + 1):
        rest, number, stop = steps(), done, done * k1
        memory: deque[list[Any]] = deque(
            ([x_t, latest] for x_t, *_ in islice(rest, stop)), maxlen=k2
        )
        while new := list(islice(rest, k1)):
            number, stop = number + 1, stop + len(new)  # (T1)
            memory.extend([x_t, latest] for x_t, *_ in new)
            start = stop - len(memory)  # (T2)
            initial = memory[0][1] if start else params.h_0 if run.h_0 is None else run.h_0  # (T3)
            x, initial = series_inputs(
                params, torch.stack([x_t for x_t, _ in memory]), initial, record
            )
            a, h, y = unroll(params, x, initial, NONLINEARITIES[objective.nonlinearity])
            target, *weights = map(torch.stack, list(zip(*new))[1:])
            L = window_loss(y[-len(new) :], target, weights[0] if weights else None, objective)
            for theta in leaves:
                theta.grad = None
            for tensor in (*a, *h, y) if record else ():
                tensor.retain_grad()
            (L.sum() if L.ndim else L).backward()  # type: ignore[no-untyped-call]
            gradients = tree_map(lambda theta: theta.grad, params)
            states = [h_t.detach() for h_t in h]
            kept = _recorded(x, a, h, y) if record else (None, None)
            if by_torch:
                velocity = descend(params, clipped(gradients, step), velocity, step)
            else:
                delta, velocity = directed(params, clipped(gradients, step), velocity, step)
                move(params, delta, step.learning_rate)
            for memorized, h_t in zip(memory, states):
                memorized[1] = h_t
            latest = states[-1]
            window, moved = (
                records.Window(start, stop - len(new), stop),
                velocity if step.has_velocity else None,
            )
            update = Update(
                epoch, number, window, L.detach(), gradients, own(params), copy_of(moved), *kept
            )
            dropped = (
                len(memory)
                if T is None or stop == T
                else max(0, len(memory) + min(k1, T - stop) - k2)
            )
            yield update, states[dropped]
        done = 0


def _recorded(x: Array, a: list[Array], h: list[Array], y: Array) -> tuple[Any, Any]:
    """The activations of a window, and the gradients that the backward pass left in them."""
    activations = records.Activations(
        *(v.detach().contiguous() for v in (x, torch.stack(a), torch.stack(h), y))
    )
    flow: Any = [[v.grad for v in tensors] for tensors in (a, h)]
    da, (dh_0, *dh) = flow
    return activations, records.Adjoints(y.grad, torch.stack(dh), torch.stack(da), x.grad, dh_0)
