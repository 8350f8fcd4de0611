"""Equations that a run of numbers and squared errors does not use, (F4), (L3), (L4) and the e = p − target of (B1).

They are checked on its hidden states, as outputs of a network whose classes are the units.
"""

from collections.abc import Iterator
from decimal import Decimal, localcontext
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.common.records import Activations, Objective, Parameters, WindowCase
from numpy_rnn.elman import one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.study.checks.comparison import Comparison, Results, Witnessed, from_exact, whole
from numpy_rnn.study.checks.complex_step import IMAGINARY
from numpy_rnn.study.checks.equations import OF_CLASSES
from numpy_rnn.study.suite_parts import (
    Floats,
    Values,
    bounds_of_losses,
    cross_entropy,
    initial_state,
)

DIGITS = 50
UNITS = "with the hidden states of this run as outputs, and each unit as a class"


def compare_others(case: WindowCase, rnn: Any = numpy_rnn) -> Iterator[Comparison]:
    """The equations as the functions of `rnn` compute them, and by witnesses; the numbers are those of the window."""
    y = numpy_rnn.forward(
        case.params, case.x, initial_state(case), nonlinearity=case.objective.nonlinearity
    ).h[1:]
    T, B, H = y.shape
    classes = (np.arange(T)[:, None] + np.arange(B)) % H  # by turns
    p, losses = decimals(y, classes)
    target = np.eye(H)[classes]
    results: Results = {
        "counting": {"x": whole([float(c == d) for c in classes.ravel() for d in range(H)])},
        "complex step": {"dy": softmax_by_complex_step(y, target)},
        f"{DIGITS} decimal digits": {
            "p": p,
            "losses": losses,
            "dy": whole(p.high, p.low - target.ravel()),
        },
    }
    network = Parameters(np.zeros((1, H)), np.zeros((H, H)), np.eye(H))  # y_t is h_t
    window = Activations(
        np.zeros((T, B, 1)), np.zeros_like(y), np.concatenate((np.zeros((1, B, H)), y)), y
    )
    hand = {
        "x": one_hot(classes, H, y.dtype),
        "p": softmax(y),
        "losses": np.array(
            [float(rnn.cross_entropy(y[t : t + 1], classes[t : t + 1])) for t in range(T)]
        ),
        "dy": rnn.adjoints(network, window, classes, loss="cross_entropy").dy,
    }
    yield Comparison(OF_CLASSES, hand, softmax_bounds(y, target), results, UNITS)


def softmax_bounds(y: np.ndarray, target: np.ndarray) -> Values:
    """E of (L4) and p − target, of each step alone; p is within that of p − target, which rounds more."""
    steps = bounds_of_losses(y, np.zeros_like(y), target, Objective(loss="cross_entropy"))
    losses, dy = (np.stack([one.E for one in part]) for part in zip(*steps))
    return {"p": dy, "losses": losses, "dy": dy}


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


def softmax_by_complex_step(y: np.ndarray, target: np.ndarray) -> Witnessed:
    """The derivative of (L4) by every output: Im ℓ(y + iδ) / δ. The outputs are at most 1."""
    moved = y[..., None, :] + 1j * IMAGINARY * np.eye(y.shape[-1])
    losses, _ = cross_entropy(Floats(np.float64), moved, target[..., None, :])
    return whole(losses.sum(axis=-1).imag / IMAGINARY)
