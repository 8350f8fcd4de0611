"""The plain loop: training by truncated BPTT, on a series and on a stream (DERIVATION.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Unpack

import numpy as np

from numpy_rnn.backward import ERRORS, SLOPES, backward, weight_gradients
from numpy_rnn.clipping import apply_clipping
from numpy_rnn.common import records
from numpy_rnn.common.checks import check_run, check_stream
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
from numpy_rnn.elman import NONLINEARITIES, unroll
from numpy_rnn.loss import LOSSES, loss_terms
from numpy_rnn.momentum import directed
from numpy_rnn.parameters import (
    ARRAYS,
    Array,
    InitialState,
    Inputs,
    LearningRate,
    Targets,
    Weights,
    copy_of,
    read_only,
)
from numpy_rnn.truncation import SeriesWindows, StreamWindows, Windows
from numpy_rnn.update import as_learning_rate, sgd_step


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
    nonlinearity: records.Nonlinearity = "tanh",
    reduction: records.Reduction = "sum",
    loss: records.LossName = "squared_error",
    weights: Weights | None = None,
    record: bool = False,
    yield_every: records.YieldEvery = 1,
    resume: State[Array] | None = None,
    **sgd: Unpack[records.SgdKeywords],
) -> Training[Array]:
    """Train by TBPTT(k1, k2) and SGD, one update at a time, as `numpy_rnn.train` does, in the plainest way.

    Every epoch starts from h_0 and passes through the series once. Update n runs the forward pass over its window,
    the steps (s_n, e_n], with the current parameters, takes the gradient of the loss of its new steps (e_{n-1}, e_n],
    and makes one SGD step, where

        e_n = min(n·k1, T)                                                                                (T1)
        s_n = max(0, e_n − k2)                                                                            (T2)
        initial state of the window: h at s_n as update n−1 computed it, a constant; h_0 if s_n = 0       (T3)

    `numpy_rnn.train` describes the arguments, the result and the errors raised.
    Source: Williams and Peng 1990; Sutskever 2013, section 2.8.6.
    """
    objective, step = Objective(nonlinearity, loss, reduction), Step(learning_rate, **sgd)
    options = RunOptions(Schedule(k1, k2, epochs), objective, step)
    run, resume = check_run(ARRAYS, Run(params, x, target, h_0, weights, options), resume)
    start = first_state(copy_of(run.params)) if resume is None else copy_of(resume)
    begin = partial(
        updates, run._replace(h_0=copy_of(h_0)), SeriesWindows(run), check_flag("record", record)
    )
    return training(begin, start, len(x), yield_every, copy_of, np.stack)


def train_stream(
    params: Parameters[Array],
    steps: Iterable[tuple[Array, ...]],
    h_0: InitialState | None,
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
    """Train as `train` does, in one pass over a stream; `numpy_rnn.train_stream` describes the arguments."""
    objective, step = Objective(nonlinearity, loss, reduction), Step(learning_rate, **sgd)
    run = Run(params, steps, None, h_0, None, RunOptions(Schedule(k1, k2), objective, step))
    run = check_stream(ARRAYS, run, velocity)
    start = first_state(copy_of(params), copy_of(velocity))
    begin = partial(
        updates, run._replace(h_0=copy_of(h_0)), StreamWindows(run), check_flag("record", record)
    )
    return training(begin, start, None, yield_every, copy_of, np.stack)


def updates(run: Run, windows: Windows, record: bool, state: State[Array]) -> Updates[Array]:
    """The loop of TBPTT: generates every update after `state`, and with it the initial state of the next window.

    h: the states of the latest window, from step `first` of the series on. A learned h_0 has a gradient in the windows
    with s_n = 0; in the others the gradient is taken with respect to the parameters without it, `learned`.
    """
    *_, given, _, (schedule, objective, step) = run
    phi, slope = NONLINEARITIES[objective.nonlinearity], SLOPES[objective.nonlinearity]
    loss, error = LOSSES[objective.loss], ERRORS[objective.loss]
    params, velocity = copy_of(state.parameters), state.velocity if step.has_velocity else None
    rate = as_learning_rate(params, step.learning_rate)
    h: Any = [state.h]
    first, done = windows.next_start(state.window), state.number
    for epoch in range(state.epoch, schedule.epochs + 1):
        for number, (window, x, target, weights) in enumerate(windows.epoch(done), start=done + 1):
            learned = params
            if window.start == 0:
                h, first = [params.h_0 if given is None else given], 0
            else:
                learned = params._replace(h_0=None)
            initial = h[window.start - first]  # (T3)
            activations = unroll(params, x, initial, phi)
            y = activations.y[-len(target) :]
            terms = loss_terms(y, target, weights, objective)
            L = loss(y, *terms)
            adjoints = backward(params, activations, terms, slope, error)
            gradients = weight_gradients(learned, activations, adjoints)
            delta, velocity = directed(params, apply_clipping(gradients, step), velocity, step)
            params = sgd_step(params, delta, rate)
            h, first = activations.h, window.start
            kept = (copy_of(activations), adjoints) if record else (None, None)
            update = Update(
                epoch, number, window, L, gradients, read_only(params), read_only(velocity), *kept
            )
            yield update, h[windows.next_start(window) - first]
        done = 0
