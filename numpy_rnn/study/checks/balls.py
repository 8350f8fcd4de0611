"""Ball arithmetic, where python-flint is installed: every tensor with a radius far below the rounding of float64."""

from fractions import Fraction
from importlib.util import find_spec

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.conformance.bounds.oracle import Enclosure, oracle
from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.comparing import Witnessed, whole


def balls(case: Case) -> dict[str, Witnessed]:
    """The midpoint of every tensor's ball by name, `losses` among them; the radii are below 2⁻⁹⁶ of it.

    Raises InputError without python-flint, and where the balls stay too wide to be of use.
    """
    if find_spec("flint") is None:
        raise InputError("python-flint is not installed")
    values = oracle(case)
    found = {name: whole(value.high, value.low) for name, value in values.items()}
    return found | {"losses": step_losses(values["y"], case.target)}


def step_losses(y: Enclosure, target: np.ndarray) -> Witnessed:
    """Every ℓ_t (L1) from the balls of y, in fractions: (T, B, O), (K, B, O) → (K,)."""
    K = len(target)
    midpoints = zip(*(v[-K:].reshape(K, -1).tolist() for v in (y.high, y.low)))
    exact = [
        sum(((Fraction(h) + Fraction(l) - Fraction(v)) ** 2 for h, l, v in zip(high, low, wanted)), Fraction()) / 2
        for (high, low), wanted in zip(midpoints, target.reshape(K, -1).tolist())
    ]
    return of_fractions(exact)


def of_fractions(numbers: list[Fraction]) -> Witnessed:
    """What a witness knows exactly, to some 106 bits."""
    high = [float(number) for number in numbers]
    return whole(high, [float(number - Fraction(nearest)) for number, nearest in zip(numbers, high)])
