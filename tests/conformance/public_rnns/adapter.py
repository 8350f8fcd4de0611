"""What is left to write around an author's code: the names of the arrays, and which options the code does not have."""

import numpy as np

OF_CLASSES = ("squared_error", "distributions", "vector_inputs")  # what a language model lacks
NO_SGD = ("momentum", "dampening", "nesterov", "weight_decay")
LAYER = ("given_dy",)


class Port:
    """The defaults of all ports. changes: attributes that are different."""

    dtypes: tuple[str, ...] = ("float32", "float64")
    capabilities: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    tanh_ulps = None
    truncation = ""

    def __init__(self, **changes):
        self.name = type(self).__module__.removeprefix("public_rnns.")
        vars(self).update(changes)


def transposed(p, *names):
    """The weights as columns are multiplied by them, and the biases as columns, zeros if there are none."""
    H, O = p["W_hy"].shape
    sizes = {"b_h": H, "b_y": O}
    arrays = {name: p[name] if name in p else np.zeros(sizes[name], p["W_hh"].dtype) for name in names}
    return [array.T if array.ndim == 2 else array.reshape(-1, 1) for array in arrays.values()]


def named(p, names, gradients, prefix="d"):
    """The author's arrays under the names of a report, in the shapes of the parameters that there are."""
    arrays = {n: g.T if n.startswith("W") else g for n, g in zip(names, gradients) if n in p}
    return {prefix + name: np.ascontiguousarray(g).reshape(p[name].shape) for name, g in arrays.items()}
