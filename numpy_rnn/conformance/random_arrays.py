"""The random arrays of which cases are made: parameters, states, classes, distributions and weights."""

from typing import Any

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.two_biases import TwoBiases


def states(numbers: np.ndarray, nonlinearity: str) -> np.ndarray:
    """Numbers of any size as states of this nonlinearity."""
    if nonlinearity == "relu":
        return np.abs(numbers)
    return np.tanh(numbers) if nonlinearity == "tanh" else 0.5 + 0.5 * np.tanh(numbers)


def random_classes(generator: np.random.Generator, shape: tuple[int, ...], size: int) -> np.ndarray:
    """Classes, of which some come again and again."""
    return generator.integers(0, generator.integers(1, size + 1), shape)


def random_distributions(generator: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """Distributions in the dtype and the shape of these rows, with zeros at times."""
    numbers = np.maximum(generator.normal(0.5, 1, rows.shape), 0)
    numbers[..., 0] += 1e-3
    return (numbers / numbers.sum(axis=-1, keepdims=True)).astype(rows.dtype)


def random_weights(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """A third of them 0, a third 1, the others around 1."""
    return generator.choice([0.0, 1.0, generator.uniform(0.25, 2)], shape).astype(dtype)


def random_parameters(
    generator: np.random.Generator, D: int, H: int, O: int, bias: bool, dtype: str, gain: float = 1.0
) -> Parameters:
    """Weights of order one, scaled by their fan-in so that tanh does not saturate; biases if `bias`."""

    def normal(*shape):
        return (gain * generator.normal(size=shape) / np.sqrt(shape[0])).astype(dtype)

    W_xh, W_hh, W_hy = normal(D, H), normal(H, H), normal(H, O)
    return Parameters(W_xh, W_hh, W_hy, *((normal(H), normal(O)) if bias else ()))


def with_second_bias(generator: np.random.Generator, params: Parameters) -> TwoBiases:
    """The parameters with a second hidden bias like the first."""
    b_hh = None if params.b_h is None else generator.permutation(params.b_h)
    return TwoBiases(*params, b_hh=b_hh)


def random_velocity(generator: np.random.Generator, params: Any, squares: bool = False) -> Any:
    """Velocities of order one, like the gradients; or sums of squares."""
    drawn = [None if p is None else generator.normal(size=p.shape) for p in params]
    numbers = (v if v is None or not squares else np.square(v) for v in drawn)
    return type(params)(*(v if v is None else v.astype(p.dtype) for v, p in zip(numbers, params)))
