"""Standard output and standard error that take any text, also where they are closed or know ASCII only."""

import os
import sys
from contextlib import ExitStack, contextmanager, redirect_stdout

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
