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

    "intermediates"    every report has a, h, y, dy, dh and da
    "input_gradients"  every report has dx, and dh_0 of the initial state of the window
    "sgd_options"      it implements momentum, dampening, Nesterov, weight decay and clipping by norm
    "learned_h_0"      it can learn the initial state
    "sigmoid"          it implements the logistic function
    "clip_by_value"    it implements clipping by value
    "cross_entropy"    it implements softmax cross-entropy, with classes and with distributions as targets
    "class_inputs"     its inputs may be classes
    "loss_weights"     its losses may have weights
    "adagrad"          it implements Adagrad, as in min-char-rnn
    "given_dy"         it has no loss: it is given dy in place of a target
    "two_biases"       its hidden layer has two biases that are trained: params has b_hh too, if it has b_h

Five keys are optional. npz: true for arrays in the form of `npz_arrays.py`. tanh_ulps: the largest error of its tanh in
ulps, a plain number. tanh_absolute_ulps: the largest absolute error of its tanh besides, in ulps of 1, for forms such
as (1 − e)/(1 + e) with e = exp(−2|a|). truncation: "band:5" or the like, if its backward pass is one of
`truncations.py`. lacks: what it does not implement, any of

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

import json
import re
from math import prod
from typing import Any

import numpy as np

from numpy_rnn.common.errors import one_line
from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.case import TWO_BIASES, Case, required_outputs
from numpy_rnn.conformance.truncations import truncation_fault

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
GIVEN_DY = "given_dy"  # instead of a target, never with one
OF_SGD = ("momentum", "dampening", "nesterov", "weight_decay", "max_norm")
OF_LOSS = ("squared_error", "distributions", "vector_inputs", "many losses", "large outputs")
OPTIONS = ("tanh", "relu", "sum", "mean", "bias", "h_0", "older steps", "step", *OF_SGD)
LACKS = (*OPTIONS, "batch", *OF_LOSS)
NEEDS = {"squared_error": "cross_entropy", "distributions": "cross_entropy", "vector_inputs": "class_inputs"}


class PortFault(Exception):
    """A port failed; the message is one line."""


def identity_fault(name, dtypes, capabilities, tanh_ulps, lacks, tanh_absolute_ulps=None, truncation="") -> str | None:
    """The first error in what a port states of itself; None if there is none."""
    if not isinstance(name, str) or not name.strip():
        return f"name is {one_line(repr(name), 40)}: expected a non-empty text"
    if not all(character.isprintable() for character in name):
        return f"name is {one_line(repr(name), 40)}: expected printable characters only"
    lists = (
        ("dtypes", dtypes, DTYPES),
        ("capabilities", capabilities, (*CAPABILITIES, GIVEN_DY, TWO_BIASES)),
        ("lacks", lacks, LACKS),
    )
    for what, given, known in lists:
        if not isinstance(given, list | tuple):
            return f"{what} is {one_line(repr(given), 40)}: expected a list of names, as {list(known)}"
        for each in given:
            if each not in known:
                return f"{what} names {one_line(repr(each), 40)}: known: {', '.join(known)}"
    if not dtypes:
        return f"dtypes is empty: expected {' or '.join(DTYPES)}, or both"
    for either in (OPTIONS[:2], OPTIONS[2:4], ("older steps", "many losses")):
        if set(either) <= set(lacks) and not ("tanh" in either and "sigmoid" in capabilities):
            return f"lacks names both {' and '.join(either)}: expected at most one of the two"
    for lacking, capability in NEEDS.items():
        if lacking in lacks and capability not in capabilities:
            return f"lacks names {lacking!r}: expected {capability!r} among its capabilities"
    for lacking, capability in (("step", "sgd_options"), ("step", "adagrad"), ("h_0", "learned_h_0")):
        if lacking in lacks and capability in capabilities:
            return f"lacks names {lacking!r} and capabilities names {capability!r}: expected at most one of the two"
    for what, ulps in (("tanh_ulps", tanh_ulps), ("tanh_absolute_ulps", tanh_absolute_ulps)):
        is_number = isinstance(ulps, int | float) and not isinstance(ulps, bool)
        if ulps is not None and not (is_number and 0 < ulps < float("inf")):
            return f"{what} is {one_line(repr(ulps), 40)}: expected a positive number of ulps"
    return truncation_fault(truncation)


VERSION = 1
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(0x[0-9a-f]+(\.[0-9a-f]*)?(p[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)
HELLO = json.dumps({"type": "hello", "protocol": VERSION})
EXAMPLE = "0x1.8p-1"
MAX_HELLO_LENGTH = 10_000  # characters
MAX_NUMBER_LENGTH = 64  # characters, with its separator
MAX_HEADER_LENGTH = 512  # of an array: its key, or the headers that it has in a .npz file


def encode_request(case: Case, case_id: int) -> str:
    """The request for this case: one line, without a line end."""
    return json.dumps(request_of(case, case_id), default=_flat)


def request_of(case: Case, case_id: int) -> dict[str, Any]:
    """The request for this case, with its arrays as they are."""
    arrays = {name: theta for name, theta in case.params._asdict().items() if theta is not None and name != "h_0"}
    return {
        "type": "window_update",
        "id": case_id,
        "dtype": str(case.dtype),
        "sizes": case.sizes,
        "nonlinearity": case.nonlinearity,
        **({} if case.given_dy else {"reduction": case.reduction}),
        **({"learning_rate": float(case.learning_rate).hex()} if case.has_step else {}),
        "params": arrays,
        **{name: getattr(case, name) for name in ("x", "dy" if case.given_dy else "target", "h_0")},
        **_sgd(case.options),
        **({} if case.params.h_0 is None else {"learned_h_0": True}),
    }


def _sgd(options) -> dict:
    """The options of SGD, if any: numbers as text, the velocity under the names of a report."""
    given = {name: option for name, option in options.items() if name not in ("nonlinearity", "reduction")}
    for name, option in given.items():
        if name == "velocity":
            given[name] = option and {"v" + of: v for of, v in option.items()}
        elif name not in ("weights", "nesterov", "adagrad", "loss") and option is not None:
            given[name] = float(option).hex()
    return given


def _flat(array) -> list:
    if array.dtype.kind in "iu":  # classes
        return array.ravel().tolist()
    return list(map(float.hex, np.asarray(array, np.float64).ravel().tolist()))


def max_report_length(case: Case) -> int:
    """The maximal number of characters of the answer to this case."""
    shapes = required_outputs(case, intermediates=True, input_gradients=True).values()
    return 2_000 + sum(MAX_HEADER_LENGTH + MAX_NUMBER_LENGTH * prod(shape) for shape in shapes)


def decode_hello(line: str) -> dict:
    """The identity of a port from its answer to HELLO, with defaults for optional keys. Raises PortFault."""
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
    keys = ("name", "dtypes", "capabilities", "tanh_ulps", "tanh_absolute_ulps")
    identity: dict[str, Any] = {key: hello.get(key) for key in keys}
    identity |= {"lacks": hello.get("lacks", ()), "truncation": hello.get("truncation", "")}
    fault = identity_fault(**identity)
    if fault:
        raise PortFault(f"has an invalid hello: {fault}")
    if not isinstance(hello.get("npz", False), bool):
        raise PortFault(f"has an invalid hello: npz is {one_line(repr(hello['npz']), 40)}: expected true or false")
    identity |= {key: tuple(identity[key]) for key in ("dtypes", "capabilities", "lacks")}
    return identity | {"npz": hello.get("npz", False)}


def decode_report(line: str, case: Case, case_id: int) -> dict[str, np.ndarray]:
    """The arrays of an answer by name, in the case's dtype and in the required shapes.

    Raises PortFault on a malformed answer. Missing names and NaN are left to `case.format_errors`.
    """
    return arrays_of(answer_to(line, case_id), case)


def answer_to(line: str, case_id: int) -> dict:
    """The JSON object on the line. Raises PortFault unless it answers this case."""
    answer = _object(line)
    if type(answer.get("id")) is not int or answer["id"] != case_id:
        raise PortFault(f"answers with id {one_line(repr(answer.get('id')), 40)}: expected {case_id}")
    return answer


def arrays_of(answer: dict, case: Case) -> dict[str, np.ndarray]:
    """The arrays of the answer to this case; the second half of `decode_report`."""
    if "error" in answer:
        raise PortFault(f"answers with an error: {one_line(str(answer['error']))}")
    shapes = required_outputs(case, intermediates=True, input_gradients=True)
    unknown = [name for name in answer if name not in shapes and name != "id"]
    if unknown:
        raise PortFault(f"answers with {one_line(repr(unknown[0]), 40)}: that is not an expected name")
    return {name: _array(name, answer[name], shapes[name], case.dtype) for name in answer if name != "id"}


def _object(line: str) -> dict:
    try:
        value = json.loads(line, object_pairs_hook=_with_every_key_once)
    except (ValueError, RecursionError):
        raise PortFault(f"answers what is not JSON: {one_line(line, 80)}") from None
    if not isinstance(value, dict):
        raise PortFault(f"answers JSON that is not an object: {one_line(line, 80)}")
    return value


def _with_every_key_once(pairs) -> dict:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise PortFault(f"answers with the key {one_line(repr(key), 40)} twice")
        found[key] = value
    return found


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
    if isinstance(text, str) and DECIMAL.fullmatch(text):
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise PortFault(f"{name} holds {one_line(text, 40)}, which is outside the range of float64")
        return value
    if isinstance(text, str) and NUMBER.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            raise PortFault(f"{name} holds {one_line(text, 40)}, which is outside the range of float64") from None
    raise PortFault(f"{name} holds {one_line(repr(text), 40)}: expected a number as a string, {EXAMPLE!r} or '0.75'")
