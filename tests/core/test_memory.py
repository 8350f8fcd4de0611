"""The memory of a run: nothing of the caller's, no graph of torch, no growth with the steps."""

import gc
import tracemalloc
from itertools import chain, islice, product, repeat

import numpy as np
import pytest
from cases import Kind, Sizes, random_run
from comparing import UPDATE, arrays_in, bits, in_numpy, members
from draws import arguments, random_velocity, train

import numpy_rnn
from numpy_rnn.common.records import Objective
from numpy_rnn.engine import loop, workspace

ALL_OPTIONS = {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5}


@pytest.mark.with_reference
@pytest.mark.parametrize("part_steps", [loop.PART_STEPS, 0], ids=["whole", "parts"])
@pytest.mark.parametrize("name", ["params", "h_0", "learning_rate", "velocity"])
def test_arguments_are_read_when_train_is_called(rnn, name, part_steps, monkeypatch):
    """All but series: what a caller does to them before or after the first update has no effect."""
    monkeypatch.setattr(loop, "PART_STEPS", part_steps)
    run = random_run(2, Sizes(N=2), Kind(own=("h_0",)))
    run = run._replace(options=run.options._replace(step=run.options.step._replace(momentum=0.9)))

    def begin():
        given = arguments(rnn, run._replace(velocity=random_velocity(run)))
        given["learning_rate"] = rnn.from_numpy(np.array([0.05, 0.02]))
        return given, rnn.train(**given)

    expected = [bits(update) for update in begin()[1]]
    for made in (0, 1):
        given, updates = begin()
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
    """Every array that can be is overwritten. Neither does a run at the same time change it."""
    run, other = random_run(2, Sizes(N=N)), random_run(2, kind=Kind(bias=False))
    options = {"k1": k1, "k2": k2, "learning_rate": 0.01, "record": record, **step}
    untouched = [bits(update) for update in train(rnn, run, **options)]
    other = other._replace(options=other.options._replace(objective=Objective("relu")))
    others = chain(train(rnn, other), repeat(None))
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


@pytest.mark.needs_torch
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_torch_updates_hold_no_graph(grad, record):
    """Also within no_grad. Plain tensors are parameters too. No gradient is left."""
    import torch

    import torch_rnn

    run = random_run(2)
    names = "params", "x", "target", "h_0"
    params, x, target, h_0 = (arguments(torch_rnn, run)[name] for name in names)
    activations = torch_rnn.forward(params, x, h_0)
    window = tuple(f(params, activations, target) for f in (torch_rnn.bptt, torch_rnn.adjoints))
    plain = type(params)(*(theta.detach().clone() for theta in params))
    with torch.set_grad_enabled(grad):
        again = tuple(f(params, activations, target) for f in (torch_rnn.bptt, torch_rnn.adjoints))
        updates, of_plain = (
            list(train(torch_rnn, run, params=given, record=record, **ALL_OPTIONS))
            for given in (params, plain)
        )
    assert bits(again) == bits(window)
    for update in updates:
        rest = [getattr(update, name) for name in UPDATE if name != "parameters"]
        assert not any(getattr(tensor, "requires_grad", False) for tensor in arrays_in(rest))
        assert all(theta.is_leaf and theta.requires_grad for theta in update.parameters)
    assert [bits(u) for u in of_plain] == [bits(u) for u in updates]
    assert not any(theta.requires_grad for theta in plain)
    assert all(theta.grad is None for theta in (*params, *plain))


@pytest.mark.parametrize("N", [None, 30])
def test_kept_updates_take_their_own_memory(N):
    """Every 20th of 800 updates is kept; 10 KB each leave room for Python objects and for views."""
    run = random_run(3, Sizes(20, 1, 1, 6, 1, N), Kind("float32", bias=False))
    updates = train(numpy_rnn, run, k1=1, k2=1, learning_rate=0.01, epochs=40)
    own = sum(array.nbytes for array in arrays_in(next(updates)))
    tracemalloc.start()
    kept = [update for update in updates if update.number == 20]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 40
    assert held < 40 * (own + 10_000)


def peak(path, T):
    """The most bytes that Python and NumPy have while an epoch on a mapped file is trained."""
    np.save(path, np.sin(np.arange((T + 1) * 16) / 10).astype(np.float32).reshape(T + 1, 1, 16))
    series = np.load(path, mmap_mode="r")
    params, h_0 = numpy_rnn.initial_parameters(16, 6, 16), np.zeros((1, 6), np.float32)
    options = {"k1": 20, "k2": 25, "learning_rate": 0.01, "epochs": 1}
    gc.collect()
    gc.freeze()  # so that the collections below look at what the run made alone
    tracemalloc.start()
    for update in numpy_rnn.train(params, series[:-1], series[1:], h_0, **options):
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
    """Half of 8 bytes per step, a list's pointer, are allowed. Both runs exceed a workspace."""
    monkeypatch.setattr(loop, "WORKSPACE_BYTES", 2**16)
    for module in (loop, workspace):
        monkeypatch.setattr(module, "MAX_VIEWED", 300)
    _, short, long = (peak(tmp_path / "series.npy", T) for T in (100, 800, 1600))
    assert long - short < (1600 - 800) * 8 / 2


def test_memory_of_long_windows_and_many_networks_is_limited():
    """Views of all windows take 8 MB, workspaces of the whole series for all networks 400 MB."""
    long, many = Sizes(300, 1, 1, 2, 1), Sizes(2700, 8, 1, 9, 1, 200)
    for sizes, updates, k, epochs, limit in ((long, 300, 300, 1, 4e6), (many, 1, 100, 100, 200e6)):
        run = random_run(2, sizes)
        tracemalloc.start()
        made = train(numpy_rnn, run, k1=min(k, sizes.T // updates), k2=k, epochs=epochs)
        assert sum(1 for _ in islice(made, updates)) == updates
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < limit


def test_engine_reads_what_it_wrote_alone():
    """Memory that nobody wrote may hold any number."""
    for N, B, (k1, k2) in product((None, 2, 7), (1, 3), ((1, 1), (2, 5), (3, 3))):
        run, found = random_run(2, Sizes(7, B, 2, 4, 3, N)), []
        for fill in (np.nan, 1.0):

            def filled(*args, make=np.full, fill=fill, **options):
                return make(args[0], fill, *args[1:], **options)

            with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
                patch.setattr(np, "empty", filled)
                patch.setattr(np, "empty_like", lambda v, fill=fill: np.full_like(v, fill))
                updates = train(numpy_rnn, run, k1=k1, k2=k2, momentum=0.9, record=True)
                found.append([bits(update) for update in updates])
        assert found[0] == found[1]
