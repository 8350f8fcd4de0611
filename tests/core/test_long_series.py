"""Training takes memory that depends on k2 and not on T: on a series that is mapped from a file, and on a stream.

How much a process holds at a million steps is measured by `python -m benchmarks`. Here it is what Python and NumPy ask
for, at fewer steps: at the peak, and what is held after a collection. Of torch's tensors only the Python objects are
seen; one that is kept keeps its object. torch makes some objects once in a run, which hide what is kept from the peak.
"""

import gc
import tracemalloc
from collections import deque
from statistics import median

import numpy as np
import pytest

import numpy_rnn
from numpy_rnn.app import series as series_files
from numpy_rnn.app.series import inputs_and_targets, load_series
from numpy_rnn.common import shapes
from numpy_rnn.engine import loop

pytestmark = pytest.mark.slow

OPTIONS = {"k1": 10, "k2": 20, "learning_rate": 0.01}
LOOKED_AT = 250  # of what is looked at in parts: less than the shorter series has
COLLECT_EVERY = 10  # updates; Python keeps up to 2000 tuples of a length for later, and gives them back at a collection

# By backend: steps of a short and of a long run; and bytes a step, of which half a run may not take more than another.
# A byte a step is a mark on every number, "finite or not"; 8 are the pointers of a list of all steps.
RUNS = {"numpy_rnn": (1_500, 9_500, 1), "torch_rnn": (500, 1_500, 8)}


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(series_files, "BLOCK", LOOKED_AT)
    monkeypatch.setattr(shapes, "CHUNK", LOOKED_AT)
    for name, part in (("MAX_VIEWED", 16), ("MAX_KEPT", 64), ("TAPE_BYTES", 64)):  # bounds of what is kept are small
        monkeypatch.setattr(loop, name, getattr(loop, name) // part)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "series.npy"


def on_a_mapped_file(rnn, path):
    """The updates of an epoch."""
    params, h_0 = start(rnn)
    series = inputs_and_targets(load_series(path), np.float32)
    x, target = (rnn.from_numpy(array, copy=False) for array in series)
    return rnn.train(params, x, target, h_0, **OPTIONS, epochs=1)


def on_a_stream(rnn, path):
    params, h_0 = start(rnn)
    return rnn.train_stream(params, steps(rnn, path), h_0, **OPTIONS)


def start(rnn):
    return rnn.initial_parameters(), rnn.from_numpy(np.zeros((1, 6), np.float32))


def steps(rnn, path):
    """A step of the file at a time."""
    series = np.load(path, mmap_mode="r")
    following = rnn.from_numpy(series[:1, None])
    for t in range(1, len(series)):
        x_t, following = following, rnn.from_numpy(series[t : t + 1, None])
        yield x_t, following


def memory(rnn, path, updates_of, T, keep=None):
    """Bytes of a run of T steps: (held after a collection, near the end; at the peak).

    keep: what is kept of every update; None: nothing. What is held is the median of the last five collections, as a
    single one may leave more.
    """
    np.save(path, np.sin(np.arange(T + 1) / 10).astype(np.float32))
    tracemalloc.start()
    kept, held, count, stop = [], deque([0] * 5, 5), 0, 0
    for update in updates_of(rnn, path):
        if keep is not None:
            kept.append(keep(update))
        count, stop = count + 1, update.window.stop
        if count % COLLECT_EVERY == 0:
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stop == T
    return median(held), most


def growth(rnn, path, updates_of, **options):
    """Bytes that the long run holds more than the short one, that its peak has more, and what is allowed."""
    short, long, bytes_a_step = RUNS[rnn.__name__]
    memory(rnn, path, updates_of, 100)  # what is made once
    gc.collect()
    gc.freeze()  # so that the collections below look at what the runs made alone
    of_short, of_long = (memory(rnn, path, updates_of, T, **options) for T in (short, long))
    gc.unfreeze()
    return of_long[0] - of_short[0], of_long[1] - of_short[1], (long - short) * bytes_a_step / 2


@pytest.mark.parametrize("updates_of", [on_a_mapped_file, on_a_stream])
def test_memory_does_not_grow_with_the_steps(rnn, path, updates_of):
    """What grows with the steps is seen in each of three measurements; what other tests leave is freed in one."""
    measured = []
    for _ in range(3):
        held, peak, allowed = growth(rnn, path, updates_of)
        measured.append((held, peak))
        if max(held, peak) < allowed:
            return
    pytest.fail(f"bytes held and peak, {measured}: expected less than {allowed:.0f}")


def test_two_numbers_kept_of_every_update_would_be_seen(path):
    held, _, allowed = growth(
        numpy_rnn, path, on_a_mapped_file, keep=lambda update: (float(update.loss), update.number)
    )
    assert held > allowed


def test_reading_and_checking_take_no_memory_that_grows_with_the_steps(rnn, path):
    """Before the first update, in bytes at the peak."""
    few, many, peaks = 2_000, 400_000, []
    for T in (100, few, many):
        np.save(path, np.zeros(T + 1, np.float32))
        tracemalloc.start()
        on_a_mapped_file(rnn, path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < (many - few) / 2
