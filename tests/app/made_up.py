"""Experiments and results of random numbers, whose plots and tables are checked against these numbers."""

import numpy as np
from comparing import each

import numpy_rnn
from numpy_rnn.app.experiment import Experiment, Scaling
from numpy_rnn.app.results import Result


def made_up(
    T=20, D=1, E=(), G=5, epochs=7, backends=("numpy_rnn",), P=None, scaled=False, held_out=0, rates=()
) -> tuple[Experiment, dict[str, Result]]:
    """An Experiment and Results of random numbers. P: of how many rows there are predictions."""
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(T + 1, 1, D))
    x, target = rows[:-1], rows[1:]
    scaling = Scaling(np.arange(50.0, 50 + D), np.arange(10.0, 10 + D)) if scaled else None
    params = each(lambda theta: np.broadcast_to(theta, (*E, *theta.shape)), numpy_rnn.initial_parameters(D, 6, D))
    experiment = Experiment("made up", x, target, np.zeros((1, 6)), params, scaling, held_out, rates)

    def result():
        losses = np.exp(generator.normal(size=(epochs, *E)))
        y, following = generator.normal(size=(T, *E, 1, D)), generator.normal(size=(G, *E, 1, D))
        return Result(losses, experiment.params, y[T - (P or T) :], following)

    return experiment, {name: result() for name in backends}


def lines(axes):
    """The lines by label, without the border and the empty lines of a legend."""
    return {
        line.get_label(): line for line in axes.lines if not line.get_label().startswith("_") and len(line.get_xdata())
    }
