"""A right port as a program, with every capability: python program_port.py [ID LINE].

LINE is executed before the case of this id is computed. The package is imported later, so that a hello costs little.
"""

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
SERIES = {"x": "TBD", "target": "KBO", "h_0": "BH", "weights": "KB"}


def answer(line):
    """Write one line."""
    print(json.dumps(line), flush=True)


def report_on(request):
    """The report of `plain_rnn`."""
    import numpy as np

    from numpy_rnn.common.records import Objective, Step, WindowCase
    from numpy_rnn.conformance.case import SHAPES, parameters_from
    from numpy_rnn.conformance.plain_rnn import window_update

    def array(name, given):
        shape = tuple(request["sizes"][letter] for letter in (SHAPES | SERIES)[name])
        if given and isinstance(given[0], int):
            return np.reshape(given, shape[:2])
        return np.reshape(list(map(float.fromhex, given)), shape).astype(request["dtype"])

    def number(name):
        value = request.get(name)
        return float.fromhex(value) if isinstance(value, str) else value

    params = {name: array(name, given) for name, given in request["params"].items()}
    x, target, h_0, weights = (array(n, request[n]) if n in request else None for n in SERIES)
    if request.get("learned_h_0"):
        params["h_0"] = h_0
    velocity = {name: array(name, given) for name, given in (request.get("velocity") or {}).items()}
    options = {name: number(name) for name in Step._fields if name in request}
    objective = Objective(*(request.get(name, Objective._field_defaults[name]) for name in Objective._fields))
    before = parameters_from(velocity, "v") if velocity else None
    case = WindowCase(parameters_from(params), x, target, h_0, weights, objective, Step(**options), before)
    report = window_update(case)
    texts = {name: [float(v).hex() for v in np.ravel(array)] for name, array in report.items()}
    return texts | {"loss": texts["loss"][0]}


def main(at="0", line=""):
    sys.path.insert(0, str(Path(__file__).parents[2]))  # this checkout, not an installed copy
    for question in sys.stdin:
        request = json.loads(question)
        if request["type"] == "hello":
            answer(HELLO | {"capabilities": CAPABILITIES})
            continue
        if request["id"] == int(at):
            exec(line)
        answer({"id": request["id"], **report_on(request)})


if __name__ == "__main__":
    main(*sys.argv[1:])
