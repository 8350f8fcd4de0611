"""The command `compare` and what fails: wrong ports, programs that hang or die, traces and names that are none."""

import json

import numpy as np
import pytest
from in_process import command

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.conformance.__main__ import main as main_of_suite
from numpy_rnn.conformance.traces.drive import trace_of

SHORT = Configuration(epochs=3, k1=3, k2=5, hidden_size=5, dtype="float64", bias=True)


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda *arguments: command(numpy_rnn, capsys, "compare", *arguments, "--no-plot")


def test_a_wrong_port_fails_with_its_fault(run, tmp_path):
    (tmp_path / "wrong.py").write_text(
        "from numpy_rnn.conformance.ports.backends import PackagePort\n"
        "from numpy_rnn.conformance.mutants.catalogue import load, named\n"
        "port = PackagePort(load(named('h_t for h_{t-1} in dW_hh')))\n",
        encoding="utf-8",
    )
    status, output, _ = run("wrong:port", "--epochs", "2", "--json", "found.json")
    assert status == 1
    assert "diverges first in epoch 1, update 1: dW_hh (B5)" in output
    assert "every stage before it is within its bound, so the fault is in this stage" in output
    assert "looks like: h_t for h_{t-1} in dW_hh" in output
    first = json.loads((tmp_path / "found.json").read_text())["sides"][1]["first_divergence"]
    assert (first["tensor"], first["equation"]) == ("dW_hh", "B5")
    assert first["ratio"] > 1


def test_a_port_is_compared_on_what_it_has(run, tmp_path):
    """A port without the options is refused them in one line; with them, it is given them and judged."""
    (tmp_path / "some.py").write_text(
        "import numpy_rnn\n"
        "from numpy_rnn.conformance.ports.backends import PackagePort\n"
        "class Plain(PackagePort):\n"
        "    capabilities = ('intermediates',)\n"
        "plain, full = Plain(numpy_rnn), PackagePort(numpy_rnn)\n"
        "plain.name, full.name = 'a plain port', 'a full port'\n",
        encoding="utf-8",
    )
    options = ["--epochs", "1", "--momentum", "0.9"]
    status, output, error = run("some:plain", *options)
    assert (status, error.count("\n")) == (2, 1)
    assert "a plain port does not declare 'sgd_options': choose a run without momentum" in error
    status, output, error = run("some:plain", "--epochs", "1", "--learn-initial-state")
    assert status == 2
    assert "a plain port does not declare 'learned_h_0': choose a run without a learned initial state" in error
    status, output, error = run("some:plain", "--epochs", "1")
    assert status == 0, output + error
    status, output, error = run("some:full", *options, "--learn-initial-state")
    assert status == 0, output + error
    assert "vh_0      U5" in output


def test_a_port_that_fails_hangs_or_exceeds_its_own_bound_has_a_verdict(run, tmp_path):
    (tmp_path / "failing.py").write_text(
        "import time\n"
        "import numpy_rnn\n"
        "from numpy_rnn.conformance.ports.backends import PackagePort\n"
        "class port:\n"
        "    name, dtypes = 'failing', ('float32',)\n"
        "    def window_update(self, *arrays, **options):\n"
        "        raise ValueError('no window today')\n"
        "class hanging(port):\n"
        "    def window_update(self, *arrays, **options):\n"
        "        time.sleep(5)\n"
        "class inexact(PackagePort):\n"
        "    tanh_ulps = 1\n"
        "    def __init__(self):\n"
        "        super().__init__(numpy_rnn)\n"
        "        self.name = 'inexact'\n"
        "    def window_update(self, *arrays, **options):\n"
        "        report = super().window_update(*arrays, **options)\n"
        "        return report | {'h': report['h'] * report['h'].dtype.type(1 + 5e-7)}\n",
        encoding="utf-8",
    )
    status, output, _ = run("failing:port", "--epochs", "1")
    assert status == 1
    assert "failing, epoch 1, update 1: raises ValueError: no window today" in output
    status, output, _ = run("failing:hanging", "--port-timeout", "0.1", "--epochs", "1")
    assert status == 1
    assert "failing, epoch 1, update 1: does not answer within 0.1 s" in output
    status, output, _ = run("failing:inexact", "--epochs", "1")
    assert status == 1
    assert "inexact diverges first in epoch 1, update 1, step 1: h (F2)" in output
    status, _, error = run("failing:port", "--dtype", "float64")
    assert status == 2
    assert "failing does not support float64: choose --dtype float32" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dW_hh": None}, "dW_hh is missing"),
        ({"y": np.nan}, "is nan: expected a finite number"),
        ({"format": np.bytes_(b"other")}, "has no format 'elman-trace 3'"),
    ],
)
def test_what_is_no_trace_is_refused(run, tmp_path, change, message):
    arrays = trace_of(numpy_rnn, prepare(SHORT), SHORT)
    for name, value in change.items():
        if value is None:
            del arrays[name]
        else:
            arrays[name] = arrays[name] * value if isinstance(value, float) else value
    np.savez(tmp_path / "bad.npz", **arrays)
    status, _, error = run("bad.npz")
    assert status == 2
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("absent", "unknown implementation 'absent': expected a package"),
        ("absent.npz", "trace file absent.npz does not exist"),
        ("os", "'os' has no from_numpy"),
        ("numpy_rnn", "is this package itself"),
        ("absent:port", "there is no module absent"),
        ("numpy_rnn.reference numpy_rnn.reference", "numpy_rnn.reference is given twice"),
        ("t.npz u.npz", "t.npz and u.npz are both traces: expected at most one"),
    ],
)
def test_what_is_nothing_is_refused(run, other, message):
    for name in ("t.npz", "u.npz") if "u.npz" in other else ():
        np.savez(name, **trace_of(numpy_rnn, prepare(SHORT), SHORT))
    status, output, error = run(*other.split())
    assert (status, output) == (2, "")
    assert message in error
    assert error.count("\n") == 1


PROGRAMS_THAT_FAIL = {
    "exit 3": "./port, at its start: ends with exit status 3 and without an answer",
    "kill -9 $$": "./port, at its start: ends by SIGKILL and without an answer",
    "sleep 100": "./port, at its start: does not answer within 0.5 s (does it flush its output?)",
    "read q; echo; sleep 100": "./port, at its start: answers what is not JSON: ",
    """read q; echo '{"protocol": 7}'""": "./port, at its start: speaks protocol version 7: known: 1",
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
    timeout = ["--port-timeout", "0.5" if "sleep 100" in script else "60"]
    status, output, error = run("./port", *timeout, "--epochs", "1")
    *_, verdict = output.splitlines()
    assert (status, verdict, error) == (1, PROGRAMS_THAT_FAIL[script], "")
    assert main_of_suite(["long", "--backend", "./port", "--dtype", "float32", *timeout]) == 1
    *_, verdict = capsys.readouterr().out.splitlines()
    assert verdict == PROGRAMS_THAT_FAIL[script]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["./port 'x"], "is not a command: No closing quotation; expected one as in a shell"),
        (["./port", "--port-timeout", "nan"], "'nan': expected a finite number, above 0"),
        (["./port", "--port-timeout", "0"], "'0': expected a finite number, above 0"),
    ],
)
def test_a_command_that_cannot_be_read_is_refused(run, capsys, options, message):
    for status, error in (
        run(*options)[::2],
        (main_of_suite(["long", "--backend", *options]), capsys.readouterr().err),
    ):
        assert status == 2
        assert message in error
        assert error.count("\n") == 1
