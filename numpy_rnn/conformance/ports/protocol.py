"""The port protocol, version 1: how a program in any language is held against the suite.

The program reads lines on standard input and writes lines on standard output; a line is one JSON object, in ASCII, and
every line it reads it answers with exactly one, written out at once (flush!). Anything else it has to say goes to
standard error. At the end of its input it leaves. Keys come in any order, each once; keys not named here are reserved.

Numbers of the network are strings, in hexadecimal, so that nothing is lost on the way: "0x1.999999999999ap-4" is what
C prints by %a and reads by strtod, Python by float.hex and float.fromhex; "0x1p-1" and "-0x0p+0" are others. A float32
number is written in the same way, as the double that it also is. "nan", "inf" and "-inf" can be said, and are faults.
An array is a flat list, row by row: element (t, b, n) of a (T, B, N) array stands at (t·B + b)·N + n.

First comes the hello:

    {"type": "hello", "protocol": 1}
    {"type": "hello", "protocol": 1, "name": "my port", "dtypes": ["float32", "float64"],
     "capabilities": ["intermediates"], "tanh_ulps": 4, "lacks": ["relu"]}

dtypes: those that the port computes in, at least one. capabilities: may be empty, or name some of

    "intermediates"    every report holds a, h, y, dy, dh and da
    "input_gradients"  every report holds dx, and dh_0 of the state that entered
    "sgd_options"      it has momentum, dampening, nesterov, weight decay and clipping
    "learned_h_0"      it can learn the initial state

Two keys may be absent. tanh_ulps: the largest error of its tanh in ulps, a plain
number. lacks: what it cannot do, of "tanh", "relu", "sum", "mean" and "bias". Then come the cases, one at a time, of
dtypes that the hello named and without what it lacks:

    {"type": "window_update", "id": 1, "dtype": "float32", "sizes": {"T": 3, "B": 2, "D": 1, "H": 6, "O": 1, "K": 2},
     "nonlinearity": "tanh", "reduction": "sum", "learning_rate": "0x1.999999999999ap-4",
     "params": {"W_xh": [...], "W_hh": [...], "W_hy": [...], "b_h": [...], "b_y": [...]},
     "x": [...], "target": [...], "h_0": [...]}
    {"id": 1, "loss": "0x1.8p-2", "a": [...], "h": [...], "y": [...], "dy": [...], "dh": [...], "da": [...],
     "dW_xh": [...], "dW_hh": [...], "dW_hy": [...], "db_h": [...], "db_y": [...],
     "W_xh": [...], "W_hh": [...], "W_hy": [...], "b_h": [...], "b_y": [...]}

nonlinearity: "tanh" or "relu"; reduction: "sum" or "mean". W_xh is (D, H), W_hh (H, H), W_hy (H, O), x (T, B, D),
target (K, B, O) for the newest K ≤ T steps, h_0 (B, H); b_h (H) and b_y (O) are both there or both absent. The learning
rate is a double, and rounded to the dtype before it is used.

A port with "sgd_options" is asked for plain gradient descent as above, and for other steps with these keys too, all of
them, meant as in torch.optim.SGD and clip_grad_norm_:

    "momentum": "0x1.ccccccccccccdp-1", "dampening": "0x0p+0", "nesterov": true, "weight_decay": "0x0p+0",
    "max_norm": null, "velocity": {"vW_xh": [...], "vW_hh": [...], "vW_hy": [...], "vb_h": [...], "vb_y": [...]}

max_norm is null where nothing is to be clipped. velocity is what the update before left; null at first, and without
momentum. With momentum the answer holds the velocities after the update, under the same names. The gradients are those
before clipping.

A port with "learned_h_0" may be told "learned_h_0": true. Then h_0 is a parameter like the others, and its name stands
for both: the answer holds dh_0, h_0 after the step, and with momentum vh_0; the gradient that is clipped holds dh_0
too; and velocity, unless it is null, may hold vh_0. It holds none when h_0 is updated for the first time.

The answer repeats the id, a whole number. Its shapes are those of `case.SHAPES`: a, h, dh and da (T, B, H), h without
h_0; y and dy (T, B, O), dy zero at the steps that no target belongs to; dx (T, B, D), dh_0 (B, H); the gradients, and
the parameters after the SGD step, each like the parameter it belongs to. Without biases it has no b_h, b_y, db_h and
db_y; what belongs to capabilities that the port does not have may be left out. A case that cannot be computed is
answered by {"id": 1, "error": "why"}.
"""

import json
import re
from math import prod
from typing import Any

import numpy as np

from numpy_rnn.conformance.case import Case, required_outputs

DTYPES = ("float32", "float64")
CAPABILITIES = ("intermediates", "input_gradients", "sgd_options", "learned_h_0")
OPTIONS = ("tanh", "relu", "sum", "mean", "bias")


class PortFault(Exception):
    """What went wrong with a port, in one line."""


def identity_fault(name, dtypes, capabilities, tanh_ulps, lacks) -> str | None:
    """What is wrong with what a port, in whatever language, says about itself; None when nothing is."""
    if not isinstance(name, str) or not name.strip():
        return f"name is {one_line(repr(name), 40)}: expected a text that is not empty"
    if not all(character.isprintable() for character in name):
        return f"name is {one_line(repr(name), 40)}: expected printable characters only"
    lists = (("dtypes", dtypes, DTYPES), ("capabilities", capabilities, CAPABILITIES), ("lacks", lacks, OPTIONS))
    for what, given, known in lists:
        if not isinstance(given, list | tuple):
            return f"{what} is {one_line(repr(given), 40)}: expected a list of names, as {list(known)}"
        for each in given:
            if each not in known:
                return f"{what} names {one_line(repr(each), 40)}: known: {', '.join(known)}"
    if not dtypes:
        return f"dtypes is empty: expected {' or '.join(DTYPES)}, or both"
    for either in (OPTIONS[:2], OPTIONS[2:4]):
        if set(either) <= set(lacks):
            return f"lacks names both {' and '.join(either)}: expected a port to have one of them"
    is_number = isinstance(tanh_ulps, int | float) and not isinstance(tanh_ulps, bool)
    if tanh_ulps is not None and not (is_number and 0 < tanh_ulps < float("inf")):
        return f"tanh_ulps is {one_line(repr(tanh_ulps), 40)}: expected a positive number of ulps"
    return None


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line, cut to the limit, with nothing in it that a terminal would act upon."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in " ".join(text[: 4 * limit].split()))
    return text if len(text) <= limit else text[: limit - 1] + "…"


VERSION = 1
NUMBER = re.compile(r"[+-]?(0x[0-9a-f]+(\.[0-9a-f]*)?(p[+-]?[0-9]+)?|inf|infinity|nan)", re.IGNORECASE)
HELLO = json.dumps({"type": "hello", "protocol": VERSION})
EXAMPLE = "0x1.8p-1"
MAX_HELLO_LENGTH = 10_000  # characters
MAX_NUMBER_LENGTH = 64  # characters, with what stands between it and the next


def encode_request(case: Case, case_id: int) -> str:
    """The line, without its end, that asks a port for this case."""
    arrays = {name: theta for name, theta in case.params._asdict().items() if theta is not None and name != "h_0"}
    return json.dumps(
        {
            "type": "window_update",
            "id": case_id,
            "dtype": str(case.dtype),
            "sizes": case.sizes,
            "nonlinearity": case.nonlinearity,
            "reduction": case.reduction,
            "learning_rate": float(case.learning_rate).hex(),
            "params": {name: _flat(theta) for name, theta in arrays.items()},
            **{name: _flat(getattr(case, name)) for name in ("x", "target", "h_0")},
            **_sgd(case.options),
            **({} if case.params.h_0 is None else {"learned_h_0": True}),
        }
    )


def _sgd(options) -> dict:
    """The options of SGD, if there are any: numbers as text, the velocity by its names in a report."""
    given = {name: option for name, option in options.items() if name not in ("nonlinearity", "reduction")}
    for name, option in given.items():
        if name == "velocity":
            given[name] = option and {"v" + of: _flat(v) for of, v in option.items()}
        elif name != "nesterov" and option is not None:
            given[name] = float(option).hex()
    return given


def _flat(array) -> list[str]:
    return list(map(float.hex, np.asarray(array, np.float64).ravel().tolist()))


def max_report_length(case: Case) -> int:
    """How many characters the answer to this case may have."""
    return 2_000 + MAX_NUMBER_LENGTH * sum(
        prod(shape) for shape in required_outputs(case, intermediates=True, input_gradients=True).values()
    )


def decode_hello(line: str) -> dict:
    """What the port says of itself in the answer to HELLO, with defaults for what it leaves out. Raises PortFault."""
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
    identity: dict[str, Any] = {key: hello.get(key) for key in ("name", "dtypes", "capabilities", "tanh_ulps")}
    identity["lacks"] = hello.get("lacks", ())
    fault = identity_fault(**identity)
    if fault:
        raise PortFault(f"says in its hello: {fault}")
    return identity | {key: tuple(identity[key]) for key in ("dtypes", "capabilities", "lacks")}


def decode_report(line: str, case: Case, case_id: int) -> dict[str, np.ndarray]:
    """The arrays of an answer by name, in the case's dtype and in the shapes that are owed.

    Raises PortFault when the answer cannot be read so. Names may be missing and numbers NaN: see `case.format_errors`.
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
        raise PortFault(f"{name} is {one_line(repr(given), 40)}: expected a flat list of hexadecimal strings")
    size = prod(shape)
    if len(texts) != size:
        raise PortFault(f"{name} has length {len(texts)}: expected {size}, for the shape {shape} row by row")
    exact = np.array([_number(name, text) for text in texts], np.float64)
    with np.errstate(over="ignore"):
        array = exact.astype(dtype)
    rounded = (array != exact) & ~np.isnan(exact)
    if rounded.any():
        raise PortFault(f"{name} holds {texts[int(np.argmax(rounded))]}, which is no {dtype} number")
    return array.reshape(shape)


def _number(name, text) -> float:
    if isinstance(text, str) and NUMBER.fullmatch(text):
        try:
            return float.fromhex(text)
        except OverflowError:
            raise PortFault(f"{name} holds {one_line(text, 40)}, which is no float64 number") from None
    raise PortFault(f"{name} holds {one_line(repr(text), 40)}: expected a hexadecimal string, as {EXAMPLE!r}")
