"""The mutants: mistakes that people make, each as `plain_rnn.py` with a few other lines; mutants.txt has the lines.

A mutant whose correct line is no longer in the source is an error, not a survivor.
"""

import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from numpy_rnn.common.records import Run
from numpy_rnn.conformance import plain_rnn
from numpy_rnn.conformance.traces.recorder import RecordedRun, record

SOURCE, LINES = Path(plain_rnn.__file__), Path(__file__).with_name("mutants.txt")
LINE = re.compile(r"( *)(.*?)(  # .*)?")  # indentation, code and comment


class Mutant(NamedTuple):
    """A mistake: correct lines of `plain_rnn.py`, and the wrong ones instead."""

    name: str
    stage: str  # the tensor, or "window" or "initial", that is wrong
    in_run: bool  # whether it is visible only in a run of several updates
    changes: tuple[tuple[str, str], ...]  # (correct line, wrong lines)

    def source(self) -> str:
        """The source of the mutant. Raises LookupError unless each correct line occurs once."""
        lines = SOURCE.read_text(encoding="utf-8").splitlines()
        codes = [LINE.fullmatch(line) for line in lines]
        for right, wrong in self.changes:
            places = [at for at, code in enumerate(codes) if code and code[2] == right]
            if len(places) != 1:
                raise LookupError(f"mutant {self.name!r}: {right!r} occurs {len(places)} times, expected once")
            indent = lines[places[0]].removesuffix(lines[places[0]].lstrip())
            lines[places[0]] = "\n".join(indent + line for line in wrong.splitlines())
        return "\n".join(lines) + "\n"


def _read() -> tuple[Mutant, ...]:
    found = []
    for head, body in re.findall(r"^(\[.*)\n((?:[-+] .*\n?)+)", LINES.read_text(encoding="utf-8"), re.MULTILINE):
        place, _, name = head[1:].partition("] ")
        changes = re.findall(r"^- (.*)\n((?:\+ .*\n?)+)", body, re.MULTILINE)
        pairs = tuple((right, re.sub(r"^\+ ", "", wrong, flags=re.MULTILINE).rstrip()) for right, wrong in changes)
        found.append(Mutant(name, place.split(",")[0], place.endswith("run"), pairs))
    return tuple(found)


MUTANTS = _read()


@cache
def load(mutant: Mutant) -> ModuleType:
    """The mutant as a module like `plain_rnn`."""
    module = ModuleType(f"mutant: {mutant.name}")
    exec(compile(mutant.source(), f"<{module.__name__}>", "exec"), module.__dict__)
    return module


def trace(module: ModuleType, run: Run) -> RecordedRun:
    """The run of a mutant, or of `plain_rnn` itself."""

    def compute(case):
        report = module.window_update(case)
        return report, report["h"]

    return record(run, module.train(run, compute))


def named(name: str) -> Mutant:
    """The mutant of this name. Raises LookupError if there is none."""
    if found := [mutant for mutant in MUTANTS if mutant.name == name]:
        return found[0]
    raise LookupError(f"no mutant is called {name!r}")
