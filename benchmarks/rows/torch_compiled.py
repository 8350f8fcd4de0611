"""torch.compile of the step: gradient and SGD update in one compiled function of tensors."""

import shutil
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.rows import GRADIENT, RUN, STEP, Prepared, Row, Unsupported, one_network, report, run_report
from benchmarks.workloads import Case

MAX_STEPS = 100  # per window: they are unrolled, and compiling ten takes seconds

Weights = list[Tensor]


def absent() -> str | None:
    return None if shutil.which("g++") or shutil.which("clang++") else "no C++ compiler is installed"


def loss_of_window(weights: Weights, x: Tensor, target: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of a window, all of whose steps have a target, and its last state."""
    W_xh, W_hh, W_hy = weights
    states = []
    for input_t in (x @ W_xh).unbind():
        h = torch.tanh(input_t + h @ W_hh)
        states.append(h)
    return 0.5 * (torch.stack(states) @ W_hy - target).square().sum(), h


def gradients_of(weights: Weights, x: Tensor, target: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Weights]:
    """The loss, the last state, and the gradients, by torch.func."""
    (gradients, (loss, h)) = torch.func.grad(
        lambda *of: (lambda out: (out[0], out))(loss_of_window(*of)), has_aux=True
    )(weights, x, target, h)
    return loss, h, gradients


def update(
    weights: Weights, x: Tensor, target: Tensor, h: Tensor, learning_rate: float
) -> tuple[Tensor, Tensor, Weights]:
    """The loss, the last state and the gradients; the weights are updated in place."""
    loss, h, gradients = gradients_of(weights, x, target, h)
    for W, dW in zip(weights, gradients):
        W.sub_(learning_rate * dW)
    return loss, h, gradients


def compiled(function: Callable, *arguments: Any) -> tuple[Callable, float]:
    """The function after a first call, which compiles it, and the seconds of that call."""
    torch.compiler.reset()
    function, start = torch.compile(function, fullgraph=True, dynamic=False), perf_counter()
    with torch.no_grad():
        function(*arguments)
    return torch.no_grad()(function), perf_counter() - start


def given(case: Case) -> tuple[Any, ...]:
    if case.T > MAX_STEPS:
        raise Unsupported(f"windows of more than {MAX_STEPS} steps take too long to compile")
    params, *series = one_network(case).arrays()
    return [torch.tensor(W) for W in params[:3]], *map(torch.tensor, series)


def gradient(case: Case) -> Prepared:
    arguments = given(case)
    function, seconds = compiled(gradients_of, *arguments)

    def result():
        loss, _, gradients = function(*arguments)
        return report(loss, gradients)

    return Prepared(partial(function, *arguments), result, seconds)


def step(case: Case) -> Prepared:
    arguments = given(case)
    function, seconds = compiled(update, *given(case), case.learning_rate)

    def result():
        weights, *series = given(case)
        loss, _, gradients = function(weights, *series, case.learning_rate)
        return report(loss, gradients, weights)

    return Prepared(partial(function, *arguments, case.learning_rate), result, seconds)


def run(case: Case) -> Prepared:
    if case.k2 not in (None, 1):
        raise Unsupported("would compile a function for every length of a window")
    start, x, target, h_0 = given(case)
    windows = [(x, target)] if case.k2 is None else list(zip(x.split(1), target.split(1)))
    copied, rate = [W.clone() for W in start], case.learning_rate
    function, seconds = compiled(update, copied, *windows[0], h_0, rate)

    def call():
        weights, losses = [W.clone() for W in start], []
        for _ in range(case.epochs):
            total, h = 0.0, h_0
            for window in windows:
                loss, h, _ = function(weights, *window, h, rate)
                total += loss.item()
            losses.append(total)
        return losses, weights

    return Prepared(call, lambda: run_report(*call()), seconds)


ABOUT = (
    "loss, torch.func.grad and the SGD update in one function under torch.compile(fullgraph=True), steps unrolled; in"
    " the full mode at T = 50, B = 1 and 32, every other H"
)
ROW = Row("torch.compile", ABOUT, absent, {GRADIENT: gradient, STEP: step, RUN: run})
