"""Level L2: how far from the true values of a window any correct computation of it may lie.

A bound E is carried through the window, stage by stage, around the values of the oracle. Nothing but the loss, the
gradients and the new parameters need be reported. Notation: v the exact value, ṽ what is computed, |ṽ − v| ≤ E;
u the unit roundoff of the case's dtype; γ_n = n·u/(1 − n·u).

Correct is what rounds every operation to nearest, in the case's dtype or a wider one: sums in any order, with or
without fused multiply-add, subnormal numbers kept or flushed to zero, 1 − h² by any of its factorisations, "mean" by
division or by a product with the reciprocal, the SGD step as `step.py` says. Excluded are products of matrices by fewer
multiplications (Strassen) and numbers out of the dtype's range.

Source: Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition: sections 2.2 (the model of arithmetic) and
3.1 to 3.5 (γ_n; inner products and products of matrices, in any order).
"""

import numpy as np

from numpy_rnn.conformance.bounds.local_bounds import TAU, ratios
from numpy_rnn.conformance.bounds.oracle import Enclosure, oracle
from numpy_rnn.conformance.bounds.propagation import propagate, sech_squared
from numpy_rnn.conformance.case import Case, owed

Bounds = dict[str, tuple[Enclosure, np.ndarray]]


def global_bounds(case: Case, tau: float = TAU) -> Bounds:
    """Of every tensor that the case may owe: the oracle's values, and E in the same shape.

    tau: τ, the error of tanh in units of u|h|: twice its largest error in ulps. Where E reaches over the kink of
    a relu, so that its derivative is open, the bound is that wide.

    Raises InputError where the oracle does, and if the sums are so long that γ_n is not defined.
    """
    values = oracle(case)
    E = propagate(case, values, tau)
    return {name: (value, E[name]) for name, value in values.items()}


def check_global(
    case: Case, report: dict, tau: float = TAU, other: dict | None = None, bounds: Bounds | None = None
) -> dict[str, np.ndarray]:
    """Of every owed tensor, and of the others that are there: |reported − value| / (E + radius), by element.

    With the report of another port instead: |a − b| / 2E. A pair of correct ports is never above 1. `bounds`: those of
    `global_bounds` for this case, if they are known. What is missing or has another shape, and NaN, give infinity;
    dtype and completeness of a report are the affair of `case.form_faults`.
    """
    found, needed = {}, owed(case, intermediates=False)
    reports = [report] if other is None else [report, other]
    for name, (value, E) in (bounds or global_bounds(case, tau)).items():
        arrays = [np.asarray(given[name], np.float64) for given in reports if name in given]
        if name not in needed and len(arrays) < len(reports):
            continue
        if [array.shape for array in arrays] != [E.shape] * len(reports):
            found[name] = np.full(E.shape, np.inf)
        elif other is None:
            found[name] = ratios(value.difference(arrays[0]), E + value.radius)
        else:
            found[name] = ratios(arrays[0] - arrays[1], 2 * E)
    return found


def truncation_signal(case: Case, bounds: Bounds | None = None) -> float:
    """How clearly dW_hh shows that gradients flow from step to step: the largest |contribution| / 10 E of its elements.

    The contribution is the part of dW_hh that comes with the terms da_{t+1} W_hhᵀ. Below 1, a port that drops them, or
    one step of them, could pass; so cases to find faults with have much more. 0 for a window of one step.
    """
    bounds = bounds or global_bounds(case)
    (a, _), (h, _), (da, _), (_, E) = (bounds[name] for name in ("a", "h", "da", "dW_hh"))
    slope = sech_squared(a.high) if case.nonlinearity == "tanh" else h.high > 0
    from_later = da.high[1:] @ case.params.W_hh.T.astype(np.float64) * slope[:-1]
    h_before = np.concatenate((case.h_0[None], h.high[:-1]))
    contribution = np.einsum("tbi,tbj->ij", h_before[:-1], from_later)
    return float(ratios(contribution, 10 * E).max())
