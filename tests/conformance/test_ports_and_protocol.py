"""Ports in Python: found by name, called with copies, a line for each fault; the
protocol.
"""

import importlib
import json
import sys

import numpy as np
import pytest

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.packages import is_package
from numpy_rnn.conformance.ports.abilities import (
    ABILITIES,
    ABILITY_GROUPS,
    LACKS,
    NEED_A_STEP,
    SGD_OPTIONS,
    Abilities,
    stated_by,
)
from numpy_rnn.conformance.ports.port import call_port, find_port
from numpy_rnn.conformance.ports.protocol import (
    PortFault,
    decode_answer,
    decode_hello,
    encode_request,
    identity_from,
    port_arguments,
)
from tests.helpers.comparing import arrays_in
from tests.helpers.ports import CASE, FULL, PLAIN, Port, right_report, verdict_on
from tests.helpers.windows import window


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
    assert not any(
        np.shares_memory(one, other) for one in own for other in arrays_in(given[0])
    )
    for one, other in zip(own, arrays_in(given[0]), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (lambda given: given["params"].pop("W_hh"), "raises TypeError"),
        (
            raising(ValueError("bad\nshape")),
            "raises ValueError: bad shape (test_ports_",
        ),
        (raising(SystemExit(3)), "raises SystemExit: 3 (test_ports_"),
        (raising(PortFault("no device")), "no device"),
        (lambda given: given["target"].fill(2), "changes target in place"),
        (lambda given: given["h_0"].fill(2), "changes h_0 in place"),
    ],
)
def test_misbehaving_port_has_its_verdict(before, expected):
    assert expected in verdict_on(Port(before))
    assert verdict_on(Port()) is None


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
    wrong = Port(after=lambda report: report | {"loss": np.float64(double)})
    assert verdict_on(wrong) == "loss is float64: expected float32"


MODULE = """
from tests.helpers.ports import Port

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

bare, number, boastful = Bare(), 3, Bare(capabilities=("adam",))
"""


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Put modules into the working directory, which sys.path does not name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))]
    )
    texts = {"a_port": MODULE, "needy": "import no_such_thing", "leaver": "exit(3)"}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("path", ["bare", "Bare", "make"])
def test_object_class_or_factory_is_found(in_folder, path):
    port = find_port(f"a_port:{path}")
    assert (port.name, port.dtypes, port.tanh_ulps, port.sizes) == (
        "bare",
        ("float32",),
        2,
        (),
    )
    assert stated_by(port) == Abilities(dtypes=("float32",))
    assert verdict_on(port) is None
    verdict = verdict_on(find_port("a_port:Failing"))
    assert verdict.endswith('(a_port.py line 9: given["x"].dot())')


REFUSED = (
    ":port",
    "no_such:x",
    "needy:x",
    "leaver:x",
    "a_port:fail",
    "a_port:number",
    "a_port:boastful",
    "a_port:loss_fun",
    "a_port.py",
    "a_port.py:bare",
)


def test_no_port_is_refused_in_one_line(in_folder):
    for where in REFUSED:
        with pytest.raises(InputError, match=rf"^[^\n]*'{where}'[^\n]+$"):
            find_port(where)


def test_looking_for_a_port_runs_nothing(in_folder, tmp_path):
    """A name with a dot is no reason to import what is before it, nor is a question."""
    (tmp_path / "package").mkdir()
    for path in ("script.py", "package/__init__.py", "package/part.py"):
        (tmp_path / path).write_text("open('ran', 'w')")
    sys.path.insert(0, str(tmp_path))
    importlib.invalidate_caches()
    for name in (
        "script.py",
        "script.py:port",
        "script.x.y",
        "./script.py",
        "package.none",
    ):
        assert not is_package(name)
        with pytest.raises(InputError):
            find_port(name)
    for name in ("script", "package", "package.part", "numpy_rnn.reference"):
        assert is_package(name)
    assert not (tmp_path / "ran").exists()


# -- the protocol
# ------------------------------------------------------------

HELLO = {"type": "hello", "protocol": 2, "name": "a fake", "dtypes": ["float32"]}


def test_malformed_answer_gives_one_line():
    right = {"id": 2} | {
        name: np.ravel(v).tolist() for name, v in right_report().items()
    }
    assert decode_answer(json.dumps(right), CASE, 2).keys() == right_report().keys()
    changes = (
        {"error": "no\nmean"},
        {"loss": "one"},
        {"loss": None},
        {"loss": True},
        {"id": 3},
    )
    for line in ("", "[]", *(json.dumps(right | change) for change in changes)):
        with pytest.raises(PortFault, match=r"^[^\n]+$"):
            decode_answer(line, CASE, 2)


HELLOS = (
    {"protocol": 1},
    {"name": "\x1b[31mred"},
    {"capabilities": ["momentum"]},
    {"lacks": "relu"},
    {"sizes": [{"K": 3, "T": 2}]},
)


@pytest.mark.parametrize("change", HELLOS)
def test_invalid_hello_is_named_in_one_line(change):
    said = f"^[^\n]*{next(iter(change))}[^\n]*: expected [^\n]+$"
    with pytest.raises(PortFault, match=said) as error:
        decode_hello(json.dumps(HELLO | change))
    assert "capabilities" not in change or all(
        name in str(error.value) for name in SGD_OPTIONS
    )


GROUPED = {
    group: [ability.name for ability in ABILITIES if ability.group == group]
    for group in ABILITY_GROUPS
    if group != "dtype"
}
CONTRADICTIONS = [*GROUPED.values(), *(["step", name] for name in NEED_A_STEP)]


@pytest.mark.parametrize("names", CONTRADICTIONS, ids=" ".join)
def test_contradictions_are_refused(names):
    """A port without any of a group of abilities, and options of no step."""
    stated = {"name": "a port", "dtypes": ["float64"]}
    stated["lacks"] = [name for name in names if name in LACKS]
    if names[0] == "step":
        stated["capabilities"] = names[1:]
    with pytest.raises(PortFault, match=f"{names[0]}.* and {names[-1]}: expected one"):
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
