"""The port protocol: requests and answers as lines of JSON. protocol.txt documents it, for programs in any language."""

import contextlib
import json
import re
from math import prod
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.errors import one_line
from numpy_rnn.common.records import DTYPES, Step, WindowCase
from numpy_rnn.conformance.case import (
    GIVEN_DY,
    case_dtype,
    case_sizes,
    given_dy,
    initial_state,
    is_classes,
    present,
    required_outputs,
)

CAPABILITIES = (
    "intermediates",
    "input_gradients",
    "sgd_options",
    "learned_h_0",
    "sigmoid",
    "clip_by_value",
    "cross_entropy",
    "class_inputs",
    "loss_weights",
    "adagrad",
)
OTHER_FORMS = ("given_dy", "two_biases")  # capabilities that replace a part of the network
SGD_LACKS = ("momentum", "dampening", "nesterov", "weight_decay", "max_norm")
LOSS_LACKS = ("squared_error", "distributions", "vector_inputs", "many losses", "large outputs")
LACKS = ("tanh", "relu", "sum", "mean", "bias", "h_0", "older steps", "step", *SGD_LACKS, "batch", *LOSS_LACKS)
EITHER = (("tanh", "relu"), ("sum", "mean"), ("older steps", "many losses"))
NEEDS = {"squared_error": "cross_entropy", "distributions": "cross_entropy", "vector_inputs": "class_inputs"}
EXCLUDES = (("step", "sgd_options"), ("step", "adagrad"), ("h_0", "learned_h_0"))


class Abilities(NamedTuple):
    """The capabilities of a port beyond the minimum, and what it lacks."""

    capabilities: tuple[str, ...] = CAPABILITIES
    lacks: tuple[str, ...] = ()


EVERYTHING = Abilities()


class PortFault(Exception):
    """A port failed; the message is one line."""


class Identity(NamedTuple):
    """The statements of a port about itself."""

    name: Any
    dtypes: Any
    capabilities: Any = ()
    lacks: Any = ()
    tanh_ulps: Any = None
    tanh_absolute_ulps: Any = None

    def fault(self) -> str | None:
        """The first error; None if there is none."""
        name = one_line(repr(self.name), 40)
        if not isinstance(self.name, str) or not self.name.strip():
            return f"name is {name}: expected a non-empty text"
        if not all(character.isprintable() for character in self.name):
            return f"name is {name}: expected printable characters only"
        known = {"dtypes": DTYPES, "capabilities": (*CAPABILITIES, *OTHER_FORMS), "lacks": LACKS}
        for what, names in known.items():
            given = getattr(self, what)
            if not isinstance(given, list | tuple):
                return f"{what} is {one_line(repr(given), 40)}: expected a list of names, as {list(names)}"
            for each in given:
                if each not in names:
                    return f"{what} names {one_line(repr(each), 40)}: known: {', '.join(names)}"
        if not self.dtypes:
            return f"dtypes is empty: expected {' or '.join(DTYPES)}, or both"
        for what in ("tanh_ulps", "tanh_absolute_ulps"):
            ulps = getattr(self, what)
            is_number = isinstance(ulps, int | float) and not isinstance(ulps, bool)
            if ulps is not None and not (is_number and 0 < ulps < float("inf")):
                return f"{what} is {one_line(repr(ulps), 40)}: expected a positive number of ulps"
        return self._contradiction()

    def _contradiction(self) -> str | None:
        for pair in EITHER:
            if set(pair) <= set(self.lacks) and not ("tanh" in pair and "sigmoid" in self.capabilities):
                return f"lacks names both {' and '.join(pair)}: expected at most one of the two"
        for lacking, capability in NEEDS.items():
            if lacking in self.lacks and capability not in self.capabilities:
                return f"lacks names {lacking!r}: expected {capability!r} among its capabilities"
        for lacking, capability in EXCLUDES:
            if lacking in self.lacks and capability in self.capabilities:
                return f"lacks names {lacking!r} and capabilities names {capability!r}: expected at most one of the two"
        return None

    def as_tuples(self) -> "Identity":
        """The same with tuples for lists."""
        lists = {name: tuple(getattr(self, name)) for name in ("dtypes", "capabilities", "lacks")}
        return self._replace(**lists)


VERSION = 1
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(0x[0-9a-f]+(\.[0-9a-f]*)?(p[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)
HELLO = json.dumps({"type": "hello", "protocol": VERSION})
EXAMPLE = "0x1.8p-1"
MAX_HELLO_LENGTH = 10_000  # characters
MAX_NUMBER_LENGTH = 64  # characters, with its separator
MAX_KEY_LENGTH = 64  # characters of the key of an array


def port_arguments(case: WindowCase) -> dict[str, Any]:
    """The arrays and options of a case, as the keyword arguments of `Port.window_update`."""
    params, objective, step = present(case.params), case.objective, case.step
    arguments = {"params": params, "x": case.x, "h_0": initial_state(case), "nonlinearity": objective.nonlinearity}
    if objective.loss == GIVEN_DY:
        arguments["dy"] = given_dy(case)
    else:
        arguments |= {"target": case.target, "reduction": objective.reduction}
    if objective.loss == "cross_entropy":
        arguments["loss"] = objective.loss
    if case.weights is not None:
        arguments["weights"] = case.weights
    if step is not None:
        arguments["learning_rate"] = step.learning_rate
    if step is not None and step != Step(step.learning_rate):  # max_value and adagrad: for ports that know them
        arguments |= {name: v for name, v in step._asdict().items() if v or name not in ("max_value", "adagrad")}
        arguments["velocity"] = {name: v for name, v in present(case.velocity).items() if name in params} or None
    return arguments


def encode_request(case: WindowCase, case_id: int) -> str:
    """The request for this case: one line, without a line end."""
    arguments = port_arguments(case)
    arguments |= {
        name: float(v).hex() for name, v in arguments.items() if isinstance(v, Real) and not isinstance(v, bool)
    }
    if arguments["params"].pop("h_0", None) is not None:
        arguments["learned_h_0"] = True
    if arguments.get("velocity"):
        arguments["velocity"] = {"v" + name: v for name, v in arguments["velocity"].items()}
    head = {"type": "window_update", "id": case_id, "dtype": str(case_dtype(case)), "sizes": case_sizes(case)}
    return json.dumps(head | arguments, default=_flat)


def _flat(array) -> list:
    if is_classes(array):
        return array.ravel().tolist()
    return list(map(float.hex, np.asarray(array, np.float64).ravel().tolist()))


def max_report_length(case: WindowCase) -> int:
    """The maximal number of characters of the answer to this case."""
    shapes = required_outputs(case, intermediates=True, input_gradients=True).values()
    return 2_000 + sum(MAX_KEY_LENGTH + MAX_NUMBER_LENGTH * prod(shape) for shape in shapes)


def decode_hello(line: str) -> Identity:
    """The identity of a port from its answer to HELLO. Raises PortFault."""
    hello = _object(line)
    if "error" in hello:
        raise PortFault(f"answers the hello with an error: {one_line(str(hello['error']))}")
    if "protocol" not in hello:
        raise PortFault(f"answers the hello without a protocol version: {one_line(line, 80)}")
    if type(hello["protocol"]) is not int or hello["protocol"] != VERSION:  # true is 1, and so is 1.0
        raise PortFault(f"speaks protocol version {one_line(repr(hello['protocol']), 40)}: known: {VERSION}")
    missing = [key for key in ("name", "dtypes", "capabilities") if key not in hello]
    if missing:
        raise PortFault(f"answers the hello without {', '.join(missing)}")
    identity = Identity(**{key: hello[key] for key in Identity._fields if key in hello})
    if fault := identity.fault():
        raise PortFault(f"has an invalid hello: {fault}")
    return identity.as_tuples()


def answer_to(line: str, case_id: int) -> dict:
    """The JSON object on the line. Raises PortFault unless it answers this case."""
    answer = _object(line)
    if type(answer.get("id")) is not int or answer["id"] != case_id:
        raise PortFault(f"answers with id {one_line(repr(answer.get('id')), 40)}: expected {case_id}")
    return answer


def answer_arrays(answer: dict, case: WindowCase) -> dict[str, np.ndarray]:
    """The arrays of an answer by name, in the case's dtype and in the required shapes.

    Raises PortFault on a malformed answer. Missing names and NaN are left to `case.format_errors`.
    """
    if "error" in answer:
        raise PortFault(f"answers with an error: {one_line(str(answer['error']))}")
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    unknown = [name for name in answer if name not in shapes and name != "id"]
    if unknown:
        raise PortFault(f"answers with {one_line(repr(unknown[0]), 40)}: that is not an expected name")
    return {name: _array(name, answer[name], shapes[name], case_dtype(case)) for name in answer if name != "id"}


def _object(line: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise PortFault(f"answers what is not JSON: {one_line(line, 80)}") from None
    if not isinstance(value, dict):
        raise PortFault(f"answers JSON that is not an object: {one_line(line, 80)}")
    return value


def _array(name, given, shape, dtype) -> np.ndarray:
    texts = given if shape else [given]
    if not isinstance(texts, list):
        raise PortFault(f"{name} is {one_line(repr(given), 40)}: expected a flat list of numbers as strings")
    size = prod(shape)
    if len(texts) != size:
        raise PortFault(f"{name} has length {len(texts)}: expected {size}, for the shape {shape} row by row")
    decimal = np.array([isinstance(text, str) and DECIMAL.fullmatch(text) is not None for text in texts], bool)
    exact = np.array([_number(name, text) for text in texts], np.float64)
    with np.errstate(over="ignore"):
        array = exact.astype(dtype)
    rounded = (array != exact) & ~np.isnan(exact) & ~(decimal & np.isfinite(array))
    if rounded.any():
        raise PortFault(f"{name} holds {texts[int(np.argmax(rounded))]}, which is not a {dtype} number")
    return array.reshape(shape)


def _number(name, text) -> float:
    for pattern, read in ((DECIMAL, float), (NUMBER, float.fromhex)):
        if isinstance(text, str) and pattern.fullmatch(text):
            with contextlib.suppress(OverflowError):
                if np.isfinite(value := read(text)) or pattern is NUMBER:
                    return value
            raise PortFault(f"{name} holds {one_line(text, 40)}, which is outside the range of float64")
    raise PortFault(f"{name} holds {one_line(repr(text), 40)}: expected a number as a string, {EXAMPLE!r} or '0.75'")
