"""The protocol: requests, and the messages about malformed lines."""

import json

import numpy as np
import pytest
from inline_snapshot import snapshot
from ports_for_tests import CASE, FULL, PLAIN, as_text, right_report
from windows import window

from numpy_rnn.common.records import Step
from numpy_rnn.conformance.case import GIVEN_DY, format_errors
from numpy_rnn.conformance.ports.protocol import PortFault, decode_answer, decode_hello, encode_request

HELLO = {"type": "hello", "protocol": 1, "name": "a fake", "dtypes": ["float32"], "capabilities": ["intermediates"]}


def first_message(read):
    """The message of the PortFault that this raises, or the first error in the report that it returns."""
    try:
        message = format_errors(CASE, read(), True, True)[0]
    except PortFault as fault:
        message = str(fault)
    assert "\n" not in message
    return message[:100]


def test_malformed_answer_gives_one_line():
    right = {"id": 2, **as_text(right_report())}
    lines = ["", "[]", json.dumps({name: array for name, array in right.items() if name != "dW_hh"})]
    for change in ({"id": 3}, {"error": "no\nmean"}, {"dW_hh": 8 * [1] + ["nan"]}, {"vW_xh": 6 * [1]}, {"y": 7 * [1]},
                   {"loss": "one"}, {"loss": None}, {"loss": 10**400}, {"loss": (0.1).hex()}):  # fmt: skip
        lines.append(json.dumps(right | change))
    assert [first_message(lambda line=line: decode_answer(line, CASE, 2)) for line in lines] == snapshot(
        [
            "answers what is not a JSON object: ",
            "answers what is not a JSON object: []",
            "dW_hh is missing",
            'does not repeat the id 2 in its answer: {"id": 3, "loss": "0x1.f6f9520000000p+3", "a": ["-0x1.d4b450',
            "answers with an error: no mean",
            "dW_hh[2, 2] is nan: expected a finite number",
            "vW_xh is not an expected name",
            "y has shape (7,): expected (4, 2, 1)",
            "loss holds 'one': expected a number, 0.75, '0.75' or '0x1.8p-1'",
            "loss holds None: expected a number, 0.75, '0.75' or '0x1.8p-1'",
            "loss holds 10000000000000000000000000000000000000000000000000000000000000000000000000000...: expecte",
            "loss holds 0x1.999999999999ap-4, which is not a float32 number",
        ]
    )


HELLOS = [
    {"protocol": 2},
    {"name": "\x1b[31mred"},
    {"dtypes": []},
    {"capabilities": ["intermediate"]},
    {"lacks": "relu"},
    {"tanh_ulps": -1},
    {"sizes": {"h": 6}},
    {"sizes": [{"K": 3, "T": 2}]},
    {"numbers": "octal"},
    {"lacks": ["step"], "capabilities": ["sgd_options"]},
    {"lacks": ["tanh", "relu"]},
]


def test_invalid_hello_gives_one_line():
    lines = [json.dumps(HELLO | change) for change in HELLOS]
    assert [first_message(lambda line=line: decode_hello(line)) for line in lines] == snapshot(
        [
            "speaks protocol version 2: expected 1",
            "has an invalid hello: name is '\\x1b[31mred': expected a text of printable characters",
            "has an invalid hello: dtypes is []: expected a list of float32 or float64, or both",
            "has an invalid hello: capabilities is ['intermediate']: expected a list of any of intermediates, inp",
            "has an invalid hello: lacks is 'relu': expected a list of any of tanh, relu, sum, mean, bias, no bia",
            "has an invalid hello: tanh_ulps is -1: expected a positive number of ulps",
            "has an invalid hello: sizes is {'h': 6}: expected numbers of T, B, D, H, O and K, as {'H': 6}, with ",
            "has an invalid hello: sizes is [{'K': 3, 'T': 2}]: expected numbers of T, B, D, H, O and K, as {'H':",
            "has an invalid hello: numbers is 'octal': expected hexadecimal or decimal",
            "has an invalid hello: it states 'step' and 'sgd_options': expected one of them at most",
            "has an invalid hello: it states 'tanh' and 'relu': expected 'sigmoid' among its capabilities",
        ]
    )
    identity = decode_hello(json.dumps(HELLO | {"lacks": ["relu"], "sizes": {"H": 6}}))
    assert identity[:4] == ("a fake", ("float32",), ("intermediates",), ("relu",))
    assert identity.sizes == ({"H": 6},)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 9), ("float64", 17)])
def test_every_number_survives_the_way_and_back(dtype, digits):
    """In hexadecimal, and from as many decimal digits as every number needs, also where it is subnormal."""
    info, generator = np.finfo(dtype), np.random.default_rng(0)
    drawn = np.exp(generator.uniform(-40, 40, 33)) * generator.choice((-1, 1), 33)
    extreme = info.smallest_subnormal, info.smallest_normal, info.max
    numbers = np.array([0.0, -0.0, 1.0, 0.1, *extreme, *drawn], dtype)
    case = window(5, dtype, **PLAIN | {"H": 40})
    case = case._replace(params=case.params._replace(b_h=numbers))
    hexadecimal, plain = (json.loads(encode_request(case, 7, each))["params"]["b_h"] for each in (False, True))
    for texts in (hexadecimal, plain, [f"{number:.{digits - 1}e}" for number in numbers.tolist()]):
        assert decode_answer(json.dumps({"id": 7, "b_h": texts}), case, 7)["b_h"].tobytes() == numbers.tobytes()


def test_numbers_may_be_written_in_many_ways():
    def read(text):
        return float(decode_answer(json.dumps({"id": 2, "loss": text}), CASE, 2)["loss"])

    for one in (1, 1.0, "0x1p0", "0X1P+0", "0x1.p-0", "0x1", "0x8.0p-3", "+0x0.8p1", "1", "+.1e1", "10.E-1"):
        assert read(one) == 1
    for none in (float("nan"), float("inf"), "nan", "-nan", "NaN", "inf", "-inf", "Infinity"):
        assert not np.isfinite(read(none))
    for text in ("", ".", "1e", "0x", "0x1p", "1p0", "--0x1", None, {}):
        with pytest.raises(PortFault, match="expected a number"):
            read(text)


def test_request_has_the_keys_of_its_options_only():
    def request(case):
        return json.loads(encode_request(case, 1))

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
    assert request(FULL._replace(velocity=None))["velocity"] is None
