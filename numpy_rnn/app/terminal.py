"""The terminal: exit status, standard streams, signals, and the progress bar of work longer than two seconds.

Ctrl-C sends SIGINT, `kill` and job schedulers send SIGTERM, and a closed terminal sends SIGHUP. A signal that is
ignored when the program starts, such as SIGHUP under nohup, stays ignored.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, redirect_stdout
from importlib.util import find_spec
from typing import Any

from numpy_rnn.app.format import error_line
from numpy_rnn.common.errors import InputError


def exit_status(program: str, work: Callable[[], int]) -> int:
    """Do the work of a whole program. Returns its exit status: that of the work if nothing fails.

    2 if the input cannot be used or the output cannot be written; 1 if the reader of the output is gone, as in
    `| head`; 130 after Ctrl-C, or 128 plus the number of another signal. One line on standard error says why.
    """
    try:
        try:
            return work()
        finally:
            print(end="", flush=True)
    except InputError as error:
        return failed(program, 2, str(error))
    except MemoryError as error:
        return failed(program, 2, f"not enough memory ({error}): choose fewer hidden units, networks or rows")
    except KeyboardInterrupt as error:
        return failed(program, 128 + signal_of(error), "interrupted")
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        return failed(program, 2, f"the output cannot be written: {error.strerror or error}")


def failed(program: str, status: int, message: str) -> int:
    """Print the message on one line on standard error. Returns the status."""
    print(f"{program}: {error_line(message)}", file=sys.stderr)
    return status


def _discard_output():
    """Redirect standard output, so that Python's own flush at exit succeeds."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


ESCAPES = "backslashreplace"


@contextmanager
def printing_anything() -> Iterator[None]:
    """A context in which any text can be printed.

    A character that the encoding of a stream cannot represent is written as an escape, such as \\xe9. A stream that was
    closed before Python started, as by `2>&-`, discards what is written to it.
    """
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:
                null = stack.enter_context(_null_stream())
                setattr(sys, name, null)
                stack.callback(setattr, sys, name, None)
            elif hasattr(stream, "reconfigure"):
                stack.callback(stream.reconfigure, errors=stream.errors)
                stream.reconfigure(errors=ESCAPES)
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """A context in which nothing is printed on standard output."""
    with _null_stream() as null, redirect_stdout(null):
        yield


def _null_stream():
    return open(os.devnull, "w", encoding="utf-8", errors=ESCAPES)


SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP as an exception, so that it is handled as KeyboardInterrupt is for SIGINT."""

    def __init__(self, number: int):
        super().__init__(f"terminated by signal {number}")
        self.signal = number


def signal_of(interrupt: KeyboardInterrupt) -> int:
    """The number of the signal that raised the exception."""
    return interrupt.signal if isinstance(interrupt, Terminated) else signal.SIGINT


class SignalRecord:
    """The signal received so far, if any; None otherwise."""

    def __init__(self):
        self.received: int | None = None
        self.previous: dict[int, Any] = {}  # handlers

    def __call__(self) -> int | None:
        return self.received

    def handle(self, number, frame):
        """Record the first signal; a second one acts at once, as it did before."""
        self.received = number
        self.restore()

    def install(self, numbers, handler):
        """Handle these signals, except those that are ignored or have a handler outside Python."""
        for number in numbers:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self.previous[number] = signal.signal(number, handler)

    def restore(self):
        """Restore the previous handlers."""
        previous, self.previous = self.previous, {}
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def deferred_signals(wanted: bool = True) -> Iterator[SignalRecord]:
    """A context in which the first signal is recorded instead of acting; unless `wanted`, or outside the main thread,
    signals act as before.
    """
    record = SignalRecord()
    if wanted and _is_main_thread():
        record.install(SIGNALS, record.handle)
    try:
        yield record
    finally:
        record.restore()


@contextmanager
def raised_on_termination() -> Iterator[None]:
    """A context in which SIGTERM and SIGHUP raise Terminated. Outside the main thread they act as before."""
    record = SignalRecord()
    if _is_main_thread():
        record.install([number for number in SIGNALS if number != signal.SIGINT], _terminate)
    try:
        yield
    finally:
        record.restore()


def _terminate(number, frame):
    raise Terminated(number)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


DELAY = 2.0  # seconds before the bar appears
WIDTH = 100  # columns; on a narrower terminal the rate is left out, to leave room for the details,
NARROW = 70  # and on one narrower than this, also the counts and the elapsed time
REFRESH = 0.1  # seconds between two updates of the bar


class Progress:
    """A progress bar on standard error, by tqdm, with the time left and details such as the loss.

    There is none unless standard error is a terminal and a bar is `wanted`, nor for work that takes less than DELAY.
    Without tqdm, one line says so instead.
    """

    def __init__(self, name: str, total: int | None, unit: str, done: int = 0, wanted: bool = True):
        self.name, self.pending, self.next_refresh = name, 0, time.monotonic() + DELAY
        self.is_visible = False
        self.is_on = wanted and sys.stderr is not None and sys.stderr.isatty() and total != done
        self.bar = None
        if self.is_on and find_spec("tqdm") is not None:
            from tqdm import tqdm

            self.bar = tqdm(
                total=total,
                initial=done,
                delay=DELAY,
                desc=name,
                unit=f" {unit}",
                **_width(),
                leave=False,
                file=sys.stderr,
            )

    def advance(self, number: int = 1, details: Callable[[], dict[str, Any]] = dict, total: int | None = None) -> None:
        """Count so many more units of work. details: called for what is shown at the end, if the bar is refreshed.

        total: the new total, if it has changed.
        """
        self.pending += number
        if not self.is_on or time.monotonic() < self.next_refresh:
            return
        self.next_refresh = time.monotonic() + REFRESH
        if self.bar is None:
            self.is_on = False
            print(f"{self.name}: no progress bar: tqdm is not installed", file=sys.stderr)
            return
        if total is not None:
            self.bar.total = total
        self.bar.set_postfix(details(), refresh=False)
        self.is_visible = True
        self.bar.update(self.pending)
        self.pending = 0

    def paused(self) -> AbstractContextManager[Any]:
        """A context in which something else is printed: the bar is cleared before and redrawn after it."""
        if self.bar is None or not self.is_visible:
            return nullcontext()
        return self.bar.external_write_mode(file=sys.stdout)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            if self.is_visible:
                self.bar.clear()  # tqdm does not, if Ctrl-C comes after it has drawn and before it has noted when
            self.bar.close()


def _width():
    """As wide as the terminal; WIDTH if the terminal does not know its width, where tqdm would draw nothing."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):  # standard error is replaced by something without a descriptor
        columns = 0
    if columns == 0:
        return {"ncols": WIDTH}
    if columns >= WIDTH:
        return {"dynamic_ncols": True}
    number, elapsed = ("", "") if columns < NARROW else (" {n_fmt}/{total_fmt}", "{elapsed}<")
    form = f"{{desc}}: {{percentage:3.0f}}%|{{bar}}|{number} [{elapsed}{{remaining}}{{postfix}}]"
    return {"dynamic_ncols": True, "bar_format": form}


@contextmanager
def progress(name: str, total: int | None, unit: str, done: int = 0, wanted: bool = True) -> Iterator[Progress]:
    """A Progress that is removed at the end of the block, also if the work is interrupted."""
    bar = Progress(name, total, unit, done, wanted)
    try:
        yield bar
    finally:
        bar.close()
