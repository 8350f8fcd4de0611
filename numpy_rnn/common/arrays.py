"""Checks that the arguments of a package's public functions are its arrays and records."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, Activations, Gradients, Parameters, State
from numpy_rnn.common.shapes import check_activations, check_dtype, check_gradients, check_parameters

OPTIONAL = ("b_h", "b_y", "h_0")  # of the parameters
FLOATS = tuple(np.dtype(name).type for name in DTYPES)  # compared in a hundredth of the time of their names


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
