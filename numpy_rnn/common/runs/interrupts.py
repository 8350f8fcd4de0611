"""Ctrl-C and the signals that end a program.

SIGINT is Ctrl-C; SIGTERM is sent by `kill` and by job schedulers, SIGHUP when the terminal is closed. A signal that is
ignored when the program starts, as SIGHUP under nohup or SIGINT in a script's background, stays ignored.
"""

import signal
import threading
from contextlib import contextmanager
from typing import Any

HEEDED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, raised as Python raises KeyboardInterrupt for SIGINT, so that it is handled alike."""

    def __init__(self, number: int):
        super().__init__(f"terminated by signal {number}")
        self.signal = number


def signal_of(interrupt: KeyboardInterrupt) -> int:
    """The number of the signal that was raised."""
    return interrupt.signal if isinstance(interrupt, Terminated) else signal.SIGINT


class Interrupts:
    """Which signal has come, if any."""

    def __init__(self):
        self.received: int | None = None
        self.former: dict[int, Any] = {}

    def __call__(self) -> int | None:
        return self.received

    def handle(self, number, frame):
        """The first signal is kept for the run; a second one acts as it did before, at once."""
        self.received = number
        self.restore()

    def install(self, numbers, handler):
        """Handle these signals, but for those that are ignored, or handled by something that is not Python."""
        for number in numbers:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self.former[number] = signal.signal(number, handler)

    def restore(self):
        """Handle signals as before."""
        former, self.former = self.former, {}
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def heeded(wanted: bool = True):
    """Interrupts that tell which signal came while the block runs. Not `wanted`, or outside the main thread, none."""
    interrupts = Interrupts()
    if wanted and _is_main_thread():
        interrupts.install(HEEDED, interrupts.handle)
    try:
        yield interrupts
    finally:
        interrupts.restore()


@contextmanager
def terminable():
    """A block in which SIGTERM and SIGHUP raise Terminated. Outside the main thread they act as before."""
    interrupts = Interrupts()
    if _is_main_thread():
        interrupts.install([number for number in HEEDED if number != signal.SIGINT], _terminate)
    try:
        yield
    finally:
        interrupts.restore()


def _terminate(number, frame):
    raise Terminated(number)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
