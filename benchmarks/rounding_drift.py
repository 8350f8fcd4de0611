"""How far apart rounding may drive two correct programs: measured on a program of its own, not estimated.

The reference cannot be used for this: its states and adjoints follow from each other inside `forward` and `bptt`, where
no perturbation can be added. It is also timed itself, so what checks it must be independent of it.

- One window. A float64 computation is repeated with every number perturbed, up or down at random, by all that level L1
  allows the stage that computes it. A bound of L1 is for n roundings that all go one way; real roundings do not, and
  move results by a fraction of that. The largest difference in a tensor is what a row may have there.
- A run. Correct programs sum in different orders, so at every update each rounds each weight in its own way, by half an
  ulp for the subtraction and a little more for the gradient, which is small in comparison; and their tanh may be wrong
  by as much as the equivalence suite allows. A run is repeated with every weight perturbed by one ulp per update, and
  every state by that error of tanh: this shows how far training amplifies such roundings. The loss is rounded too, by
  at most an ulp of each of its terms. Two programs may each be that far from exact arithmetic, so the bound is twice
  the drift plus those ulps.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

import numpy as np

import numpy_rnn
from benchmarks import system
from benchmarks.workloads import Case
from numpy_rnn.conformance.bounds.local_bounds import TAU, stages
from numpy_rnn.conformance.case import Case as Window
from numpy_rnn.conformance.ports.backends import PackagePort

GRADIENTS = ("loss", "dW_xh", "dW_hh", "dW_hy")
WEIGHTS = ("W_xh", "W_hh", "W_hy")
SEQUENCES = ("a", "h", "y", "dy", "dh", "da")
REPEATS = 5  # perturbed computations
PROGRAMS = 2  # that are compared, each of which drifts
MAX_REPEATED_SIZE = 2**26  # T·B·H² of a window that is perturbed REPEATS times; larger ones have enough numbers

Perturb = Callable[[str, int, np.ndarray], np.ndarray]  # (name, step from 0, value) → the perturbed value
Bounds = dict[str, tuple[np.ndarray, np.ndarray]]  # by name: the value, and how far from it a result may be


def unperturbed(name: str, t: int, value: np.ndarray) -> np.ndarray:
    return value


# -- the program -----------------------------------------------------------------------------------------------------


def window(
    weights: Sequence[np.ndarray],
    x: np.ndarray,
    target: np.ndarray,
    h_0: np.ndarray,
    perturb: Perturb = unperturbed,
) -> dict[str, Any]:
    """The states "h", outputs "y", "loss" and gradients of one window; h and y are lists, one item per step.

    weights: (W_xh, W_hh, W_hy), (*E, D, H) and so on; x: (T, B, D); target: (K, B, O) of the last K steps, the steps
    with a loss; h_0: (*E, B, H) or (B, H). Every number passes through `perturb` as soon as it is computed.
    """
    (W_xh, W_hh, W_hy), T = weights, len(x)
    h, y = [h_0], []
    for t in range(T):
        a_t = perturb("a", t, x[t] @ W_xh + h[t] @ W_hh)
        h.append(perturb("h", t, np.tanh(a_t)))
        y.append(perturb("y", t, h[t + 1] @ W_hy))

    loss_start = T - len(target)
    later: Any = np.zeros_like(h_0)  # da_{t+1} W_hhᵀ
    loss: Any = 0.0
    dW_xh: Any = 0.0
    dW_hh: Any = 0.0
    dW_hy: Any = 0.0
    for t in reversed(range(T)):
        dh_t = later
        if t >= loss_start:
            dy_t = perturb("dy", t, y[t] - target[t - loss_start])
            loss = loss + 0.5 * np.square(dy_t).sum(axis=(-2, -1))
            dW_hy = dW_hy + h[t + 1].mT @ dy_t
            dh_t = dh_t + dy_t @ W_hy.mT
        da_t = perturb("da", t, perturb("dh", t, dh_t) * (1 - np.square(h[t + 1])))
        dW_xh = dW_xh + x[t].mT @ da_t
        dW_hh = dW_hh + h[t].mT @ da_t
        later = da_t @ W_hh.mT
    gradients = {"dW_xh": dW_xh, "dW_hh": dW_hh, "dW_hy": dW_hy}
    return {"h": h, "y": y, "loss": loss, **{name: perturb(name, 0, dW) for name, dW in gradients.items()}}


def sgd_step(
    weights: Sequence[np.ndarray],
    gradients: Mapping[str, np.ndarray],
    learning_rate: float,
    perturb: Perturb = unperturbed,
) -> list[np.ndarray]:
    """The weights after an SGD step along the gradients that `window` returned."""
    rate = weights[1].dtype.type(learning_rate)
    return [perturb(name, 0, W - rate * gradients["d" + name]) for name, W in zip(WEIGHTS, weights)]


def run(
    case: Case, perturb: Perturb = unperturbed, copies: int = 1
) -> Iterator[tuple[int, np.ndarray, list[np.ndarray]]]:
    """Every update of a run of the case: epoch from 0, loss, and weights after it, each with a first axis of `copies`.

    The copies are trained in parallel; only `perturb` makes them different.
    """
    params, x, target, h_0 = case.arrays()
    weights = [np.broadcast_to(W, (copies, *W.shape)) for W in params[:3]]
    T = case.T
    k1, k2 = (T, T) if case.k2 is None else (1, case.k2)
    for epoch in range(case.epochs):
        states, first = [h_0], 0
        for loss_start in range(0, T, k1):
            stop = min(loss_start + k1, T)
            start = max(0, stop - k2)
            result = window(weights, x[start:stop], target[loss_start:stop], states[start - first], perturb)
            states, first = result["h"], start
            weights = sgd_step(weights, result, case.learning_rate, perturb)
            yield epoch, result["loss"], weights


# -- its drift -------------------------------------------------------------------------------------------------------


def window_of(case: Case, dtype: str | None = None) -> Window:
    """The case in the form of the equivalence suite, in its own dtype or rounded to another."""
    params, *series = case.arrays()
    if dtype is not None:
        params = type(params)(*(W if W is None else W.astype(dtype) for W in params))
        series = [array.astype(dtype) for array in series]
    x, target, h_0 = series
    rate = float(np.dtype(case.dtype).type(case.learning_rate))  # the case's rate, whatever the dtype
    return Window(params, x, target, h_0, rate)


def cached(compute: Callable[[Case], Bounds]) -> Callable[[Case], Bounds]:
    """The bounds of the last case are kept in memory; in a run of the benchmarks, those of all cases in a folder.

    There every row has a process of its own, and all rows are compared with the same bounds.
    """

    @lru_cache(maxsize=1)
    @wraps(compute)
    def bounds(case):
        if system.CACHE not in os.environ:
            return compute(case)
        digest = hashlib.sha256(case.to_text().encode()).hexdigest()[:16]
        file = Path(os.environ[system.CACHE]) / f"{compute.__name__}-{digest}.npz"
        if not file.exists():
            partial = file.with_suffix(".partial.npz")
            pairs = compute(case)
            arrays: dict[str, Any] = {f"value {name}": value for name, (value, _) in pairs.items()}
            arrays |= {f"allowed {name}": allowed for name, (_, allowed) in pairs.items()}
            np.savez(partial, **arrays)
            os.replace(partial, file)
        with np.load(file) as stored:
            names = [name.removeprefix("value ") for name in stored if name.startswith("value ")]
            return {name: (stored[f"value {name}"], stored[f"allowed {name}"]) for name in names}

    return bounds


@cached
def window_bounds(case: Case) -> Bounds:
    """The float64 value of every required output of a window, and how far from it each number of a row may be."""
    exact = window_of(case, "float64")
    given = exact.params._asdict(), exact.x, exact.target, exact.h_0
    values = PackagePort(numpy_rnn).window_update(*given, learning_rate=exact.learning_rate)
    allowed = {name: bound for name, (_, bound) in stages(window_of(case), values).items()}
    drift = _window_drift(case, exact, values, allowed)
    programs = PROGRAMS if case.dtype == "float64" else 1  # then the float64 computation has roundings like a row's
    return {name: (values[name], programs * drift[name]) for name in ("y", *GRADIENTS, *WEIGHTS)}


def _window_drift(case, exact, values, allowed):
    """By tensor, the largest difference under perturbations of size `allowed`, and at least `allowed` itself.

    The loss is one number, in which perturbations may cancel by chance: its drift is that of y if none cancels.
    """
    generator, weights = np.random.default_rng(0), exact.params[:3]
    drift = {name: np.max(allowed[name]) for name in ("y", *GRADIENTS, *WEIGHTS)}

    def perturb(name, t, value):
        size = allowed[name][t] if name in SEQUENCES else allowed[name]
        return value + size * generator.choice((-1.0, 1.0), np.shape(value))

    for _ in range(1 if case.T * case.B * case.H**2 > MAX_REPEATED_SIZE else REPEATS):
        result = window(weights, exact.x, exact.target, exact.h_0, perturb)
        result |= dict(zip(WEIGHTS, sgd_step(weights, result, exact.learning_rate, perturb)))
        off = {name: np.abs(np.asarray(result[name]) - values[name]) for name in drift}
        off["loss"] = np.sum(np.abs(values["dy"]) * off["y"]) + allowed["loss"]
        drift = {name: max(size, off[name].max()) for name, size in drift.items()}
    return drift


@cached
def run_bounds(case: Case) -> Bounds:
    """The losses of the epochs and the final weights of a run, and how far from each a row's may be.

    The drift of the losses never decreases, since an epoch in which it cancels by chance says nothing about another
    program; that of a tensor of weights is the largest of its numbers, in each network separately.
    """
    losses = np.zeros((REPEATS + 1, case.epochs, *((case.networks,) if case.networks > 1 else ())))
    terms = np.zeros(losses.shape[1:])
    weights: list[np.ndarray] = []
    for epoch, loss, after in run(case, run_perturbations(case), REPEATS + 1):
        losses[:, epoch] += loss
        terms[epoch] += np.spacing(loss[0])
        weights = after
    drift = np.maximum.accumulate(np.abs(losses[1:] - losses[0]).max(axis=0), axis=0)
    bounds = {"losses": (losses[0], PROGRAMS * (drift + terms))}
    for name, W in zip(WEIGHTS, weights):
        drift = np.abs(W[1:] - W[0]).astype(np.float64).max(axis=(0, -2, -1), keepdims=True)[0]
        ulp = np.spacing(np.abs(W[0]).max(axis=(-2, -1), keepdims=True)).astype(np.float64)
        bounds[name] = W[0], np.broadcast_to(PROGRAMS * (drift + ulp), W[0].shape)
    return bounds


def run_perturbations(case: Case, seed: int = 0) -> Perturb:
    """Perturbs the states and weights of every copy but the first."""
    generator, u = np.random.default_rng(seed), np.finfo(case.dtype).eps / 2

    def perturb(name, t, value):
        if name not in ("h", *WEIGHTS):
            return value
        signs = generator.integers(0, 2, value.shape, np.int8) * 2 - 1
        signs[0] = 0
        size = np.spacing(np.abs(value)) if name in WEIGHTS else (TAU * u * np.abs(value)).astype(case.dtype)
        return value + size * signs.astype(case.dtype)

    return perturb
