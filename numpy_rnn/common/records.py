"""The records that both packages take and return, and the names of their options.

Notation of DERIVATION.md, section 1: T time steps, B sequences, D inputs, H hidden
units, O outputs. The parameters of an ensemble of N networks have a first axis N, and
its activations have that axis between time and batch.
"""

from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    NamedTuple,
    Required,
    TypedDict,
    TypeVar,
    get_args,
)

from numpy.typing import NDArray

A = TypeVar("A")  # numpy.ndarray or torch.Tensor
Value = TypeVar("Value")  # of any type
NumpyArray = NDArray[Any]

Dtype = Literal["float32", "float64"]
Nonlinearity = Literal["tanh", "relu", "sigmoid"]
LossName = Literal["squared_error", "cross_entropy"]
Reduction = Literal["sum", "mean"]
YieldEvery = Literal[1, "epoch"]

# The names of every choice, a new one last: random cases, capabilities, help and tests
# read them.
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
NONLINEARITY_NAMES: tuple[Nonlinearity, ...] = get_args(Nonlinearity)
LOSS_NAMES: tuple[LossName, ...] = get_args(LossName)
REDUCTION_NAMES: tuple[Reduction, ...] = get_args(Reduction)
# The losses whose targets are classes; those of the others are numbers.
CLASS_LOSSES: tuple[LossName, ...] = ("cross_entropy",)


def array_words(record: Any) -> str:
    """Return the names and shapes of the arrays of a record, and their dtype."""
    fields = {n: v for n, v in record._asdict().items() if v is not None}
    dtypes = {name: dtype_name(value) for name, value in fields.items()}
    is_same = len({*dtypes.values()}) == 1
    words = []
    for name, value in fields.items():
        word = f"{name} {shape_words(value)}"
        words.append(word if is_same else f"{word} {dtypes[name]}".rstrip())
    if is_same:
        words.append(next(iter(dtypes.values())))
    return ", ".join(words)


def arrays_repr(record: Any) -> str:
    """Return the type of a record, and the names, shapes and dtype of its arrays."""
    return f"{type(record).__name__}({array_words(record)})"


def shape_words(value: Any) -> str:
    """Return the shape of an array; of another value, its type."""
    if hasattr(value, "shape"):
        return str(tuple(value.shape))
    return type(value).__name__


def dtype_name(value: Any) -> str:
    """Return the name of the dtype of an array; of another value, nothing."""
    return str(getattr(value, "dtype", "")).removeprefix("torch.")


def value_words(value: Any) -> str:
    """Return the number of a scalar, or the shape of an array."""
    if getattr(value, "ndim", 0):
        return shape_words(value)
    return f"{float(value):.6g}"


class Schedule(NamedTuple):
    """TBPTT(k1, k2) over a number of epochs."""

    k1: int
    """Steps from one update to the next, whose losses are new."""
    k2: int
    """Steps of a window: the k1 new ones, and k2 − k1 older ones."""
    epochs: int = 1
    """Passes through the series."""


class Objective(NamedTuple):
    """What is trained: the nonlinearity of the network, its loss, and its reduction."""

    nonlinearity: Nonlinearity = "tanh"
    """φ of (F2)."""
    loss: LossName = "squared_error"
    """The loss of a step, (L1) or (L4)."""
    reduction: Reduction = "sum"
    """Whether the losses of a window are added or averaged, (L2)."""

    @property
    def has_classes(self) -> bool:
        """Whether the targets are classes."""
        return self.loss in CLASS_LOSSES


class Step(NamedTuple):
    """The step of an update; the defaults are plain gradient descent."""

    learning_rate: Any
    """η of (U1), a number, or one per network of an ensemble; None where a direction is
    computed and no step is made.
    """
    momentum: float = 0.0
    """μ of (U5)."""
    dampening: float = 0.0
    """τ of (U5)."""
    nesterov: bool = False
    """Whether the direction is g + μ v, (U6)."""
    weight_decay: float = 0.0
    """λ of (U4)."""
    adagrad: bool = False
    """Whether each element has a rate of its own, (U8) and (U9)."""
    max_norm: float | None = None
    """Limit of the gradient's norm in each network, (U3); None: no limit."""
    max_value: float | None = None
    """Limit of each element of the gradient, (U7); None: no limit."""

    @property
    def has_velocity(self) -> bool:
        """Whether an array is kept per parameter: a velocity, or a sum of squares."""
        return self.momentum > 0 or self.adagrad


class RunOptions(NamedTuple):
    """A run without its data and initial weights."""

    schedule: Schedule
    """When an update is made, and over which window."""
    objective: Objective
    """What is trained."""
    step: Step
    """How the parameters change."""

    def keywords(self) -> dict[str, Any]:
        """Return the keyword arguments of `train` that describe this run."""
        return {
            **self.schedule._asdict(),
            **self.objective._asdict(),
            **self.step._asdict(),
        }

    @classmethod
    def from_keywords(cls, k1: int, k2: int, epochs: int, **rest: Any) -> "RunOptions":
        """Invert `keywords`; names of the objective and the step may be missing."""
        objective = {name: rest.pop(name) for name in Objective._fields if name in rest}
        return cls(Schedule(k1, k2, epochs), Objective(**objective), Step(**rest))


class Parameters(NamedTuple, Generic[A]):
    """The learned parameters: three weights, and both biases or neither.

    Examples
    --------
    >>> import numpy as np
    >>> params = Parameters(np.ones((1, 6)), np.eye(6), np.ones((6, 1)))
    >>> params
    Parameters(W_xh (1, 6), W_hh (6, 6), W_hy (6, 1), float64)
    >>> params.W_hh.shape, params.b_h, params.networks
    ((6, 6), None, None)
    """

    W_xh: A
    """Input to hidden, of shape (D, H) or (N, D, H)."""
    W_hh: A
    """Hidden to hidden, one step later, of shape (H, H) or (N, H, H)."""
    W_hy: A
    """Hidden to output, of shape (H, O) or (N, H, O)."""
    b_h: A | None = None
    """Hidden bias, of shape (H,) or (N, H)."""
    b_y: A | None = None
    """Output bias, of shape (O,) or (N, O)."""

    def __repr__(self) -> str:
        """Return the names, shapes and dtype of the arrays."""
        return arrays_repr(self)

    @property
    def networks(self) -> int | None:
        """N, the size of an ensemble; None for a single network."""
        W_hh: Any = self.W_hh
        return W_hh.shape[0] if W_hh.ndim > 2 else None


# dX has the shape of X. Any of them may be None: that parameter does not change. The
# types do not say so, since `bptt` returns all weights' gradients, and its users would
# have to ask at each one. Type checkers alone see a class of its own.
if TYPE_CHECKING:

    class Gradients(Parameters[A]):
        """∂L/∂θ of every parameter θ, or a direction, or a velocity (Adagrad: sums of
        squares).
        """

else:
    Gradients = Parameters


class Activations(NamedTuple, Generic[A]):
    """The results of the forward pass over one window, (F1) to (F3).

    An ensemble has an axis N before B.
    """

    x: A
    """Inputs, of shape (T, B, D); classes are one-hot rows."""
    a: A
    """Pre-activations, of shape (T, B, H): a_t is at index t − 1."""
    h: A
    """States, of shape (T+1, B, H): h_t is at index t, and h[0] the initial state."""
    y: A
    """Outputs, of shape (T, B, O): y_t is at index t − 1."""

    def __repr__(self) -> str:
        """Return the names, shapes and dtype of the arrays."""
        return arrays_repr(self)


class Adjoints(NamedTuple, Generic[A]):
    """The total derivatives of the loss L of a window, (B1) to (B3), (B9), (B10).

    That of step t is at index t − 1. An ensemble has an axis N before B.
    """

    dy: A
    """∂L/∂y_t, of shape (T, B, O); zero at steps without a loss."""
    dh: A
    """∂L/∂h_t, of shape (T, B, H)."""
    da: A
    """∂L/∂a_t, of shape (T, B, H)."""
    dx: A
    """∂L/∂x_t, of shape (T, B, D); one per network, also where all share x."""
    dh_0: A
    """∂L/∂h_0 of the initial state of the window, of shape (B, H)."""

    def __repr__(self) -> str:
        """Return the names, shapes and dtype of the arrays."""
        return arrays_repr(self)


class Window(NamedTuple):
    """The steps (start, stop] of a series, of which (loss_start, stop] have a loss.

    Steps are numbered from 1, so the inputs of the window are x[start:stop], its
    targets target[loss_start:stop], and its initial state is h[start].
    """

    start: int
    """s_n of (T2)."""
    loss_start: int
    """e_{n-1} of (T1), the end of the previous update."""
    stop: int
    """e_n of (T1)."""

    @property
    def steps(self) -> int:
        """T, the steps of the window: the new ones, and at most k2 − k1 older ones."""
        return self.stop - self.start

    @property
    def loss_steps(self) -> int:
        """K, the steps with a loss, at most k1."""
        return self.stop - self.loss_start


@dataclass(frozen=True, eq=False, repr=False)
class Update(Generic[A]):
    """One window and its step, as `train` yields it."""

    epoch: int
    """The number of the epoch, from 1."""
    number: int
    """n, the number of the update in its epoch, from 1."""
    window: Window
    """The window (s_n, e_n], and where its new steps begin."""
    loss: A
    """L of the window before the step, a scalar, or of shape (N,)."""
    gradients: Gradients[A]
    """∂L/∂θ, before clipping."""
    parameters: Parameters[A]
    """The parameters after the step."""
    velocity: Gradients[A] | None = None
    """The velocity after the step, or Adagrad's sums of squares; None without."""
    activations: Activations[A] | None = None
    """Activations of the window before the step; only with `record`."""
    adjoints: Adjoints[A] | None = None
    """Adjoints of the window before the step; only with `record`."""
    losses: A | None = None
    """Losses of all n updates of the epoch, of shape (n,) or (n, N); only with
    yield_every="epoch".
    """

    def __repr__(self) -> str:
        """Return the numbers, and the names and shapes of the arrays."""
        names = []
        for name in UPDATE_RECORDS:
            if getattr(self, name) is not None:
                names.append(name)
        return (
            f"Update(epoch={self.epoch}, number={self.number}, window={self.window},"
            f" loss={value_words(self.loss)}; {', '.join(names)} of"
            f" {array_words(self.parameters)})"
        )


UPDATE_RECORDS = ("gradients", "parameters", "velocity", "activations", "adjoints")


class Run(NamedTuple):
    """A training run on a series: its data, as arrays of one package, and its
    options.
    """

    params: Parameters[Any]
    """The initial parameters."""
    x: Any
    """Inputs, of shape (T, B, D) or (T, N, B, D), or classes."""
    target: Any
    """Targets, of shape (T, B, O) or (T, N, B, O), or classes."""
    h_0: Any
    """The state at the start of every epoch, of shape (B, H) or (N, B, H)."""
    options: RunOptions
    """How it is trained: the schedule, the objective and the step."""
    velocity: Gradients[Any] | None = None
    """The initial velocity; None: from rest."""


# The defaults of keyword arguments that no record has.
KEYWORD_DEFAULTS = {
    **Objective._field_defaults,
    **Step._field_defaults,
    "velocity": None,
    "record": False,
    "yield_every": 1,
}


class DirectionKeywords(TypedDict, total=False):
    """The keyword arguments of `direction`; `Step` has their defaults."""

    momentum: float
    dampening: float
    nesterov: bool
    weight_decay: float
    adagrad: bool


class TrainKeywords(DirectionKeywords, Generic[A], total=False):
    """The keyword arguments of `train`, which numpy_rnn.train describes."""

    k1: Required[int]
    k2: Required[int]
    learning_rate: Required[float | A]
    epochs: Required[int]
    nonlinearity: Nonlinearity
    loss: LossName
    reduction: Reduction
    max_norm: float | None
    max_value: float | None
    velocity: Gradients[A] | None
    record: bool
    yield_every: YieldEvery
