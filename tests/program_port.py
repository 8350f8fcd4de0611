"""A right port as a program, with arrays as .npz files: python program_port.py [ID LINE].

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


def answer_npz(case_id, report):
    """Answer with the arrays as a file."""
    import numpy as np

    file = io.BytesIO()
    np.savez(file, **report)
    answer({"id": case_id, "npz": len(file.getvalue())}, file.getvalue())


def report_on(request, payload):
    """What numpy_rnn reports."""
    import numpy as np

    import numpy_rnn
    from numpy_rnn.conformance.ports.backends import PackagePort

    arrays = dict(np.load(io.BytesIO(payload)))

    def named(prefix):
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    params, velocity = named("params."), named("velocity.v") or None
    if request.get("learned_h_0"):
        params["h_0"] = arrays["h_0"]
    series = {name: array for name, array in arrays.items() if "." not in name}
    options = {name: request[name] for name in NAMES if name in request}
    options |= {name: request[name] and float.fromhex(request[name]) for name in NUMBERS if name in request}
    return PackagePort(numpy_rnn).window_update(params, **series, **options, velocity=velocity)


def main(at="0", line=""):
    sys.path.insert(0, str(Path(__file__).parents[1]))  # this checkout, not an installed copy
    for question in sys.stdin.buffer:
        request = json.loads(question)
        if request["type"] == "hello":
            answer(HELLO | {"npz": True, "capabilities": CAPABILITIES})
            continue
        payload = sys.stdin.buffer.read(request["npz"])
        if request["id"] == int(at):
            exec(line)
        answer_npz(request["id"], report_on(request, payload))


if __name__ == "__main__":
    main(*sys.argv[1:])
