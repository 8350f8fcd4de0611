"""Experiments and results of made-up numbers, whose plots and tables can be checked by eye; and a dangerous object."""

import numpy as np
from comparing import each

import numpy_rnn
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.results import Result


def made_up(
    T=5,
    D=1,
    E=(),
    G=2,
    epochs=3,
    backends=("numpy_rnn",),
    P=None,
    scaled=False,
    held_out=0,
) -> tuple[Experiment, dict[str, Result]]:
    """An Experiment and Results. P: of how many rows there are predictions.

    Row t of column d is t² + 100 d. Predictions of network n are wrong by n + 1, up and down by turns; those of a
    second backend by 10 more. Free-running values are 1000 + n, and so on. The loss of network n in epoch e is
    (n + 1) / 2^e. With `scaled` the units of the series are ten times these numbers, plus 50.
    """
    rows = np.arange(T + 1.0)[:, None, None] ** 2 + 100 * np.arange(D)
    x, target = rows[:-1], rows[1:]
    mean, deviation = (
        (np.full(D, 50.0), np.full(D, 10.0)) if scaled else (np.zeros(()), np.ones(()))
    )
    params = each(
        lambda theta: np.broadcast_to(theta, (*E, *theta.shape)),
        numpy_rnn.initial_parameters(D, 6, D),
    )
    series = rows[:, 0] * deviation + mean
    experiment = Experiment(
        "made up", x, target, np.zeros((1, 6)), params, series, mean, deviation, held_out
    )
    networks = np.arange(np.prod(E, dtype=int)).reshape(E)

    def result(number):
        errors = (networks + 1 + 10 * number)[..., None] * (-1.0) ** np.arange(T).reshape(
            T, *(1 for _ in E), 1
        )
        y = target.reshape(T, *(1 for _ in E), D) + errors
        after = (
            1000
            + networks[..., None]
            + np.arange(float(G)).reshape(G, *(1 for _ in E), 1)
            + np.zeros(D)
        )
        y, after = map(experiment.original, (y, after))
        losses = (networks + 1) / 2.0 ** np.arange(1, epochs + 1).reshape(epochs, *(1 for _ in E))
        return Result(losses, y[T - (P or T) :], after)

    return experiment, {name: result(number) for number, name in enumerate(backends)}


def lines(axes):
    """The lines by label, without the empty lines of a legend."""
    return {
        line.get_label(): line
        for line in axes.lines
        if not line.get_label().startswith("_") and len(line.get_xdata())
    }


class Bomb:
    """An object that creates the file `exploded` when it is unpickled."""

    def __reduce__(self):
        return open, ("exploded", "w")
