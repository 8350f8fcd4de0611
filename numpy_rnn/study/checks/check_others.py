"""Equations that a run of numbers and squared errors does not use, checked on numbers of the run.

(F4), (L3), (L4) and the e = p − target of (B1) are checked on its hidden states, as outputs of a network whose classes
are the units, (U7) to (U9) on its gradient.
"""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Gradients, Parameters, WindowCase
from numpy_rnn.elman import one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.momentum import TINY
from numpy_rnn.study.checks.check_step import fractions, gradients_of, root
from numpy_rnn.study.checks.complex_step import IMAGINARY
from numpy_rnn.study.checks.equations import OTHERS, SOFTMAX, initial_state, problems, row
from numpy_rnn.study.checks.witnesses import EquationChecker, Witnessed, from_exact, whole
from numpy_rnn.study.findings import EquationCheck
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.suite_parts import ROUNDING, Values, softmax_bounds

DIGITS = 50
UNITS = "with the hidden states of this run as outputs, and each unit as a class"
GRADIENT = "on the gradient of this run before training"


def check_others(subject: Subject) -> dict[str, EquationCheck]:
    """The findings by id."""
    case = problems(subject)["before training"]
    y, classes, gradients = numbers_of(case)
    exact = fractions(row(gradients))
    limit = float(np.abs(row(gradients)).max()) / 2 or 1.0
    hand, E = others_by_hand(case, y, classes, gradients, limit), bounds_of_others(y, classes, exact)
    witnesses: dict[str, dict[str, Witnessed]] = {
        "F4": {"counting": whole([float(c == d) for c in classes.ravel() for d in range(y.shape[-1])])},
        **decimals(y, classes),
        SOFTMAX: {"complex step": softmax_by_complex_step(y, classes)},
        "U7": {"exact fractions": from_exact([max(-Fraction(limit), min(Fraction(limit), g)) for g in exact])},
        "U8": {"exact fractions": from_exact([2 * g * g for g in exact])},
        "U9": {"exact fractions": from_exact([g / root(2 * g * g + Fraction(TINY)) for g in exact])},
    }
    witnesses[SOFTMAX] |= {name: p_minus_row(p, classes) for name, p in witnesses["L3"].items()}
    result = {}
    for id, equation in OTHERS.items():
        checker, value = EquationChecker(equation), hand[equation.name]
        checker.add(value, E.get(equation.name, np.zeros(value.shape)), witnesses[id])
        checker.show(value, witnesses[id], case.params if id[0] == "U" else None)
        result[id] = checker.findings(GRADIENT if id[0] == "U" else UNITS)
    return result


def numbers_of(case: WindowCase) -> tuple[np.ndarray, np.ndarray, Gradients]:
    """Outputs (T, B, H), classes (T, B) by turns, and the gradient of the case."""
    y = numpy_rnn.forward(case.params, case.x, initial_state(case), nonlinearity=case.objective.nonlinearity).h[1:]
    T, B, H = y.shape
    return y, (np.arange(T)[:, None] + np.arange(B)) % H, gradients_of(case)


def others_by_hand(
    case: WindowCase, y: np.ndarray, classes: np.ndarray, gradients: Gradients, limit: float, rnn: Any = numpy_rnn
) -> Values:
    """The values that the functions of `rnn` compute, by name."""
    velocity: Any = None
    for _ in range(2):
        delta, velocity = rnn.direction(case.params, gradients, velocity, adagrad=True)
    losses = [float(rnn.cross_entropy(y[t : t + 1], classes[t : t + 1])) for t in range(len(y))]
    T, B, H = y.shape
    network = Parameters(np.zeros((1, H)), np.zeros((H, H)), np.eye(H))  # y_t is h_t
    states = np.concatenate((np.zeros((1, B, H)), y))
    window = Activations(np.zeros((T, B, 1)), np.zeros_like(y), states, y)
    return {
        "x": one_hot(classes, y.shape[-1], y.dtype),
        "p": softmax(y),
        "losses": np.array(losses),
        "dy": rnn.adjoints(network, window, classes, loss="cross_entropy").dy,
        "by value": row(rnn.clip_by_value(gradients, limit)),
        "squares": row(velocity),
        "adagrad": row(delta),
    }


def bounds_of_others(y: np.ndarray, classes: np.ndarray, exact: list[Fraction]) -> Values:
    """E of (L3) and (L4), by the conformance suite's formulas, of p − target, and of (U8) and (U9); the others do not
    round.

    p − target has the rounding of a product with Σ target = 1 and of the difference.
    (U8) has a rounding for each square and one for the sum, all terms of one sign. (U9) takes half of its relative
    error under the root, and half of the rounding of that sum, a rounding of the root and one of the quotient.
    """
    E_p, log_p, E_log_p = softmax_bounds(y)
    chosen = np.take_along_axis(E_log_p, classes[..., None], axis=-1)
    loss = np.abs(np.take_along_axis(log_p, classes[..., None], axis=-1))
    squares = np.array([float(2 * g * g) for g in exact])
    direction = np.abs(np.array(list(map(float, exact)))) / np.sqrt(squares + TINY)
    return {
        "p": E_p,
        "dy": E_p + ROUNDING.gamma(2) * (1 + E_p),
        "losses": (chosen + ROUNDING.gamma(y.shape[1] + 1) * (loss + chosen)).sum(axis=(1, 2)),
        "squares": ROUNDING.gamma(2) * squares + ROUNDING.flushes(2),
        "adagrad": ROUNDING.gamma(4) * direction + ROUNDING.flushes(2),
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
        return {"L3": {name: from_exact(p)}, "L4": {name: from_exact(losses)}}


def p_minus_row(p: Witnessed, classes: np.ndarray) -> Witnessed:
    """p − target, the target a row of 0 and 1, to the digits of p."""
    target = np.zeros((classes.size, p.high.size // classes.size))
    target[np.arange(classes.size), classes.ravel()] = 1
    return whole(p.high, p.low - target.ravel())


def softmax_by_complex_step(y: np.ndarray, classes: np.ndarray) -> Witnessed:
    """The derivative of (L4), log Σ_k exp(y_k) − y_c, by every output: Im ℓ(y + iδ) / δ. Its outputs are at most 1."""
    moved = y[..., None, :] + 1j * IMAGINARY * np.eye(y.shape[-1])
    chosen = np.take_along_axis(moved, classes[..., None, None], axis=-1)[..., 0]
    return whole((np.log(np.exp(moved).sum(axis=-1)) - chosen).imag / IMAGINARY)
