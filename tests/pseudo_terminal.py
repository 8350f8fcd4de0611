"""A program on a terminal: what comes to the screen, when, and what is left on it."""

import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from contextlib import suppress

from children import LIMIT, environment, start

COLUMNS = 240


def run_on_a_terminal(program, stdout=None, columns=COLUMNS, watch=None, **variables):
    """[(seconds since the first byte, bytes)], as they come to a terminal; the status; what a pipe for stdout got.

    watch(process, text): called at every piece with all that has come so far. The process leads a group of its own, as
    a command does that is typed. Raises TimeoutError where nothing comes for LIMIT seconds.
    """
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    env = environment(TERM="xterm", **variables)
    pieces = []
    with start(program, stdin=end, stdout=stdout or end, stderr=end, env=env, start_new_session=True) as process:
        os.close(end)
        try:
            while True:
                if not select.select([terminal], [], [], LIMIT)[0]:
                    raise TimeoutError(f"nothing came to the terminal for {LIMIT:g} seconds")
                try:
                    piece = os.read(terminal, 2**16)
                except OSError:
                    piece = b""
                if not piece:  # the other end is closed
                    break
                pieces.append((time.monotonic(), piece))
                if watch is not None:
                    watch(process, text_of(pieces, errors="replace"))  # a piece may end within a character
            piped = process.stdout.read().decode() if stdout else ""
            status = process.wait(LIMIT)
        finally:
            os.close(terminal)
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    first = pieces[0][0] if pieces else 0
    return [(moment - first, piece) for moment, piece in pieces], status, piped


def text_of(pieces, errors="strict"):
    return b"".join(piece for _, piece in pieces).decode(errors=errors)


def screen(text):
    """The lines that a terminal shows in the end, without spaces at their ends."""
    lines, column = [""], 0
    for character in text:
        if character == "\r":
            column = 0
        elif character == "\n":
            lines.append("")
        else:
            assert character.isprintable(), character
            lines[-1] = lines[-1][:column].ljust(column) + character + lines[-1][column + 1 :]
            column += 1
        assert column <= COLUMNS
    return [line.rstrip() for line in lines]
