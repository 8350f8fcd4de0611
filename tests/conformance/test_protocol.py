"""The lines of the port protocol: what is written, what is read, and the message of what is malformed."""

import json

import numpy as np
import pytest
from port_cases import CASE, EVERYTHING, HELLO, RIGHT, a_case, flat, inputs

from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.case import format_errors
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.protocol import PortFault

MALFORMED = {  # what an answer to case 2 is changed to, or the whole line
    "nothing": ("", "answers what is not JSON: "),
    "no object": ("[1]", "answers JSON that is not an object: [1]"),
    "nested without end": ("[" * 9000, "answers what is not JSON: [[["),
    "a key twice": ('{"id": 2, "id": 2}', "answers with the key 'id' twice"),
    "an id that is not an integer": ({"id": 2.0}, "answers with id 2.0: expected 2"),
    "another id": ({"id": 1}, "answers with id 1: expected 2"),
    "no id": ({"id": None}, "answers with id None: expected 2"),
    "an error": ({"error": "no\nmean"}, "answers with an error: no mean"),
    "NaN": ({"dW_hh": 4 * ["0x0p0"] + ["nan"] + 4 * ["0x0p0"]}, "dW_hh[1, 1] is nan: expected a finite number"),
    "infinity": ({"loss": "-inf"}, "loss[] is -inf: expected a finite number"),
    "a missing key": ({"dW_hh": None}, "dW_hh is missing"),
    "an unknown key": ({"dW": []}, "answers with 'dW': that is not an expected name"),
    "a wrong shape": ({"y": 7 * ["0x0p0"]}, "y has length 7: expected 8, for the shape (4, 2, 1) row by row"),
    "a number for an array": ({"y": "0x1p0"}, "y is '0x"),
    "an array for a number": ({"loss": ["0x1p0"]}, "loss holds ['0x"),
    "a plain number": ({"loss": 0.5}, "loss holds 0.5: expected a number as a string, '0x1.8p-1' or '0.75'"),
    "a decimal number beyond float32": ({"loss": "1e39"}, "loss holds 1e39, which is not a float32 number"),
    "a decimal number beyond float64": ({"loss": "1e309"}, "loss holds 1e309, which is outside the range of float64"),
    "float64 for float32": ({"loss": (0.1).hex()}, "loss holds 0x1.999999999999ap-4, which is not a float32 number"),
    "beyond float32": ({"loss": "0x1p200"}, "loss holds 0x1p200, which is not a float32 number"),
    "beyond float64": ({"loss": "0x1p2000"}, "loss holds 0x1p2000, which is outside the range of float64"),
}


@pytest.mark.parametrize(("change", "expected"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_gives_one_clear_line(change, expected):
    line = change
    if isinstance(change, dict):
        report = RIGHT.window_update(**inputs(CASE))
        answer = {"id": 2, **{n: v.item().hex() if v.ndim == 0 else flat(v) for n, v in report.items()}} | change
        line = json.dumps({name: value for name, value in answer.items() if value is not None})
    try:
        (message, *_) = format_errors(CASE, protocol.decode_report(line, CASE, 2), True, True)
    except PortFault as fault:
        message = str(fault)
    assert expected in message
    assert "\n" not in message
    assert len(message) < 400


HELLOS = {
    "a version that is true": ({"protocol": True}, "speaks protocol version True: known: 1"),
    "a version that is not an integer": ({"protocol": 1.0}, "speaks protocol version 1.0: known: 1"),
    "a version as a text": ({"protocol": "1"}, "speaks protocol version '1': known: 1"),
    "an error": ({"error": "version 1 is\ntoo old"}, "answers the hello with an error: version 1 is too old"),
    "no version": ({"protocol": None}, "answers the hello without a protocol version: {"),
    "no dtypes": ({"dtypes": None}, "answers the hello without dtypes"),
    "an unknown dtype": ({"dtypes": ["float32", "float16"]}, "dtypes names 'float16': known: float32, float64"),
    "empty dtypes": ({"dtypes": []}, "dtypes is empty: expected float32 or float64, or both"),
    "dtypes as a text": ({"dtypes": "float32"}, "dtypes is 'float32': expected a list of names, as ['float32', 'fl"),
    "an unknown capability": ({"capabilities": ["intermediate"]}, "names 'intermediate': known: intermediates, input_"),
    "an empty name": ({"name": ""}, "has an invalid hello: name is '': expected a non-empty text"),
    "a coloured name": ({"name": "\x1b[31mred"}, r"name is '\x1b[31mred': expected printable characters only"),
    "a negative accuracy": ({"tanh_ulps": -1}, "tanh_ulps is -1: expected a positive number"),
    "accuracy as a text": ({"tanh_ulps": "4"}, "tanh_ulps is '4': expected a positive number"),
    "accuracy that is true": ({"tanh_ulps": True}, "tanh_ulps is True: expected a positive"),
    "an unknown option": ({"lacks": ["gru"]}, "lacks names 'gru': known: tanh, relu, sum, mean"),
    "a negative absolute accuracy": ({"tanh_absolute_ulps": -1}, "tanh_absolute_ulps is -1: expected a positive"),
    "a truncation of runs": ({"truncation": "stale"}, "truncation is 'stale', which no single window shows"),
    "a step that it lacks and has": (
        {"lacks": ["step"], "capabilities": ["sgd_options"]},
        "lacks names 'step' and capabilities names 'sgd_options': expected at most one of the two",
    ),
    "a state that it lacks and has": (
        {"lacks": ["h_0"], "capabilities": ["learned_h_0"]},
        "lacks names 'h_0' and capabilities names 'learned_h_0': expected at most one of the two",
    ),
    "no nonlinearity": ({"lacks": ["tanh", "relu"]}, "lacks names both tanh and relu"),
}


@pytest.mark.parametrize(("change", "expected"), HELLOS.values(), ids=HELLOS)
def test_an_invalid_hello_gives_one_clear_line(change, expected):
    line = json.dumps({name: value for name, value in (HELLO | change).items() if value is not None})
    with pytest.raises(PortFault) as error:
        protocol.decode_hello(line)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


SPECIAL = {
    "float32": [0.0, -0.0, 1.0, -1.5, 0.1, 1.1754944e-38, 1e-45, 3.4028235e38],
    "float64": [0.0, -0.0, 1.0, -1.5, 0.1, 2.2250738585072014e-308, 5e-324, 1.7976931348623157e308],
}


@pytest.mark.parametrize("dtype", SPECIAL)
def test_every_number_survives_the_way_to_the_port_and_back(dtype):
    case = a_case(dtype, H=8)
    special = np.array(SPECIAL[dtype], dtype)
    request = json.loads(protocol.encode_request(case._replace(params=case.params._replace(b_h=special)), 7))
    line = json.dumps({"id": 7, "b_h": request["params"]["b_h"]})
    assert protocol.decode_report(line, case, 7)["b_h"].tobytes() == special.tobytes()


def test_a_request_has_the_keys_of_its_options_only():
    def keys(case):
        return set(json.loads(protocol.encode_request(case, 1)))

    plain = {"type", "id", "dtype", "sizes", "nonlinearity", "reduction", "learning_rate", "params"}
    plain |= {"x", "target", "h_0"}
    assert keys(CASE) == plain
    of_step = {"momentum", "dampening", "nesterov", "weight_decay", "max_norm", "velocity"}
    assert keys(EVERYTHING) == plain | of_step | {"learned_h_0"}
    assert keys(CASE._replace(sgd=SgdOptions(adagrad=True))) == plain | of_step | {"adagrad"}
    assert "h_0" not in json.loads(protocol.encode_request(EVERYTHING, 1))["params"]  # no name is used for two arrays


def test_a_report_may_hold_what_its_case_owes_and_no_more():
    line = json.dumps({"id": 1, "vW_xh": 6 * ["0x1p0"], "h_0": 6 * ["0x1p0"], "dx": 16 * ["0x1p0"]})
    report = protocol.decode_report(line, EVERYTHING, 1)
    assert {name: array.shape for name, array in report.items()} == {"vW_xh": (2, 3), "h_0": (2, 3), "dx": (4, 2, 2)}
    for name in ("vW_xh", "h_0"):
        with pytest.raises(PortFault, match=f"'{name}': that is not an expected name"):
            protocol.decode_report(json.dumps({"id": 1, name: 6 * ["0x1p0"]}), CASE, 1)
    assert protocol.max_report_length(EVERYTHING) > protocol.max_report_length(CASE)


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "inf", "-inf", "Infinity"])
def test_what_c_and_others_print_for_no_number_is_read(text):
    value = protocol.decode_report(json.dumps({"id": 1, "loss": text}), CASE, 1)["loss"]
    assert not np.isfinite(value)


@pytest.mark.parametrize("text", ["0x1p0", "0X1P+0", "0x1.p-0", "0x1", "0x8.0p-3", "+0x0.8p1"])
def test_every_way_to_write_a_hexadecimal_number_is_read(text):
    assert protocol.decode_report(json.dumps({"id": 1, "loss": text}), CASE, 1)["loss"] == np.float32(1)


@pytest.mark.parametrize("text", ["", ".", "1e", "1_0", "0x", "0x1p", "0x1 ", "1p0", "--0x1", "0x1_0", None, [], {}])
def test_other_numbers_are_not_guessed_at(text):
    with pytest.raises(PortFault, match="expected a number as a string"):
        protocol.decode_report(json.dumps({"id": 1, "loss": text}), CASE, 1)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 9), ("float64", 17)])
def test_decimal_numbers_are_read_exactly(dtype, digits):
    """From as many digits as every number needs, also where the number is subnormal."""
    generator = np.random.default_rng(0)
    numbers = np.exp(generator.uniform(-40, 40, 36)) * generator.choice((-1, 1), 36)
    numbers = np.concatenate((numbers, [0.0, np.finfo(dtype).smallest_subnormal])).astype(dtype)
    texts = [f"{number:.{digits - 1}e}" for number in numbers.tolist()]
    assert np.array_equal(protocol._array("y", texts, (38,), np.dtype(dtype)), numbers)
    assert protocol._array("y", ["1", "-.5", "2.E+1"], (3,), np.dtype(dtype)).tolist() == [1.0, -0.5, 20.0]
