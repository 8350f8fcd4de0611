"""Lower bounds for any training in NumPy. They compute no results that could be checked.

Bare calls: the fewest calls of NumPy's functions that the equations need, on arrays that already exist, in sequence.
There are two forms: input and state in one matrix, with W_xh stacked on W_hh, or every product separately. The faster
one is the row. The networks of an ensemble are grouped, and lie in memory, as those of the engine.

Bare GEMMs: the matrix products of these calls alone. NumPy multiplies arrays in either memory order, and a product or
its transpose. Each product has the fastest of these eight layouts, which is measured first. So this is the speed of the
machine at these shapes, and not that of a layout.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby, product
from time import perf_counter
from typing import NamedTuple

import numpy as np

from benchmarks.prepared import Prepared, Tasks
from benchmarks.tasks import CHARACTERS, FORWARD, GEMMS, GRADIENT, RUN, STEP
from benchmarks.workloads import MAX_GRADIENT, Case
from numpy_rnn import windows
from numpy_rnn.engine.loop import BUFFER
from numpy_rnn.engine.memory import WIDE, Layout, empty, group

TRIALS = 5  # per layout, the fastest of which counts
MIN_SECONDS = 2e-4  # per trial
LONG_SECONDS = 5e-3  # one trial is enough of calls that take this long, whose times vary less
MAX_OPERANDS = 4  # products of a loop over the steps that are timed for a comparison


class Call(NamedTuple):
    """One call of a function of NumPy: function(*arguments), and the equation that it computes."""

    equation: str
    function: Callable
    arguments: tuple

    @property
    def is_product(self) -> bool:
        return self.function in (np.ndarray.dot, group_product) and self.equation != "L1"


Calls = list[Call]


def group_product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The product of two matrices for every network of a group, into `out`."""
    if left.shape[-1] == 1:  # sums of one term
        return np.multiply(left, right, out)
    return np.einsum("nij,njk->nik", left, right, out=out)


class Memory:
    """New arrays with random numbers, in the memory of the engine: a group of networks has a first axis.

    Weights have a standard deviation of 1/√H, and everything else of 1, so that states neither vanish nor saturate.
    """

    def __init__(self, layout: Layout):
        self.layout, self.generator = layout, np.random.default_rng(0)
        self.theta, self.gradient = self.weights(layout.size), self.weights(layout.size)

    def __call__(self, *shape: int, scale: float = 1.0, shared: bool = False) -> np.ndarray:
        """shared: whether there is one array for all networks."""
        array = empty(shape, self.layout.dtype) if shared else self.layout.empty(*shape)
        array[...] = scale * self.generator.normal(size=array.shape)
        return array

    def weights(self, *shape: int) -> np.ndarray:
        return self(*shape, scale=self.layout.H**-0.5)


def window_calls(memory: Memory, T: int, K: int, task: str, stacked: bool) -> Calls:
    """The calls of a window of T steps, the last K of which have a loss, for the task: forward, gradient or step.

    The loss is summed later. stacked: whether (F1) and (B2) are one product per step.
    """
    D, H, O, B, *_ = memory.layout
    dot = np.ndarray.dot if memory.layout.networks is None else group_product
    calls: Calls = []

    def add(equation, function, *arguments):
        calls.append(Call(equation, function, arguments))

    def by_step(rows):
        return [rows[..., begin : begin + B, :] for begin in range(0, rows.shape[-2], B)]

    theta, gradient = memory.theta, memory.gradient
    (W, U, _), (dW, dU, _) = memory.layout.stacked(theta), memory.layout.stacked(gradient)
    W_xh, W_hh = W[..., :D, :], W[..., D:, :]
    if stacked:
        z = memory((T + 1) * B, D + H)
        x, h = z[..., :D], z[..., D:]
    else:
        x, h = memory(T * B, D), memory((T + 1) * B, H)
        z = h
    a, spare, y = memory(T * B, H), memory(B, H), memory(K * B, O)
    before, after, with_loss = (
        np.s_[..., : T * B, :],
        np.s_[..., B:, :],
        np.s_[..., (T + 1 - K) * B :, :],
    )
    z_t, h_t = by_step(z), by_step(h)
    if not stacked:
        add("F1", dot, x, W_xh, a)
    for t, a_t in enumerate(by_step(a)):
        if stacked:
            add("F1", dot, z_t[t], W, a_t)
        else:
            add("F1", dot, h_t[t], W_hh, spare)
            add("F1", np.add, a_t, spare, a_t)
        add("F2", np.tanh, a_t, h_t[t + 1])
    add("F3", dot, h[with_loss], U, y)
    if task == FORWARD:
        return calls

    target, one = memory(K * B, O, shared=True), np.ones((), memory.layout.dtype)
    slope, dh, da = memory(T * B, H), memory(T * B, H), memory(T * B, H)
    joint = stacked and K == T > 1
    if joint:  # [dy_t da_{t+1}] in one matrix, and in another the transposed weights that they are multiplied by
        flow, V = memory((T + 1) * B, O + H), memory.weights(O + H, H)
        dy, da = flow[..., B:, :O], flow[..., : T * B, O:]
        flow_t = by_step(flow)
    else:
        dy, W_hh_T = (
            memory(K * B, O),
            memory.weights(H, H),
        )  # a product with a transposed view of W_hh is slower
    slope_t, dh_t, da_t = by_step(slope), by_step(dh), by_step(da)
    add("B1", np.subtract, y, target, dy)
    add("B3", np.multiply, h[after], h[after], slope)
    add("B3", np.subtract, one, slope, slope)
    if not joint:
        add("B2", dot, dy, U.mT, dh[..., (T - K) * B :, :])
    for t in reversed(range(T)):
        if joint:
            add("B2", dot, flow_t[t + 1], V, dh_t[t])
        elif t < T - K:
            add("B2", dot, da_t[t + 1], W_hh_T, dh_t[t])
        elif t < T - 1:
            add("B2", dot, da_t[t + 1], W_hh_T, spare)
            add("B2", np.add, dh_t[t], spare, dh_t[t])
        add("B3", np.multiply, dh_t[t], slope_t[t], da_t[t])
    if stacked:
        add("B4, B5", dot, z[before].mT, da, dW)
    else:
        add("B4", dot, x.mT, da, dW[..., :D, :])
        add("B5", dot, h[before].mT, da, dW[..., D:, :])
    add("B6", dot, h[with_loss].mT, dy, dU)
    if task == STEP:
        rate = np.zeros((), theta.dtype)  # keeps the weights, however often the calls are repeated
        add("U1", np.multiply, gradient, rate, gradient)
        add("U1", np.subtract, theta, gradient, theta)
    return calls


def character_calls(case: Case, stacked: bool) -> Calls:
    """The calls of one pass over the chunks of a character model, whose bias b_h is one more input that is 1."""
    layout = Layout(case.D + 1, case.H, case.O, case.B, False, False, np.dtype(case.dtype))
    memory, chunk = Memory(layout), case.options.schedule.k1
    calls = window_calls(memory, chunk, chunk, GRADIENT, stacked)
    y, target, one_column, losses = (
        memory(chunk, case.O),
        memory(chunk, case.O),
        memory(chunk, 1),
        memory(chunk),
    )
    theta, g, v, spare = (
        memory.theta,
        memory.gradient,
        memory.weights(layout.size),
        memory.weights(layout.size),
    )
    v[...], limit, tiny = 1, np.full((), MAX_GRADIENT, theta.dtype), np.full((), 1e-8, theta.dtype)
    added: list[tuple] = [
        ("L3", np.maximum.reduce, y, -1, None, one_column, True),
        ("L3", np.subtract, y, one_column, y),
        ("L4", np.vecdot, target, y, losses),
        ("L3", np.exp, y, y),
        ("L3", np.add.reduce, y, -1, None, one_column, True),
        ("L3", np.divide, y, one_column, y),
        ("L4", np.log, one_column, one_column),
        ("L4", np.subtract, one_column[:, 0], losses, losses),
        ("U7", np.clip, g, -limit, limit, spare),
        ("U8", np.multiply, spare, spare, g),
        ("U8", np.add, v, g, v),
        ("U9", np.add, v, tiny, g),
        ("U9", np.sqrt, g, g),
        ("U9", np.divide, spare, g, g),
        ("U1", np.multiply, g, tiny, g),
        ("U1", np.subtract, theta, g, theta),
    ]
    calls += [
        Call(equation, function, tuple(arguments)) for equation, function, *arguments in added
    ]
    return calls * (case.T // chunk)


def loss_calls(memory: Memory, updates: int, terms: int) -> Calls:
    """The losses of this many updates, each a sum of `terms` squares."""
    half = np.full((), 0.5, memory.layout.dtype)
    error, squares = memory(updates, terms), memory(updates, terms)
    if updates == 1 and memory.layout.networks is None:
        row = error.reshape(-1)
        return [Call("L1", np.ndarray.dot, (row, row)), Call("L1", np.multiply, (half, half))]
    calls = [Call("L1", np.multiply, (error, error, squares))]
    losses = squares[..., 0] if terms == 1 else memory(updates)
    if terms > 1:
        calls.append(Call("L1", np.add.reduce, (squares, -1, None, losses)))
    return [*calls, Call("L1", np.multiply, (losses, half, losses))]


def task_calls(task: str, case: Case, stacked: bool) -> Calls:
    """The calls of one epoch of a run, or of one window."""
    k1, k2, _ = case.options.schedule
    epoch, of_window, calls = list(windows(case.T, k1, k2)), STEP if task == RUN else task, []
    for _, layout in group(case.arrays()[0], case.B):
        memory = Memory(layout)
        of_length = {
            T: window_calls(memory, T, k1, of_window, stacked)
            for T in {window.steps for window in epoch}
        }
        for window in epoch:
            calls += of_length[window.steps]
        if task != FORWARD:
            calls += loss_calls(memory, len(epoch), k1 * case.B * case.O)
    return calls


# -- layouts ---------------------------------------------------------------------------------------------------------


def in_best_layouts(calls: Iterable[Call]) -> Calls:
    """The products of these calls, each in the fastest layout of its shapes."""
    chosen: Calls = []
    layouts: dict[tuple, tuple[bool, ...]] = {}
    new: dict[tuple, Call] = {}
    for shapes, alike in groupby((call for call in calls if call.is_product), key=_shapes):
        products = list(alike)
        if products[0].function is not np.ndarray.dot:
            chosen += products
            continue
        if shapes not in layouts:
            tried = list(product((False, True), repeat=3))
            candidates = [program(in_layout(products[:MAX_OPERANDS], layout)) for layout in tried]
            layouts[shapes] = tried[fastest(candidates)]
        missing = [call for call in products if _arrays(call) not in new]
        new |= zip(map(_arrays, missing), in_layout(missing, layouts[shapes]))
        chosen += [new[_arrays(call)] for call in products]
    return chosen


def _shapes(call):
    return call.function, *(array.shape for array in call.arguments)


def _arrays(call):
    return tuple(map(id, call.arguments))


def in_layout(products: Iterable[Call], layout: tuple[bool, ...]) -> Calls:
    """The products on new arrays; operands that they share are shared here too.

    layout: whether the left and the right factor are in column-major order, and whether the transposed product is
    computed.
    """
    arrays: dict[tuple, np.ndarray] = {}
    left_columns, right_columns, transposed = layout

    def placed(array, columns):
        key = array.__array_interface__["data"][0], array.shape, array.strides, columns
        if key not in arrays:
            new = empty(array.shape[::-1] if columns else array.shape, array.dtype)
            arrays[key] = new.T if columns else new
            arrays[key][...] = array
        return arrays[key]

    calls: Calls = []
    for call in products:
        left, right, out = call.arguments
        left, right, out = (
            placed(left, left_columns),
            placed(right, right_columns),
            placed(out, transposed),
        )
        calls.append(
            call._replace(arguments=(right.T, left.T, out.T) if transposed else (left, right, out))
        )
    return calls


def fastest(candidates: Sequence[Callable[[], object]]) -> int:
    """The place of the candidate whose calls take the least time."""
    first = []
    for call in candidates:
        call()
        first.append(_seconds(call, 1))
    counts = [max(1, int(MIN_SECONDS / max(seconds, 1e-9))) for seconds in first]
    trials = [first]
    if min(first) < LONG_SECONDS:
        trials = [
            [_seconds(call, count) for call, count in zip(candidates, counts)]
            for _ in range(TRIALS)
        ]
    least = [min(times) for times in zip(*trials)]
    return least.index(min(least))


def _seconds(call, count):
    """Per call, of `count` calls."""
    start = perf_counter()
    for _ in range(count):
        call()
    return (perf_counter() - start) / count


# -- the rows --------------------------------------------------------------------------------------------------------


def program(calls: Calls, times: int = 1, wide: bool = False) -> Callable[[], None]:
    """A function that makes these calls in sequence, and all of them again, so many times."""
    pairs = [(call.function, call.arguments) for call in calls]

    def run():
        buffer = np.setbufsize(BUFFER if wide else np.getbufsize())
        for _ in range(times):
            for function, arguments in pairs:
                function(*arguments)
        np.setbufsize(buffer)

    return run


def prepared(row: str, task: str, case: Case) -> Prepared:
    """All calls, in the faster of the two forms, once per epoch."""
    forms = [
        character_calls(case, stacked) if task == CHARACTERS else task_calls(task, case, stacked)
        for stacked in (True, False)
    ]
    if row == GEMMS:
        forms = [in_best_layouts(calls) for calls in forms]
    wide = case.networks >= WIDE
    calls = forms[fastest([program(form, wide=wide) for form in forms])]
    return Prepared(program(calls, case.options.schedule.epochs if task == RUN else 1, wide), dict)


def tasks(row: str) -> Tasks:
    return {
        task: partial(prepared, row, task) for task in (FORWARD, GRADIENT, STEP, RUN, CHARACTERS)
    }
