"""The suite as a user runs it: pytest --pyargs numpy_rnn.conformance --elman-backend
PORT.

Most runs are in this process, with few cases.
"""

import os
import re
import shlex
import sys
import unittest.mock

import pytest

from numpy_rnn.conformance import session
from numpy_rnn.conformance import suite as checking
from numpy_rnn.conformance.ports.abilities import FEW_SIZES
from tests.helpers import program_port

PORTS = """
import time

from tests.helpers.ports import RIGHT as right
from tests.helpers.ports import Layer, Port, Untransposed

calls = []
counted = Port(calls.append, capabilities=())
counted.dtypes = ("float64",)
wrong = Untransposed(has=())
raising = Layer(state=lambda n, w, t, phi: w.a[t].nothing)
late = Layer(state=lambda n, w, t, phi: time.sleep(100))
described = Port(capabilities=())
described.dtypes = ("float64",)
described.tanh_ulps = 9
"""
# No entry points are read, no cache is written, and no garbage is collected.
PLUGINS = "-p no:elman -p numpy_rnn.conformance.plugin "
PLUGINS += "-p no:cacheprovider -p no:unraisableexception"
COMMAND = [*PLUGINS.split(), "--capture=no", "--pyargs", "numpy_rnn.conformance"]
# Without other plugins, which take time.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


@pytest.fixture
def suite(tmp_path, monkeypatch, capsys):
    """Run the suite with few cases where ports.py is: its status and its output."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "ports", raising=False)
    monkeypatch.setattr(checking, "EXAMPLES", 12)
    (tmp_path / "ports.py").write_text(PORTS)

    def run(*options):
        with unittest.mock.patch.dict(os.environ, ALONE):
            status = pytest.main([*COMMAND, *options])
        printed = "".join(capsys.readouterr())
        assert not re.search("Traceback|INTERNALERROR", printed)
        return int(status), printed

    return run


def verdict_in(output):
    """Return the last lines of a right port in one line."""
    return " ".join(output[output.rindex("\nPASS ") :].split())


def test_right_port_passes_and_leaves_nothing(suite, tmp_path):
    status, output = suite("--elman-backend", "ports:right")
    assert status == 0, output
    assert "8 passed" in output
    verdict = verdict_in(output)
    assert verdict.startswith(
        "PASS ports:right agrees with the definition: every update is within its"
        " rounding bounds in "
    )
    assert re.search(r" T=\d+ to \d+, B=\d+ to \d+, D", verdict)
    assert "float32 and float64" in verdict
    assert "; the loop: 2 epochs, " in verdict
    assert {path.name for path in tmp_path.iterdir()} <= {"ports.py", "__pycache__"}


@pytest.mark.parametrize("options", [[], ["-q"]])
def test_verdict_on_a_wrong_port_is_the_last_line(suite, options):
    """The element, both numbers, the bound, and the case to paste are above it."""
    status, output = suite("--elman-backend", "ports:wrong", *options)
    assert status == 1
    assert "1 failed, 3 skipped" in output
    verdict = "WRONG dW_xh (B4): W_hh used without its transpose"
    assert output.splitlines()[-1] == verdict
    details = output.partition(f"\n{verdict}\n")[2]
    # The lines are there twice where CI is set.
    element, others, case, *_ = re.findall(r"^  .*", details, re.MULTILINE)
    number = r"-?[\d.]+(?:e[+-]?\d+)?"
    pattern = rf"  dW_xh\[\d, \d\] is {number}, expected {number}; the difference is "
    assert others.startswith("  wrong as well: dW_hh")
    assert re.match(rf"{pattern}{number} times the rounding bound, {number}", element)
    smallest = r"  L2, CaseSpec\(T=2, B=1, D=1, H=2, O=1, K=\d, dtype='float64'"
    assert re.match(smallest, case)


def test_time_limit_of_a_port_is_that_of_the_option(suite, monkeypatch):
    monkeypatch.setattr(session, "FIRST_TIMES", 1)
    status, output = suite("--elman-backend", "ports:late", "--elman-timeout", "1")
    assert status == 1
    assert "a layer raises TimeoutError: there is no answer within 1 s" in output


def test_error_of_a_port_is_one_line(suite):
    status, output = suite("--elman-backend", "ports:raising")
    assert status == 1
    fault = r"^a layer raises AttributeError: .* \(ports.py line \d+: .*\), in CaseSpec"
    assert re.search(fault, output, re.MULTILINE), output
    assert "reproduce_failure" not in output


REFUSED_PORTS = (
    "",
    "--elman-backend ports:nothing",
    "--elman-backend ports.py",
    "--elman-command ./absent",
    "--elman-backend ports:right --elman-timeout nan",
    "--elman-backend ports:right --elman-sizes H",
    "--elman-backend ports:right --elman-sizes Z=3",
)


def test_unusable_options_are_refused(suite):
    for options in REFUSED_PORTS:
        status, output = suite(*options.split())
        assert status == 4, output
        message = re.findall(r"(?:ERROR|error): (.*)", output)[-1]
        last = (options.split() or ["expected --elman-backend"])[-1]
        assert last.partition("=")[0] in message


def test_several_processes_are_refused(suite):
    """None of them would have a verdict on all cases."""
    status, output = suite("--elman-backend", "ports:right", "-p", "xdist", "-n", "2")
    assert status == 4, output
    assert "the suite needs one process: add -n 0" in output


def test_examples_and_seed_are_those_of_the_options(suite):
    options = "--elman-backend ports:counted -k L2 --elman-examples 9 "
    options += "--elman-seed 3 --elman-sizes H=6,D=2"
    calls = []
    for _ in range(2):
        output = suite(*options.split())[1]
        assert " D=2, H=6, " in verdict_in(output)
        calls.append(repr(sys.modules["ports"].calls))
        assert len(sys.modules["ports"].calls) == 9
        sys.modules["ports"].calls.clear()
    assert calls[0] == calls[1]


def test_few_sizes_are_those_of_four_shapes(suite):
    """Code that is compiled has few shapes."""
    output = suite("--elman-backend", "ports:counted", "--elman-sizes", "few")[1]
    ranges = re.findall(r"([TBDHO])=(\d+) to (\d+)", verdict_in(output))
    assert len(ranges) == 5
    for letter, low, high in ranges:
        assert {int(low), int(high)} <= {shape[letter] for shape in FEW_SIZES}


def test_header_names_the_port_and_the_seed(suite):
    options = "--elman-backend ports:described --elman-seed 7 --collect-only"
    output = suite(*options.split())[1]
    assert "2 tests collected" in output
    header = "port: a port, float64, tanh within 9 ulps (not a strict pass)"
    assert f"{header}; seed 7\n" in output


@pytest.mark.slow
def test_a_program_is_a_port(suite):
    command = shlex.join([sys.executable, program_port.__file__])
    status, output = suite("--elman-command", command, "-k", "L1")
    assert status == 0
    assert "port: a program, float32 and float64" in output
