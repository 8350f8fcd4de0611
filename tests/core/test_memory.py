"""A run shares no memory with its caller, and takes no more than it needs."""

import tracemalloc
from itertools import chain, islice, repeat

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.common.records import Objective, RunOptions, Schedule, Step
from numpy_rnn.engine import plan
from tests.helpers.comparing import arrays_in, bits, in_numpy
from tests.helpers.random_runs import arguments, made_run, train_run

# The step, and whether the run begins with a velocity.
FIRST_STEPS = [
    (Step(0.01), False),
    (Step(0.01, momentum=0.9), False),  # the first velocity is the gradient
    (Step(0.01, momentum=0.9, weight_decay=0.01, max_norm=0.5), True),
]


def overwrite(value):
    """Change every array that can be changed."""
    for array in map(in_numpy, arrays_in(value)):
        if array.ndim and array.base is None:
            array.flags.writeable = True
        if array.flags.writeable:
            array[...] = 7.0


@pytest.mark.with_reference
@pytest.mark.parametrize(
    ("step", "velocity"), FIRST_STEPS, ids=["sgd", "momentum", "all"]
)
@pytest.mark.parametrize("N", [None, 3])
@pytest.mark.parametrize("part_steps", [plan.PART_STEPS, 0], ids=["whole", "parts"])
@pytest.mark.parametrize(
    "schedule", [Schedule(1, 1, 2), Schedule(1, 3, 2), Schedule(3, 5, 2)], ids=str
)
def test_run_has_its_own_memory(
    rnn, schedule, part_steps, N, step, velocity, monkeypatch
):
    """What a caller writes into arguments, except x and target, and into updates has no
    effect on the run; nor has another run at the same time.
    """
    monkeypatch.setattr(plan, "PART_STEPS", part_steps)
    if N:
        step = step._replace(learning_rate=np.linspace(0.01, 0.02, N))
    options = RunOptions(schedule, Objective(), step)
    record = schedule.k2 == 3
    run = made_run(options, N, ("h_0",), velocity=velocity)
    untouched = [bits(update) for update in train_run(rnn, run, record=record)]
    own_arguments = arguments(rnn, run)
    updates = rnn.train(**own_arguments, record=record)
    del own_arguments["x"], own_arguments["target"]
    overwrite(own_arguments)
    others = chain(train_run(rnn, made_run(bias=False)), repeat(None))
    for update, expected, _ in zip(updates, untouched, others):
        assert bits(update) == expected
        if rnn.__name__ != "torch_rnn":
            state = update.parameters, update.gradients, update.velocity
            yielded = arrays_in(state)
            assert not any(array.flags.writeable for array in yielded)
        overwrite(update)


def peak(schedule, N=None, count=None, **sizes):
    """Return the most bytes that Python and NumPy have during so many updates."""
    options = RunOptions(schedule, Objective(), Step(1e-3))
    updates = train_run(numpy_rnn, made_run(options, N, **sizes))
    tracemalloc.start()
    for _ in islice(updates, count):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_steps():
    """The limit is half of a list's pointer for each step."""
    short, long = (peak(Schedule(20, 25, 1), T=T, B=1) for T in (2_500, 10_000))
    assert long - short < (10_000 - 2_500) * 8 / 2


def test_memory_of_long_windows_and_large_ensembles_is_limited(monkeypatch):
    """The views of all windows would take 8 MB, and workspaces of the whole series for
    all networks 46 MB.
    """
    assert peak(Schedule(1, 300, 1), T=300, B=1, D=1, H=2) < 4e6
    monkeypatch.setattr(plan, "WORKSPACE_BYTES", 2**18)
    assert peak(Schedule(10, 10, 2), 200, 1, T=300, B=8, D=1, H=9) < 30e6
