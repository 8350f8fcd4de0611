"""A program as a port: it reads a request per line and writes an answer per line. POSIX only."""

import contextlib
import os
import select
import shlex
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable
from subprocess import PIPE
from typing import Any, TypeVar

from numpy_rnn.common.errors import one_line
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.case import case_dtype
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.protocol import PortFault

T = TypeVar("T")
SIGNALS = ("SIGTERM", "SIGHUP")  # that end this process unless they are handled
POLL_INTERVAL = 0.05  # seconds between checks that the program is alive; its child may keep the pipes open
EXIT_GRACE = 1.0  # seconds that a program has to exit by itself
KEPT_STDERR = 1_000  # bytes of standard error that are kept, from its beginning and from its end
FIRST_TIMES = 6  # time limits for a hello and a first answer: of an interpreter that starts, of imports and compilers
CHUNK = 1 << 16
PATIENCE = 5  # time limits

_running: weakref.WeakSet = weakref.WeakSet()  # all programs that may have to be killed


@contextlib.contextmanager
def kill_programs_on_signal():
    """Inside the block, SIGTERM and SIGHUP kill all programs and then end this process as usual.

    Otherwise a program that hangs would outlive this process. Signals that are ignored or have another handler are left
    alone. Only the main thread can set handlers.
    """
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in numbers if is_main and signal.getsignal(number) == signal.SIG_DFL]

    def end_all(number, frame):
        for program in list(_running):
            program.end()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in ours:
        signal.signal(number, end_all)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class Program:
    """A program in its own process group; no read or write of its pipes waits without a time limit.

    command: its words. `end` kills the group, and so does the end of this object or of the interpreter. Raises
    PortFault if the program cannot be started.
    """

    def __init__(self, command: list[str]):
        if os.name != "posix":
            raise PortFault("cannot be started: programs as ports need a POSIX system; write a trace file instead")
        try:
            self.process = subprocess.Popen(command, 0, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True)
        except (OSError, ValueError) as error:  # a value with a null character
            why = getattr(error, "strerror", None) or error
            raise PortFault(f"cannot be started: {one_line(command[0])}: {why}; check the command") from None
        pipes: list[Any] = [self.process.stdin, self.process.stdout, self.process.stderr]
        self.stdin, self.stdout, self.stderr = pipes
        for pipe in pipes:
            os.set_blocking(pipe.fileno(), False)
        self.open, self.received, self.errors = pipes[1:], bytearray(), bytearray()
        self.has_answered = False
        _running.add(self)
        self.ending = weakref.finalize(self, _end, self.process, pipes)

    def ask(self, question: str, max_length: int, timeout: float) -> str:
        """Send one line and return the answer: one line of at most `max_length` bytes, within `timeout` seconds.

        Raises PortFault otherwise. The state of the program is then unknown: end it.
        """
        deadline, unsent = time.monotonic() + timeout, memoryview(question.encode("ascii") + b"\n")
        self._read()
        if self.received:
            raise PortFault(f"writes a line that was not requested: {self._shown()}")
        while True:
            left = deadline - time.monotonic()
            select.select(self.open, [self.stdin] if unsent else [], [], max(0.0, min(left, POLL_INTERVAL)))
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                unsent = unsent[os.write(self.stdin.fileno(), unsent[:CHUNK]) if unsent else 0 :]
            gone = self.process.poll() is not None  # before the last look at what it wrote
            self._read()
            if b"\n" in self.received or len(self.received) > max_length:
                return self._answer(max_length, len(unsent))
            if not gone and self.stdout in self.open and left > 0:
                continue
            if gone or self.stdout not in self.open:
                what = f"{self._how_it_ended(left)} without an answer"
            else:
                what = f"does not {'read its input' if unsent else 'answer'} within {timeout:g} s"
                what += "" if unsent or self.has_answered else " (does it flush its output?)"
            self._read()
            so_far = f", only {self._shown()}" if self.received else ""
            raise PortFault(f"{what}{so_far}{self._complaint()}")

    def end(self, patience: float = 0.0) -> None:
        """Close its input, wait for it to exit, and kill what remains of its process group."""
        if self.ending.detach():
            _end(self.process, (self.stdin, self.stdout, self.stderr), patience)

    def _read(self):
        """Read what is available, at most one chunk per pipe."""
        for pipe, into in ((self.stdout, self.received), (self.stderr, self.errors)):
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(pipe.fileno(), CHUNK)
                into += chunk
                if not chunk and pipe in self.open:
                    self.open.remove(pipe)
        del self.errors[KEPT_STDERR:-KEPT_STDERR]

    def _answer(self, max_length, unsent):
        line, _, rest = bytes(self.received).partition(b"\n")
        if len(line) > max_length:
            raise PortFault(f"answers more than the {max_length} characters that an answer can have: {self._shown()}")
        if rest:
            raise PortFault(f"answers more than one line: after the first comes '{one_line(_text(rest), 80)}'")
        if unsent:
            raise PortFault(f"answers before it has read the question: {self._shown()}")
        self.received.clear()
        self.has_answered = True
        return _text(line)

    def _how_it_ended(self, left):
        try:
            status = self.process.wait(min(max(left, 0.0), EXIT_GRACE))
        except subprocess.TimeoutExpired:
            return "closes its standard output"
        names = {-number.value: number.name for number in signal.Signals}
        how = f"with exit status {status}" if status >= 0 else f"by {names.get(status, f'signal {-status}')}"
        return f"ends {how} and"

    def _complaint(self):
        lines = [line for line in _text(self.errors).splitlines() if line.strip(" ^~-")]
        first, last = one_line(" | ".join(lines[:4]), 200), one_line(" | ".join(lines[4:][-3:]), 160)
        return "; its standard error: " + " | ... | ".join(filter(None, (first, last))) if lines else ""

    def _shown(self):
        return one_line(_text(self.received[:400]), 80)


def _end(process, pipes, patience=0.0):
    pipes[0].close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in pipes:
        pipe.close()


def _text(data) -> str:
    return bytes(data).decode("utf-8", errors="replace")


class ProgramPort:
    """A port that is a program; `command` as in a shell, but run without one. Close it, or use it in a `with`.

    timeout: seconds for every case; the hello and the first case have FIRST_TIMES that. After a fault that leaves the
    program in an unknown state (a hang, an exit, an invalid answer) the next call restarts it, until faults have taken
    PATIENCE times the time limit. So a program that crashes can be tested with many cases, and one that hangs ends
    soon. At the end its process group is killed; a child that moved to another group is not.

    Raises PortFault if the program does not start and answer the hello.
    """

    def __init__(self, command: str, timeout: float = 10.0):
        self.command, self.timeout = command, timeout
        self.case_id = self.answers = 0
        self.lost = 0.0  # seconds spent on faults and restarts
        self.last_fault: PortFault | None = None
        self.program: Program | None = None
        self.identity = self._start()
        vars(self).update(self.identity._asdict())

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self, patience: float = EXIT_GRACE) -> None:
        """End the program; it has a second to exit by itself."""
        program, self.program = self.program, None
        if program is not None:
            program.end(patience)

    def report(self, case: WindowCase) -> dict:
        """The report of a case. Raises PortFault, at the latest after the time limit."""
        if str(case_dtype(case)) not in self.identity.dtypes:
            raise PortFault(
                f"does not support {case_dtype(case)}: its hello names {' and '.join(self.identity.dtypes)}"
            )
        self.case_id += 1
        if self.program is None:
            if self.lost > PATIENCE * self.timeout:
                raise PortFault(f"is not restarted after too many faults; the last one: {self.last_fault}")
            began = time.monotonic()
            self._start()
            self.lost += time.monotonic() - began
        request = protocol.encode_request(case, self.case_id, decimal=self.identity.numbers == "decimal")
        longest = protocol.max_report_length(case)
        answer = self._ask(request, longest, lambda line: protocol.answer_to(line, self.case_id))
        return protocol.answer_arrays(answer, case)

    def _start(self) -> protocol.Identity:
        try:
            words = shlex.split(self.command) or [""]
        except ValueError as error:
            raise PortFault(f"cannot be started: {error} in the command {self.command!r}") from None
        self.program = Program(words)
        return self._ask(protocol.HELLO, protocol.MAX_HELLO_LENGTH, protocol.decode_hello)

    def _ask(self, question: str, max_length: int, decode: Callable[[str], T]) -> T:
        assert self.program is not None
        began = time.monotonic()
        limit = self.timeout * (1 if self.answers > 1 else FIRST_TIMES)
        try:
            answer = decode(self.program.ask(question, max_length, limit))
        except BaseException as error:
            self.close(patience=0.0)
            self.lost += time.monotonic() - began
            self.last_fault = error if isinstance(error, PortFault) else self.last_fault
            raise
        self.answers += 1
        return answer
