"""The memory of a window: made once for its size, filled again at every update.

On small networks NumPy's time goes into making arrays and views of them, not into arithmetic; so `train` makes them
once. `torch_rnn` has no such file: there autograd keeps the intermediate values.

Layout: time is folded into the batch and the networks stand outside, (*E, T·B, N), called "rows". So a product for all
steps at once is one matrix product, a sum over time and batch is one too, and a step is a slice of rows. Where the
parameters are laid out with the networks innermost (`vectors.py`), so is this memory; the axes are named the same.
"""

import numpy as np

from numpy_rnn.vectors import empty, networks_are_innermost, product_for

LONG = 16  # steps from which on a transpose that is laid out anew pays


def rows(sequence):
    """(T, *E, B, N) → (*E, T·B, N): a view for a single network, for an ensemble perhaps a copy."""
    if sequence.ndim == 3:
        return sequence.reshape(-1, sequence.shape[-1])
    sequence = np.moveaxis(sequence, 0, -3)
    return sequence.reshape(*sequence.shape[:-3], -1, sequence.shape[-1])


def time_first(rows, batch_size):
    """(*E, T·B, N) → (T, *E, B, N), a view; the way back of `rows`."""
    *E, _, N = rows.shape
    sequence = rows.reshape(*E, -1, batch_size, N)
    return np.moveaxis(sequence, -3, 0) if E else sequence


def all_of_a_network(rows):
    """(*E, T·B, N) as it is; of a single network, all numbers in one vector, a view."""
    return rows if rows.ndim > 2 else rows.reshape(-1)


def by_step(rows, batch_size):
    """The rows of every step, (*E, B, N) each, as views."""
    return [rows[..., row : row + batch_size, :] for row in range(0, rows.shape[-2], batch_size)]


class ForwardMemory:
    """Rows of a, h and y for a window of T steps and B sequences.

    other: a memory of the same size, whose arrays this one uses too, all but h.
    """

    def __init__(self, params, T, B, other=None):
        H, O = params.W_hy.shape[-2:]
        self.B = B
        self.dot = product_for(params)
        self.a = other.a if other else empty(params, T * B, H)
        self.rows_of_h = empty(params, (T + 1) * B, H)  # h_0 to h_T
        self.y = other.y if other else empty(params, T * B, O)
        self.product = other.product if other else empty(params, B, H)
        self.h = self.rows_of_h[..., B:, :]  # h_1 to h_T
        self.states = by_step(self.rows_of_h, B)  # h_0 to h_T
        self.steps = list(zip(by_step(self.a, B), self.states, self.states[1:], strict=False))  # a_t, h_{t-1}, h_t


class BackwardMemory:
    """Rows of dy, dh and da for a window of T steps and B sequences, of which the newest K steps are counted.

    rows_of_h, y: the rows that the forward pass fills. other: a memory of the same size, whose arrays this one uses.
    """

    def __init__(self, params, rows_of_h, y, T, B, K, other=None):
        H, O = params.W_hy.shape[-2:]
        self.dot = product_for(params)
        self.product = other.product if other else empty(params, B, H)
        self.one = np.ones((), params.W_hh.dtype)  # a plain 1 would be converted at every use
        self.dy = other.dy if other else empty(params, T * B, O)
        self.dy[...] = 0  # and zero it stays where no loss is counted
        of_other = (other.dh, other.da, other.slope) if other else (None,) * 3
        self.dh, self.da, self.slope = (empty(params, T * B, H) if v is None else v for v in of_other)
        newest = (T - K) * B
        self.y_counted, self.dy_counted = y[..., newest:, :], self.dy[..., newest:, :]
        self.error = all_of_a_network(self.dy_counted)
        self.h = rows_of_h[..., B:, :]  # h_1 to h_T
        self.h_T, self.h_before_T = self.h.mT, rows_of_h[..., : T * B, :].mT
        da = by_step(self.da, B)
        self.da_1 = da[0]
        dh, slope = by_step(self.dh, B), by_step(self.slope, B)
        self.last = dh[-1], slope[-1], da[-1]  # dh_T, φ'(a_T), da_T
        steps = zip(dh, slope, da, da[1:], strict=False)
        self.steps = list(steps)[::-1]  # dh_t, φ'(a_t), da_t, da_{t+1} for t = T-1 down to 1
        # Products of several rows with a transposed view take up to four times as long as with a matrix laid out so.
        laid_out = B > 1 and T >= LONG and not networks_are_innermost(params)
        self.transpose = empty(params, H, H) if laid_out else None

    def transposed(self, W_hh):
        """W_hhᵀ for the steps of this window."""
        if self.transpose is None:
            return W_hh.mT
        self.transpose[...] = W_hh.mT
        return self.transpose


def window_memories(params, T, B, K):
    """Two pairs (ForwardMemory, BackwardMemory) for windows of this size; they share all arrays but the hidden states.

    Windows use them in turn. So an update leaves the states of the window before it as they are, and where an exception
    ends it half-way, the run continues from them.
    """
    forward = ForwardMemory(params, T, B)
    backward = BackwardMemory(params, forward.rows_of_h, forward.y, T, B, K)
    other = ForwardMemory(params, T, B, forward)
    return (forward, backward), (other, BackwardMemory(params, other.rows_of_h, other.y, T, B, K, backward))
