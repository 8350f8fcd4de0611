"""Initial parameters, and their conversions from and to NumPy and torch's layers, are
right to the bit.
"""

from itertools import product

import numpy as np
import pytest

from numpy_rnn import InputError, Parameters
from numpy_rnn.common.records import DTYPES
from numpy_rnn.common.trees import tree_map
from tests.helpers.comparing import arrays_in, bits, share_memory
from tests.helpers.random_runs import made_run

KINDS = pytest.mark.parametrize(("bias", "dtype"), list(product((True, False), DTYPES)))


def drawn(N=None, **fields):
    """Return parameters of random numbers, in NumPy."""
    return made_run(N=N, **{"H": 3, "O": 4} | fields).params


@pytest.mark.parametrize("dtype", DTYPES)
def test_conversions_change_no_bit(rnn, dtype):
    """The values are arrays, also a transposed one, a number, None and tuples."""
    transposed = np.arange(12, dtype=dtype).reshape(3, 4).T[::2]
    nested = np.array(2.0, dtype), (None, 2)
    for value in (drawn(dtype=dtype), transposed, nested, None, 3):
        there_and_back = rnn.to_numpy(rnn.from_numpy(value))
        assert type(there_and_back) is type(value)
        assert bits(there_and_back) == bits(value)


def test_sizes_without_memory_are_refused_before_a_draw(rnn, monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("drawn"))
    for H, N in ((10**9, None), (6, 10**15), (10**7, 10**12)):
        with pytest.raises(MemoryError):
            rnn.initial_parameters(hidden_size=H, networks=N)


def as_stated(D, H, O, seed, dtype, bias=False):
    """Draw W_xh, W_hh and W_hy by one generator, in float64, and round them."""
    generator = np.random.Generator(np.random.PCG64(seed))
    sizes = (0.4, (D, H)), (0.4, (H, H)), (0.3, (H, O))
    weights = [deviation * generator.standard_normal(size) for deviation, size in sizes]
    biases = (np.zeros(H, dtype), np.zeros(O, dtype)) if bias else (None, None)
    return Parameters(*(w.astype(dtype) for w in weights), *biases)


@KINDS
def test_initial_parameters_are_drawn_as_stated(rnn, bias, dtype):
    """Every package has the same bits. Network n of an ensemble is what seed + n draws
    alone.
    """
    kind = {"input_size": 3, "hidden_size": 5, "output_size": 2}
    kind |= {"bias": bias, "dtype": dtype}
    single = rnn.initial_parameters(**kind, seed=100)
    assert bits(single) == bits(as_stated(3, 5, 2, 100, dtype, bias))
    ensemble = rnn.initial_parameters(**kind, seed=100, networks=4)
    networks = [as_stated(3, 5, 2, seed, dtype, bias) for seed in range(100, 104)]
    assert bits(ensemble) == bits(tree_map(lambda *thetas: np.stack(thetas), *networks))
    assert bits(rnn.initial_parameters()) == bits(as_stated(1, 6, 1, 0, "float32"))
    assert rnn.initial_parameters(networks=1).networks == 1


@pytest.mark.needs_torch
@KINDS
@pytest.mark.parametrize("kind", [("tanh", False), ("relu", True)], ids=str)
def test_modules_have_the_parameters_and_options(kind, bias, dtype):
    """No bit changes there and back, and the random state of torch stays. No memory is
    shared, not even that of a weight which is its own transpose.
    """
    import torch

    import torch_rnn
    from torch_rnn.modules import from_modules, to_modules

    params = drawn(D=1, bias=bias, dtype=dtype)
    ours = torch_rnn.from_numpy(params)
    random_state = torch.get_rng_state()
    nonlinearity, batch_first = kind
    rnn, linear = to_modules(ours, nonlinearity=nonlinearity, batch_first=batch_first)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert (rnn.nonlinearity, rnn.batch_first) == kind
    weights = rnn.weight_ih_l0, rnn.weight_hh_l0, linear.weight
    assert bits(tuple(W.mT for W in weights)) == bits(tuple(ours[:3]))
    tensors = [*rnn.parameters(), *linear.parameters()]
    constant = [theta for theta in tensors if not theta.requires_grad]
    assert [theta.count_nonzero() for theta in constant] == [0] * bias
    read = from_modules(rnn, linear)
    assert bits(read) == bits(params)
    assert all(theta.requires_grad for theta in arrays_in(read))
    assert not share_memory(tensors, arrays_in((read, ours)))


@pytest.mark.needs_torch
def test_two_hidden_biases_become_their_sum():
    from torch.nn import RNN, Linear

    from torch_rnn.modules import from_modules

    rnn = RNN(2, 3)
    b_h = from_modules(rnn, Linear(3, 4)).b_h
    assert bits(b_h) == bits(rnn.bias_ih_l0 + rnn.bias_hh_l0)


@pytest.mark.needs_torch
def test_other_networks_are_refused():
    from torch.nn import LSTM, RNN, Identity, Linear

    from torch_rnn import from_numpy
    from torch_rnn.modules import from_modules, to_modules

    with pytest.raises(InputError, match="the parameters are an ensemble"):
        to_modules(from_numpy(drawn(N=2)))
    with pytest.raises(InputError, match="from_numpy converts a NumPy array"):
        to_modules(drawn())
    for modules, says in (
        (
            (LSTM(2, 3), Linear(3, 4)),
            "the modules are LSTM and Linear: expected nn.RNN",
        ),
        ((RNN(2, 3), Identity()), "the modules are RNN and Identity: expected nn.RNN"),
        ((RNN(2, 3, num_layers=2), Linear(3, 4)), "with one layer and one direction"),
        ((RNN(2, 3), Linear(3, 4, bias=False)), "both biases or neither"),
    ):
        with pytest.raises(InputError, match=says):
            from_modules(*modules)
