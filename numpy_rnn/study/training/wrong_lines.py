"""A known mistake as a reader sees it: its wrong lines beside the right ones, as they stand in the source."""

from difflib import SequenceMatcher
from pathlib import Path
from textwrap import dedent

import numpy_rnn
from numpy_rnn.conformance.mutants.catalogue import Mutant, mutated_source


def wrong_lines(mutant: Mutant) -> list[dict]:
    """One dict a place: "module", the "right" lines of numpy_rnn, and the "wrong" ones of the mutant."""
    folder = Path(numpy_rnn.__file__).parent
    found = []
    for module in dict.fromkeys(module for module, _, _ in mutant.changes):
        right = (folder / f"{module}.py").read_text(encoding="utf-8")
        wrong = mutated_source(mutant, module, right)
        lines = right.splitlines(), wrong.splitlines()
        for kind, *ends in SequenceMatcher(None, *lines, autojunk=False).get_opcodes():
            if kind != "equal":
                found.append({"module": f"{module}.py"} | _beside(*lines, *ends))
    return found


def _beside(right, wrong, start, stop, wrong_start, wrong_stop):
    """Both, less the indentation that they share; where lines are only added, the line before them is shown too."""
    if start == stop and start > 0:
        start, wrong_start = start - 1, wrong_start - 1
    sides = right[start:stop], wrong[wrong_start:wrong_stop]
    together = dedent("\n".join(sides[0] + sides[1])).split("\n")
    return {"right": "\n".join(together[: len(sides[0])]), "wrong": "\n".join(together[len(sides[0]) :])}
