"""Ports in Python: found by name, called with copies, one line for each fault; requests, and malformed answers."""

import json
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from comparing import arrays_in
from inline_snapshot import snapshot
from ports_for_tests import (
    CASE,
    FULL,
    PLAIN,
    Port,
    arguments_of,
    as_text,
    right_report,
    verdict_on,
    window,
)

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.case import GIVEN_DY, INTERMEDIATES, format_errors
from numpy_rnn.conformance.ports.port import (
    TimeLimitExceeded,
    abilities,
    call_port,
    load_python_port,
    time_limit,
    validated_report,
)
from numpy_rnn.conformance.ports.protocol import (
    CAPABILITIES,
    CONTRADICTIONS,
    LACKS,
    PortFault,
    decode_answer,
    decode_hello,
    encode_request,
    identity_from,
)


def raising(error):
    def before(given):
        raise error

    return before


def swallow_everything(given):
    try:
        time.sleep(100)
    except BaseException:  # as careless ports do
        time.sleep(100)


def test_port_is_given_copies():
    """So it may update them in place, as most hand-written code does."""
    given = []
    assert verdict_on(Port(given.append), FULL) is None
    params, others = arguments_of(FULL)
    ours = [
        a
        for a in (*FULL.params, *FULL.velocity, FULL.x, FULL.target, FULL.weights)
        if a is not None
    ]
    assert len(arrays_in(given[0])) == 16
    assert not any(np.shares_memory(one, other) for one in ours for other in arrays_in(given[0]))
    for one, other in zip(arrays_in({"params": params} | others), arrays_in(given[0]), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("before", "expected"), [
    (lambda given: given["params"].pop("W_hh"), "raises TypeError"),
    (raising(ValueError("a bad\nshape")), "raises ValueError: a bad shape (ports_for_tests.py line "),
    (raising(SystemExit(3)), "raises SystemExit: 3 (ports_for_tests.py line "),
    (raising(BaseException()), "raises BaseException (ports_for_tests.py line "),
    (raising(PortFault("no device")), "no device"),
    (lambda given: time.sleep(100), "does not answer within 0.2 s"),
    (swallow_everything, "does not answer within 0.2 s"),
])  # fmt: skip
def test_misbehaving_port_has_its_verdict(before, expected):
    port = Port(before)
    port.was_called = True  # a first call may take longer
    assert expected in verdict_on(port, timeout=0.2)
    assert verdict_on(Port()) is None


def test_first_call_may_take_longer():
    """It may import torch.optim, or compile."""
    port = Port(lambda given: time.sleep(0.2))
    verdicts = [verdict_on(port, timeout=0.1) for _ in range(2)]
    assert verdicts == [None, "does not answer within 0.1 s"]


def test_settings_of_numpy_are_the_suite_s_own():
    before = np.geterr()
    assert verdict_on(Port(lambda given: np.seterr(all="raise"))) is None
    assert np.geterr() == before


def test_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        call_port(Port(raising(KeyboardInterrupt())), CASE)


def test_report_keeps_its_numbers_when_memory_is_reused():
    memory = np.zeros(3, np.float32)

    def count(report):
        memory[:] += 1
        return {"db_h": memory}

    first, second = (call_port(Port(after=count), CASE)[0]["db_h"] for _ in range(2))
    assert (first[0], second[0]) == (1, 2)


def test_time_limit_leaves_the_alarm_as_it_was():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(TimeLimitExceeded), time_limit(0.05):
            time.sleep(100)
        assert not rang
        time.sleep(0.4)
        assert rang
    finally:
        signal.signal(signal.SIGALRM, before)


def test_no_time_limit_outside_the_main_thread():
    with ThreadPoolExecutor() as pool:
        _, verdict = pool.submit(
            call_port, Port(lambda given: time.sleep(0.2)), CASE, timeout=0.02
        ).result()
    assert verdict is None


# -- the format of reports -------------------------------------------------------------------------------------------


def test_format_errors():
    right = right_report(FULL)

    def errors(intermediates=True, input_gradients=True, **changes):
        report = {name: array for name, array in (right | changes).items() if array is not None}
        return format_errors(FULL, report, intermediates, input_gradients)

    wrong = {
        "dW_hh": None,
        "extra": np.zeros(3),
        "dW_hy": right["dW_hy"].T,
        "loss": np.float64(1),
        "a": 1.0,
    }
    wrong |= {"b_h": np.array([0, 0, np.inf], np.float32), "b_y": np.array([np.nan], np.float32)}
    assert errors(**wrong) == snapshot(
        [
            "dW_hh is missing",
            "extra is not an expected name",
            "loss is float64: expected float32",
            "a is a float: expected a NumPy array",
            "dW_hy has shape (1, 3): expected (3, 1)",
            "b_h[2] is inf: expected a finite number",
            "b_y[0] is nan: expected a finite number",
        ]
    )
    assert errors(h=np.ma.array(right["h"])) == ["h is a MaskedArray: expected a NumPy array"]
    assert errors(loss=np.float32("inf")) == ["loss is inf: expected a finite number"]
    assert format_errors(FULL, None, True) == [
        "the report is a NoneType: expected a dict of arrays by name"
    ]
    without = dict.fromkeys(INTERMEDIATES)
    assert errors(intermediates=False, **without) == []
    assert errors(**without) == [f"{name} is missing" for name in INTERMEDIATES]
    assert errors(dx=None) == ["dx is missing"]
    assert errors(input_gradients=False, dx=None) == []
    zero = window(
        5, "float32", **PLAIN | {"no_h_0": True}
    )  # no initial state, and no gradient of it
    report = {name: array for name, array in right_report(zero).items() if name != "dh_0"}
    assert format_errors(zero, report, True, True) == []
    assert errors(input_gradients=False, dx=right["dx"][1:]) == [
        "dx has shape (3, 2, 2): expected (4, 2, 2)"
    ]


@pytest.mark.parametrize(("loss", "verdict"), [
    (lambda loss: float(loss), None),
    (lambda loss: 0.1, "loss is a float: expected a NumPy array"),
])  # fmt: skip
def test_loss_may_be_a_number_of_python(loss, verdict):
    assert verdict_on(Port(after=lambda report: report | {"loss": loss(report["loss"])})) == verdict


def test_overflow_of_exponentials_is_advised_about():
    port = Port(after=lambda report: report | {"loss": report["loss"].dtype.type(np.inf)})
    for logits, advised in ((1e4, True), (1.0, False)):
        case = window(
            5,
            "float32",
            **PLAIN | {"objective": Objective("tanh", "cross_entropy"), "logits": logits},
        )
        with pytest.raises(PortFault, match="loss is inf: expected a finite number") as fault:
            validated_report(port, case, 10.0, "here")
        assert ('declare lacks = ("large outputs",)' in str(fault.value)) == advised
        assert fault.value.case is case


# -- finding objects -------------------------------------------------------------------------------------------------

MODULE = """
import os
from ports_for_tests import Port

class Bare(Port):
    name, dtypes, tanh_ulps = "bare", ["float32"], 2

class Failing(Bare):
    def window_update(self, *_, **given):
        given["x"].dot()

def make(port=Bare):
    return port()

def fail():
    return {}["device"]

def loss_fun(p, x, target, h_0):
    pass

class Unspeakable(Exception):
    def __str__(self):
        raise ValueError

class Lazy:
    def __getattr__(self, name):
        raise Unspeakable

def leave():
    os._exit(0)

lazy = Lazy()
bare, number, boastful = Bare(), 3, Bare(capabilities=("adam",))
"""


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The working directory is a folder with modules in it, and sys.path does not name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    for name, text in {
        "a_port": MODULE,
        "needy": "import no_such_thing",
        "wrong": "def",
        "leaver": "exit(3)",
        "base": "raise BaseException('no')",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("path", ["bare", "Bare", "make"])
def test_object_class_or_factory_is_found(in_folder, path):
    port = load_python_port(f"a_port:{path}")
    assert (port.name, port.dtypes, port.tanh_ulps, port.sizes) == ("bare", ("float32",), 2, ())
    assert abilities(port) == (CAPABILITIES, (), ())
    assert verdict_on(port) is None


def test_verdict_names_the_line_of_the_port(in_folder):
    verdict = verdict_on(load_python_port("a_port:Failing"))
    assert verdict.endswith('(a_port.py line 10: given["x"].dot())')


REFUSED = (":port", "no_such:x", "needy:x", "wrong:x", "leaver:x", "a_port:bare.missing", "a_port:fail",
           "a_port:number", "a_port:boastful", "a_port:loss_fun", "a_port:lazy", "a_port:leave", "base:x")  # fmt: skip


def test_no_port_is_refused_in_one_line(in_folder):
    messages = []
    for where in REFUSED:
        with pytest.raises(InputError) as error:
            load_python_port(where)
        messages.append(str(error.value)[:100])
    assert messages == snapshot(
        [
            "port ':port': expected module:object, as my_module:port",
            "port 'no_such:x' cannot be loaded: ModuleNotFoundError: No module named 'no_such'",
            "port 'needy:x' cannot be loaded: ModuleNotFoundError: No module named 'no_such_thing' (needy.py line",
            "port 'wrong:x' cannot be loaded: SyntaxError: invalid syntax (wrong.py, line 1)",
            "port 'leaver:x' cannot be loaded: SystemExit: 3 (leaver.py line 1: exit(3))",
            "port 'a_port:bare.missing' cannot be loaded: AttributeError: 'Bare' object has no attribute 'missing",
            "port 'a_port:fail' cannot be loaded: KeyError: 'device' (a_port.py line 16: return {}[\"device\"])",
            "port 'a_port:number' has no function window_update: expected name, dtypes and window_update",
            "port 'a_port:boastful': capabilities is ('adam',): expected a list of any of intermediates, input_gr",
            "port 'a_port:loss_fun' is a function: expected a port; function_port(loss_fun) makes one of a functi",
            "port 'a_port:lazy' cannot be loaded: Unspeakable, whose message cannot be printed (a_port.py line 27",
            "port 'a_port:leave' cannot be loaded: SystemExit: os._exit(0) (a_port.py line 30: os._exit(0))",
            "port 'base:x' cannot be loaded: BaseException: no (base.py line 1: raise BaseException('no'))",
        ]
    )


# -- the protocol ------------------------------------------------------------------------------------------------------


HELLO = {
    "type": "hello",
    "protocol": 1,
    "name": "a fake",
    "dtypes": ["float32"],
    "capabilities": ["intermediates"],
}


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
    lines = [
        "",
        "[]",
        json.dumps({name: array for name, array in right.items() if name != "dW_hh"}),
    ]
    lines.append('{"id": 3}')
    for change in ({"error": "no\nmean"}, {"dW_hh": 8 * [1] + ["nan"]}, {"vW_xh": 6 * [1]}, {"y": 7 * [1]},
                   {"loss": "one"}, {"loss": None}, {"loss": 10**400}, {"loss": (0.1).hex()}):  # fmt: skip
        lines.append(json.dumps(right | change))
    assert [
        first_message(lambda line=line: decode_answer(line, CASE, 2)) for line in lines
    ] == snapshot(
        [
            "answers what is not a JSON object: ",
            "answers what is not a JSON object: []",
            "dW_hh is missing",
            'does not repeat the id 2 in its answer: {"id": 3}',
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


@pytest.mark.parametrize("names", [names for names, _ in CONTRADICTIONS])
def test_statements_that_contradict_each_other_are_refused(names):
    lists = {"lacks": set(names) & set(LACKS), "capabilities": set(names) - set(LACKS)}
    stated = {
        "name": "a port",
        "dtypes": ["float64"],
        **{key: [*value] for key, value in lists.items()},
    }
    with pytest.raises(PortFault, match=f"^it states {' and '.join(map(repr, names))}: expected "):
        identity_from(stated)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 9), ("float64", 17)])
def test_every_number_survives_the_way_and_back(dtype, digits):
    """In hexadecimal, and from as many decimal digits as every number needs, also where it is subnormal."""
    info, generator = np.finfo(dtype), np.random.default_rng(0)
    drawn = np.exp(generator.uniform(-40, 40, 33)) * generator.choice((-1, 1), 33)
    extreme = info.smallest_subnormal, info.smallest_normal, info.max
    numbers = np.array([0.0, -0.0, 1.0, 0.1, *extreme, *drawn], dtype)
    case = window(5, dtype, **PLAIN | {"H": 40})
    case = case._replace(params=case.params._replace(b_h=numbers))
    hexadecimal, plain = (
        json.loads(encode_request(case, 7, each))["params"]["b_h"] for each in (False, True)
    )
    for texts in (hexadecimal, plain, [f"{number:.{digits - 1}e}" for number in numbers.tolist()]):
        assert (
            decode_answer(json.dumps({"id": 7, "b_h": texts}), case, 7)["b_h"].tobytes()
            == numbers.tobytes()
        )


def test_numbers_may_be_written_in_many_ways():
    def read(text):
        return float(decode_answer(json.dumps({"id": 2, "loss": text}), CASE, 2)["loss"])

    for one in (
        1,
        1.0,
        "0x1p0",
        "0X1P+0",
        "0x1.p-0",
        "0x1",
        "0x8.0p-3",
        "+0x0.8p1",
        "1",
        "+.1e1",
        "10.E-1",
    ):
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
    assert [float.fromhex(number) != 0 for number in request(layer)["dy"]] == [False] * 2 + [
        True
    ] * 6
    trained = ["W_xh", "W_hh", "W_hy", "b_h", "b_y"]
    assert list(request(FULL)["params"]) == trained  # without h_0: no name is used for two arrays
    assert list(request(FULL)["velocity"]) == ["v" + name for name in (*trained, "h_0")]
    assert request(FULL._replace(velocity=None))["velocity"] is None
