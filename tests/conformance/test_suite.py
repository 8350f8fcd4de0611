"""The suite as a user runs it: pytest --pyargs numpy_rnn.conformance --elman-backend PORT.

Most runs are in this process, with few cases. What needs a process of its own is in one: xdist, signals, other options.
"""

import contextlib
import json
import os
import re
import shlex
import signal
import sys
import time

import children
import numpy as np
import pytest

from numpy_rnn.conformance import properties
from numpy_rnn.conformance.case import SHAPES
from numpy_rnn.conformance.properties import WorstRatios

PORTS = """
import os, time
import numpy as np
import numpy_rnn
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.mutants.catalogue import load, named

right, calls = PackagePort(numpy_rnn), []


class BlackBox:
    name, dtypes, capabilities = "black box", ("float64",), ()
    change = staticmethod(lambda report: None)

    def window_update(self, *arrays, **options):
        calls.append(options)
        report = right.window_update(*arrays, **options)
        self.change(report)
        return {name: array for name, array in report.items() if name not in ("a", "h", "y", "dy", "dh", "da")}


def changed(change):
    return type("Changed", (BlackBox,), {"change": staticmethod(change)})


wrong = PackagePort(load(named("W_hh used without its transpose")))
not_a_number = changed(lambda report: report.update(dW_hy=report["dW_hy"] * np.nan))
slow = changed(lambda report: time.sleep(100))
vanishing = changed(lambda report: os.path.exists("reports") and os.rmdir("reports"))
sloppy = BlackBox()
sloppy.tanh_ulps = 1e12
infinity = PackagePort(numpy_rnn)
infinity.name = "Infinity RNN"
"""
OPTIONS = ["--pyargs", "numpy_rnn.conformance", "-p", "no:cacheprovider"]


@pytest.fixture
def suite(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ports", raising=False)
    monkeypatch.setattr(properties, "PROFILES", {"default": 8, "ci": 16})
    (tmp_path / "ports.py").write_text(PORTS, encoding="utf-8")

    def run(*options):
        status = pytest.main([*OPTIONS, "--capture=no", *options])
        printed = "".join(capsys.readouterr())
        assert "Traceback" not in printed
        assert "INTERNALERROR" not in printed
        return int(status), printed

    run.folder = tmp_path
    return run


def test_right_port_passes_and_its_report_is_written(suite):
    status, output = suite("--elman-backend", "ports:right", "--elman-report", "report.json")
    assert status == 0, output
    assert "6 passed" in output
    assert "sizes of the checked windows: B 1 to " in output
    report = json.loads((suite.folder / "report.json").read_text())
    assert report["port"] == "numpy_rnn"
    for level in ("L1", "L2", "L3"):
        for dtype in ("float32", "float64"):
            worst = report["levels"][level][dtype]
            assert (
                {"loss", "dW_xh", "dW_hh", "dW_hy", "dx", "dh_0", "W_hh"}
                <= set(worst)
                <= {*SHAPES, "window", "initial"}
            )
            assert all(0 <= entry["ratio"] <= 1 for entry in worst.values())
            assert all(set(entry["case"]) >= ({"run"} if level == "L3" else {"T", "seed"}) for entry in worst.values())


# The options, and what is printed: the status, and pieces of the output.
RUNS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "a black box": (
        "--elman-backend ports:BlackBox",
        0,
        ("level L1 is not checked: the port reports no intermediate values", "2 passed, 1 deselected"),
    ),
    "a wrong port, one of whose failures is known": (
        "--elman-backend ports:wrong --elman-level L1 --elman-xfail known.txt",
        1,
        ("1 failed, 4 deselected, 1 xfailed", "dh (B2)", "looks like: W_hh used without its transpose"),
    ),
    "not a number": ("--elman-backend ports:not_a_number --elman-level L2", 1, ("is nan: expected a finite number",)),
    "a wide tanh": (
        "--elman-backend ports:sloppy --elman-level L3",
        0,
        ("tanh within 1e+12 ulps, above 8: not a strict pass",),
    ),
    "known failures that pass": (
        "--elman-backend ports:right --elman-level L1 --elman-xfail known.txt",
        1,
        ("[XPASS(strict)]",),
    ),
    "a folder that goes while the tests run": (
        "--elman-backend ports:vanishing --elman-level L2 --elman-report reports/r.json",
        4,
        ("1 passed", "ERROR: --elman-report reports/r.json cannot be written: No such file or directory"),
    ),
    "nothing": ("", 4, ("no implementation to test: expected --elman-backend module:object or --elman-command",)),
    "no object": ("--elman-backend ports:nothing", 4, ("ports has no nothing",)),
    "no module": ("--elman-backend absent:port", 4, ("there is no module absent",)),
    "no program": ("--elman-command ./absent", 4, ("No such file",)),
    "no command": ('--elman-command "./port \'x"', 4, ("cannot be started: No closing quotation",)),
    "no list": (
        "--elman-backend ports:right --elman-xfail absent.txt",
        4,
        ("--elman-xfail absent.txt cannot be read",),
    ),
    "a binary list": (
        "--elman-backend ports:right --elman-xfail binary",
        4,
        ("binary is not text: expected one test",),
    ),
    "an unknown test": (
        "--elman-backend ports:right --elman-xfail unknown.txt",
        4,
        ("names no test: 'test_lokal[float32]': expected test_local[float32], test_local[float64], ",),
    ),
    "no folder": ("--elman-backend ports:right --elman-report no/r.json", 4, ("--elman-report no/r.json: the folder",)),
    "a folder": (
        "--elman-backend ports:right --elman-report .",
        4,
        ("--elman-report . is a folder: expected the name",),
    ),
    "no time": ("--elman-backend ports:right --elman-timeout nan", 4, ("'nan': expected a finite number, above 0",)),
}


@pytest.mark.parametrize("name", RUNS, ids=[name.replace(" ", "-") for name in RUNS])
def test_a_run_prints_what_it_found(suite, name):
    options, expected_status, pieces = RUNS[name]
    (suite.folder / "reports").mkdir()
    for file, text in {
        "known.txt": b"# both\ntest_local[float64]  # known\n\n",
        "unknown.txt": b"test_lokal[float32]",
        "binary": b"\xff\xfe\x00",
    }.items():
        (suite.folder / file).write_bytes(text)
    status, output = suite(*shlex.split(options))
    assert status == expected_status, output
    assert all(piece in output for piece in pieces), output


def test_the_case_of_a_failure_is_a_small_one(suite):
    _, output = suite("--elman-backend", "ports:wrong", "--elman-level", "L2", "--elman-profile", "ci")
    recipes = re.findall(r"^L2, Recipe\((T=2, B=1, .*?)\): dh", output, re.MULTILINE)
    assert len(recipes) == 2, output
    assert not any("seed" in recipe for recipe in recipes), output  # shrunk to 0, its default


def test_the_profile_is_the_number_of_cases(suite):
    calls = []
    for profile in ("default", "ci"):
        assert suite("--elman-backend", "ports:BlackBox", "--elman-level", "L2", "--elman-profile", profile)[0] == 0
        calls.append(len(sys.modules["ports"].calls))
    assert calls[1] - calls[0] > calls[0]


def test_a_port_that_hangs_is_asked_once(suite):
    """Each smaller case would take as long again."""
    status, output = suite(*shlex.split("--elman-backend ports:slow --elman-level L2 --elman-timeout 0.1"))
    assert (status, len(sys.modules["ports"].calls)) == (1, 1), output
    assert all(piece in output for piece in ("0.1 s at most per answer", "does not answer within 0.1 s")), output


def test_without_hypothesis_it_is_one_line(suite, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy_rnn.conformance.properties", None)  # which imports it
    status, output = suite("--elman-backend", "numpy_rnn")
    assert status == 4
    assert "properties is not installed: the equivalence suite needs it; run pip install" in output
    assert output.count("\n") < 5


def test_ratios_of_workers_are_merged():
    one, other = WorstRatios(), WorstRatios()
    one.note("L1", "float32", "a", 0.5, "x")
    for tensor, ratio in (("a", 0.25), ("h", np.inf)):
        other.note("L1", "float32", tensor, ratio, "y")
    one.merge(other.worst, {})
    expected = {"a": {"ratio": 0.5, "case": "x"}, "h": {"ratio": np.inf, "case": "y"}}
    assert one.worst == {"L1": {"float32": expected}}


PYTEST = [sys.executable, "-m", "pytest", *OPTIONS]


@pytest.mark.slow
def test_results_survive_xdist(suite):
    """Two workers find together what one process finds: the same cases in every run of the profile ci."""
    (suite.folder / "few.py").write_text(
        "from numpy_rnn.conformance import properties\nproperties.PROFILES['ci'] = 16\n", encoding="utf-8"
    )
    common = ["--elman-backend", "ports:infinity", "--elman-level", "L1", "--elman-profile", "ci", "--elman-report"]
    done = children.run([*PYTEST, "-p", "few", "-n", "2", *common, "two.json"], cwd=suite.folder)
    assert done.returncode == 0, done.stdout
    assert suite(*common, "one.json")[0] == 0
    one, two = (json.loads((suite.folder / name).read_text()) for name in ("one.json", "two.json"))
    assert one["port"] == "Infinity RNN"
    assert set(one["levels"]["L1"]) == {"float32", "float64"}
    assert one == two


@pytest.mark.slow
def test_options_of_other_projects_have_the_everyday_names(suite):
    """A conftest of somebody else has them, and a test that uses one; pytest-timeout claims one of them."""
    (suite.folder / "conftest.py").write_text(
        "def pytest_addoption(parser):\n"
        "    for name in ('backend', 'command', 'level', 'profile', 'timeout', 'xfail', 'report', 'port-timeout'):\n"
        "        parser.addoption('--' + name, default=name)\n",
        encoding="utf-8",
    )
    (suite.folder / "test_own.py").write_text(
        "def test_own(pytestconfig):\n    assert pytestconfig.getoption('--backend') == 'mine'\n", encoding="utf-8"
    )
    done = children.run([*PYTEST[:3], "-p", "no:timeout", "--backend", "mine", "test_own.py"], cwd=suite.folder)
    assert done.returncode == 0, done.stdout + done.stderr


PROGRAM = """
import json, sys

for line in sys.stdin:
    asked = json.loads(line)
    if asked["type"] == "hello":
        answer = {"type": "hello", "protocol": 1, "name": "a program", "dtypes": ["float64"], "capabilities": []}
    else:
        import numpy as np
        import numpy_rnn
        from numpy_rnn.conformance.ports.backends import PackagePort

        port = PackagePort(numpy_rnn)
        T, B, D, H, O, K = (asked["sizes"][letter] for letter in "TBDHOK")
        read = lambda values, *shape: np.array([float.fromhex(v) for v in values]).reshape(shape)
        shapes = {"W_xh": (D, H), "W_hh": (H, H), "W_hy": (H, O), "b_h": (H,), "b_y": (O,)}
        params = {name: read(values, *shapes[name]) for name, values in asked["params"].items()}
        series = read(asked["x"], T, B, D), read(asked["target"], K, B, O), read(asked["h_0"], B, H)
        report = port.window_update(params, *series, learning_rate=float.fromhex(asked["learning_rate"]),
                                    nonlinearity=asked["nonlinearity"], reduction=asked["reduction"])
        kept = {name: array for name, array in report.items() if name not in ("a", "h", "y", "dy", "dh", "da")}
        hexed = {name: [float(v).hex() for v in array.ravel()] for name, array in kept.items()}
        answer = hexed | {"id": asked["id"], "loss": float(report["loss"]).hex()}
    print(json.dumps(answer), flush=True)
"""


@pytest.fixture
def program(suite):
    """Writes a port in Python that is a program, with these lines before it answers a case; its command."""

    def write(at_case=""):
        text = PROGRAM.replace("    else:\n", f"    else:\n{at_case}", 1)
        (suite.folder / "port.py").write_text(text, encoding="utf-8")
        return f"{sys.executable} port.py"

    return write


@pytest.mark.slow
def test_a_program_is_a_port(suite, program):
    status, output = suite("--elman-command", program(), "--elman-level", "L2")
    assert status == 0, output
    assert "port: a program, float64" in output
    dying = "        if asked['id'] == 6:\n            sys.exit(7)\n"  # started again, it answers the same case rightly
    status, output = suite("--elman-command", program(dying), "--elman-level", "L2")
    assert status == 1
    assert "ends with exit status 7 and without an answer" in output
    assert "gives different answers to the same case: " in output
    assert not any(word in output for word in ("FlakyFailure", "ExceptionGroup"))
    hanging = "        import time\n        time.sleep(100)\n"
    status, output = suite("--elman-command", program(hanging), "--elman-level", "L2", "--elman-timeout", "0.5")
    assert status == 1
    assert "does not answer within 0.5 s" in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_no_port_outlives_a_suite_that_is_ended(suite, program, number):
    """The program hangs at its first case, and does not look at its input."""
    command = program(
        "        import os, time\n        open('pid', 'w').write(f'{os.getpid()} ')\n        time.sleep(1000)\n"
    )
    with children.start([*PYTEST, "--elman-command", command, "--elman-timeout", "90"], cwd=suite.folder) as running:
        pid = suite.folder / "pid"
        until = time.monotonic() + children.LIMIT
        while not (pid.exists() and pid.read_text().endswith(" ")):
            assert time.monotonic() < until
            time.sleep(0.02)
        running.send_signal(number)
        assert running.wait(children.LIMIT) == -number
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:  # until it is reaped
            os.kill(int(pid.read_text()), 0)
            time.sleep(0.02)
        pytest.fail("the port outlives the suite")
