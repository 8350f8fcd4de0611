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
from collections.abc import Iterator
from subprocess import PIPE
from typing import Any

import numpy as np

from numpy_rnn.common.errors import one_line
from numpy_rnn.common.records import WindowCase
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.protocol import Identity, PortFault

SIGNALS = ("SIGTERM", "SIGHUP")  # that end this process unless they are handled
POLL_INTERVAL = (
    0.05  # seconds between checks that the program is alive; its child may keep the pipes open
)
EXIT_GRACE = 1.0  # seconds that a program has to exit by itself
KEPT_STDERR = 1_000  # bytes of standard error that are kept, from its beginning and from its end
FIRST_TIMES = 6  # time limits for a hello and a first answer: of an interpreter that starts, of imports and compilers
CHUNK = 1 << 16

_running: weakref.WeakSet = weakref.WeakSet()  # all ports whose programs may have to be killed


@contextlib.contextmanager
def kill_programs_on_signal() -> Iterator[None]:
    """Inside the block, SIGTERM and SIGHUP kill all programs, which may hang, and then end this process as usual.

    Signals that are ignored or have another handler are left alone. Only the main thread can set handlers.
    """
    is_main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in SIGNALS if is_main and hasattr(signal, name)]
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    def end_all(number, frame):
        for port in list(_running):
            port.close(patience=0.0)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in ours:
        signal.signal(number, end_all)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


class ProgramPort(contextlib.AbstractContextManager):
    """A port that is a program; `command` as in a shell, but run without one. Close it, or use it in a `with`.

    timeout: seconds for every case; the hello and the first case have FIRST_TIMES that. After a fault that leaves the
    program in an unknown state (a hang, an exit, several lines) the next call restarts it. Its process group is killed
    at the end, also that of this object or the interpreter. Raises PortFault if it does not start and answer the hello.
    """

    def __init__(self, command: str, timeout: float = 10.0):
        self.command, self.timeout = command, timeout
        self.case_id = self.answers = 0
        self.ending: Any = None  # None: no program runs
        identity = self._start()
        self.dtypes, self.numbers = identity.dtypes, identity.numbers
        vars(self).update(identity._asdict())

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self, patience: float = EXIT_GRACE) -> None:
        """End the program; it has a second to exit by itself."""
        ending, self.ending = self.ending, None
        if ending is not None and ending.detach():
            _end(self.process, (self.stdin, self.stdout, self.stderr), patience)

    def report(self, case: WindowCase) -> dict[str, np.ndarray]:
        """The report of a case. Raises PortFault, at the latest after the time limit."""
        if str(case.params.W_hh.dtype) not in self.dtypes:
            raise PortFault(
                f"does not support {case.params.W_hh.dtype}: its hello names {', '.join(self.dtypes)}"
            )
        if self.ending is None:
            self._start()
        self.case_id += 1
        request = protocol.encode_request(case, self.case_id, decimal=self.numbers == "decimal")
        return protocol.decode_answer(
            self._ask(request, protocol.max_report_length(case)), case, self.case_id
        )

    def _start(self) -> Identity:
        """Start the program; no read or write of its pipes waits without a time limit."""
        if os.name != "posix":
            raise PortFault(
                "cannot be started: programs as ports need a POSIX system; write a trace file instead"
            )
        try:
            words = shlex.split(self.command) or [""]
            self.process = subprocess.Popen(
                words, 0, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
            )
        except (OSError, ValueError) as error:  # quotation marks without an end, a null character
            why = getattr(error, "strerror", None) or error
            raise PortFault(
                f"cannot be started: {one_line(self.command)}: {why}; check the command"
            ) from None
        pipes: list[Any] = [self.process.stdin, self.process.stdout, self.process.stderr]
        self.stdin, self.stdout, self.stderr = pipes
        for pipe in pipes:
            os.set_blocking(pipe.fileno(), False)
        self.open, self.received, self.errors = pipes[1:], bytearray(), bytearray()
        _running.add(self)
        self.ending = weakref.finalize(self, _end, self.process, pipes)
        try:
            return protocol.decode_hello(self._ask(protocol.HELLO, protocol.MAX_HELLO_LENGTH))
        except PortFault:
            self.close(patience=0.0)
            raise

    def _ask(self, question: str, max_length: int) -> str:
        """Send one line and return the answer, one line within the time limit. Otherwise end the program and raise."""
        try:
            line = self._exchange(
                question, max_length, self.timeout * (1 if self.answers > 1 else FIRST_TIMES)
            )
        except BaseException:  # also an interrupt
            self.close(patience=0.0)
            raise
        self.answers += 1
        return line

    def _exchange(self, question: str, max_length: int, timeout: float) -> str:
        deadline, unsent = time.monotonic() + timeout, memoryview(question.encode("ascii") + b"\n")

        def is_complete() -> bool:
            self._read()
            return b"\n" in self.received or len(self.received) > max_length

        while (
            not is_complete()
        ):  # it is so before the question is sent, if a line was not requested
            left = deadline - time.monotonic()
            select.select(
                self.open, [self.stdin] if unsent else [], [], max(0.0, min(left, POLL_INTERVAL))
            )
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                unsent = unsent[os.write(self.stdin.fileno(), unsent[:CHUNK]) if unsent else 0 :]
            has_ended = self.process.poll() is not None  # before the last look at what it wrote
            if not is_complete() and (has_ended or self.stdout not in self.open or left <= 0):
                fault = f"does not answer within {timeout:g} s (does it flush its output?)"
                raise self._fault(
                    f"does not read its input within {timeout:g} s" if unsent else fault
                )
        line, _, rest = bytes(self.received).partition(b"\n")
        if unsent or rest or len(line) > max_length:
            written = one_line(_text(self.received[:400]), 80)
            raise PortFault(
                f"writes {written}: expected one line of at most {max_length} characters per request"
            )
        self.received.clear()
        return _text(line)

    def _read(self) -> None:
        """Read what is available, at most one chunk per pipe."""
        for pipe, into in ((self.stdout, self.received), (self.stderr, self.errors)):
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(pipe.fileno(), CHUNK)
                into += chunk
                if not chunk and pipe in self.open:
                    self.open.remove(pipe)
        del self.errors[KEPT_STDERR:-KEPT_STDERR]

    def _fault(self, late: str) -> PortFault:
        """The fault of a program that ended, closed its output or is late, with the first and last lines of stderr."""
        what = late
        if self.stdout not in self.open:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(EXIT_GRACE)
            what = "closes its standard output without an answer"
        if (status := self.process.poll()) is not None:
            names = {-number.value: number.name for number in signal.Signals}
            how = (
                f"with exit status {status}"
                if status >= 0
                else f"by {names.get(status, f'signal {-status}')}"
            )
            what = f"ends {how} and without an answer"
        self._read()
        lines = [line for line in _text(self.errors).splitlines() if line.strip(" ^~-")]
        first, last = (
            one_line(" | ".join(lines[:4]), 200),
            one_line(" | ".join(lines[4:][-3:]), 160),
        )
        complaint = (
            "; its standard error: " + " | ... | ".join(filter(None, (first, last)))
            if lines
            else ""
        )
        return PortFault(what + complaint)


def _end(process: Any, pipes: Any, patience: float = 0.0) -> None:
    pipes[0].close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in pipes:
        pipe.close()


def _text(data: bytes | bytearray) -> str:
    return bytes(data).decode("utf-8", errors="replace")
