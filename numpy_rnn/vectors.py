"""All parameters of a network in one vector, and how the networks of an ensemble lie in memory.

`train` keeps the parameters, and their gradients, as the parts of one vector, so that a step of plain SGD is two
operations on numbers that lie side by side, and not two for every parameter. `torch_rnn` has no such file: its
parameters are leaves of autograd's graph, each a tensor of its own.

An ensemble's arrays are (*E, ...) in any case, but many small networks lie faster with the networks innermost in
memory: one product for all of them is then a few operations on long rows, and not a call for every tiny matrix.
"""

from collections.abc import Iterator
from functools import partial
from itertools import accumulate, chain, repeat
from math import prod

import numpy as np

from numpy_rnn.allocation import new_arrays, used_again
from numpy_rnn.parameters import Parameters

MANY = 64  # networks from which on innermost is faster, as measured,
SMALL_NETWORK = 64  # and the B·H up to which
MOST_AT_ONCE, BYTES_AT_ONCE = 256, 2**11  # vectors that are made together;
LARGE = 2**16  # bytes up to which they may be four, if that is more

as_parameters = partial(tuple.__new__, Parameters)  # Parameters(*arrays) in half the time

Vector = tuple[np.ndarray, Parameters]  # (*E, N), and the parameters, or gradients, that are its parts


def product_for(params):
    """(left, right, out=None) → left right, the product of matrices: for each network its own."""
    if params.W_hh.ndim == 2:
        return np.ndarray.dot  # on two small matrices it costs a third of matmul
    return product_of_networks if networks_are_innermost(params) else np.matmul


def product_of_networks(left, right, out=None):
    return np.einsum("...ij,...jk->...ik", left, right, out=out)


def networks_are_innermost(params) -> bool:
    """Whether the neighbours in memory of a network's number are those of other networks."""
    W_hh = params.W_hh
    return any(size > 1 and stride == W_hh.itemsize for size, stride in zip(W_hh.shape[:-2], W_hh.strides))


def empty(params, *shape):
    """New memory (*E, *shape), which lies as the parameters lie."""
    return _arrays(1, params, shape, networks_are_innermost(params))[0]


def _arrays(count, params, shape, innermost):
    """New memory (count, *E, *shape)."""
    E, dtype = params.W_hh.shape[:-2], params.W_hh.dtype
    if not innermost:
        return new_arrays(count, (*E, *shape), dtype)
    axes = 0, *range(-len(E), 0), *range(1, 1 + len(shape))
    return new_arrays(count, (*shape, *E), dtype).transpose(axes)


def in_one_vector(params, batch_size) -> Vector:
    """A copy of the parameters, as the parts of one vector; laid out for products of this batch size."""
    *E, H, _ = params.W_hh.shape
    vector, parts = next(_vectors(params, 1, prod(E) >= MANY and batch_size * H <= SMALL_NETWORK))
    for part, theta in zip(parts, params):
        if theta is not None:
            part[...] = theta
    return vector, parts


def new_vector(params) -> Vector:
    """New memory for parameters, or for a gradient, of these shapes."""
    return next(_vectors(params, 1, networks_are_innermost(params)))


def new_vectors(params, with_read_only=False) -> Iterator:
    """New memory for parameters, or for a gradient, of these shapes, again and again: Vectors, or (vector, parts, the
    same parts as read-only arrays).

    It is made for several at once, if they are small: to make a small array takes longer than to fill it. An array that
    is kept keeps the memory of all that were made with it: BYTES_AT_ONCE, or up to four times its own. With 64 KB a run
    would be faster by a tenth, and every kept update would hold 64 KB. What nobody keeps is used again.
    """
    size = sum(theta.nbytes for theta in params if theta is not None)
    count = max(min(MOST_AT_ONCE, max(BYTES_AT_ONCE, min(4 * size, LARGE)) // size), 1)
    return _vectors(params, count, networks_are_innermost(params), with_read_only, again=used_again)


def read_only_view(part):
    if isinstance(part, np.ndarray):
        part = part.view()
        part.setflags(False)
    return part


def _vectors(params, count, innermost, with_read_only=False, again=lambda make: make):
    E = params.W_hh.shape[:-2]
    shapes = [None if theta is None else theta.shape[len(E) :] for theta in params]
    sizes = [0 if shape is None else prod(shape) for shape in shapes]
    cuts = [
        shape and (np.s_[..., end - size : end], (count, *E, *shape))
        for shape, size, end in zip(shapes, sizes, accumulate(sizes))
    ]
    memory = again(partial(_arrays, count, params, (sum(sizes),), innermost))

    def several():
        vectors = memory()
        parts = [repeat(None) if cut is None else vectors[cut[0]].reshape(cut[1]) for cut in cuts]
        if not with_read_only:
            return zip(vectors, map(as_parameters, zip(*parts)))
        protected = map(read_only_view, parts)
        return zip(vectors, map(as_parameters, zip(*parts)), map(as_parameters, zip(*protected)))

    return chain.from_iterable(iter(several, None))
