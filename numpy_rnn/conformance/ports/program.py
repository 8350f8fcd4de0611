"""Programs as ports: a program reads a request per line, and answers it with a line.

It needs Linux or macOS.
"""

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import time
import weakref

from numpy_rnn.common.texts import one_line
from numpy_rnn.conformance.case import NamedArrays, WindowCase
from numpy_rnn.conformance.ports.protocol import (
    HELLO,
    LONGEST_HELLO,
    Message,
    PortFault,
    decode_answer,
    decode_hello,
    encode_request,
    longest_answer,
)

EXIT_GRACE = 1.0  # seconds that a program has to exit by itself
FIRST_TIMES = 6  # time limits of the hello and the first answer: imports, compilation
CHUNK = 2**16  # bytes that are read at once
POLL = 0.1  # seconds between two looks at whether the program has ended
KEPT_ERRORS = 10_000  # bytes of standard error, its last ones
SHOWN_ERRORS = 4  # lines of them


class ProgramPort:
    """A program as a port. Close it at the end, as with `contextlib.closing`.

    After a hang, a flood or an exit, the next case starts the program again. Its
    process group is killed at the end, also at the end of this object and of the
    interpreter.

    Parameters
    ----------
    command
        The program and its arguments, as in a shell, but run without one.
    timeout
        Seconds for every answer. The hello and the first case have FIRST_TIMES that.

    Raises
    ------
    PortFault
        If the program does not start, or does not answer the hello.
    """

    def __init__(self, command: str, timeout: float = 10.0):
        self.command = command
        self.timeout = timeout
        self.answers = 0
        self.case_id = 0
        for statement, value in self._start().items():  # those of its hello
            setattr(self, statement, value)

    def close(self, patience: float = EXIT_GRACE) -> None:
        """End the program, which has `patience` seconds to exit by itself."""
        if self.ending.detach():
            _end(self.process, patience)

    def report(self, case: WindowCase) -> NamedArrays:
        """Return the report of the program on a case.

        Raises PortFault if there is none, at the latest after the time limit.
        """
        if not self.ending.alive:
            self._start()
        self.case_id += 1
        request = encode_request(case, self.case_id)
        line = self._ask(request, longest_answer(case))
        return decode_answer(line, case, self.case_id)

    def _start(self) -> Message:
        """Start the program. Returns the statements of its hello."""
        if os.name != "posix":
            raise PortFault(
                "cannot be started: a program as a port needs Linux or macOS"
            )
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(
                shlex.split(self.command) or [""],
                bufsize=0,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:  # ValueError: an open quotation mark
            reason = getattr(error, "strerror", None) or error
            command = one_line(self.command)
            raise PortFault(
                f"cannot be started: {command}: {reason}; check the command"
            ) from None
        self.ending = weakref.finalize(self, _end, self.process)
        self.dialogue = Dialogue(self.process)
        try:
            line = self._ask(HELLO, LONGEST_HELLO)
            return decode_hello(line)
        except PortFault:
            self.close(patience=0.0)
            raise

    def _ask(self, question: str, longest: int) -> str:
        """Return the answer to a question. Without one, end the program and raise."""
        limit = self.timeout
        if self.answers < 2:
            limit *= FIRST_TIMES
        try:
            answer = self.dialogue.ask(question.encode("ascii"), longest, limit)
        except PortFault as fault:
            complaint = self.dialogue.complaint()
            self.close(patience=0.0)
            raise PortFault(f"{fault}{complaint}") from None
        except BaseException:  # an interrupt
            self.close(patience=0.0)
            raise
        self.answers += 1
        return answer.decode(errors="replace")


class Dialogue:
    """Lines to and from a running program.

    No read and no write waits for longer than a deadline, whatever the program does,
    and whoever else holds its pipes.
    """

    def __init__(self, process: subprocess.Popen[bytes]):
        self.process = process
        self.errors = b""  # the end of what it wrote to standard error
        descriptors = list[int]()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            descriptors.append(pipe.fileno())
        self.stdin, self.stdout, self.stderr = descriptors

    def ask(self, question: bytes, longest: int, limit: float) -> bytes:
        """Write a line, and return the line that answers it.

        Raises PortFault if the answer takes more than `limit` seconds or has more than
        `longest` bytes, and if there is none.
        """
        deadline = time.monotonic() + limit
        unsent = memoryview(question + b"\n")
        answer = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self.stdin, selectors.EVENT_WRITE)
            selector.register(self.stdout, selectors.EVENT_READ)
            selector.register(self.stderr, selectors.EVENT_READ)
            while True:
                has_ended = self.process.poll() is not None
                ready = selector.select(POLL)
                # After its end another process may hold its output.
                if time.monotonic() > deadline or (has_ended and not ready):
                    raise PortFault(self._why_late(limit))
                for key, _ in ready:
                    if key.fd == self.stdin:
                        unsent = unsent[_write(self.stdin, unsent) :]
                        if not unsent:
                            selector.unregister(self.stdin)
                    elif key.fd == self.stderr:
                        if not self._read_errors():
                            selector.unregister(self.stderr)
                    else:
                        chunk = os.read(self.stdout, CHUNK)
                        if not chunk:
                            raise PortFault(self._why_closed())
                        answer += chunk
                        if b"\n" in chunk or len(answer) > longest:
                            return _checked_answer(answer, longest)

    def complaint(self) -> str:
        """Return the last lines that the program wrote to standard error."""
        self._read_errors()
        lines = []
        for line in self.errors.decode(errors="replace").splitlines():
            if line.strip(" ^~-"):  # not only the marks below a line of a traceback
                lines.append(line)
        if not lines:
            return ""
        shown = one_line(" | ".join(lines[-SHOWN_ERRORS:]))
        return f"; its standard error: {shown}"

    def _read_errors(self) -> bool:
        """Read from standard error. Returns False at its end."""
        try:
            chunk = os.read(self.stderr, CHUNK)
        except BlockingIOError:
            return True
        self.errors = (self.errors + chunk)[-KEPT_ERRORS:]
        return bool(chunk)

    def _why_late(self, limit: float) -> str:
        """Return why there is no answer within the limit, in seconds."""
        if self.process.poll() is not None:
            return f"{self._exit()} and without an answer; it leaves a child process"
        return f"does not answer within {limit:g} s (does it flush its output?)"

    def _why_closed(self) -> str:
        """Return why its output is at its end. It has EXIT_GRACE seconds to exit."""
        try:
            self.process.wait(EXIT_GRACE)
        except subprocess.TimeoutExpired:
            return "closes its standard output without an answer, and goes on"
        return f"{self._exit()} and without an answer"

    def _exit(self) -> str:
        """Return how the program has ended, by a status or by a signal."""
        status = self.process.returncode
        if status >= 0:
            return f"ends with exit status {status}"
        names = {number.value: number.name for number in signal.Signals}
        return f"ends by {names.get(-status, f'signal {-status}')}"


def _checked_answer(answer: bytearray, longest: int) -> bytes:
    """Return the answer without its line end, if it is one line and not too long."""
    line, newline, rest = bytes(answer).partition(b"\n")
    start = one_line(line[:CHUNK].decode(errors="replace"), 80)
    if len(line) > longest or not newline:
        raise PortFault(
            f"answers with more than {longest:,} bytes, which begin {start}: expected "
            "the numbers of the report"
        )
    if rest:
        raise PortFault(
            f"answers with more than one line, the first of which is {start}: expected "
            "one line for every line that it reads"
        )
    return line


def _write(descriptor: int, content: memoryview) -> int:
    """Write what the pipe takes. Returns the number of bytes, all if nobody reads."""
    try:
        return os.write(descriptor, content)
    except BrokenPipeError:
        return len(content)


def _end(process: subprocess.Popen[bytes], patience: float = 0.0) -> None:
    """End a process and its group. Nothing here waits for another process."""
    if process.stdin is not None and patience:
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
