"""All parameters in one vector, networks innermost in memory: where numbers lie, which changes no number."""

from itertools import islice

import numpy as np
import pytest
from cases import allowed, assert_within, bits, network, of_network, one_update, random_case, reference_update
from numpy_rnn.vectors import empty, in_one_vector, networks_are_innermost, new_vectors, product_for

import numpy_rnn
from numpy_rnn import vectors

ENSEMBLES = pytest.mark.parametrize("E", [(), (1,), (3,), (64,), (2, 40), (64, 1), (1, 64)], ids=str)
KINDS = pytest.mark.parametrize("kind", [{}, {"bias": True}, {"bias": True, "learned": True}], ids=str)
RUN = {"learning_rate": 0.02, "epochs": 2}


def parameters(E, **kind):
    return random_case(3, 4, 2, 3, 5, 2, E=E, **kind).params


def present(params):
    return [theta for theta in params if theta is not None]


@ENSEMBLES
@KINDS
def test_the_vector_is_the_parameters(E, kind):
    """Every number once, in their order, in one memory; and a copy."""
    params = parameters(E, **kind)
    vector, parts = in_one_vector(params, 2)
    assert bits(parts) == bits(params)
    together = np.concatenate([theta.reshape(*E, -1) for theta in present(params)], axis=-1)
    assert bits(vector) == bits(together)
    vector += 1
    for part, theta in zip(present(parts), present(params)):
        assert np.array_equal(part, theta + 1)


@ENSEMBLES
@KINDS
def test_new_memory_is_new_as_long_as_it_is_held(E, kind, monkeypatch):
    monkeypatch.setattr(vectors, "BYTES_AT_ONCE", 4 * sum(theta.nbytes for theta in present(parameters(E, **kind))))
    _, params = in_one_vector(parameters(E, **kind), 2)
    made = list(islice(new_vectors(params), 9))  # of more than two blocks
    for number, (vector, parts) in enumerate(made):
        vector[...] = number
        assert [part.shape for part in present(parts)] == [theta.shape for theta in present(params)]
        assert {part.dtype for part in present(parts)} == {params.W_hh.dtype}
        assert [part is None for part in parts] == [theta is None for theta in params]
    for number, (_, parts) in enumerate(made):
        assert all((part == number).all() for part in present(parts))


@pytest.mark.parametrize(("E", "H", "B", "innermost"), [
    ((64,), 6, 1, True), ((63,), 6, 1, False), ((8, 8), 6, 1, True), ((1000,), 64, 1, True), ((1000,), 65, 1, False),
    ((1000,), 6, 32, False), ((), 6, 1, False), ((64, 1), 6, 1, True), ((8, 8, 1), 6, 1, True), ((64,), 1, 1, True),
    ((3,), 1, 1, False), ((1,), 1, 1, False),
])  # fmt: skip
def test_many_small_networks_stand_innermost(E, H, B, innermost):
    _, params = in_one_vector(random_case(0, 2, B, 1, H, 1, E=E).params, B)
    for parts in (params, *(parts for _, parts in islice(new_vectors(params), 3))):
        assert networks_are_innermost(parts) == innermost
        memory = empty(parts, 7, 4)
        assert memory.shape == (*E, 7, 4)
        for array in (memory, parts.W_xh):  # in the order of their strides, the axes of E stand last, or first
            order = sorted((-stride, axis) for axis, stride in enumerate(array.strides) if array.shape[axis] > 1)
            networks = [axis < len(E) for _, axis in order]
            assert networks == sorted(networks, reverse=not innermost)


@ENSEMBLES
def test_the_product_is_that_of_every_network(E):
    """Terms may be added in any order: exact numbers are, in all."""
    generator = np.random.default_rng(0)
    _, params = in_one_vector(parameters(E), 2)
    left, right, out = empty(params, 3, 4), empty(params, 4, 5), empty(params, 3, 5)
    left[...], right[...] = (generator.integers(-9, 9, size=matrix.shape) for matrix in (left, right))
    expected = np.matmul(left, right)
    product = product_for(params)
    assert np.array_equal(product(left, right), expected)
    product(left, right, out)
    assert np.array_equal(out, expected)
    assert np.array_equal(product(right.mT, left.mT), expected.mT)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "max_norm": 0.5, "weight_decay": 0.01}], ids=str)
@pytest.mark.parametrize("E", [(64,), (2, 40), (64, 1)], ids=str)
def test_every_step_of_a_run_has_the_networks_innermost(E, options):
    """Or it would be slow, and a run that is resumed would add in another order than one that is not."""
    case = random_case(3, 5, 1, 2, 3, 1, E=E, bias=True)
    for update in numpy_rnn.train(*case.for_train(numpy_rnn), k1=1, k2=3, **RUN, **options, **case.options):
        assert networks_are_innermost(update.parameters)
        assert networks_are_innermost(update.gradients)
        assert update.velocity is None or networks_are_innermost(update.velocity)
        assert len(update) == len(numpy_rnn.Update._fields)


def test_parameters_of_a_run_serve_wherever_their_numbers_do():
    """Innermost as `train` hands them out, or as a user has them: the same to forward, bptt and all of a step."""
    E = (64,)
    case = random_case(5, 4, 1, 3, 5, 2, E=E, bias=True)
    _, innermost = in_one_vector(case.params, 1)
    assert networks_are_innermost(numpy_rnn.from_numpy(innermost))  # as one_update passes them on
    options = {"momentum": 0.9, "weight_decay": 0.01, "max_norm": 0.1}
    result = one_update(numpy_rnn, case._replace(params=innermost), 0.1, **options)
    for n in [(0,), (33,), (63,)]:
        alone = network(case, n)
        limit = allowed(reference_update(alone, 0.1, **options))
        assert_within(of_network(result, n), one_update(numpy_rnn, alone, 0.1, **options), limit)


def test_windows_are_the_same_whether_their_memory_is_kept_or_not(monkeypatch):
    """Small ones of every size are kept, of large ones the latest; windows here have 2 or 4 steps, 2 or 1 counted."""
    case = random_case(6, 7, 2, 3, 5, 2, bias=True)
    runs = []
    for small in (0, 20, 512):
        monkeypatch.setattr("numpy_rnn.updates.SMALL_WINDOW", small)
        run = numpy_rnn.train(*case.for_train(numpy_rnn), k1=2, k2=4, **RUN, record=True, **case.options)
        runs.append([bits(update) for update in run])
    assert runs[0] == runs[1] == runs[2] != []
