"""The memory of a run: nothing of the caller's, and no more than it needs."""

import tracemalloc
from itertools import chain, islice, product, repeat

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.engine import loop
from tests.helpers.comparing import arrays_in, bits, in_numpy, members
from tests.helpers.random_runs import Kind, Sizes, arguments, random_run, train

ALL_OPTIONS = {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5}
MOMENTUM = RunOptions(
    Schedule(2, 3, 2), Objective(), Step(np.array([0.05, 0.02]), momentum=0.9)
)


@pytest.mark.with_reference
@pytest.mark.parametrize("part_steps", [loop.PART_STEPS, 0], ids=["whole", "parts"])
@pytest.mark.parametrize("name", ["params", "h_0", "learning_rate", "velocity"])
def test_arguments_are_read_when_train_is_called(rnn, name, part_steps, monkeypatch):
    """All but series: what a caller does to them before or after the first update has
    no effect.
    """
    monkeypatch.setattr(loop, "PART_STEPS", part_steps)
    run = random_run(Sizes(N=2), Kind(own=("h_0",), velocity=True), MOMENTUM)
    expected = [bits(update) for update in train(rnn, run)]
    for made in (0, 1):
        given = arguments(rnn, run)
        updates = rnn.train(**given)
        found = [bits(update) for update in islice(updates, made)]
        for array in arrays_in((given[name],)):
            in_numpy(array)[...] = 0
        assert found + [bits(update) for update in updates] == expected


@pytest.mark.with_reference
@pytest.mark.parametrize("step", [{}, ALL_OPTIONS], ids=["sgd", "all"])
@pytest.mark.parametrize("N", [None, 3])
@pytest.mark.parametrize(
    ("k1", "k2", "record"), [(1, 1, False), (1, 3, True), (3, 5, False), (7, 7, True)]
)
def test_nothing_yielded_changes_the_run(rnn, record, k1, k2, N, step):
    """Every array that can be is overwritten. Neither does a run at the same time
    change it.
    """
    run, other = random_run(Sizes(N=N)), random_run(kind=Kind(bias=False))
    options = {"k1": k1, "k2": k2, "learning_rate": 0.01, "record": record, **step}
    untouched = [bits(update) for update in train(rnn, run, **options)]
    others = chain(train(rnn, other, nonlinearity="relu"), repeat(None))
    for update, expected, _ in zip(train(rnn, run, **options), untouched, others):
        assert bits(update) == expected
        if rnn.__name__ != "torch_rnn":
            yielded = arrays_in((update.parameters, update.velocity))
            assert not any(array.flags.writeable for array in yielded)
        for array in map(in_numpy, arrays_in(members(update))):
            if array.ndim and array.base is None:
                array.flags.writeable = True
            if array.flags.writeable:
                array[...] = 7.0


def test_engine_reads_what_it_wrote_alone():
    """Memory that nobody wrote may hold any number."""
    for N, B, (k1, k2) in product((None, 2, 7), (1, 3), ((1, 1), (2, 5), (3, 3))):
        run, found = random_run(Sizes(7, B, 2, 4, 3, N)), []
        for fill in (np.nan, 1.0):

            def filled(*args, make=np.full, fill=fill, **options):
                return make(args[0], fill, *args[1:], **options)

            with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
                patch.setattr(np, "empty", filled)
                patch.setattr(
                    np, "empty_like", lambda v, fill=fill: np.full_like(v, fill)
                )
                updates = train(numpy_rnn, run, k1=k1, k2=k2, momentum=0.9, record=True)
                found.append([bits(update) for update in updates])
        assert found[0] == found[1]


def peak(sizes, k1, k2, epochs=1, count=None):
    """Return the most bytes of Python and NumPy while so many updates are made."""
    schedule = {"k1": k1, "k2": k2, "epochs": epochs, "learning_rate": 1e-3}
    given = arguments(numpy_rnn, random_run(sizes)) | schedule
    tracemalloc.start()
    for _ in islice(numpy_rnn.train(**given), count):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_is_limited(monkeypatch):
    """It does not grow with the steps: half of a list's pointer for each is allowed.

    Views of all long windows would take 8 MB, workspaces of the whole series for all
    networks 46.
    """
    short, long = (peak(Sizes(T, 1, 3, 6, 1), 20, 25) for T in (10_000, 40_000))
    assert long - short < (40_000 - 10_000) * 8 / 2
    assert peak(Sizes(300, 1, 1, 2, 1), 1, 300) < 4e6
    monkeypatch.setattr(loop, "WORKSPACE_BYTES", 2**18)
    assert peak(Sizes(300, 8, 1, 9, 1, 200), 10, 10, epochs=2, count=1) < 30e6
