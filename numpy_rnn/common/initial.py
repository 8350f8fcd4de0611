"""Initial weights: drawn by NumPy, so that every backend starts from the same ones."""

from __future__ import annotations

from math import prod
from sys import maxsize
from typing import Any

import numpy as np

from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.errors import InputError, check_flag, check_integer, check_number, short_repr
from numpy_rnn.common.records import DTYPES, NumpyArray, Parameters


def initial_parameters(
    input_size: int = 1,
    hidden_size: int = 6,
    output_size: int = 1,
    *,
    bias: bool = False,
    dtype: str = "float32",
    seed: int = 0,
    networks: int | None = None,
    deviations: tuple[float, float] = (0.4, 0.3),
) -> Parameters[NumpyArray]:
    """Initial weights, the same in every backend: W_xh, W_hh ~ N(0, 0.4) and W_hy ~ N(0, 0.3), biases zero.

    deviations: the standard deviations, that of W_xh and W_hh and that of W_hy. The weights are drawn by NumPy's
    Generator, in this order, in float64, and then rounded. With `networks` = N, an ensemble of shape (N,), whose n-th
    network is the one drawn with `seed + n`.

    Raises InputError on an invalid size, seed, number of networks, dtype, flag or deviation, and MemoryError on sizes
    for which there is no memory, before anything is drawn.
    """
    names = "the input size", "the hidden size", "the output size"
    D, H, O = (
        check_integer(name, size, 1)
        for name, size in zip(names, (input_size, hidden_size, output_size))
    )
    seed = check_integer("seed", seed, 0)
    check_flag("bias", bias)
    if short_repr(dtype) not in DTYPES:
        raise InputError(f"dtype is {short_repr(dtype)}: expected {' or '.join(DTYPES)}")
    if not isinstance(deviations, tuple | list) or len(deviations) != 2:
        raise InputError(f"deviations is {short_repr(deviations, repr)}: expected two numbers")
    for deviation in deviations:
        check_number("a deviation", deviation)
    shapes: list[Any] = [((D, H), deviations[0]), ((H, H), deviations[0]), ((H, O), deviations[1])]
    N = 1 if networks is None else check_integer("networks", networks, 1)
    for shape, _ in shapes:  # before the first is drawn, and numbers are written to it
        if 8 * N * prod(shape) > maxsize:
            raise MemoryError(f"an array of shape {(N, *shape)}")
        np.empty((N, *shape))
    first = _draw(shapes, bias, dtype, seed)
    if networks is None:
        return first
    ensemble: Parameters[NumpyArray] = tree_map(
        lambda theta: np.empty((N, *theta.shape), dtype), first
    )
    for n in range(N):
        for stacked, theta in zip(ensemble, _draw(shapes, bias, dtype, seed + n)):
            if stacked is not None:
                stacked[n] = theta
    return ensemble


def _draw(shapes: list[Any], bias: bool, dtype: str, seed: int) -> Parameters[NumpyArray]:
    """The parameters of one network."""
    generator = np.random.default_rng(seed)
    weights = [generator.normal(0, deviation, shape).astype(dtype) for shape, deviation in shapes]
    (_, H), O = weights[0].shape, weights[2].shape[1]
    return Parameters(
        *weights, *((np.zeros(H, dtype), np.zeros(O, dtype)) if bias else (None, None))
    )
