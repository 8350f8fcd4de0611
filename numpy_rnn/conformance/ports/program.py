"""A program as a port: it reads a request per line and writes an answer per line. POSIX
only.
"""

import contextlib
import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
import weakref

import numpy as np

from numpy_rnn.common.errors import one_line
from numpy_rnn.conformance.case import WindowCase
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.protocol import Named, PortFault

MAX_LENGTH = 10**9  # bytes of an answer
EXIT_GRACE = 1.0  # seconds that a program has to exit by itself
FIRST_TIMES = (
    6  # time limits for a hello and a first answer, which may import or compile
)


class ProgramPort:
    """A port that is a program. Close it at the end, as with contextlib.closing.

    command: as in a shell, but run without one. timeout: seconds for every answer; the
    hello and the first case have FIRST_TIMES that. After a hang or an exit the next
    call restarts the program. Its process group is killed at the end, also that of this
    object or the interpreter. Raises PortFault if the program does not start and answer
    the hello.
    """

    def __init__(self, command: str, timeout: float = 10.0):
        self.command, self.timeout = command, timeout
        self.answers = self.case_id = 0
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  # it lives as long as the port
        weakref.finalize(self, self.errors.close)
        vars(self).update(self._start())

    def close(self, patience: float = EXIT_GRACE) -> None:
        """End the program, which has so many seconds to exit by itself."""
        if self.ending.detach():
            _end(self.process, patience)

    def report(self, case: WindowCase) -> dict[str, np.ndarray]:
        """The report of a case. Raises PortFault, at the latest after the
        time limit.
        """
        if not self.ending.alive:
            self._start()
        self.case_id += 1
        line = self._ask(protocol.encode_request(case, self.case_id))
        return protocol.decode_answer(line, case, self.case_id)

    def _start(self) -> Named:
        if os.name != "posix":
            raise PortFault("cannot be started: programs as ports need a POSIX system")
        self.errors.seek(0)
        self.errors.truncate()
        try:
            words = shlex.split(self.command) or [""]
            pipe, errors = subprocess.PIPE, self.errors
            self.process = subprocess.Popen(
                words, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True
            )
        except (
            OSError,
            ValueError,
        ) as error:  # ValueError: quotation marks without an end
            why = getattr(error, "strerror", None) or error
            command = one_line(self.command)
            raise PortFault(
                f"cannot be started: {command}: {why}; check the command"
            ) from None
        self.ending = weakref.finalize(self, _end, self.process)
        try:
            return protocol.decode_hello(self._ask(protocol.HELLO))
        except PortFault:
            self.close(patience=0.0)
            raise

    def _ask(self, question: str) -> str:
        """Send a line and return the answer, a line. Otherwise end the program and
        raise.
        """
        timeout = self.timeout * (1 if self.answers > 1 else FIRST_TIMES)
        answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None

        def exchange() -> None:  # in a thread: a program may not read, or not write
            line = b""
            with contextlib.suppress(OSError, ValueError):  # a pipe that is closed
                stdin.write(question.encode("ascii") + b"\n")
                stdin.flush()
                line = stdout.readline(MAX_LENGTH)
            answers.put(line)

        try:
            threading.Thread(target=exchange, daemon=True).start()
            line = answers.get(timeout=timeout)
        except queue.Empty:
            self.close(patience=0.0)
            late = f"does not answer within {timeout:g} s (does it flush its output?)"
            raise PortFault(late + self._complaint()) from None
        except BaseException:  # an interrupt
            self.close(patience=0.0)
            raise
        if not line.endswith(b"\n"):
            self.close()
            raise PortFault(
                f"ends {self._status()} and without an answer{self._complaint()}"
            )
        self.answers += 1
        return line.decode(errors="replace")

    def _status(self) -> str:
        status = self.process.returncode
        if status >= 0:
            return f"with exit status {status}"
        names = {-number.value: number.name for number in signal.Signals}
        return f"by {names.get(status, f'signal {-status}')}"

    def _complaint(self) -> str:
        """The last lines that the program wrote to standard error."""
        self.errors.seek(0)
        text = self.errors.read().decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip(" ^~-")][-4:]
        return f"; its standard error: {one_line(' | '.join(lines))}" if lines else ""


def _end(process: subprocess.Popen[bytes], patience: float = 0.0) -> None:
    """End a process and its children."""
    if process.stdin is not None and patience:
        with contextlib.suppress(OSError):
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
