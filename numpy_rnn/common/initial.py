"""Initial weights: drawn by NumPy, so that every package starts from the same ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.numbers import check_choice, checked_flag, checked_integer
from numpy_rnn.common.records import DTYPES, Dtype, NumpyArray, Parameters
from numpy_rnn.common.texts import short_repr
from numpy_rnn.common.trees import tree_map


class Deviations(NamedTuple):
    """Standard deviations of initial weights, whose mean is 0."""

    W_xh: float = 0.4
    W_hh: float = 0.4
    W_hy: float = 0.3


def initial_parameters(
    *,
    input_size: int = 1,
    hidden_size: int = 6,
    output_size: int = 1,
    bias: bool = False,
    dtype: Dtype = "float32",
    seed: int = 0,
    networks: int | None = None,
) -> Parameters[NumpyArray]:
    """Draw initial weights, the same in every package.

    W_xh, W_hh ~ N(0, 0.4²) and W_hy ~ N(0, 0.3²). NumPy's Generator draws them in this
    order, in float64; then they are rounded. Biases are zero.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        D, H and O, 1 or more.
    bias : bool
        Whether the network has biases.
    dtype : {"float32", "float64"}
        Of all parameters.
    seed : int
        Seed of the generator, 0 or more.
    networks : int, optional
        N, for an ensemble, whose network n, from 0, is the one drawn with `seed + n`.

    Returns
    -------
    Parameters
        W_xh (D, H), W_hh (H, H), W_hy (H, O), and with biases b_h (H,), b_y (O,); with
        a first axis N for an ensemble. Those of torch_rnn require a gradient.

    Raises
    ------
    InputError
        If an argument is not as above.
    MemoryError
        If there is no memory for these sizes; nothing is drawn then.

    Examples
    --------
    >>> params = initial_parameters(hidden_size=3, bias=True, seed=7)
    >>> [tuple(theta.shape) for theta in params]
    [(1, 3), (3, 3), (3, 1), (3,), (1,)]
    """
    sizes = input_size, hidden_size, output_size
    return draw_parameters(sizes, Deviations(), dtype, seed, networks, bias=bias)


def draw_parameters(
    sizes: tuple[int, int, int],
    deviations: Deviations,
    dtype: Dtype,
    seed: int,
    networks: int | None,
    *,
    bias: bool,
) -> Parameters[NumpyArray]:
    """Draw initial weights with these deviations; otherwise as `initial_parameters`.

    sizes: D, H and O.
    """
    names = ("input", "hidden", "output")
    D, H, O = (
        checked_integer(f"the {n} size", size, 1) for n, size in zip(names, sizes)
    )
    bias = checked_flag("bias", bias)
    # By its text, so that a np.dtype is accepted too.
    check_choice("dtype", short_repr(dtype), DTYPES)
    seed = checked_integer("seed", seed, 0)
    N = 1 if networks is None else checked_integer("networks", networks, 1)
    shapes = [(D, H), (H, H), (H, O)]
    try:
        weights = [np.empty((N, *shape), dtype) for shape in shapes]
    except ValueError as error:  # more than can be addressed
        raise MemoryError(*error.args) from None
    for n in range(N):
        generator = np.random.default_rng(seed + n)
        for theta, deviation in zip(weights, deviations):
            theta[n] = generator.normal(0, deviation, theta[n].shape)
    ensemble: Parameters[NumpyArray] = Parameters(*weights)
    if bias:
        b_h, b_y = np.zeros((N, H), dtype), np.zeros((N, O), dtype)
        ensemble = ensemble._replace(b_h=b_h, b_y=b_y)
    if networks is None:
        return tree_map(lambda theta: theta[0].copy(), ensemble)
    return ensemble
