"""The floor of NumPy: the equations of one-step windows as bare calls of NumPy, in
arrays and views that are made before, and nothing else.

What `numpy_rnn` takes beyond that is its own; what the floor takes is that of NumPy.
Groups of networks of an ensemble have the size of GROUPS that is the fastest here.
"""

from collections.abc import Callable
from time import perf_counter

import numpy as np
from numpy import multiply, subtract, tanh

from benchmarks.cases import Case
from benchmarks.implementations import Call, Results, Unsupported
from numpy_rnn.common.records import NumpyArray, Objective, Step

GROUPS = (256, 512, 1024, 2048, 4096)  # networks
TRIALS = 3
BUFFER = 16  # of NumPy: with larger ones it copies broadcast rows
Train = Callable[[], Results]


def prepare(case: Case) -> Call:
    """Return a call that trains. Raises Unsupported on longer windows, batches and
    other losses and steps.
    """
    (k1, k2, _), objective, step = case.options
    is_plain = step == Step(step.learning_rate) and objective == Objective()
    if not (is_plain and k1 == k2 == case.B == case.O == 1) or case.every_update:
        raise Unsupported("windows of one step, one output and plain steps only")
    if case.networks is None:
        return single(case)
    sizes = [size for size in GROUPS if size < case.networks] + [case.networks]
    calls = {size: ensemble(case, size) for size in sizes}
    times = dict.fromkeys(sizes, np.inf)
    for _ in range(TRIALS if len(sizes) > 1 else 0):
        for size, call in calls.items():
            begin = perf_counter()
            call()
            times[size] = min(times[size], perf_counter() - begin)
    return calls[min(sizes, key=times.__getitem__)]


def single(case: Case) -> Call:
    """Return a call that trains one network."""
    params, x, target, h_0 = case.arrays()
    D, H, O, T = case.D, case.H, case.O, case.T
    epochs = case.options.schedule.epochs
    rate = params.W_hh.dtype.type(case.options.step.learning_rate)
    one = params.W_hh.dtype.type(1)

    def train() -> Results:
        theta = np.concatenate([W.ravel() for W in params[:3]])
        gradient = np.empty_like(theta)
        W, U = parts(theta, D, H, O)
        dW, dU = parts(gradient, D, H, O)
        rows = np.empty((T + 1, D + H), theta.dtype)  # [x_t h_{t-1}]
        rows[:T, :D], rows[0, D:] = x[:, 0], h_0[0]
        error = np.empty((T, O), theta.dtype)
        a, dh, slope, da = np.empty((4, 1, H), theta.dtype)
        y = np.empty((1, O), theta.dtype)
        U_T = U.T
        steps = []
        for t in range(T):
            z, h = rows[t : t + 1], rows[t + 1 : t + 2, D:]
            steps.append((z, z.T, h, h.T, target[t], error[t : t + 1]))
        dot = np.ndarray.dot
        losses = []
        for _ in range(epochs):
            for z, z_T, h, h_T, goal, dy in steps:
                dot(z, W, a)
                tanh(a, h)
                dot(h, U, y)
                subtract(y, goal, dy)
                dot(dy, U_T, dh)
                multiply(h, h, slope)
                subtract(one, slope, slope)
                multiply(dh, slope, da)
                dot(z_T, da, dW)
                dot(h_T, dy, dU)
                multiply(gradient, rate, gradient)
                subtract(theta, gradient, theta)
            losses.append(0.5 * (error**2).sum(axis=1))
        return losses, (W[:D], W[D:], U)

    return train


def ensemble(case: Case, size: int) -> Call:
    """Return a call that trains an ensemble, in groups of this size."""
    params, x, target, h_0 = case.arrays()
    networks = case.networks or 1

    def train() -> Results:
        groups = []
        buffer = np.setbufsize(BUFFER)
        try:
            for first in range(0, networks, size):
                members = slice(first, min(first + size, networks))
                weights = [np.moveaxis(W[members], 0, -1) for W in params[:3]]
                groups.append(group(case, weights, x[:, 0], target[:, 0], h_0[0]))
        finally:
            np.setbufsize(buffer)
        losses = np.concatenate([of_group for of_group, _ in groups], axis=-1)
        trained = zip(*(weights for _, weights in groups))
        joined = [np.concatenate(parts, axis=-1) for parts in trained]
        return losses, tuple(np.moveaxis(W, -1, 0) for W in joined)

    return train


def group(
    case: Case,
    weights: list[NumpyArray],
    x: NumpyArray,
    target: NumpyArray,
    h_0: NumpyArray,
) -> Results:
    """Train the networks of a group: n is the last axis of all arrays."""
    D, H, O, T = case.D, case.H, case.O, case.T
    n = weights[0].shape[-1]
    # The last axis is that of networks in memory too.
    theta = np.ascontiguousarray(np.concatenate([W.reshape(-1, n) for W in weights]))
    dtype = theta.dtype
    gradient = np.empty_like(theta)
    W, U = parts(theta, D, H, O)
    dW, dU = parts(gradient, D, H, O)
    rows = np.empty((T + 1, D + H, n), dtype)
    rows[:T, :D], rows[0, D:] = x[..., None], h_0[:, None]
    error = np.empty((T, O, n), dtype)
    a, dh, slope, da = np.empty((4, H, n), dtype)
    y = np.empty((O, n), dtype)
    rate, one = dtype.type(case.options.step.learning_rate), dtype.type(1)
    # The products are sums over the second axis of (n, 1, i) and (n, i, j).
    W_n, U_n = np.moveaxis(W, -1, 0), np.moveaxis(U, -1, 0)
    a_n, y_n = np.moveaxis(a[None], -1, 0), np.moveaxis(y[None], -1, 0)
    steps = []
    for t in range(T):
        z, h = rows[t], rows[t + 1, D:]
        goal = np.broadcast_to(target[t][:, None], (O, n))
        z_n, h_n = np.moveaxis(z[None], -1, 0), np.moveaxis(h[None], -1, 0)
        views = z[:, None], h, h[:, None], error[t], error[t][None]
        steps.append((z_n, h_n, goal, *views))
    product, path = np.einsum, "nij,njk->nik"
    losses = []
    for _ in range(case.options.schedule.epochs):
        for z_n, h_n, goal, z_column, h, h_column, dy, dy_row in steps:
            product(path, z_n, W_n, out=a_n)
            tanh(a, h)
            product(path, h_n, U_n, out=y_n)
            subtract(y, goal, dy)
            multiply(U[:, 0], dy, dh)
            multiply(h, h, slope)
            subtract(one, slope, slope)
            multiply(dh, slope, da)
            multiply(z_column, da[None], dW)
            multiply(h_column, dy_row, dU)
            multiply(gradient, rate, gradient)
            subtract(theta, gradient, theta)
        losses.append(0.5 * (error**2).sum(axis=1))
    return np.concatenate(losses), (W[:D], W[D:], U)


def parts(vector: NumpyArray, D: int, H: int, O: int) -> tuple[NumpyArray, NumpyArray]:
    """Return [W_xh; W_hh] and W_hy, views of a vector (P,) or (P, n)."""
    others = vector.shape[1:]
    end = (D + H) * H
    W = vector[:end].reshape(D + H, H, *others)
    return W, vector[end:].reshape(H, O, *others)
