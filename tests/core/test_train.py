"""The loop: which windows, which states, what has a loss, and that nothing is changed behind a caller's back."""

import gc
import importlib
from functools import partial
from itertools import combinations_with_replacement, islice, product

import numpy as np
import pytest
from cases import Case, random_case, runs, with_ensemble
from comparing import arrays_in, bits, each, fewer, in_numpy
from hypothesis import given
from hypothesis import strategies as st
from witness_runs import assert_fewer, assert_right, definition

pytestmark = pytest.mark.with_reference


def example(**options) -> Case:
    return random_case(2, 7, 2, 3, 5, 1, **options)


def test_windows_are_the_definition(rnn):
    for T in range(1, 13):
        steps = list(range(1, T + 1))
        for k1, k2 in combinations_with_replacement(range(1, T + 3), 2):
            found = [(steps[w.start : w.stop], steps[w.loss_start : w.stop]) for w in rnn.windows(T, k1, k2)]
            assert found == list(definition(T, k1, k2)), (T, k1, k2)


def strided(rnn, array):
    """A view of the same numbers, neither transposed nor next to each other as those of `from_numpy`."""
    spread = np.zeros((*array.shape[::-1], 2), array.dtype)
    spread[..., 1] = array.T
    view = spread[..., 1].T
    return importlib.import_module("torch").from_numpy(view) if rnn.__name__ == "torch_rnn" else view


@fewer(4)
@given(
    run=runs(largest=6),
    E=st.sampled_from([(), (), (2,), (1, 2), (2, 2)]),
    own=st.sampled_from([(), ("x",), ("target",), ("h_0",), ("x", "target", "h_0")]),
    many=st.sampled_from([1, 64]),
    seed=st.integers(0, 2**31),
    as_views=st.sampled_from([False, False, True]),
    every=st.sampled_from([2, 3, 4, 100, "epoch"]),
)
def test_every_update_of_a_run_is_right(rnn, run, E, own, many, seed, as_views, every):
    """With every option, and for each network of an ensemble with its own series and learning rate. From `many`
    networks on, the engine lays them out innermost in memory. The layout of what is given does not matter.

    Arguments are not changed, nor is anything after it was handed out. Updates that are handed out less often, every
    n-th of an epoch and its last, are the same.
    """
    case, options = run
    if E:
        shared = seed % len(E) if seed % 3 == 0 else None  # an axis along which networks share their own series
        axes = tuple(1 if axis == shared else size for axis, size in enumerate(E))
        case = with_ensemble(case, E, seed, own=own, axes=axes)
        shape = [size if seed >> axis & 1 else 1 for axis, size in enumerate(E)]
        options["learning_rate"] *= np.random.default_rng(seed).uniform(0, 1, shape)
    arrays = each(partial(strided, rnn), case.arrays) if as_views else case.for_train(rnn)
    before, updates, kept = bits(arrays), [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("numpy_rnn.engine.layout.MIN_GROUP", many)
        for update in rnn.train(*arrays, **options, **case.form(rnn), record=True):
            updates.append(update)
            kept.append(bits(update))
        few = list(rnn.train(*arrays, **options, **case.form(rnn), record=True, yield_every=every))
    assert_fewer(case, few, updates, every)
    assert_right(rnn, case, updates, **options)
    assert [bits(update) for update in updates] == kept
    assert bits(arrays) == before


# -- what a caller sees ---------------------------------------------------------------------------------------------


READ = [*product(("params", "h_0", "learning_rate"), [False, True]), ("resume", False)]


@pytest.mark.parametrize(("name", "stream"), READ)
def test_arguments_are_read_when_train_is_called(rnn, name, stream):
    """All but series and streams: what a caller does to them before the first update, or after it, has no effect."""
    case = example(E=(2,), own=("h_0",))
    options = {"k1": 2, "k2": 3, "momentum": 0.9}

    def begin():
        params, x, target, h_0 = case.for_train(rnn)
        given_values = {"params": params, "h_0": h_0, "learning_rate": rnn.from_numpy(np.array([0.05, 0.02]))}
        if stream:
            return given_values, rnn.train_stream(steps=list(zip(x, target)), **given_values, **options)
        run = rnn.train(x=x, target=target, epochs=2, **given_values, **options)
        next(run)
        given_values["resume"] = run.state()
        return given_values, rnn.train(x=x, target=target, epochs=2, **given_values, **options)

    expected = [bits(update) for update in begin()[1]]
    for made in (0, 1):
        given_values, run = begin()
        found = [bits(update) for update in islice(run, made)]
        value = given_values[name].parameters if name == "resume" else given_values[name]
        for array in [value.W_hh, value.b_h] if isinstance(value, tuple) else [value]:
            in_numpy(array)[...] = 0
        assert found + [bits(update) for update in run] == expected


@pytest.mark.parametrize("of_step", [{}, {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.5}], ids=["sgd", "all"])
@pytest.mark.parametrize("of_case", [{"learned": True}, {"E": (3,)}], ids=["learned", "ensemble"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 3), (3, 5), (7, 7)])
@pytest.mark.parametrize("record", [False, True], ids=["", "record"])
def test_nothing_that_is_handed_out_changes_the_run(rnn, record, k1, k2, of_case, of_step):
    """Every array of every update and state is overwritten, where it can be; what cannot be is the run's own. Neither
    does another run that is made at the same time; and recording changes nothing else.
    """
    case, options = example(**of_case), {"k1": k1, "k2": k2, "learning_rate": 0.01, "epochs": 2, **of_step}
    untouched = [rnn.to_numpy(update) for update in rnn.train(*case.for_train(rnn), **options, record=True)]
    run = rnn.train(*case.for_train(rnn), **options, record=record)
    other = rnn.train(*example(nonlinearity="relu", bias=False).for_train(rnn), **options, nonlinearity="relu")
    for update, _, expected in zip(run, other, untouched, strict=True):
        state, copies = run.state(), rnn.from_numpy(rnn.to_numpy(update))
        for part in ((copies, state), update):
            assert bits(update) == bits(expected if record else expected._replace(activations=None, adjoints=None))
            for array in map(in_numpy, arrays_in(part)):
                if array.flags.writeable:
                    array[...] = 7.0
        if rnn.__name__ != "torch_rnn":
            own = arrays_in((update.parameters, update.velocity))
            free = arrays_in((copies, update.gradients, *update[7:], state))
            assert not any(array.flags.writeable for array in own)
            assert all(array.flags.writeable for array in free if array.ndim)


# -- torch's graph ----------------------------------------------------------------------------------------------------


def nodes_of_graphs():
    """How many nodes of autograd graphs the living tensors hold."""
    import torch

    gc.collect()
    pending = [v.grad_fn for v in gc.get_objects() if issubclass(type(v), torch.Tensor) and v.grad_fn]
    found = set()
    while pending:
        node = pending.pop()
        if node is not None and node not in found:
            found.add(node)
            pending.extend(before for before, _ in node.next_functions)
    return len(found)


@pytest.mark.needs_torch
@pytest.mark.parametrize(("stream", "clipping"), [(False, "max_norm"), (True, "max_value")], ids=["series", "stream"])
def test_a_run_of_torch_keeps_no_graph_of_earlier_updates(stream, clipping):
    """No more nodes after twelve updates than after four, under every option of the step."""
    import torch_rnn

    gc.collect()
    gc.freeze()  # so that the collections below look at what the run made alone
    case = random_case(2, 14, 2, 3, 5, 1)
    params, x, target, h_0 = case.of(torch_rnn)
    options = {"k1": 1, "k2": 3, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True}
    options[clipping] = 1.0
    if stream:
        run = torch_rnn.train_stream(params, zip(x, target), h_0, **options)
    else:
        run = torch_rnn.train(params, x, target, h_0, epochs=1, **options)
    counts = []
    for update in run:
        del update
        counts.append(nodes_of_graphs())
    gc.unfreeze()
    assert 0 < counts[3] < 200
    assert counts[11] <= counts[3]


@pytest.mark.needs_torch
@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no_grad"])
def test_torch_updates_hold_no_graph_and_a_surrounding_no_grad_does_not_matter(grad, record):
    """Parameters may be plain tensors too, and stay so. Gradients do not accumulate."""
    import torch

    import torch_rnn

    options = {"k1": 1, "k2": 3, "momentum": 0.9, "weight_decay": 0.1, "max_norm": 1.0, "record": record}
    params, x, target, h_0 = example(learned=True).for_train(torch_rnn)
    activations = torch_rnn.forward(params, x, params.h_0)
    of_window = [f(params, activations, target) for f in (torch_rnn.bptt, torch_rnn.adjoints)]
    plain = type(params)(*(theta.detach().clone() for theta in params))
    with torch.set_grad_enabled(grad):
        again = [f(params, activations, target) for f in (torch_rnn.bptt, torch_rnn.adjoints)]
        updates, of_plain = (
            list(torch_rnn.train(given, x, target, h_0, learning_rate=0.05, epochs=2, **options))
            for given in (params, plain)
        )
    assert bits(tuple(again)) == bits(tuple(of_window))
    assert len(updates) == 14
    for update in updates:
        of_update = update.loss, update.gradients, update.velocity, update.activations, update.adjoints
        assert not any(tensor.requires_grad for tensor in arrays_in(of_update))
        assert all(theta.is_leaf and theta.requires_grad for theta in update.parameters)
    assert [bits(u) for u in of_plain] == [bits(u) for u in updates]
    assert not any(theta.requires_grad for theta in plain)
    assert all(theta.is_leaf and theta.grad is None for theta in (*params, *plain))
