"""The error of a derivative by differences over its step, and of one by complex step, over far smaller ones too.

The central difference has two errors, h²/6 |L'''| of Taylor's formula and about u|L|/h of the rounding of L, one of
which grows where the other falls: a V. The complex step has δ²/6 |L'''| and nothing else.
"""

from typing import Any

import numpy as np

from numpy_rnn.conformance.case import Case
from numpy_rnn.study.checks.comparing import Witnessed, whole
from numpy_rnn.study.checks.problem import Values
from numpy_rnn.study.checks.stepping import central_difference, complex_step, losses, one_each

STEPS = 10.0 ** -np.linspace(1, 15, 85)  # six a decade
SMALLER = 10.0 ** -np.arange(16.0, 281.0, 4)  # of the complex step alone
WIDE = 1e-3  # of the difference of complex steps that gives L'''
UNIT_ROUNDOFF = 2.0**-53


def v_curve(case: Case, hand: Values, balls: dict[str, Witnessed] | None) -> dict[str, Any] | None:
    """Relative errors of ∂L/∂W_hh,ij by step, for the element with the largest derivative; None if all are zero.

    Measured against ball arithmetic; without it against the value by hand, and then an error below a rounding or two
    says nothing.
    """
    W_hh = case.params.W_hh
    at = int(np.abs(hand["dW_hh"]).argmax())
    true = whole(hand["dW_hh"]) if balls is None else balls["dW_hh"]
    value, rest = float(true.high[at]), float(true.low[at])
    size = abs(value)
    if not size:
        return None

    def loss(epsilon):
        moved = W_hh + one_each(np.zeros_like(W_hh), np.array([at]), epsilon)
        return losses(case, case.params._replace(W_hh=moved))

    def errors(derivative, steps):
        return [abs(float(derivative(loss, h)[0]) - value - rest) / size for h in steps]

    third, L = abs(third_derivative(loss)), float(abs(loss(0.0)[0]))
    truncation, rounding = third / 6 / size, UNIT_ROUNDOFF * L / size
    central = errors(central_difference, STEPS)
    smaller = errors(complex_step, SMALLER)
    best = int(np.argmin(central))
    i, j = divmod(at, len(W_hh))
    return {
        "element": f"W_hh[{i + 1}, {j + 1}]",
        "value": value,
        "against": "by hand" if balls is None else "ball arithmetic",
        "steps": STEPS.tolist(),
        "central": central,
        "complex": errors(complex_step, STEPS),
        "smaller_steps": SMALLER.tolist(),
        "complex_smaller": smaller,
        "truncation": truncation,  # times h²: relative
        "rounding": rounding,  # over h: relative
        "predicted_step": float((rounding / (2 * truncation)) ** (1 / 3)) if truncation and rounding else None,
        "best_step": float(STEPS[best]),
        "best_error": central[best],
        "complex_error": max(smaller),
        "unit_roundoff": UNIT_ROUNDOFF,
    }


def third_derivative(loss) -> float:
    """L''' by the second difference of L', which is known to the last digits by complex step."""

    def slope(shift):
        return float(complex_step(lambda epsilon: loss(shift + epsilon))[0])

    return (slope(WIDE) - 2 * slope(0.0) + slope(-WIDE)) / WIDE**2
