"""Cases, `WindowCase` records of one window and its SGD step, and the outputs that a case requires of a port.

A case may lack parts. Without `step` it has gradients only. With neither `h_0` nor a learned `params.h_0` the initial
state is zero and no input. Under the loss GIVEN_DY `target` is dy of the newest K steps, and no loss is computed.

In stacked cases all arrays have the same leading axes, before the axes of time, (..., T, B, D), and the learning rate
broadcasts against them.
"""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.records import A, NumpyArray, Parameters, Run, Step, WindowCase

INTERMEDIATES = ("a", "h", "y", "dy", "dh", "da")
GIVEN_DY: Any = "given_dy"
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
}
Shape = tuple[int, ...]
PARAMETER_SHAPES = {
    "W_xh": "DH",
    "W_hh": "HH",
    "W_hy": "HO",
    "b_h": "H",
    "b_y": "O",
    "h_0": "BH",
    "b_hh": "H",
}
FIELDS = tuple(PARAMETER_SHAPES)
for _prefix in (
    "d",
    "v",
    "",
):  # gradients before clipping; velocities and parameters after the update
    SHAPES |= {_prefix + name: shape for name, shape in PARAMETER_SHAPES.items()}


class TwoBiases(NamedTuple, Generic[A]):
    """Parameters with two trained biases of the hidden layer, or what belongs to each, such as the velocities.

        a_t = x_t W_xh + b_h + h_{t-1} W_hh + b_hh     (F1)
        db_hh = db_h = Σ_{t,b} da_t                    (B7)

    torch.nn.RNN has such biases, b_ih and b_hh. Each is a parameter with its own update, (U1) to (U7): the norm of (U2)
    includes both gradients. Under plain gradient descent their sum moves twice as far as one bias would.
    """

    W_xh: A
    W_hh: A
    W_hy: A
    b_h: A | None = None
    b_y: A | None = None
    h_0: A | None = None
    b_hh: A | None = None


class RateInVelocity(Step):
    """A step whose velocity has the factor −η, as those of Keras and MXNet: v ← μv − η(1 − τ)g, then θ ← θ + v.

    With Nesterov's momentum θ ← θ + μv − ηg.
    """

    __slots__ = ()


def parameters_from(arrays: Mapping[str, NumpyArray], prefix: str = "") -> Any:
    """The Parameters of these names, or TwoBiases where there is a second bias; None for names that are missing."""
    kind: Any = TwoBiases if arrays.get(f"{prefix}b_hh") is not None else Parameters
    return kind(*(arrays.get(prefix + name) for name in kind._fields))


def present(params: Any) -> dict[str, NumpyArray]:
    """The arrays by name, without those that are None."""
    return {
        name: array
        for name, array in (params or Parameters(*[None] * 3))._asdict().items()
        if array is not None
    }


def one_bias(params: Any) -> Parameters[NumpyArray]:
    """The parameters of the same function with one hidden bias, b_h + b_hh."""
    has_two = getattr(params, "b_hh", None) is not None
    return Parameters(*params[:6])._replace(b_h=params.b_h + params.b_hh if has_two else params.b_h)


def second_bias_as_input(run: Run) -> Run:
    """The same run with one hidden bias: the second is a row of W_xh, that of one more input, which is always 1."""
    params, b_hh = one_bias(run.params), getattr(run.params, "b_hh", None)
    if b_hh is None:
        return run._replace(params=params)
    x, W_xh = as_rows(run.x, params.W_xh.shape[-2], b_hh.dtype), run.params.W_xh
    W_xh, x = (
        np.concatenate((W_xh, b_hh[..., None, :]), -2),
        np.concatenate((x, np.ones_like(x[..., :1])), -1),
    )
    return run._replace(params=Parameters(W_xh, *run.params[1:6]), x=x)


def case_sizes(case: WindowCase) -> dict[str, int]:
    """T, B, D, H, O and K by their letters."""
    T, B, *_ = case.x.shape
    (D, H), (_, O) = case.params.W_xh.shape, case.params.W_hy.shape
    return {"T": T, "B": B, "D": D, "H": H, "O": O, "K": len(case.target)}


def initial_state(case: WindowCase) -> NumpyArray:
    """The initial state of the window: the learned one, the given one, or zeros."""
    h_0: NumpyArray | None = case.h_0 if case.params.h_0 is None else case.params.h_0
    return (
        np.zeros((case.x.shape[1], case.params.W_hh.shape[-1]), case.params.W_hh.dtype)
        if h_0 is None
        else h_0
    )


def is_classes(array: NumpyArray) -> bool:
    """Whether an array of inputs or targets holds classes, not rows."""
    return array.dtype.kind in "iu"


def as_rows(array: NumpyArray, size: int, dtype: npt.DTypeLike) -> NumpyArray:
    """Rows of 0 and 1 for classes; other arrays as they are."""
    return np.eye(size, dtype=dtype)[array] if is_classes(array) else array


def with_rows(case: WindowCase) -> WindowCase:
    """The same case with rows of 0 and 1 for classes."""
    D, O, dtype = case.params.W_xh.shape[-2], case.params.W_hy.shape[-1], case.params.W_hh.dtype
    return case._replace(x=as_rows(case.x, D, dtype), target=as_rows(case.target, O, dtype))


def given_dy(case: WindowCase) -> NumpyArray:
    """Under GIVEN_DY, dy of all steps, (T, B, O): zero at the older ones."""
    older = np.zeros(
        (len(case.x) - len(case.target), *case.target.shape[1:]), case.params.W_hh.dtype
    )
    return np.concatenate((older, case.target))


def required_names(
    case: WindowCase, intermediates: bool, input_gradients: bool = False
) -> list[str]:
    """The names that a report on this case must have; dh_0 is one if the initial state is learned."""
    trained = present(case.params)
    names = ["loss"] * (case.objective.loss != GIVEN_DY) + [*INTERMEDIATES] * intermediates
    names += ["dh_0", "dx"] if input_gradients else ["dh_0"] * ("h_0" in trained)
    prefixes = ["d"]
    if case.step is not None:
        prefixes += ["v", ""] if case.step.has_velocity else [""]
    names += [prefix + name for prefix in prefixes for name in trained]
    return [name for name in SHAPES if name in names]


def required_outputs(
    case: WindowCase, intermediates: bool, input_gradients: bool = False
) -> dict[str, tuple[int, ...]]:
    """The names of `required_names`, and their shapes."""
    sizes = case_sizes(case)
    names = required_names(case, intermediates, input_gradients)
    return {name: tuple(sizes[letter] for letter in SHAPES[name]) for name in names}


def format_errors(
    case: WindowCase, report: Any, intermediates: bool, input_gradients: bool = False
) -> list[str]:
    """The errors in the format of a report, one line each: missing or unknown names, shape, dtype, NaN or infinity.

    Only a report without such errors has numbers that can be compared, since `NaN > bound` is false. Intermediates and
    input gradients that are not required are optional.
    """
    if not isinstance(report, dict):
        return [f"the report is a {type(report).__name__}: expected a dict of arrays by name"]
    optional = ("dy",) * (case.objective.loss == GIVEN_DY)
    optional += ("dh_0",) * (case.h_0 is None and case.params.h_0 is None)
    expected = required_outputs(case, intermediates, input_gradients)
    errors = [
        f"{name} is missing" for name in expected if name not in report and name not in optional
    ]
    known, dtype = required_outputs(case, True, True), case.params.W_hh.dtype
    errors += [f"{name} is not an expected name" for name in report if name not in known]
    for name, shape in known.items():
        array = report.get(name)
        if (
            name in report and type(array) is not np.ndarray and not isinstance(array, np.generic)
        ):  # nor masked
            errors.append(f"{name} is a {type(array).__name__}: expected a NumPy array")
        elif name in report and (error := array_error(name, array, shape, dtype)):
            errors.append(error)
    return errors


def array_error(name: str, array: Any, shape: Shape, dtype: npt.DTypeLike) -> str:
    """The error in an array that should have this shape and dtype, and be finite; "" if there is none."""
    if array.dtype != dtype:
        return f"{name} is {array.dtype}: expected {dtype}"
    if array.shape != shape:
        return f"{name} has shape {array.shape}: expected {shape}"
    if np.isfinite(array).all():
        return ""
    index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
    return f"{name}{list(index) or ''} is {array[index]}: expected a finite number"
