"""A time limit for code of this process."""

import contextlib
import signal
import threading
import time

LONGEST = 1e7  # seconds, about what a timer of the system can take


class TimeUp(BaseException):
    """The time is up. Not an Exception, so that the code under the limit does not take it for one of its own."""


@contextlib.contextmanager
def time_limit(seconds: float | None):
    """Raise TimeUp inside the block when it runs longer; None: no limit.

    Done by the alarm signal. So there is no limit outside the main thread and on systems without that signal, and a
    single call into compiled code that does not come back is not ended: only a program (`ProgramPort`) can be held to
    a limit whatever it does. An alarm that was set before, as by pytest-timeout, is set again afterwards.
    """
    seconds = None if seconds is None else min(seconds, LONGEST)
    possible = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if seconds is None or not possible:
        yield
        return

    def ring(number, frame):
        raise TimeUp

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)  # again, where `except:` swallows the first
    try:
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # also when the alarm rings in the line before
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 1e-6), interval)
