"""Half the squared error (DERIVATION.md, section 3)."""

from __future__ import annotations

from numpy_rnn.common.errors import Choices
from numpy_rnn.common.records import Reduction
from numpy_rnn.common.shapes import target_for
from torch_rnn.parameters import ARRAYS, Losses, Outputs, Targets


def one(K: int, B: int, O: int) -> int:
    return 1


def number_of_terms(K: int, B: int, O: int) -> int:
    return K * B * O


DIVISORS = Choices("reduction", sum=one, mean=number_of_terms)


def half_squared_error(y: Outputs, target: Targets, *, reduction: Reduction = "sum") -> Losses:
    """The loss of the steps that have a target, one number per network.

        ℓ_t = ½ Σ_{b,o} (y_t − target_t)²                 (L1)
        L   = Σ_t ℓ_t, under "mean" divided by K·B·O      (L2)

    y: (K, *E, B, O), of these steps only; target: the same, or (K, B, O) for all networks. Returns L in their dtype:
    shape E, a scalar without an ensemble.

    Raises InputError on shapes or dtypes that differ and on an unknown reduction.
    """
    ARRAYS.outputs(y, target)
    target = target_for(y, target)
    K, *_, B, O = y.shape
    return half_sum_of_squares(y, target, DIVISORS[reduction](K, B, O))


def half_sum_of_squares(y: Outputs, target: Targets, divisor: int) -> Losses:
    """`half_squared_error` without its checks. The sum runs over steps, sequences and outputs, not over networks."""
    error = y - target
    loss: Losses = 0.5 * (error * error).sum(dim=(0, -2, -1)) / divisor  # (L1), (L2)
    return loss
