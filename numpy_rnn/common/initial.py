"""Initial weights: drawn by NumPy, so that every backend starts from the same ones."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from numpy_rnn.common.errors import InputError, check_flag, check_whole, shown
from numpy_rnn.common.records import DTYPES, NumpyArray, Parameters

MAX_SIZE = 2**58  # numbers: NumPy can count the bytes of so many
CHUNK = 2**16  # numbers that are drawn at a time


def draw_parameters(
    input_size: int,
    hidden_size: int,
    output_size: int,
    *,
    bias: bool,
    dtype: str,
    seed: int,
    networks: int | None = None,
    deviation: float | None = None,
) -> Parameters[NumpyArray]:
    """W_xh, W_hh ~ N(0, 0.4), W_hy ~ N(0, 0.3) (standard deviations), drawn in this order; the biases are zero.

    deviation: the standard deviation of all weights instead.

    Drawn in float64 and then rounded, so that float32 and float64 runs start from the same weights. With
    `networks` = N the parameters have a leading axis of N, and network n is what `seed + n` draws alone.

    Raises InputError on an invalid size, seed, number of networks, dtype or flag.
    """
    for name, size in (("input size", input_size), ("hidden size", hidden_size), ("output size", output_size)):
        check_whole(f"the {name}", size, 1)
    check_whole("seed", seed, 0)
    if networks is not None:
        check_whole("networks", networks, 1)
    if (networks or 1) * hidden_size * (input_size + hidden_size + output_size) > MAX_SIZE:
        raise InputError("the parameters do not fit into memory: choose smaller sizes, or fewer networks")
    check_flag("bias", bias)
    deviations = (0.4, 0.3) if deviation is None else (deviation, deviation)
    if shown(dtype) not in DTYPES:
        raise InputError(f"dtype is {shown(dtype)}: expected {' or '.join(DTYPES)}")
    if networks is not None:
        return _ensemble(
            networks, seed, lambda of: _draw(input_size, hidden_size, output_size, bias, dtype, of, deviations)
        )
    return _draw(input_size, hidden_size, output_size, bias, dtype, seed, deviations)


def _ensemble(networks: int, seed: int, draw: Callable[[int], Parameters[NumpyArray]]) -> Parameters[NumpyArray]:
    """Draws and copies one network at a time, so that the memory holds one ensemble only."""
    shapes = draw(seed)
    params: Parameters[Any] = Parameters(*(v if v is None else np.empty((networks, *v.shape), v.dtype) for v in shapes))
    del shapes
    for n in range(networks):
        _copy_to([None if together is None else together[n] for together in params], draw(seed + n))
    return params


def _copy_to(places: Iterable[NumpyArray | None], network: Parameters[NumpyArray]) -> None:
    for place, theta in zip(places, network, strict=True):
        if place is not None:
            place[...] = theta


def _draw(
    input_size: int,
    hidden_size: int,
    output_size: int,
    bias: bool,
    dtype: str,
    seed: int,
    deviations: tuple[float, float],
) -> Parameters[NumpyArray]:
    generator = np.random.default_rng(seed)
    W_xh = _normal(generator, deviations[0], (input_size, hidden_size), dtype)
    W_hh = _normal(generator, deviations[0], (hidden_size, hidden_size), dtype)
    W_hy = _normal(generator, deviations[1], (hidden_size, output_size), dtype)
    biases = (np.zeros(hidden_size, dtype), np.zeros(output_size, dtype)) if bias else (None, None)
    return Parameters(W_xh, W_hh, W_hy, *biases)


def _normal(generator: "np.random.Generator", deviation: float, shape: tuple[int, int], dtype: str) -> NumpyArray:
    """Draws the numbers in chunks, so that the float64 draws of a large matrix need little memory."""
    drawn = np.empty(shape, dtype)
    numbers = drawn.reshape(-1)
    for first in range(0, numbers.size, CHUNK):
        part = numbers[first : first + CHUNK]
        part[...] = generator.normal(0, deviation, part.size)
    return drawn
