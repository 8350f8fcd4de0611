"""What random cases are made of: parameters, states, classes and weights, and the options of loss and SGD step."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.records import Parameters, SgdOptions
from numpy_rnn.conformance.case import TwoBiases

MOMENTA, DAMPENINGS, DECAYS = (0.5, 0.9), (0.0, 0.25, 0.7), (0.01, 0.1)
MAX_NORMS = (0.1, 30.0)  # range; it includes most gradient norms of random cases

# Capabilities of ports. Without them a case has plain gradient descent and a constant initial state.
SGD_OPTIONS, LEARNED_H_0, CLIP_BY_VALUE = "sgd_options", "learned_h_0", "clip_by_value"
SIGMOID, CROSS_ENTROPY, CLASS_INPUTS, WEIGHTS = "sigmoid", "cross_entropy", "class_inputs", "loss_weights"
ADAGRAD = "adagrad"
MAX_VALUES = (0.03, 1.0)
MAX_LOGIT = 1e4  # the scale of large outputs, whose exponentials overflow every dtype


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


def random_losses(generator: np.random.Generator, has: Sequence[str]) -> dict[str, Any]:
    """The fields of a recipe for the loss, the classes and the weights, for ports with these capabilities."""
    drawn = generator.random(5) < (0.5, 0.3, 0.5, 0.7, 0.05)
    cross_entropy, weights, class_inputs, classes, large = (bool(bit) for bit in drawn)
    cross_entropy = cross_entropy and CROSS_ENTROPY in has
    return {
        "loss": "cross_entropy" if cross_entropy else "squared_error",
        "classes": cross_entropy and classes,
        "logits": MAX_LOGIT if cross_entropy and large else 1.0,
        "class_inputs": class_inputs and CLASS_INPUTS in has,
        "weights": weights and WEIGHTS in has,
    }


def random_sgd(generator: np.random.Generator) -> SgdOptions:
    """Each option in about half of the cases, in every valid combination."""
    momentum, dampening, decay = (float(generator.choice(c)) for c in (MOMENTA, DAMPENINGS, DECAYS))
    low, high = np.log(MAX_NORMS)
    max_norm = float(np.exp(generator.uniform(low, high)))
    with_momentum, with_decay, with_norm, nesterov = (bool(bit) for bit in generator.integers(2, size=4))
    if not with_momentum:
        momentum = dampening = 0.0
    nesterov = nesterov and with_momentum and dampening == 0
    return SgdOptions(momentum, dampening, nesterov, decay * with_decay, max_norm if with_norm else None)


def with_clip_by_value(generator: np.random.Generator, sgd: SgdOptions, has: Sequence[str]) -> SgdOptions:
    """The options, at times with a clipping by value, for ports that have it."""
    value = float(np.exp(generator.uniform(*np.log(MAX_VALUES))))
    clips = CLIP_BY_VALUE in has and generator.random() < 0.3
    return sgd._replace(max_norm=None, max_value=value) if clips else sgd


def with_adagrad(sgd: SgdOptions) -> SgdOptions:
    """The options with Adagrad in place of momentum."""
    return sgd._replace(momentum=0.0, dampening=0.0, nesterov=False, adagrad=True)


def supported(options: tuple[str, ...], lacks: Sequence[str]) -> list[str]:
    """The options that a port does not lack; of the nonlinearities, one that it has."""
    return [option for option in options if option not in lacks] or [SIGMOID]


def restricted_sgd(sgd: SgdOptions, lacks: Sequence[str]) -> SgdOptions:
    """The options without those that a port lacks. Without momentum there is no dampening and no Nesterov step."""
    of_momentum = ("momentum", "dampening", "nesterov") if "momentum" in lacks else ()
    lacking = [name for name in SgdOptions._fields if name in (*lacks, *of_momentum)]
    return sgd._replace(**{name: SgdOptions._field_defaults[name] for name in lacking})
