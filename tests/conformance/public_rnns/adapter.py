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


NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")


def transposed(p):
    """The weights as columns are multiplied by them, and the biases as columns, zeros if there are none."""
    H, O = p["W_hy"].shape
    zeros = {"b_h": np.zeros(H, p["W_hh"].dtype), "b_y": np.zeros(O, p["W_hh"].dtype)}
    arrays = ((zeros | p)[name] for name in NAMES)
    return [array.T if array.ndim == 2 else array.reshape(-1, 1) for array in arrays]


def named(p, arrays, prefix="d"):
    """The author's arrays, in the order of NAMES, under the names of a report and in the shapes of the parameters."""
    arrays = {name: g.T if name.startswith("W") else g for name, g in zip(NAMES, arrays) if name in p}
    return {prefix + name: np.ascontiguousarray(g).reshape(p[name].shape) for name, g in arrays.items()}
