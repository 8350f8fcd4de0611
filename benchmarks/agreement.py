"""Does a row compute what it should on the very case that is to be timed? Asked before anything is timed.

One window. The derived bounds of level L2 hold for the worst that roundings can do, and that grows with every step by
the size of |W_hh|: of 50 steps and 16 units they say nothing any more. So both are asked:

- L2 around the oracle, element by element, where the window is small, and python-flint is installed;
- at every size, how far roundings carry. A plain float64 computation is repeated with every number moved, up or down at
  random, by all that level L1 allows the stage that makes it. A bound of L1 is for n roundings that all go one way;
  real ones, which do not, move results by a fraction of that. The largest difference that the moved computations have
  in a tensor is what a row may have. Where the case is float64 itself, the plain computation has roundings like the
  row's, so twice that.

A run has thousands of updates: see `run_agreement.py`.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

import numpy_rnn
from benchmarks import rounding_drift
from benchmarks.rounding_drift import run_bounds
from benchmarks.rows import FORWARD, GRADIENT, RUN, STEP
from benchmarks.workloads import Case
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.bounds.global_bounds import Bounds, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import ratios, stages
from numpy_rnn.conformance.case import Case as Window
from numpy_rnn.conformance.ports.backends import PackagePort

GRADIENTS = ("loss", "dW_xh", "dW_hh", "dW_hy")
WEIGHTS = ("W_xh", "W_hh", "W_hy")
OWED = {FORWARD: ("y",), GRADIENT: GRADIENTS, STEP: GRADIENTS + WEIGHTS, RUN: ("losses", *WEIGHTS)}
SMALL = 2**13  # T·B·H² of the largest window for the oracle: a tenth of a second
LARGE = 2**26  # T·B·H² of a window that is moved once, as it has numbers enough, and not RUNS times
RUNS = 5


class Agreement(NamedTuple):
    """The verdict on a row, and where it is furthest off, measured by what is allowed there."""

    holds: bool
    text: str
    share: float  # of what is allowed; infinity where something is missing


def judge(task: str, case: Case, result: dict) -> Agreement:
    """A row's result of this task held against the equivalence suite."""
    if fault := form_fault(task, case, result):
        return Agreement(False, fault, np.inf)
    bounds = run_bounds(case) if task == RUN else drift_bounds(case)
    found = [
        (float(ratios(np.abs(np.asarray(result[name], np.float64) - value), allowed).max()), name, "of the drift")
        for name, (value, allowed) in bounds.items()
        if name in OWED[task]
    ]
    if task != RUN and (exact := oracle_bounds(case)):
        for name in OWED[task]:
            value, E = exact[name]
            if not np.isfinite(E).all():  # it says nothing: see above
                continue
            difference = value.difference(np.asarray(result[name]).reshape(E.shape))
            found.append((float(ratios(difference, E + value.radius).max()), name, "of the bound of level L2"))
    share, name, of = max(found)
    return Agreement(share <= 1, f"furthest in {name}, by {share:.2g} {of}", share)


def form_fault(task: str, case: Case, result: dict) -> str | None:
    """What is wrong with the names, shapes, dtypes and finiteness of a result; None if nothing is."""
    if set(result) != set(OWED[task]):
        return f"gives {', '.join(sorted(result))}: expected {', '.join(OWED[task])}"
    E = (case.networks,) if case.networks > 1 else ()
    sizes = {"xh": (case.D, case.H), "hh": (case.H, case.H), "hy": (case.H, case.O)}
    shapes = {"loss": (), "losses": (case.epochs, *E), "y": (case.T, case.B, case.O)}
    for name, array in result.items():
        shape = shapes[name] if name in shapes else (*E, *sizes[name[-2:]])
        if array.shape != shape:
            return f"{name} has shape {array.shape}: expected {shape}"
        if array.ndim and name != "losses" and array.dtype != case.dtype:
            return f"{name} is {array.dtype}: expected {case.dtype}"
        if not np.isfinite(array).all():
            return f"{name} is not finite"
    return None


def window_of(case: Case, dtype=None) -> Window:
    """The case as the equivalence suite knows it, in its own dtype or rounded to another."""
    params, *series = case.arrays()
    if dtype is not None:
        params = type(params)(*(W if W is None else W.astype(dtype) for W in params))
        series = [array.astype(dtype) for array in series]
    # The rate, too, is of the case's dtype, whatever that of the computation.
    x, target, h_0 = series
    return Window(params, x, target, h_0, float(np.dtype(case.dtype).type(case.learning_rate)))


@lru_cache(maxsize=1)
def drift_bounds(case: Case) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The float64 value of every tensor that is owed, and how far from it each number of a row may be."""
    exact = window_of(case, "float64")
    given = exact.params._asdict(), exact.x, exact.target, exact.h_0
    values = PackagePort(numpy_rnn).window_update(*given, learning_rate=exact.learning_rate)
    allowed = {name: bound for name, (_, bound) in stages(window_of(case), values).items()}
    drift = _drift(case, exact, values, allowed)
    programs = 2 if case.dtype == "float64" else 1
    return {name: (values[name], programs * drift[name]) for name in ("y", *GRADIENTS, *WEIGHTS)}


def _drift(case, exact, values, allowed):
    """By tensor, the largest difference that moves by `allowed` make; at least `allowed` itself.

    The loss is one number, in which moves may cancel by chance: there, what those of y do if none cancels.
    """
    generator, weights = np.random.default_rng(0), exact.params[:3]
    drift = {name: np.max(allowed[name]) for name in ("y", *GRADIENTS, *WEIGHTS)}

    def moved(name, t, value):
        size = allowed[name][t] if name in ("a", "h", "y", "dy", "dh", "da") else allowed[name]
        return value + size * generator.choice((-1.0, 1.0), np.shape(value))

    for _ in range(1 if case.T * case.B * case.H**2 > LARGE else RUNS):
        found = rounding_drift.window(weights, exact.x, exact.target, exact.h_0, moved)
        found |= dict(zip(WEIGHTS, rounding_drift.updated(weights, found, exact.learning_rate, moved)))
        off = {name: np.abs(np.asarray(found[name]) - values[name]) for name in drift}
        off["loss"] = np.sum(np.abs(values["dy"]) * off["y"]) + allowed["loss"]
        drift = {name: max(size, off[name].max()) for name, size in drift.items()}
    return drift


def oracle_bounds(case: Case) -> Bounds | None:
    """Of level L2, for a small window; None for a large one, and without python-flint."""
    if case.T * case.B * case.H**2 > SMALL:
        return None
    try:
        return _oracle_bounds(case)
    except InputError:
        return None


@lru_cache(maxsize=1)
def _oracle_bounds(case):
    with np.errstate(over="ignore", invalid="ignore"):  # where a bound grows out of the range of numbers
        return global_bounds(window_of(case))
