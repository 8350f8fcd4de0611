"""What the program does on a terminal: exit status, messages, signals, and the progress bar.

Ctrl-C sends SIGINT, `kill` and job schedulers send SIGTERM, and a closed terminal sends SIGHUP. A signal that is
ignored when the program starts, such as SIGHUP under nohup, stays ignored.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from numpy_rnn.common.errors import Diverged, InputError, one_line

MAX_MESSAGE = 1000  # characters
DELAY = 2.0  # seconds before a progress bar appears
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h


def exit_status(program: str, work: Callable[[], int], traceback: bool = False) -> int:
    """Do the work of a whole program. Returns its exit status: that of the work if nothing fails.

    2 if the input cannot be used or the output cannot be written; 3 if a run diverged; 1 if the reader of the output is
    gone, as in `| head`; 130 after Ctrl-C, or 128 plus the number of another signal; 70 after an unexpected exception.
    One line on standard error says why. traceback: raise an unexpected exception instead.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # of a character that the terminal does not have
    try:
        try:
            return work()
        finally:
            print(end="", flush=True)
    except InputError as error:
        return failed(program, 2, str(error))
    except Diverged as error:
        return failed(program, 3, str(error))
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        return failed(program, 2, f"not enough memory{reason}: choose fewer hidden units, networks, steps or rows")
    except KeyboardInterrupt as error:
        return failed(program, 128 + interrupting_signal(error), "interrupted")
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        return failed(program, 2, f"the output cannot be written: {error.strerror or error}")
    except Exception as error:
        if traceback:
            raise
        message = f"unexpected {type(error).__name__}: {error}; run again with --traceback, and report it"
        return failed(program, INTERNAL_ERROR, message)


def failed(program: str, status: int, message: str) -> int:
    """Print the message on one line on standard error. Returns the status."""
    with suppress(OSError):  # a full or closed standard error changes nothing
        if sys.stderr is not None:
            print(f"{program}: {one_line(message, MAX_MESSAGE)}", file=sys.stderr)
    return status


def _discard_output() -> None:
    """Redirect standard output, so that Python's own flush at exit succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Terminated(KeyboardInterrupt):
    """A signal as an exception."""

    def __init__(self, number: int, is_deferred: bool = False):
        super().__init__(f"terminated by signal {number}")
        self.signal, self.is_deferred = number, is_deferred


def interrupting_signal(interrupt: KeyboardInterrupt) -> int:
    """The number of the signal that raised the exception."""
    return getattr(interrupt, "signal", signal.SIGINT)


class Signals:
    """A context in which SIGINT, SIGTERM and SIGHUP raise Terminated; while they are `deferred`, the first one is only
    recorded as `received`, and a second one acts at once.

    Outside the main thread, signals act as before.
    """

    NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

    def __init__(self) -> None:
        self.deferred = False
        self.received: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
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
def progress_bar(name: str, total: int, done: int = 0, wanted: bool = True) -> Iterator[Any]:
    """A bar by tqdm on standard error, from two seconds on.

    It is None if it is not wanted, standard error is no terminal, or tqdm is not installed.
    """
    if not (wanted and sys.stderr is not None and sys.stderr.isatty() and find_spec("tqdm")):
        yield None
        return
    from tqdm import tqdm

    with tqdm(
        desc=name, total=total, initial=done, unit=" updates", delay=DELAY, leave=False, dynamic_ncols=True
    ) as bar:
        yield bar
