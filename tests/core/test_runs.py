"""Runs of every implementation have the right updates, and right numbers in each.

The engine computes small and large networks, groups and long series in different ways:
its thresholds are set to values that small runs cross.
"""

import dataclasses
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given

import numpy_rnn
from numpy_rnn import Update
from numpy_rnn.common.records import Schedule, Step
from numpy_rnn.common.trees import tree_map
from numpy_rnn.conformance.random_cases import RandomDraw, is_bounded
from numpy_rnn.engine import gradient, groups, plan, training_run, views, workspace
from tests.helpers.comparing import UPDATE, bits, fewer
from tests.helpers.random_runs import (
    OPTIONS,
    SMALL_STEP,
    STEPS,
    assert_right_run,
    drawn_run,
    made_run,
    train_run,
)
from tests.helpers.windows import SEEDS

pytestmark = pytest.mark.with_reference
RECORDED = "activations", "adjoints"


@pytest.fixture(autouse=True, scope="module")
def _memory_that_nobody_wrote():
    """Fill new memory with NaN, since it may hold any number."""

    def empty(shape, dtype=float):
        is_float = np.dtype(dtype).kind == "f"
        return np.full(shape, np.nan if is_float else 7, dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "empty", empty)
        patch.setattr(np, "empty_like", lambda array: empty(array.shape, array.dtype))
        yield


def same(updates, others, *without):
    """Return whether all numbers of two lists of updates are the same, to the bit.

    without: names of fields that are not compared.
    """
    names = [name for name in UPDATE if name not in without]
    pairs = zip(updates, others, strict=True)
    return all(
        bits(getattr(u, n)) == bits(getattr(v, n)) for u, v in pairs for n in names
    )


def assert_right_training(rnn, run, **arrays):
    """Fail unless all updates are right, with and without records, and yielded by
    epoch.
    """
    trained = partial(train_run, rnn, run, **arrays)
    updates = list(trained(record=True))
    assert_right_run(run, updates)
    windows = list(rnn.windows(len(run.x), *run.options.schedule[:2]))
    assert [u.window for u in updates] == windows * run.options.schedule.epochs
    plain = list(trained())
    assert same(plain, updates, *RECORDED)
    assert all(u.activations is u.adjoints is u.losses is None for u in plain)
    last = [u for u in updates if u.window.stop == len(run.x)]
    by_epoch = list(trained(record=True, yield_every="epoch"))
    assert same(by_epoch, last, "loss", "losses")
    assert same(trained(yield_every="epoch"), by_epoch, *RECORDED)
    assert all(bits(u.loss) == bits(u.losses[-1]) for u in by_epoch)
    # Sums of the same terms as the loss of each update, none negative, perhaps in
    # another order.
    losses = np.concatenate([rnn.to_numpy(u.losses) for u in by_epoch])
    expected = np.stack([rnn.to_numpy(u.loss) for u in updates])
    assert losses.dtype == expected.dtype
    np.testing.assert_allclose(
        losses, expected, 2 * run.target.size * np.finfo(losses.dtype).eps
    )


LAYOUTS = [
    np.array,
    np.asfortranarray,
    lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
]


@given(seed=SEEDS)
def test_every_update_is_right(rnn, seed):
    """The runs have every option, NumPy's arguments every layout, and ensembles have
    networks with their own series and rates.
    """
    draw = RandomDraw(seed)
    run = drawn_run(draw)
    assume(is_bounded(run))
    if rnn.__name__ == "torch_rnn":
        assert_right_training(rnn, run)
        return
    layout = draw.choice(LAYOUTS)
    names = "params", "x", "target", "h_0", "velocity"
    arrays = {name: tree_map(layout, getattr(run, name)) for name in names}
    assert_right_training(rnn, run, **arrays)


@pytest.mark.parametrize("step", STEPS)
def test_network_of_an_ensemble_does_not_depend_on_the_others(rnn, step):
    """It does not even where all numbers of another network overflow, and the squares
    that clipping adds.
    """
    run = made_run(OPTIONS._replace(step=step), 3)
    wild = tree_map(np.copy, run.params)
    for theta in wild:
        theta[1] *= 1e200
    both = train_run(rnn, run), train_run(rnn, run._replace(params=wild))
    with np.errstate(all="ignore"):
        for pair in zip(*both, strict=True):
            tame, huge = (rnn.to_numpy(update.parameters) for update in pair)
            for theta, other in zip(tame, huge):
                assert bits(theta[::2]) == bits(other[::2])
    assert not all(np.isfinite(theta).all() for theta in huge)


THRESHOLDS = {  # of the engine, and values that small runs cross
    "MAX_STACKED": 2,
    "MIN_TRANSPOSED": 2,
    "MAX_GROUPED": 5,
    "WORKSPACE_BYTES": 1,
    "PART_STEPS": 1,
    "MAX_VIEWED": 4,
    "MAX_WORKSPACES": 1,
    "GROUP_BYTES": 1,
    "CACHE_LINE": 16,
}
SCHEDULES = [Schedule(1, 1, 2), Schedule(1, 3, 2), Schedule(3, 3, 2), Schedule(2, 5, 2)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_run_of_one_sequence_is_right(rnn, schedule):
    """The engine has code of its own for windows of one step."""
    options = OPTIONS._replace(schedule=schedule)
    assert_right_training(rnn, made_run(options, B=1))


@pytest.mark.parametrize("name", THRESHOLDS)
@fewer(2, least=6)
@given(seed=SEEDS)
def test_engine_is_right_beyond_its_thresholds(name, seed):
    """The run crosses this threshold and perhaps others. NumPy's buffer has its former
    size afterwards.
    """
    draw = RandomDraw(seed, [*THRESHOLDS].index(name))
    run = drawn_run(
        draw,
        (None, 3, 7),
        draw.choice(SCHEDULES),
        T=draw.integer(5, 9),
        B=draw.choice([1, 1, 2]),
        D=draw.integer(1, 3),
        H=draw.integer(1, 4),
        O=draw.integer(1, 3),
    )
    assume(is_bounded(run))
    crossed = {other for other in THRESHOLDS if other == name or draw.one_in(4)}
    modules = training_run, groups, gradient, plan, views, workspace
    assert any(name in vars(module) for module in modules)
    size = np.getbufsize()
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            for threshold in vars(module).keys() & crossed:
                patch.setattr(module, threshold, THRESHOLDS[threshold])
        assert_right_training(numpy_rnn, run)
    assert np.getbufsize() == size


GROUPED = [  # the schedule, the step, and the series that each network has of its own
    (Schedule(1, 1, 2), Step(0.05), ()),
    (Schedule(1, 5, 2), Step(0.05), ("x", "target")),
    (Schedule(3, 3, 2), SMALL_STEP, ("h_0",)),
]


@pytest.mark.parametrize("yield_every", [1, "epoch"])
@pytest.mark.parametrize(("schedule", "step", "per_network"), GROUPED)
def test_results_do_not_depend_on_groups(
    schedule, step, per_network, yield_every, monkeypatch
):
    """Not by a bit: 49 networks are one group, or several of which the last has one
    more than whole cache lines.
    """
    options = OPTIONS._replace(schedule=schedule, step=step)
    run = made_run(options, 49, per_network, B=1, dtype="float32")
    results = []
    for size, line in ((2**30, 64), (1, 64), (1, 16)):
        monkeypatch.setattr(groups, "GROUP_BYTES", size)
        monkeypatch.setattr(groups, "CACHE_LINE", line)
        updates = list(train_run(numpy_rnn, run, record=True, yield_every=yield_every))
        results.append([bits(update) for update in updates])
    sizes = training_run.sizes_of(run.params, 1)
    assert len(groups.group_slices(sizes, 49, 1)) == 12
    assert results[0] == results[1] == results[2]


def test_groups_hold_all_networks_once_and_fit_into_the_cache():
    """Sizes are whole cache lines, and differ by one at most, but for the last."""
    for H, k2, networks in ((6, 1, 1000), (6, 5, 10_000), (32, 1, 50_000), (1, 1, 3)):
        params = numpy_rnn.initial_parameters(hidden_size=H, networks=2)
        sizes = training_run.sizes_of(params, 1)
        slices = groups.group_slices(sizes, networks, k2)
        covered = [n for each in slices for n in range(each.start, each.stop)]
        assert covered == [*range(networks)]
        counts = [each.stop - each.start for each in slices]
        lines = [count // 16 for count in counts]
        assert max(lines) - min(lines) <= 1
        assert all(count % 16 == 0 for count in counts[:-1])
        used = groups.network_bytes(sizes, k2) * 16 * max(lines)
        assert used <= groups.GROUP_BYTES or max(lines) == 1


@pytest.mark.parametrize("yield_every", [1, "epoch"])
def test_updates_are_records(rnn, yield_every):
    """They can be replaced field by field, but not changed."""
    options = {"momentum": 0.9, "record": True, "yield_every": yield_every}
    for update in train_run(rnn, made_run(), **options):
        other = dataclasses.replace(update, epoch=9, velocity=None)
        assert isinstance(other, Update)
        assert (other.epoch, other.velocity) == (9, None)
        fields = {"epoch": update.epoch, "velocity": update.velocity}
        same_again = dataclasses.replace(other, **fields)
        assert bits(same_again) == bits(update)
        for name in ("epoch", "parameters"):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(update, name, None)
