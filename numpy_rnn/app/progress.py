"""A line of progress on a terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show a text on standard error while the block runs, if that is a terminal."""
    stream = sys.stderr
    if stream is None or not stream.isatty():
        yield
        return
    stream.write(f"{text} ...\r")
    stream.flush()
    try:
        yield
    finally:
        stream.write("\x1b[2K\r")
        stream.flush()
