"""A right port as a program, with every capability: python program_port.py [ID LINE [NUMBERS]].

LINE is executed before the case of this id is computed. NUMBERS, "decimal" or "hexadecimal", is how the requests have
numbers, and the answers too. The package is imported later, so that a hello costs little.
"""

import json
import os  # noqa: F401  # for LINE, as is time
import sys
import time  # noqa: F401

CAPABILITIES = (
    "intermediates", "input_gradients", "sgd_options", "learned_h_0", "sigmoid", "clip_by_value", "cross_entropy",
    "class_inputs", "loss_weights", "adagrad",
)  # fmt: skip
HELLO = {
    "type": "hello",
    "protocol": 1,
    "name": "a program",
    "dtypes": ["float32", "float64"],
    "tanh_ulps": 1.5,
}
SERIES = {"x": "TBD", "target": "KBO", "h_0": "BH", "weights": "KB"}


def report_on(request):
    """The report of the definition: its arrays as flat lists of numbers."""
    import numpy as np

    from numpy_rnn.common.records import Objective, Step, WindowCase
    from numpy_rnn.conformance.case import SHAPES, parameters_from
    from numpy_rnn.conformance.definition import window_update

    def number(given):
        return float.fromhex(given) if isinstance(given, str) and "x" in given else given

    def array(name, given):
        shape = tuple(request["sizes"][letter] for letter in (SHAPES | SERIES)[name])
        if given and isinstance(given[0], int):
            return np.reshape(given, shape[:2])
        return np.reshape(list(map(number, given)), shape).astype(request["dtype"])

    params = {name: array(name, given) for name, given in request["params"].items()}
    x, target, h_0, weights = (array(n, request[n]) if n in request else None for n in SERIES)
    if request.get("learned_h_0"):
        params["h_0"] = h_0
    velocity = {name: array(name, given) for name, given in (request.get("velocity") or {}).items()}
    objective = Objective(
        *(request.get(name, Objective._field_defaults[name]) for name in Objective._fields)
    )
    step = Step(**{name: number(request[name]) for name in Step._fields if name in request})
    before = parameters_from(velocity, "v") if velocity else None
    report = window_update(
        WindowCase(parameters_from(params), x, target, h_0, weights, objective, step, before)
    )
    return {name: np.ravel(array).tolist() for name, array in report.items()}


def main(at="0", line="", numbers="hexadecimal"):
    write = float.hex if numbers == "hexadecimal" else float
    for question in sys.stdin:
        request = json.loads(question)
        answer = HELLO | {"capabilities": CAPABILITIES, "numbers": numbers}
        if request["type"] != "hello":
            if request["id"] == int(at):
                exec(line)
            texts = {name: list(map(write, values)) for name, values in report_on(request).items()}
            answer = {"id": request["id"]} | texts | {"loss": texts["loss"][0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
