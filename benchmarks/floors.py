"""What a way to train in NumPy cannot go below, as rows: measured beside the others, computing nothing to be judged.

Bare calls: the calls of NumPy's functions of arrays that the equations need, in a loop on arrays that are there
already, with `out=` where a call takes it; laid out as numpy_rnn lays them out, all parameters in one vector. Bare
GEMMs: their products of matrices alone, so the machine's own speed at these shapes.
"""

from collections.abc import Callable
from functools import partial
from operator import truediv

import numpy as np
from numpy_rnn.vectors import empty, in_one_vector, product_for, product_of_networks

from benchmarks.cases import Case
from benchmarks.rows.row import FORWARD, GRADIENT, RUN, STEP, Prepared, Row, present

PRODUCTS = (np.ndarray.dot, np.matmul, product_of_networks)
CALLS, GEMMS = "bare calls", "bare GEMMs"
Calls = list[tuple[str, Callable, tuple]]  # (the equation, the function, its arguments)


def window_calls(case: Case, T: int, K: int, task: str) -> Calls:
    """The calls of a window of T steps, of which K are counted: those of the forward pass, of the gradient and loss
    too, or of the step too.
    """
    vector, params = in_one_vector(case.arrays()[0], case.B)
    dvector, gradients = in_one_vector(params, case.B)
    W_xh, W_hh, W_hy = params[:3]
    B, D, H, O = case.B, case.D, case.H, case.O
    generator = np.random.default_rng(0)

    def rows(steps, N):
        """Of h, y and all others alike, numbers below one."""
        made = empty(params, steps * B, N)
        made[...] = np.tanh(generator.normal(size=made.shape))
        return made

    def series(steps, N):
        """Of x and the target: one for all networks."""
        return rows(steps, N)[(slice(1),) * (W_hh.ndim - 2)]

    dot = product_for(params)
    step = [np.s_[..., t * B : (t + 1) * B, :] for t in range(T + 1)]
    x, target, one = series(T, D), series(K, O), np.ones((), case.dtype)
    a, product, h, y = rows(T, H), rows(1, H), rows(T + 1, H), rows(T, O)
    calls: Calls = [("F1", dot, (x, W_xh, a))]
    for t in range(T):
        calls.append(("F1", dot, (h[step[t]], W_hh, product)))
        calls.append(("F1", np.add, (a[step[t]], product, a[step[t]])))
        calls.append(("F2", np.tanh, (a[step[t]], h[step[t + 1]])))
    after = h[..., B:, :]
    calls.append(("F3", dot, (after, W_hy, y)))
    if task == FORWARD:
        return calls

    dy, dh, da, slope = rows(T, O), rows(T, H), rows(T, H), rows(T, H)
    counted = np.s_[..., (T - K) * B :, :]
    calls.append(("B1", np.subtract, (y[counted], target, dy[counted])))
    error = dy[counted].ravel()
    two, losses = np.ones(2, case.dtype).sum(), np.ones(case.networks, case.dtype)
    if case.networks == 1:
        calls += [("L1", np.ndarray.dot, (error, error)), ("L1", truediv, (two, two))]
    else:
        calls += [("L1", _sum_of_squares, (dy[counted],)), ("L1", np.divide, (losses, two, losses))]
    calls.append(("B2", dot, (dy, W_hy.mT, dh)))
    calls.append(("B3", np.multiply, (after, after, slope)))
    calls.append(("B3", np.subtract, (one, slope, slope)))
    calls.append(("B3", np.multiply, (dh[step[T - 1]], slope[step[T - 1]], da[step[T - 1]])))
    W_hh_T = empty(params, H, H)  # a product with a view of W_hh would take longer
    W_hh_T[...] = W_hh.mT
    for t in reversed(range(T - 1)):
        calls.append(("B2", dot, (da[step[t + 1]], W_hh_T, product)))
        calls.append(("B2", np.add, (dh[step[t]], product, dh[step[t]])))
        calls.append(("B3", np.multiply, (dh[step[t]], slope[step[t]], da[step[t]])))
    factors = (x, da), (h[..., : T * B, :], da), (after, dy)
    for name, (left, right), dW in zip(("B4", "B5", "B6"), factors, gradients):
        calls.append((name, dot, (left.mT, right, dW)))
    if task == GRADIENT:
        return calls

    rate = np.asarray(0, case.dtype)  # so that the weights stay, however often they are moved
    return [*calls, ("U1", np.multiply, (rate, dvector, dvector)), ("U1", np.subtract, (vector, dvector, vector))]


def _sum_of_squares(error):
    return np.square(error).sum(axis=(-2, -1))


def task_calls(task: str, case: Case) -> Calls:
    """Of one update; of a run, one update with a whole window."""
    if task == RUN and case.k2 is not None:
        return window_calls(case, min(case.k2, case.T), 1, STEP)
    return window_calls(case, case.T, case.T, STEP if task == RUN else task)


def only_products(calls: Calls) -> Calls:
    return [call for call in calls if call[1] in PRODUCTS and call[0] != "L1"]


def flops(calls: Calls) -> int:
    """Floating-point operations of the products: two a term."""
    return sum(2 * out.size * left.shape[-1] for _, _, (left, _, out) in only_products(calls))


def prepared(task: str, case: Case, choose=list) -> Prepared:
    """All the calls, as often as the task makes updates."""
    calls = [partial(function, *arguments) for _, function, arguments in choose(task_calls(task, case))]
    updates = case.points if task == RUN else 1

    def call():
        for _ in range(updates):
            for made in calls:
                made()

    return Prepared(call, dict)


TASKS = (FORWARD, GRADIENT, STEP, RUN)
BARE_CALLS = Row(
    CALLS, "the NumPy calls that the equations need, alone", present, {t: partial(prepared, t) for t in TASKS}
)
BARE_GEMMS = Row(
    GEMMS,
    "the products of matrices of these calls, alone",
    present,
    {task: partial(prepared, task, choose=only_products) for task in TASKS},
)
ROWS = {CALLS: BARE_CALLS, GEMMS: BARE_GEMMS}
