"""What a way to train in NumPy cannot go below, as rows: they compute nothing that could be judged.

Bare calls: the fewest calls of NumPy's functions that the equations allow, in a loop on arrays that exist already, with
`out=`. Either input, state and output share products, with the weights stacked as in `numpy_rnn/engine/layout.py`, or
every product has a call of its own; both forms are timed first, and the faster one is the row. An ensemble is computed
in the blocks of the engine.

Bare GEMMs: the matrix products of these calls alone. NumPy multiplies arrays in either order of memory, and a product
or its transpose: of these eight layouts each product has the one that is fastest here, which is measured first. So
this is the machine's own speed at these shapes, and not that of a layout.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby, product
from time import perf_counter
from typing import NamedTuple

import numpy as np

from benchmarks.cases import Case
from benchmarks.rows.row import FORWARD, GRADIENT, RUN, STEP, Prepared, Row, present
from numpy_rnn.common.windows import windows
from numpy_rnn.engine.layout import Layout, blocks, empty
from numpy_rnn.engine.update import product_of_group

CALLS, GEMMS = "bare calls", "bare GEMMs"
TRIALS = 5  # of which the fastest counts, when layouts are compared
LEAST_SECONDS = 2e-4  # of a trial
MOST_OPERANDS = 4  # of the products of a loop over the steps that are compared

Layouts = dict[tuple, tuple[bool, ...]]  # by the shapes of a product: see `in_layout`


class Call(NamedTuple):
    """One call of a function of NumPy: function(*arguments), and the equation that it computes."""

    equation: str
    function: Callable
    arguments: tuple

    @property
    def is_product(self) -> bool:
        return self.function in (np.ndarray.dot, product_of_group) and self.equation != "L1"


class Calls(NamedTuple):
    """The calls of an epoch: of every window, and those that compute the losses of all windows."""

    windows: list[list[Call]]
    losses: list[Call]


class Memory:
    """The arrays of one block of networks, of any numbers below one; leading axes as in the engine."""

    def __init__(self, layout: Layout):
        self.layout, self.generator = layout, np.random.default_rng(0)

    def __call__(self, *shape: int) -> np.ndarray:
        made = self.layout.empty(*shape)
        made[...] = self.generator.uniform(-1.5, 1.5, made.shape) * self.layout.H**-0.5  # neither vanish nor overflow
        return made

    def of_all(self, *shape: int) -> np.ndarray:
        """One for all networks."""
        return Memory(self.layout._replace(networks=None))(*shape)


def window_calls(layout: Layout, T: int, K: int, task: str, stacked: bool) -> list[Call]:
    """The calls of a window of T steps, of which K are new: those of the forward pass, of the gradient too, or of the
    step too. The loss is summed later. stacked: whether (F1), and (B2), are one product a step.
    """
    memory, calls = Memory(layout), []
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
    step = [np.s_[..., t * B : (t + 1) * B, :] for t in range(T + 1)]
    before, after, new = np.s_[..., : T * B, :], np.s_[..., B:, :], np.s_[..., (T + 1 - K) * B :, :]
    if not stacked:
        add("F1", dot, x, W_xh, a)
    for t in range(T):
        if stacked:
            add("F1", dot, z[step[t]], W, a[step[t]])
        else:
            add("F1", dot, h[step[t]], W_hh, spare)
            add("F1", np.add, a[step[t]], spare, a[step[t]])
        add("F2", np.tanh, a[step[t]], h[step[t + 1]])
    add("F3", dot, h[new], U, y)
    if task == FORWARD:
        return calls

    target, one = memory.of_all(K * B, O), np.ones((), layout.dtype)
    slope, dh, da = memory(T * B, H), memory(T * B, H), memory(T * B, H)
    joint = stacked and K == T > 1
    if joint:  # [dy_t da_{t+1}] side by side, and below each other the transposed weights that they are multiplied by
        flow, V = memory((T + 1) * B, O + H), memory(O + H, H)
        dy, da = flow[..., B:, :O], flow[..., : T * B, O:]
    else:
        dy = memory(K * B, O)
    add("B1", np.subtract, y, target, dy)
    add("B3", np.multiply, h[after], h[after], slope)
    add("B3", np.subtract, one, slope, slope)
    if joint:
        for t in reversed(range(T)):
            add("B2", dot, flow[step[t + 1]], V, dh[step[t]])
            add("B3", np.multiply, dh[step[t]], slope[step[t]], da[step[t]])
    else:
        W_hh_T = memory(H, H)  # a product with a view of W_hh would take longer
        add("B2", dot, dy, U.mT, dh[..., (T - K) * B :, :])
        add("B3", np.multiply, dh[step[T - 1]], slope[step[T - 1]], da[step[T - 1]])
        for t in reversed(range(T - 1)):
            if t >= T - K:
                add("B2", dot, da[step[t + 1]], W_hh_T, spare)
                add("B2", np.add, dh[step[t]], spare, dh[step[t]])
            else:
                add("B2", dot, da[step[t + 1]], W_hh_T, dh[step[t]])
            add("B3", np.multiply, dh[step[t]], slope[step[t]], da[step[t]])
    if stacked:
        add("B4, B5", dot, z[before].mT, da, dW)
    else:
        add("B4", dot, x.mT, da, dW[..., :D, :])
        add("B5", dot, h[before].mT, da, dW[..., D:, :])
    add("B6", dot, h[new].mT, dy, dU)
    if task == GRADIENT:
        return calls
    rate = np.zeros((), layout.dtype)  # so that the weights stay, however often they are moved
    add("U1", np.multiply, gradient, rate, gradient)
    add("U1", np.subtract, theta, gradient, theta)
    return calls


def loss_calls(layout: Layout, updates: int, terms: int) -> list[Call]:
    """The losses of this many updates, each a sum of so many squares."""
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


def task_calls(task: str, case: Case, stacked: bool) -> list[Calls]:
    """By block of networks: of one epoch of a run, or of one window."""
    k1, k2 = (1, case.k2) if task == RUN and case.k2 is not None else (case.T, case.T)
    of_epoch, found = list(windows(case.T, k1, k2)), []
    for layout in (block.layout for block in blocks(case.arrays()[0], case.B)):
        of_length = {
            steps: window_calls(layout, steps, k1, STEP if task == RUN else task, stacked)
            for steps in {window.steps for window in of_epoch}
        }
        losses = [] if task == FORWARD else loss_calls(layout, len(of_epoch), k1 * case.B * case.O)
        found.append(Calls([of_length[window.steps] for window in of_epoch], losses))
    return found


def flops(calls: Iterable[Call]) -> int:
    """Floating-point operations of the products: two a term."""
    return sum(2 * call.arguments[2].size * call.arguments[0].shape[-1] for call in calls if call.is_product)


def fastest(candidates: list[Callable[[], object]]) -> Callable[[], object]:
    """The one of these that takes the least time when it is called."""
    counts = []
    for call in candidates:
        call()
        counts.append(max(1, int(LEAST_SECONDS / max(_seconds(call, 1), 1e-9))))
    trials = [[_seconds(call, count) for call, count in zip(candidates, counts)] for _ in range(TRIALS)]
    least = [min(of_one) for of_one in zip(*trials)]
    return candidates[least.index(min(least))]


def _seconds(call, count):
    """Of one of so many calls."""
    began = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - began) / count


def loop_over(calls: list[Callable], times: int = 1) -> Callable[[], object]:
    def loop():
        for _ in range(times):
            for call in calls:
                call()

    return loop


def made(calls: Iterable[Call], found: Layouts | None = None) -> list[Callable]:
    """The calls as they are."""
    return [partial(call.function, *call.arguments) for call in calls]


def in_best_layouts(calls: Iterable[Call], found: Layouts) -> list[Callable]:
    """The products of these calls, every one in the fastest layout of its shapes: as `found` before, or measured."""
    chosen = []
    for shapes, group in groupby((call for call in calls if call.is_product), key=_shapes):
        products = list(group)
        if products[0].function is not np.ndarray.dot:
            chosen += made(products)
            continue
        if shapes not in found:
            layouts = list(product((False, True), repeat=3))
            tried = [loop_over(in_layout(products[:MOST_OPERANDS], *layout)) for layout in layouts]
            found[shapes] = layouts[tried.index(fastest(tried))]
        chosen += in_layout(products, *found[shapes])
    return chosen


def _shapes(call):
    return call.function, *(array.shape for array in call.arguments)


def in_layout(products: list[Call], left_turned: bool, right_turned: bool, turned: bool) -> list[Callable]:
    """Calls of `dot` on new arrays. *_turned: whether a factor is laid out in columns; turned: whether the transposed
    product is computed. Operands that these products share are shared here too.
    """
    arrays: dict[tuple, np.ndarray] = {}

    def placed(array, columns):
        key = array.__array_interface__["data"][0], array.shape, array.strides, columns
        if key not in arrays:
            shape = array.shape[::-1] if columns else array.shape
            new = empty(shape, array.dtype)
            arrays[key] = new.T if columns else new
            arrays[key][...] = array
        return arrays[key]

    found: list[Callable] = []
    for call in products:
        left, right, out = call.arguments
        left, right, out = placed(left, left_turned), placed(right, right_turned), placed(out, turned)
        found.append(partial(np.ndarray.dot, *((right.T, left.T, out.T) if turned else (left, right, out))))
    return found


def prepared(task: str, case: Case, choose: Callable[[Iterable[Call], Layouts], list[Callable]] = made) -> Prepared:
    """All the calls, in the faster of the two forms, once an epoch."""
    forms: list[Callable[[], object]] = []
    found: Layouts = {}
    for stacked in (True, False):
        calls = []
        for block in task_calls(task, case, stacked):
            chosen = {id(window): choose(window, found) for window in block.windows}
            calls += [call for window in block.windows for call in chosen[id(window)]]
            calls += choose(block.losses, found)
        forms.append(loop_over(calls))
    return Prepared(loop_over([fastest(forms)], case.epochs if task == RUN else 1), dict)


TASKS = (FORWARD, GRADIENT, STEP, RUN)
ROWS = {
    CALLS: Row(
        CALLS,
        "the fewest NumPy calls that the equations allow, alone",
        present,
        {task: partial(prepared, task) for task in TASKS},
    ),
    GEMMS: Row(
        GEMMS,
        "the matrix products of these calls alone, each in the layout that is fastest here",
        present,
        {task: partial(prepared, task, choose=in_best_layouts) for task in TASKS},
    ),
}
