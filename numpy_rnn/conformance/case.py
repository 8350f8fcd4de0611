"""One case of the suite, a window and its SGD step, and the outputs that it requires of a port.

`numpy_rnn.app.trace` documents the same names for a whole run.
"""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.trace import BY_STEP as INTERMEDIATES
from numpy_rnn.common.records import Parameters, SgdOptions

INPUT_GRADIENTS = ("dh_0", "dx")
LEARNED = ("dh_0", "vh_0", "h_0")  # of a learned initial state

SHAPES = {
    "loss": "",
    "a": "TBH",
    "h": "TBH",  # h_1 to h_T, without the initial state
    "y": "TBO",
    "dy": "TBO",  # zero at the steps without a loss
    "dh": "TBH",
    "da": "TBH",
    "dh_0": "BH",
    "dx": "TBD",
    "dW_xh": "DH",
    "dW_hh": "HH",
    "dW_hy": "HO",
    "db_h": "H",
    "db_y": "O",
    "vW_xh": "DH",  # the velocities after the update
    "vW_hh": "HH",
    "vW_hy": "HO",
    "vb_h": "H",
    "vb_y": "O",
    "vh_0": "BH",
    "W_xh": "DH",  # the parameters after the update
    "W_hh": "HH",
    "W_hy": "HO",
    "b_h": "H",
    "b_y": "O",
    "h_0": "BH",
}
SECOND_BIAS = dict.fromkeys(("db_hh", "vb_hh", "b_hh"), "H")  # of a port with two of them

TWO_BIASES = "two_biases"  # the capability
FIELDS = (*Parameters._fields, "b_hh")


class TwoBiases(NamedTuple):
    """The parameters with two trained biases of the hidden layer; or what belongs to each, such as the velocities.

    Those of torch.nn.RNN are such biases: b_h is its b_ih, and b_hh its b_hh.

        a_t = x_t W_xh + b_h + h_{t-1} W_hh + b_hh     (F1)
        db_hh = db_h = Σ_{t,b} da_t                    (B7)

    Each is a parameter with its own update, (U1) to (U7): the norm of (U2) includes both gradients, and each has its
    own velocity. Under plain gradient descent their sum moves twice as far as one bias would.
    """

    W_xh: Any
    W_hh: Any
    W_hy: Any
    b_h: Any = None
    b_y: Any = None
    h_0: Any = None
    b_hh: Any = None


def parameters_of(arrays: dict[str, Any], prefix: str = "") -> Any:
    """The parameters of these names, None for others; TwoBiases if there is a second bias."""
    kind: Any = TwoBiases if arrays.get(f"{prefix}b_hh") is not None else Parameters
    return kind(*(arrays.get(prefix + name) for name in kind._fields))


def one_bias(params: Any) -> Parameters:
    """The parameters of the same function with one hidden bias, b_h + b_hh."""
    second = getattr(params, "b_hh", None)
    first = Parameters(*params[:6])
    return first if second is None else first._replace(b_h=params.b_h + second)


class Truncation(NamedTuple):
    """A truncation by its kind in `truncations.py`, and its number of steps; 0 for "stale"."""

    kind: str
    steps: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.steps}" if self.steps else self.kind

    def first_step(self, T: int) -> int:
        """How many of T steps the backward pass does not reach."""
        return max(0, T - self.steps) if self.kind == "back" else 0

    def cuts(self, T: int) -> bool:
        """Whether it differs from (B2) in a window of T steps."""
        return 0 < self.steps < T


class Case(NamedTuple):
    """One window: T steps of B sequences, of which the newest K have a loss. All arrays have one dtype.

    `params` has NumPy arrays without ensemble axes; x (T, B, D), target (K, B, O), h_0 (B, H). x may be classes,
    integers (T, B); the target of a cross-entropy may be classes (K, B). weights: (K, B). If the window starts
    from a learned initial state, that is params.h_0, and h_0 equals it. velocity: that of the update before; None, also
    for a single parameter, before its first update.

    In stacked updates all arrays have the same leading axes, and the learning rate broadcasts against them.
    """

    params: Any  # Parameters, or TwoBiases
    x: np.ndarray
    target: np.ndarray
    h_0: np.ndarray
    learning_rate: float | np.ndarray
    nonlinearity: str = "tanh"
    reduction: str = "sum"
    sgd: SgdOptions = SgdOptions()
    velocity: Any = None
    loss: str = "squared_error"
    weights: np.ndarray | None = None  # (K, B), of the losses; None: 1 each
    given_dy: bool = False  # `target` has dy of its K steps, and there is no loss
    has_step: bool = True  # False: the gradients only
    has_h_0: bool = True  # False: h_0 is zero and no input, and dh_0 is not required
    truncation: Truncation | None = None  # None: (B2)
    kept: tuple[np.ndarray, np.ndarray] | None = None  # with "stale": a and h of the steps without a loss, (T−K, B, H)

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64."""
        return self.params.W_hh.dtype

    @property
    def sizes(self) -> dict[str, int]:
        """T, B, D, H, O and K by their letters."""
        T, B, *_ = self.x.shape
        (D, H), (_, O) = self.params.W_xh.shape, self.params.W_hy.shape
        return {"T": T, "B": B, "D": D, "H": H, "O": O, "K": len(self.target)}

    def in_rows(self) -> "Case":
        """The same case with rows of 0 and 1 for classes."""
        sizes = {"x": self.params.W_xh.shape[-2], "target": self.params.W_hy.shape[-1]}
        classes = {name: size for name, size in sizes.items() if getattr(self, name).dtype.kind in "iu"}
        rows = {name: np.eye(size, dtype=self.dtype)[getattr(self, name)] for name, size in classes.items()}
        return self._replace(**rows)

    @property
    def dy(self) -> np.ndarray:
        """With given_dy: dy of all steps, (T, B, O), zero at the older ones."""
        older = np.zeros((len(self.x) - len(self.target), *self.target.shape[1:]), self.dtype)
        return np.concatenate((older, self.target))

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of a port besides the learning rate. Without a loss there is no reduction.

        They include the loss unless it is half the squared error, and the weights if the losses have any. Unless the
        step is plain gradient descent, they include the options of SGD and `velocity`: None, or a dict of
        the velocities, with Adagrad the sums of squares, by the names of the parameters.
        """
        options: dict[str, Any] = {"nonlinearity": self.nonlinearity, "reduction": self.reduction}
        options |= {} if self.loss == "squared_error" else {"loss": self.loss}
        options |= {} if self.weights is None else {"weights": self.weights}
        if self.given_dy:
            del options["reduction"]
        if self.sgd == SgdOptions():
            return options
        before = None
        if self.velocity is not None:
            trained = [name for name, theta in self.params._asdict().items() if theta is not None]
            before = {name: v for name in trained if (v := getattr(self.velocity, name, None)) is not None}
        of_step = self.sgd._asdict()
        for name in ("max_value", "adagrad"):  # not in the protocol of ports that do not declare it
            if not of_step[name]:
                del of_step[name]
        return options | of_step | {"velocity": before}


def required_outputs(case: Case, intermediates: bool, input_gradients: bool = False) -> dict[str, tuple[int, ...]]:
    """The names that a report on this case must have, and their shapes.

    dh_0 is an input gradient; with a learned initial state it is a gradient like the others. Velocities are required
    with momentum, and with Adagrad, where they are the sums of squares.
    """
    sizes = case.sizes
    left_out = set() if intermediates else set(INTERMEDIATES)
    if case.params.b_h is None:
        left_out |= {name for name in SHAPES if name.endswith(("b_h", "b_y"))}
    if getattr(case.params, "b_hh", None) is None:
        left_out |= SECOND_BIAS.keys()
    if case.params.h_0 is None:
        left_out |= set(LEARNED) - (set(INPUT_GRADIENTS) if input_gradients else set())
    if not input_gradients:
        left_out.add("dx")
    if case.given_dy:
        left_out.add("loss")
    if not case.has_step:
        left_out |= set(FIELDS)
    if not case.sgd.has_velocity or not case.has_step:
        left_out |= {"vb_hh", *(name for name in SHAPES if name.startswith("v"))}
    shapes = (SHAPES | SECOND_BIAS).items()
    return {name: tuple(sizes[letter] for letter in letters) for name, letters in shapes if name not in left_out}


def format_errors(case: Case, report, intermediates: bool, input_gradients: bool = False) -> list[str]:
    """The errors in the format of a report, one line each: missing or unknown names, shape, dtype, NaN or infinity.

    If the list is empty, every required output is present, in the case's dtype and its shape, and finite. Only then can
    numbers be compared, since `NaN > bound` is false. Intermediates and input gradients that are not required are
    optional, and must have the right format.
    """
    if not isinstance(report, dict):
        return [f"the report is a {type(report).__name__}: expected a dict of arrays by name"]
    expected = required_outputs(case, intermediates, input_gradients)
    given = ("dy",) * case.given_dy + ("dh_0",) * (not case.has_h_0)
    faults = [f"{name} is missing" for name in expected if name not in report and name not in given]
    known = required_outputs(case, intermediates=True, input_gradients=True)
    faults += [f"{name} is not an expected name" for name in report if name not in known]
    for name, shape in known.items():
        if name not in report:
            continue
        array = report[name]
        if not isinstance(array, (np.ndarray, np.generic)):
            faults.append(f"{name} is a {type(array).__name__}: expected a NumPy array")
        elif array.dtype != case.dtype:
            faults.append(f"{name} is {array.dtype}: expected {case.dtype}")
        elif array.shape != shape:
            faults.append(f"{name} has shape {array.shape}: expected {shape}")
        elif not np.isfinite(array).all():
            index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
            faults.append(f"{name}{list(index)} is {np.asarray(array)[index]}: expected a finite number")
    return faults
