"""Parameters into and out of a backend, and the initial weights."""

import tracemalloc

import numpy as np
import pytest
from cases import random_case
from comparing import bits
from witness import reference_update, values

from numpy_rnn import Activations, Adjoints, Gradients, Parameters, State, Update, Window

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def overwrite(value, number):
    """Change every array of a backend in place."""
    for array in value if isinstance(value, tuple) else [value]:
        if array is not None:
            (array.detach() if hasattr(array, "detach") else array)[...] = number


def record(dtype="float64") -> Update:
    case = random_case(0, 4, 2, 3, 5, 1, dtype=dtype, learned=True)
    activations, loss, adjoints, *after = values(reference_update(case, 0.1, momentum=0.9), dtype)
    gradients, parameters, velocity = after
    return Update(1, 2, Window(0, 0, 4), loss, gradients, parameters, velocity, activations, adjoints)


# -- in and out -----------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("way", ["from_numpy", "to_numpy"])
def test_no_memory_is_shared_on_the_way_in_or_out(rnn, way, bias, dtype):
    params = random_case(0, 1, 1, 3, 4, 2, bias=bias, dtype=dtype, learned=bias).params
    source, convert = (params, rnn.from_numpy) if way == "from_numpy" else (rnn.from_numpy(params), rnn.to_numpy)
    for value in (source, source.W_hh):
        before = bits(value)
        overwrite(convert(value), 7.0)
        assert bits(value) == before
        made = convert(value)
        overwrite(value, 8.0)
        assert bits(made) == before


@DTYPES
def test_the_way_in_and_out_changes_no_bit(rnn, dtype):
    """For every kind of value that goes that way: an array, a number, None, and each of the named tuples."""
    update = record(dtype)
    kinds = [*update, update, update._replace(activations=None, adjoints=None), None, 3, np.array(2.0, dtype)]
    kinds.append(random_case(0, 1, 1, 3, 4, 2, bias=False, dtype=dtype).params)
    kinds.append(State(3, 2, update.window, update.activations.h, update.parameters, update.velocity))
    assert {type(v) for v in kinds} >= {Activations, Adjoints, Parameters, State, Update, Window, int, type(None)}
    assert Gradients is Parameters
    for value in kinds:
        there_and_back = rnn.to_numpy(rnn.from_numpy(value))
        assert type(there_and_back) is type(value)
        assert bits(there_and_back) == bits(value)


def test_a_transposed_array_comes_over_as_it_reads(rnn):
    array = np.arange(12.0).reshape(3, 4).T[::2]
    assert bits(rnn.to_numpy(rnn.from_numpy(array))) == bits(array)


@pytest.mark.needs_torch
def test_torch_parameters_require_a_gradient_and_data_do_not():
    import torch_rnn

    params = torch_rnn.from_numpy(random_case(0, 1, 1, 3, 4, 2, learned=True).params)
    assert all(theta.requires_grad and theta.is_leaf for theta in params)
    assert not torch_rnn.from_numpy(np.zeros(3)).requires_grad
    assert all(theta.requires_grad for theta in torch_rnn.initial_parameters()[:3])


# -- initial weights ------------------------------------------------------------------------------------------------


def drawn_as_stated(D, H, O, seed, dtype):
    """W_xh, then W_hh, then W_hy, by one generator, in float64 and then rounded."""
    generator = np.random.Generator(np.random.PCG64(seed))
    W_xh = 0.4 * generator.standard_normal(D * H).reshape(D, H)
    W_hh = 0.4 * generator.standard_normal(H * H).reshape(H, H)
    W_hy = 0.3 * generator.standard_normal(H * O).reshape(H, O)
    return W_xh.astype(dtype), W_hh.astype(dtype), W_hy.astype(dtype)


@pytest.mark.no_perturb
@DTYPES
@pytest.mark.parametrize("seed", [0, 1, 12345])
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_initial_parameters_are_drawn_as_stated(rnn, bias, seed, dtype):
    """The same bits in every backend, since each has the bits of this."""
    params = rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=seed)
    biases = (np.zeros(5, dtype), np.zeros(2, dtype)) if bias else (None, None)
    assert bits(params) == bits(Parameters(*drawn_as_stated(3, 5, 2, seed, dtype), *biases))


@pytest.mark.no_perturb
def test_the_defaults_are_those_of_the_main_job(rnn):
    assert bits(rnn.initial_parameters()) == bits(Parameters(*drawn_as_stated(1, 6, 1, 0, "float32")))


@pytest.mark.needs_torch
def test_both_backends_start_from_the_same_bits():
    import numpy_rnn
    import torch_rnn

    for options in ({}, {"bias": True, "dtype": "float64", "seed": 9}, {"networks": 4, "bias": True}):
        ours, theirs = (rnn.initial_parameters(2, 7, 3, **options) for rnn in (numpy_rnn, torch_rnn))
        assert bits(ours) == bits(theirs)


@DTYPES
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_network_n_of_an_ensemble_is_what_seed_plus_n_draws_alone(rnn, bias, dtype):
    N, seed = 4, 100
    ensemble = rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=seed, networks=N)
    assert [None if theta is None else tuple(theta.shape) for theta in ensemble] == (
        [(N, 3, 5), (N, 5, 5), (N, 5, 2), *([(N, 5), (N, 2)] if bias else [None, None]), None]
    )
    for n in range(N):
        alone = rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=seed + n)
        assert bits(Parameters(*(None if theta is None else theta[n] for theta in ensemble))) == bits(alone)


@pytest.mark.parametrize(("name", "deviation"), [("W_xh", 0.4), ("W_hh", 0.4), ("W_hy", 0.3)])
def test_the_weights_have_mean_zero_and_the_stated_deviation(rnn, name, deviation):
    """Over n normal draws the mean has the deviation σ/√n and the sample deviation σ/√(2n); six of these are left by
    one sample in 5·10⁸. With n ≥ 6000 they are 6 % of σ, well below the distance from 0.4 to 0.3.
    """
    weights = getattr(rnn.to_numpy(rnn.initial_parameters(networks=1000, dtype="float64")), name).ravel()
    n = weights.size
    assert n >= 6000
    assert abs(weights.mean()) < 6 * deviation / n**0.5
    assert abs(weights.std() - deviation) < 6 * deviation / (2 * n) ** 0.5


def test_different_seeds_and_different_weights_are_different_numbers(rnn):
    params = rnn.to_numpy(rnn.initial_parameters(4, 4, 4, networks=50, dtype="float64"))
    numbers = np.concatenate([theta.ravel() for theta in params[:3]])
    assert np.unique(numbers).size == numbers.size


@pytest.mark.no_perturb  # which takes memory itself
@DTYPES
def test_large_weights_are_drawn_as_stated_too_and_take_little_more_than_their_own_memory(dtype):
    """Drawn in several parts, each network of an ensemble in its place. NumPy's memory alone is looked at."""
    import numpy_rnn

    size = {"hidden_size": 600, "dtype": dtype, "networks": 3}
    tracemalloc.start()
    try:
        params = numpy_rnn.initial_parameters(**size)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    own = sum(theta.nbytes for theta in params[:3])
    assert most < own + own / 3 + 2**20  # a network more, and the numbers of a part
    for n in range(3):
        assert bits(tuple(theta[n] for theta in params[:3])) == bits(drawn_as_stated(1, 600, 1, n, dtype))


def test_plain_tuples_go_in_and_out_like_named_ones(rnn):
    array = np.arange(3.0)
    both = rnn.to_numpy(rnn.from_numpy((array, (array, None, 2, 0.5))))
    assert bits(both[0]) == bits(both[1][0]) == bits(array)
    assert both[1][1:] == (None, 2, 0.5)
