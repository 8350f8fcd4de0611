"""What the program does on a terminal: signals and the progress bar.

Ctrl-C sends SIGINT, `kill` and job schedulers send SIGTERM, and a closed terminal sends SIGHUP. A signal that is
ignored when the program starts, such as SIGHUP under nohup, stays ignored.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

DELAY = 2.0  # seconds before a progress bar appears


class Terminated(KeyboardInterrupt):
    """A signal as an exception."""

    def __init__(self, number: int, is_deferred: bool = False):
        self.signal, self.is_deferred = number, is_deferred


class Signals:
    """A context in which SIGINT, SIGTERM and SIGHUP raise Terminated; while they are `deferred`, the first one is only
    recorded as `received`, and a second one acts at once.
    """

    NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        self.deferred = False
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for number in self.NUMBERS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self.deferred and self.received is None:
            self.received = number
        else:
            raise Terminated(number)

    def check(self) -> None:
        """Raise Terminated if a signal was received while they were deferred."""
        if self.received is not None:
            raise Terminated(self.received, is_deferred=True)


@contextmanager
def progress_bar(name: str, total: int, done: int = 0) -> Iterator[Any]:
    """A bar by tqdm on standard error, from two seconds on; None if that is no terminal, or tqdm is not installed."""
    if not (sys.stderr is not None and sys.stderr.isatty() and find_spec("tqdm")):
        yield None
        return
    from tqdm import tqdm

    with tqdm(
        desc=name, total=total, initial=done, unit=" updates", delay=DELAY, leave=False, dynamic_ncols=True
    ) as bar:
        yield bar
