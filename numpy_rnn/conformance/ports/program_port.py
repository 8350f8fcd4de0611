"""A port in any language: a program that speaks the protocol of `protocol.py`."""

import shlex
import time
from collections.abc import Callable

from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.ports import protocol
from numpy_rnn.conformance.ports.faults import PortFault
from numpy_rnn.conformance.ports.program import LEAVING, Program

PATIENCE = 5  # times the time limit


class ProgramPort:
    """A port that is a program; `command` as in a shell, but run without one. Close it, or use it in a `with`.

    timeout: seconds, for the hello and for every case. After a fault that leaves the program in no known state (a hang,
    its end, an answer that is none) the next call starts it again: up to `restarts` times, and until PATIENCE times the
    time limit went into faults. So one that crashes can be looked into with many cases, and one that hangs ends soon.
    Everything in its process group is killed at the end; a child that left the group for another is not found.

    Raises PortFault when the program does not start and say hello.
    """

    def __init__(self, command: str, timeout: float = 10.0, restarts: int = 300):
        self.command, self.timeout, self.restarts = command, timeout, restarts
        self.case_id = 0
        self.lost = 0.0  # seconds that went into faults and new starts
        self.last_fault: PortFault | None = None
        self.program: Program | None = None
        hello = self._start()
        self.name, self.dtypes = hello["name"], hello["dtypes"]
        self.capabilities, self.tanh_ulps, self.lacks = hello["capabilities"], hello["tanh_ulps"], hello["lacks"]
        self.hello = hello

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """End the program, with a second to leave by itself."""
        self._end(LEAVING)

    def window_update(
        self, params, x, target, h_0, *, learning_rate, nonlinearity="tanh", reduction="sum", velocity=None, **sgd
    ) -> dict:
        """The report of one window, as a Python port gives it. Raises PortFault, at the latest after the time limit."""
        before = None if velocity is None else Parameters(**dict.fromkeys(Parameters._fields) | velocity)
        step = SgdOptions(**sgd), before
        case = Case(Parameters(**params), x, target, h_0, learning_rate, nonlinearity, reduction, *step)
        if str(case.dtype) not in self.dtypes:
            raise PortFault(f"does not compute in {case.dtype}: its hello names {' and '.join(self.dtypes)}")
        self.case_id += 1
        if self.program is None:
            self._start_again()
        request = protocol.encode_request(case, self.case_id)
        answer = self._ask(request, protocol.longest_report(case), lambda line: protocol.answer_to(line, self.case_id))
        return protocol.arrays_of(answer, case)

    def _start(self) -> dict:
        try:
            words = shlex.split(self.command)
        except ValueError as error:
            raise PortFault(f"cannot be started: {error} in the command {self.command!r}") from None
        if not words:
            raise PortFault("cannot be started: the command is empty")
        self.program = Program(words)
        return self._ask(protocol.HELLO, protocol.LONGEST_HELLO, protocol.decode_hello)

    def _start_again(self) -> None:
        if self.restarts == 0 or self.lost > PATIENCE * self.timeout:
            raise PortFault(f"is not started again, after too many faults; the last one: {self.last_fault}")
        self.restarts -= 1
        began = time.monotonic()
        hello = self._start()
        self.lost += time.monotonic() - began
        if hello != self.hello:
            self._end()
            raise PortFault("says another hello than the first time")

    def _ask(self, question: str, longest: int, decode: Callable[[str], dict]) -> dict:
        assert self.program is not None
        began = time.monotonic()
        try:
            return decode(self.program.ask(question, longest, self.timeout))
        except BaseException as error:
            self._end()
            self.lost += time.monotonic() - began
            if isinstance(error, PortFault):
                self.last_fault = error
            raise

    def _end(self, patience: float = 0.0) -> None:
        program, self.program = self.program, None
        if program is not None:
            program.end(patience)
