"""The named tuples that both backends take and return.

Notation of DERIVATION.md, section 1: T time steps, B batch, D inputs, H hidden units, O outputs.
An ensemble of networks carries leading axes E on its parameters, and between time and batch on its
activations; without one, `*E` below is nothing. `Array` is a NumPy array or a torch tensor.
"""

from typing import Any, NamedTuple

from numpy_rnn.common.windows import Window

Array = Any
DTYPES = ("float32", "float64")


class Parameters(NamedTuple):
    """What is learned: weights; biases, both or neither; and a state that every series starts from, or none."""

    W_xh: Array  # (*E, D, H)  input to hidden
    W_hh: Array  # (*E, H, H)  hidden to hidden, one step later
    W_hy: Array  # (*E, H, O)  hidden to output
    b_h: Array | None = None  # (*E, H)
    b_y: Array | None = None  # (*E, O)
    h_0: Array | None = None  # (*E, B, H)  a learned initial state; None: the state is given, and a constant


Gradients = Parameters  # dX has the shape of X; None: no gradient, the parameter stays as it is


class Activations(NamedTuple):
    """What the forward pass of one window computed, (F1) to (F3)."""

    x: Array  # (T, *E, B, D)    inputs
    a: Array  # (T, *E, B, H)    pre-activations
    h: Array  # (T+1, *E, B, H)  hidden states: h[0] entered the window, h[t] is the state after step t
    y: Array  # (T, *E, B, O)    outputs


class Deltas(NamedTuple):
    """What flows backwards through the window and out of it: the total derivatives of its loss L.

    Step t is at index t-1, as in `a` and `y`. `dy` is zero at the steps whose loss is not counted.
    """

    dy: Array  # (T, *E, B, O)  ∂L/∂y_t
    dh: Array  # (T, *E, B, H)  ∂L/∂h_t for t = 1..T
    da: Array  # (T, *E, B, H)  ∂L/∂a_t
    dx: Array  # (T, *E, B, D)  ∂L/∂x_t, of every network by itself, also where they share x
    dh_0: Array  # (*E, B, H)  ∂L/∂h_0, of the state that entered the window


class Update(NamedTuple):
    """One window and its SGD step, as `train` reports it."""

    epoch: int  # from 1
    number: int  # n, which update of the epoch; from 1
    window: Window  # (s_n, e_n], and where its counted steps begin
    loss: Array  # E    L of the window, before the step
    gradients: Gradients  # ∂L/∂θ, before clipping
    parameters: Parameters  # after the step
    velocity: Gradients | None = None  # after the step, (U5); None without momentum
    activations: Activations | None = None  # of the window, before the step; only with `record`
    deltas: Deltas | None = None  # only with `record`
    losses: Array | None = None  # (N, *E)  of all updates since the one handed out before; None if every one is


class State(NamedTuple):
    """Where a run stands between two updates: with its arguments, all that the rest of it depends on."""

    epoch: int  # of the latest update
    number: int  # of the latest update
    window: Window  # of the latest update
    h: Array  # (*E, B, H)  initial state of the next window; on a stream and after an epoch, the state after its last step
    parameters: Parameters  # after the latest update
    velocity: Gradients | None = None  # after the latest update
