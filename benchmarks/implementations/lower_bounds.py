"""Lower bounds for training in NumPy. They compute no results that could be checked.

Bare calls: the fewest calls of NumPy's functions that the equations need, on arrays
that exist, in sequence. Networks of an ensemble are in groups, with the network as
innermost axis. Bare GEMMs: the matrix products of these calls alone.
"""

import numpy as np

from benchmarks.cases import MAX_GRADIENT, Case
from benchmarks.implementations import Call, Unsupported
from numpy_rnn import windows

GROUP_BYTES, CACHE_LINE = (
    2**19,
    64,
)  # of one vector of parameters of a group of networks
Calls = list[tuple]  # (function, *arguments)
dot = np.ndarray.dot


def networks_dot(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> np.ndarray:
    if left.shape[-1] == 1:  # sums of one term
        return np.multiply(left, right, out)
    return np.einsum("nij,njk->nik", left, right, out=out)


class Memory:
    """New arrays of random numbers that begin at a cache line."""

    def __init__(self, case: Case, networks: int | None):
        self.dtype, self.networks = np.dtype(case.dtype), networks

    def __call__(self, *shape: int, scale: float = 1.0) -> np.ndarray:
        shape = (*shape, self.networks) if self.networks else shape
        size, line = int(np.prod(shape)), CACHE_LINE // self.dtype.itemsize
        memory = np.empty(size + line, self.dtype)
        begin = -memory.ctypes.data % CACHE_LINE // self.dtype.itemsize
        array = memory[begin : begin + size].reshape(shape)
        array[...] = scale * np.random.default_rng(0).normal(size=shape)
        return np.moveaxis(array, -1, 0) if self.networks else array


def window_calls(case: Case, new: Memory, T: int, K: int) -> Calls:
    """The calls of the gradient of a window of T steps, of which the last K = 1 or T
    have a loss.

    One sequence has x_t and h_{t-1} in one row, so that (F1) is one product; b_h is one
    more input. If all its steps have a loss, dy_t and da_{t+1} are in one row too, for
    (B2).
    """
    B, D, H, O, scale = case.B, case.D + case.is_text, case.H, case.O, case.H**-0.5
    matmul, calls = networks_dot if new.networks else dot, Calls()

    def add(*call):
        calls.append(call)

    def by_step(rows):
        return [
            rows[..., begin : begin + B, :] for begin in range(0, rows.shape[-2], B)
        ]

    W, U, W_hh_T = (
        new(D + H, H, scale=scale),
        new(H, O, scale=scale),
        new(H, H, scale=scale),
    )
    dW, dU = np.empty_like(W), np.empty_like(U)
    a, spare, y = new(T * B, H), new(B, H), new(K * B, O)
    z = new((T + 1) * B, D + H if B == 1 else H)
    x, before, after = new(T * B, D), z[..., : T * B, :], z[..., B:, -H:]
    with_loss = after[..., -K * B :, :]
    if B > 1:
        add(matmul, x, W[..., :D, :], a)  # (F1)
    for z_t, a_t, h_t in zip(by_step(z), by_step(a), by_step(after)):
        add(
            matmul, z_t, W if B == 1 else W[..., D:, :], a_t if B == 1 else spare
        )  # (F1)
        calls += [(np.add, a_t, spare, a_t)] if B > 1 else []
        add(np.tanh, a_t, h_t)  # (F2)
    add(matmul, with_loss, U, y)  # (F3)
    target, one, slope, dh = (
        new(K * B, O),
        np.ones((), new.dtype),
        new(T * B, H),
        new(T * B, H),
    )
    joint = B == 1 and K == T > 1
    flow, V = new((T + 1) * B, O + H), new(O + H, H, scale=scale)
    dy, da = new(K * B, O), new(T * B, H)
    if joint:
        dy, da = flow[..., B:, :O], flow[..., : T * B, O:]
    slope_t, dh_t, da_t, flow_t = (
        by_step(slope),
        by_step(dh),
        by_step(da),
        by_step(flow),
    )
    calls += (
        softmax_calls(new, y, target, dy)
        if case.is_text
        else [(np.subtract, y, target, dy)]
    )
    add(np.multiply, after, after, slope)  # (B3)
    add(np.subtract, one, slope, slope)
    calls += [] if joint else [(matmul, dy, U.mT, dh[..., (T - K) * B :, :])]  # (B2)
    for t in reversed(range(T)):
        if joint:
            add(matmul, flow_t[t + 1], V, dh_t[t])  # (B2)
        elif t < T - 1:
            add(matmul, da_t[t + 1], W_hh_T, dh_t[t] if t < T - K else spare)  # (B2)
            calls += [] if t < T - K else [(np.add, dh_t[t], spare, dh_t[t])]
        add(np.multiply, dh_t[t], slope_t[t], da_t[t])  # (B3)
    if B > 1:
        add(matmul, x.mT, da, dW[..., :D, :])  # (B4)
    add(matmul, before.mT, da, dW if B == 1 else dW[..., D:, :])  # (B4), (B5)
    add(matmul, with_loss.mT, dy, dU)  # (B6)
    return calls


def softmax_calls(
    new: Memory, y: np.ndarray, target: np.ndarray, dy: np.ndarray
) -> Calls:
    """The calls of (L3), (L4) and (B1) of a chunk of characters."""
    column, losses, p = new(len(y), 1), new(len(y)), new(*y.shape)
    return [
        (np.maximum.reduce, y, -1, None, column, True),
        (np.subtract, y, column, y),
        (np.vecdot, target, y, losses),
        (np.exp, y, p),
        (np.add.reduce, p, -1, None, column, True),
        (np.divide, p, column, p),
        (np.log, column, column),
        (np.subtract, p, target, dy),
    ]


def step_calls(case: Case, new: Memory) -> Calls:
    """The calls of the step of one vector of all parameters, at a rate of 0."""
    size = (case.D + case.is_text + case.H) * case.H + case.H * case.O
    theta, g, v, spare = (new(size) for _ in range(4))
    rate, v[...] = np.zeros((), new.dtype), 1
    plain: Calls = [(np.multiply, g, rate, g), (np.subtract, theta, g, theta)]  # (U1)
    adagrad: Calls = [
        (np.clip, g, -MAX_GRADIENT, MAX_GRADIENT, spare),  # (U7)
        (np.multiply, spare, spare, g),
        (np.add, v, g, v),  # (U8)
        (np.sqrt, v, g),
        (np.divide, spare, g, g),  # (U9)
    ]
    return adagrad + plain if case.is_text else plain


def prepare(case: Case, name: str) -> Call:
    k1, k2, epochs = case.options.schedule
    if case.every_update or (case.networks and name == "bare GEMMs"):
        raise Unsupported("the bound is that of another case")
    epoch, calls = list(windows(case.T, k1, k2)), []
    vector = (case.D + case.H + case.O) * case.H * np.dtype(case.dtype).itemsize
    groups = -(-(case.networks or 1) * vector // GROUP_BYTES)
    for _ in range(groups):
        new = Memory(case, case.networks and -(-case.networks // groups))
        step = step_calls(case, new)
        by_length = {
            T: window_calls(case, new, T, k1) + step for T in {w.steps for w in epoch}
        }
        for window in epoch:
            calls += by_length[window.steps]
        error, square = (new(len(epoch), k1 * case.B * case.O) for _ in range(2))
        if not case.is_text:
            calls += [(np.square, error, square), (np.add.reduce, square, -1)]  # (L1)
    pairs = [
        (call[0], call[1:]) for call in calls if name == "bare calls" or call[0] is dot
    ]

    def run():
        buffer = np.setbufsize(16) if case.networks else np.getbufsize()  # no copies
        for _ in range(epochs):
            for function, arguments in pairs:
                function(*arguments)
        np.setbufsize(buffer)

    return lambda: (run(), None)
