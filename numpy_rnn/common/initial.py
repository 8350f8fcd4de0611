"""Initial weights (design of the main job): drawn by NumPy, whatever the backend."""

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import DTYPES, Parameters


def draw_parameters(input_size, hidden_size, output_size, *, bias, dtype, seed, networks=None) -> Parameters:
    """W_xh, W_hh ~ N(0, 0.4), W_hy ~ N(0, 0.3) (standard deviations), drawn in this order; biases zero.

    Drawn in float64 and then rounded, so that float32 and float64 runs start from the same weights. With
    `networks` = N the parameters have a leading axis of N, and network n is what `seed + n` draws alone.

    Raises InputError on a size, seed, number of networks or dtype that no network has.
    """
    for name, size in (("input size", input_size), ("hidden size", hidden_size), ("output size", output_size)):
        if size < 1:
            raise InputError(f"the {name} is {size}: expected 1 or more")
    if seed < 0 or (networks is not None and networks < 1):
        raise InputError(f"seed {seed}, networks {networks}: expected a seed of 0 or more, and 1 network or more")
    if str(dtype) not in DTYPES:
        raise InputError(f"dtype is {dtype}: expected {' or '.join(DTYPES)}")
    if networks is not None:
        members = [
            draw_parameters(input_size, hidden_size, output_size, bias=bias, dtype=dtype, seed=seed + n)
            for n in range(networks)
        ]
        return Parameters(*(None if theta[0] is None else np.stack(theta) for theta in zip(*members, strict=True)))
    generator = np.random.default_rng(seed)
    W_xh = generator.normal(0, 0.4, (input_size, hidden_size))
    W_hh = generator.normal(0, 0.4, (hidden_size, hidden_size))
    W_hy = generator.normal(0, 0.3, (hidden_size, output_size))
    biases = (np.zeros(hidden_size, dtype), np.zeros(output_size, dtype)) if bias else (None, None)
    return Parameters(W_xh.astype(dtype), W_hh.astype(dtype), W_hy.astype(dtype), *biases)
