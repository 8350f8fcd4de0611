"""Parameters: initial weights and conversions, to the bit."""

from itertools import product

import numpy as np
import pytest

from numpy_rnn import Parameters
from numpy_rnn.common.records import DTYPES
from numpy_rnn.common.trees import tree_map
from tests.helpers.comparing import bits, share_memory
from tests.helpers.random_runs import Kind, Sizes, random_run

KINDS = pytest.mark.parametrize(("bias", "dtype"), list(product((True, False), DTYPES)))


def drawn(D=2, H=3, O=4, N=None, **kind):
    """Parameters, in NumPy."""
    return random_run(Sizes(1, 1, D, H, O, N), Kind(**kind)).params


@pytest.mark.parametrize("dtype", DTYPES)
def test_conversions_change_no_bit(rnn, dtype):
    """Of an array, also a transposed one, a number, None and tuples."""
    transposed = np.arange(12, dtype=dtype).reshape(3, 4).T[::2]
    nested = np.array(2.0, dtype), (None, 2)
    for value in (drawn(dtype=dtype), transposed, nested, None, 3):
        there_and_back = rnn.to_numpy(rnn.from_numpy(value))
        assert type(there_and_back) is type(value)
        assert bits(there_and_back) == bits(value)
    shared = rnn.from_numpy(transposed, copy=False)
    assert share_memory([shared], [transposed])
    backwards = transposed[:, ::-1]  # which torch does not have
    assert bits(rnn.from_numpy(backwards, copy=False)) == bits(backwards)


def test_sizes_without_memory_are_refused_before_a_draw(rnn, monkeypatch):
    monkeypatch.setattr(np.random, "default_rng", lambda *_: pytest.fail("drawn"))
    for H, N in ((10**9, None), (6, 10**15), (10**7, 10**12)):
        with pytest.raises(MemoryError):
            rnn.initial_parameters(hidden_size=H, networks=N)


def as_stated(D, H, O, seed, dtype, bias=False):
    """W_xh, then W_hh, then W_hy, by one generator, in float64 and then rounded."""
    generator = np.random.Generator(np.random.PCG64(seed))
    sizes = (0.4, (D, H)), (0.4, (H, H)), (0.3, (H, O))
    weights = [deviation * generator.standard_normal(size) for deviation, size in sizes]
    biases = (np.zeros(H, dtype), np.zeros(O, dtype)) if bias else (None, None)
    return Parameters(*(w.astype(dtype) for w in weights), *biases)


@KINDS
def test_initial_parameters_are_drawn_as_stated(rnn, bias, dtype):
    """The same bits in every package. Network n of an ensemble is what seed + n draws
    alone.
    """
    kind = {"input_size": 3, "hidden_size": 5, "output_size": 2}
    kind |= {"bias": bias, "dtype": dtype}
    found = rnn.initial_parameters(**kind, seed=100)
    assert bits(found) == bits(as_stated(3, 5, 2, 100, dtype, bias))
    ensemble = rnn.initial_parameters(**kind, seed=100, networks=4)
    networks = [as_stated(3, 5, 2, seed, dtype, bias) for seed in range(100, 104)]
    assert bits(ensemble) == bits(tree_map(lambda *thetas: np.stack(thetas), *networks))
    assert bits(rnn.initial_parameters()) == bits(as_stated(1, 6, 1, 0, "float32"))
