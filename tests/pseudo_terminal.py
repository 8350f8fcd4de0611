"""A program on a terminal: what comes to the screen, when, and what is left on it."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from terminal import ROOT

COLUMNS = 240
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}


def run_on_a_terminal(program, stdout=None, columns=COLUMNS, watch=None):
    """[(seconds since the first byte, bytes)], as they come to a terminal; the status; what a pipe for stdout got.

    watch(process, text): called at every piece with all that has come so far. The process leads a group of its own, as
    a command does that is typed.
    """
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        program, stdin=end, stdout=stdout or end, stderr=end, env=ENVIRONMENT, start_new_session=True
    )
    os.close(end)
    pieces = []
    while True:
        select.select([terminal], [], [])
        try:
            piece = os.read(terminal, 2**16)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        pieces.append((time.monotonic(), piece))
        if watch is not None:
            try:
                watch(process, text_of(pieces, errors="replace"))  # a piece may end within a character
            except BaseException:
                process.kill()
                raise
    os.close(terminal)
    piped = process.stdout.read().decode() if stdout else ""
    if stdout:
        process.stdout.close()
    status = process.wait()
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
