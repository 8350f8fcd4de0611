"""The options of random cases: of the loss and of the SGD step, for what a port has and lacks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.records import SgdOptions

MOMENTA, DAMPENINGS, DECAYS = (0.5, 0.9), (0.0, 0.25, 0.7), (0.01, 0.1)
MAX_NORMS = (0.1, 30.0)  # range; it includes most gradient norms of random cases

# Capabilities of ports. Without them a case has plain gradient descent and a constant initial state.
SGD_OPTIONS, LEARNED_H_0, CLIP_BY_VALUE = "sgd_options", "learned_h_0", "clip_by_value"
SIGMOID, CROSS_ENTROPY, CLASS_INPUTS, WEIGHTS = "sigmoid", "cross_entropy", "class_inputs", "loss_weights"
ADAGRAD = "adagrad"
MAX_VALUES = (0.03, 1.0)
MAX_LOGIT = 1e4  # the scale of large outputs, whose exponentials overflow every dtype


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
