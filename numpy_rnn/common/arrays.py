"""Checks of the arguments of a package's public functions: its arrays and records, targets and loss weights.

As in `shapes`, the values of arrays are read by methods that NumPy and torch both have.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, Activations, Array, Gradients, Parameters, State
from numpy_rnn.common.shapes import (
    check_activations,
    check_classes,
    check_dtype,
    check_fits,
    check_gradients,
    check_parameters,
    is_finite,
    is_integer,
    target_for,
    with_ensemble_axes,
)

OPTIONAL = ("b_h", "b_y", "h_0")  # of the parameters
FLOATS = tuple(np.dtype(name).type for name in DTYPES)  # compared in a hundredth of the time of their names
CHUNK = 4096  # steps of a series that are checked at a time
MAX_OFF = 1e-3  # how far the sum of a distribution may be from 1, so that rounded ones of any origin are accepted

SQUARED_ERROR, CROSS_ENTROPY = "squared_error", "cross_entropy"


class Arrays(NamedTuple):
    """The arrays of one package. Each method raises InputError on other arrays and records.

    The checks read types and shapes, not values, so that they cost nothing on a long series.
    """

    kind: type  # numpy.ndarray or torch.Tensor
    name: str
    package: str
    forward_dtypes: tuple[str, ...] = DTYPES  # of the forward pass and the loss

    def check(self, **arrays: Any) -> None:
        """Arrays, by name."""
        for name, value in arrays.items():
            if type(value) is not self.kind:
                self._check_array(name, value)

    def parameters(self, params: Any, *, both_biases: bool = True, dtypes: tuple[str, ...] = DTYPES) -> None:
        """Parameters whose arrays fit each other; see `check_parameters`."""
        self._record("params", params, Parameters, OPTIONAL)
        check_parameters(params, both_biases=both_biases, dtypes=dtypes)

    def outputs(self, y: Any, target: Any) -> None:
        """The arguments of a loss, without their shapes."""
        self.check(y=y, target=target)
        check_dtype("y", y, self.forward_dtypes)

    def run(self, params: Any, h_0: Any, **series: Any) -> None:
        """The arrays of a run: parameters, series by name, and an initial state, which may be None."""
        self.parameters(params)
        self.check(**series)
        if h_0 is not None:
            self.check(h_0=h_0)

    def gradients(self, gradients: Any) -> None:
        """Gradients whose arrays fit each other; all but that of W_hh may be None."""
        self._record("gradients", gradients, Gradients, (*OPTIONAL, "W_xh", "W_hy"), "the gradient of ")
        check_gradients(gradients)

    def like_parameters(self, name: str, value: Any) -> None:
        """A velocity or a direction, whose arrays may be None, without their shapes."""
        self._record(name, value, Gradients, Gradients._fields, f"the {name} of ")

    def activations(self, params: Any, activations: Any) -> None:
        """Activations that fit these parameters; see `check_activations`."""
        self._record("activations", activations, Activations)
        check_activations(params, activations)

    def state(self, state: Any) -> None:
        """A State to resume from."""
        self._record("resume", state, State, ("velocity",), inner=False)
        self.check(h=state.h)
        self._record("the parameters of resume", state.parameters, Parameters, OPTIONAL)
        if state.velocity is not None:
            self.like_parameters("velocity", state.velocity)

    def _record(
        self,
        name: str,
        value: Any,
        record: Any,
        optional: tuple[str, ...] = (),
        prefix: str = "",
        inner: bool = True,
    ) -> None:
        if not isinstance(value, record):
            raise InputError(f"{name} is {_what(value)}: expected {record.__name__}")
        if inner:
            for field, array in zip(record._fields, value):
                if type(array) is not self.kind and not (array is None and field in optional):
                    self._check_array(prefix + field, array)

    def _check_array(self, name: str, value: object) -> None:
        if isinstance(value, np.ma.MaskedArray):
            raise InputError(
                f"{name} is a masked array: expected one without a mask; fill them, or leave out their steps"
            )
        if not isinstance(value, self.kind):  # subclasses, such as numpy.memmap and torch.nn.Parameter, are accepted
            raise InputError(f"{name} is {_what(value)}: expected {self.name}{self._hint(value)}")

    def _hint(self, value: object) -> str:
        if isinstance(value, np.ndarray) or _is_tensor(value):
            of = "torch_rnn takes tensors" if _is_tensor(value) else "numpy_rnn takes NumPy arrays"
            return f"; this is {self.package}, {of}"
        return "; from_numpy converts a NumPy array"


NUMPY_ARRAYS = Arrays(np.ndarray, "a NumPy array", "numpy_rnn", (*DTYPES, "complex128"))


def check_convertible(value: Any) -> None:
    """Raise InputError unless `from_numpy` takes it: a NumPy array or scalar of float32, float64, or integers."""
    if not isinstance(value, np.generic):
        NUMPY_ARRAYS.check(value=value)
    dtype = value.dtype
    if not (dtype.isnative and (dtype.type in FLOATS or dtype.kind in "iu")):
        raise InputError(
            f"the array is {dtype}: expected {' or '.join(DTYPES)}, in the byte order of this machine; convert it by"
            " astype"
        )


def is_plain(value: object) -> bool:
    """Whether the value is None or a plain number, and so an array in no package."""
    return value is None or isinstance(value, int) or type(value) is float


def like(value: tuple[Any, ...], values: Iterable[Any]) -> Any:
    """The values as a tuple of the same kind, named or not."""
    return type(value)(*values) if hasattr(value, "_fields") else tuple(values)


def _what(value: object) -> str:
    return "None" if value is None else f"a {_name_of(type(value))}"


def _name_of(kind: type) -> str:
    module = "torch." if kind.__module__.split(".")[0] == "torch" else ""
    return module + ("NumPy array" if kind is np.ndarray else kind.__name__)


def _is_tensor(value: object) -> bool:
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(value).__mro__)


# -- targets and weights of the losses --------------------------------------------------------------------------------


def check_distributions(name: str, rows: Array) -> None:
    """Raise InputError unless every row is a distribution: finite numbers of 0 or more, whose sum is 1."""
    for first in range(0, len(rows), CHUNK):
        chunk = rows[first : first + CHUNK]
        if not is_finite(chunk):
            raise InputError(f"{name} holds NaN or infinity: expected finite numbers")
        if float(chunk.min()) < 0:
            raise InputError(f"{name} holds {float(chunk.min())}: expected distributions, of numbers of 0 or more")
        sums = chunk.sum(-1)
        for extreme in (float(sums.min()), float(sums.max())):
            if abs(extreme - 1) > MAX_OFF:
                raise InputError(f"{name} has a row whose sum is {extreme}: expected distributions, whose sum is 1")


def check_loss(arrays: Arrays, y: Array, target: Array, weights: Array | None, loss: str) -> None:
    """Raise InputError unless the target, rows or classes, and the weights fit the outputs y (K, *E, B, O)."""
    arrays.outputs(y, target)
    if _are_classes(target, loss) and y.ndim > 2:
        K, *E, B, O = y.shape
        check_classes("target", target, (K, B), tuple(E), O)
    else:
        target_for(y, target)
        if loss == CROSS_ENTROPY:
            check_distributions("target", target)
    check_weights(arrays, weights, (y.shape[0], y.shape[-2]), y.dtype)


def check_window_loss(
    arrays: Arrays, params: Parameters[Array], target: Array, weights: Array | None, x: Array, loss: str
) -> None:
    """Raise InputError unless a target (K, B, O), or classes (K, B), and weights (K, B) fit a window, with 1 ≤ K ≤ T.

    x: the inputs of its T steps, rows or classes.
    """
    arrays.check(target=target)
    T, B, E, O = x.shape[0], x.shape[-1 if is_integer(x) else -2], params.W_hy.shape[:-2], params.W_hy.shape[-1]
    K = target.shape[0] if target.ndim else T
    if not 1 <= K <= T:
        raise InputError(f"target has {K} steps and x has {T}: expected between 1 and {T}")
    if _are_classes(target, loss):
        check_classes("target", target, (K, B), tuple(E), O)
    else:
        check_fits("target", target, params, (K, B, O))
        if loss == CROSS_ENTROPY:
            check_distributions("target", target)
    check_weights(arrays, weights, (K, B), params.W_hh.dtype)


def _are_classes(target: Array, loss: str) -> bool:
    return loss == CROSS_ENTROPY and is_integer(target)


def check_weights(arrays: Arrays, weights: Array | None, shape: tuple[int, int], dtype: object) -> None:
    """Raise InputError unless these are weights (K, B), finite numbers of 0 or more in this dtype, or None."""
    if weights is None:
        return
    arrays.check(weights=weights)
    if tuple(weights.shape) != shape:
        raise InputError(f"weights has shape {tuple(weights.shape)}: expected {shape}, one per step and sequence")
    if weights.dtype != dtype and "complex" not in str(dtype):
        raise InputError(f"weights is {weights.dtype}: expected {dtype}; convert it")
    if not is_finite(weights):
        raise InputError("weights holds NaN or infinity: expected finite numbers")
    if float(weights.min()) < 0:
        raise InputError(f"weights holds {float(weights.min())}: expected numbers of 0 or more")


def weights_with_axes(weights: Array | None, ndim: int) -> Array | None:
    """Weights (K, B) as (K, 1, ..., B, 1) of `ndim` axes, so that they multiply rows; None as it is."""
    return None if weights is None else with_ensemble_axes(weights, ndim - 1)[..., None]
