"""The suite as a user runs it: pytest --pyargs numpy_rnn.conformance --elman-backend PORT, in a process of its own."""

import contextlib
import json
import os
import signal
import sys
import time

import children
import numpy as np
import pytest

from numpy_rnn.conformance.properties import WorstRatios

pytestmark = pytest.mark.slow

PORT = """
import numpy as np
import numpy_rnn
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.mutants.catalogue import load, named

right = PackagePort(numpy_rnn)


class BlackBox:
    name, dtypes, capabilities = "black box", ("float64",), ()

    def window_update(self, *arrays, **options):
        report = right.window_update(*arrays, **options)
        return {name: array for name, array in report.items() if name not in ("a", "h", "y", "dy", "dh", "da")}


class Wrong(PackagePort):
    def __init__(self):
        super().__init__(load(named("W_hh used without its transpose")))


class Forgetful(BlackBox):
    def window_update(self, *arrays, **options):
        report = super().window_update(*arrays, **options)
        del report["dW_hy"]
        return report


class NotANumber(BlackBox):
    def window_update(self, *arrays, **options):
        report = super().window_update(*arrays, **options)
        return report | {"dW_hy": report["dW_hy"] * np.nan}


class Sloppy(BlackBox):
    tanh_ulps = 1e12


class Infinity(PackagePort):
    def __init__(self):
        super().__init__(numpy_rnn)
        self.name = "Infinity RNN"
"""


PYTEST = [sys.executable, "-m", "pytest", "--pyargs", "numpy_rnn.conformance", "-p", "no:cacheprovider"]


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "ports.py").write_text(PORT, encoding="utf-8")

    def run(*options):
        command = [*PYTEST, *options]
        done = children.run(command, cwd=tmp_path, env=children.environment())
        return done.returncode, done.stdout + done.stderr

    run.folder = tmp_path
    return run


def test_right_port_passes_every_level(suite):
    status, output = suite("--elman-backend", "ports:right", "--elman-report", "report.json")
    assert status == 0, output
    assert "6 passed" in output
    assert "sizes of the checked windows: B 1 to " in output
    report = json.loads((suite.folder / "report.json").read_text())
    assert report["port"] == "numpy_rnn"
    for level in ("L1", "L2", "L3"):
        for dtype in ("float32", "float64"):
            worst = report["levels"][level][dtype]
            assert {"loss", "dW_xh", "dW_hh", "dW_hy", "dx", "dh_0", "W_hh"} <= set(worst)
            if level != "L3":  # whose few runs do not have every option each time
                assert {"db_h", "db_y", "vW_xh", "vb_y", "vh_0", "h_0"} <= set(worst)
            assert all(0 <= entry["ratio"] <= 1 and entry["case"] for entry in worst.values())


def test_black_box_is_held_to_what_it_reports(suite):
    status, output = suite("--elman-backend", "ports:BlackBox")
    assert status == 0, output
    assert "level L1 is not checked: the port reports no intermediate values" in output
    assert "2 passed, 1 deselected" in output


def test_wrong_port_fails_with_stage_and_hint(suite):
    status, output = suite("--elman-backend", "ports:Wrong", "--elman-level", "L1")
    assert status == 1
    assert "2 failed, 4 deselected" in output
    assert "dh (B2)" in output
    assert "looks like: W_hh used without its transpose" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("port", "what"),
    [("Forgetful", "dW_hy is missing"), ("NotANumber", "is nan: expected a finite number")],
)
def test_reports_of_wrong_form_fail(suite, port, what):
    status, output = suite("--elman-backend", f"ports:{port}", "--elman-level", "L2")
    assert status == 1
    assert what in output


def test_known_failures_are_strict(suite):
    names = suite.folder / "known.txt"
    names.write_text("test_local[float32]  # known\ntest_local[float64]\n\n", encoding="utf-8")
    status, output = suite("--elman-backend", "ports:Wrong", "--elman-level", "L1", "--elman-xfail", "known.txt")
    assert status == 0, output
    assert "2 xfailed" in output
    status, output = suite("--elman-backend", "ports:right", "--elman-level", "L1", "--elman-xfail", "known.txt")
    assert status == 1
    assert "[XPASS(strict)]" in output
    names.write_text("test_lokal[float32]", encoding="utf-8")
    status, output = suite("--elman-backend", "ports:right", "--elman-xfail", "known.txt")
    assert status == 4
    assert "names no test: 'test_lokal[float32]': expected test_local[float32], test_local[float64], " in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no implementation to test: expected --elman-backend module:object or --elman-command 'program'"),
        (["--elman-backend", "ports:nothing"], "ports has no nothing"),
        (["--elman-backend", "absent:port"], "there is no module absent"),
        (["--elman-command", "./absent"], "No such file"),
        (["--elman-backend", "ports:right", "--elman-xfail", "absent.txt"], "--elman-xfail absent.txt cannot be read"),
        (["--elman-backend", "ports:right", "--elman-xfail", "binary"], "--elman-xfail binary is not text: expected"),
        (["--elman-backend", "ports:right", "--elman-report", "no/r.json"], "--elman-report no/r.json: the folder"),
        (["--elman-backend", "ports:right", "--elman-report", "."], "--elman-report . is a folder: expected the name"),
        (["--elman-backend", "ports:right", "--elman-timeout", "nan"], "'nan': expected a finite number, above 0"),
        (["--elman-backend", "ports:right", "--elman-timeout", "0"], "'0': expected a finite number, above 0"),
        (["--elman-command", "./port 'x"], "cannot be started: No closing quotation"),
    ],
)
def test_what_cannot_be_run_is_said(suite, options, message):
    (suite.folder / "binary").write_bytes(b"\xff\xfe\x00")
    status, output = suite(*options)
    assert status == 4
    assert message in output
    assert "Traceback" not in output
    assert "INTERNALERROR" not in output


def test_without_hypothesis_it_is_one_line(suite):
    (suite.folder / "hypothesis.py").write_text("raise ModuleNotFoundError('x', name='hypothesis')", encoding="utf-8")
    status, output = suite("--elman-backend", "numpy_rnn")
    assert status == 4
    assert "hypothesis is not installed: the equivalence suite needs it; run pip install" in output
    assert output.count("\n") < 5


def test_the_options_stand_beside_those_of_any_other_project(suite):
    """A conftest of somebody else has options of the same everyday names, and a test that uses them; one of these names
    is taken where pytest-timeout is loaded.
    """
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


def test_options_and_findings_survive_xdist(suite):
    """Two workers find together what one process finds: the same cases in every run of the profile ci."""
    common = "--elman-backend", "ports:Infinity", "--elman-level", "L1", "--elman-profile", "ci", "--elman-report"
    for options in (["one.json"], ["two.json", "-n", "2"]):
        status, output = suite(*common, *options)
        assert status == 0, output
    one, two = (json.loads((suite.folder / name).read_text()) for name in ("one.json", "two.json"))
    assert one["port"] == "Infinity RNN"
    assert set(one["levels"]["L1"]) == {"float32", "float64"}
    assert two == one


def test_a_report_that_cannot_be_written_leaves_the_results(suite):
    """Its folder goes while the tests run: one line says so, after the results, and nothing is half written."""
    (suite.folder / "reports").mkdir()
    (suite.folder / "vanishing.py").write_text(
        "import os\nfrom ports import right\n"
        "class port(type(right)):\n"
        "    def __init__(self): super().__init__(right.rnn)\n"
        "    def window_update(self, *a, **b):\n"
        "        if os.path.exists('reports'): os.rmdir('reports')\n"
        "        return super().window_update(*a, **b)\n",
        encoding="utf-8",
    )
    common = "--elman-backend", "vanishing:port", "--elman-level", "L1", "--elman-report", "reports/r.json"
    status, output = suite(*common)
    assert status == 4
    assert "2 passed" in output
    assert "ERROR: --elman-report reports/r.json cannot be written: No such file or directory" in output
    assert "Traceback" not in output


def test_tallies_are_merged():
    one, other = WorstRatios(), WorstRatios()
    one.note("L1", "float32", "a", 0.5, "x")
    for tensor, ratio in (("a", 0.25), ("h", np.inf)):
        other.note("L1", "float32", tensor, ratio, "y")
    one.merge(other.worst, {})
    expected = {"a": {"ratio": 0.5, "case": "x"}, "h": {"ratio": np.inf, "case": "y"}}
    assert one.worst == {"L1": {"float32": expected}}


def test_a_sloppy_tanh_is_said(suite):
    _, output = suite("--elman-backend", "ports:Sloppy", "--elman-level", "L3")
    assert "tanh within 1e+12 ulps, above 8: not a strict pass" in output


PROGRAM = """
import json, sys
import numpy as np
import numpy_rnn
from numpy_rnn.conformance.ports.backends import PackagePort

port = PackagePort(numpy_rnn)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["type"] == "hello":
        answer = {"type": "hello", "protocol": 1, "name": "a program", "dtypes": ["float64"], "capabilities": []}
    else:
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


def test_a_fault_that_does_not_come_again_is_one_verdict(suite):
    """The program dies at its 40th case; started again, it answers the same case rightly."""
    dying = PROGRAM.replace("    else:\n", "    elif asked['id'] == 40:\n        sys.exit(7)\n    else:\n", 1)
    (suite.folder / "port.py").write_text(dying, encoding="utf-8")
    status, output = suite("--elman-command", f"{sys.executable} port.py", "--elman-level", "L2")
    assert status == 1
    assert "ends with exit status 7 and without an answer" in output
    assert "gives different answers to the same case: " in output
    assert not any(word in output for word in ("Traceback", "FlakyFailure", "ExceptionGroup"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_no_port_outlives_a_suite_that_is_ended(suite, number):
    """The program hangs at its first case, and does not look at its input."""
    hanging = PROGRAM.replace(
        "    else:\n", "    else:\n        import os, time\n        open('pid', 'w').write(f'{os.getpid()} ')\n"
        "        time.sleep(100)\n", 1)  # fmt: skip
    (suite.folder / "port.py").write_text(hanging, encoding="utf-8")
    command = [*PYTEST, "--elman-command", f"{sys.executable} port.py", "--elman-timeout", "90"]
    with children.start(command, cwd=suite.folder) as running:
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


def test_a_program_is_a_port(suite):
    (suite.folder / "port.py").write_text(PROGRAM, encoding="utf-8")
    status, output = suite("--elman-command", f"{sys.executable} port.py", "--elman-level", "L2")
    assert status == 0, output
    assert "port: a program, float64" in output
