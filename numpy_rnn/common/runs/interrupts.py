"""Ctrl-C, and the order to end, as a question that a run asks between two updates."""

import signal
import threading
from contextlib import contextmanager
from typing import Any

HEEDED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM") if hasattr(signal, name))


class Interrupts:
    """Which signal has come, if any."""

    def __init__(self):
        self.received: int | None = None
        self.former: dict[int, Any] = {}

    def __call__(self) -> int | None:
        return self.received

    def handle(self, number, frame):
        """The first signal is kept for the run; a second one acts as it always does."""
        self.received = number
        self.restore()

    def restore(self):
        """Handle signals as before."""
        former, self.former = self.former, {}
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def heeded(wanted: bool = True):
    """Interrupts that tell which signal came while the block runs. Not `wanted`, or outside the main thread, none."""
    interrupts = Interrupts()
    if wanted and threading.current_thread() is threading.main_thread():
        for number in HEEDED:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # ignored, as by nohup, or handled by others
                interrupts.former[number] = signal.signal(number, interrupts.handle)
    try:
        yield interrupts
    finally:
        interrupts.restore()
