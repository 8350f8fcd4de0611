"""This project's own backends as ports."""

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.ports.faults import CAPABILITIES


class PackagePort:
    """A package with the functions of numpy_rnn, as a port that has every capability."""

    capabilities = CAPABILITIES
    dtypes = ("float32", "float64")
    tanh_ulps = None
    lacks = ()

    def __init__(self, rnn):
        self.rnn = rnn
        self.name = rnn.__name__

    def window_update(
        self,
        params,
        x,
        target,
        h_0,
        *,
        learning_rate,
        nonlinearity="tanh",
        reduction="sum",
        max_norm=None,
        velocity=None,
        **of_direction,
    ):
        """One window and its SGD step, under the names of the trace. of_direction: momentum and the like."""
        rnn = self.rnn
        options = {"nonlinearity": nonlinearity, "reduction": reduction}
        theta = rnn.from_numpy(Parameters(**params))
        x, target, h_0 = map(rnn.from_numpy, (x, target, h_0))
        if velocity is not None:
            velocity = rnn.from_numpy(Parameters(**dict.fromkeys(Parameters._fields) | velocity))

        activations = rnn.forward(theta, x, h_0, nonlinearity=nonlinearity)
        loss = rnn.half_squared_error(activations.y[-len(target) :], target, reduction=reduction)
        gradients = rnn.bptt(theta, activations, target, **options)
        deltas = rnn.deltas(theta, activations, target, **options)
        to_step = gradients if max_norm is None else rnn.clipped(gradients, max_norm)
        s, velocity = rnn.direction(theta, to_step, velocity, **of_direction)
        updated = rnn.sgd(theta, s, learning_rate)

        report = {"loss": np.asarray(rnn.to_numpy(loss)), **_named("", rnn, activations), **_named("", rnn, deltas)}
        del report["x"]
        report["h"] = report["h"][1:]
        report |= _named("d", rnn, gradients) | _named("", rnn, updated)
        return report if velocity is None else report | _named("v", rnn, velocity)


def _named(prefix, rnn, arrays):
    return {prefix + name: array for name, array in rnn.to_numpy(arrays)._asdict().items() if array is not None}
