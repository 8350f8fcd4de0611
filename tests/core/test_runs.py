"""Runs on series and on streams, by every implementation: the sequence of updates, and every number of each.

The engine computes small and large networks, groups and long series in different ways: the sizes in `SIZES` are on both
sides of its thresholds.
"""

from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from cases import (
    OPTIONS,
    STEPS,
    Kind,
    Sizes,
    random_run,
    random_velocity,
    runs,
    train,
    train_stream,
)
from comparing import UPDATE, bits, each, fewer, in_numpy, members
from hypothesis import example, given
from hypothesis import strategies as st
from witness import assert_right_run, definition

import numpy_rnn
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.engine import loop, memory

pytestmark = pytest.mark.with_reference


def test_windows_are_the_definition(rnn):
    for T in range(1, 13):
        steps = list(range(1, T + 1))
        for k1, k2 in combinations_with_replacement(range(1, T + 3), 2):
            found = [
                (steps[w.start : w.stop], steps[w.loss_start : w.stop])
                for w in rnn.windows(T, k1, k2)
            ]
            assert found == list(definition(T, k1, k2)), (T, k1, k2)


def assert_selected(run, few, updates, every):
    """Fail unless these are, to the bit, the updates that yield_every selects, and have the losses of all.

    A loss is a sum of terms, which may be added in another order. Those of a squared error are not negative; those of a
    cross-entropy may cancel.
    """
    T = len(run.x)
    due = [
        n
        for n, u in enumerate(updates, start=1)
        if u.window.stop == T or (every != "epoch" and not u.number % every)
    ]
    whole = [name for name in UPDATE if name not in ("loss", "losses")]
    for update, n in zip(few, due, strict=True):
        assert [bits(getattr(update, name)) for name in whole] == [
            bits(getattr(updates[n - 1], name)) for name in whole
        ]
    assert all(update.losses is None for update in updates)
    assert list(np.cumsum([len(update.losses) for update in few])) == due
    assert [bits(update.loss) for update in few] == [bits(update.losses[-1]) for update in few]
    losses = [np.asarray(loss) for update in few for loss in update.losses]
    for found, update in zip(losses, updates, strict=True):
        expected = np.asarray(in_numpy(update.loss))
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        size = (
            expected
            if run.options.objective.loss == "squared_error"
            else 1e3 * (1 + np.abs(expected))
        )
        assert (
            np.abs(found - expected) <= run.target.size * 9 * np.finfo(expected.dtype).eps * size
        ).all()


def recorded(rnn, run):
    """The updates of a run, after each of which `state` is that of the update: h is where the next window begins."""
    training, updates = train(rnn, run, record=True), []
    (k1, k2, _), T = run.options.schedule, len(run.x)
    for update in training:
        updates.append(update)
        start, _, stop = update.window
        following = stop if stop == T else max(0, min(stop + k1, T) - k2)
        after = update.activations.h[following - start], update.parameters, update.velocity
        assert bits(training.state()) == bits((update.epoch, update.number, update.window, *after))
    return updates


def assert_right_training(rnn, run, every):
    """Fail unless all updates of the run are right, with and without records and however seldom they are yielded."""
    updates = recorded(rnn, run)
    assert_right_run(rnn, run, updates)
    plain = list(train(rnn, run))
    assert [bits(members(u)[:7]) for u in plain] == [bits(members(u)[:7]) for u in updates]
    assert all(update.activations is update.adjoints is None for update in plain)
    assert_selected(run, list(train(rnn, run, record=True, yield_every=every)), updates, every)
    assert_selected(run, list(train(rnn, run, yield_every=every)), plain, every)


def strided(array):
    """A view of the same numbers, neither transposed nor next to each other as those of a new array."""
    spread = np.zeros((*array.shape[::-1], 2), array.dtype)
    spread[..., 1] = array.T
    return spread[..., 1].T


@fewer(2)
@given(run=runs(), every=st.sampled_from([2, 3, 4, 100, "epoch"]))
def test_every_update_is_right(rnn, run, every):
    """With every option, and for each network of an ensemble with its own series and learning rate."""
    assert_right_training(rnn, run, every)


@fewer(4)
@given(run=runs(), layout=st.sampled_from([strided, np.asfortranarray]))
def test_layout_of_arguments_does_not_matter(rnn, run, layout):
    """And the arguments are not changed."""
    arrays = {
        name: rnn.from_numpy(each(layout, getattr(run, name)), copy=False)
        for name in run._fields[:5]
    }
    before = bits(tuple(arrays.values()))
    assert_right_run(rnn, run, list(rnn.train(**arrays, **run.options.keywords(), record=True)))
    assert bits(tuple(arrays.values())) == before


LATE = random_run(0, kind=Kind(learned=True), options=OPTIONS._replace(step=Step(0.05, 0.9, 0.5)))


@fewer(2)
@example(run=LATE, moving="weights", every=2)
@given(
    run=runs(own=("h_0",)),
    moving=st.sampled_from(["no", "all", "weights"]),
    every=st.sampled_from([2, 3, 4]),
)
def test_stream_is_an_epoch_of_the_series(rnn, run, moving, every):
    """All options, schedules and short tails; networks of an ensemble share the stream, which may fill one array again
    and again. It begins with the velocity that it is given, which may be that of the weights alone.
    """
    velocity = random_velocity(run, moving)
    of_stream = {"record": True, "velocity": rnn.from_numpy(velocity)}
    stream, updates = train_stream(rnn, run, refilled(rnn, run), **of_stream), []
    for update in stream:
        updates.append(update)
        after = update.activations.h[-1], update.parameters, update.velocity
        assert bits(stream.state()) == bits((update.epoch, update.number, update.window, *after))
    schedule = run.options.schedule._replace(epochs=1)
    assert_right_run(
        rnn, run._replace(options=run.options._replace(schedule=schedule)), updates, velocity
    )
    few = list(train_stream(rnn, run, **of_stream, yield_every=every))
    assert_selected(run, few, updates, every)
    assert list(train_stream(rnn, run, [], **of_stream)) == []


def test_window_longer_than_a_stream(rnn, monkeypatch):
    """Memory is needed for the steps that come, not for k2 of them."""
    monkeypatch.setattr(
        loop, "TAPE_BYTES", 1000
    )  # so that T is more steps than the engine's first tape has
    T = 20
    for E, k1 in product(((), (3,)), (3, 2**62)):
        run = random_run(7, Sizes(T, 2, 3, 4, E=E), options=OPTIONS._replace(step=Step(1e-3)))
        whole = [bits(update) for update in train_stream(rnn, run, k1=min(k1, T), k2=T)]
        assert [bits(update) for update in train_stream(rnn, run, k1=k1, k2=2**62)] == whole
    run = run._replace(
        options=run.options._replace(schedule=Schedule(6, 9, 1))
    )  # it does not begin at step 0
    assert_right_run(rnn, run, list(train_stream(rnn, run, record=True)))
    monkeypatch.setattr(loop, "TAPE_BYTES", 1)  # less than one step
    run = random_run(7, Sizes(6, 1, 3, 4), options=run.options._replace(schedule=Schedule(1, 3, 1)))
    assert_right_run(rnn, run, list(train_stream(rnn, run, record=True)))


def refilled(rnn, run):
    """The steps of a run, in the arrays of the first one, which are filled again and again."""
    series = [rnn.from_numpy(v) for v in (run.x, run.target, run.weights) if v is not None]
    first = tuple(rnn.from_numpy(rnn.to_numpy(v[0])) for v in series)
    for step in zip(*series):
        for array, values in zip(first, step):
            array[...] = values
        yield first


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_network_of_an_ensemble_does_not_depend_on_the_others(rnn, options):
    """Not even where all numbers of another one overflow, and those that clipping and Adagrad square."""
    run = random_run(3, Sizes(E=(3,)), options=OPTIONS._replace(step=Step(0.05, **options)))
    wild = each(
        lambda theta: theta * np.array([1, 1e200, 1]).reshape(3, *[1] * (theta.ndim - 1)),
        run.params,
    )
    with np.errstate(all="ignore"):
        both = [train(rnn, run._replace(params=params)) for params in (run.params, wild)]
        for tame, huge in zip(*both, strict=True):
            first, second = (
                each(lambda v: v[::2], rnn.to_numpy(update.parameters)) for update in (tame, huge)
            )
            assert bits(first) == bits(second)
    assert not all(
        np.isfinite(theta).all() for theta in rnn.to_numpy(huge.parameters) if theta is not None
    )


# -- sizes and combinations -------------------------------------------------------------------------------------------

SIZES = {  # with k1 and k2
    "H 127": (Sizes(6, 1, 2, 127, 2), 1, 3),
    "H 128": (Sizes(5, 2, 2, 128, 2), 2, 3),
    "H 129": (Sizes(6, 1, 2, 129, 2), 2, 5),
    "groups of 2": (Sizes(7, 2, 2, 8, 1, (2,)), 2, 3),
    "groups of 3": (Sizes(7, 1, 2, 6, 1, (3,)), 1, 1),
    "groups of 7, B H 64": (Sizes(6, 2, 2, 32, 2, (7,)), 2, 3),
    "groups of 7, B H 65": (Sizes(6, 5, 2, 13, 2, (7,)), 2, 3),
    "one of a group": (Sizes(6, 1, 2, 6, 2, (1,)), 1, 2),
    "many windows of one step": (Sizes(60, 1, 2, 3, 2), 1, 1),
    "many windows of one step of a group": (Sizes(20, 1, 2, 3, 2, (4,)), 1, 1),
    "long windows": (Sizes(40, 3, 2, 5, 2), 20, 20),
    "long windows that overlap": (Sizes(40, 3, 2, 5, 2), 5, 20),
    "longer than a tape": (Sizes(50, 3, 2, 5, 2), 4, 6),
    "longer than the tape of a group": (Sizes(30, 2, 2, 4, 2, (4,)), 4, 4),
    "windows of more bytes than a tape": (Sizes(20, 3, 2, 5, 2), 2, 6),
}


@pytest.mark.parametrize("name", SIZES)
def test_engine_computes_runs_of_all_sizes(name, monkeypatch):
    sizes, k1, k2 = SIZES[name]
    if "tape" in name:
        monkeypatch.setattr(loop, "TAPE_BYTES", 1 if "more" in name else 4000)
    number = list(SIZES).index(name)
    objective = Objective(
        reduction=("sum", "mean")[number % 2], nonlinearity=("tanh", "sigmoid")[number // 2 % 2]
    )
    kind = Kind(
        ("float32", "float64")[number % 2],
        bias=number % 2 == 0,
        learned=number % 3 == 0,
        classes=number % 4 == 3,
    )
    step = Step(0.01 / (1 if objective.reduction == "mean" else 2 * sizes.B * k1))
    assert_right_training(
        numpy_rnn,
        random_run(3, sizes, kind, RunOptions(Schedule(k1, k2, 2), objective, step)),
        "epoch",
    )


KINDS = [  # with reduction and loss
    (Kind(), "sum", "squared_error"), (Kind(), "mean", "squared_error"), (Kind(learned=True), "sum", "squared_error"),
    (Kind(learned=True, bias=False), "mean", "squared_error"), (Kind(classes=True), "mean", "cross_entropy"),
    (Kind(weighted=True), "sum", "cross_entropy"), (Kind(weighted=True), "mean", "squared_error"),
]  # fmt: skip
SHAPES = [((), 1), ((), 3), ((3,), 1), ((3,), 2)]  # E, B


SCHEDULES = [(1, 1), (1, 3), (2, 3)]


@pytest.mark.parametrize("k", SCHEDULES, ids=str)
def test_combinations_of_options(rnn, k):
    """Every step with every kind of network, in one of the three schedules. T = 5 is no multiple of k1 = 2.

    One epoch: test_every_update_is_right has several.
    """
    for number, (options, (kind, reduction, loss)) in enumerate(product(STEPS, KINDS)):
        if SCHEDULES[number % 3] != k:
            continue
        E, B = SHAPES[number % len(SHAPES)]
        objective = Objective(("tanh", "sigmoid")[number // 3 % 2], loss, reduction)
        run_options = RunOptions(Schedule(*k, 1), objective, Step(0.02, **options))
        run = random_run([number, *k], Sizes(5, B, 2, 4, 3, E), kind, run_options)
        assert_right_run(rnn, run, list(train(rnn, run, record=True)))


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "momentum", "dampening"])
def test_number_too_large_for_the_dtype_is_infinite(rnn, name):
    """The run diverges; no package stops it."""
    changes = ({"momentum": 0.5} if name == "dampening" else {}) | {name: 1e300}
    with np.errstate(all="ignore"):
        for E in ((), (2,)):
            run = random_run(1, Sizes(E=E), Kind("float32"))
            *_, last = train(rnn, run, **changes)
            assert not np.isfinite(rnn.to_numpy(last.parameters).W_hh).any()


def test_narrow_integers_are_their_values(rnn):
    """NumPy's integers of 8 bits overflow where Python's do not."""
    run = random_run(1, Sizes(T=300), options=OPTIONS._replace(schedule=Schedule(100, 120, 2)))
    wide = [bits(update) for update in train(rnn, run, yield_every=2)]
    narrow = dict(zip(("k1", "k2", "epochs", "yield_every"), map(np.int8, (100, 120, 2, 2))))
    assert [bits(update) for update in train(rnn, run, **narrow)] == wide
    assert list(rnn.windows(np.int16(300), np.uint8(100), np.int8(120))) == list(
        rnn.windows(300, 100, 120)
    )


@fewer(4)
@given(run=runs(ensembles=[(3,), (2, 9)]), every=st.sampled_from([2, "epoch"]))
def test_wide_groups_are_right(run, every):
    """Groups of whole cache lines, which the last network fills; NumPy's buffers have their size again afterwards."""
    size = np.getbufsize()
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (loop, "WIDE", 1),
            (memory, "WIDE", 1),
            (memory, "MIN_GROUP", 1),
        ):
            patch.setattr(module, name, value)
        patch.setattr(memory, "GROUP_BYTES", 1)
        assert_right_training(numpy_rnn, run, every)
    assert np.getbufsize() == size
