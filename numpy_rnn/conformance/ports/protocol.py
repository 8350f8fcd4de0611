"""The port protocol: requests and answers as lines of JSON. protocol.txt documents it, for programs in any language."""

import json
from collections.abc import Callable, Mapping, Sequence
from math import inf, prod
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import one_line, short_repr
from numpy_rnn.common.records import DTYPES, Step, WindowCase
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import GIVEN_DY, case_sizes, is_classes, present, required_outputs

CAPABILITIES = ("intermediates", "input_gradients", "sgd_options", "learned_h_0", "sigmoid", "clip_by_value",
                "cross_entropy", "class_inputs", "loss_weights", "adagrad")  # fmt: skip
OTHER_FORMS = (
    "given_dy",
    "two_biases",
    "rate_in_velocity",
)  # capabilities that replace a part of the network
SGD_LACKS = ("momentum", "dampening", "nesterov", "weight_decay", "max_norm")
LACKS = ("tanh", "relu", "sum", "mean", "bias", "no biases", "h_0", "older steps", "step", "plain SGD", *SGD_LACKS,
         "batch", "squared_error", "distributions", "vector_inputs", "many losses", "large outputs")  # fmt: skip
CONTRADICTIONS: tuple[tuple[tuple[str, ...], str | None], ...] = (  # statements, and the capability that allows them
    (("tanh", "relu"), "sigmoid"), (("squared_error",), "cross_entropy"), (("distributions",), "cross_entropy"),
    (("vector_inputs",), "class_inputs"), (("plain SGD",), "adagrad"), (("sum", "mean"), None),
    (("older steps", "many losses"), None), (("bias", "no biases"), None), (("step", "sgd_options"), None),
    (("step", "adagrad"), None), (("h_0", "learned_h_0"), None), (("adagrad", "rate_in_velocity"), None),
)  # fmt: skip
FEW_SIZES = tuple(  # shapes of windows that show faults; code that is compiled for every shape is compiled four times
    dict(zip("TBDHOK", map(int, sizes.split())))
    for sizes in ("4 2 3 6 5 3", "5 3 2 4 1 5", "3 1 4 17 2 1", "1 4 1 3 2 1")
)


class Abilities(NamedTuple):
    """The capabilities of a port beyond the minimum, what it lacks, and the sizes that it has, if it has few."""

    capabilities: tuple[str, ...] = CAPABILITIES
    lacks: tuple[str, ...] = ()
    sizes: tuple[Mapping[str, int], ...] = ()


EVERYTHING = Abilities()


class PortFault(Exception):
    """A port failed; the message is one line. case: the case that it was given, if it was one of the suite."""

    case: WindowCase | None = None


Sizes = Mapping[str, int]


class Identity(NamedTuple):
    """The statements of a port about itself, once they are found to be valid."""

    name: str = ""
    dtypes: Sequence[str] = ()
    capabilities: Sequence[str] = ()
    lacks: Sequence[str] = ()
    tanh_ulps: float | None = None
    tanh_absolute_ulps: float | None = None
    sizes: Sequence[Sizes] = ()
    numbers: str = "hexadecimal"


def identity_from(stated: Mapping[str, Any]) -> Identity:
    """The identity with these statements, with tuples for lists. Raises PortFault on the first invalid one."""
    port = Identity(**{name: stated[name] for name in Identity._fields if name in stated})
    capabilities, shapes = (*CAPABILITIES, *OTHER_FORMS), shapes_of(port.sizes)
    printable = isinstance(port.name, str) and port.name.strip() and port.name.isprintable()
    rules = {  # whether a statement is valid, and what is expected
        "name": (printable, "a text of printable characters"),
        "dtypes": (
            _are_names(port.dtypes, DTYPES) and port.dtypes,
            f"a list of {' or '.join(DTYPES)}, or both",
        ),
        "capabilities": (
            _are_names(port.capabilities, capabilities),
            f"a list of any of {', '.join(capabilities)}",
        ),
        "lacks": (_are_names(port.lacks, LACKS), f"a list of any of {', '.join(LACKS)}"),
        "tanh_ulps": (_is_error(port.tanh_ulps), "a positive number of ulps"),
        "tanh_absolute_ulps": (_is_error(port.tanh_absolute_ulps), "a positive number of ulps"),
        "sizes": (
            all(map(_is_shape, shapes)),
            "numbers of T, B, D, H, O and K, as {'H': 6}, with K ≤ T, or few",
        ),
        "numbers": (port.numbers in ("hexadecimal", "decimal"), "hexadecimal or decimal"),
    }
    for what, (is_valid, expected) in rules.items():
        if not is_valid:
            raise PortFault(
                f"{what} is {short_repr(getattr(port, what), repr)}: expected {expected}"
            )
    stated_names = {*port.lacks, *port.capabilities}
    for names, capability in CONTRADICTIONS:
        if stated_names.issuperset(names) and capability not in stated_names:
            expected = (
                f"{capability!r} among its capabilities" if capability else "one of them at most"
            )
            raise PortFault(f"it states {' and '.join(map(repr, names))}: expected {expected}")
    lists: dict[str, Any] = {
        name: tuple(getattr(port, name)) for name in ("dtypes", "capabilities", "lacks")
    }
    return port._replace(**lists, sizes=tuple(shapes))


def _are_names(given: object, known: Sequence[str]) -> bool:
    return isinstance(given, list | tuple) and all(name in known for name in given)


def _is_error(ulps: object) -> bool:
    return ulps is None or (isinstance(ulps, int | float) and 0 < ulps < inf)


def _is_shape(shape: object) -> bool:
    if not isinstance(shape, dict) or not all(
        k in "TBDHOK" and type(n) is int and n > 0 for k, n in shape.items()
    ):
        return False
    return "T" not in shape or shape.get("K", 1) <= shape["T"]


def shapes_of(sizes: object) -> Sequence[Any]:
    """Sizes as a list of shapes: of one shape, of several, or of the word "few"."""
    if sizes == "few":
        return FEW_SIZES
    return sizes if isinstance(sizes, list | tuple) else [sizes]


VERSION = 1
HELLO = json.dumps({"type": "hello", "protocol": VERSION})
MAX_HELLO_LENGTH = 10_000  # characters
MAX_NUMBER_LENGTH = 64  # characters, with its separator
MAX_KEY_LENGTH = 64  # characters of the key of an array


def port_arguments(case: WindowCase) -> dict[str, Any]:
    """The arrays and options of a case, as the keyword arguments of `Port.window_update`."""
    params, (nonlinearity, loss, reduction), step = present(case.params), case.objective, case.step
    arguments = {
        "params": params,
        "x": case.x,
        "h_0": cases.initial_state(case),
        "nonlinearity": nonlinearity,
    }
    arguments |= (
        {"dy": cases.given_dy(case)}
        if loss == GIVEN_DY
        else {"target": case.target, "reduction": reduction}
    )
    if loss == "cross_entropy":
        arguments["loss"] = loss
    if case.weights is not None:
        arguments["weights"] = case.weights
    if step is not None:
        arguments["learning_rate"] = step.learning_rate
    if step is not None and step != Step(
        step.learning_rate
    ):  # max_value and adagrad: for ports that know them
        arguments |= {
            name: v
            for name, v in step._asdict().items()
            if v or name not in ("max_value", "adagrad")
        }
        arguments["velocity"] = {
            name: v for name, v in present(case.velocity).items() if name in params
        } or None
    return arguments


def encode_request(case: WindowCase, case_id: int, decimal: bool = False) -> str:
    """The request for this case: one line, without a line end. decimal: with JSON numbers, not hexadecimal strings."""
    write: Callable[[float], float | str] = float if decimal else float.hex

    def encoded(value: object) -> Any:
        if isinstance(value, dict):
            return {name: encoded(each) for name, each in value.items()}
        if isinstance(value, np.ndarray):
            numbers = value.ravel().tolist()
            return numbers if is_classes(value) else list(map(write, numbers))
        return (
            write(float(value))
            if isinstance(value, Real) and not isinstance(value, bool)
            else value
        )

    arguments = port_arguments(case)
    if arguments["params"].pop("h_0", None) is not None:
        arguments["learned_h_0"] = True
    if arguments.get("velocity"):
        arguments["velocity"] = {"v" + name: v for name, v in arguments["velocity"].items()}
    head = {
        "type": "window_update",
        "id": case_id,
        "dtype": str(case.params.W_hh.dtype),
        "sizes": case_sizes(case),
    }
    return json.dumps(head | encoded(arguments))


def max_report_length(case: WindowCase) -> int:
    """The maximal number of characters of the answer to this case."""
    shapes = required_outputs(case, intermediates=True, input_gradients=True).values()
    return 2_000 + sum(MAX_KEY_LENGTH + MAX_NUMBER_LENGTH * prod(shape) for shape in shapes)


def decode_hello(line: str) -> Identity:
    """The identity of a port from its answer to HELLO. Raises PortFault."""
    hello = _object(line)
    if hello.get("protocol") != VERSION:
        raise PortFault(
            f"speaks protocol version {short_repr(hello.get('protocol'), repr)}: expected {VERSION}"
        )
    try:
        return identity_from(hello)
    except PortFault as fault:
        raise PortFault(f"has an invalid hello: {fault}") from None


def decode_answer(line: str, case: WindowCase, case_id: int) -> dict[str, np.ndarray]:
    """The arrays of the answer to a case by name, in its dtype, and in their shape if the size fits; or a PortFault."""
    answer = _object(line)
    if answer.pop("id", None) != case_id:
        raise PortFault(f"does not repeat the id {case_id} in its answer: {one_line(line, 80)}")
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    return {
        name: _array(name, given, shapes.get(name, ()), case.params.W_hh.dtype)
        for name, given in answer.items()
    }


def _object(line: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise PortFault(f"answers what is not a JSON object: {one_line(line, 80)}")
    if "error" in value:
        raise PortFault(f"answers with an error: {one_line(str(value['error']))}")
    return value


def _array(name: str, given: object, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Decimal numbers are rounded to the nearest ones of the dtype; hexadecimal ones have to be exact."""
    numbers = given if isinstance(given, list) else [given]
    exact = np.array([_number(name, each) for each in numbers], np.float64)
    with np.errstate(over="ignore"):
        array = exact.astype(dtype)
    for index in np.flatnonzero((array != exact) & ~np.isnan(exact)):
        if _is_hexadecimal(numbers[index]):
            raise PortFault(f"{name} holds {numbers[index]}, which is not a {dtype} number")
    return array.reshape(shape) if array.size == prod(shape) else array


def _number(name: str, given: object) -> float:
    """A number of JSON, or a decimal or hexadecimal one in a string."""
    try:
        if isinstance(given, bool):
            raise TypeError
        return float.fromhex(str(given)) if _is_hexadecimal(given) else float(given)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        raise PortFault(
            f"{name} holds {short_repr(given, repr)}: expected a number, 0.75, '0.75' or '0x1.8p-1'"
        ) from None


def _is_hexadecimal(given: object) -> bool:
    return isinstance(given, str) and "x" in given.lower()
