"""The protocol of programs: what they may say, and how their numbers are sent."""

import json

import numpy as np
import pytest

from numpy_rnn.conformance.ports.abilities import (
    SGD_OPTIONS,
)
from numpy_rnn.conformance.ports.protocol import (
    PortFault,
    decode_answer,
    decode_hello,
    encode_request,
)
from tests.helpers.ports import CASE, PLAIN, right_report
from tests.helpers.program_port import HELLO
from tests.helpers.windows import window


def test_malformed_answer_gives_one_line():
    report = right_report()
    right = {"id": 2} | {name: np.ravel(v).tolist() for name, v in report.items()}
    assert decode_answer(json.dumps(right), CASE, 2).keys() == report.keys()
    changes = [{"error": "no\nmean"}, {"loss": "one"}, {"loss": None}, {"id": 3}]
    for line in ("", "[]", *(json.dumps(right | change) for change in changes)):
        with pytest.raises(PortFault, match=r"^[^\n]+$"):
            decode_answer(line, CASE, 2)


HELLOS = (
    {"protocol": 1},
    {"name": "\x1b[31mred"},
    {"capabilities": ["momentum"]},
    {"lacks": "relu"},
    {"sizes": [{"K": 3, "T": 2}]},
    {"tanh_ulps": True},
)


@pytest.mark.parametrize("change", HELLOS)
def test_invalid_hello_is_named_in_one_line(change):
    (name,) = set(change) - {"type"}
    message = f"^[^\n]*{name}[^\n]*: expected [^\n]+$"
    with pytest.raises(PortFault, match=message) as error:
        decode_hello(json.dumps(HELLO | change))
    if name == "capabilities":
        assert all(option in str(error.value) for option in SGD_OPTIONS)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 9), ("float64", 17)])
def test_every_number_survives_the_way_and_back(dtype, digits):
    """A number is sent as it is, with as many decimal digits as are needed, or in
    hexadecimal.
    """
    info = np.finfo(dtype)
    drawn = np.exp(np.random.default_rng(0).uniform(-40, 40, 3))
    numbers = np.array([-0.0, info.smallest_subnormal, info.max, *drawn, 0.1], dtype)
    case = window(5, dtype, **PLAIN | {"H": len(numbers)})
    case = case._replace(params=case.params._replace(b_h=numbers))
    sent = json.loads(encode_request(case, 7))["params"]["b_h"]
    decimal = [f"{number:.{digits - 1}e}" for number in numbers.tolist()]
    for texts in (sent, decimal, [*map(float.hex, numbers.tolist())]):
        answer = decode_answer(json.dumps({"id": 7, "b_h": texts}), case, 7)
        assert answer["b_h"].tobytes() == numbers.tobytes()
