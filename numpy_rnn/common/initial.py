"""Initial weights: drawn by NumPy, so that every backend starts from the same ones."""

from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, check_flag, check_whole, shown
from numpy_rnn.common.records import DTYPES, NumpyArray, Parameters


def draw_parameters(
    input_size: int,
    hidden_size: int,
    output_size: int,
    *,
    bias: bool,
    dtype: str,
    seed: int,
    networks: int | None = None,
    deviations: tuple[float, float] = (0.4, 0.3),
) -> Parameters[NumpyArray]:
    """W_xh, W_hh ~ N(0, 0.4), W_hy ~ N(0, 0.3) (standard deviations), drawn in this order; the biases are zero.

    Drawn in float64 and then rounded, so that float32 and float64 runs start from the same weights. With
    `networks` = N the parameters have a leading axis of N, and network n is what `seed + n` draws alone.

    Raises InputError on an invalid size, seed, number of networks, dtype or flag.
    """
    names = "the input size", "the hidden size", "the output size"
    sizes = tuple(check_whole(name, size, 1) for name, size in zip(names, (input_size, hidden_size, output_size)))
    seed = check_whole("seed", seed, 0)
    check_flag("bias", bias)
    if shown(dtype) not in DTYPES:
        raise InputError(f"dtype is {shown(dtype)}: expected {' or '.join(DTYPES)}")
    try:
        if networks is None:
            return _draw(sizes, bias, dtype, np.random.default_rng(seed), deviations)
        seeds = range(seed, seed + check_whole("networks", networks, 1))
        drawn: Any = [_draw(sizes, bias, dtype, np.random.default_rng(n), deviations) for n in seeds]
        stacked: list[Any] = [None if theta[0] is None else np.stack(theta) for theta in zip(*drawn)]
        return Parameters(*stacked)
    except (MemoryError, OverflowError, ValueError):  # NumPy's errors for arrays that it cannot make
        raise InputError("the parameters do not fit into memory: choose smaller sizes, or fewer networks") from None


def _draw(
    sizes: tuple[int, ...], bias: bool, dtype: str, generator: "np.random.Generator", deviations: tuple[float, float]
) -> Parameters[NumpyArray]:
    D, H, O = sizes
    shapes = ((D, H), deviations[0]), ((H, H), deviations[0]), ((H, O), deviations[1])
    W_xh, W_hh, W_hy = (generator.normal(0, deviation, shape).astype(dtype) for shape, deviation in shapes)
    return Parameters(W_xh, W_hh, W_hy, *((np.zeros(H, dtype), np.zeros(O, dtype)) if bias else (None, None)))
