"""A BLAS kernel that nobody here has, simulated: `pytest --perturb SEED`.

Every product of matrices of the packages adds its terms in another order, drawn by the seed for each shape; NumPy's,
for small matrices, without BLAS and without fused operations. Any kernel might add so, hence results stay within all
bounds. Every run starts one ulp away from its weights. A test that fails here expects what no kernel guarantees.

All hooks are in `simulate`.
"""

import numpy as np

SMALL = 64  # terms; sums of more are left to BLAS, in the other order


def simulate(seed, with_torch):
    """Let the packages of this process compute as on a kernel of this number, from now on."""
    from numpy_rnn import memory
    from numpy_rnn.common.runs import experiment

    product = product_for(seed)
    memory.product_for = lambda params: product
    draw = experiment.draw_parameters
    experiment.draw_parameters = lambda *sizes, **options: an_ulp_away(draw(*sizes, **options), seed)
    if with_torch:
        import torch

        multiply = torch.Tensor.__matmul__

        def in_another_order(left, right):
            order = torch.from_numpy(order_for(seed, left.shape, right.shape))
            if right.ndim < 2:
                return multiply(left[..., order], right[order])
            return multiply(left[..., order], right[..., order, :])

        torch.Tensor.__matmul__ = in_another_order


def order_for(seed, left, right):
    """The order in which the terms of a product of these shapes are added: the same for all networks."""
    shape = *left[-2:], *right[-2:]
    return np.random.default_rng([seed, *shape]).permutation(left[-1])


def product_for(seed):
    """(left, right, out=None) → left right."""

    def product(left, right, out=None):
        order = order_for(seed, left.shape, right.shape)
        with np.errstate(all="ignore"):  # as BLAS
            if len(order) <= SMALL:
                first, *others = order
                total = left[..., first, None] * right[..., first, None, :]
                for k in others:
                    total += left[..., k, None] * right[..., k, None, :]
            else:
                total = np.matmul(left[..., order], right[..., order, :])
        if out is None:
            return total
        out[...] = total
        return out

    return product


def an_ulp_away(params, seed):
    """Parameters of which each number is one ulp away, up or down."""
    generator = np.random.default_rng(seed)
    moved = (None if p is None else np.nextafter(p, p.dtype.type(generator.choice([-9, 9], p.shape))) for p in params)
    return type(params)(*moved)
