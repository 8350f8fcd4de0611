"""The command line in process."""

import importlib
import re
from pathlib import Path
from typing import NamedTuple

from numpy_rnn.app.command_line import parse_command
from numpy_rnn.app.options import CommandOptions


def train_options(words: str = "") -> CommandOptions:
    """Return the options of `train` when these words are typed."""
    return parse_command("numpy_rnn", ["train", *words.split()])


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def main(rnn, arguments) -> int:
    """Run the command line of a package as `python -m` does; return its status."""
    module = importlib.import_module(f"{rnn.__name__}.__main__")
    return module.main([str(argument) for argument in arguments])


def command(rnn, capsys, *arguments) -> Ended:
    """Run the command line of a package; only what this call printed is returned."""
    capsys.readouterr()
    status = main(rnn, arguments)
    return Ended(status, *capsys.readouterr())


def succeed(rnn, capsys, *arguments) -> str:
    """Run a command that must succeed without a word on standard error, and return
    what it printed.
    """
    ended = command(rnn, capsys, *arguments)
    assert (ended.status, ended.err) == (0, ""), f"exit {ended.status}: {ended.err}"
    return ended.out


def contents(folder=".") -> dict[str, bytes]:
    """Return the bytes of every file of a folder, by its path in the folder."""
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def refused(rnn, capsys, *arguments) -> str:
    """Run a command that must be refused before anything happens, and return its
    message.
    """
    before = contents()
    ended = command(rnn, capsys, *arguments)
    assert (ended.status, ended.out) == (2, "")
    assert re.fullmatch(rf"{rnn.__name__}: [^\n]+\n", ended.err), ended.err
    assert contents() == before
    return ended.err.removeprefix(f"{rnn.__name__}: ").removesuffix("\n")


def rows_of(table) -> list[list[str]]:
    """Return the parts of each line of a table, between its arrows."""
    return [line.split(" → ") for line in table.strip().splitlines()]
