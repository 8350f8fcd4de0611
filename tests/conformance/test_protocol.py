"""The protocol: requests, and the messages about malformed lines."""

import json

import numpy as np
import pytest
from inline_snapshot import snapshot
from ports_for_tests import CASE, FULL, PLAIN, as_text, right_report
from windows import window

from numpy_rnn.common.records import Step
from numpy_rnn.conformance.case import GIVEN_DY, format_errors
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.protocol import PortFault, answer_arrays, answer_to, decode_hello

HELLO = {"type": "hello", "protocol": 1, "name": "a fake", "dtypes": ["float32"], "capabilities": ["intermediates"]}


def decoded(line, case=CASE, case_id=2):
    return answer_arrays(answer_to(line, case_id), case)


def first_message(read):
    """The message of the PortFault that this raises, or the first error in the report that it returns."""
    try:
        return format_errors(CASE, read(), True, True)[0]
    except PortFault as fault:
        return str(fault)


ANSWERS = [  # what an answer to case 2 is changed to, or the whole line
    "",
    "[" * 9000,
    {"id": 2.0},
    {"id": None},
    {"error": "no\nmean"},
    {"dW_hh": 4 * ["0x0p0"] + ["nan"] + 4 * ["0x0p0"]},
    {"dW_hh": None},
    {"vW_xh": 6 * ["0x1p0"]},
    {"y": 7 * ["0x0p0"]},
    {"y": "0x1p0"},
    {"loss": ["0x1p0"]},
    {"loss": True},
    {"loss": 1e39},
    {"loss": "1e39"},
    {"loss": (0.1).hex()},
]


def test_malformed_answer_gives_one_line():
    messages = []
    for change in ANSWERS:
        line = change
        if isinstance(change, dict):
            answer = {"id": 2, **as_text(right_report())} | change
            line = json.dumps({name: value for name, value in answer.items() if value is not None})
        messages.append(first_message(lambda line=line: decoded(line)))
    assert all("\n" not in message and len(message) < 400 for message in messages)
    assert [message[:100] for message in messages] == snapshot(
        [
            "answers what is not JSON: ",
            "answers what is not JSON: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
            "answers with id 2.0: expected 2",
            "answers with id None: expected 2",
            "answers with an error: no mean",
            "dW_hh[1, 1] is nan: expected a finite number",
            "dW_hh is missing",
            "answers with 'vW_xh': that is not an expected name",
            "y has length 7: expected 8, for the shape (4, 2, 1) row by row",
            "y is '0x1p0': expected a flat list of numbers",
            "loss holds ['0x1p0']: expected a number, 0.75, '0.75' or '0x1.8p-1'",
            "loss holds True: expected a number, 0.75, '0.75' or '0x1.8p-1'",
            "loss holds 1e+39, which is not a float32 number",
            "loss holds 1e39, which is not a float32 number",
            "loss holds 0x1.999999999999ap-4, which is not a float32 number",
        ]
    )


HELLOS = [
    {"protocol": True},
    {"error": "version 1 is\ntoo old"},
    {"dtypes": None},
    {"dtypes": ["float32", "float16"]},
    {"dtypes": "float32"},
    {"capabilities": ["intermediate"]},
    {"name": "\x1b[31mred"},
    {"tanh_ulps": -1},
    {"tanh_absolute_ulps": float("inf")},
    {"lacks": ["gru"]},
    {"lacks": ["squared_error"]},
    {"lacks": ["bias", "no biases"]},
    {"lacks": ["plain SGD"]},
    {"sizes": {"h": 6}},
    {"sizes": [{"K": 3, "T": 2}]},
    {"numbers": "octal"},
    {"lacks": ["step"], "capabilities": ["sgd_options"]},
    {"lacks": ["tanh", "relu"]},
]


def test_invalid_hello_gives_one_line():
    messages = []
    for change in HELLOS:
        hello = {name: value for name, value in (HELLO | change).items() if value is not None}
        messages.append(first_message(lambda hello=hello: decode_hello(json.dumps(hello))))
    assert all("\n" not in message for message in messages)
    assert [message[:100] for message in messages] == snapshot(
        [
            "speaks protocol version True: known: 1",
            "answers the hello with an error: version 1 is too old",
            "answers the hello without dtypes",
            "has an invalid hello: dtypes names 'float16': known: float32, float64",
            "has an invalid hello: dtypes is 'float32': expected a list of names, as ['float32', 'float64']",
            "has an invalid hello: capabilities names 'intermediate': known: intermediates, input_gradients, sgd_",
            "has an invalid hello: name is '\\x1b[31mred': expected a text of printable characters",
            "has an invalid hello: tanh_ulps is -1: expected a positive number of ulps",
            "has an invalid hello: tanh_absolute_ulps is inf: expected a positive number of ulps",
            "has an invalid hello: lacks names 'gru': known: tanh, relu, sum, mean, bias, no biases, h_0, older s",
            "has an invalid hello: it lacks 'squared_error': expected 'cross_entropy' among its capabilities",
            "has an invalid hello: it lacks 'bias' and lacks 'no biases': expected one of the two at most",
            "has an invalid hello: it lacks 'plain SGD': expected 'adagrad' among its capabilities",
            "has an invalid hello: sizes has {'h': 6}: expected numbers of the letters T, B, D, H, O and K, as {'",
            "has an invalid hello: sizes has {'K': 3, 'T': 2}: expected K ≤ T",
            "has an invalid hello: numbers is 'octal': expected 'hexadecimal' or 'decimal'",
            "has an invalid hello: it lacks 'step' and declares 'sgd_options': expected one of the two at most",
            "has an invalid hello: it lacks 'tanh' and lacks 'relu': expected 'sigmoid' among its capabilities",
        ]
    )
    identity = decode_hello(json.dumps(HELLO | {"lacks": ["relu"]}))
    assert identity[:4] == ("a fake", ("float32",), ("intermediates",), ("relu",))


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 9), ("float64", 17)])
def test_every_number_survives_the_way_and_back(dtype, digits):
    """In hexadecimal, and from as many decimal digits as every number needs, also where it is subnormal."""
    info, generator = np.finfo(dtype), np.random.default_rng(0)
    drawn = np.exp(generator.uniform(-40, 40, 33)) * generator.choice((-1, 1), 33)
    extreme = info.smallest_subnormal, info.smallest_normal, info.max
    numbers = np.array([0.0, -0.0, 1.0, 0.1, *extreme, *drawn], dtype)
    case = window(5, dtype, **PLAIN | {"H": 40})
    case = case._replace(params=case.params._replace(b_h=numbers))
    request = json.loads(protocol.encode_request(case, 7))
    plain = json.loads(protocol.encode_request(case, 7, decimal=True))["params"]["b_h"]
    for texts in (request["params"]["b_h"], plain, [f"{number:.{digits - 1}e}" for number in numbers.tolist()]):
        assert decoded(json.dumps({"id": 7, "b_h": texts}), case, 7)["b_h"].tobytes() == numbers.tobytes()


def test_numbers_may_be_written_in_many_ways():
    def read(text):
        return float(decoded(json.dumps({"id": 2, "loss": text}))["loss"])

    for one in (1, 1.0, "0x1p0", "0X1P+0", "0x1.p-0", "0x1", "0x8.0p-3", "+0x0.8p1", "1", "+.1e1", "10.E-1"):
        assert read(one) == 1
    for none in (float("nan"), float("inf"), "nan", "-nan", "NaN", "inf", "-inf", "Infinity"):
        assert not np.isfinite(read(none))
    for text in ("", ".", "1e", "1_0", "0x", "0x1p", "1p0", "--0x1", "0x1_0", None, [], {}):
        with pytest.raises(PortFault, match="expected a number"):
            read(text)


def test_request_has_the_keys_of_its_options_only():
    def request(case):
        return json.loads(protocol.encode_request(case, 1))

    plain = {"type", "id", "dtype", "sizes", "nonlinearity", "reduction", "learning_rate", "params"}
    plain |= {"x", "target", "h_0"}
    assert set(request(CASE)) == plain
    step = {"momentum", "dampening", "nesterov", "weight_decay", "max_norm", "velocity"}
    assert set(request(FULL)) == plain | step | {"learned_h_0", "weights"}
    assert set(request(CASE._replace(step=Step(0.1, adagrad=True)))) == plain | step | {"adagrad"}
    layer = CASE._replace(objective=CASE.objective._replace(loss=GIVEN_DY), step=None)
    assert set(request(layer)) == (plain - {"target", "reduction", "learning_rate"}) | {"dy"}
    assert [float.fromhex(number) != 0 for number in request(layer)["dy"]] == [False] * 2 + [True] * 6
    trained = ["W_xh", "W_hh", "W_hy", "b_h", "b_y"]
    assert list(request(FULL)["params"]) == trained  # without h_0: no name is used for two arrays
    assert list(request(FULL)["velocity"]) == ["v" + name for name in (*trained, "h_0")]
    constant = FULL._replace(params=FULL.params._replace(h_0=None), h_0=FULL.params.h_0)
    assert list(request(constant)["velocity"]) == ["v" + name for name in trained]
    assert request(FULL._replace(velocity=None))["velocity"] is None
    assert protocol.max_report_length(FULL) > protocol.max_report_length(CASE)
