"""The command `compare` and what fails: wrong ports, programs that hang or die, traces and names that are none."""

import json
import sys

import numpy as np
import pytest
from in_process import command

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.__main__ import main as main_of_suite
from numpy_rnn.conformance.traces.drive import trace_of

SHORT = Configuration(epochs=1, k1=3, k2=5, hidden_size=5, dtype="float64", bias=True)
PORTS = """
import time
import numpy_rnn
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.conformance.ports.backends import PackagePort


class Plain(PackagePort):
    capabilities = ("intermediates",)


class Inexact(PackagePort):
    tanh_ulps = 1

    def window_update(self, *arrays, **options):
        report = super().window_update(*arrays, **options)
        return report | {"h": report["h"] * report["h"].dtype.type(1 + 5e-7)}


class Failing:
    name, dtypes = "failing", ("float32",)

    def window_update(self, *arrays, **options):
        raise ValueError("no window today")


class Hanging(Failing):
    def window_update(self, *arrays, **options):
        time.sleep(5)


wrong = PackagePort(load(named("h_t for h_{t-1} in dW_hh")))
plain, full, inexact = Plain(numpy_rnn), PackagePort(numpy_rnn), Inexact(numpy_rnn)
plain.name, full.name, inexact.name = "a plain port", "a full port", "inexact"
"""


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs `compare` in a folder with the ports above, and with a trace twice and two bad ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "some", raising=False)
    (tmp_path / "some.py").write_text(PORTS, encoding="utf-8")
    trace = trace_of(numpy_rnn, prepare(SHORT), SHORT)
    for name in ("t.npz", "u.npz"):
        np.savez(name, **trace)
    np.savez("short.npz", **{name: array for name, array in trace.items() if name != "dW_hh"})
    np.savez("nan.npz", **trace | {"y": trace["y"] * np.nan})
    return lambda *arguments: command(numpy_rnn, capsys, "compare", *arguments, "--no-plot")


def test_a_wrong_port_fails_with_its_fault(run):
    status, output, _ = run("some:wrong", "--epochs", "1", "--json", "found.json")
    assert status == 1
    assert "diverges first in epoch 1, update 1: dW_hh (B5)" in output
    assert "every stage before it is within its bound, so the fault is in this stage" in output
    assert "looks like: h_t for h_{t-1} in dW_hh" in output
    with open("found.json", encoding="utf-8") as file:
        first = json.load(file)["sides"][1]["first_divergence"]
    assert (first["tensor"], first["equation"]) == ("dW_hh", "B5")
    assert first["ratio"] > 1


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ("some:Failing", "failing, epoch 1, update 1: raises ValueError: no window today"),
        ("some:Hanging --port-timeout 0.1", "failing, epoch 1, update 1: does not answer within 0.1 s"),
        ("some:inexact", "inexact diverges first in epoch 1, update 1, step 1: h (F2)"),
    ],
)
def test_a_port_that_fails_hangs_or_exceeds_its_own_bound_has_a_verdict(run, arguments, verdict):
    status, output, _ = run(*arguments.split(), "--epochs", "1")
    assert status == 1
    assert verdict in output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("some:plain", "numpy_rnn and a plain port agree"),
        ("some:full --momentum 0.9 --learn-initial-state", "vh_0      U5"),
    ],
)
def test_a_port_is_compared_on_what_it_has(run, arguments, said):
    status, output, error = run(*arguments.split(), "--epochs", "1")
    assert status == 0, output + error
    assert said in output


REFUSED = {
    "some:plain --epochs 1 --momentum 0.9": "does not declare 'sgd_options': choose a run without momentum",
    "some:plain --epochs 1 --learn-initial-state": "choose a run without a learned initial state",
    "some:Failing --epochs 1 --dtype float64": "failing does not support float64: choose --dtype float32",
    "absent": "unknown implementation 'absent': expected a package",
    "absent.npz": "trace file absent.npz does not exist",
    "os": "'os' has no from_numpy",
    "numpy_rnn": "is this package itself",
    "absent:port": "there is no module absent",
    "numpy_rnn.reference numpy_rnn.reference": "numpy_rnn.reference is given twice",
    "t.npz --port-timeout nan": "'nan': expected a finite number, above 0",
    "'./port": "is not a command: No closing quotation; expected one as in a shell",
    "short.npz": "dW_hh is missing",
    "nan.npz": "is nan: expected a finite number",
    "t.npz u.npz": "t.npz and u.npz are both traces: expected at most one",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_cannot_be_compared_is_refused(run, arguments):
    status, _, error = run(*arguments.split())
    assert status == 2
    assert REFUSED[arguments] in error
    assert error.count("\n") == 1


PROGRAMS_THAT_FAIL = {
    "sleep 100": "./port, at its start: does not answer within 0.3 s (does it flush its output?)",
    """read q; echo '{"type": "hello", "protocol": 1, "name": "it", "dtypes": ["float32"], "capabilities": []}'""": (
        "it, epoch 1, update 1: ends with exit status 0 and without an answer"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", PROGRAMS_THAT_FAIL)
def test_a_program_that_fails_at_any_time_has_a_verdict(run, capsys, tmp_path, script):
    program = tmp_path / "port"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    timeout = ["--port-timeout", "0.3" if "sleep 100" in script else "60"]
    status, output, error = run("./port", *timeout, "--epochs", "1")
    *_, verdict = output.splitlines()
    assert (status, verdict, error) == (1, PROGRAMS_THAT_FAIL[script], "")
    assert main_of_suite(["long", "--backend", "./port", "--dtype", "float32", *timeout]) == 1
    *_, verdict = capsys.readouterr().out.splitlines()
    assert verdict == PROGRAMS_THAT_FAIL[script]
