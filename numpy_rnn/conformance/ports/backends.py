"""This project's own backends as ports."""

import numpy as np

from numpy_rnn.common.records import Parameters


class PackagePort:
    """A package with the functions of numpy_rnn, as a port that reports every intermediate."""

    capabilities = ("intermediates",)
    dtypes = ("float32", "float64")
    tanh_ulps = None
    lacks = ()

    def __init__(self, rnn):
        self.rnn = rnn
        self.name = rnn.__name__

    def window_update(self, params, x, target, h_0, *, learning_rate, nonlinearity="tanh", reduction="sum"):
        """One window and its SGD step, under the names of the trace."""
        rnn = self.rnn
        options = {"nonlinearity": nonlinearity, "reduction": reduction}
        theta = rnn.from_numpy(Parameters(**params))
        x, target, h_0 = map(rnn.from_numpy, (x, target, h_0))
        activations = rnn.forward(theta, x, h_0, nonlinearity=nonlinearity)
        loss = rnn.half_squared_error(activations.y[-len(target) :], target, reduction=reduction)
        gradients = rnn.bptt(theta, activations, target, **options)
        report = {
            "loss": np.asarray(rnn.to_numpy(loss)),
            **rnn.to_numpy(activations)._asdict(),
            **rnn.to_numpy(rnn.deltas(theta, activations, target, **options))._asdict(),
            **{"d" + name: g for name, g in rnn.to_numpy(gradients)._asdict().items() if g is not None},
            **{
                n: t
                for n, t in rnn.to_numpy(rnn.sgd(theta, gradients, learning_rate))._asdict().items()
                if t is not None
            },
        }
        del report["x"]
        report["h"] = report["h"][1:]
        return report
