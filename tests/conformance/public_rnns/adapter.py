"""Code around an author's code: the names of the arrays, and which options the code does not have."""

import numpy as np

OF_CLASSES = ("squared_error", "distributions", "vector_inputs")  # what a language model lacks
NO_SGD = ("momentum", "dampening", "nesterov", "weight_decay")
NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


class Port:
    """The defaults of all ports. changes: attributes that are different."""

    dtypes: tuple[str, ...] = ("float32", "float64")
    capabilities: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    tanh_ulps = None

    def __init__(self, **changes):
        self.name = type(self).__name__
        vars(self).update(changes)


class Layer(Port):
    capabilities: tuple[str, ...] = ("given_dy",)
    lacks: tuple[str, ...] = ("relu", "step")


class LanguageModel(Port):
    capabilities: tuple[str, ...] = ("cross_entropy", "class_inputs")
    lacks: tuple[str, ...] = ("relu", "mean", "bias", "h_0", "batch", "older steps", "large outputs", *OF_CLASSES)


def filled(p):
    """The parameters, with zeros for the biases that the case does not have."""
    H, O = p["W_hy"].shape
    return {name: np.zeros(n, p["W_hh"].dtype) for name, n in (("b_h", H), ("b_hh", H), ("b_y", O))} | p


def transposed(p):
    """The weights as columns are multiplied by them, and the biases as columns."""
    return [array.T if array.ndim == 2 else array.reshape(-1, 1) for array in map(filled(p).get, NAMES)]


def named(p, arrays, prefix="d"):
    """The author's arrays, in the order of NAMES, under the names of a report and in the shapes of the parameters."""
    arrays = {name: g.T if name.startswith("W") else g for name, g in zip(NAMES, arrays) if name in p}
    return {prefix + name: np.ascontiguousarray(g).reshape(p[name].shape) for name, g in arrays.items()}


def reported(p, gradients, learning_rate=None, **others):
    """Others, the gradients of the parameters that the case has, and at a rate these after plain gradient descent."""
    new = {}
    if learning_rate is not None:
        new = {name: theta - theta.dtype.type(learning_rate) * gradients[name] for name, theta in p.items()}
    return others | {"d" + name: gradients[name] for name in p} | new
