"""Ports that are right and ports that misbehave: each fault has its verdict, in time, and the next case goes on."""

import json
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import children
import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.conformance.case import Case, format_errors, required_outputs
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.port import (
    PortFault,
    ProgramPort,
    TimeLimitExceeded,
    call_port,
    load_python_port,
    time_limit,
)
from numpy_rnn.conformance.ports.program import PATIENCE
from numpy_rnn.conformance.ports.protocol import CAPABILITIES

pytestmark = pytest.mark.slow

LIMIT = 1.0  # seconds
SOON = 50.0  # seconds: half of what a program sleeps that hangs; a machine may be busy
RIGHT = PackagePort(numpy_rnn)
HELLO = {"type": "hello", "protocol": 1, "name": "a fake", "dtypes": ["float32"], "capabilities": ["intermediates"]}


def a_case(dtype="float32", H=3, seed=5) -> Case:
    generator = np.random.default_rng(seed)
    shapes = (2, H), (H, H), (H, 1), (H,), (1,), (4, 2, 2), (3, 2, 1), (2, H)
    *theta, x, target, h_0 = (generator.normal(size=shape).astype(dtype) for shape in shapes)
    return Case(Parameters(*theta), x, target, h_0, 0.1)


def with_options(case, **options) -> Case:
    """The case with other options of SGD, a velocity that entered, and a learned initial state."""
    params = case.params._replace(h_0=case.h_0)
    velocity = Parameters(*(theta if theta is None else theta[::-1] / 2 for theta in params))
    return case._replace(params=params, sgd=SgdOptions(**options), velocity=velocity)


CASE = a_case()
EVERYTHING = with_options(CASE, momentum=0.9, dampening=0.3, weight_decay=0.01, max_norm=0.5)


def verdict_on(port, case=CASE):
    """What is wrong with the port's answer, in one line; None when nothing is but perhaps its numbers."""
    report, verdict = call_port(port, case)
    assert (report is None) != (verdict is None)
    return verdict if report is None else next(iter(format_errors(case, report, True, True)), None)


def report_of(port, case=CASE) -> dict:
    """What the port reports; nothing may have gone wrong."""
    report, verdict = call_port(port, case)
    assert verdict is None
    assert report is not None
    return report


# -- programs -------------------------------------------------------------------------------------------------------

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

def wait_for_the_test():
    while not os.path.exists({pids!r} + ".go"):
        time.sleep(0.01)

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
        self.command = shlex.join([sys.executable, "-S", str(self.program)])

    def write(self, at_case="pass", cases=(2,), at_start="pass", **hello):
        report = RIGHT.window_update(**inputs(CASE))
        report = {n: float(v).hex() if v.ndim == 0 else [float(e).hex() for e in v.flat] for n, v in report.items()}
        values = {"report": report, "hello": HELLO | hello, "pids": str(self.pids), "cases": tuple(cases)}
        self.program.write_text(FAKE.format(at_case=at_case, at_start=at_start, **values))
        return self.command

    def started(self):
        return [int(pid) for pid in self.pids.read_text().split()]


def inputs(case):
    params = {name: theta for name, theta in case.params._asdict().items() if theta is not None}
    series = {name: getattr(case, name) for name in ("x", "target", "h_0", "learning_rate")}
    return {"params": params, **series, **case.options}


def lives(pid):
    status = Path(f"/proc/{pid}/stat")
    if status.parent.parent.joinpath("self").exists():
        try:
            return status.read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def fake(tmp_path):
    """A writer of fake ports; afterwards no process of theirs may be left."""
    fake = Fake(tmp_path)
    yield fake
    if fake.pids.exists():
        until = time.monotonic() + 5
        while any(map(lives, fake.started())) and time.monotonic() < until:
            time.sleep(0.01)
        assert not any(map(lives, fake.started()))


def test_living_processes_are_seen():
    assert lives(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not lives(child.pid)


RIGHT_PORT = """
import json, sys
sys.path.insert(0, {root!r})
import numpy as np
import numpy_rnn
from numpy_rnn.conformance.ports.backends import PackagePort

def flat(values):
    return [float(value).hex() for value in np.ravel(values)]

def array(texts, *shape):
    return np.array(list(map(float.fromhex, texts)), dtype).reshape(shape)

for line in sys.stdin:
    request = json.loads(line)
    if request["type"] == "hello":
        answer = {{"type": "hello", "protocol": 1, "name": "numpy", "tanh_ulps": 1.5,
                  "dtypes": ["float32", "float64"],
                  "capabilities": ["intermediates", "input_gradients", "sgd_options", "learned_h_0"]}}
    else:
        dtype = request["dtype"]
        T, B, D, H, O, K = (request["sizes"][letter] for letter in "TBDHOK")
        shapes = {{"W_xh": (D, H), "W_hh": (H, H), "W_hy": (H, O), "b_h": (H,), "b_y": (O,), "h_0": (B, H)}}
        if request.get("learned_h_0"):
            request["params"]["h_0"] = request["h_0"]
        options = {{name: request[name] and float.fromhex(request[name])
                   for name in ("momentum", "dampening", "weight_decay", "max_norm") if name in request}}
        if options:
            velocity = request["velocity"]
            options["nesterov"] = request["nesterov"]
            options["velocity"] = velocity and {{n[1:]: array(v, *shapes[n[1:]]) for n, v in velocity.items()}}
        report = PackagePort(numpy_rnn).window_update(
            {{name: array(texts, *shapes[name]) for name, texts in request["params"].items()}},
            array(request["x"], T, B, D), array(request["target"], K, B, O), array(request["h_0"], B, H),
            learning_rate=float.fromhex(request["learning_rate"]),
            nonlinearity=request["nonlinearity"], reduction=request["reduction"], **options,
        )
        answer = {{name: flat(values) if np.ndim(values) else flat(values)[0] for name, values in report.items()}}
        answer["id"] = request["id"]
    print(json.dumps(answer), flush=True)
"""


def test_a_right_program_answers_what_the_package_does_to_the_last_bit(tmp_path):
    program = tmp_path / "right.py"
    program.write_text(RIGHT_PORT.format(root=str(Path(numpy_rnn.__file__).parents[1])))
    with ProgramPort(shlex.join([sys.executable, str(program)])) as port:
        assert (port.name, port.dtypes, port.tanh_ulps) == ("numpy", ("float32", "float64"), 1.5)
        assert port.capabilities == CAPABILITIES
        for dtype in port.dtypes:
            for case in (a_case(dtype), a_case(dtype, H=40)):
                bare = case._replace(params=Parameters(*case.params[:3]), nonlinearity="relu", reduction="mean")
                everything = with_options(case, momentum=0.9, dampening=0.3, weight_decay=0.01, max_norm=0.5)
                nesterov = with_options(bare, momentum=0.5, nesterov=True)._replace(velocity=None)
                for each in (case, bare, everything, nesterov, with_options(bare, max_norm=1.0)):
                    report, expected = report_of(port, each), RIGHT.window_update(**inputs(each))
                    assert format_errors(each, report, intermediates=True, input_gradients=True) == []
                    assert set(report) == set(expected) == set(required_outputs(each, True, True))
                    assert all(np.array_equal(report[name], expected[name]) for name in expected)


AT_CASE_2 = {
    "hangs": ("time.sleep(100)", "does not answer within 1 s"),
    "hangs in the middle of a line": ("write(json.dumps(answer)[:9]); time.sleep(100)", 'within 1 s, only {"id": 2,'),
    "hangs, and complains": (
        "print('deadlock', file=sys.stderr, flush=True); time.sleep(100)",
        "does not answer within 1 s; its standard error ends: deadlock",
    ),
    "dies": (
        "sys.exit('Traceback:\\n  line 7\\n\\nError: no')",
        "ends with exit status 1 and without an answer; its standard error ends: Traceback: | line 7 | Error: no",
    ),
    "dies in the middle of a line": (
        "write('{'); os._exit(4)",
        "ends with exit status 4 and without an answer, only {",
    ),
    "leaves": ("sys.exit()", "ends with exit status 0 and without an answer"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "ends by SIGKILL and without an answer"),
    "closes its output": ("os.close(1); time.sleep(100)", "closes its standard output without an answer"),
    "floods standard error, then dies": ("sys.exit('x' * 1_000_000)", "its standard error ends: xxx"),
    "dies, and a child holds its pipes": (
        "leave_a_child(); os._exit(3)",
        "ends with exit status 3 and without an answer",
    ),
    "hangs with a child": ("leave_a_child(); time.sleep(100)", "does not answer within 1 s"),
    "answers rubbish": ("write('Loading model...\\n'); continue", "answers what is not JSON: Loading model..."),
    "answers in binary": (r"os.write(1, b'\x00\x1b\xff\n'); continue", r"answers what is not JSON: \x00\x1b�"),
    "answers nothing": ("write('\\n'); continue", "answers what is not JSON: "),
    "answers no object": ("say([1]); continue", "answers JSON that is not an object: [1]"),
    "nests without end": ("write('[' * 9000 + '\\n'); continue", "answers what is not JSON: [[["),
    "answers another case": ("answer['id'] = 1", "answers with id 1: expected 2"),
    "answers a case of no whole number": ("answer['id'] = 2.0", "answers with id 2.0: expected 2"),
    "says a key twice": ('write(\'{"id": 2, "id": 2}\\n\'); continue', "answers with the key 'id' twice"),
    "answers no case": ("del answer['id']", "answers with id None: expected 2"),
    "answers twice": ("write(2 * (json.dumps(answer) + '\\n')); continue", "answers more than one line"),
    "answers on without end": ("while True: write('9' * 9999)", "characters that an answer can have: 9999"),
    "answers a huge line": ("write('9' * 99999 + '\\n'); continue", "characters that an answer can have: 9999"),
    "gives up": ("answer = {'id': 2, 'error': 'no\\nmean'}", "answers with an error: no mean"),
    "NaN": ("answer['dW_hh'][4] = 'nan'", "dW_hh[1, 1] is nan: expected a finite number"),
    "infinity": ("answer['loss'] = '-inf'", "loss[] is -inf: expected a finite number"),
    "a key is missing": ("del answer['dW_hh']", "dW_hh is missing"),
    "a key too many": ("answer['dW'] = []", "answers with 'dW': that is not an expected name"),
    "a wrong shape": ("answer['y'].pop()", "y has length 7: expected 8, for the shape (4, 2, 1) row by row"),
    "a nested array": ("answer['y'] = [answer['y']]", "y has length 1: expected 8"),
    "no array": ("answer['y'] = answer['loss']", "y is '0x"),
    "an array for a number": ("answer['loss'] = [answer['loss']]", "loss holds ['0x"),
    "a decimal number": ("answer['loss'] = '0.5'", "loss holds '0.5': expected a hexadecimal string"),
    "a plain number": ("answer['loss'] = 0.5", "loss holds 0.5: expected a hexadecimal string"),
    "a float64 number": ("answer['y'][2] = (0.1).hex()", "y holds 0x1.999999999999ap-4, which is not a float32 number"),
    "a number beyond float32": ("answer['y'][2] = '0x1p200'", "y holds 0x1p200, which is not a float32 number"),
    "a number beyond float64": (
        "answer['y'][2] = '0x1p2000'",
        "y holds 0x1p2000, which is outside the range of float64",
    ),
}


@pytest.mark.parametrize(("at_case_2", "expected"), AT_CASE_2.values(), ids=AT_CASE_2)
def test_a_fault_has_its_verdict_within_the_limit_and_the_next_case_goes_on(fake, at_case_2, expected):
    with ProgramPort(fake.write(at_case_2), timeout=LIMIT if "sleep" in at_case_2 else 10) as port:
        assert verdict_on(port) is None
        began = time.monotonic()
        verdict = verdict_on(port)
        assert time.monotonic() - began < SOON
        assert expected in verdict
        assert "\n" not in verdict
        assert len(verdict) < 400
        assert verdict_on(port) is None


def test_what_was_not_asked_for_is_a_fault_of_the_next_case(fake):
    program = fake.write("say(answer); wait_for_the_test(); write('debug: 7\\n'); continue")
    with ProgramPort(program) as port:
        assert [verdict_on(port) for _ in range(2)] == [None, None]
        fake.pids.with_name("pids.go").touch()
        select.select([port.program.stdout], [], [], 10)
        assert verdict_on(port) == "writes a line that was not requested: debug: 7"
        assert verdict_on(port) is None


AFTER_HELLO = "sys.stdin.readline(); say(hello); "


def test_a_program_that_does_not_read_cannot_block_the_suite(fake):
    case = a_case(H=100)
    assert len(protocol.encode_request(case, 1)) > 2**17  # twice what a pipe holds
    with ProgramPort(fake.write(at_start=AFTER_HELLO + "time.sleep(100)"), timeout=LIMIT) as port:
        began = time.monotonic()
        assert verdict_on(port, case) == "does not read its input within 1 s"
        assert time.monotonic() - began < SOON


def test_an_answer_that_comes_before_the_question_is_read_is_none(fake):
    with ProgramPort(fake.write(at_start=AFTER_HELLO + "sys.stdin.read(9); say({}); time.sleep(100)")) as port:
        assert verdict_on(port, a_case(H=100)) == "answers before it has read the question: {}"


def test_question_and_answer_pass_each_other_when_both_pipes_are_full(fake):
    answer = "json.dumps({'id': 1, 'W_hh': 10_000 * ['0x1p0']})"
    start = f"{AFTER_HELLO} sys.stdin.read(9); write({answer}); sys.stdin.readline(); write('\\n'); time.sleep(100)"
    with ProgramPort(fake.write(at_start=start)) as port:
        assert report_of(port, a_case(H=100))["W_hh"].shape == (100, 100)


def test_a_case_in_a_dtype_that_the_hello_does_not_name_is_refused(fake):
    with ProgramPort(fake.write()) as port:
        assert verdict_on(port, a_case("float64")) == "does not support float64: its hello names float32"
        assert verdict_on(port) is None
        assert len(fake.started()) == 1


@pytest.mark.parametrize("at_case", ["answer = {'id': 2, 'error': 'too hard'}", "answer['y'].pop()"])
def test_a_fault_of_content_does_not_cost_a_restart(fake, at_case):
    with ProgramPort(fake.write(at_case)) as port:
        assert [verdict_on(port) is None for _ in range(3)] == [True, False, True]
        assert len(fake.started()) == 1


def test_restarts_are_bounded_and_the_last_fault_is_told(fake):
    with ProgramPort(fake.write("os._exit(9)", cases=range(99)), restarts=2) as port:
        verdicts = [verdict_on(port) for _ in range(5)]
    ends = "ends with exit status 9 and without an answer"
    given_up = f"is not restarted after too many faults; the last one: {ends}"
    assert verdicts == [ends, ends, ends, given_up, given_up]
    assert len(fake.started()) == 3


def test_a_program_that_always_hangs_is_given_up_soon(fake):
    with ProgramPort(fake.write("time.sleep(100)", cases=range(99)), timeout=0.3) as port:
        verdicts = [verdict_on(port) for _ in range(20)]
        assert len(fake.started()) <= 1 + 1 + PATIENCE  # each costs the time limit, or more on a busy machine
    hangs = "does not answer within 0.3 s"
    assert verdicts[0] == hangs
    assert verdicts[-1].startswith(f"is not restarted after too many faults; the last one: {hangs}")


def test_a_program_that_says_another_hello_later_is_refused(fake):
    with ProgramPort(fake.write("os._exit(9)", at_start="hello['name'] += str(time.time())")) as port:
        verdicts = [verdict_on(port) for _ in range(3)]
    assert verdicts[2] == "answers the hello differently than the first time"


def test_an_interrupt_in_the_middle_of_a_case_ends_the_program(fake):
    with ProgramPort(fake.write("os.kill(os.getppid(), signal.SIGINT); time.sleep(100)")) as port:
        assert verdict_on(port) is None
        with children.default_interrupts(), pytest.raises(KeyboardInterrupt):
            verdict_on(port)
        assert verdict_on(port) is None


def test_a_closed_port_that_ignores_the_end_of_its_input_is_killed(fake):
    with ProgramPort(fake.write("say(answer); leave_a_child(); sys.stdin.read(); time.sleep(100)")) as port:
        assert [verdict_on(port) for _ in range(2)] == [None, None]
        assert any(map(lives, fake.started()))
    assert len(fake.started()) == 2


def test_closing_twice_is_closing_once(fake):
    port = ProgramPort(fake.write())
    port.close()
    port.close()


def test_a_port_that_nobody_closed_ends_with_its_owner(fake):
    assert verdict_on(ProgramPort(fake.write("leave_a_child()"))) is None
    assert len(fake.started()) == 1


AT_HELLO = {
    "hangs": ({"at_start": "time.sleep(100)"}, "does not answer within 1 s (does it flush its output?)"),
    "answers without a line end": (
        {"at_start": "write('{}'); time.sleep(100)"},
        "does not answer within 1 s (does it flush its output?), only {}",
    ),
    "dies": (
        {"at_start": "import no_such_module"},
        "ends with exit status 1 and without an answer; its standard error ends:",
    ),
    # Which fault it is depends on whether the program or the question is quicker; each of them shows what was written.
    "chatters": ({"at_start": "write('Loading...\\n'); sys.stdin.read()"}, ": Loading..."),
    "has a later version": ({"protocol": 2}, "speaks protocol version 2: known: 1"),
    "has a version that is true": ({"protocol": True}, "speaks protocol version True: known: 1"),
    "has a version that is no whole number": ({"protocol": 1.0}, "speaks protocol version 1.0: known: 1"),
    "says a key twice": (
        {"at_start": 'sys.stdin.readline(); write(\'{"type": "hello", "type": "hello"}\\n\')'},
        "answers with the key 'type' twice",
    ),
    "has a strange version": ({"protocol": "1"}, "speaks protocol version '1': known: 1"),
    "has an error": ({"error": "version 1 is\ntoo old"}, "answers the hello with an error: version 1 is too old"),
    "has no version": ({"at_start": "del hello['protocol']"}, "answers the hello without a protocol version: {"),
    "has no dtypes": ({"at_start": "del hello['dtypes']"}, "answers the hello without dtypes"),
    "names an unknown dtype": (
        {"dtypes": ["float32", "float16"]},
        "has an invalid hello: dtypes names 'float16': known: float32, float64",
    ),
    "names no dtype": ({"dtypes": []}, "has an invalid hello: dtypes is empty: expected float32 or float64, or both"),
    "gives dtypes as a text": (
        {"dtypes": "float32"},
        "has an invalid hello: dtypes is 'float32': expected a list of names, as ['float32', 'float64']",
    ),
    "names an unknown capability": (
        {"capabilities": ["intermediate"]},
        "names 'intermediate': known: intermediates, input_gradients, sgd_options, learned_h_0",
    ),
    "has no name": ({"name": ""}, "has an invalid hello: name is '': expected a non-empty text"),
    "colours its name": ({"name": "\x1b[31mred"}, r"name is '\x1b[31mred': expected printable characters only"),
    "has a negative accuracy": ({"tanh_ulps": -1}, "has an invalid hello: tanh_ulps is -1: expected a positive number"),
    "has accuracy as a text": (
        {"tanh_ulps": "4"},
        "has an invalid hello: tanh_ulps is '4': expected a positive number",
    ),
    "lacks what nobody has": (
        {"lacks": ["gru"]},
        "has an invalid hello: lacks names 'gru': known: tanh, relu, sum, mean",
    ),
    "lacks every nonlinearity": ({"lacks": ["tanh", "relu"]}, "has an invalid hello: lacks names both tanh and relu"),
    "has accuracy as a truth": ({"tanh_ulps": True}, "has an invalid hello: tanh_ulps is True: expected a positive"),
}


@pytest.mark.parametrize(("program", "expected"), AT_HELLO.values(), ids=AT_HELLO)
def test_a_program_that_says_no_hello_is_refused_within_the_limit(fake, program, expected):
    began = time.monotonic()
    with pytest.raises(PortFault) as error:
        ProgramPort(fake.write(**program), timeout=LIMIT if "sleep" in str(program) else 10)
    assert time.monotonic() - began < SOON
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_command_that_cannot_be_started_says_why(tmp_path):
    data, program = tmp_path / "data.txt", tmp_path / "program"
    for path in (data, program):
        path.write_text("1 2 3")
    program.chmod(0o755)
    expected = {
        "./no-such-port -v": "cannot be started: ./no-such-port: No such file or directory; check the command",
        shlex.quote(str(data)): f"cannot be started: {data}: Permission denied; check the command",
        shlex.quote(str(program)): f"cannot be started: {program}: Exec format error; check the command",
        shlex.quote(str(tmp_path)): f"cannot be started: {tmp_path}: Permission denied; check the command",
        "": "cannot be started: the command is empty",
        "port 'x": 'cannot be started: No closing quotation in the command "port \'x"',
        "po\0rt": "cannot be started: embedded null byte; check the command",
    }
    for command, verdict in expected.items():
        with pytest.raises(PortFault) as error:
            ProgramPort(command)
        assert str(error.value) == verdict


# -- objects of Python ----------------------------------------------------------------------------------------------


class Port:
    """A right port, unless something is done to the arguments before."""

    name, dtypes = "a port", ("float32", "float64")

    def __init__(self, before=lambda params, x, target, h_0: None):
        self.before = before

    def window_update(self, params, x, target, h_0, **options):
        self.before(params, x, target, h_0)
        return RIGHT.window_update(params, x, target, h_0, **options)


def raising(error):
    def before(params, x, target, h_0):
        raise error

    return before


def scale_in_place(params, x, target, h_0):
    x *= 2
    params["W_hh"] -= 1


def replace_in_the_dict(params, x, target, h_0):
    params["W_hh"] = params["W_hh"].copy()


def reshape_in_place(params, x, target, h_0):
    h_0.resize(h_0.size, 1)


def swallow_everything(params, x, target, h_0):
    while True:
        try:
            time.sleep(0.01)
        except BaseException:  # as careless ports do
            break
    time.sleep(100)


@pytest.mark.parametrize("case", [CASE, EVERYTHING], ids=["plain", "everything"])
def test_a_right_object_passes_and_is_handed_copies(case):
    handed = []
    port = Port(lambda *arrays: handed.append(arrays))
    assert verdict_on(port, case) is None
    (params, *series) = handed[0]
    given = [theta for theta in case.params if theta is not None]
    for ours, theirs in zip((*given, case.x, case.target, case.h_0), (*params.values(), *series), strict=True):
        assert np.array_equal(ours, theirs)
        assert not np.shares_memory(ours, theirs)


class Stepping(Port):
    """A right port, unless something is done to the options before."""

    def window_update(self, params, x, target, h_0, **options):
        self.before(options)
        return RIGHT.window_update(params, x, target, h_0, **options)


def test_the_options_of_sgd_are_given_only_where_the_step_is_not_plain():
    given = []
    port = Stepping(lambda options: given.append(options))
    plain = {"learning_rate", "nonlinearity", "reduction"}
    learned = CASE._replace(params=CASE.params._replace(h_0=CASE.h_0))
    momentum = CASE._replace(sgd=SgdOptions(momentum=0.5))
    for case in (CASE, learned, EVERYTHING, momentum):
        assert verdict_on(port, case) is None
    assert set(given[0]) == set(given[1]) == plain
    assert set(given[2]) == set(given[3]) == plain | {*SgdOptions._fields, "velocity"}
    assert given[2]["dampening"] == 0.3
    assert given[3]["velocity"] is None
    assert list(given[2]["velocity"]) == list(Parameters._fields)
    for name, ours in EVERYTHING.velocity._asdict().items():
        assert np.array_equal(given[2]["velocity"][name], ours)
        assert not np.shares_memory(given[2]["velocity"][name], ours)


def scale_velocity(options):
    options["velocity"]["W_hh"] *= 2


def replace_velocity(options):
    options["velocity"]["W_hh"] = options["velocity"]["W_hh"].copy()


@pytest.mark.parametrize(
    ("before", "expected"),
    [(scale_velocity, "changed its inputs: vW_hh"), (replace_velocity, "changed its inputs: params or velocity")],
)
def test_a_velocity_that_is_changed_is_seen(before, expected):
    kept = [np.array(v) for v in EVERYTHING.velocity]
    assert call_port(Stepping(before), EVERYTHING) == (None, expected)
    assert all(map(np.array_equal, kept, EVERYTHING.velocity))


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (scale_in_place, "changed its inputs: W_hh, x"),
        (replace_in_the_dict, "changed its inputs: params"),
        (lambda params, *_: params.pop("W_hh"), "raises TypeError"),
        (lambda params, *_: params.update(b_z=None), "raises TypeError"),
        (reshape_in_place, "raises"),
        (raising(ValueError("a bad\nshape")), "raises ValueError: a bad shape (test_ports.py line "),
        (raising(SystemExit(3)), "raises SystemExit: 3 (test_ports.py line "),
        (raising(BaseException()), "raises BaseException (test_ports.py line "),
        (raising(PortFault("no device")), "no device"),
        (lambda *_: time.sleep(100), "does not answer within 0.2 s"),
        (swallow_everything, "does not answer within 0.2 s"),
    ],
)
def test_an_object_that_misbehaves_has_its_verdict(before, expected):
    kept = [np.array(array) for array in (*CASE.params[:5], CASE.x, CASE.target, CASE.h_0)]
    report, verdict = call_port(Port(before), CASE, timeout=0.2)
    assert report is None
    assert expected in str(verdict)
    assert "\n" not in str(verdict)
    assert all(map(np.array_equal, kept, (*CASE.params[:5], CASE.x, CASE.target, CASE.h_0)))
    assert verdict_on(Port()) is None


def test_the_line_named_is_the_last_one_in_the_file_of_the_port():
    def before(params, x, target, h_0):
        np.linalg.cholesky(x)  # this line, and none of NumPy's

    _, verdict = call_port(Port(before), CASE)
    assert "np.linalg.cholesky(x) # this line, and none of NumPy's" in str(verdict)


def test_an_interrupt_passes_through():
    with pytest.raises(KeyboardInterrupt):
        call_port(Port(raising(KeyboardInterrupt())), CASE)


def test_a_report_keeps_its_numbers_when_the_port_uses_its_memory_again():
    memory = np.zeros(3, np.float32)

    class Reusing:
        def window_update(self, *arguments, **options):
            memory[:] += 1
            return {"db_h": memory}

    first, second = (report_of(Reusing())["db_h"][0] for _ in range(2))
    assert (first, second) == (1, 2)


@pytest.mark.parametrize("report", [None, [], 3.0])
def test_what_is_no_report_is_left_to_the_check_of_its_form(report):
    class Strange:
        def window_update(self, *arguments, **options):
            return report

    assert call_port(Strange(), CASE) == (report, None)


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
    found = []
    thread = threading.Thread(
        target=lambda: found.append(call_port(Port(lambda *_: time.sleep(0.2)), CASE, timeout=0.1))
    )
    thread.start()
    thread.join()
    assert found[0][1] is None


# -- finding objects ------------------------------------------------------------------------------------------------

MODULE = """
import numpy_rnn
from numpy_rnn.conformance.ports.backends import PackagePort

class Bare:
    name = "bare"
    dtypes = ["float64"]
    def window_update(self, *arguments, **options):
        return PackagePort(numpy_rnn).window_update(*arguments, **options)

class Full(Bare):
    capabilities, tanh_ulps = ("intermediates", "sgd_options"), 2

def make():
    return Full()

def fail():
    return {}["device"]

class Fixed(Bare):
    __slots__ = ()

class Holder:
    bare = Bare()

class Nameless:
    dtypes = ("float64",)
    window_update = None

class Uncallable(Bare):
    window_update = 3

class Half(Bare):
    dtypes = ("float16",)

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


@pytest.mark.parametrize("path", ["bare", "Bare", "make", "Full", "Fixed", "Holder.bare"])
def test_an_object_a_class_or_a_factory_is_found(in_folder, path):
    port = load_python_port(f"a_port:{path}")
    full = path in ("make", "Full")
    assert (port.name, port.dtypes) == ("bare", ("float64",))
    assert (port.capabilities, port.tanh_ulps) == ((("intermediates", "sgd_options"), 2) if full else ((), None))
    assert verdict_on(port, a_case("float64")) is None


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("a_port", "port 'a_port': expected module:object, as my_module:port"),
        (":port", "port ':port': expected module:object, as my_module:port"),
        ("a_port:", "port 'a_port:': expected module:object, as my_module:port"),
        ("no_such:x", "port 'no_such:x': there is no module no_such, installed or in this directory"),
        ("a_port.deep:x", "port 'a_port.deep:x': there is no module a_port.deep, installed or in this directory"),
        ("needy:x", "port 'needy:x': needy needs no_such_thing, which is not installed"),
        ("wrong:x", "port 'wrong:x': importing wrong raises SyntaxError"),
        ("leaver:x", "port 'leaver:x': importing leaver raises SystemExit: 3"),
        ("a_port:missing", "port 'a_port:missing': a_port has no missing"),
        ("a_port:bare.missing", "port 'a_port:bare.missing': a_port has no bare.missing"),
        ("a_port:fail", "port 'a_port:fail': calling fail() raises KeyError: 'device'"),
        ("a_port:number", "port 'a_port:number' has no name, dtypes, window_update: expected name, dtypes and"),
        ("a_port:Nameless", "port 'a_port:Nameless' has no name: expected name, dtypes and window_update"),
        ("a_port:Uncallable", "port 'a_port:Uncallable': window_update is a int: expected a function"),
        ("a_port:Boastful", "port 'a_port:Boastful': capabilities names 'adam': known: intermediates, input_gradients"),
        ("a_port:Half", "port 'a_port:Half': dtypes names 'float16': known: float32, float64"),
    ],
)
def test_what_is_no_port_is_refused_in_one_clear_line(in_folder, where, expected):
    with pytest.raises(InputError) as error:
        load_python_port(where)
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


# -- the lines themselves -------------------------------------------------------------------------------------------

SPECIAL = {
    "float32": [0.0, -0.0, 1.0, -1.5, 0.1, 1.1754944e-38, 1e-45, 3.4028235e38],
    "float64": [0.0, -0.0, 1.0, -1.5, 0.1, 2.2250738585072014e-308, 5e-324, 1.7976931348623157e308],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_survives_the_way_to_the_port_and_back(dtype):
    case = a_case(dtype, H=8)
    case = case._replace(params=case.params._replace(b_h=np.array(SPECIAL[dtype], dtype)))
    request = json.loads(protocol.encode_request(case, 7))
    assert (request["type"], request["id"], request["dtype"]) == ("window_update", 7, dtype)
    assert request["sizes"] == {"T": 4, "B": 2, "D": 2, "H": 8, "O": 1, "K": 3}
    assert float.fromhex(request["learning_rate"]) == 0.1
    assert case.params.h_0 is None
    for name, theta in case.params._replace(h_0=None)._asdict().items():
        if theta is None:
            continue
        line = json.dumps({"id": 7, name: request["params"][name]})
        back = protocol.decode_report(line, case, 7)[name]
        assert back.dtype == theta.dtype
        assert back.tobytes() == theta.tobytes()
    assert [float.fromhex(v) for v in request["x"]] == case.x.ravel().tolist()
    assert len(request["target"]) == 3 * 2
    assert len(request["h_0"]) == 2 * 8


def test_a_request_without_biases_names_none():
    case = CASE._replace(params=Parameters(*CASE.params[:3]))
    assert set(json.loads(protocol.encode_request(case, 1))["params"]) == {"W_xh", "W_hh", "W_hy"}
    with pytest.raises(PortFault, match="'db_h': that is not an expected name"):
        protocol.decode_report('{"id": 1, "db_h": []}', case, 1)


PLAIN = {"type", "id", "dtype", "sizes", "nonlinearity", "reduction", "learning_rate", "params", "x", "target", "h_0"}


def test_a_request_for_plain_gradient_descent_has_no_other_keys():
    assert set(json.loads(protocol.encode_request(CASE, 1))) == PLAIN


def test_a_request_holds_the_options_the_velocity_and_that_the_state_is_learned():
    request = json.loads(protocol.encode_request(EVERYTHING, 1))
    assert set(request) == PLAIN | {*SgdOptions._fields, "velocity", "learned_h_0"}
    assert request["learned_h_0"] is True
    assert "h_0" not in request["params"]  # no name stands for two arrays
    options = {name: request[name] for name in SgdOptions._fields}
    nesterov = options.pop("nesterov")
    assert nesterov is False
    assert {name: float.fromhex(text) for name, text in options.items()} == {
        "momentum": 0.9,
        "dampening": 0.3,
        "weight_decay": 0.01,
        "max_norm": 0.5,
    }
    assert list(request["velocity"]) == ["v" + name for name in Parameters._fields]
    for name, ours in EVERYTHING.velocity._asdict().items():
        assert [float.fromhex(v) for v in request["velocity"]["v" + name]] == ours.ravel().tolist()
    first = EVERYTHING._replace(velocity=None, sgd=SgdOptions(momentum=0.5, nesterov=True))
    request = json.loads(protocol.encode_request(first, 1))
    assert (request["velocity"], request["max_norm"], request["nesterov"]) == (None, None, True)


def test_a_report_may_hold_what_its_case_owes_and_no_more():
    line = json.dumps({"id": 1, "vW_xh": 6 * ["0x1p0"], "h_0": 6 * ["0x1p0"], "dx": 16 * ["0x1p0"]})
    report = protocol.decode_report(line, EVERYTHING, 1)
    assert {name: array.shape for name, array in report.items()} == {"vW_xh": (2, 3), "h_0": (2, 3), "dx": (4, 2, 2)}
    for name in ("vW_xh", "h_0"):
        with pytest.raises(PortFault, match=f"'{name}': that is not an expected name"):
            protocol.decode_report(json.dumps({"id": 1, name: 6 * ["0x1p0"]}), CASE, 1)
    assert protocol.max_report_length(EVERYTHING) > protocol.max_report_length(CASE)


@pytest.mark.parametrize("text", ["nan", "-nan", "NaN", "inf", "-inf", "Infinity"])
def test_what_c_and_others_print_for_no_number_is_read(text):
    value = protocol.decode_report(json.dumps({"id": 1, "loss": text}), CASE, 1)["loss"]
    assert not np.isfinite(value)


@pytest.mark.parametrize("text", ["0x1p0", "0X1P+0", "0x1.p-0", "0x1", "0x8.0p-3", "+0x0.8p1"])
def test_every_way_to_write_a_hexadecimal_number_is_read(text):
    assert protocol.decode_report(json.dumps({"id": 1, "loss": text}), CASE, 1)["loss"] == np.float32(1)


@pytest.mark.parametrize("text", ["", "1", "1.5", "1e3", "0x", "0x1p", "0x1 ", "1p0", "--0x1", "0x1_0", None, [], {}])
def test_other_numbers_are_not_guessed_at(text):
    with pytest.raises(PortFault, match="expected a hexadecimal string"):
        protocol.decode_report(json.dumps({"id": 1, "loss": text}), CASE, 1)
