"""Half the squared error, against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from cases import UNIT, assert_within, bits
from hypothesis import given
from hypothesis import strategies as st


def exact_loss(y, target, reduction):
    """(L1) and (L2) of one network in fractions, where nothing is rounded."""
    error = [Fraction(a) - Fraction(b) for a, b in zip(y.ravel().tolist(), target.ravel().tolist(), strict=True)]
    return sum(e * e for e in error) / 2 / {"sum": 1, "mean": len(error)}[reduction]


@given(
    K=st.integers(1, 6),
    B=st.integers(1, 4),
    O=st.integers(1, 4),
    E=st.sampled_from([(), (3,), (2, 3)]),
    shared=st.booleans(),
    reduction=st.sampled_from(["sum", "mean"]),
    dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_loss_is_half_the_sum_of_squares(rnn, K, B, O, E, shared, reduction, dtype, seed):
    """Every term is positive, so here the size of the summed terms is the result itself."""
    generator = np.random.default_rng(seed)
    y = generator.normal(size=(K, *E, B, O)).astype(dtype)
    target = generator.normal(size=(K, B, O) if shared else y.shape).astype(dtype)

    loss = rnn.to_numpy(rnn.half_squared_error(rnn.from_numpy(y), rnn.from_numpy(target), reduction=reduction))

    expected = np.empty(E)
    for network in np.ndindex(E):
        own = target if shared else target[:, *network]
        expected[network] = exact_loss(y[:, *network], own, reduction)
    assert_within(loss, expected.astype(dtype), UNIT[dtype] * expected)


def test_a_loss_by_hand(rnn):
    y, target = (rnn.from_numpy(np.array(v).reshape(2, 1, 2)) for v in ([1.0, 2.0, 3.0, 4.0], [0.0, 4.0, 3.0, 1.0]))
    assert rnn.to_numpy(rnn.half_squared_error(y, target)).item() == (1 + 4 + 0 + 9) / 2
    assert rnn.to_numpy(rnn.half_squared_error(y, target, reduction="mean")).item() == (1 + 4 + 0 + 9) / 2 / 4


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_loss_leaves_what_it_is_given(rnn, reduction):
    generator = np.random.default_rng(0)
    y, target = (rnn.from_numpy(generator.normal(size=(4, 2, 3))) for _ in range(2))
    before = bits((y, target))
    rnn.half_squared_error(y, target, reduction=reduction)
    assert bits((y, target)) == before
