"""The memory of a run: nothing of the caller's, no graph of torch, and no memory that grows with the steps."""

import gc
import tracemalloc
import weakref
from itertools import chain, count, islice, product

import numpy as np
import pytest
from cases import Kind, Sizes, arguments, random_run, train, train_stream
from comparing import UPDATE, arrays_in, bits, in_numpy, members

import numpy_rnn
from numpy_rnn.common.records import Objective
from numpy_rnn.engine import loop, tape

RUN = random_run(2)


# -- what a caller sees -----------------------------------------------------------------------------------------------


@pytest.mark.with_reference
@pytest.mark.parametrize(
    ("name", "stream"),
    [*product(("params", "h_0", "learning_rate"), (False, True)), ("resume", False)],
)
def test_arguments_are_read_when_train_is_called(rnn, name, stream):
    """All but series and streams: what a caller does to them before the first update, or after it, has no effect."""
    run = random_run(2, Sizes(E=(2,)), Kind(own=("h_0",)))

    def begin():
        given = {
            key: value for key, value in arguments(rnn, run).items() if key in ("params", "h_0")
        }
        given |= {"learning_rate": rnn.from_numpy(np.array([0.05, 0.02])), "momentum": 0.9}
        if stream:
            return given, train_stream(rnn, run, **given)
        first = train(rnn, run, **given)
        next(first)
        given["resume"] = first.state()
        return given, train(rnn, run, **given)

    expected = [bits(update) for update in begin()[1]]
    for made in (0, 1):
        given, training = begin()
        found = [bits(update) for update in islice(training, made)]
        value = given[name].parameters if name == "resume" else given[name]
        for array in [value.W_hh, value.b_h] if isinstance(value, tuple) else [value]:
            in_numpy(array)[...] = 0
        assert found + [bits(update) for update in training] == expected


@pytest.mark.with_reference
@pytest.mark.parametrize(
    "step", [{}, {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5}], ids=["sgd", "all"]
)
@pytest.mark.parametrize("kind", ["learned", "ensemble"])
@pytest.mark.parametrize(
    ("k1", "k2", "record"), [(1, 1, False), (1, 3, True), (3, 5, False), (7, 7, True)]
)
def test_nothing_yielded_changes_the_run(rnn, record, k1, k2, kind, step):
    """Every array of every update and state is overwritten, where it can be; what cannot be is the run's own. Neither
    does another run that is made at the same time change it.
    """
    run = random_run(
        2, Sizes(E=(3,) if kind == "ensemble" else ()), Kind(learned=kind == "learned")
    )
    options = {"k1": k1, "k2": k2, "learning_rate": 0.01, "record": record, **step}
    untouched = [bits(update) for update in train(rnn, run, **options)]
    relu = run.options._replace(objective=Objective("relu"))
    training, other = (
        train(rnn, run, **options),
        train(rnn, random_run(2, kind=Kind(bias=False), options=relu)),
    )
    for update, expected, _ in zip(training, untouched, chain(other, count())):
        state = training.state()
        for part in (state, members(update)):
            assert bits(update) == expected
            for array in map(in_numpy, arrays_in(part)):
                if array.flags.writeable:
                    array[...] = 7.0
        if rnn.__name__ != "torch_rnn":
            assert not any(
                array.flags.writeable for array in arrays_in((update.parameters, update.velocity))
            )
            assert all(array.flags.writeable for array in arrays_in(state) if array.ndim)


# -- torch's graph ----------------------------------------------------------------------------------------------------


@pytest.mark.needs_torch
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_torch_updates_hold_no_graph(grad, record):
    """A surrounding no_grad does not matter. Parameters may be plain tensors too, and stay so; no gradient is left."""
    import torch

    import torch_rnn

    options = {"k1": 1, "momentum": 0.9, "weight_decay": 0.1, "max_norm": 1.0, "record": record}
    run = random_run(2, kind=Kind(learned=True))
    params, x, target = (arguments(torch_rnn, run)[name] for name in ("params", "x", "target"))
    activations = torch_rnn.forward(params, x, params.h_0)
    window = tuple(f(params, activations, target) for f in (torch_rnn.bptt, torch_rnn.adjoints))
    plain = type(params)(*(theta.detach().clone() for theta in params))
    with torch.set_grad_enabled(grad):
        again = tuple(f(params, activations, target) for f in (torch_rnn.bptt, torch_rnn.adjoints))
        updates, of_plain = (
            list(train(torch_rnn, run, params=given, **options)) for given in (params, plain)
        )
    assert bits(again) == bits(window)
    for update in updates:
        rest = [getattr(update, name) for name in UPDATE if name != "parameters"]
        assert not any(getattr(tensor, "requires_grad", False) for tensor in arrays_in(rest))
        assert all(theta.is_leaf and theta.requires_grad for theta in update.parameters)
    assert [bits(u) for u in of_plain] == [bits(u) for u in updates]
    assert not any(theta.requires_grad for theta in plain)
    assert all(theta.grad is None for theta in (*params, *plain))


# -- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.with_reference
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (2, 5), (3, 3)])
def test_endless_stream_is_read_as_needed_and_copied(rnn, k1, k2, record):
    """When the next step is made, no given array is held any more."""
    made, held = [], []

    def endless():
        for t in count():
            held.append(sum(array() is not None for array in made))
            step = tuple(rnn.from_numpy(np.sin(np.full((2, size), 0.1 * t))) for size in (3, 1))
            made.extend(map(weakref.ref, step))
            yield step
            del step

    training = train_stream(rnn, RUN, endless(), k1=k1, k2=k2, learning_rate=0.001, record=record)
    assert made == []
    for number, update in enumerate(islice(training, 30), start=1):
        assert len(made) / 2 == number * k1 == update.window.stop
        assert (update.number, update.window.steps) == (number, min(k2, number * k1))
    assert held == [0] * 30 * k1


@pytest.mark.parametrize("E", [(), (30,)], ids=str)
def test_kept_updates_take_their_own_memory(E):
    """Every 20th of 800 updates is kept; 10 KB each leave room for Python objects, and for what is made together."""
    run = random_run(3, Sizes(20, 1, 1, 6, 1, E), Kind("float32", bias=False))
    training = train(numpy_rnn, run, k1=1, k2=1, learning_rate=0.01, epochs=40)
    own = sum(array.nbytes for array in arrays_in(next(training)))
    tracemalloc.start()
    kept = [update for update in training if update.number == 20]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 40
    assert held < 40 * (own + 10_000)


def peak(path, T, stream):
    """The most bytes that Python and NumPy hold while an epoch on a mapped file, or on a stream of it, is trained."""
    np.save(path, np.sin(np.arange((T + 1) * 16) / 10).astype(np.float32).reshape(T + 1, 1, 16))
    series = np.load(path, mmap_mode="r")
    given = {
        "params": numpy_rnn.initial_parameters(16, 6, 16),
        "h_0": np.zeros((1, 6), np.float32),
        "k1": 20,
        "k2": 25,
    }
    gc.collect()
    gc.freeze()  # so that the collections below look at what the run made alone
    tracemalloc.start()
    if stream:
        steps = (numpy_rnn.from_numpy((series[t], series[t + 1])) for t in range(T))
        training = numpy_rnn.train_stream(steps=steps, learning_rate=0.01, **given)
    else:
        training = numpy_rnn.train(
            x=series[:-1], target=series[1:], learning_rate=0.01, epochs=1, **given
        )
    for update in training:
        stop = update.window.stop
        if update.number % 10 == 0:
            gc.collect()  # it also frees what Python keeps to use again
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gc.unfreeze()
    assert stop == T
    return most


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True])
def test_memory_does_not_grow_with_the_steps(stream, tmp_path, monkeypatch):
    """The short run is longer than a tape. 16 bytes a step are a mark on every number of a series, 8 are the pointers
    of a list of all steps; half of these are allowed.
    """
    monkeypatch.setattr(loop, "TAPE_BYTES", 2**16)  # 303 steps
    monkeypatch.setattr(loop, "MAX_VIEWED", 300)
    monkeypatch.setattr(tape, "MAX_VIEWED", 300)
    _, of_short, of_long = (peak(tmp_path / "series.npy", T, stream) for T in (100, 800, 1600))
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
    for E, B, (k1, k2) in product(((), (2,), (7,)), (1, 3), ((1, 1), (2, 5), (3, 3))):
        run, found = random_run(2, Sizes(7, B, 2, 4, 3, E), Kind(learned=B == 1)), []
        for fill in (np.nan, 1.0):
            with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
                for name in ("empty", "empty_like"):
                    patch.setattr(np, name, filled(getattr(np, name), fill))
                updates = train(numpy_rnn, run, k1=k1, k2=k2, momentum=0.9, record=True)
                found.append([bits(update) for update in updates])
        assert found[0] == found[1]
