"""The port protocol, version 1: how a program in any language is tested.

The program reads lines from standard input and writes lines to standard output. A line is one JSON object in ASCII.
Every line that it reads it answers with exactly one line, which it flushes at once. Anything else goes to standard
error. At the end of its input the program exits. Keys come in any order, each once; keys not named here are reserved.

Numbers of the network are strings. The requests have them in hexadecimal: "0x1.999999999999ap-4" is what C prints with
%a and reads with strtod, and Python with float.hex and float.fromhex; "0x1p-1" and "-0x0p+0" are others. An answer has
hexadecimal strings, or decimal ones, "0.1" or "-1e-05", which denote the nearest number of the dtype: 17 digits are
always exact for float64, 9 for float32. A hexadecimal float32 number is written as the double with the same value.
"nan", "inf" and "-inf" are accepted and reported as faults. An array is a flat list, row by row: element (t, b, n) of a
(T, B, N) array is at index (t·B + b)·N + n.

First comes the hello, and its answer:

    {"type": "hello", "protocol": 1}
    {"type": "hello", "protocol": 1, "name": "my port", "dtypes": ["float32", "float64"],
     "capabilities": ["intermediates"], "tanh_ulps": 4, "lacks": ["relu"]}

dtypes: those in which the port computes, at least one. capabilities: empty, or any of

    "intermediates"    every report has a, h, y, dy, dh and da, so that level L1 can be checked
    "input_gradients"  every report has dx, and dh_0 of the initial state of the window
    "sgd_options"      momentum, dampening, Nesterov, weight decay and clipping by norm, as in torch
    "learned_h_0"      a learned initial state
    "sigmoid"          the logistic function
    "clip_by_value"    clipping by value, as torch's clip_grad_value_
    "cross_entropy"    softmax cross-entropy, with classes and with distributions as targets
    "class_inputs"     inputs that are classes
    "loss_weights"     weights of the losses
    "adagrad"          Adagrad, as in min-char-rnn
    "given_dy"         it has no loss: it is given dy in place of a target
    "two_biases"       its hidden layer has two biases that are trained, as in `case.TwoBiases`: params has b_hh too, if
                       it has b_h

Three keys are optional. tanh_ulps: the largest error of its tanh in ulps, a plain number. tanh_absolute_ulps: the
largest absolute error of its tanh, in addition, in ulps of 1, for forms such as (1 − e)/(1 + e) with e = exp(−2|a|).
lacks: what it does not implement, any of

    "tanh" or "relu", "sum" or "mean", "bias"; "tanh" and "relu" with the capability "sigmoid"
    "squared_error"    its loss is the cross-entropy; "distributions": of classes; "vector_inputs": x has classes
    "large outputs"    its exponentials of outputs overflow where those are large
    "h_0"              the state before the window is always zero
    "older steps"      every step has a loss: K = T; "many losses": only the last step has one: K = 1
    "step"             it is given no learning rate and reports no new parameters; "batch": it takes one sequence
    "momentum", "dampening", "nesterov", "weight_decay", "max_norm"    of "sgd_options"

Then come the cases, one at a time, in the dtypes that the hello named and without what the port lacks:

    {"type": "window_update", "id": 1, "dtype": "float32", "sizes": {"T": 3, "B": 2, "D": 1, "H": 6, "O": 1, "K": 2},
     "nonlinearity": "tanh", "reduction": "sum", "learning_rate": "0x1.999999999999ap-4",
     "params": {"W_xh": [...], "W_hh": [...], "W_hy": [...], "b_h": [...], "b_y": [...]},
     "x": [...], "target": [...], "h_0": [...]}
    {"id": 1, "loss": "0x1.8p-2", "a": [...], "h": [...], "y": [...], "dy": [...], "dh": [...], "da": [...],
     "dW_xh": [...], "dW_hh": [...], "dW_hy": [...], "db_h": [...], "db_y": [...],
     "W_xh": [...], "W_hh": [...], "W_hy": [...], "b_h": [...], "b_y": [...]}

nonlinearity: "tanh" or "relu"; reduction: "sum" or "mean". W_xh is (D, H), W_hh (H, H), W_hy (H, O), x (T, B, D),
target (K, B, O) for the newest K ≤ T steps, h_0 (B, H); b_h (H) and b_y (O) are both present or both absent. The
learning rate is a double and is rounded to the dtype before it is used.

A port with "sgd_options" gets plain gradient descent as above. For other steps the request has all of these keys, with
the meaning of torch.optim.SGD and clip_grad_norm_:

    "momentum": "0x1.ccccccccccccdp-1", "dampening": "0x0p+0", "nesterov": true, "weight_decay": "0x0p+0",
    "max_norm": null, "velocity": {"vW_xh": [...], "vW_hh": [...], "vW_hy": [...], "vb_h": [...], "vb_y": [...]}

max_norm is null without clipping. velocity is that of the update before; null before the first update and without
momentum. With momentum the answer has the new velocities under the same names. The gradients are those before clipping.

A port with "learned_h_0" may get "learned_h_0": true. Then h_0 is a parameter like the others, and its name denotes
both: the answer has dh_0, the new h_0 and, with momentum, vh_0; the norm of the gradient includes dh_0, and velocity
has vh_0, which may be absent while no earlier window had this h_0.

A port with "sigmoid" may get that as its nonlinearity. One with "clip_by_value" may get "max_value" too, besides the
keys of "sgd_options", whose max_norm is null then; without that key nothing is clipped by value. One with "adagrad" may
get "adagrad": true, besides the keys of "sgd_options", whose momentum, dampening and nesterov are 0 and false then;
"velocity", and the names beginning with v in the answer, are the sums of squares of (U8) in DERIVATION.md.

Classes are plain JSON integers. With "class_inputs" x may be a list of T·B of them, from 0 to D − 1. With
"cross_entropy" the request may have "loss": "cross_entropy"; then target is a list of K·B classes from 0 to O − 1, or
of K·B·O numbers, distributions. With "loss_weights" the request may have "weights", K·B numbers of 0 or more, by which
the loss of each step and sequence is multiplied, and whose sum is the divisor of "mean", times O for the squared error;
if the sum is 0, the divisor is 1. Without these keys the loss is half the squared error, and all weights are 1. A port
with "given_dy" gets "dy" of shape (T, B, O), zero at steps without a loss, in place of "target", and no "reduction".
Its answer has no loss, and dy is optional.

The answer repeats the id, a whole number. Its shapes are those of `case.SHAPES`: a, h, dh and da (T, B, H), h without
h_0; y and dy (T, B, O), dy zero at the steps without a target; dx (T, B, D), dh_0 (B, H); every gradient and updated
parameter like the parameter. Without biases it has none of theirs; outputs of other capabilities are optional. A case
that cannot be computed is answered by {"id": 1, "error": "why"}.
"""

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
