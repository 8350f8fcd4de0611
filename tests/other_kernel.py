"""A BLAS kernel that nobody here has, simulated: `pytest --perturb SEED`.

Every product of matrices of the packages adds its terms in another order, drawn by the seed for each shape; NumPy's
without BLAS, as `einsum` does. Any kernel might add so, hence results stay within all bounds. Every run starts one ulp
away from its weights. A test that fails here expects what no kernel guarantees.

All hooks are in `simulate`.
"""

from functools import cache

import numpy as np


def simulate(seed, with_torch):
    """Let the packages of this process compute as on a kernel of this number, from now on."""
    from numpy_rnn import memory
    from numpy_rnn.common import initial

    product = product_for(seed)
    memory.product_for = lambda params: product
    draw = initial._draw  # one network
    initial._draw = lambda *options: an_ulp_away(draw(*options), seed)
    if with_torch:
        import torch

        multiply = torch.Tensor.__matmul__

        def in_another_order(left, right):
            order = torch.from_numpy(order_for(seed, left.shape[-2:], right.shape[-2:]))
            return multiply(left[..., order], right[..., order, :] if right.ndim > 1 else right[order])

        torch.Tensor.__matmul__ = in_another_order


@cache
def order_for(seed, left, right):
    """The order in which the terms of a product of matrices of these shapes are added."""
    return np.random.default_rng([seed, *left, *right]).permutation(left[-1])


def product_for(seed):
    """(left, right, out=None) → left right."""

    def product(left, right, out=None):
        order = order_for(seed, left.shape[-2:], right.shape[-2:])
        with np.errstate(all="ignore"):  # as BLAS
            return np.einsum("...ij,...jk->...ik", left[..., order], right[..., order, :], out=out)

    return product


def an_ulp_away(params, seed):
    """Parameters of which each number but 0 is one ulp away, up or down."""
    generator = np.random.default_rng(seed)

    def moved(theta):
        return np.where(
            theta == 0, theta, np.nextafter(theta, theta.dtype.type(generator.choice([-9, 9], theta.shape)))
        )

    return type(params)(*(None if theta is None else moved(theta) for theta in params))
