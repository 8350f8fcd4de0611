"""The command line in process."""

import importlib
import re
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import prepare
from numpy_rnn.app.options import configuration_of, parse
from numpy_rnn.app.results import Result
from numpy_rnn.app.run import Trainer


def configured(options: str = "", **changed) -> Configuration:
    """The configuration that these options of `train` give."""
    return replace(configuration_of(parse("numpy_rnn", ["train", *options.split()])), **changed)


def trained(rnn, configuration, generate=0) -> Result:
    """The result of a run with this configuration."""
    trainer = Trainer(rnn, prepare(configuration), configuration)
    for _ in trainer:
        pass
    return trainer.result(generate)


class Ended(NamedTuple):
    status: int
    out: str
    err: str


def main(rnn, arguments) -> int:
    """The command line of a package, as `python -m` runs it; the exit status."""
    return importlib.import_module(f"{rnn.__name__}.__main__").main(
        [str(argument) for argument in arguments]
    )


def command(rnn, capsys, *arguments) -> Ended:
    """Run the command line of a backend; only what this call printed is returned."""
    capsys.readouterr()
    status = main(rnn, arguments)
    return Ended(status, *capsys.readouterr())


def succeed(rnn, capsys, *arguments) -> str:
    """Run a command that must end well without a word on standard error, and return what it printed."""
    ended = command(rnn, capsys, *arguments)
    assert (ended.status, ended.err) == (0, "")
    return ended.out


def contents() -> dict[Path, bytes]:
    """Every file of the current folder with its bytes."""
    return {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


def refused(rnn, capsys, *arguments) -> str:
    """Run a command that must be refused before anything happens, and return its message."""
    before = contents()
    ended = command(rnn, capsys, *arguments)
    assert ended.status == 2
    assert ended.out == ""
    assert re.fullmatch(rf"{rnn.__name__}: [^\n]+\n", ended.err), ended.err
    assert contents() == before
    return ended.err.removeprefix(f"{rnn.__name__}: ").removesuffix("\n")


def listed(messages) -> str:
    """Messages by name, wrapped, as a text for a snapshot."""
    wrapped = textwrap.TextWrapper(110, "    ", "    ", break_on_hyphens=False)
    return "\n".join(f"{name}:\n{wrapped.fill(message)}" for name, message in messages.items())


def refusals(rnn, capsys, expected) -> str:
    """The commands of a text that `listed` wrote, run again: such a text of their messages."""
    commands = re.findall(r"^(\S.*):$", expected, re.MULTILINE)
    options = {words: words.split() + ["--no-plot"] * ("plot" not in words) for words in commands}
    return listed({words: refused(rnn, capsys, *options[words]) for words in commands})
