"""Programs as ports: right ones answer as the package does, also in C and JavaScript; each fault has its verdict."""

import itertools
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import children
import numpy as np
import program_port
import pytest
from hypothesis import Phase, settings
from ports_for_tests import PLAIN, as_text, right_report, verdict_on, window
from test_ports_and_protocol import HELLO

import numpy_rnn
from numpy_rnn.conformance.case import format_errors
from numpy_rnn.conformance.definition import window_update
from numpy_rnn.conformance.ports import program as program_module
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.port import call_port
from numpy_rnn.conformance.ports.program import ProgramPort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES, PortFault, encode_request
from numpy_rnn.conformance.properties import check_port, profile
from numpy_rnn.conformance.random_cases import Recipe

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("numbers", ["hexadecimal", "decimal"])
def test_right_program_answers_to_the_last_bit(numbers):
    with ProgramPort(
        shlex.join([sys.executable, program_port.__file__, "0", "", numbers]), timeout=60
    ) as port:
        assert (port.name, port.dtypes, port.tanh_ulps) == (
            "a program",
            ("float32", "float64"),
            1.5,
        )
        assert port.capabilities == CAPABILITIES
        smallest = Recipe(1, 1, 1, 1, 1, 1, "float32").case()
        large = window(5, "float64", **PLAIN | {"H": 100})  # no pipe holds this
        for case in (
            *(window(seed, dtype) for seed in range(20) for dtype in port.dtypes),
            smallest,
            large,
        ):
            (report, verdict), expected = call_port(port, case), window_update(case)
            assert verdict is None
            assert format_errors(case, report, intermediates=True, input_gradients=True) == []
            assert set(report) == set(expected)
            assert all(np.array_equal(report[name], expected[name]) for name in expected)


# -- fakes, of which little is right and which start at once ---------------------------------------------------------

LIMIT = 0.3  # seconds for an answer that does not come
START_LIMIT = 1.0  # seconds for a hello that does not come: the interpreter has to start
SOON = 50.0  # seconds for a test: half of what a program sleeps that hangs; a machine may be busy

FAKE = """
import json, os, signal, subprocess, sys, time

def note(pid):
    with open({pids!r}, "a") as file:
        print(pid, file=file)

def write(text):
    sys.stdout.write(text)
    sys.stdout.flush()

def say(value):
    write(json.dumps(value) + "\\n")

def leave_a_child():
    note(subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(100)"]).pid)

note(os.getpid())
hello = {hello!r}
{at_start}
for line in sys.stdin:
    request = json.loads(line)
    answer = hello if request["type"] == "hello" else {{"id": request["id"], **{report!r}}}
    if request.get("id") in {cases!r}:
        {at_case}
    say(answer)
"""


class Fake:
    """Writes fake ports, and knows the processes that they started."""

    def __init__(self, folder):
        self.program, self.pids = folder / "fake.py", folder / "pids"

    def write(self, at_case="pass", cases=(2,), at_start="pass", **hello):
        report, pids = as_text(right_report()), str(self.pids)
        values = {"report": report, "hello": HELLO | hello, "pids": pids, "cases": cases}
        self.program.write_text(FAKE.format(at_case=at_case, at_start=at_start, **values))
        return shlex.join([sys.executable, "-S", str(self.program)])

    def started(self):
        return [int(pid) for pid in self.pids.read_text().split()]


def lives(pid):
    """Whether the process runs. One that has ended may wait for its parent, and only /proc tells that."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text() if Path("/proc/self").exists() else ") R"
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A writer of fake ports; no test takes long, and afterwards no process of theirs may be left."""
    monkeypatch.setattr(program_module, "FIRST_TIMES", 1)
    fake, began = Fake(tmp_path), time.monotonic()
    yield fake
    assert time.monotonic() - began < SOON
    until = time.monotonic() + 5
    while any(map(lives, fake.started())) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(lives, fake.started()))


MANY_LINES = "'Error: no\\n  ^\\n' + '\\n'.join(f' at line {n // 2}' for n in range(996))"
AT_CASE_2 = [
    (
        "print('stuck', file=sys.stderr, flush=True); time.sleep(100)",
        "output?); its standard error: stuck",
    ),
    (
        f"sys.exit({MANY_LINES})",
        "error: Error: no | at line 0 | at line 0 | at line 1 | ... | at line 496 | at line",
    ),
    ("sys.exit('a\\nb\\nc\\nd\\ne')", "its standard error: a | b | c | d | ... | e"),
    ("write('{'); os._exit(4)", "ends with exit status 4 and without an answer"),
    ("os.close(1); time.sleep(100)", "closes its standard output without an answer"),
    ("sys.exit('x' * 1_000_000)", "its standard error: xxx"),
    (
        "leave_a_child(); os.kill(os.getpid(), signal.SIGKILL)",
        "ends by SIGKILL and without an answer",
    ),
    (r"os.write(1, b'\x00\x1b\xff\n'); continue", r"answers what is not a JSON object: \x00\x1b�"),
    ("write(2 * (json.dumps(answer) + '\\n')); continue", "expected one line of at most"),
    ("write('9' * 99999 + '\\n'); continue", "writes 9999"),
]


@pytest.mark.parametrize(("at_case_2", "expected"), AT_CASE_2)
def test_fault_has_its_verdict_and_the_next_case_goes_on(fake, at_case_2, expected):
    with ProgramPort(fake.write(at_case_2)) as port:
        assert verdict_on(port) is None
        port.timeout = LIMIT if "sleep" in at_case_2 else 10
        assert expected in verdict_on(port)
        port.timeout = 10
        assert verdict_on(port) is None


@pytest.mark.parametrize(("at_start", "expected"), [
    ("time.sleep(100)", f"does not read its input within {LIMIT} s"),
    ("sys.stdin.read(9); say({})", "writes {}: expected one line"),  # before it has read the question
    ("sys.stdin.read(9); write(ones); sys.stdin.readline(); write('}\\n')", "loss is missing"),
])  # fmt: skip
def test_question_and_answer_that_no_pipe_holds(fake, at_start, expected):
    case = window(5, "float32", **PLAIN | {"H": 100})
    assert len(encode_request(case, 1)) > 2**17  # twice what a pipe holds
    ones = "ones = json.dumps({'id': 1, 'W_hh': 10_000 * ['0x1p0']})[:-1]"
    start = f"{ones}; sys.stdin.readline(); say(hello); {at_start}; time.sleep(100)"
    with ProgramPort(fake.write(at_start=start)) as port:
        port.timeout = LIMIT if at_start == "time.sleep(100)" else 10
        assert verdict_on(port, case).startswith(expected)


def test_first_answer_may_take_longer(fake, monkeypatch):
    monkeypatch.setattr(program_module, "FIRST_TIMES", 100)  # of 0.1 s
    with ProgramPort(fake.write("time.sleep(0.5)", cases=(1, 2)), timeout=0.1) as port:
        assert verdict_on(port) is None
        assert "does not answer within 0.1 s" in verdict_on(port)


@pytest.mark.parametrize(
    "at_case", ["answer = {'id': 2, 'error': 'too hard'}", "answer['y'].pop()"]
)
def test_fault_of_content_does_not_cost_a_restart(fake, at_case):
    with ProgramPort(fake.write(at_case)) as port:
        assert (
            verdict_on(port, window(5, "float64", **PLAIN))
            == "does not support float64: its hello names float32"
        )
        assert [verdict_on(port) is None for _ in range(3)] == [True, False, True]
        assert len(fake.started()) == 1


def test_an_interrupt_in_the_middle_of_a_case_ends_the_program(fake):
    with ProgramPort(fake.write("os.kill(os.getppid(), signal.SIGINT); time.sleep(100)")) as port:
        assert verdict_on(port) is None
        with children.default_interrupts(), pytest.raises(KeyboardInterrupt):
            verdict_on(port)
        assert verdict_on(port) is None


def test_closed_port_that_ignores_the_end_of_its_input_is_killed(fake):
    with ProgramPort(
        fake.write("say(answer); leave_a_child(); sys.stdin.read(); time.sleep(100)")
    ) as port:
        assert [verdict_on(port) for _ in range(2)] == [None, None]
        assert any(map(lives, fake.started()))
    port.close()  # closing twice is closing once
    assert len(fake.started()) == 2


def test_port_that_nobody_closed_ends_with_its_owner(fake):
    assert verdict_on(ProgramPort(fake.write("leave_a_child()"))) is None
    assert len(fake.started()) == 1


@pytest.mark.parametrize(("program", "expected"), [
    ({"at_start": "time.sleep(100)"}, "does not answer within 1 s (does it flush its output?)"),
    ({"at_start": "import nothing"}, "ends with exit status 1 and without an answer; its standard error:"),
    # Which fault it is depends on whether the program or the question is quicker; each of them shows what was written.
    ({"at_start": "write('Loading...\\n'); sys.stdin.read()"}, "Loading..."),
    ({"protocol": 2}, "speaks protocol version 2: expected 1"),
])  # fmt: skip
def test_program_without_a_hello_is_refused(fake, program, expected):
    with pytest.raises(PortFault) as error:
        ProgramPort(fake.write(**program), timeout=START_LIMIT if "sleep" in str(program) else 10)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_command_that_cannot_be_started_says_why():
    with pytest.raises(
        PortFault, match="cannot be started: port 'x: No closing quotation; check the command"
    ):
        ProgramPort("port 'x")


# -- the ports in C and in JavaScript ----------------------------------------------------------------------------------


PORTS = Path(numpy_rnn.__file__).parent / "conformance" / "ports"
STRICT = "-std=c99 -Wall -Wextra -pedantic"
FAST = "-O2 -ftree-vectorize -march=native -ffast-math"
SANITIZED = "-g -O0 -fsanitize=address,undefined -fno-sanitize-recover=all"
SOME = settings(profile("repeatable"), max_examples=8, phases=[Phase.generate])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The port in C twice: as fast as the compiler dares, and plain.

    Every access and every arithmetic operation of the plain one is watched, where the compiler can do that.
    """
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler `cc`: the C port is not built")

    def compiled(options):
        program = tmp_path_factory.mktemp("built") / "elman_port"
        command = [
            "cc",
            *STRICT.split(),
            *options.split(),
            "-o",
            str(program),
            str(PORTS / "elman_port.c"),
            "-lm",
        ]
        made = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert (made.returncode, made.stderr) == (0, "")  # there is nothing to warn of
        return program

    try:
        plain = compiled(SANITIZED)
        subprocess.run(
            [plain], input=protocol.HELLO + "\n", capture_output=True, text=True, check=True
        )
    except (AssertionError, subprocess.CalledProcessError):
        plain = compiled("-O0")
    return {"plain": plain, "fast": compiled(FAST)}


@pytest.mark.parametrize(("kind", "levels"), [("plain", ["L3"]), ("fast", ["L1", "L2"])])
def test_c_port_passes(built, kind, levels):
    """With -ffast-math the processor reads subnormal numbers as zero."""
    with ProgramPort(shlex.quote(str(built[kind]))) as port:
        assert port.capabilities == (
            "intermediates",
            "input_gradients",
            "sgd_options",
            "learned_h_0",
        )
        assert 1 <= port.tanh_ulps <= 8  # over 8 it is no strict pass
        for dtype, level in itertools.product(port.dtypes, levels):
            check_port(level, port, dtype, SOME)


@pytest.mark.skipif(
    shutil.which("node") is None, reason="there is no `node`: the JavaScript port is not run"
)
def test_javascript_port_passes():
    with ProgramPort(f"node {shlex.quote(str(PORTS / 'elman_port.js'))}") as port:
        for level in ("L1", "L3"):
            check_port(level, port, "float64", SOME)
