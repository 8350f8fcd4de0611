"""The memory of a run: nothing of the caller's, no graph of torch, no growth with the steps."""

import gc
import tracemalloc
from itertools import islice, product

import numpy as np
import pytest
from cases import Kind, Sizes, arguments, random_run, train
from comparing import UPDATE, arrays_in, bits, in_numpy, members

import numpy_rnn
from numpy_rnn.common.records import Objective
from numpy_rnn.engine import loop, workspace

# -- what a caller sees ----------------------------------------------------------------------------


@pytest.mark.with_reference
@pytest.mark.parametrize("name", ["params", "h_0", "learning_rate", "velocity"])
def test_arguments_are_read_when_train_is_called(rnn, name):
    """All but series: what a caller does to them before the first update, or after it, has no effect."""
    run = random_run(2, Sizes(N=2), Kind(own=("h_0",)))

    def begin():
        given = {"learning_rate": np.array([0.05, 0.02]), "velocity": run.params, "momentum": 0.9}
        given = arguments(rnn, run) | {
            key: value if key == "momentum" else rnn.from_numpy(value)
            for key, value in given.items()
        }
        return given, rnn.train(**given)

    expected = [bits(update) for update in begin()[1]]
    for made in (0, 1):
        given, training = begin()
        found = [bits(update) for update in islice(training, made)]
        value = given[name]
        for array in [value.W_hh, value.b_h] if isinstance(value, tuple) else [value]:
            in_numpy(array)[...] = 0
        assert found + [bits(update) for update in training] == expected


STEPS = [{}, {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5}]
SCHEDULES = [(1, 1, False), (1, 3, True), (3, 5, False), (7, 7, True)]


@pytest.mark.with_reference
@pytest.mark.parametrize("step", STEPS, ids=["sgd", "all"])
@pytest.mark.parametrize("N", [None, 3])
@pytest.mark.parametrize(("k1", "k2", "record"), SCHEDULES)
def test_nothing_yielded_changes_the_run(rnn, record, k1, k2, N, step):
    """Every array of every update is overwritten. Another run at the same time changes nothing."""
    run = random_run(2, Sizes(N=N))
    options = {"k1": k1, "k2": k2, "learning_rate": 0.01, "record": record, **step}
    untouched = [bits(update) for update in train(rnn, run, **options)]
    relu = run.options._replace(objective=Objective("relu"))
    other = train(rnn, random_run(2, kind=Kind(bias=False), options=relu), epochs=100)
    for update, expected, _ in zip(train(rnn, run, **options), untouched, other):
        assert bits(update) == expected
        if rnn.__name__ != "torch_rnn":
            state = arrays_in((update.parameters, update.velocity))
            assert not any(array.flags.writeable for array in state)
        for array in map(in_numpy, arrays_in(members(update))):
            if array.ndim and array.base is None:
                array.flags.writeable = True
            if array.flags.writeable:
                array[...] = 7.0


# -- torch's graph ---------------------------------------------------------------------------------


@pytest.mark.needs_torch
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_torch_updates_hold_no_graph(grad, record):
    """A surrounding no_grad does not matter, nor that parameters are plain. No gradient is left."""
    import torch

    import torch_rnn

    options = {"k1": 1, "momentum": 0.9, "weight_decay": 0.1, "max_norm": 1.0, "record": record}
    run = random_run(2)
    params, x, target, h_0, *_ = arguments(torch_rnn, run).values()
    activations = torch_rnn.forward(params, x, h_0)
    functions = torch_rnn.bptt, torch_rnn.adjoints
    window = tuple(f(params, activations, target) for f in functions)
    plain = type(params)(*(theta.detach().clone() for theta in params))
    with torch.set_grad_enabled(grad):
        again = tuple(f(params, activations, target) for f in functions)
        updates = list(train(torch_rnn, run, params=params, **options))
        of_plain = list(train(torch_rnn, run, params=plain, **options))
    assert bits(again) == bits(window)
    for update in updates:
        rest = [getattr(update, name) for name in UPDATE if name != "parameters"]
        assert not any(getattr(tensor, "requires_grad", False) for tensor in arrays_in(rest))
        assert all(theta.is_leaf and theta.requires_grad for theta in update.parameters)
    assert [bits(u) for u in of_plain] == [bits(u) for u in updates]
    assert not any(theta.requires_grad for theta in plain)
    assert all(theta.grad is None for theta in (*params, *plain))


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("N", [None, 30])
def test_kept_updates_take_their_own_memory(N):
    """Every 20th of 800 updates is kept; 10 KB each leave room for Python objects."""
    run = random_run(3, Sizes(20, 1, 1, 6, 1, N), Kind("float32", bias=False))
    training = train(numpy_rnn, run, k1=1, k2=1, learning_rate=0.01, epochs=40)
    own = sum(array.nbytes for array in arrays_in(next(training)))
    tracemalloc.start()
    kept = [update for update in training if update.number == 20]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 40
    assert held < 40 * (own + 10_000)


def peak(path, T):
    """The most bytes that Python and NumPy hold while an epoch on a mapped file is trained."""
    np.save(path, np.sin(np.arange((T + 1) * 16) / 10).astype(np.float32).reshape(T + 1, 1, 16))
    series = np.load(path, mmap_mode="r")
    given = {"params": numpy_rnn.initial_parameters(16, 6, 16), "h_0": np.zeros((1, 6), "float32")}
    given |= {"k1": 20, "k2": 25, "learning_rate": 0.01, "epochs": 1}
    gc.collect()
    gc.freeze()  # so that the collections below look at what the run made alone
    tracemalloc.start()
    for update in numpy_rnn.train(x=series[:-1], target=series[1:], **given):
        stop = update.window.stop
        if update.number % 10 == 0:
            gc.collect()  # it also frees what Python keeps to use again
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.unfreeze()
    assert stop == T
    return most


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps(tmp_path, monkeypatch):
    """The short run is longer than a workspace.

    16 bytes a step are a mark on every number of a series, 8 are the pointers of a list of all
    steps; half of these are allowed.
    """
    monkeypatch.setattr(loop, "WORKSPACE_BYTES", 2**16)  # 303 steps
    monkeypatch.setattr(loop, "MAX_VIEWED", 300)
    monkeypatch.setattr(workspace, "MAX_VIEWED", 300)
    _, of_short, of_long = (peak(tmp_path / "series.npy", T) for T in (100, 800, 1600))
    assert of_long - of_short < (1600 - 800) * 8 / 2


def filled(make, fill):
    """The function `make`, with floats all of this value in what it returns."""

    def made(*args, **options):
        array = make(*args, **options)
        if array.dtype.kind == "f":
            array[...] = fill
        return array

    return made


def test_engine_reads_what_it_wrote_alone():
    """Memory that nobody wrote may hold any number."""
    for N, B, (k1, k2) in product((None, 2, 7), (1, 3), ((1, 1), (2, 5), (3, 3))):
        run, found = random_run(2, Sizes(7, B, 2, 4, 3, N)), []
        for fill in (np.nan, 1.0):
            with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
                for name in ("empty", "empty_like"):
                    patch.setattr(np, name, filled(getattr(np, name), fill))
                updates = train(numpy_rnn, run, k1=k1, k2=k2, momentum=0.9, record=True)
                found.append([bits(update) for update in updates])
        assert found[0] == found[1]
