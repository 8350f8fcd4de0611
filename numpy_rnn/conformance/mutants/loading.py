"""Wrong ports, each numpy_rnn itself with a line or two changed, that the suite must kill.

A mutant is made by text: the right lines are looked for in the source, replaced by the wrong ones, and the package is
loaded anew under another name. So the wrong line stands beside the right one, and a mutant whose line has gone from the
source is an error, not a survivor.
"""

import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy_rnn
from numpy_rnn.conformance.mutants.table import MUTANTS, Mutant

MATHEMATICS = ("parameters", "vectors", "memory", "elman", "loss", "bptt", "clipping", "momentum", "sgd")
CORE = (*MATHEMATICS, "updates", "train", "train_stream", "__init__")  # in order of import


def mutated_source(mutant: Mutant, module: str, source: str) -> str:
    """The source of a module with the mutant's changes. Raises LookupError when a line to change is not there."""
    for where, right, wrong in mutant.changes:
        if where == module:
            if source.count(right) != 1:
                raise LookupError(
                    f"mutant {mutant.name!r}: {right!r} stands {source.count(right)} times in {module}, expected once"
                )
            source = source.replace(right, wrong)
    return source


@cache
def load(mutant: Mutant) -> ModuleType:
    """The mutant as a package with the functions of numpy_rnn."""
    package = f"mutant_{MUTANTS.index(mutant)}_" + "".join(
        c if c.isascii() and c.isalnum() else "_" for c in mutant.name
    )
    folder = Path(numpy_rnn.__file__).parent
    for module in CORE:
        name = package if module == "__init__" else f"{package}.{module}"
        path = folder / f"{module}.py"
        source = mutated_source(mutant, module, path.read_text(encoding="utf-8"))
        for core in CORE[:-1]:
            source = source.replace(f"from numpy_rnn.{core} import", f"from {package}.{core} import")
        loaded = ModuleType(name)
        if module == "__init__":
            loaded.__path__ = []  # a package
        sys.modules[name] = loaded
        exec(compile(source, f"<{mutant.name}: {path.name}>", "exec"), loaded.__dict__)
    return sys.modules[package]


def named(name: str) -> Mutant:
    """The mutant of this name. Raises LookupError when there is none."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise LookupError(f"no mutant is called {name!r}")
