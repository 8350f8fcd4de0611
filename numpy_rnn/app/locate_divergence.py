"""Overflow and NaN: which networks diverged, at which update, and which tensor was the first that is not finite."""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Parameters, Run, State, Update

ORDER = ("a", "h", "y", "loss", "dy", "dh", "da")  # of computation; after them gradients, velocity, parameters


class Divergence(NamedTuple):
    """The first tensor of a network that is not finite."""

    network: int  # from 0, in C order over the axes of the ensemble; 0 for a single network
    epoch: int
    number: int  # the update within the epoch
    tensor: str

    def __str__(self) -> str:
        return f"epoch {self.epoch}, update {self.number}: {self.tensor} is not finite"


def nonfinite_networks(losses: np.ndarray, params: Parameters) -> np.ndarray:
    """Shape E: True where one of the losses (n, *E) or a parameter, of either package, is not finite."""
    bad = ~np.isfinite(losses).all(axis=0)
    for theta in params:
        if theta is not None:
            bad = bad | ~np.isfinite(np.asarray(theta)).all(axis=tuple(range(bad.ndim, theta.ndim)))
    return np.asarray(bad)


def begin(rnn: Any, run: Run, state: State | None = None, **options: Any) -> Any:
    """The updates of a run by a package, from its start or from a state on; the series is not copied."""
    x, target = (rnn.from_numpy(series, copy=False) for series in (run.x, run.target))
    params, h_0, weights, resume = (
        None if value is None else rnn.from_numpy(value) for value in (run.params, run.h_0, run.weights, state)
    )
    return rnn.train(params, x, target, h_0, weights=weights, resume=resume, **run.options.keywords(), **options)


def in_numpy(rnn: Any, update: Update) -> Update:
    """A recorded update of a package with NumPy arrays."""
    names = "loss", "gradients", "parameters", "velocity", "activations", "adjoints"
    return update.replace(**{name: rnn.to_numpy(getattr(update, name)) for name in names})


def locate(rnn: Any, run: Run, state: State | None, diverged: np.ndarray, until: tuple[int, int]) -> list[Divergence]:
    """The first tensor that is not finite of each of these networks (shape E), in the order of the updates.

    The few updates from the state, in which these networks were finite, until (epoch, number) are made again with a
    record. The first one after which a network is not finite is examined.
    """
    located: list[Divergence] = []
    pending = np.array(diverged)
    for recorded in begin(rnn, run, state, record=True):
        update = in_numpy(rnn, recorded)
        place = update.epoch, update.number
        bad = nonfinite_networks(update.loss[None], update.parameters) | (place == until)
        for index in map(tuple, np.argwhere(pending & bad)):
            network = int(np.ravel_multi_index(index, pending.shape)) if index else 0
            located.append(Divergence(network, *place, _first_nonfinite(update, index)))
            pending[index] = False
        if not pending.any():
            break
    return located


def _first_nonfinite(update: Any, network: tuple[int, ...]) -> str:
    """The first tensor in a recorded update of one network that is not finite."""
    of_steps = {**update.activations._asdict(), **update.adjoints._asdict()}
    tensors = {name: update.loss if name == "loss" else np.moveaxis(of_steps[name], 0, -1) for name in ORDER}
    for prefix, group in (("d", update.gradients), ("v", update.velocity), ("", update.parameters)):
        tensors |= {prefix + name: theta for name, theta in zip(Parameters._fields, group or ()) if theta is not None}
    bad = (name for name, values in tensors.items() if not np.isfinite(values[network]).all())
    return next(bad, "loss")  # where the sums of a machine are not reproducible
