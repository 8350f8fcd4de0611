"""Windows whose numbers reach below the normal range."""

import numpy as np
from window_port import random_window

from numpy_rnn import Parameters


def tiny_window(seed, dtype):
    """A random window whose every tensor is scaled by itself: to tiny numbers, or to weights of up to 1e4."""
    random = np.random.default_rng(seed)
    case = random_window(seed, dtype)
    smallest = float(np.finfo(dtype).smallest_normal)
    tiny = (1e-3 * smallest, smallest, 1e3 * smallest, smallest**0.5)

    def scaled(array, *scales):
        return array if array is None else (array * random.choice(scales)).astype(dtype)

    params = Parameters(*(scaled(theta, 1e-2, 1.0, 1e4, *tiny[:2]) for theta in case.params[:5]))
    x, target, h_0 = (scaled(array, 1.0, *tiny) for array in case[1:4])
    if case.params.h_0 is not None:
        params = params._replace(h_0=h_0)
    velocity = case.velocity and Parameters(*(scaled(v, 1.0, *tiny) for v in case.velocity))
    return case._replace(params=params, x=x, target=target, h_0=h_0, velocity=velocity)
