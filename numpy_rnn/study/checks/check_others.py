"""Equations that a run of numbers and squared errors does not use, on numbers of the run.

(F4), (L3), (L4): its hidden states, as outputs of a network whose classes are the units. (U7) to (U9): its gradient.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Gradients
from numpy_rnn.conformance.bounds.global_bounds import TAU
from numpy_rnn.conformance.bounds.loss_bounds import softmax as bounded_softmax
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.case import Case
from numpy_rnn.elman import forward, one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.momentum import TINY
from numpy_rnn.study.checks.check_step import fractions, gradients_of, root, row
from numpy_rnn.study.checks.equations import Equation, Values, problems
from numpy_rnn.study.checks.witnesses import Check, Witnessed, compared, example, findings_of, of_fractions, whole
from numpy_rnn.study.setting import Setting

OTHERS = {
    "F4": Equation("classes as rows of 0 and 1, of the hidden units taken as classes", "x", "x"),
    "L3": Equation("softmax of the hidden states, taken as outputs", "p", "p"),
    "L4": Equation("cross-entropy of each step, of the hidden states taken as outputs", "ℓ", "losses"),
    "U7": Equation("gradients clipped by value, to half of the largest", "dθ", "by value"),
    "U8": Equation("sums of squares of Adagrad after two updates with the gradient", "v", "squares"),
    "U9": Equation("direction of Adagrad in the second update", "Δ", "adagrad"),
}
DIGITS = 50
WHERE = "before training"


def check_others(setting: Setting) -> dict[str, Any]:
    """The findings by id, as those of `check_window`."""
    case = next(problems(setting)).case
    y, classes, gradients = numbers_of(case)
    exact = fractions(row(gradients))
    limit = float(np.abs(row(gradients)).max()) / 2 or 1.0
    hand, E = by_hand(case, y, classes, gradients, limit), bounds(y, classes, exact)
    witnesses: dict[str, dict[str, Witnessed]] = {
        "F4": {"counting": whole([float(c == d) for c in classes.ravel() for d in range(y.shape[-1])])},
        **decimals(y, classes),
        "U7": {"exact fractions": of_fractions([max(-Fraction(limit), min(Fraction(limit), g)) for g in exact])},
        "U8": {"exact fractions": of_fractions([2 * g * g for g in exact])},
        "U9": {"exact fractions": of_fractions([g / root(2 * g * g + Fraction(TINY)) for g in exact])},
    }
    checks: dict[str, list[Check]] = {}
    examples: dict[str, Any] = {}
    for id, equation in OTHERS.items():
        value = hand[equation.name]
        checks[id] = compared(WHERE, value, E.get(equation.name, np.zeros(value.shape)), witnesses[id])
        examples[id] = example(equation, value, witnesses[id])
    return findings_of(OTHERS, checks, examples)


def numbers_of(case: Case) -> tuple[np.ndarray, np.ndarray, Gradients]:
    """Outputs (T, B, H) and classes (T, B) by turns, and the gradient of the case."""
    h_0 = case.h_0 if case.params.h_0 is None else case.params.h_0
    options: dict[str, Any] = {"nonlinearity": case.nonlinearity}
    y = forward(case.params, case.x, h_0, **options).h[1:]
    T, B, H = y.shape
    return y, (np.arange(T)[:, None] + np.arange(B)) % H, gradients_of(case, case.params)


def by_hand(
    case: Case, y: np.ndarray, classes: np.ndarray, gradients: Gradients, limit: float, rnn: Any = numpy_rnn
) -> Values:
    """What the functions of `numpy_rnn` compute."""
    velocity: Any = None
    for _ in range(2):
        delta, velocity = rnn.direction(case.params, gradients, velocity, adagrad=True)
    losses = [float(rnn.cross_entropy(y[t : t + 1], classes[t : t + 1])) for t in range(len(y))]
    return {
        "x": one_hot(classes, y.shape[-1], y.dtype),
        "p": softmax(y),
        "losses": np.array(losses),
        "by value": row(rnn.clip_by_value(gradients, limit)),
        "squares": row(velocity),
        "adagrad": row(delta),
    }


def bounds(y: np.ndarray, classes: np.ndarray, exact: list[Fraction]) -> Values:
    """E of (L3) and (L4), by the equivalence suite's formulas, and of (U8) and (U9); the others do not round.

    (U8) has a rounding for each square and one for the sum, all terms of one sign. (U9) takes half of its relative
    error under the root, and half of the rounding of that sum, a rounding of the root and one of the quotient.
    """
    rounding = Rounding(np.float64)
    of = bounded_softmax(y, np.zeros_like(y), rounding, TAU)
    chosen = np.take_along_axis(of.E_log_p, classes[..., None], axis=-1)
    loss = np.abs(np.take_along_axis(of.log_p, classes[..., None], axis=-1))
    B = y.shape[1]
    squares = np.array([float(2 * g * g) for g in exact])
    direction = np.abs(np.array(list(map(float, exact)))) / np.sqrt(squares + TINY)
    return {
        "p": of.E_p,
        "losses": (chosen + rounding.gamma(B + 1) * (loss + chosen)).sum(axis=(1, 2)),
        "squares": rounding.gamma(2) * squares + rounding.flushes(2),
        "adagrad": rounding.gamma(4) * direction + rounding.flushes(2),
    }


def decimals(y: np.ndarray, classes: np.ndarray) -> dict[str, dict[str, Witnessed]]:
    """(L3) and (L4) with 50 decimal digits, which need no shift."""
    p, losses = [], []
    with localcontext() as context:
        context.prec = DIGITS
        for y_t, classes_t in zip(y, classes):
            loss = Decimal(0)
            for row_of, c in zip(y_t.tolist(), classes_t.tolist()):
                terms = [Decimal(v).exp() for v in row_of]
                p += [term / sum(terms) for term in terms]
                loss -= (terms[c] / sum(terms)).ln()
            losses.append(loss)
        name = f"{DIGITS} decimal digits"
        return {"L3": {name: _of_decimals(p)}, "L4": {name: _of_decimals(losses)}}


def _of_decimals(numbers):
    high = [float(number) for number in numbers]
    return whole(high, [float(number - Decimal(nearest)) for number, nearest in zip(numbers, high)])
