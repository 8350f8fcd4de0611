"""The fewest calls of NumPy's functions that the equations need, on arrays that already exist.

There are four forms, and which is the fastest depends on the sizes: input and state in one matrix, with the weights
stacked as in `numpy_rnn/engine/layout.py`; every product separately; and one sequence per column instead of per row,
with the steps in one matrix, or copied into one. An ensemble is computed in the blocks of the engine.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np

from benchmarks.rows import FORWARD, GRADIENT, RUN, STEP
from benchmarks.workloads import Case
from numpy_rnn.common.windows import windows
from numpy_rnn.engine.layout import Layout, blocks
from numpy_rnn.engine.update import product_of_group
from numpy_rnn.engine.window import by_step

STACKED, APART, COLUMNS, COPIED_COLUMNS = FORMS = ("stacked", "apart", "columns", "copied columns")


class Call(NamedTuple):
    """One call of a function of NumPy: function(*arguments), and the equation that it computes."""

    equation: str
    function: Callable
    arguments: tuple

    @property
    def is_product(self) -> bool:
        return self.function in (np.ndarray.dot, product_of_group) and self.equation != "L1"


class Calls(NamedTuple):
    """The calls of an epoch: those of every window, and those for the losses of all windows."""

    windows: list[list[Call]]
    losses: list[Call]


class Memory:
    """New arrays of one block of networks with random numbers below one; leading axes as in the engine."""

    def __init__(self, layout: Layout):
        self.layout, self.generator = layout, np.random.default_rng(0)

    def __call__(self, *shape: int) -> np.ndarray:
        array = self.layout.empty(*shape)
        array[...] = self.generator.uniform(-1.5, 1.5, array.shape) * self.layout.H**-0.5  # neither vanish nor overflow
        return array

    def shared(self, *shape: int) -> np.ndarray:
        """One array for all networks."""
        return Memory(self.layout._replace(networks=None))(*shape)


def row_calls(layout: Layout, T: int, K: int, task: str, stacked: bool) -> list[Call]:
    """The calls of a window of T steps, the last K of which have a loss, for the task: forward, gradient or step.

    The loss is summed later. stacked: whether (F1) and (B2) are one product per step.
    """
    memory = Memory(layout)
    calls: list[Call] = []
    D, H, O, B = layout[:4]
    dot = np.ndarray.dot if layout.networks is None else product_of_group

    def add(equation, function, *arguments):
        calls.append(Call(equation, function, arguments))

    theta, gradient = memory(layout.size), memory(layout.size)
    W, U, _ = layout.stacked(theta)
    dW, dU, _ = layout.stacked(gradient)
    W_xh, W_hh = W[..., :D, :], W[..., D:, :]
    if stacked:
        z = memory((T + 1) * B, D + H)
        x, h = z[..., :D], z[..., D:]
    else:
        x, h = memory(T * B, D), memory((T + 1) * B, H)
        z = h
    a, spare, y = memory(T * B, H), memory(B, H), memory(K * B, O)
    before, after, with_loss = np.s_[..., : T * B, :], np.s_[..., B:, :], np.s_[..., (T + 1 - K) * B :, :]
    z_of, h_of, a_of = (by_step(array, B) for array in (z, h, a))
    if not stacked:
        add("F1", dot, x, W_xh, a)
    for t, a_t in enumerate(a_of):
        if stacked:
            add("F1", dot, z_of[t], W, a_t)
        else:
            add("F1", dot, h_of[t], W_hh, spare)
            add("F1", np.add, a_t, spare, a_t)
        add("F2", np.tanh, a_t, h_of[t + 1])
    add("F3", dot, h[with_loss], U, y)
    if task == FORWARD:
        return calls

    target, one = memory.shared(K * B, O), np.ones((), layout.dtype)
    slope, dh, da = memory(T * B, H), memory(T * B, H), memory(T * B, H)
    joint = stacked and K == T > 1
    if joint:  # [dy_t da_{t+1}] in one matrix, and in another the transposed weights that they are multiplied by
        flow, V = memory((T + 1) * B, O + H), memory(O + H, H)
        dy, da = flow[..., B:, :O], flow[..., : T * B, O:]
    else:
        dy = memory(K * B, O)
    slope_of, dh_of, da_of = by_step(slope, B), by_step(dh, B), by_step(da, B)
    add("B1", np.subtract, y, target, dy)
    add("B3", np.multiply, h[after], h[after], slope)
    add("B3", np.subtract, one, slope, slope)
    if joint:
        flow_of = by_step(flow, B)
        for t in reversed(range(T)):
            add("B2", dot, flow_of[t + 1], V, dh_of[t])
            add("B3", np.multiply, dh_of[t], slope_of[t], da_of[t])
    else:
        W_hh_T = memory(H, H)  # a product with a transposed view of W_hh is slower
        add("B2", dot, dy, U.mT, dh[..., (T - K) * B :, :])
        add("B3", np.multiply, dh_of[-1], slope_of[-1], da_of[-1])
        for t in reversed(range(T - 1)):
            if t >= T - K:
                add("B2", dot, da_of[t + 1], W_hh_T, spare)
                add("B2", np.add, dh_of[t], spare, dh_of[t])
            else:
                add("B2", dot, da_of[t + 1], W_hh_T, dh_of[t])
            add("B3", np.multiply, dh_of[t], slope_of[t], da_of[t])
    if stacked:
        add("B4, B5", dot, z[before].mT, da, dW)
    else:
        add("B4", dot, x.mT, da, dW[..., :D, :])
        add("B5", dot, h[before].mT, da, dW[..., D:, :])
    add("B6", dot, h[with_loss].mT, dy, dU)
    if task == GRADIENT:
        return calls
    return [*calls, *step_calls(theta, gradient)]


def column_calls(layout: Layout, T: int, task: str, copied: bool) -> list[Call]:
    """`row_calls` for T steps with a loss and one network, with one sequence per column and transposed weights.

    copied: whether every step has its own matrices, which are copied into one for the products over all steps;
    otherwise the steps are parts of the matrices of all steps.
    """
    memory = Memory(layout)
    calls: list[Call] = []
    D, H, O, B = layout[:4]
    F, dot = H + D, np.ndarray.dot

    def add(equation, function, *arguments):
        calls.append(Call(equation, function, arguments))

    theta, gradient = memory(layout.size), memory(layout.size)
    W_T, dW_T = (vector[: H * F].reshape(H, F) for vector in (theta, gradient))
    U, dU = (vector[H * F :].reshape(H, O) for vector in (theta, gradient))
    if copied:
        z, flow = memory(T + 1, F, B), memory(T + 1, H + O, B)
        all_z, all_flow = memory(F, T + 1, B), memory(H + O, T + 1, B)
    else:
        all_z, all_flow = memory(F, T + 1, B), memory(H + O, T + 1, B)
        z, flow = (array.transpose(1, 0, 2) for array in (all_z, all_flow))
    z_rows, flow_rows = (array.reshape(len(array), (T + 1) * B) for array in (all_z, all_flow))
    a, y, target = memory(T, H, B), memory(O, T * B), memory(O, T * B)
    for t in range(T):
        add("F1", dot, W_T, z[t], a[t])
        add("F2", np.tanh, a[t], z[t + 1, :H])
    if copied:
        add("layout", np.copyto, all_z, z.transpose(1, 0, 2))
    h_after, dy = z_rows[:H, B:], flow_rows[H:, B:]
    add("F3", dot, U.T, h_after, y)
    if task == FORWARD:
        return calls
    V, slope, dh, one = memory(H, H + O), memory(T, H, B), memory(T, H, B), np.ones((), layout.dtype)
    add("B1", np.subtract, y, target, dy)
    if copied:
        add("layout", np.copyto, flow[1:, H:], all_flow[H:, 1:].transpose(1, 0, 2))
    add("B3", np.multiply, z[1:, :H], z[1:, :H], slope)
    add("B3", np.subtract, one, slope, slope)
    for t in reversed(range(T)):
        add("B2", dot, V, flow[t + 1], dh[t])
        add("B3", np.multiply, dh[t], slope[t], flow[t, :H])
    if copied:
        add("layout", np.copyto, all_flow[:H], flow[:, :H].transpose(1, 0, 2))
    add("B4, B5", dot, flow_rows[:H, : T * B], z_rows[:, : T * B].T, dW_T)
    add("B6", dot, h_after, dy.T, dU)
    return calls if task == GRADIENT else [*calls, *step_calls(theta, gradient)]


def step_calls(theta: np.ndarray, gradient: np.ndarray) -> list[Call]:
    """The SGD update of all parameters at once."""
    rate = np.zeros((), theta.dtype)  # keeps the weights, however often the calls are repeated
    return [Call("U1", np.multiply, (gradient, rate, gradient)), Call("U1", np.subtract, (theta, gradient, theta))]


def loss_calls(layout: Layout, updates: int, terms: int) -> list[Call]:
    """The losses of this many updates, each a sum of `terms` squares."""
    memory, half = Memory(layout), np.full((), 0.5, layout.dtype)
    error, squares = memory(updates, terms), memory(updates, terms)
    if updates == 1 and layout.networks is None:
        row = error.reshape(-1)
        return [Call("L1", np.ndarray.dot, (row, row)), Call("L1", np.multiply, (half, half))]
    calls = [Call("L1", np.multiply, (error, error, squares))]
    if terms > 1:
        calls.append(Call("L1", partial(np.sum, axis=-1), (squares,)))
    losses = squares[..., 0]
    return [*calls, Call("L1", np.multiply, (losses, half, losses))]


def task_calls(task: str, case: Case, form: str) -> list[Calls]:
    """The calls of each block of networks, for one epoch of a run or one window."""
    k1, k2 = (1, case.k2) if task == RUN and case.k2 is not None else (case.T, case.T)
    of_epoch, of_window, calls = list(windows(case.T, k1, k2)), STEP if task == RUN else task, []
    for block in blocks(case.arrays()[0], case.B, k2):
        layout = block.layout._replace(columns=False)
        of_length = {
            T: row_calls(layout, T, k1, of_window, form == STACKED)
            if form in (STACKED, APART)
            else column_calls(layout, T, of_window, form == COPIED_COLUMNS)
            for T in {window.steps for window in of_epoch}
        }
        losses = [] if task == FORWARD else loss_calls(layout, len(of_epoch), k1 * case.B * case.O)
        calls.append(Calls([of_length[window.steps] for window in of_epoch], losses))
    return calls


def forms(case: Case) -> tuple[str, ...]:
    """The forms that a case can have: columns are for several sequences, all of whose steps have a loss."""
    return FORMS if case.networks == 1 and case.k2 is None and case.B > 1 else (STACKED, APART)


def flops(calls: Iterable[Call]) -> int:
    """Floating-point operations of the products: two per term."""
    return sum(2 * call.arguments[2].size * call.arguments[0].shape[-1] for call in calls if call.is_product)
