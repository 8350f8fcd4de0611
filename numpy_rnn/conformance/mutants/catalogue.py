"""The fault catalogue: the mutants that the suite must kill, and how one is loaded.

A mutant is the reference or the engine with a line or two changed. It is made from the source text: its correct lines
are replaced by wrong ones, and the package is loaded under another name. So a reader sees the wrong line next to the
correct one, and a mutant whose line is no longer in the source is an error, not a survivor.
"""

import sys
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType

import numpy_rnn
from numpy_rnn.conformance.mutants.engine_mutants import IN_ENGINE
from numpy_rnn.conformance.mutants.training_mutants import IN_TRAINING
from numpy_rnn.conformance.mutants.window_mutants import IN_STEP, IN_WINDOW, Mutant

MUTANTS: tuple[Mutant, ...] = (*IN_WINDOW, *IN_STEP, *IN_TRAINING)
ENGINE_MUTANTS: tuple[Mutant, ...] = IN_ENGINE


# The modules of a mutated package in the order of import; the last one is the package itself.
CORE = ("parameters", "elman", "loss", "bptt", "clipping", "momentum", "sgd", "tbptt", "__init__")
ENGINE_MODULES = ("layout", "objective", "window", "columns", "update", "ensemble", "loop")
ENGINE = (*(f"engine.{module}" for module in ENGINE_MODULES), "__init__")


def mutated_source(mutant: Mutant, module: str, source: str) -> str:
    """The source of a module with the mutant's changes. Raises LookupError unless each line occurs once."""
    for where, right, wrong in mutant.changes:
        if where == module:
            if source.count(right) != 1:
                raise LookupError(
                    f"mutant {mutant.name!r}: {right!r} occurs {source.count(right)} times in {module}, expected once"
                )
            source = source.replace(right, wrong)
    return source


@cache
def load(mutant: Mutant) -> ModuleType:
    """The mutant as a package with the functions of numpy_rnn."""
    modules = ENGINE if mutant.level == "engine" else CORE
    package = f"mutant_{(*MUTANTS, *ENGINE_MUTANTS).index(mutant)}_" + "".join(
        c if c.isascii() and c.isalnum() else "_" for c in mutant.name
    )
    sources = {module: mutated_source(mutant, module, source_of(module)) for module in modules}
    made = {}
    for module in modules:
        name = package if module == "__init__" else f"{package}.{module.removeprefix('engine.')}"
        made[module] = module_from_spec(ModuleSpec(name, None, is_package=name == package))
    sys.modules.update((loaded.__name__, loaded) for loaded in made.values())
    for module, loaded in made.items():
        path, is_changed = file_of(module), sources[module] != source_of(module)
        file = f"<{mutant.name}: {path.name}>" if is_changed else str(path)
        exec(compiled(sources[module], file, modules), loaded.__dict__)
    return sys.modules[package]


def file_of(module: str) -> Path:
    """The file of a module of numpy_rnn."""
    return Path(numpy_rnn.__file__).parent.joinpath(*module.split(".")).with_suffix(".py")


@cache
def source_of(module: str) -> str:
    """Its source."""
    return file_of(module).read_text(encoding="utf-8")


@cache  # most modules of a mutant are those of numpy_rnn
def compiled(source: str, file: str, modules: tuple[str, ...]) -> CodeType:
    """The code of a module that imports these modules from its own package."""
    if modules is CORE:
        source = source.replace("from numpy_rnn.engine.loop import", "from numpy_rnn.tbptt import")
    for module in modules:
        source = source.replace(f"from numpy_rnn.{module} import", f"from .{module.removeprefix('engine.')} import")
    return compile(source, file, "exec")


def named(name: str) -> Mutant:
    """The mutant of this name. Raises LookupError if there is none."""
    for mutant in (*MUTANTS, *ENGINE_MUTANTS):
        if mutant.name == name:
            return mutant
    raise LookupError(f"no mutant is called {name!r}")
