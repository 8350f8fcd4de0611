"""Programs as ports, also in C: right ones answer as the package does; faults have
verdicts.
"""

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.conformance.case import SGD_OPTIONS
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports import program as program_module
from numpy_rnn.conformance.ports.abilities import CAPABILITIES
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import (
    PortFault,
    decode_answer,
    decode_hello,
    format_error,
)
from numpy_rnn.conformance.suite import check_port
from tests.helpers import program_port
from tests.helpers.ports import CASE, SMALL_FIELDS, right_report, verdict_on
from tests.helpers.windows import window

pytestmark = pytest.mark.slow


def test_right_program_answers_to_the_last_bit():
    command = shlex.join([sys.executable, program_port.__file__])
    with closing(ProgramPort(command, timeout=60)) as port:
        assert (port.name, port.dtypes) == ("a program", ("float32", "float64"))
        assert (port.tanh_ulps, port.capabilities) == (1.5, CAPABILITIES)
        cases = [window(seed, dtype) for seed in range(20) for dtype in port.dtypes]
        # no pipe holds this
        cases += [window(5, "float64", **SMALL_FIELDS | {"H": 100})]
        for case in cases:
            report = port.report(case)
            expected = window_update(case)
            assert format_error(case, report) == ""
            assert set(report) == set(expected)
            for name, array in expected.items():
                assert np.array_equal(report[name], array)


def test_malformed_answer_gives_one_line():
    report = right_report()
    right = {"id": 2} | {name: np.ravel(v).tolist() for name, v in report.items()}
    assert decode_answer(json.dumps(right), CASE, 2).keys() == report.keys()
    changes = [{"error": "no\nmean"}, {"loss": "one"}, {"loss": [1, [2]]}, {"id": 3}]
    for line in ("", "[]", *(json.dumps(right | change) for change in changes)):
        with pytest.raises(PortFault, match=r"^[^\n]+$"):
            decode_answer(line, CASE, 2)


HELLOS: tuple[dict, ...] = (
    {"protocol": 1},
    {"name": "\x1b[31mred"},
    {"capabilities": ["momentum"]},
    {"lacks": {"relu": 1}},
    {"sizes": [{"K": 3, "T": 2}]},
    {"tanh_ulps": True},
    {"dtypes": []},
)


def test_invalid_hello_is_named_in_one_line():
    for change in HELLOS:
        (name,) = change
        message = f"^[^\n]*{name}[^\n]*: expected [^\n]+$"
        with pytest.raises(PortFault, match=message) as error:
            decode_hello(json.dumps(program_port.HELLO | change))
        if name == "capabilities":
            assert all(option in str(error.value) for option in SGD_OPTIONS)


# Fakes, of which little is right and which start at once.

PATIENCE = 0.3  # seconds for an answer that does not come
MOST_CHARACTERS = 1000  # of a verdict
SOON = 50.0  # seconds for a test: half of what a program sleeps that hangs

FAKE = """
import json, os, signal, subprocess, sys, time

def note(pid):
    with open({pids!r}, "a") as file:
        print(pid, file=file)

def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()

def leave_a_child(**options):
    sleeping = [sys.executable, "-S", "-c", "import time; time.sleep(100)"]
    note(subprocess.Popen(sleeping, **options).pid)

note(os.getpid())
hello = {hello!r}
{at_start}
for line in sys.stdin:
    request = json.loads(line)
    answer = hello
    if request["type"] != "hello":
        answer = {{"id": request["id"], **{report!r}}}
    if request.get("id") in {cases!r}:
        {at_case}
    write(json.dumps(answer) + "\\n")
"""


class Fake:
    """Writes fake ports, and knows the processes that they started."""

    def __init__(self, folder):
        self.program = folder / "fake.py"
        self.pids = folder / "pids"

    def write(self, at_case="pass", cases=(2,), at_start="pass", **hello):
        report = {name: np.ravel(v).tolist() for name, v in right_report().items()}
        text = FAKE.format(
            report=report,
            hello=program_port.HELLO | hello,
            pids=str(self.pids),
            cases=cases,
            at_case=at_case,
            at_start=at_start,
        )
        self.program.write_text(text)
        return shlex.join([sys.executable, "-S", str(self.program)])

    def started(self):
        return [int(pid) for pid in self.pids.read_text().split()]


def lives(pid):
    """Return whether the process runs: not if it has ended and waits for its parent,
    as /proc tells.
    """
    try:
        os.kill(pid, 0)
        if not Path("/proc/self").exists():
            return True
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Yield a writer of fake ports.

    No test takes long, and no process of theirs is left.
    """
    monkeypatch.setattr(program_module, "FIRST_TIMES", 1)
    fake, began = Fake(tmp_path), time.monotonic()
    yield fake
    assert time.monotonic() - began < SOON
    until = time.monotonic() + 5
    while any(map(lives, fake.started())) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(lives, fake.started()))


AT_CASE_2 = [
    (
        "print('stuck', file=sys.stderr, flush=True); time.sleep(100)",
        "output?); its standard error: stuck",
    ),
    (
        r"os.write(1, b'\x00\x1b\xff\n'); continue",
        r"answers what is not a JSON object: \x00\x1b�",
    ),
    ("os.close(1); time.sleep(100)", "closes its standard output without an answer"),
    ("leave_a_child(); os._exit(0)", "without an answer; it leaves a child process"),
    ("write('{}\\n' * 3)", "more than one line, the first of which is {}: expected"),
    ("while True: write('1' * 2**16)", "bytes, which begin 111"),
    ("write('1' * 90_000 + '\\n')", "bytes, which begin 111"),  # this case needs fewer
    ("while True: os.write(2, b'x' * 2**16)", "its standard error: xxx"),
]


@pytest.mark.parametrize(("at_case_2", "expected"), AT_CASE_2)
def test_fault_has_its_verdict_and_the_next_case_goes_on(fake, at_case_2, expected):
    with closing(ProgramPort(fake.write(at_case_2))) as port:
        assert verdict_on(port) is None
        is_late = "sleep" in at_case_2 or "os.write(2" in at_case_2
        port.timeout = PATIENCE if is_late else 10
        began = time.monotonic()
        verdict = verdict_on(port)
        assert expected in verdict
        assert len(verdict.splitlines()) == 1
        assert len(verdict) < MOST_CHARACTERS
        assert time.monotonic() - began < SOON
        port.timeout = 10
        assert verdict_on(port) is None


@pytest.mark.parametrize("after", ["os._exit(0)", "time.sleep(100)"])
def test_child_that_leaves_the_group_and_holds_the_pipes(fake, after):
    """Nothing waits for it, neither within the time limit nor at the end."""
    at_case = f"leave_a_child(start_new_session=True); {after}"
    began = time.monotonic()
    with closing(ProgramPort(fake.write(at_case))) as port:
        assert verdict_on(port) is None
        port.timeout = PATIENCE if "sleep" in after else 100
        assert re.match("does not answer|ends with exit status 0", verdict_on(port))
    assert time.monotonic() - began < SOON
    os.kill(fake.started()[-1], signal.SIGKILL)  # nobody else knows it


def test_interrupt_in_the_middle_of_a_case_ends_the_program(fake):
    at_case = "time.sleep(0.1); os.kill(os.getppid(), signal.SIGINT); time.sleep(100)"
    with closing(ProgramPort(fake.write(at_case))) as port:
        assert verdict_on(port) is None
        with pytest.raises(KeyboardInterrupt):
            verdict_on(port)
        assert verdict_on(port) is None


def test_closed_port_that_ignores_the_end_of_its_input_is_killed(fake):
    at_case = "write(json.dumps(answer) + '\\n'); leave_a_child(); time.sleep(100)"
    with closing(ProgramPort(fake.write(at_case))) as port:
        assert [verdict_on(port) for _ in range(2)] == [None, None]
        assert any(map(lives, fake.started()))
    port.close()  # closing twice is closing once
    assert len(fake.started()) == 2


WITHOUT_HELLO = {
    "import nothing": "ends with exit status 1 and without an answer; its standard",
    "write('Loading...\\n'); sys.stdin.read()": "Loading...",
}


@pytest.mark.parametrize("at_start", WITHOUT_HELLO)
def test_program_without_a_hello_is_refused(fake, at_start):
    with pytest.raises(PortFault) as error:
        ProgramPort(fake.write(at_start=at_start))
    assert WITHOUT_HELLO[at_start] in str(error.value)
    assert "\n" not in str(error.value)


# The port in C

SOURCE = Path(numpy_rnn.__file__).parent / "conformance" / "ports" / "elman_port.c"
STRICT = "cc -std=c99 -Wall -Wextra -pedantic"
BUILDS = {  # as fast as it gets, and with every access watched
    "-O2 -ftree-vectorize -march=native -ffast-math": ("L1", "L2"),
    "-g -O0 -fsanitize=address,undefined -fno-sanitize-recover=all": ("L3",),
}


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler `cc`")
@pytest.mark.parametrize("options", BUILDS)
def test_c_port_passes(tmp_path, options):
    """With -ffast-math the processor reads subnormal numbers as zero."""
    program = tmp_path / "elman_port"
    command = f"{STRICT} {options} -o {program} {SOURCE} -lm"
    compiler = subprocess.run(command.split(), capture_output=True, text=True)
    assert (compiler.returncode, compiler.stderr) == (0, "")  # nothing to warn of
    with closing(ProgramPort(shlex.quote(str(program)))) as port:
        assert port.capabilities == ("intermediates", "input_gradients", "sgd_options")
        assert 1 <= port.tanh_ulps <= 8  # over 8 it is no strict pass
        for dtype, level in itertools.product(port.dtypes, BUILDS[options]):
            check_port(port, level, dtype, examples=20)
