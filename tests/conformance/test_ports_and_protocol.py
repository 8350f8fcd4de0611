"""Ports in Python: found by name, called with copies, one line for each fault; requests, answers."""

import json
import sys

import numpy as np
import pytest
from comparing import arrays_in
from inline_snapshot import snapshot
from ports_for_tests import CASE, FULL, PLAIN, Port, right_report, verdict_on
from windows_for_tests import window

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import is_package
from numpy_rnn.common.records import Objective, Step
from numpy_rnn.conformance.ports.port import (
    abilities,
    call_port,
    find_port,
    load_python_port,
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
    port_arguments,
)


def raising(error):
    def before(given):
        raise error

    return before


def test_port_is_given_copies():
    """So it may update them in place, as most hand-written code does."""
    given = []
    assert verdict_on(Port(given.append), FULL) is None
    own = arrays_in(port_arguments(FULL))
    assert len(own) == len(arrays_in(given[0])) == 13
    assert not any(np.shares_memory(one, other) for one in own for other in arrays_in(given[0]))
    for one, other in zip(own, arrays_in(given[0]), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(("before", "expected"), [
    (lambda given: given["params"].pop("W_hh"), "raises TypeError"),
    (raising(ValueError("a bad\nshape")), "raises ValueError: a bad shape (ports_for_tests.py line "),
    (raising(SystemExit(3)), "raises SystemExit: 3 (ports_for_tests.py line "),
    (raising(PortFault("no device")), "no device"),
])  # fmt: skip
def test_misbehaving_port_has_its_verdict(before, expected):
    assert expected in verdict_on(Port(before))
    assert verdict_on(Port()) is None


def test_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        call_port(Port(raising(KeyboardInterrupt())), CASE)


def test_report_keeps_its_numbers_when_memory_is_reused():
    memory = np.zeros(3, np.float32)

    def count(report):
        memory[:] += 1
        return {"db_h": memory}

    first, second = (call_port(Port(after=count), CASE)["db_h"] for _ in range(2))
    assert (first[0], second[0]) == (1, 2)


def test_python_float_is_rounded_to_the_dtype():
    """A float32 loss that is summed as a number of Python is not a float32 number."""
    double = 0.1
    report = call_port(Port(after=lambda report: report | {"loss": double}), CASE)
    assert report["loss"].dtype == np.float32
    assert float(report["loss"]) == float(np.float32(double)) != double
    assert verdict_on(Port(after=lambda report: report | {"loss": np.float64(double)})) == (
        "loss is float64: expected float32"
    )


@pytest.mark.parametrize(("logits", "advised"), [(1e4, True), (1.0, False)])
def test_overflow_of_exponentials_is_advised_about(logits, advised):
    port = Port(after=lambda report: report | {"loss": report["loss"].dtype.type(np.inf)})
    entropy = {"objective": Objective("tanh", "cross_entropy"), "logits": logits, "O": 4}
    case = window(5, "float32", **PLAIN | entropy)
    with pytest.raises(PortFault, match="loss is inf: expected a finite number") as fault:
        validated_report(port, case, "here")
    assert ('declare lacks = ("large outputs",)' in str(fault.value)) == advised


# -- finding objects ----------------------------------------------------------------------------

MODULE = """
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

bare, number, boastful, lazy = Bare(), 3, Bare(capabilities=("adam",)), Lazy()
"""


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The working directory has modules in it, and sys.path does not name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    for name, text in {
        "a_port": MODULE,
        "needy": "import no_such_thing",
        "leaver": "exit(3)",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("path", ["bare", "Bare", "make"])
def test_object_class_or_factory_is_found(in_folder, path):
    port = find_port(f"a_port:{path}")
    assert (port.name, port.dtypes, port.tanh_ulps, port.sizes) == ("bare", ("float32",), 2, ())
    assert abilities(port) == (CAPABILITIES, (), ())
    assert verdict_on(port) is None


def test_verdict_names_the_line_of_the_port(in_folder):
    verdict = verdict_on(load_python_port("a_port:Failing"))
    assert verdict.endswith('(a_port.py line 9: given["x"].dot())')


REFUSED = (":port", "no_such:x", "needy:x", "leaver:x", "a_port:fail", "a_port:number",
           "a_port:boastful", "a_port:loss_fun", "a_port:lazy", "a_port.py", "a_port.py:bare")  # fmt: skip


def test_no_port_is_refused_in_one_line(in_folder):
    messages = []
    for where in REFUSED:
        with pytest.raises(InputError) as error:
            find_port(where)
        messages.append(str(error.value)[:92])
    assert messages == snapshot(
        [
            "':port' is no port: expected a package (torch_rnn), or module:object (my_module:port)",
            "port 'no_such:x' cannot be loaded: ModuleNotFoundError: No module named 'no_such'",
            "port 'needy:x' cannot be loaded: ModuleNotFoundError: No module named 'no_such_thing' (needy",
            "port 'leaver:x' cannot be loaded: SystemExit: 3 (leaver.py line 1: exit(3))",
            "port 'a_port:fail' cannot be loaded: KeyError: 'device' (a_port.py line 15: return {}[\"devic",
            "port 'a_port:number' has no function window_update: expected name, dtypes and window_update",
            "port 'a_port:boastful': capabilities is ('adam',): expected a list of some of intermediates,",
            "port 'a_port:loss_fun' is a function: expected a port; function_port(loss_fun) makes one of ",
            "port 'a_port:lazy' cannot be loaded: Unspeakable, whose message cannot be printed (a_port.py",
            "'a_port.py' is a file: expected module:object, as a_port:port, in the folder of the file",
            "'a_port.py:bare' is a file: expected module:object, as a_port:bare, in the folder of the fil",
        ]
    )


def test_looking_for_a_port_runs_nothing(in_folder, tmp_path):
    """A name with a dot is no reason to import what is before it."""
    (tmp_path / "script.py").write_text("open('ran', 'w')")
    sys.path.insert(0, str(tmp_path))
    for name in ("script.py", "script.py:port", "script.x.y"):
        assert not is_package(name)
        with pytest.raises(InputError):
            find_port(name)
    assert not (tmp_path / "ran").exists()
    assert is_package("numpy_rnn.reference")


# -- the protocol -------------------------------------------------------------------------------

HELLO = {
    "type": "hello",
    "protocol": 2,
    "name": "a fake",
    "dtypes": ["float32"],
    "capabilities": ["intermediates"],
}


def test_malformed_answer_gives_one_line():
    right = {"id": 2} | {name: np.ravel(v).tolist() for name, v in right_report().items()}
    changes = ({"error": "no\nmean"}, {"loss": "one"}, {"loss": None}, {"loss": True}, {"id": 3})
    lines = ["", "[]", *(json.dumps(right | change) for change in changes)]
    messages = []
    for line in lines:
        with pytest.raises(PortFault) as fault:
            decode_answer(line, CASE, 2)
        assert "\n" not in str(fault.value)
        messages.append(str(fault.value)[:60])
    assert messages == snapshot(
        [
            "answers what is not a JSON object: ",
            "answers what is not a JSON object: []",
            "answers with an error: no mean",
            "loss holds 'one': expected a number, as 0.75 or '0x1.8p-1'",
            "loss holds None: expected a number, as 0.75 or '0x1.8p-1'",
            "loss holds True: expected a number, as 0.75 or '0x1.8p-1'",
            'does not repeat the id 2 in its answer: {"id": 3, "loss": [1',
        ]
    )


HELLOS = [
    {"protocol": 1},
    {"name": "\x1b[31mred"},
    {"dtypes": []},
    {"capabilities": ["intermediate"]},
    {"lacks": "relu"},
    {"tanh_ulps": -1},
    {"sizes": {"h": 6}},
    {"sizes": [{"K": 3, "T": 2}]},
]


def test_invalid_hello_gives_one_line():
    messages = []
    for change in HELLOS:
        with pytest.raises(PortFault) as fault:
            decode_hello(json.dumps(HELLO | change))
        messages.append(str(fault.value)[:92])
    assert messages == snapshot(
        [
            "speaks protocol version 1: expected 2",
            "has an invalid hello: name is '\\x1b[31mred': expected a text of printable characters",
            "has an invalid hello: dtypes is []: expected a list of some of float32 or float64, or both",
            "has an invalid hello: capabilities is ['intermediate']: expected a list of some of intermedi",
            "has an invalid hello: lacks is 'relu': expected a list of some of tanh, relu, sum, mean, squ",
            "has an invalid hello: tanh_ulps is -1: expected a positive number of ulps",
            "has an invalid hello: sizes is {'h': 6}: expected T, B, D, H, O, K ≤ T as {'H': 6}, or few",
            "has an invalid hello: sizes is [{'K': 3, 'T': 2}]: expected T, B, D, H, O, K ≤ T as {'H': 6}",
        ]
    )
    identity = decode_hello(json.dumps(HELLO | {"lacks": ["relu"], "sizes": {"H": 6}}))
    assert identity[:4] == ("a fake", ("float32",), ("intermediates",), ("relu",))
    assert identity.sizes == ({"H": 6},)


@pytest.mark.parametrize("names", [names for names, _ in CONTRADICTIONS])
def test_contradictions_are_refused(names):
    lists = {"lacks": {*names} & {*LACKS}, "capabilities": {*names} - {*LACKS}}
    stated = {"name": "a port", "dtypes": ["float64"]} | {key: [*v] for key, v in lists.items()}
    with pytest.raises(PortFault, match=f"^it states {' and '.join(names)}: expected "):
        identity_from(stated)


@pytest.mark.parametrize(("dtype", "digits"), [("float32", 9), ("float64", 17)])
def test_every_number_survives_the_way_and_back(dtype, digits):
    """As it is sent, with as many decimal digits as are needed, and in hexadecimal."""
    info, generator = np.finfo(dtype), np.random.default_rng(0)
    drawn = np.exp(generator.uniform(-40, 40, 33)) * generator.choice((-1, 1), 33)
    extreme = info.smallest_subnormal, info.smallest_normal, info.max
    numbers = np.array([0.0, -0.0, 1.0, 0.1, *extreme, *drawn], dtype)
    case = window(5, dtype, **PLAIN | {"H": 40})
    case = case._replace(params=case.params._replace(b_h=numbers))
    sent = json.loads(encode_request(case, 7))["params"]["b_h"]
    decimal = [f"{number:.{digits - 1}e}" for number in numbers.tolist()]
    for texts in (sent, decimal, [*map(float.hex, numbers.tolist())]):
        answer = decode_answer(json.dumps({"id": 7, "b_h": texts}), case, 7)
        assert answer["b_h"].tobytes() == numbers.tobytes()


def test_request_has_the_keys_of_its_options_only():
    def request(case):
        return json.loads(encode_request(case, 1))

    plain = {"type", "id", "dtype", "sizes", "nonlinearity", "reduction", "learning_rate", "params"}
    plain |= {"x", "target", "h_0"}
    assert set(request(CASE)) == plain
    step = {"momentum", "dampening", "nesterov", "weight_decay", "max_norm", "velocity"}
    assert set(request(FULL)) == plain | step
    assert set(request(CASE._replace(step=Step(0.1, adagrad=True)))) == plain | step | {"adagrad"}
    assert set(request(CASE._replace(step=None))) == plain - {"learning_rate"}
    trained = ["W_xh", "W_hh", "W_hy", "b_h", "b_y"]
    assert list(request(FULL)["params"]) == trained
    assert list(request(FULL)["velocity"]) == ["v" + name for name in trained]
    assert request(FULL._replace(velocity=None))["velocity"] is None
