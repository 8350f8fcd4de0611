"""Equations that a run of numbers and squared errors does not use, checked on numbers of the run.

(F4), (L3), (L4) and the e = p − target of (B1) are checked on its hidden states, as outputs of a network whose classes
are the units, (U7) to (U9) on its gradient.
"""

from collections.abc import Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Parameters, WindowCase
from numpy_rnn.elman import one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.momentum import TINY
from numpy_rnn.study.checks.check_step import gradients_of, root
from numpy_rnn.study.checks.comparison import Comparison, Results, Witnessed, fractions, from_exact, whole
from numpy_rnn.study.checks.complex_step import IMAGINARY
from numpy_rnn.study.checks.equations import OF_CLASSES, OF_GRADIENTS, row
from numpy_rnn.study.suite_parts import ROUNDING, Values, initial_state, softmax_bounds

DIGITS = 50
UNITS = "with the hidden states of this run as outputs, and each unit as a class"
GRADIENT = "on the gradient of this run before training"


def compare_others(case: WindowCase, rnn: Any = numpy_rnn) -> Iterator[Comparison]:
    """The equations as the functions of `rnn` compute them, and by witnesses; the numbers are those of the window."""
    y = numpy_rnn.forward(case.params, case.x, initial_state(case), nonlinearity=case.objective.nonlinearity).h[1:]
    T, B, H = y.shape
    classes = (np.arange(T)[:, None] + np.arange(B)) % H  # by turns
    p, losses = decimals(y, classes)
    target = np.eye(H)[classes]
    results: Results = {
        "counting": {"x": whole([float(c == d) for c in classes.ravel() for d in range(H)])},
        "complex step": {"dy": softmax_by_complex_step(y, classes)},
        f"{DIGITS} decimal digits": {"p": p, "losses": losses, "dy": whole(p.high, p.low - target.ravel())},
    }
    network = Parameters(np.zeros((1, H)), np.zeros((H, H)), np.eye(H))  # y_t is h_t
    window = Activations(np.zeros((T, B, 1)), np.zeros_like(y), np.concatenate((np.zeros((1, B, H)), y)), y)
    hand = {
        "x": one_hot(classes, H, y.dtype),
        "p": softmax(y),
        "losses": np.array([float(rnn.cross_entropy(y[t : t + 1], classes[t : t + 1])) for t in range(T)]),
        "dy": rnn.adjoints(network, window, classes, loss="cross_entropy").dy,
    }
    yield Comparison(OF_CLASSES, hand, softmax_bounds_by_name(y, classes), results, UNITS)

    gradients = gradients_of(case)
    limit = float(np.abs(row(gradients)).max()) / 2 or 1.0
    g, velocity = fractions(row(gradients)), None
    for _ in range(2):
        delta, velocity = rnn.direction(case.params, gradients, velocity, adagrad=True)
    hand = {"by value": row(rnn.clip_by_value(gradients, limit)), "squares": row(velocity), "adagrad": row(delta)}
    exact = {
        "by value": [max(-Fraction(limit), min(Fraction(limit), v)) for v in g],
        "squares": [2 * v * v for v in g],
        "adagrad": [v / root(2 * v * v + Fraction(TINY)) for v in g],
    }
    results = {"exact fractions": {name: from_exact(values) for name, values in exact.items()}}
    yield Comparison(OF_GRADIENTS, hand, adagrad_bounds(row(gradients)), results, GRADIENT, params=case.params)


def softmax_bounds_by_name(y: np.ndarray, classes: np.ndarray) -> Values:
    """E of (L3) and (L4), by the conformance suite's formulas, and of p − target; classes do not round.

    p − target has the rounding of a product with Σ target = 1 and of the difference.
    """
    E_p, log_p, E_log_p = softmax_bounds(y)
    chosen = np.take_along_axis(E_log_p, classes[..., None], axis=-1)
    loss = np.abs(np.take_along_axis(log_p, classes[..., None], axis=-1))
    return {
        "p": E_p,
        "dy": E_p + ROUNDING.gamma(2) * (1 + E_p),
        "losses": (chosen + ROUNDING.gamma(y.shape[1] + 1) * (loss + chosen)).sum(axis=(1, 2)),
    }


def adagrad_bounds(g: np.ndarray) -> Values:
    """E of (U8) and (U9); clipping by value does not round.

    (U8) has a rounding for each square and one for the sum, all terms of one sign. (U9) takes half of its relative
    error under the root, and half of the rounding of that sum, a rounding of the root and one of the quotient.
    """
    squares = 2 * g * g
    direction = np.abs(g) / np.sqrt(squares + TINY)
    return {
        "squares": ROUNDING.gamma(2) * squares + ROUNDING.flushes(2),
        "adagrad": ROUNDING.gamma(4) * direction + ROUNDING.flushes(2),
    }


def decimals(y: np.ndarray, classes: np.ndarray) -> tuple[Witnessed, Witnessed]:
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
        return from_exact(p), from_exact(losses)


def softmax_by_complex_step(y: np.ndarray, classes: np.ndarray) -> Witnessed:
    """The derivative of (L4), log Σ_k exp(y_k) − y_c, by every output: Im ℓ(y + iδ) / δ. Its outputs are at most 1."""
    moved = y[..., None, :] + 1j * IMAGINARY * np.eye(y.shape[-1])
    chosen = np.take_along_axis(moved, classes[..., None, None], axis=-1)[..., 0]
    return whole((np.log(np.exp(moved).sum(axis=-1)) - chosen).imag / IMAGINARY)
