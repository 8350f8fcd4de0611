"""When numbers leave the range: which network, at which update, and which tensor was the first.

A network has gone bad at the first update after which its loss or one of its parameters is not finite, or in which the
norm that its gradient is clipped by is not. A run makes several updates and then looks at the losses of all of them and
at the latest parameters; when a network has gone bad, the updates since the look before are made once more, with
everything recorded, to find where that was.
"""

from contextlib import closing
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.records import Activations, Adjoints, Parameters, State
from numpy_rnn.common.shapes import expand_to

ORDER = ("a", "h", "y", "loss", "dy", "dh", "da")  # of computation; after them gradients, velocity, parameters
NORM = "gradient norm"  # as it is named where it overflows and all gradients are finite


class Divergence(NamedTuple):
    """The first number of a network that is NaN or infinite."""

    network: int  # counted from 0 over the axes of the ensemble; 0 of a single network
    epoch: int
    number: int  # the update within the epoch
    tensor: str
    step: int | None = None  # of the window, from 1; None for a tensor without steps
    of: int = 1  # how many networks there are
    rate: float | None = None  # its learning rate, in a sweep
    seed: int | None = None  # of its initial weights, where the networks are drawn

    def __str__(self) -> str:
        step = "" if self.step is None else f" at step {self.step} of the window"
        place = f"epoch {self.epoch}, update {self.number}: {self.tensor}{step} is not finite"
        if self.of == 1:
            return place
        what = [] if self.rate is None else [f"learning rate {self.rate:g}"]
        what += [] if self.seed is None else [f"seed {self.seed}"]
        described = f" ({', '.join(what)})" if what else ""
        return f"network {self.network + 1} of {self.of}{described}, {place}"


class Found(NamedTuple):
    """A divergence, and the parameters of that network before the update in which it began."""

    divergence: Divergence
    params: Parameters


def gradient_norms(gradients) -> np.ndarray:
    """The global norm (U2) of the gradients of every network, shape E, in their dtype.

    The squares are taken of gradients that are divided by the largest one, in float64, so that the norm is infinite
    only where it is larger than the largest number of the dtype; NaN where a gradient is not finite. NumPy arrays.
    """
    present = [np.asarray(dtheta, np.float64) for dtheta in gradients if dtheta is not None]
    E = gradients.W_hh.ndim - 2

    def of_networks(reduce, values):
        return reduce(values, axis=tuple(range(E, values.ndim)))

    with np.errstate(over="ignore", invalid="ignore"):
        largest = np.max([of_networks(np.max, np.abs(dtheta)) for dtheta in present], axis=0)
        scale = np.where(largest > 0, largest, 1)
        squares = sum(of_networks(np.sum, np.square(dtheta / expand_to(scale, dtheta))) for dtheta in present)
        return np.asarray(scale * np.sqrt(squares)).astype(gradients.W_hh.dtype)


def bad_networks(losses, params, clipped=None) -> np.ndarray:
    """Shape E: True where one of the losses (n, *E), or a parameter, is not finite; or the norm of gradients that are
    clipped, if they are given. NumPy arrays.
    """
    bad = np.asarray(~np.isfinite(losses).all(axis=0))
    if clipped is not None:
        bad = bad | ~np.isfinite(gradient_norms(clipped))
    for theta in params or ():
        if theta is not None:
            bad = bad | ~np.isfinite(theta).all(axis=tuple(range(bad.ndim, theta.ndim)))
    return bad


def first_bad(update, clips=False) -> tuple[str, int | None] | None:
    """The first tensor of a recorded update of one network that is not finite, and the first step of it, by number.

    clips: whether the gradients were clipped, so that their norm counts as a tensor.
    """
    tensors = {"loss": update.loss, **update.activations._asdict(), **update.adjoints._asdict()}
    for name in ORDER:
        finite = np.isfinite(tensors[name])
        if not finite.all():
            if finite.ndim == 0:
                return name, None
            steps = np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1))
            return name, int(steps[-1 if name in ("dh", "da") else 0]) + (name != "h")
    later = (("d", update.gradients), ("v", update.velocity or ()), ("", update.parameters))
    for prefix, tensors_of in later:
        for name, theta in zip(Parameters._fields, tensors_of):
            if theta is not None and not np.isfinite(theta).all():
                return prefix + name, None
        if prefix == "d" and clips and not np.isfinite(gradient_norms(update.gradients)):
            return NORM, None
    return None


class Start(NamedTuple):
    """Where all was still finite: the parameters, and the State if an update had been made. NumPy arrays."""

    params: Parameters
    state: State | None


def trace_back(rnn, experiment, options: dict, start: Start, bad: np.ndarray, seen: tuple[int, int]) -> list[Found]:
    """Where each of the bad networks went bad, at the latest at the update (epoch, number) that was `seen`.

    Those that went bad at an earlier update come first.

    options: the keyword arguments of `train`; start: where these networks were still good; bad: shape E. The updates
    from there on are made once more, of all networks, so that they are the same to the bit.
    """
    before, pending, found = start.params, np.flatnonzero(bad).tolist(), []
    clips = options.get("max_norm") is not None
    with closing(iter(begin(rnn, experiment, options, start, record=True))) as updates:  # its memory is let go at once
        for update in map(rnn.to_numpy, updates):
            place = update.epoch, update.number
            now = bad_networks(update.loss[None], update.parameters, update.gradients if clips else None).ravel()
            for network in [n for n in pending if now[n] or place == seen]:
                index = np.unravel_index(network, bad.shape)
                # nothing, where a machine adds up in another order each time
                tensor, step = first_bad(_of_network(update, index), clips) or ("loss", None)
                pending.remove(network)
                found.append(Found(Divergence(network, *place, tensor, step, bad.size), _copy_of(before, index)))
            if not pending:
                break
            before = update.parameters
    return found


def begin(rnn, experiment, options: dict, start: Start, record=False, yield_every=1):
    """The training of an experiment from this start on; a long series is not copied."""
    x, target = (rnn.from_numpy(series, copy=False) for series in (experiment.x, experiment.target))
    params = rnn.from_numpy(start.params)
    state = None if start.state is None else rnn.from_numpy(start.state)
    h_0 = None if params.h_0 is not None else rnn.from_numpy(experiment.h_0)
    return rnn.train(params, x, target, h_0, **options, record=record, yield_every=yield_every, resume=state)


def _copy_of(params, index):
    """As _pick, in memory of their own: a view would keep the parameters of all networks."""
    return Parameters(*(None if theta is None else theta.copy() for theta in _pick(params, index)))


def _pick(params, index):
    """Of parameters (*E, ...), those of one network."""
    return None if params is None else Parameters(*(None if theta is None else theta[index] for theta in params))


def _of_network(update, index):
    """A recorded update of one network of an ensemble."""
    activations, adjoints = (
        {name: value[index] if name == "dh_0" else value[:, *index] for name, value in part._asdict().items()}
        for part in (update.activations, update.adjoints)
    )
    return update._replace(
        loss=update.loss[index],
        gradients=_pick(update.gradients, index),
        parameters=_pick(update.parameters, index),
        velocity=_pick(update.velocity, index),
        activations=Activations(**activations),
        adjoints=Adjoints(**adjoints),
    )
