"""Overflow and NaN: which network diverged, at which update, and which tensor was the first that is not finite.

A network diverges at the first update after which its loss or one of its parameters is not finite, or whose gradient
has a norm that is not finite, if gradients are clipped. A run makes several updates per yield and then checks their
losses and the latest parameters. If a network has diverged, these updates are repeated with everything recorded, to
locate the first value that is not finite.
"""

from contextlib import closing
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import Activations, Adjoints, Parameters, State
from numpy_rnn.common.shapes import expand_to

ORDER = ("a", "h", "y", "loss", "dy", "dh", "da")  # of computation; after them gradients, velocity, parameters
NORM = "gradient norm"  # reported if it overflows and all gradients are finite


class Divergence(NamedTuple):
    """The first number of a network that is NaN or infinite."""

    network: int  # from 0, in C order over the axes of the ensemble; 0 for a single network
    epoch: int
    number: int  # the update within the epoch
    tensor: str
    step: int | None = None  # of the window, from 1; None for a tensor without a time axis
    of: int = 1  # how many networks there are
    rate: float | None = None  # its learning rate, in a sweep
    seed: int | None = None  # of its initial weights, if they are drawn

    def __str__(self) -> str:
        step = "" if self.step is None else f" at step {self.step} of the window"
        place = f"epoch {self.epoch}, update {self.number}: {self.tensor}{step} is not finite"
        if self.of == 1:
            return place
        what = [] if self.rate is None else [f"learning rate {self.rate:g}"]
        what += [] if self.seed is None else [f"seed {self.seed}"]
        described = f" ({', '.join(what)})" if what else ""
        return f"network {self.network + 1} of {self.of}{described}, {place}"


class LocatedDivergence(NamedTuple):
    """A divergence, and the parameters of that network before the update in which it diverged."""

    divergence: Divergence
    params: Parameters


def gradient_norms(gradients: Parameters) -> np.ndarray:
    """The global norm (U2) of the gradients of every network, shape E, in their dtype. NumPy arrays.

    The gradients are divided by the largest one and squared in float64, so that the norm is infinite only if it exceeds
    the largest number of the dtype. NaN where a gradient is not finite.
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


def nonfinite_networks(losses: np.ndarray, params: Parameters | None, clipped: Parameters | None = None) -> np.ndarray:
    """Shape E: True where one of the losses (n, *E) or a parameter is not finite. NumPy arrays.

    clipped: gradients that are clipped, if any; then also True where their norm is not finite.
    """
    bad = np.asarray(~np.isfinite(losses).all(axis=0))
    if clipped is not None:
        bad = bad | ~np.isfinite(gradient_norms(clipped))
    for theta in params or ():
        if theta is not None:
            bad = bad | ~np.isfinite(theta).all(axis=tuple(range(bad.ndim, theta.ndim)))
    return bad


def first_nonfinite(update: Any, clips: bool = False) -> tuple[str, int | None] | None:
    """The first tensor in a recorded update of one network that is not finite, and its first step that is not.

    clips: whether the gradients are clipped; then their norm is checked too.
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


class ResumePoint(NamedTuple):
    """Where training begins or is resumed: the parameters, and the State after an update, if any. NumPy arrays."""

    params: Parameters
    state: State | None


def locate_divergence(
    rnn: ModuleType,
    experiment: Any,
    options: dict[str, Any],
    start: ResumePoint,
    diverged: np.ndarray,
    until: tuple[int, int],
) -> list[LocatedDivergence]:
    """Where each of the diverged networks (shape E) diverged, at the update `until` (epoch, number) at the latest.

    Networks that diverged at an earlier update come first. The updates from `start` on, where these networks were
    finite, are repeated for all networks, so that they have the same bits.

    options: the keyword arguments of `train`.
    """
    before, pending, located = start.params, np.flatnonzero(diverged).tolist(), []
    clips = options.get("max_norm") is not None
    with closing(iter(begin(rnn, experiment, options, start, record=True))) as updates:  # frees its memory at once
        for update in map(rnn.to_numpy, updates):
            place = update.epoch, update.number
            now = nonfinite_networks(update.loss[None], update.parameters, update.gradients if clips else None).ravel()
            for network in [n for n in pending if now[n] or place == until]:
                index = np.unravel_index(network, diverged.shape)
                # None if sums are not reproducible on this machine
                tensor, step = first_nonfinite(_of_network(update, index), clips) or ("loss", None)
                pending.remove(network)
                divergence = Divergence(network, *place, tensor, step, diverged.size)
                located.append(LocatedDivergence(divergence, _copy_of(before, index)))
            if not pending:
                break
            before = update.parameters
    return located


def begin(
    rnn: ModuleType,
    experiment: Any,
    options: dict[str, Any],
    start: ResumePoint,
    record: bool = False,
    yield_every: int = 1,
) -> Any:
    """The training of an experiment from this point on; the series is not copied."""
    x, target = (rnn.from_numpy(series, copy=False) for series in (experiment.x, experiment.target))
    params = rnn.from_numpy(start.params)
    state = None if start.state is None else rnn.from_numpy(start.state)
    h_0 = None if params.h_0 is not None else rnn.from_numpy(experiment.h_0)
    return rnn.train(params, x, target, h_0, **options, record=record, yield_every=yield_every, resume=state)


def _copy_of(params, index):
    """A copy of _pick: a view would keep the parameters of all networks in memory."""
    return Parameters(*(None if theta is None else theta.copy() for theta in _pick(params, index)))


def _pick(params, index):
    """The parameters of one network out of (*E, ...)."""
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
