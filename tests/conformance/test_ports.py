"""Ports in Python: found by name, called with copies, a line for each fault. One that
ends or stalls the process passes neither the suite nor `compare`.
"""

import importlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from numpy_rnn.common.commands import is_package
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.ports.abilities import Abilities
from numpy_rnn.conformance.ports.guard import guarded
from numpy_rnn.conformance.ports.port import stated_port
from numpy_rnn.conformance.ports.protocol import PortFault, port_arguments
from numpy_rnn.conformance.ports.user_code import call_port, find_port
from tests.helpers.comparing import arrays_in, share_memory
from tests.helpers.ports import CASE, FULL, Port, verdict_on


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


def raising(error):
    def before(arguments):
        raise error

    return before


def test_port_is_given_copies():
    """It may update them in place, as most hand-written code does."""
    calls = []
    assert verdict_on(Port(calls.append), FULL) is None
    arrays = arrays_in(port_arguments(FULL))
    copies = arrays_in(calls[0])
    assert len(arrays) == len(copies) == 13
    assert not share_memory(arrays, copies)
    assert all(map(np.array_equal, arrays, copies))


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (lambda arguments: arguments["params"].pop("W_hh"), "raises TypeError"),
        (
            raising(ValueError("bad\nshape")),
            "raises ValueError: bad shape (test_ports.py",
        ),
        (raising(SystemExit(3)), "raises SystemExit: 3 (test_ports.py"),
        (raising(Unprintable()), "raises Unprintable, whose message cannot be printed"),
        (raising(PortFault("no device")), "no device"),
        (lambda arguments: arguments["target"].fill(2), "changes target in place"),
        (lambda arguments: arguments["h_0"].fill(2), "changes h_0 in place"),
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

    first, second = (
        call_port(stated_port(Port(after=count)), CASE)["db_h"] for _ in range(2)
    )
    assert (first[0], second[0]) == (1, 2)


def test_python_float_is_rounded_to_the_dtype():
    """A float32 loss that is summed as a number of Python is not a float32 number."""
    double = 0.1
    port = Port(after=lambda report: report | {"loss": double})
    report = call_port(stated_port(port), CASE)
    assert report["loss"].dtype == np.float32
    assert float(report["loss"]) == float(np.float32(double)) != double
    wrong = Port(after=lambda report: report | {"loss": np.float64(double)})
    assert verdict_on(wrong) == "loss is float64: expected float32"


def test_tensor_that_is_missing_or_has_another_shape_is_named():
    assert verdict_on(Port(after=lambda report: {})) == "a is missing"
    other = Port(after=lambda report: report | {"db_h": report["db_h"][:1]})
    assert verdict_on(other) == "db_h has shape (1,): expected (3,)"


def test_wrong_shape_is_told_before_a_wrong_dtype():
    """A forgotten sum, as db_h = da, often has another dtype too."""
    other = Port(after=lambda report: report | {"db_h": np.ones((2, 3))})
    message = "db_h has shape (2, 3) and is float64: expected (3,) and float32"
    assert verdict_on(other) == message


MODULE = """
from tests.helpers.ports import Port

class Bare(Port):
    name, dtypes, tanh_ulps = "bare", ["float32"], 2

class Failing(Bare):
    def window_update(self, *_, **given):
        given["x"].dot()

def loss_fun(p, x, target, h_0):
    pass

bare, number, boastful = Bare(), 3, Bare(capabilities=("adam",))
"""


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    """Put modules into the working directory, which sys.path does not name."""
    paths = [path for path in sys.path if path not in ("", str(tmp_path))]
    monkeypatch.setattr(sys, "path", paths)
    texts = {"a_port": MODULE, "needy": "import no_such_thing", "leaver": "exit(3)"}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.parametrize("path", ["bare", "Bare"])
def test_object_or_class_is_found(in_folder, path):
    port = find_port(f"a_port:{path}")
    assert (port.name, port.tanh_ulps) == ("bare", 2)
    assert port.abilities == Abilities(dtypes=("float32",))
    assert verdict_on(port) is None
    verdict = verdict_on(find_port("a_port:Failing"))
    assert verdict.endswith('(a_port.py line 9: given["x"].dot())')


REFUSED_BACKENDS = (
    ":port",
    "no_such:x",
    "needy:x",
    "leaver:x",
    "a_port:number",
    "a_port:boastful",
    "a_port:loss_fun",
    "a_port.py",
    "a_port.py:bare",
)


def test_no_port_is_refused_in_one_line(in_folder):
    for where in REFUSED_BACKENDS:
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


# Ports that end or stall the process

PORT = """
import os, sys, threading, time
import numpy_rnn
from numpy_rnn.conformance.ports.port import PackagePort

class Port(PackagePort):
    def __init__(self):
        super().__init__(numpy_rnn)
        self.name, self.calls = "leaver", 0

    def window_update(self, *arrays, **options):
        self.calls += 1
        if self.calls == 3:
            {at_call_3}
        return super().window_update(*arrays, **options)

port = Port()
{at_end}
"""
LEAVER = """
import os
from numpy_rnn import *

def train(*_, **__):
    os._exit(0)
"""
COMMANDS = {
    # Without other plugins, which take time.
    "suite": "pytest -p numpy_rnn.conformance.plugin --pyargs numpy_rnn.conformance "
    "--elman-examples 20 --elman-seed 1 --elman-backend leaver:port",
    "compare": "numpy_rnn compare --epochs 1 leaver:port",
    "package": "numpy_rnn compare --epochs 1 leaver",
}


def port_text(at_call_3="pass", at_end=""):
    """Return the text of a module with a port."""
    return PORT.format(at_call_3=at_call_3, at_end=at_end)


def run_leaver(folder, text, command, *options):
    """Run a command where the package `leaver` has this text."""
    (folder / "leaver").mkdir()
    (folder / "leaver" / "__init__.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", *COMMANDS[command].split(), *options],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )


EXITS = [
    ("suite", port_text("os._exit(0)"), "leaver raises SystemExit: os._exit(0)"),
    (
        "package",
        LEAVER,
        "FAILED an implementation ends the process: os._exit(0)",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "text", "expected"), EXITS)
def test_exit_of_a_port_is_a_failure(tmp_path, command, text, expected):
    done = run_leaver(tmp_path, text, command)
    assert done.returncode == 1, done
    assert expected in done.stdout


@pytest.mark.slow
def test_hang_of_a_port_is_a_failure(tmp_path):
    """The time limit of the first answers is six times that of the option."""
    text = port_text("time.sleep(100)")
    done = run_leaver(tmp_path, text, "compare", "--timeout", "0.2")
    assert done.returncode == 1, done
    expected = "leaver raises TimeoutError: there is no answer within 1.2 s"
    assert expected in done.stdout


@pytest.mark.slow
def test_verdict_is_printed_whatever_a_port_does_to_the_interpreter(tmp_path):
    at_call_3 = "sys.setrecursionlimit(60); sys.stdout.close(); sys.stdout = None"
    done = run_leaver(tmp_path, port_text(at_call_3), "suite")
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS leaver" in done.stdout


def test_time_limit_leaves_another_alarm():
    """Such as that of pytest-timeout, which rings when it would have rung."""
    timer = signal.setitimer(signal.ITIMER_REAL, 100)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"within 0\.1 s"), guarded(0.1):
        time.sleep(10)
    left = signal.setitimer(signal.ITIMER_REAL, *timer)[0]
    passed = time.monotonic() - began
    assert 99.9 - passed < left < 100


IN_THREAD = "threading.Thread(target=os._exit, args=(0,)).start(); time.sleep(100)"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [port_text(IN_THREAD), port_text(at_end="os._exit(0)")],
    ids=["thread", "import"],
)
def test_exit_of_a_thread_or_at_import_is_no_success(tmp_path, text):
    done = run_leaver(tmp_path, text, "compare")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1
    assert "os._exit(0)" in done.stderr


@pytest.mark.slow
@pytest.mark.needs_matplotlib
def test_port_that_changes_the_folder_moves_no_plot(tmp_path):
    text = port_text(at_end="os.chdir('/')")
    done = run_leaver(tmp_path, text, "compare", "--plot", "p.png")
    assert done.returncode == 0, done
    assert (tmp_path / "p.png").is_file()


FORK = """
import os
from numpy_rnn.conformance.ports.guard import guarded

with guarded():
    child = os.fork()
    if child == 0:
        os._exit(3)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_forked_child_ends():
    """The fork is in a process of its own, as JAX warns of one where it has threads."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_process_is_not_replaced_by_another_program():
    with guarded(), pytest.raises(SystemExit, match=r"os.execv\("):
        os.execlp("false", "false")  # without a guard, pytest ends with status 1
