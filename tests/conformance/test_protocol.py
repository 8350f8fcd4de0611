"""The protocol: requests, required outputs, and the messages about malformed lines."""

import json

import numpy as np
import pytest
from comparing import bits
from port_cases import CASE, EVERYTHING, HELLO, RIGHT, a_case, as_text, inputs, report_of, with_options

from numpy_rnn import Parameters
from numpy_rnn.common.records import SgdOptions
from numpy_rnn.conformance.case import INTERMEDIATES, format_errors, required_outputs
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, PortFault, decode_report
from numpy_rnn.conformance.recipes import random_recipe


def test_form_faults_name_what_is_wrong():
    right = report_of(RIGHT, EVERYTHING)

    def faults(intermediates=True, input_gradients=True, **changes):
        report = {name: array for name, array in (right | changes).items() if array is not None}
        return format_errors(EVERYTHING, report, intermediates, input_gradients)

    assert faults() == []
    assert faults(dW_hh=None) == ["dW_hh is missing"]
    assert faults(extra=np.zeros(3)) == ["extra is not an expected name"]
    assert faults(dW_hy=right["dW_hy"].T) == ["dW_hy has shape (1, 3): expected (3, 1)"]
    assert faults(loss=np.float64(1)) == ["loss is float64: expected float32"]
    assert faults(loss=1.0) == ["loss is a float: expected a NumPy array"]
    for bad in (np.inf, np.nan):
        assert faults(b_h=np.array([0, 0, bad], np.float32)) == [f"b_h[2] is {bad}: expected a finite number"]
    assert format_errors(EVERYTHING, None, True) == ["the report is a NoneType: expected a dict of arrays by name"]
    without = dict.fromkeys(INTERMEDIATES)
    assert faults(intermediates=False, **without) == []
    assert faults(**without) == [f"{name} is missing" for name in INTERMEDIATES]
    assert faults(dx=None) == ["dx is missing"]
    assert faults(input_gradients=False, dx=None) == []
    assert faults(input_gradients=False, dx=right["dx"][1:]) == ["dx has shape (3, 2, 2): expected (4, 2, 2)"]
    for case, gradients, required in ((CASE, False, False), (CASE, True, True), (EVERYTHING, False, True)):
        assert ("dh_0" in required_outputs(case, False, gradients)) == required


MOMENTUM = with_options(CASE, momentum=0.9)
NO_BIAS = with_options(CASE._replace(params=Parameters(*CASE.params[:3])), momentum=0.9)
GIVEN_STATE = MOMENTUM._replace(params=CASE.params, velocity=MOMENTUM.velocity._replace(h_0=None))
OPTIONAL = {  # a case without an option, and what is required with it only
    "biases": (NO_BIAS, "db_h db_y vb_h vb_y b_h b_y"),
    "momentum": (MOMENTUM._replace(sgd=SgdOptions(), velocity=None), "vW_xh vW_hh vW_hy vb_h vb_y vh_0"),
    "a learned state": (GIVEN_STATE, "vh_0 h_0"),
}


@pytest.mark.parametrize(("without", "names"), OPTIONAL.values(), ids=OPTIONAL)
def test_what_comes_with_an_option_is_owed_exactly_with_it(without, names):
    report, full = report_of(RIGHT, without), report_of(RIGHT, MOMENTUM)
    assert format_errors(without, report, True, True) == []
    assert format_errors(MOMENTUM, report, True, True) == [f"{name} is missing" for name in names.split()]
    for name in names.split():
        extra = report | {name: full[name]}
        assert format_errors(without, extra, True, True) == [f"{name} is not an expected name"]


# -- the protocol ---------------------------------------------------------------------------------------------------

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
    "a key of another case": ({"vW_xh": 6 * ["0x1p0"]}, "answers with 'vW_xh': that is not an expected name"),
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
        answer = {"id": 2, **as_text(RIGHT.window_update(**inputs(CASE)))} | change
        line = json.dumps({name: value for name, value in answer.items() if value is not None})
    try:
        (message, *_) = format_errors(CASE, decode_report(line, CASE, 2), True, True)
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
    "an accuracy that is infinite": ({"tanh_ulps": float("inf")}, "tanh_ulps is inf: expected a positive number"),
    "npz as a text": ({"npz": "yes"}, "has an invalid hello: npz is 'yes': expected true or false"),
    "no loss that it could have": ({"lacks": ["squared_error"]}, "expected 'cross_entropy' among its capabilities"),
    "a lack that it has": ({"lacks": ["step"], "capabilities": ["sgd_options"]}, "lacks names 'step' and capabilities"),
    "another one": ({"lacks": ["h_0"], "capabilities": ["learned_h_0"]}, "names 'learned_h_0': expected at most one"),
    "no nonlinearity": ({"lacks": ["tanh", "relu"]}, "lacks names both tanh and relu"),
}


@pytest.mark.parametrize(("change", "expected"), HELLOS.values(), ids=HELLOS)
def test_an_invalid_hello_gives_one_clear_line(change, expected):
    line = json.dumps({name: value for name, value in (HELLO | change).items() if value is not None})
    with pytest.raises(PortFault) as error:
        protocol.decode_hello(line)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 9), ("float64", 17)])
def test_every_number_survives_the_way_to_the_port_and_back(dtype, digits):
    """In hexadecimal, and from as many decimal digits as every number needs, also where it is subnormal."""
    info, generator = np.finfo(dtype), np.random.default_rng(0)
    drawn = np.exp(generator.uniform(-40, 40, 33)) * generator.choice((-1, 1), 33)
    extreme = info.smallest_subnormal, info.smallest_normal, info.max
    numbers = np.array([0.0, -0.0, 1.0, 0.1, *extreme, *drawn], dtype)
    case = a_case(dtype, H=40)
    request = json.loads(protocol.encode_request(case._replace(params=case.params._replace(b_h=numbers)), 7))
    for texts in (request["params"]["b_h"], [f"{number:.{digits - 1}e}" for number in numbers.tolist()]):
        assert decode_report(json.dumps({"id": 7, "b_h": texts}), case, 7)["b_h"].tobytes() == numbers.tobytes()


def test_numbers_may_be_written_in_many_ways_and_others_are_not_guessed_at():
    def read(text):
        return float(decode_report(json.dumps({"id": 1, "loss": text}), CASE, 1)["loss"])

    for one in ("0x1p0", "0X1P+0", "0x1.p-0", "0x1", "0x8.0p-3", "+0x0.8p1", "1", "+.1e1", "10.E-1"):
        assert read(one) == 1
    for none in ("nan", "-nan", "NaN", "inf", "-inf", "Infinity"):  # as C and others print them
        assert not np.isfinite(read(none))
    for text in ("", ".", "1e", "1_0", "0x", "0x1p", "0x1 ", "1p0", "--0x1", "0x1_0", None, [], {}):
        with pytest.raises(PortFault, match="expected a number as a string"):
            read(text)


def test_requests_and_answers_hold_every_array_row_by_row():
    """Of random cases with every option. Classes are integers."""
    generator = np.random.default_rng(2)
    for _ in range(60):
        case = random_recipe(generator, has=CAPABILITIES).case()
        request, given = json.loads(protocol.encode_request(case, 1)), inputs(case)
        found = request | request["params"] | (request.get("velocity") or {})
        given |= given.pop("params")
        if given.get("velocity"):
            given |= {"v" + name: v for name, v in given.pop("velocity").items()}
        for name, value in given.items():
            if isinstance(value, float):
                assert float.fromhex(found[name]) == value, name
            elif not isinstance(value, np.ndarray):
                assert found[name] == value, name
            elif value.dtype.kind == "f":
                assert list(map(float.fromhex, found[name])) == value.ravel().tolist(), name
            else:
                assert found[name] == value.ravel().tolist(), name
        report = RIGHT.window_update(**inputs(case))
        decoded = decode_report(json.dumps({"id": 1, **as_text(report)}), case, 1)
        assert {name: bits(array) for name, array in decoded.items()} == {name: bits(v) for name, v in report.items()}


def test_a_request_has_the_keys_of_its_options_only():
    def request(case):
        return json.loads(protocol.encode_request(case, 1))

    plain = {"type", "id", "dtype", "sizes", "nonlinearity", "reduction", "learning_rate", "params"}
    plain |= {"x", "target", "h_0"}
    assert set(request(CASE)) == plain
    of_step = {"momentum", "dampening", "nesterov", "weight_decay", "max_norm", "velocity"}
    assert set(request(EVERYTHING)) == plain | of_step | {"learned_h_0"}
    assert set(request(CASE._replace(sgd=SgdOptions(adagrad=True)))) == plain | of_step | {"adagrad"}
    layer = CASE._replace(given_dy=True, has_step=False)
    assert set(request(layer)) == (plain - {"target", "reduction", "learning_rate"}) | {"dy"}
    assert [float.fromhex(number) != 0 for number in request(layer)["dy"]] == [False] * 2 + [True] * 6
    trained = ["W_xh", "W_hh", "W_hy", "b_h", "b_y"]
    assert list(request(EVERYTHING)["params"]) == trained  # without h_0: no name is used for two arrays
    assert list(request(EVERYTHING)["velocity"]) == ["v" + name for name in (*trained, "h_0")]
    assert list(request(EVERYTHING._replace(params=CASE.params))["velocity"]) == ["v" + name for name in trained]
    assert request(EVERYTHING._replace(velocity=None))["velocity"] is None
    assert protocol.max_report_length(EVERYTHING) > protocol.max_report_length(CASE)
