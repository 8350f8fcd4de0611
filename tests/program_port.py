"""A right port as a program: python program_port.py FORM [ID LINE]. FORM: json or npz, how its arrays are written.

LINE is executed before the case of this id is computed. The package is imported later, so that a mistake costs little.
"""

import io
import json
import os  # noqa: F401  # for LINE, as is time
import sys
import time  # noqa: F401
from pathlib import Path

CAPABILITIES = (
    "intermediates", "input_gradients", "sgd_options", "learned_h_0", "sigmoid", "clip_by_value", "cross_entropy",
    "class_inputs", "loss_weights", "adagrad",
)  # fmt: skip
HELLO = {"type": "hello", "protocol": 1, "name": "a program", "dtypes": ["float32", "float64"], "tanh_ulps": 1.5}
NAMES = ("nonlinearity", "reduction", "loss", "nesterov", "adagrad")
NUMBERS = ("learning_rate", "momentum", "dampening", "weight_decay", "max_norm", "max_value")


def answer(line, payload=b""):
    """Write one line, and what follows it."""
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n" + payload)
    sys.stdout.buffer.flush()


def arrays_of(request, payload):
    """Every array of the request, by its name in the .npz form."""
    import numpy as np

    if payload:
        return dict(np.load(io.BytesIO(payload)))

    def array(texts, *shape):
        if isinstance(texts[0], int):  # classes
            return np.array(texts).reshape(shape[:2])
        return np.array(list(map(float.fromhex, texts)), request["dtype"]).reshape(shape)

    T, B, D, H, O, K = (request["sizes"][letter] for letter in "TBDHOK")
    shapes = {"W_xh": (D, H), "W_hh": (H, H), "W_hy": (H, O), "b_h": (H,), "b_y": (O,), "h_0": (B, H)}
    of_series = {"x": (T, B, D), "target": (K, B, O), "h_0": (B, H), "weights": (K, B)}
    found = {name: array(request[name], *shape) for name, shape in of_series.items() if name in request}
    for group in ("params", "velocity"):
        for name, texts in (request.get(group) or {}).items():
            found[f"{group}.{name}"] = array(texts, *shapes[name.removeprefix("v")])
    return found


def report_on(request, payload):
    """What numpy_rnn reports."""
    import numpy_rnn
    from numpy_rnn.conformance.ports.backends import PackagePort

    arrays = arrays_of(request, payload)

    def named(prefix):
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    params, velocity = named("params."), named("velocity.v") or None
    if request.get("learned_h_0"):
        params["h_0"] = arrays["h_0"]
    series = {name: array for name, array in arrays.items() if "." not in name}
    options = {name: request[name] for name in NAMES if name in request}
    options |= {name: request[name] and float.fromhex(request[name]) for name in NUMBERS if name in request}
    return PackagePort(numpy_rnn).window_update(params, **series, **options, velocity=velocity)


def answer_npz(case_id, report):
    """Answer with the arrays as a file."""
    import numpy as np

    file = io.BytesIO()
    np.savez(file, **report)
    answer({"id": case_id, "npz": len(file.getvalue())}, file.getvalue())


def answer_json(case_id, report):
    """Answer with lists of hexadecimal numbers."""
    texts = {name: [float(value).hex() for value in array.flat] for name, array in report.items()}
    answer({"id": case_id} | {name: texts[name] if array.ndim else texts[name][0] for name, array in report.items()})


def main(form, at="0", line=""):
    sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, not an installed copy
    for question in sys.stdin.buffer:
        request = json.loads(question)
        if request["type"] == "hello":
            answer(HELLO | {"npz": form == "npz", "capabilities": CAPABILITIES})
            continue
        payload = sys.stdin.buffer.read(request.get("npz", 0))
        if request["id"] == int(at):
            exec(line)
        report = report_on(request, payload)
        (answer_npz if form == "npz" else answer_json)(request["id"], report)


if __name__ == "__main__":
    main(*sys.argv[1:])
