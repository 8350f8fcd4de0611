"""Initial weights: drawn by NumPy, so that every backend starts from the same ones."""

from __future__ import annotations

import numpy as np

from numpy_rnn.common.checks import check_choice
from numpy_rnn.common.errors import (
    InputError,
    check_flag,
    check_integer,
    check_number,
    short_repr,
)
from numpy_rnn.common.records import DTYPES, NumpyArray, Parameters, tree_map


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
    """Initial weights, the same in every backend.

    W_xh, W_hh ~ N(0, 0.4) and W_hy ~ N(0, 0.3), with the two `deviations`; biases are
    zero. NumPy's Generator draws the weights in this order, in float64; then they are
    rounded. With `networks` = N, an ensemble, whose n-th network is the one drawn with
    `seed + n`.

    Raises InputError on an invalid size, seed, number of networks, dtype, flag or
    deviation, and MemoryError on sizes for which there is no memory, before anything is
    drawn.
    """
    D = check_integer("the input size", input_size, 1)
    H = check_integer("the hidden size", hidden_size, 1)
    O = check_integer("the output size", output_size, 1)
    seed = check_integer("seed", seed, 0)
    check_flag("bias", bias)
    check_choice("dtype", short_repr(dtype), DTYPES)
    if not isinstance(deviations, tuple | list) or len(deviations) != 2:
        raise InputError(
            f"deviations is {short_repr(deviations, repr)}: expected two numbers"
        )
    of_hidden, of_output = (
        check_number("a deviation", deviation) for deviation in deviations
    )
    N = 1 if networks is None else check_integer("networks", networks, 1)
    shapes = [(of_hidden, (D, H)), (of_hidden, (H, H)), (of_output, (H, O))]
    try:
        weights = [np.empty((N, *shape), dtype) for _, shape in shapes]
    except ValueError as error:  # more than can be addressed
        raise MemoryError(*error.args) from None
    for n in range(N):
        generator = np.random.default_rng(seed + n)
        for theta, (deviation, shape) in zip(weights, shapes):
            theta[n] = generator.normal(0, deviation, shape)
    biases = (
        [np.zeros((N, H), dtype), np.zeros((N, O), dtype)] if bias else [None, None]
    )
    ensemble: Parameters[NumpyArray] = Parameters(*weights, *biases)
    return (
        tree_map(lambda theta: theta[0].copy(), ensemble)
        if networks is None
        else ensemble
    )
