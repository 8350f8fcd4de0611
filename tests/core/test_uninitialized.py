"""No result depends on memory that nobody wrote: what `empty` returns may hold anything."""

import re
from pathlib import Path

import numpy as np
import pytest

from numpy_rnn import engine
from numpy_rnn.conformance.mutants.catalogue import ENGINE_MUTANTS, MUTANTS, load
from numpy_rnn.conformance.mutants.engine_checks import random_engine_run, random_limits, reduced_limits
from numpy_rnn.conformance.traces.drive import trace_of

TOP = Path(engine.__file__).parents[2]


def filled(make, fill):
    """The function `make`, with floats all of this value in what it returns."""

    def made(*arguments, **options):
        array = make(*arguments, **options)
        if array.dtype.kind == "f":
            array[...] = fill
        return array

    return made


def reports(package, fill):
    """The bytes of runs in several layouts, by name, where all unwritten numbers are `fill`."""
    generator = np.random.default_rng(6)
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        for name in ("empty", "empty_like"):
            patch.setattr(np, name, filled(getattr(np, name), fill))
        for _ in range(3):
            run = random_engine_run(generator)
            with reduced_limits(package, random_limits(generator)):
                trace = trace_of(package, *run)
            yield {name: np.asarray(array).tobytes() for name, array in trace.items()}


def test_the_engine_reads_what_it_wrote_alone():
    assert list(reports(engine, np.nan)) == list(reports(engine, 1.0))


@pytest.mark.parametrize("mutant", ENGINE_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_engine_reads_what_it_wrote_alone(mutant):
    """Otherwise it is another mistake in every run, and no hint recognises it."""
    assert list(reports(load(mutant), np.nan)) == list(reports(load(mutant), 1.0))


def test_the_reference_its_mutants_and_torch_rnn_take_no_unwritten_memory():
    files = [file for folder in ("numpy_rnn", "torch_rnn") for file in (TOP / folder).glob("*.py")]
    sources = {str(file): file.read_text(encoding="utf-8") for file in files}
    sources |= {mutant.name: "".join(wrong for _, _, wrong in mutant.changes) for mutant in MUTANTS}
    assert [name for name, source in sources.items() if re.search(r"\.(new_)?empty", source)] == []
