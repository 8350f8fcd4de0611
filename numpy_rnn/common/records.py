"""The named tuples that both backends take and return.

Notation of DERIVATION.md, section 1: T time steps, B batch, D inputs, H hidden units, O outputs.
An ensemble of networks carries leading axes E on its parameters, and between time and batch on its
activations; without one, `*E` below is nothing. `Array` is a NumPy array or a torch tensor.
"""

from math import inf
from typing import Any, NamedTuple

from numpy_rnn.common.errors import InputError, check_flag, check_number


class SgdOptions(NamedTuple):
    """Plain gradient descent is the default."""

    momentum: float = 0.0  # μ
    dampening: float = 0.0  # τ
    nesterov: bool = False
    weight_decay: float = 0.0  # λ
    max_norm: float | None = None  # of the gradient of each network; None: no clipping

    def check(self) -> "SgdOptions":
        """The same as plain numbers. Raises InputError on values that no step can have."""
        for name, value in (("momentum", self.momentum), ("weight decay", self.weight_decay)):
            check_number(name, value, 0, "a finite number, 0 or more")
        check_number("dampening", self.dampening, -inf, "a finite number, usually from 0 to 1")
        if self.max_norm is not None:
            expected = "a finite number above 0, or None for no clipping"
            check_number("max norm", self.max_norm, 0, expected)
            if self.max_norm == 0:
                raise InputError(f"max norm is {self.max_norm}: expected {expected}")
        check_flag("nesterov", self.nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise InputError(
                f"nesterov with momentum {self.momentum} and dampening {self.dampening}: expected a momentum above 0"
                " and no dampening"
            )
        max_norm = None if self.max_norm is None else float(self.max_norm)
        return SgdOptions(
            float(self.momentum), float(self.dampening), self.nesterov, float(self.weight_decay), max_norm
        )


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


class Adjoints(NamedTuple):
    """What flows backwards through the window and out of it: the total derivatives of its loss L.

    Step t is at index t-1, as in `a` and `y`. `dy` is zero at the steps whose loss is not counted.
    """

    dy: Array  # (T, *E, B, O)  ∂L/∂y_t
    dh: Array  # (T, *E, B, H)  ∂L/∂h_t for t = 1..T
    da: Array  # (T, *E, B, H)  ∂L/∂a_t
    dx: Array  # (T, *E, B, D)  ∂L/∂x_t, of every network by itself, also where they share x
    dh_0: Array  # (*E, B, H)  ∂L/∂h_0, of the state that entered the window


class Window(NamedTuple):
    """The steps (start, stop] of a series, of which (loss_start, stop] carry a loss.

    Steps are numbered from 1, so as Python slices the inputs of the window are x[start:stop], its counted targets
    target[loss_start:stop], and the state that enters it is h[start].
    """

    start: int  # s_n
    loss_start: int  # e_{n-1}
    stop: int  # e_n

    @property
    def steps(self) -> int:
        """T of the window: how many steps it runs over, at most k2."""
        return self.stop - self.start

    @property
    def loss_steps(self) -> int:
        """K of the window: how many of its steps are new, and so carry a loss; at most k1."""
        return self.stop - self.loss_start


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
    adjoints: Adjoints | None = None  # only with `record`
    losses: Array | None = None  # (N, *E)  of all updates since the one handed out before; None if every one is


class State(NamedTuple):
    """Where a run stands between two updates: with its arguments, all that the rest of it depends on."""

    epoch: int  # of the latest update
    number: int  # of the latest update
    window: Window  # of the latest update
    h: Array  # (*E, B, H)  the initial state of the next window; after an epoch, and on a stream, the latest state
    parameters: Parameters  # after the latest update
    velocity: Gradients | None = None  # after the latest update
