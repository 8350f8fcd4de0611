"""Parameters into and out of a backend, and the initial weights."""

import tracemalloc

import numpy as np
import pytest
from cases import random_case
from comparing import arrays_in, bits, each, in_numpy

import numpy_rnn
from numpy_rnn import Parameters

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def overwrite(value, number):
    """Change every array of a backend in place."""
    for array in arrays_in(value):
        in_numpy(array)[...] = number


@pytest.mark.parametrize("way", ["from_numpy", "to_numpy"])
def test_no_memory_is_shared_on_the_way_in_or_out(rnn, way):
    params = random_case(0, 1, 1, 3, 4, 2, learned=True).params
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
    """For every kind of value that goes that way: an array, also a transposed one, a number, None, and tuples."""
    case = random_case(0, 4, 2, 3, 5, 1, dtype=dtype, learned=True)
    options = {"k1": 2, "k2": 4, "learning_rate": 0.1, "epochs": 1, "momentum": 0.9}
    run = numpy_rnn.train(*case.for_train(numpy_rnn), **options, record=True)
    update = next(run)
    update = update._replace(loss=np.array(update.loss))
    kinds = [*update, update, run.state(), update.parameters._replace(h_0=None), None, 3, np.array(2.0, dtype)]
    for value in (*kinds, np.arange(12, dtype=dtype).reshape(3, 4).T[::2]):
        there_and_back = rnn.to_numpy(rnn.from_numpy(value))
        assert type(there_and_back) is type(value)
        assert bits(there_and_back) == bits(value)
    plain = rnn.to_numpy(rnn.from_numpy((update.loss, (update.loss, None, 2, 0.5))))
    assert bits(plain[0]) == bits(plain[1][0]) == bits(update.loss)
    assert plain[1][1:] == (None, 2, 0.5)


@pytest.mark.needs_torch
def test_torch_parameters_require_a_gradient_and_data_do_not():
    import torch_rnn

    params = torch_rnn.from_numpy(random_case(0, 1, 1, 3, 4, 2, learned=True).params)
    assert all(theta.requires_grad and theta.is_leaf for theta in params)
    assert not torch_rnn.from_numpy(np.zeros(3)).requires_grad
    assert all(theta.requires_grad for theta in torch_rnn.initial_parameters()[:3])


def drawn_as_stated(D, H, O, seed, dtype):
    """W_xh, then W_hh, then W_hy, by one generator, in float64 and then rounded."""
    generator = np.random.Generator(np.random.PCG64(seed))
    W_xh = 0.4 * generator.standard_normal(D * H).reshape(D, H)
    W_hh = 0.4 * generator.standard_normal(H * H).reshape(H, H)
    W_hy = 0.3 * generator.standard_normal(H * O).reshape(H, O)
    return W_xh.astype(dtype), W_hh.astype(dtype), W_hy.astype(dtype)


@pytest.mark.no_perturb
@DTYPES
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_initial_parameters_are_drawn_as_stated(rnn, bias, dtype):
    """The same bits in every backend, since each has the bits of this. By default those of the default experiment.
    Network n of an ensemble is what seed + n draws alone.
    """

    def stated(seed):
        biases = (np.zeros(5, dtype), np.zeros(2, dtype)) if bias else (None, None)
        return Parameters(*drawn_as_stated(3, 5, 2, seed, dtype), *biases)

    for seed in (0, 12345):
        assert bits(rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=seed)) == bits(stated(seed))
    ensemble = rnn.initial_parameters(3, 5, 2, bias=bias, dtype=dtype, seed=100, networks=4)
    assert bits(ensemble) == bits(each(lambda *networks: np.stack(networks), *map(stated, range(100, 104))))
    assert bits(rnn.initial_parameters()) == bits(Parameters(*drawn_as_stated(1, 6, 1, 0, "float32")))


@pytest.mark.no_perturb  # which takes memory itself
@DTYPES
def test_large_weights_are_drawn_as_stated_too_and_take_little_more_than_their_own_memory(dtype):
    """Drawn in several parts, each network of an ensemble in its place. NumPy's memory alone is looked at."""
    size = {"hidden_size": 600, "dtype": dtype, "networks": 3}
    tracemalloc.start()
    params = numpy_rnn.initial_parameters(**size)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    own = sum(theta.nbytes for theta in params[:3])
    assert most < own + own / 3 + 2**20  # a network more, and the numbers of a part
    for n in range(3):
        assert bits(tuple(theta[n] for theta in params[:3])) == bits(drawn_as_stated(1, 600, 1, n, dtype))
