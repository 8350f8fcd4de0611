"""What a port says: its statements, its reports, and the lines of JSON of a program.

protocol.txt documents both, for programs in any language.
"""

import json
from collections.abc import Collection, Sequence
from math import inf, prod
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.records import DTYPES, LOSS_NAMES, Step
from numpy_rnn.common.texts import one_line, short_repr
from numpy_rnn.conformance.arithmetics.arithmetic import mean_over
from numpy_rnn.conformance.case import (
    LOSS_AXES,
    SGD_OPTIONS,
    NamedArrays,
    WindowCase,
    case_sizes,
    initial_state_of,
    present,
    required_outputs,
)
from numpy_rnn.conformance.ports.abilities import (
    CAPABILITIES,
    LACKS,
    shapes_of,
)

VERSION = 2
HELLO = json.dumps({"type": "hello", "protocol": VERSION})

LONGEST_HELLO = 100_000  # bytes of the answer
LONGEST_NUMBER = 64  # bytes of a number in an answer, with its comma
LONGEST_TEXT = 10_000  # bytes of an answer besides its numbers
Message = dict[str, Any]


class PortFault(Exception):
    """A port failed; the message is one line.

    what: the fault alone, without the port and the case.
    """

    def __init__(self, message: str, what: str = ""):
        super().__init__(message)
        self.what = what or message


# The statements of a port about itself, where it makes none.
STATEMENTS: Message = {
    "name": "",
    "dtypes": (),
    "capabilities": (),
    "lacks": (),
    "sizes": (),
    "tanh_ulps": None,
    "mean_over": None,
}


# The statements that are lists, and the names that they may have.
NAME_LISTS: dict[str, Sequence[str]] = {
    "dtypes": DTYPES,
    "capabilities": CAPABILITIES,
    "lacks": LACKS,
    "mean_over": LOSS_AXES,
}


def identity_from(stated: object, **others: Any) -> Message:
    """Return all statements of a port, in tuples, some of them replaced by others, and
    the name of its reduction. Raises PortFault on the first invalid one.

    Without a batch, all sizes have B = 1.
    """
    port: Message = {
        n: getattr(stated, n, default) for n, default in STATEMENTS.items()
    }
    port |= others
    name = port["name"]
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        _refuse(port, "name", "a text of printable characters")
    for statement, known in NAME_LISTS.items():
        names = port[statement]
        if names is None and statement == "mean_over":
            continue
        if not isinstance(names, list | tuple) or any(n not in known for n in names):
            expected = f"a list of some of {', '.join(known)}"
            if statement == "capabilities":
                expected += f" (sgd_options are {', '.join(SGD_OPTIONS)})"
            _refuse(port, statement, expected)
        port[statement] = tuple(names)
    if not port["dtypes"]:
        _refuse(port, "dtypes", "float32, float64 or both")
    ulps = port["tanh_ulps"]
    is_number = isinstance(ulps, int | float) and not isinstance(ulps, bool)
    if ulps is not None and not (is_number and 0 < ulps < inf):
        _refuse(port, "tanh_ulps", "a positive number of ulps")
    shapes = shapes_of(port["sizes"])
    if not all(map(_is_shape, shapes)):
        _refuse(port, "sizes", "T, B, D, H, O, K ≤ T as {'H': 6}, or few")
    if "batch" in port["lacks"]:
        shapes = [{**shape, "B": 1} for shape in shapes]
    port["sizes"] = tuple(shapes)
    axes = port["mean_over"]
    port["reduction"] = None if axes is None else mean_over(axes)
    return port


def _refuse(port: Message, name: str, expected: str) -> NoReturn:
    """Raise PortFault about a statement."""
    raise PortFault(f"{name} is {short_repr(port[name], repr)}: expected {expected}")


def _is_shape(shape: object) -> bool:
    """Return whether this has sizes by letters, and no more losses than steps."""
    if not isinstance(shape, dict) or not {*shape} <= {*"TBDHOK"}:
        return False
    is_whole = all(type(size) is int and size > 0 for size in shape.values())
    return is_whole and ("T" not in shape or shape.get("K", 1) <= shape["T"])


def port_arguments(case: WindowCase) -> Message:
    """Return the arrays and options of a case, as the keyword arguments of
    `Port.window_update`.
    """
    (nonlinearity, loss, reduction), step = case.objective, case.step
    arguments = {
        "params": present(case.params),
        "x": case.x,
        "target": case.target,
        "h_0": initial_state_of(case),
        "nonlinearity": nonlinearity,
        "reduction": reduction,
    }
    if loss != LOSS_NAMES[0]:
        arguments["loss"] = loss
    if step is None:
        return arguments
    arguments["learning_rate"] = step.learning_rate
    if step != Step(step.learning_rate):  # other options: for ports that know them
        names = [n for n, v in step._asdict().items() if v or n in SGD_OPTIONS]
        arguments |= {name: getattr(step, name) for name in names}
        arguments["velocity"] = present(case.velocity) or None
    return arguments


def encode_request(case: WindowCase, case_id: int) -> str:
    """Return the request for this case: one line, without a line end. Its numbers are
    exact.
    """
    arguments = port_arguments(case)
    if arguments.get("velocity"):
        arguments["velocity"] = present(case.velocity, "v")
    head = {"type": "window_update", "id": case_id, "dtype": str(case.dtype)}
    head["sizes"] = case_sizes(case)
    return json.dumps(head | arguments, default=lambda array: np.ravel(array).tolist())


def decode_hello(line: str) -> Message:
    """Return the statements of a port from its answer to HELLO. Raises PortFault."""
    hello = _object(line)
    if hello.get("protocol") != VERSION:
        spoken = short_repr(hello.get("protocol"), repr)
        raise PortFault(f"speaks protocol version {spoken}: expected {VERSION}")
    return identity_from(SimpleNamespace(**hello))


def longest_answer(case: WindowCase) -> int:
    """Compute the most bytes of an answer to this case with everything that it can
    have.
    """
    shapes = required_outputs(case)
    numbers = sum(prod(shape) for shape in shapes.values())
    return LONGEST_NUMBER * numbers + LONGEST_TEXT


def decode_answer(line: str, case: WindowCase, case_id: int) -> NamedArrays:
    """Return the arrays of the answer to a case, in its dtype, and in their shapes if
    the sizes fit.

    Raises PortFault if the line is not a JSON object of numbers with this id.
    """
    answer = _object(line)
    if answer.pop("id", None) != case_id:
        raise PortFault(
            f"does not repeat the id {case_id} in its answer: {one_line(line, 80)}"
        )
    shapes = required_outputs(case)
    report = {}
    for name, value in answer.items():
        try:
            with np.errstate(over="ignore"):
                array = np.array(value, np.float64).astype(case.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            reason = f"{error}: expected a number, or a list of numbers"
            raise PortFault(f"{name}: {one_line(reason)}") from None
        shape = shapes.get(name, ())
        report[name] = array.reshape(shape) if array.size == prod(shape) else array
    return report


def _object(line: str) -> Message:
    """Return the JSON object of an answer. Raises PortFault if it is none, or an
    error.
    """
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise PortFault(f"answers what is not a JSON object: {one_line(line, 80)}")
    if "error" in value:
        raise PortFault(f"answers with an error: {one_line(str(value['error']))}")
    return value


def format_error(
    case: WindowCase, report: Any, capabilities: Collection[str] = CAPABILITIES
) -> str:
    """Return the first error in the format of a report, or "": names, shape, dtype, NaN
    or infinity.

    Only a report without such errors has numbers that can be compared, since `NaN >
    bound` is false. What capabilities add to a report is optional without them.
    """
    if not isinstance(report, dict):
        kind = type(report).__name__
        return f"the report is a {kind}: expected a dict of arrays by name"
    optional = {"dh_0"} if case.h_0 is None else set()
    expected = required_outputs(case, capabilities).keys() - optional
    known = required_outputs(case)
    for name in report:
        if name not in known:
            return f"{short_repr(name)} is not an expected name"
    for name, shape in known.items():
        if name in report:
            array = report[name]
            if type(array) is not np.ndarray and not isinstance(array, np.generic):
                kind = type(array).__name__  # a masked array is another one
                return f"{name} is a {kind}: expected a NumPy array"
            if error := array_error(name, array, shape, case.dtype):
                return error
        elif name in expected:
            return f"{name} is missing"
    return ""


def array_error(
    name: str, array: Any, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> str:
    """Return the error in an array that should have this shape and dtype and be finite,
    or "". Its shape tells more of a mistake than its dtype, and comes first.
    """
    if array.shape != shape and array.dtype != dtype:
        return (
            f"{name} has shape {array.shape} and is {array.dtype}: expected {shape} and"
            f" {dtype}"
        )
    if array.shape != shape:
        return f"{name} has shape {array.shape}: expected {shape}"
    if array.dtype != dtype:
        return f"{name} is {array.dtype}: expected {dtype}"
    if np.isfinite(array).all():
        return ""
    index = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
    return f"{name}{list(index) or ''} is {array[index]}: expected a finite number"
