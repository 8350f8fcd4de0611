"""Half the squared error (DERIVATION.md, section 3)."""

import numpy as np

from numpy_rnn.common.errors import Choices
from numpy_rnn.common.shapes import target_for
from numpy_rnn.memory import all_of_a_network, rows
from numpy_rnn.parameters import ARRAYS


def one(K, B, O):
    return 1


def number_of_terms(K, B, O):
    return K * B * O


DIVISORS = Choices("reduction", sum=one, mean=number_of_terms)


def half_squared_error(y, target, *, reduction="sum"):
    """The loss of the counted steps, one number a network.

        ℓ_t = ½ Σ_{b,o} (y_t − target_t)²                 (L1)
        L   = Σ_t ℓ_t, under "mean" divided by K·B·O      (L2)

    y: (K, *E, B, O), the counted steps only; target: the same, or (K, B, O) for all networks. Returns L in their dtype:
    shape E, a scalar without an ensemble.

    Raises InputError on shapes or dtypes that differ and on an unknown reduction.
    """
    ARRAYS.outputs(y, target)
    error = y - target_for(y, target)
    K, *_, B, O = error.shape
    error = all_of_a_network(rows(error))
    return half_sum_of_squares(error, sum_of_products_for(error), 2 * DIVISORS[reduction](K, B, O))


def half_sum_of_squares(error, sum_of_products, twice_divisor):
    """½ Σ error² of each network, divided; error as `all_of_a_network` has it."""
    return sum_of_products(error, error) / twice_divisor  # (L1), (L2)


def sum_of_products_for(error):
    """(u, v) → Σ u v, one number a network, of arrays as `all_of_a_network` has them."""
    return np.ndarray.dot if error.ndim == 1 else sum_of_products_of_networks


def sum_of_products_of_networks(u, v):
    return (u * v).sum(axis=(-2, -1))
