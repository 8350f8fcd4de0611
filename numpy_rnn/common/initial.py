"""Initial weights: drawn by NumPy, so that every package starts from the same ones."""

from __future__ import annotations

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.numbers import (
    check_choice,
    check_flag,
    check_integer,
    check_number,
)
from numpy_rnn.common.records import DTYPES, Dtype, NumpyArray, Parameters, tree_map
from numpy_rnn.common.texts import short_repr


def initial_parameters(
    *,
    input_size: int = 1,
    hidden_size: int = 6,
    output_size: int = 1,
    bias: bool = False,
    dtype: Dtype = "float32",
    seed: int = 0,
    networks: int | None = None,
    deviations: tuple[float, float] = (0.4, 0.3),
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
    deviations : tuple of two floats
        Standard deviations, of W_xh and W_hh, and of W_hy.

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
    of_hidden = check_number("a deviation", deviations[0])
    of_output = check_number("a deviation", deviations[1])
    N = 1 if networks is None else check_integer("networks", networks, 1)
    drawn = [((D, H), of_hidden), ((H, H), of_hidden), ((H, O), of_output)]
    try:
        weights = [np.empty((N, *shape), dtype) for shape, _ in drawn]
    except ValueError as error:  # more than can be addressed
        raise MemoryError(*error.args) from None
    for n in range(N):
        generator = np.random.default_rng(seed + n)
        for theta, (shape, deviation) in zip(weights, drawn):
            theta[n] = generator.normal(0, deviation, shape)
    ensemble: Parameters[NumpyArray] = Parameters(*weights)
    if bias:
        ensemble = ensemble._replace(
            b_h=np.zeros((N, H), dtype), b_y=np.zeros((N, O), dtype)
        )
    if networks is None:
        return tree_map(lambda theta: theta[0].copy(), ensemble)
    return ensemble
