"""Runs by every implementation: the sequence of updates, and every number of each.

The engine computes small and large networks, groups and long series in different ways:
the sizes in `SIZES` are on both sides of its thresholds.
"""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import numpy_rnn
from numpy_rnn import Update
from numpy_rnn.common.records import Objective, Schedule, Step, tree_map
from numpy_rnn.conformance.runs import is_bounded
from numpy_rnn.engine import loop, memory
from tests.helpers.comparing import UPDATE, bits, fewer
from tests.helpers.random_runs import (
    OPTIONS,
    STEPS,
    Kind,
    Sizes,
    all_sizes,
    assert_right_run,
    random_run,
    runs,
    train,
)

pytestmark = pytest.mark.with_reference
RECORDED = "activations", "adjoints"


def same(updates, others, *without):
    """Whether all their numbers are the same, to the bit, without the fields of these
    names.
    """
    names = [name for name in UPDATE if name not in without]
    pairs = zip(updates, others, strict=True)
    return all(
        bits(getattr(u, n)) == bits(getattr(v, n)) for u, v in pairs for n in names
    )


def assert_right_training(rnn, run):
    """Fail unless all updates are right, with and without records, and yielded by
    epoch.
    """
    assume(is_bounded(run))  # whose numbers do not overflow
    updates = list(train(rnn, run, record=True))
    assert_right_run(run, updates)
    windows = list(rnn.windows(len(run.x), *run.options.schedule[:2]))
    assert [u.window for u in updates] == windows * run.options.schedule.epochs
    plain = list(train(rnn, run))
    assert same(plain, updates, *RECORDED)
    assert all(u.activations is u.adjoints is u.losses is None for u in plain)
    last = [u for u in updates if u.window.stop == len(run.x)]
    by_epoch = list(train(rnn, run, record=True, yield_every="epoch"))
    assert same(by_epoch, last, "loss", "losses")
    assert same(train(rnn, run, yield_every="epoch"), by_epoch, *RECORDED)
    assert all(bits(u.loss) == bits(u.losses[-1]) for u in by_epoch)
    # Sums of the same terms as the loss of each update, none negative, perhaps in
    # another order.
    losses = np.concatenate([rnn.to_numpy(u.losses) for u in by_epoch])
    expected = np.stack([rnn.to_numpy(u.loss) for u in updates])
    assert losses.dtype == expected.dtype
    np.testing.assert_allclose(
        losses, expected, 2 * run.target.size * np.finfo(losses.dtype).eps
    )


@given(run=runs())
def test_every_update_is_right(rnn, run):
    """With every option, and for each network of an ensemble with its own series and
    rate.
    """
    assert_right_training(rnn, run)


@fewer(2)
@given(run=runs())
@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"adagrad": True}], ids=str)
def test_run_continues_from_its_velocity(rnn, options, run):
    """Epochs 1 and 2, then 3 and 4 from parameters and velocity, are bit for bit all
    four.
    """
    step = Step(run.options.step.learning_rate / 10, **options)._asdict()
    run = run._replace(velocity=None)
    with np.errstate(all="ignore"):
        first = list(train(rnn, run, epochs=2, **step))
        latest = {"params": first[-1].parameters, "velocity": first[-1].velocity}
        rest = train(rnn, run, epochs=2, **step | latest)
        assert same([*first, *rest], train(rnn, run, epochs=4, **step), "epoch")


def spread(array):
    """Return a view of the same numbers, transposed and not next to each other."""
    return np.asfortranarray(np.repeat(array, 2, axis=-1))[..., ::2]


@fewer(4)
@given(run=runs(), layout=st.sampled_from([spread, np.asfortranarray]))
def test_layout_of_arguments_does_not_matter(rnn, run, layout):
    """And the arguments are not changed."""
    assume(is_bounded(run))
    names = "params", "x", "target", "h_0", "velocity"
    arrays = {
        n: rnn.from_numpy(tree_map(layout, getattr(run, n)), copy=False) for n in names
    }
    before = bits(tuple(arrays.values()))
    assert_right_run(run, list(train(rnn, run, **arrays, record=True)))
    assert bits(tuple(arrays.values())) == before


@pytest.mark.parametrize("step", STEPS)
def test_network_of_an_ensemble_does_not_depend_on_the_others(rnn, step):
    """Not even where all numbers of another one overflow, and those that clipping
    squares.
    """
    run = random_run(Sizes(N=3), options=OPTIONS._replace(step=step))
    factors = np.array([1, 1e200, 1])
    wild = tree_map(
        lambda theta: theta * factors.reshape(3, *[1] * (theta.ndim - 1)), run.params
    )
    with np.errstate(all="ignore"):
        both = [
            train(rnn, run._replace(params=params)) for params in (run.params, wild)
        ]
        for pair in zip(*both, strict=True):
            tame, huge = (rnn.to_numpy(update.parameters) for update in pair)
            assert bits(tree_map(lambda v: v[::2], tame)) == bits(
                tree_map(lambda v: v[::2], huge)
            )
    assert not all(np.isfinite(theta).all() for theta in huge)


SIZES = {  # with k1 and k2
    "H 128": (Sizes(6, 1, 2, 128, 2), 1, 3),
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
@fewer(8, least=3)
@given(data=st.data())
def test_engine_computes_runs_of_all_sizes(name, data):
    sizes, k1, k2 = SIZES[name]
    objective = Objective() if "one step" in name else None
    run = data.draw(runs(st.just(sizes), Schedule(k1, k2, 2), objective))
    with pytest.MonkeyPatch.context() as patch:
        if "workspace" in name:
            patch.setattr(loop, "WORKSPACE_BYTES", 1 if "more" in name else 4000)
        assert_right_training(numpy_rnn, run)


@fewer(4)
@given(run=runs(all_sizes(networks=[3, 18])))
def test_wide_groups_are_right(run):
    """Groups of whole cache lines, which the last network fills; NumPy's buffers are
    restored.
    """
    size = np.getbufsize()
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (loop, "WIDE_ENSEMBLE"),
            (memory, "WIDE_ENSEMBLE"),
            (memory, "MIN_GROUP"),
        ):
            patch.setattr(module, name, 1)
        patch.setattr(memory, "GROUP_BYTES", 1)
        assert_right_training(numpy_rnn, run)
    assert np.getbufsize() == size


@pytest.mark.parametrize(
    "name", ["learning_rate", "weight_decay", "momentum", "dampening"]
)
def test_number_too_large_for_the_dtype_is_infinite(rnn, name):
    """The run diverges; no package stops it."""
    changes = ({"momentum": 0.5} if name == "dampening" else {}) | {name: 1e300}
    with np.errstate(all="ignore"):
        for N in (None, 2):
            *_, last = train(rnn, random_run(Sizes(N=N), Kind("float32")), **changes)
            assert not np.isfinite(rnn.to_numpy(last.parameters).W_hh).any()


def test_narrow_integers_are_their_values(rnn):
    """NumPy's integers of 8 bits overflow where Python's do not."""
    run = random_run(
        Sizes(T=300), options=OPTIONS._replace(schedule=Schedule(100, 120, 2))
    )
    narrow = dict(
        zip(("k1", "k2", "epochs", "yield_every"), map(np.int8, (100, 120, 2, 1)))
    )
    assert [*map(bits, train(rnn, run, **narrow))] == [*map(bits, train(rnn, run))]


def test_updates_are_pickled(rnn):
    update = next(train(rnn, random_run(), momentum=0.9, record=True))
    assert bits(pickle.loads(pickle.dumps(update))) == bits(update)


@pytest.mark.parametrize("yield_every", [1, "epoch"])
def test_fields_of_updates_are_replaced(rnn, yield_every):
    options = {"momentum": 0.9, "record": True, "yield_every": yield_every}
    for update in train(rnn, random_run(), **options):
        before = bits(update)
        other = dataclasses.replace(update, epoch=9, velocity=None)
        assert isinstance(other, Update)
        assert (other.epoch, other.velocity) == (9, None)
        same_again = dataclasses.replace(
            other, epoch=update.epoch, velocity=update.velocity
        )
        assert bits(same_again) == before == bits(update)
        with pytest.raises(dataclasses.FrozenInstanceError):
            update.epoch = 9
        with pytest.raises(dataclasses.FrozenInstanceError):
            update.parameters = None
