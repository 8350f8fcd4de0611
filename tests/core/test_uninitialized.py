"""No result depends on memory that nobody wrote: what `empty` returns may hold anything."""

from pathlib import Path

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.packages import backend
from numpy_rnn.conformance.mutants.catalogue import CORE, ENGINE_MUTANTS, MUTANTS, load
from numpy_rnn.conformance.mutants.engine_checks import random_engine_run, random_limits, reduced_limits
from numpy_rnn.conformance.mutants.score import ensemble_of_two
from numpy_rnn.conformance.ports.backends import PackagePort
from numpy_rnn.conformance.ports.protocol import CAPABILITIES
from numpy_rnn.conformance.recipes import random_recipe, random_run
from numpy_rnn.conformance.traces.drive import trace_of

FILLS = np.nan, 1.0
MAKERS = "empty", "empty_like"


def filled(make, fill):
    """The function `make`, with floats all of this value in what it returns."""

    def made(*arguments, **options):
        array = make(*arguments, **options)
        is_float = (
            array.dtype.is_floating_point if hasattr(array.dtype, "is_floating_point") else array.dtype.kind == "f"
        )
        if is_float:
            array[...] = fill
        return array

    return made


def reports(package):
    """Windows with every option, and a run of one network and one of two: all that a package computes, by name."""
    generator = np.random.default_rng(5)
    port = PackagePort(package)
    for _ in range(6):
        case = random_recipe(generator, has=CAPABILITIES).case()
        arrays = case.params._asdict(), case.x, case.target, case.h_0
        yield port.window_update(*arrays, learning_rate=case.learning_rate, **case.options)
    experiment, configuration = random_run(generator, has=CAPABILITIES)
    for started in (experiment, ensemble_of_two(experiment, generator)):
        yield trace_of(package, started, configuration)


def reports_of_engine(package):
    """Runs in several layouts."""
    generator = np.random.default_rng(6)
    for _ in range(3):
        run = random_engine_run(generator)
        with reduced_limits(package, random_limits(generator)):
            yield trace_of(package, *run)


def assert_fills_do_not_matter(package, reports, monkeypatch, *modules):
    """Whatever the memory holds that the functions of NumPy, and of these modules, hand out unwritten."""
    found = []
    for fill in FILLS:
        with monkeypatch.context() as patch, np.errstate(all="ignore"):
            for module in (np, *modules):
                for name in MAKERS:
                    patch.setattr(module, name, filled(getattr(module, name), fill))
            found.append([
                {name: np.asarray(array).tobytes() for name, array in report.items()} for report in reports(package)
            ])  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.with_reference
def test_a_package_reads_what_it_wrote_alone(rnn, monkeypatch):
    modules = [backend("torch_rnn").elman.torch] if rnn.__name__ == "torch_rnn" else []
    assert_fills_do_not_matter(rnn, reports, monkeypatch, *modules)


def test_the_engine_reads_what_it_wrote_alone(monkeypatch):
    assert_fills_do_not_matter(numpy_rnn.engine, reports_of_engine, monkeypatch)


@pytest.mark.parametrize("mutant", ENGINE_MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_engine_reads_what_it_wrote_alone(mutant, monkeypatch):
    """Otherwise it is another mistake in every run, and no hint recognises it."""
    assert_fills_do_not_matter(load(mutant), reports_of_engine, monkeypatch)


def test_the_reference_and_its_mutants_take_no_unwritten_memory():
    folder = Path(numpy_rnn.__file__).parent
    sources = {name: folder.joinpath(f"{name}.py").read_text(encoding="utf-8") for name in CORE}
    sources |= {mutant.name: "".join(wrong for _, _, wrong in mutant.changes) for mutant in MUTANTS}
    assert [name for name, source in sources.items() if "np.empty" in source] == []
