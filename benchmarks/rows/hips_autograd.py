"""HIPS autograd: value_and_grad of the forward pass, written with its NumPy."""

from collections.abc import Sequence
from typing import Any

import autograd.numpy as np
from autograd import value_and_grad

from benchmarks.rows import FORWARD, GRADIENT, RUN, STEP, Prepared, Row, one_network, present, report, run_report
from benchmarks.workloads import Case
from numpy_rnn.common.windows import windows

Arrays = Sequence[Any]  # of NumPy, or autograd's boxes of them


def unroll(weights: Arrays, x: Any, h: Any) -> tuple[Any, list[Any]]:
    """y of a window, and the states h_1 to h_T as a list."""
    W_xh, W_hh, W_hy = weights
    inputs, states = np.dot(x, W_xh), []
    for t in range(len(x)):
        h = np.tanh(inputs[t] + np.dot(h, W_hh))
        states.append(h)
    return np.dot(np.stack(states), W_hy), states


def window_loss(weights: Arrays, x: Any, target: Any, h: Any, record: list[Any]) -> Any:
    """The loss of the steps with a target; the states are put into `record`, outside what is differentiated."""
    y, states = unroll(weights, x, h)
    record[:] = [getattr(state, "_value", state) for state in states]
    error = y[-len(target) :] - target
    return 0.5 * np.sum(error * error)


loss_and_gradients = value_and_grad(window_loss)


def update(weights: Arrays, x: Any, target: Any, h: Any, learning_rate: Any) -> tuple[list, Any, Any, list]:
    """The new weights, the loss, its gradients and the states h_1 to h_T."""
    states: list = []
    loss, gradients = loss_and_gradients(weights, x, target, h, states)
    return [W - learning_rate * dW for W, dW in zip(weights, gradients)], loss, gradients, states


def given(case: Case) -> tuple[list, Any, Any, Any, Any]:
    params, x, target, h_0 = one_network(case).arrays()
    return list(params[:3]), x, target, h_0, params.W_hh.dtype.type(case.learning_rate)


def forward(case: Case) -> Prepared:
    weights, x, _, h_0, _ = given(case)
    return Prepared(lambda: unroll(weights, x, h_0)[0], lambda: {"y": unroll(weights, x, h_0)[0]})


def gradient(case: Case) -> Prepared:
    arguments = given(case)[:4]

    def call():
        return loss_and_gradients(*arguments, [])

    return Prepared(call, lambda: report(*call()))


def step(case: Case) -> Prepared:
    weights, *series = given(case)

    def call():
        nonlocal weights
        weights, *_ = update(weights, *series)

    def result():
        new, loss, gradients, _ = update(*given(case))
        return report(loss, gradients, new)

    return Prepared(call, result)


def run(case: Case) -> Prepared:
    start, x, target, h_0, learning_rate = given(case)
    k1, k2 = (case.T, case.T) if case.k2 is None else (1, case.k2)

    def call():
        weights, losses = start, [0.0] * case.epochs
        for epoch in range(case.epochs):
            states, first = [h_0], 0
            for begin, loss_start, stop in windows(case.T, k1, k2):
                initial = states[begin - first]
                arguments = x[begin:stop], target[loss_start:stop], initial, learning_rate
                weights, loss, _, after = update(weights, *arguments)
                states, first = [initial, *after], begin
                losses[epoch] += loss
        return losses, weights

    return Prepared(call, lambda: run_report(*call()))


ABOUT = "value_and_grad of a loop over the steps in autograd.numpy, after one product for all inputs"
ROW = Row("HIPS autograd", ABOUT, present, {FORWARD: forward, GRADIENT: gradient, STEP: step, RUN: run})
