"""The records that both packages take and return, and the types of their options.

Notation of DERIVATION.md, section 1: T time steps, B batch, D inputs, H hidden units, O
outputs. Parameters of N networks have a first axis N, and activations have it between
time and batch; those of one network do not. `Annotated[A, "T N B H"]` is an array of
shape (T, N, B, H), or (T, B, H).
"""

import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    TypedDict,
    TypeVar,
    get_args,
)

from numpy.typing import NDArray

A = TypeVar("A")  # numpy.ndarray or torch.Tensor
T = TypeVar("T")
NumpyArray = NDArray[Any]
DTYPES = ("float32", "float64")

Nonlinearity = Literal["tanh", "relu", "sigmoid"]
LossName = Literal["squared_error", "cross_entropy"]
Reduction = Literal["sum", "mean"]
YieldEvery = Literal[1, "epoch"]

# The names of every choice, a new one last: random cases, capabilities, help and tests
# read them.
NONLINEARITY_NAMES: tuple[Nonlinearity, ...] = get_args(Nonlinearity)
LOSS_NAMES: tuple[LossName, ...] = get_args(LossName)
REDUCTION_NAMES: tuple[Reduction, ...] = get_args(Reduction)


class Schedule(NamedTuple):
    """TBPTT(k1, k2) over a number of epochs."""

    k1: int  # new steps of an update
    k2: int  # steps of its window, k2 − k1 of them older ones
    epochs: int = 1


class Objective(NamedTuple):
    """The objective of training: the network's nonlinearity, its loss, and its
    reduction.
    """

    nonlinearity: Nonlinearity = "tanh"
    loss: LossName = "squared_error"
    reduction: Reduction = "sum"


class Step(NamedTuple):
    """The SGD step; the defaults are plain gradient descent."""

    learning_rate: Any  # η, a number, or one per network of an ensemble
    momentum: float = 0.0  # μ
    dampening: float = 0.0  # τ
    nesterov: bool = False
    weight_decay: float = 0.0  # λ
    adagrad: bool = False
    max_norm: float | None = None  # of the gradient of each network; None: no clipping
    max_value: float | None = None  # of each number of the gradient; None: no clipping

    @property
    def has_velocity(self) -> bool:
        """Whether the step keeps an array per parameter: the velocity (U5) or squares
        (U8).
        """
        return self.momentum > 0 or self.adagrad


class RunOptions(NamedTuple):
    """A run without its data and initial weights."""

    schedule: Schedule
    objective: Objective
    step: Step

    def keywords(self) -> dict[str, Any]:
        """The keyword arguments of `train` that describe this run."""
        return {
            **self.schedule._asdict(),
            **self.objective._asdict(),
            **self.step._asdict(),
        }

    @classmethod
    def from_keywords(cls, k1: int, k2: int, epochs: int, **rest: Any) -> "RunOptions":
        """The inverse of `keywords`; names of the objective and step may be missing."""
        objective = {name: rest.pop(name) for name in Objective._fields if name in rest}
        return cls(Schedule(k1, k2, epochs), Objective(**objective), Step(**rest))


class Parameters(NamedTuple, Generic[A]):
    """The learned parameters: the weights, and both biases or neither."""

    W_xh: Annotated[A, "N D H"]  # input to hidden
    W_hh: Annotated[A, "N H H"]  # hidden to hidden, one step later
    W_hy: Annotated[A, "N H O"]  # hidden to output
    b_h: Annotated[A, "N H"] | None = None
    b_y: Annotated[A, "N O"] | None = None

    @property
    def networks(self) -> int | None:
        """N, the size of an ensemble; None for a single network."""
        W_hh: Any = self.W_hh
        return W_hh.shape[0] if W_hh.ndim > 2 else None


# dX has the shape of X. None: no gradient, and the parameter does not change.
if typing.TYPE_CHECKING:

    class Gradients(Parameters[A]):
        """∂L/∂θ of every parameter θ, or a direction, or a velocity (Adagrad: sums of
        squares).
        """

else:
    Gradients = Parameters


class Activations(NamedTuple, Generic[A]):
    """The results of the forward pass over one window, (F1) to (F3)."""

    x: Annotated[A, "T N B D"]  # inputs
    a: Annotated[A, "T N B H"]  # pre-activations
    h: Annotated[
        A, "T+1 N B H"
    ]  # hidden states: h[0] is the initial state, h[t] that after step t
    y: Annotated[A, "T N B O"]  # outputs


class Adjoints(NamedTuple, Generic[A]):
    """The total derivatives of the loss L of a window; `dy` is zero at steps without a
    loss.
    """

    dy: Annotated[A, "T N B O"]  # ∂L/∂y_t
    dh: Annotated[A, "T N B H"]  # ∂L/∂h_t, step t at index t-1
    da: Annotated[A, "T N B H"]  # ∂L/∂a_t
    dx: Annotated[
        A, "T N B D"
    ]  # ∂L/∂x_t, one per network, also where all networks share x
    dh_0: Annotated[A, "N B H"]  # ∂L/∂h_0 of the initial state of the window


class Window(NamedTuple):
    """The steps (start, stop] of a series, from 1, of which (loss_start, stop] have a
    loss.

    Its inputs are x[start:stop], its targets target[loss_start:stop], its initial state
    h[start].
    """

    start: int  # s_n
    loss_start: int  # e_{n-1}
    stop: int  # e_n

    @property
    def steps(self) -> int:
        """T, the steps of the window: the new ones, and at most k2 − k1 older ones."""
        return self.stop - self.start

    @property
    def loss_steps(self) -> int:
        """K, the number of steps with a loss, at most k1."""
        return self.stop - self.loss_start


@dataclass(frozen=True, eq=False, slots=True)
class Update(Generic[A]):
    """One window and its SGD step, as `train` yields it."""

    epoch: int  # from 1
    number: int  # n, the number of the update in its epoch, from 1
    window: Window  # (s_n, e_n], and where its steps with a loss begin
    loss: Annotated[A, "N"]  # L of the window, before the step
    gradients: Gradients[A]  # ∂L/∂θ, before clipping
    parameters: Parameters[A]  # after the step
    velocity: Gradients[A] | None = (
        None  # after the step; None without momentum or Adagrad
    )
    activations: Activations[A] | None = None  # before the step; only with `record`
    adjoints: Adjoints[A] | None = None  # only with `record`
    losses: Annotated[A, "n N"] | None = (
        None  # of the epoch's updates, with yield_every="epoch"
    )


class Run(NamedTuple):
    """A training run on a series: its data, as arrays of one package, and
    its options.
    """

    params: Parameters[Any]
    x: Any  # (T, N, B, D), or classes
    target: Any  # (T, N, B, O), or classes
    h_0: Any  # (N, B, H)
    options: RunOptions
    velocity: Gradients[Any] | None = None  # to begin with


class MomentumKeywords(TypedDict, total=False):
    """The keyword arguments of `direction`."""

    momentum: float
    dampening: float
    nesterov: bool
    weight_decay: float
    adagrad: bool


class TrainKeywords(MomentumKeywords, Generic[A], total=False):
    """The keyword arguments of `train`, which numpy_rnn.train describes."""

    k1: typing.Required[int]
    k2: typing.Required[int]
    learning_rate: typing.Required[float | A]
    epochs: typing.Required[int]
    nonlinearity: Nonlinearity
    loss: LossName
    reduction: Reduction
    velocity: Gradients[A] | None
    record: bool
    yield_every: YieldEvery
    max_norm: float | None
    max_value: float | None


def tree_map(function: Callable[..., Any], value: T, *more: Any) -> T:
    """f(array, ...) of an array, or of each array of nested tuples; None and numbers
    stay.
    """
    result: T = value
    if isinstance(value, tuple):
        kind: Any = type(value)
        results = [tree_map(function, *items) for items in zip(value, *more)]
        result = kind(*results) if hasattr(value, "_fields") else kind(results)
    elif not (value is None or isinstance(value, int) or type(value) is float):
        result = function(value, *more)
    return result
