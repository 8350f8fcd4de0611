"""Ports in Python: found by name, called with copies, and one line for each of their faults."""

import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from port_cases import CASE, EVERYTHING, RIGHT, a_case, inputs, report_of, verdict_on

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.ports.port import PortFault, TimeLimitExceeded, call_port, load_python_port, time_limit


class Port:
    """A right port, unless something is done to what it is given before, or to its report after."""

    name, dtypes = "a port", ("float32", "float64")

    def __init__(self, before=lambda given: None, after=lambda report: report):
        self.before, self.after = before, after

    def window_update(self, params, **given):
        self.before({"params": params, **given})
        return self.after(RIGHT.window_update(params, **given))


def raising(error):
    def before(given):
        raise error

    return before


def swallow_everything(given):
    while True:
        try:
            time.sleep(0.01)
        except BaseException:  # as careless ports do
            break
    time.sleep(100)


def arrays_in(given):
    """All arrays among these options, also those in dictionaries."""
    if isinstance(given, np.ndarray):
        return [given]
    return [array for value in given.values() for array in arrays_in(value)] if isinstance(given, dict) else []


WEIGHTED = EVERYTHING._replace(weights=np.ones((3, 2), np.float32))


@pytest.mark.parametrize("case", [CASE, WEIGHTED], ids=["plain", "everything"])
def test_a_port_is_given_copies_of_what_belongs_to_the_case(case):
    """So it may update them in place, as most hand-written code does."""
    handed = []
    assert verdict_on(Port(handed.append), case) is None
    assert handed[0].keys() == inputs(case).keys()
    ours, theirs = arrays_in(inputs(case)), arrays_in(inputs(case) | handed[0])
    assert len(ours) == (8 if case is CASE else 16)
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one, other)
        assert not np.shares_memory(one, other)


@pytest.mark.parametrize(("before", "expected"), [
    (lambda given: given["params"].pop("W_hh"), "raises TypeError"),
    (raising(ValueError("a bad\nshape")), "raises ValueError: a bad shape (test_ports.py line "),
    (raising(SystemExit(3)), "raises SystemExit: 3 (test_ports.py line "),
    (raising(BaseException()), "raises BaseException (test_ports.py line "),
    (lambda given: np.linalg.cholesky(given["x"]), '(lambda given: np.linalg.cholesky(given["x"])'),  # not NumPy's
    (raising(PortFault("no device")), "no device"),
    (lambda given: time.sleep(100), "does not answer within 0.2 s"),
    (swallow_everything, "does not answer within 0.2 s"),
])  # fmt: skip
def test_an_object_that_misbehaves_has_its_verdict(before, expected):
    assert expected in verdict_on(Port(before), timeout=0.2)
    assert verdict_on(Port()) is None


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        call_port(Port(raising(KeyboardInterrupt())), CASE)


def test_a_report_keeps_its_numbers_when_the_port_uses_its_memory_again():
    memory = np.zeros(3, np.float32)

    def count(report):
        memory[:] += 1
        return {"db_h": memory}

    first, second = (report_of(Port(after=count))["db_h"] for _ in range(2))
    assert (first[0], second[0]) == (1, 2)


@pytest.mark.parametrize("report", [None, [], 3.0])
def test_what_is_no_report_is_left_to_the_check_of_its_form(report):
    assert call_port(Port(after=lambda right: report), CASE) == (report, None)


def test_a_time_limit_ends_and_leaves_the_alarm_as_it_was():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(TimeLimitExceeded), time_limit(0.05):
            time.sleep(100)
        assert not rang
        with time_limit(100):
            pass
        time.sleep(0.4)
        assert rang
    finally:
        signal.signal(signal.SIGALRM, before)


def test_outside_the_main_thread_there_is_no_time_limit():
    with ThreadPoolExecutor() as pool:
        _, verdict = pool.submit(call_port, Port(lambda given: time.sleep(0.2)), CASE, timeout=0.1).result()
    assert verdict is None


# -- finding objects ------------------------------------------------------------------------------------------------

MODULE = """
import numpy_rnn
from numpy_rnn.conformance.ports.backends import PackagePort

class Bare:
    name, dtypes = "bare", ["float64"]
    def window_update(self, *arguments, **options):
        return PackagePort(numpy_rnn).window_update(*arguments, **options)

class Full(Bare):
    capabilities, tanh_ulps = ("intermediates", "sgd_options"), 2

def make():
    return Full()

def fail():
    return {}["device"]

class Holder:
    bare = Bare()

class Uncallable(Bare):
    window_update = 3

class Boastful(Bare):
    capabilities = ("adam",)

bare, number = Bare(), 3
"""


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """The working directory is a folder with modules in it, and sys.path does not name it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    for name, text in {"a_port": MODULE, "needy": "import no_such_thing", "wrong": "def", "leaver": "exit(3)"}.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("path", ["bare", "Bare", "make", "Full", "Holder.bare"])
def test_an_object_a_class_or_a_factory_is_found(in_folder, path):
    port = load_python_port(f"a_port:{path}")
    full = path in ("make", "Full")
    assert (port.name, port.dtypes) == ("bare", ("float64",))
    assert (port.capabilities, port.tanh_ulps) == ((("intermediates", "sgd_options"), 2) if full else ((), None))
    assert verdict_on(port, a_case("float64")) is None


REFUSED = {
    ":port": ": expected module:object, as my_module:port",
    "a_port:": ": expected module:object, as my_module:port",
    "no_such:x": ": there is no module no_such, installed or in this directory",
    "needy:x": ": needy needs no_such_thing, which is not installed",
    "wrong:x": ": importing wrong raises SyntaxError",
    "leaver:x": ": importing leaver raises SystemExit: 3",
    "a_port:bare.missing": ": a_port has no bare.missing",
    "a_port:fail": ": calling fail() raises KeyError: 'device'",
    "a_port:number": " has no name, dtypes, window_update: expected name, dtypes and",
    "a_port:Uncallable": ": window_update is a int: expected a function",
    "a_port:Boastful": ": capabilities names 'adam': known: intermediates, input_gradients",
}


@pytest.mark.parametrize("where", REFUSED)
def test_what_is_no_port_is_refused_in_one_clear_line(in_folder, where):
    with pytest.raises(InputError) as error:
        load_python_port(where)
    assert str(error.value).startswith(f"port {where!r}{REFUSED[where]}")
    assert "\n" not in str(error.value)
