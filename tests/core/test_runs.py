"""Runs by every implementation: the sequence of updates, and every number of each.

The engine computes small and large networks, groups and long series in different ways: the sizes in
`SIZES` are on both sides of its thresholds.
"""

import pickle
from itertools import combinations_with_replacement

import numpy as np
import pytest
from cases import OPTIONS, Kind, Sizes, random_run
from comparing import UPDATE, bits, each, fewer, in_numpy
from draws import STEPS, runs, train
from hypothesis import given
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


def assert_right_training(rnn, run):
    """Fail unless all updates are right, with and without records, and yielded by epoch."""
    updates = list(train(rnn, run, record=True))
    assert_right_run(rnn, run, updates)
    whole = [name for name in UPDATE if name not in ("activations", "adjoints", "losses")]
    plain = list(train(rnn, run))
    assert [fields(u, whole) for u in plain] == [fields(u, whole) for u in updates]
    assert all(u.activations is u.adjoints is u.losses is None for u in plain)
    whole.remove("loss")  # a sum of terms, which may be added in another order
    last = [u for u in updates if u.window.stop == len(run.x)]
    for record in (True, False):
        recorded = ["activations", "adjoints"] * record
        by_epoch = list(train(rnn, run, record=record, yield_every="epoch"))
        expected = [fields(u, whole + recorded) for u in last]
        assert [fields(u, whole + recorded) for u in by_epoch] == expected
        for update in by_epoch:
            of_epoch = [in_numpy(u.loss) for u in updates if u.epoch == update.epoch]
            assert bits(update.loss) == bits(update.losses[-1])
            assert_same_losses(in_numpy(update.losses), np.stack(of_epoch), run)


def fields(update, names):
    return [bits(getattr(update, name)) for name in names]


def assert_same_losses(found, expected, run):
    """Fail unless they differ by the order of summation at most."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    is_positive = run.options.objective.loss == "squared_error"  # no terms cancel
    size = np.abs(expected) if is_positive else 1e3 * (1 + np.abs(expected))
    allowed = run.target.size * 9 * np.finfo(expected.dtype).eps * size
    assert (np.abs(found - expected) <= allowed).all()


@given(run=runs())
def test_every_update_is_right(rnn, run):
    """With every option, and for each network of an ensemble with its own series and rate."""
    assert_right_training(rnn, run)


@fewer(2)
@given(run=runs())
@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"adagrad": True}], ids=str)
def test_run_continues_from_its_velocity(rnn, options, run):
    """Epochs 1 to 10, then 11 to 20 from parameters and velocity, are bit for bit all 20."""
    step = Step(run.options.step.learning_rate / 10, **options)._asdict()
    run = run._replace(velocity=None)
    names = [name for name in UPDATE if name != "epoch"]
    with np.errstate(all="ignore"):
        whole = [fields(u, names) for u in train(rnn, run, epochs=20, **step)]
        first = list(train(rnn, run, epochs=10, **step))
        latest = {"params": first[-1].parameters, "velocity": first[-1].velocity}
        rest = train(rnn, run, epochs=10, **step | latest)
        assert [fields(u, names) for u in [*first, *rest]] == whole


def strided(array):
    """A view of the same numbers, neither transposed nor next to each other."""
    spread = np.zeros((*array.shape[::-1], 2), array.dtype)
    spread[..., 1] = array.T
    return spread[..., 1].T


@fewer(4)
@given(run=runs(), layout=st.sampled_from([strided, np.asfortranarray]))
def test_layout_of_arguments_does_not_matter(rnn, run, layout):
    """And the arguments are not changed."""
    names = "params", "x", "target", "h_0", "velocity"
    arrays = {name: rnn.from_numpy(each(layout, getattr(run, name)), copy=False) for name in names}
    before = bits(tuple(arrays.values()))
    assert_right_run(rnn, run, list(train(rnn, run, **arrays, record=True)))
    assert bits(tuple(arrays.values())) == before


@pytest.mark.parametrize("options", STEPS, ids=str)
def test_network_of_an_ensemble_does_not_depend_on_the_others(rnn, options):
    """Not even where all numbers of another one overflow, and those that clipping squares."""
    run = random_run(3, Sizes(N=3), options=OPTIONS._replace(step=Step(0.05, **options)))
    factors = np.array([1, 1e200, 1])
    wild = each(lambda theta: theta * factors.reshape(3, *[1] * (theta.ndim - 1)), run.params)
    with np.errstate(all="ignore"):
        both = [train(rnn, run._replace(params=params)) for params in (run.params, wild)]
        for tame, huge in zip(*both, strict=True):
            pair = (rnn.to_numpy(update.parameters) for update in (tame, huge))
            first, second = (each(lambda v: v[::2], params) for params in pair)
            assert bits(first) == bits(second)
    assert not all(np.isfinite(theta).all() for theta in rnn.to_numpy(huge.parameters))


SIZES = {  # with k1 and k2
    "H 127": (Sizes(6, 1, 2, 127, 2), 1, 3),
    "H 128": (Sizes(5, 2, 2, 128, 2), 2, 3),
    "H 129": (Sizes(6, 1, 2, 129, 2), 2, 5),
    "groups of 2": (Sizes(7, 2, 2, 8, 1, 2), 2, 3),
    "groups of 3": (Sizes(7, 1, 2, 6, 1, 3), 1, 1),
    "groups of 7, B H 65": (Sizes(6, 5, 2, 13, 2, 7), 2, 3),
    "one of a group": (Sizes(6, 1, 2, 6, 2, 1), 1, 2),
    "many windows of one step": (Sizes(60, 1, 2, 3, 2), 1, 1),
    "long windows": (Sizes(40, 3, 2, 5, 2), 20, 20),
    "long windows that overlap": (Sizes(40, 3, 2, 5, 2), 5, 20),
    "longer than a workspace": (Sizes(50, 3, 2, 5, 2), 4, 6),
    "longer than the workspace of a group": (Sizes(30, 2, 2, 4, 2, 4), 4, 4),
    "windows of more bytes than a workspace": (Sizes(20, 3, 2, 5, 2), 2, 6),
}


@pytest.mark.parametrize("name", SIZES)
def test_engine_computes_runs_of_all_sizes(name, monkeypatch):
    sizes, k1, k2 = SIZES[name]
    if "workspace" in name:
        monkeypatch.setattr(loop, "WORKSPACE_BYTES", 1 if "more" in name else 4000)
    number = list(SIZES).index(name)
    nonlinearity = ("tanh", "sigmoid")[number // 2 % 2]
    objective = Objective(nonlinearity, reduction=("sum", "mean")[number % 2])
    kind = Kind(("float32", "float64")[number % 2], number % 3 == 0, number % 4 == 3)
    step = Step(0.01 / (1 if objective.reduction == "mean" else 2 * sizes.B * k1))
    options = RunOptions(Schedule(k1, k2, 2), objective, step)
    assert_right_training(numpy_rnn, random_run(3, sizes, kind, options))


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "momentum", "dampening"])
def test_number_too_large_for_the_dtype_is_infinite(rnn, name):
    """The run diverges; no package stops it."""
    changes = ({"momentum": 0.5} if name == "dampening" else {}) | {name: 1e300}
    with np.errstate(all="ignore"):
        for N in (None, 2):
            *_, last = train(rnn, random_run(1, Sizes(N=N), Kind("float32")), **changes)
            assert not np.isfinite(rnn.to_numpy(last.parameters).W_hh).any()


def test_narrow_integers_are_their_values(rnn):
    """NumPy's integers of 8 bits overflow where Python's do not."""
    run = random_run(1, Sizes(T=300), options=OPTIONS._replace(schedule=Schedule(100, 120, 2)))
    narrow = dict(zip(("k1", "k2", "epochs", "yield_every"), map(np.int8, (100, 120, 2, 1))))
    assert [*map(bits, train(rnn, run, **narrow))] == [*map(bits, train(rnn, run))]
    assert [*rnn.windows(np.int16(300), np.uint8(100), np.int8(120))] == [
        *rnn.windows(300, 100, 120)
    ]


@fewer(4)
@given(run=runs(networks=[3, 18]))
def test_wide_groups_are_right(run):
    """Groups of whole cache lines, which the last network fills; NumPy's buffers are restored."""
    size = np.getbufsize()
    with pytest.MonkeyPatch.context() as patch:
        for module, name in ((loop, "WIDE"), (memory, "WIDE"), (memory, "MIN_GROUP")):
            patch.setattr(module, name, 1)
        patch.setattr(memory, "GROUP_BYTES", 1)
        assert_right_training(numpy_rnn, run)
    assert np.getbufsize() == size


def test_updates_are_pickled(rnn):
    update = next(train(rnn, random_run(4), momentum=0.9, record=True))
    assert bits(pickle.loads(pickle.dumps(update))) == bits(update)
