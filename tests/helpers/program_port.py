"""A right port as a program, with every capability: python program_port.py.

It is imported for its hello too, and imports the package when it runs.
"""

import json
import sys

HELLO = {
    "type": "hello",
    "protocol": 2,
    "name": "a program",
    "dtypes": ["float32", "float64"],
    "tanh_ulps": 1.5,
}
SERIES_AXES = {"x": "TBD", "target": "KBO", "h_0": "BH"}


def report_on(request):
    """Compute the definition's report: its arrays as flat lists of numbers."""
    import numpy as np

    from numpy_rnn.common.records import Objective, Step
    from numpy_rnn.conformance.case import SHAPES, WindowCase, parameters_from
    from numpy_rnn.conformance.definition import window_update

    def array(name, numbers):
        shape = tuple(
            request["sizes"][letter] for letter in (SHAPES | SERIES_AXES)[name]
        )
        if numbers and isinstance(numbers[0], int):
            return np.reshape(numbers, shape[:2])
        return np.reshape(numbers, shape).astype(request["dtype"])

    def parameters(lists, prefix=""):
        arrays = {name: array(name, numbers) for name, numbers in lists.items()}
        return parameters_from(arrays, prefix)

    def options(fields):
        return {name: request[name] for name in fields if name in request}

    velocity = request.get("velocity")
    case = WindowCase(
        params=parameters(request["params"]),
        **{name: array(name, request[name]) for name in SERIES_AXES},
        objective=Objective(**options(Objective._fields)),
        step=Step(**options(Step._fields)) if "learning_rate" in request else None,
        velocity=parameters(velocity, "v") if velocity else None,
    )
    with np.errstate(all="ignore"):
        report = window_update(case)
    return {name: np.ravel(array).tolist() for name, array in report.items()}


def main():
    from numpy_rnn.conformance.ports.abilities import CAPABILITIES

    for question in sys.stdin:
        request = json.loads(question)
        answer = HELLO | {"capabilities": CAPABILITIES}
        if request["type"] != "hello":
            report = report_on(request)
            answer = {"id": request["id"]} | report
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
