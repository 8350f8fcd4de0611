"""New memory begins at cache lines, and is used again when nobody holds any part of it, not before."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from cases import bits, random_case
from hypothesis import given
from hypothesis import strategies as st
from numpy_rnn.allocation import ALIGNED_FROM, CACHE_LINE, new_arrays, used_again
from numpy_rnn.vectors import BYTES_AT_ONCE

import numpy_rnn

RUN = {"learning_rate": 0.01, "epochs": 3}


def address(array):
    return array.__array_interface__["data"][0]


@given(
    count=st.integers(1, 4),
    shape=st.lists(st.integers(0, 40), max_size=3).map(tuple),
    dtype=st.sampled_from(["float32", "float64", "complex128", "longdouble"]),
)
def test_new_arrays_are_what_they_are_asked_to_be_and_large_ones_begin_at_cache_lines(count, shape, dtype):
    blocks = [new_arrays(count, shape, dtype) for _ in range(3)]
    for block in blocks:
        assert (block.shape, block.dtype) == ((count, *shape), np.dtype(dtype))
        for array in block[:, None]:  # with an axis more, as a number of NumPy's has no memory to look at
            assert array.flags.c_contiguous
            assert array.nbytes < ALIGNED_FROM or address(array) % CACHE_LINE == 0
    arrays = [array for block in blocks for array in block[:, None]]
    for number, array in enumerate(arrays):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(arrays))


HOLDS = {
    "itself": lambda array: array,
    "a part": lambda array: array[1:],
    "a part of a part": lambda array: array[1:][:, 2:],
    "its transpose": lambda array: array.T,
    "other numbers": lambda array: array.view("int32"),
    "a buffer": lambda array: np.asarray(memoryview(array)),
}


@given(taken=st.lists(st.tuples(st.sampled_from(sorted(HOLDS)), st.integers(0, 4)), max_size=30))
def test_memory_is_used_again_when_nobody_holds_any_part_of_it(taken):
    """Arrays are taken, a part of each is held, and the oldest are let go so that few are left."""
    array, held, made = used_again(lambda: np.empty((3, 4), "float32")), [], set()
    for number, (hold, few) in enumerate(taken):
        new = array()
        new[...] = number
        made.add(address(new))
        part = HOLDS[hold](new)
        held.append((part, part.copy()))
        del new, part, held[: max(len(held) - few, 0)]
        assert all(np.array_equal(part, as_it_was) for part, as_it_was in held)
    assert len(made) <= 5  # four that are held, and a new one


@pytest.mark.needs_torch
def test_a_tensor_of_the_same_memory_holds_it():
    import torch

    array = used_again(lambda: np.zeros(3, "float32"))
    tensor = torch.from_numpy(array())
    array()[...] = 1
    assert tensor.tolist() == [0, 0, 0]


@pytest.fixture
def large():
    """A case whose parameters are more than what is made together."""
    case = random_case(3, 2, 2, 3, 150, 2, bias=True)
    assert sum(theta.nbytes for theta in case.params if theta is not None) > BYTES_AT_ONCE
    return case


def of_run(case):
    return numpy_rnn.train(*case.for_train(numpy_rnn), k1=1, k2=1, **RUN, **case.options)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
def test_a_run_uses_the_memory_of_updates_that_are_let_go(large, options):
    """Of the parameters before and after an update, of a gradient, and of what is left when the latest is let go."""
    used = set()
    updates = numpy_rnn.train(*large.for_train(numpy_rnn), k1=1, k2=1, **RUN, **large.options, **options)
    for update in updates:
        used |= {address(update.parameters.W_hh), address(update.gradients.W_hh)}
    assert update.epoch == RUN["epochs"]
    assert len(used) <= 4


def test_what_is_held_of_an_update_is_not_changed_by_later_ones(large):
    kept = list(of_run(large))
    as_it_was, parts = [], []
    for update in of_run(large):
        as_it_was.append(bits(update))
        parts.append((update.parameters.W_hh[0], update.gradients.W_hh.T[:, 5]))
    assert [bits(update) for update in kept] == as_it_was
    assert [bits(part) for part in parts] == [bits((u.parameters.W_hh[0], u.gradients.W_hh.T[:, 5])) for u in kept]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
def test_what_a_network_with_rows_of_whole_lines_is_trained_in_begins_at_cache_lines(bias, dtype, monkeypatch):
    """Whatever the products of a run read and write, if it is large."""
    begins = []

    def spy(left, right, out=None):
        begins.extend(address(array) % CACHE_LINE for array in (left, right, out) if array.nbytes >= ALIGNED_FROM)
        return np.matmul(left, right, out)

    monkeypatch.setattr("numpy_rnn.memory.product_for", lambda params: spy)
    case = random_case(3, 8, 16, 2, 32, 16, bias=bias, dtype=dtype)  # its x, which is the user's, is small
    assert case.params.W_hh.nbytes >= ALIGNED_FROM
    updates = list(numpy_rnn.train(*case.for_train(numpy_rnn), k1=2, k2=4, **RUN, **case.options))
    of_vectors = {address(u.parameters.W_hh) % CACHE_LINE for u in updates}
    assert of_vectors == {0}
    assert len(begins) > 10 * len(updates)
    assert set(begins) == {0}


def test_memory_is_lent_to_one_array_whatever_is_done_to_its_base():
    """A second finalization frees nothing, and there is no second base by a copy."""
    array = used_again(lambda: np.empty(3))
    first = array()
    base = first.base
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled; copy the array"):
            way(base)
    del first
    base.__del__()
    del base
    held = [array() for _ in range(3)]
    assert len({address(one) for one in held}) == 3


def test_kept_updates_hold_little_memory_beside_their_own():
    """Of 2,000 updates every 20th is kept, each with 500 bytes of numbers; 10 KB leave room for Python objects."""
    case = random_case(3, 20, 1, 1, 6, 1, bias=False, dtype="float32")
    run = numpy_rnn.train(*case.for_train(numpy_rnn), k1=1, k2=1, learning_rate=0.01, epochs=100, **case.options)
    next(run)
    tracemalloc.start()
    try:
        kept = [update for update in run if update.number == 20]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 100
    assert held < 100 * 10_000
