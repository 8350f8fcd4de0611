"""Does a row compute the right numbers on the very case that is to be timed? This is checked before anything is timed.

The derived bounds of level L2 hold for the worst that rounding can do, and that grows with every step by the size of
|W_hh|: for 50 steps and 16 units they are too wide to say anything. So there are two checks:

- the bounds of L2 around the oracle, element by element, if the window is small and python-flint is installed;
- at every size, how far rounding drives correct programs apart: see `rounding_drift.py`, and for character models
  `character_drift.py`.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from benchmarks.character_drift import character_bounds
from benchmarks.rounding_drift import GRADIENTS, WEIGHTS, run_bounds, window_bounds, window_of
from benchmarks.rows import CHARACTERS, FORWARD, GRADIENT, PARAMETERS, RUN, STEP
from benchmarks.workloads import Case, first_updates
from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.bounds.global_bounds import Bounds, global_bounds
from numpy_rnn.conformance.bounds.local_bounds import ratios

REQUIRED_OUTPUTS = {
    FORWARD: ("y",),
    GRADIENT: GRADIENTS,
    STEP: GRADIENTS + WEIGHTS,
    RUN: ("losses", *WEIGHTS),
    CHARACTERS: ("losses", *PARAMETERS),
}
BOUNDS = {RUN: run_bounds, CHARACTERS: character_bounds}  # of the other tasks window_bounds
MAX_ORACLE_SIZE = 2**13  # T·B·H² of the largest window for the oracle: a tenth of a second


class Agreement(NamedTuple):
    """The verdict on a row, and its largest difference relative to the bound there."""

    holds: bool
    text: str
    share: float  # of the bound; infinite if an output is missing


def judge(task: str, case: Case, result: Mapping[str, np.ndarray]) -> Agreement:
    """Checks a row's result of this task: of a character model, that of its first updates."""
    if task == CHARACTERS:
        case = first_updates(case)
    if error := format_error(task, case, result):
        return Agreement(False, error, np.inf)
    bounds = BOUNDS.get(task, window_bounds)(case)
    differences = [
        (float(ratios(np.abs(np.asarray(result[name], np.float64) - value), allowed).max()), name, "the rounding drift")
        for name, (value, allowed) in bounds.items()
        if name in REQUIRED_OUTPUTS[task]
    ]
    if task not in BOUNDS and (exact := oracle_bounds(case)):
        for name in REQUIRED_OUTPUTS[task]:
            value, E = exact[name]
            if not np.isfinite(E).all():  # too wide: see above
                continue
            difference = value.difference(np.asarray(result[name]).reshape(E.shape))
            differences.append((float(ratios(difference, E + value.radius).max()), name, "the bound of level L2"))
    share, name, bound = max(differences)
    return Agreement(share <= 1, f"the largest difference is in {name}, {share:.2g} times {bound}", share)


def format_error(task: str, case: Case, result: Mapping[str, np.ndarray]) -> str | None:
    """What is wrong with the names, shapes, dtypes and finiteness of a result; None if nothing is."""
    if set(result) != set(REQUIRED_OUTPUTS[task]):
        return f"returns {', '.join(sorted(result))}: expected {', '.join(REQUIRED_OUTPUTS[task])}"
    E = (case.networks,) if case.networks > 1 else ()
    sizes = {"xh": (case.D, case.H), "hh": (case.H, case.H), "hy": (case.H, case.O), "_h": (case.H,), "_y": (case.O,)}
    losses = case.points if case.characters else case.epochs
    shapes = {"loss": (), "losses": (losses, *E), "y": (case.T, case.B, case.O)}
    for name, array in result.items():
        shape = shapes[name] if name in shapes else (*E, *sizes[name[-2:]])
        if array.shape != shape:
            return f"{name} has shape {array.shape}: expected {shape}"
        if array.ndim and name != "losses" and array.dtype != case.dtype:
            return f"{name} is {array.dtype}: expected {case.dtype}"
        if not np.isfinite(array).all():
            return f"{name} is not finite"
    return None


def oracle_bounds(case: Case) -> Bounds | None:
    """The bounds of level L2; None for a large window, and without python-flint."""
    if case.T * case.B * case.H**2 > MAX_ORACLE_SIZE:
        return None
    try:
        return _oracle_bounds(case)
    except InputError:
        return None


@lru_cache(maxsize=1)
def _oracle_bounds(case):
    with np.errstate(over="ignore", invalid="ignore"):  # a bound may overflow
        return global_bounds(window_of(case))
