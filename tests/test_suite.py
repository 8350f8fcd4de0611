"""The suite as a user runs it: pytest --pyargs numpy_rnn.conformance --backend PORT, in a process of its own."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PORT = """
import numpy as np
import numpy_rnn
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.mutants.loading import load, named

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
"""


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "ports.py").write_text(PORT, encoding="utf-8")

    def run(*options):
        command = [
            sys.executable,
            "-m",
            "pytest",
            "--pyargs",
            "numpy_rnn.conformance",
            "-p",
            "no:cacheprovider",
            *options,
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    run.folder = tmp_path
    return run


def test_right_port_passes_every_level(suite):
    status, output = suite("--backend", "ports:right", "--port-report", "report.json")
    assert status == 0, output
    assert "6 passed" in output
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
    status, output = suite("--backend", "ports:BlackBox")
    assert status == 0, output
    assert "level L1 is left out: the port reports no intermediate values" in output
    assert "2 passed, 1 deselected" in output


def test_wrong_port_fails_with_stage_and_hint(suite):
    status, output = suite("--backend", "ports:Wrong", "--port-level", "L1")
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
    status, output = suite("--backend", f"ports:{port}", "--port-level", "L2")
    assert status == 1
    assert what in output


def test_known_failures_are_strict(suite):
    names = suite.folder / "known.txt"
    names.write_text("test_local[float32]  # known\ntest_local[float64]\n\n", encoding="utf-8")
    status, output = suite("--backend", "ports:Wrong", "--port-level", "L1", "--port-xfail", "known.txt")
    assert status == 0, output
    assert "2 xfailed" in output
    status, output = suite("--backend", "ports:right", "--port-level", "L1", "--port-xfail", "known.txt")
    assert status == 1
    assert "[XPASS(strict)]" in output
    names.write_text("test_lokal[float32]", encoding="utf-8")
    status, output = suite("--backend", "ports:right", "--port-xfail", "known.txt")
    assert status == 4
    assert "names no test: test_lokal[float32]" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "name the port to hold: --backend module:object, or --backend-cmd 'program'"),
        (["--backend", "ports:nothing"], "ports has no nothing"),
        (["--backend", "absent:port"], "there is no module absent"),
        (["--backend-cmd", "./absent"], "No such file"),
        (["--backend", "ports:right", "--port-xfail", "absent.txt"], "--port-xfail absent.txt cannot be read"),
    ],
)
def test_what_cannot_be_run_is_said(suite, options, message):
    status, output = suite(*options)
    assert status == 4
    assert message in output
    assert "Traceback" not in output


def test_a_sloppy_tanh_is_said(suite):
    _, output = suite("--backend", "ports:Sloppy", "--port-level", "L3")
    assert "tanh within 1e+12 ulps, over 8: no strict pass" in output


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


def test_a_program_is_a_port(suite):
    (suite.folder / "port.py").write_text(PROGRAM, encoding="utf-8")
    status, output = suite("--backend-cmd", f"{sys.executable} port.py", "--port-level", "L2")
    assert status == 0, output
    assert "port: a program, float64" in output
