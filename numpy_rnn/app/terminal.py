"""The terminal: exit status, standard streams, signals, and the progress bar of runs longer than two seconds.

SIGINT is Ctrl-C; SIGTERM is sent by `kill` and by job schedulers, SIGHUP when the terminal is closed. A signal that is
ignored when the program starts, as SIGHUP under nohup or SIGINT in a script's background, stays ignored.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from importlib.util import find_spec
from typing import Any

import numpy as np

from numpy_rnn.app.format import one_line
from numpy_rnn.common.errors import InputError


def exit_status(program: str, work: Callable[[], int]) -> int:
    """Do the work of a whole program and return its exit status, that of the work where nothing fails.

    2 when the input cannot be used or the output cannot be written; 1 when the reader of the output has gone, as in
    `| head`; 130 after Ctrl-C. Of the first and the last, one line on standard error says why.
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
    except KeyboardInterrupt:
        return failed(program, 130, "interrupted")
    except BrokenPipeError:
        _discard_output()
        return 1
    except OSError as error:
        _discard_output()
        return failed(program, 2, f"the output cannot be written: {error.strerror or error}")


def failed(program: str, status: int, message: str) -> int:
    """Print the message as one line on standard error, and return the status."""
    print(f"{program}: {one_line(message)}", file=sys.stderr)
    return status


def _discard_output():
    """Let Python's own flush at exit succeed, which would complain otherwise."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


ESCAPES = "backslashreplace"


@contextmanager
def printing_anything():
    """A context in which printing never fails for what is printed.

    A character that the encoding of a stream does not have is written as its escape, such as \\xe9. A stream that was
    closed before Python began, as by `2>&-`, discards what is written to it.
    """
    with ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:
                nothing = stack.enter_context(_nowhere())
                setattr(sys, name, nothing)
                stack.callback(setattr, sys, name, None)
            elif hasattr(stream, "reconfigure"):
                stack.callback(stream.reconfigure, errors=stream.errors)
                stream.reconfigure(errors=ESCAPES)
        yield


@contextmanager
def quiet():
    """A context in which nothing is printed on standard output."""
    with _nowhere() as nothing, redirect_stdout(nothing):
        yield


def _nowhere():
    return open(os.devnull, "w", encoding="utf-8", errors=ESCAPES)


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


DELAY = 2.0  # seconds before it is shown
WIDTH = 100  # columns, below which the rate of the updates is left out, for the loss to have room,
NARROW = 70  # and below which their number and the time so far are too
REFRESH = 0.1  # seconds between two looks at the loss


class Progress:
    """A bar over the updates of a run, with the loss and the time that is left. On standard error, by tqdm.

    Without a terminal, or not `wanted`, there is none; without tqdm a line says why there is none, once it would have
    been shown.
    """

    def __init__(self, name: str, updates: int, done: int = 0, wanted: bool = True):
        self.name, self.seen, self.next_look = name, 0, time.monotonic() + DELAY
        self.shown = False
        self.on = wanted and sys.stderr is not None and sys.stderr.isatty() and updates > done
        self.bar = None
        if self.on and find_spec("tqdm") is not None:
            from tqdm import tqdm

            self.bar = tqdm(
                total=updates,
                initial=done,
                delay=DELAY,
                desc=name,
                unit=" updates",
                **_width(),
                leave=False,
                file=sys.stderr,
            )

    def update(self, epoch: int, loss, made: int = 1) -> None:
        """So many more updates have been made, the latest with this loss (of an ensemble, its median is shown)."""
        self.seen += made
        if not self.on or time.monotonic() < self.next_look:
            return
        self.next_look = time.monotonic() + REFRESH
        if self.bar is None:
            self.on = False
            print(f"{self.name}: no progress bar, as tqdm is not installed", file=sys.stderr)
            return
        finite = np.asarray(loss)[np.isfinite(loss)]
        self.bar.set_postfix(epoch=epoch, loss=f"{np.median(finite):.3g}" if finite.size else "nan", refresh=False)
        self.bar.update(self.seen)
        self.seen, self.shown = 0, True

    def aside(self):
        """A context in which something else is printed: the bar is out of the way."""
        return self.bar.external_write_mode(file=sys.stdout) if self.bar is not None and self.shown else nullcontext()

    def close(self) -> None:
        """Take it away."""
        if self.bar is not None:
            self.bar.close()


def _width():
    """As wide as the terminal; as WIDTH on one that does not know, where tqdm would draw nothing at all."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):  # what stands for standard error has no descriptor
        columns = 0
    if columns == 0:
        return {"ncols": WIDTH}
    if columns >= WIDTH:
        return {"dynamic_ncols": True}
    number, elapsed = ("", "") if columns < NARROW else (" {n_fmt}/{total_fmt}", "{elapsed}<")
    form = f"{{desc}}: {{percentage:3.0f}}%|{{bar}}|{number} [{elapsed}{{remaining}}{{postfix}}]"
    return {"dynamic_ncols": True, "bar_format": form}


@contextmanager
def progress(name: str, updates: int, done: int = 0, wanted: bool = True):
    """A Progress that is taken away at the end, also when the run is broken off."""
    shown = Progress(name, updates, done, wanted)
    try:
        yield shown
    finally:
        shown.close()
