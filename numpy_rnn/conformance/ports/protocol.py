"""The port protocol: requests and answers as lines of JSON. protocol.txt documents it, for programs in any language."""

import contextlib
import json
from collections.abc import Mapping
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

CAPABILITIES = ("intermediates", "input_gradients", "sgd_options", "learned_h_0", "sigmoid", "clip_by_value",
                "cross_entropy", "class_inputs", "loss_weights", "adagrad")  # fmt: skip
OTHER_FORMS = ("given_dy", "two_biases", "rate_in_velocity")  # capabilities that replace a part of the network
SGD_LACKS = ("momentum", "dampening", "nesterov", "weight_decay", "max_norm")
LOSS_LACKS = ("squared_error", "distributions", "vector_inputs", "many losses", "large outputs")
LACKS = ("tanh", "relu", "sum", "mean", "bias", "no biases", "h_0", "older steps", "step", "plain SGD", *SGD_LACKS,
         "batch", *LOSS_LACKS)  # fmt: skip
CONTRADICTIONS = (  # what a port cannot state together, unless it has another capability: (it lacks, it has, unless)
    (("tanh", "relu"), (), "sigmoid"), (("sum", "mean"), (), None), (("older steps", "many losses"), (), None),
    (("bias", "no biases"), (), None), (("squared_error",), (), "cross_entropy"),
    (("distributions",), (), "cross_entropy"), (("vector_inputs",), (), "class_inputs"),
    (("plain SGD",), (), "adagrad"), (("step",), ("sgd_options",), None), (("step",), ("adagrad",), None),
    (("h_0",), ("learned_h_0",), None), ((), ("adagrad", "rate_in_velocity"), None),
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
    """A port failed; the message is one line."""


class Identity(NamedTuple):
    """The statements of a port about itself."""

    name: Any
    dtypes: Any
    capabilities: Any = ()
    lacks: Any = ()
    tanh_ulps: Any = None
    tanh_absolute_ulps: Any = None
    sizes: Any = ()
    numbers: Any = "hexadecimal"

    def fault(self) -> str | None:
        """The first error; None if there is none."""
        if not (isinstance(self.name, str) and self.name.strip() and self.name.isprintable()):
            return f"name is {_shown(self.name)}: expected a text of printable characters"
        known = {"dtypes": DTYPES, "capabilities": (*CAPABILITIES, *OTHER_FORMS), "lacks": LACKS}
        for what, names in known.items():
            given = getattr(self, what)
            if not isinstance(given, list | tuple):
                return f"{what} is {_shown(given)}: expected a list of names, as {list(names)}"
            for each in given:
                if each not in names:
                    return f"{what} names {_shown(each)}: known: {', '.join(names)}"
        if not self.dtypes:
            return f"dtypes is empty: expected {' or '.join(DTYPES)}, or both"
        for what in ("tanh_ulps", "tanh_absolute_ulps"):
            ulps = getattr(self, what)
            is_number = isinstance(ulps, int | float) and not isinstance(ulps, bool)
            if ulps is not None and not (is_number and 0 < ulps < float("inf")):
                return f"{what} is {_shown(ulps)}: expected a positive number of ulps"
        for shape in shapes_of(self.sizes):
            if not isinstance(shape, dict) or not all(
                k in "TBDHOK" and type(n) is int and n > 0 for k, n in shape.items()
            ):
                return f"sizes has {_shown(shape)}: expected numbers of the letters T, B, D, H, O and K, as {{'H': 6}}"
            if shape.get("K", 1) > shape.get("T", shape.get("K", 1)):
                return f"sizes has {_shown(shape)}: expected K ≤ T"
        if self.numbers not in ("hexadecimal", "decimal"):
            return f"numbers is {_shown(self.numbers)}: expected 'hexadecimal' or 'decimal'"
        for lacking, having, unless in CONTRADICTIONS:
            if (
                set(lacking) <= set(self.lacks)
                and {*having} <= {*self.capabilities}
                and unless not in self.capabilities
            ):
                stated = [f"lacks {name!r}" for name in lacking] + [f"declares {name!r}" for name in having]
                return f"it {' and '.join(stated)}: expected " + (
                    f"{unless!r} among its capabilities" if unless else "one of the two at most"
                )
        return None

    def as_tuples(self) -> "Identity":
        """The same with tuples for lists."""
        lists = {name: tuple(getattr(self, name)) for name in ("dtypes", "capabilities", "lacks")}
        return self._replace(**lists, sizes=tuple(shapes_of(self.sizes)))


def _shown(value: Any) -> str:
    return one_line(repr(value), 40)


def shapes_of(sizes: Any) -> Any:
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


def encode_request(case: WindowCase, case_id: int, decimal: bool = False) -> str:
    """The request for this case: one line, without a line end. decimal: with JSON numbers, not hexadecimal strings."""
    write: Any = float if decimal else float.hex

    def flat(array):
        values = np.ravel(array).tolist()
        return values if is_classes(array) else [write(float(value)) for value in values]

    arguments = port_arguments(case)
    is_number = {name: isinstance(v, Real) and not isinstance(v, bool) for name, v in arguments.items()}
    arguments |= {name: write(float(v)) for name, v in arguments.items() if is_number[name]}
    if arguments["params"].pop("h_0", None) is not None:
        arguments["learned_h_0"] = True
    if arguments.get("velocity"):
        arguments["velocity"] = {"v" + name: v for name, v in arguments["velocity"].items()}
    head = {"type": "window_update", "id": case_id, "dtype": str(case_dtype(case)), "sizes": case_sizes(case)}
    return json.dumps(head | arguments, default=flat)


def max_report_length(case: WindowCase) -> int:
    """The maximal number of characters of the answer to this case."""
    shapes = required_outputs(case, intermediates=True, input_gradients=True).values()
    return 2_000 + sum(MAX_KEY_LENGTH + MAX_NUMBER_LENGTH * prod(shape) for shape in shapes)


def decode_hello(line: str) -> Identity:
    """The identity of a port from its answer to HELLO. Raises PortFault."""
    hello = _object(line)
    if "error" in hello:
        raise PortFault(f"answers the hello with an error: {one_line(str(hello['error']))}")
    missing = [key for key in ("protocol", "name", "dtypes", "capabilities") if key not in hello]
    if missing:
        raise PortFault(f"answers the hello without {', '.join(missing)}")
    if repr(hello["protocol"]) != str(VERSION):
        raise PortFault(f"speaks protocol version {_shown(hello['protocol'])}: known: {VERSION}")
    identity = Identity(**{key: hello[key] for key in Identity._fields if key in hello})
    if fault := identity.fault():
        raise PortFault(f"has an invalid hello: {fault}")
    return identity.as_tuples()


def answer_to(line: str, case_id: int) -> dict:
    """The JSON object on the line. Raises PortFault unless it answers this case."""
    answer = _object(line)
    if repr(answer.get("id")) != str(case_id):  # neither 1.0 nor true is 1
        raise PortFault(f"answers with id {_shown(answer.get('id'))}: expected {case_id}")
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
        raise PortFault(f"answers with {_shown(unknown[0])}: that is not an expected name")
    return {name: _array(name, answer[name], shapes[name], case_dtype(case)) for name in answer if name != "id"}


def _object(line: str) -> dict:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise PortFault(f"answers what is not JSON: {one_line(line, 80)}") from None
    if not isinstance(value, dict):
        raise PortFault(f"answers JSON that is not an object: {one_line(line, 80)}")
    return value


def _array(name: str, given: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    texts = given if shape else [given]
    if not isinstance(texts, list):
        raise PortFault(f"{name} is {_shown(given)}: expected a flat list of numbers")
    size = prod(shape)
    if len(texts) != size:
        raise PortFault(f"{name} has length {len(texts)}: expected {size}, for the shape {shape} row by row")
    exact = np.array([_number(name, text) for text in texts], np.float64)
    with np.errstate(over="ignore"):
        array = exact.astype(dtype)
    # A decimal number denotes the nearest one of the dtype. A hexadecimal one is exact.
    is_exact = np.array(list(map(_is_hexadecimal, texts)), bool)
    wrong = (array != exact) & ~np.isnan(exact) & (is_exact | ~np.isfinite(array))
    if wrong.any():
        raise PortFault(f"{name} holds {texts[int(np.argmax(wrong))]}, which is not a {dtype} number")
    return array.reshape(shape)


def _number(name: str, given: Any) -> float:
    """A number of JSON, or a decimal or hexadecimal one in a string."""
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(given, str) and "_" not in given:
            return float.fromhex(given) if _is_hexadecimal(given) else float(given)
        if isinstance(given, int | float) and not isinstance(given, bool):
            return float(given)
    raise PortFault(f"{name} holds {_shown(given)}: expected a number, 0.75, '0.75' or '0x1.8p-1'")


def _is_hexadecimal(given: Any) -> bool:
    return isinstance(given, str) and "x" in given.lower()
