"""Every equation and its witnesses, and the collected findings.

(F1) to (B10) are checked on windows over the whole series. Equations that a run of numbers and squared errors does not
use are checked on numbers of the run: (F4), (L3) and (L4) on its hidden states, as outputs of a network whose classes
are the units, (U7) to (U9) on its gradient.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np

import numpy_rnn
from numpy_rnn.app.format import to_jsonable
from numpy_rnn.common.records import Gradients
from numpy_rnn.conformance.bounds.global_bounds import TAU
from numpy_rnn.conformance.bounds.loss_bounds import softmax as bounded_softmax
from numpy_rnn.conformance.bounds.rounding import Rounding
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.elman import forward, one_hot
from numpy_rnn.loss import softmax
from numpy_rnn.momentum import TINY
from numpy_rnn.study.checks.check_step import check_steps, fractions, gradients_of, root, row
from numpy_rnn.study.checks.check_truncation import check_truncations, truncations
from numpy_rnn.study.checks.complex_step import (
    MAX_ELEMENTS,
    bounds,
    central_difference,
    complex_step,
    differentiated,
    v_curve,
)
from numpy_rnn.study.checks.equations import WINDOW, Equation, Values, by_hand, problems
from numpy_rnn.study.checks.witnesses import (
    Check,
    Witnessed,
    autograd,
    balls,
    compare,
    compared,
    evaluate,
    example,
    findings_of,
    loops,
    of_fractions,
    rtrl,
    whole,
)
from numpy_rnn.study.setting import Setting

MISTAKE, WRONG = "W_hh used without its transpose", "B5"  # to show how far a wrong formula is off
SHOWN = 1  # of the problems: whose elements are shown as examples

WITNESSES: dict[str, Callable[[Case], dict[str, Witnessed]]] = {
    "plain loops": lambda case: _whole(loops(case)),
    "ball arithmetic": balls,
    "complex step": lambda case: differentiated(case, complex_step),
    "RTRL": lambda case: _whole(rtrl(case)),
    "autograd": lambda case: _whole(autograd(case)),
    "central difference": lambda case: differentiated(case, central_difference),
}


def check_window(setting: Setting, absent: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(F1) to (B10), and two things at the start of training: the V-curve, and how far off a mistake is."""
    checks: dict[str, list[Check]] = {id: [] for id in WINDOW}
    examples, more = {}, {}
    for place, problem in enumerate(problems(setting)):
        hand = by_hand(problem.case)
        E, results = bounds(problem.case, hand), evaluate(WITNESSES, problem.case, absent)
        for id, equation in WINDOW.items():
            of_tensor = {name: values[equation.name] for name, values in results.items() if equation.name in values}
            checks[id] += compared(problem.where, hand[equation.name], E[equation.name], of_tensor)
            if place == SHOWN:
                examples[id] = example(equation, hand[equation.name], of_tensor)
        if place == 0:
            more["v_curve"] = v_curve(problem.case, hand, results.get("ball arithmetic"))
            more["wrong"] = wrong(problem.case, hand, E)
    return findings_of(WINDOW, checks, examples), more


def wrong(case: Case, hand: Values, E: Values) -> dict[str, Any]:
    """How far a gradient is off, in units of its bound, when one of the equivalence suite's mutants computes it."""
    name = WINDOW[WRONG].name
    off = compare(hand[name], whole(by_hand(case, load(named(MISTAKE)))[name]), E[name])
    return {"mistake": MISTAKE, "quantity": WINDOW[WRONG].quantity, "bounds": to_jsonable(off.bounds)}


def _whole(values: Values) -> dict[str, Witnessed]:
    return {name: whole(v) for name, v in values.items()}


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
    hand, E = others_by_hand(case, y, classes, gradients, limit), bounds_of_others(y, classes, exact)
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


def others_by_hand(
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


def bounds_of_others(y: np.ndarray, classes: np.ndarray, exact: list[Fraction]) -> Values:
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


def measure_checks(setting: Setting) -> dict[str, Any]:
    """Of every equation: the largest difference from each witness, and one number as all of them have it.

    See `witnesses.Difference` for the units. "absent" has the reason for each witness that is not available.
    """
    absent: dict[str, str] = {}
    window, more = check_window(setting, absent)
    steps, options = check_steps(setting, absent)
    equations = window | check_truncations(setting) | steps
    witnesses = dict.fromkeys(check["witness"] for result in equations.values() for check in result["checks"])
    return {
        "witnesses": list(witnesses),
        "absent": [{"name": name, "reason": reason} for name, reason in absent.items()],
        "places": [problem.where for problem in problems(setting)],
        "equations": equations,
        "others": check_others(setting),
        "largest": [{"witness": name, **_largest_of_witness(equations, name)} for name in witnesses],
        "most_elements": MAX_ELEMENTS,
        "options": options,
        "biases_added": setting.start.b_h is None,
        "truncations": [list(pair) for pair in truncations(setting)],
        **more,
    }


def _largest_of_witness(equations, witness):
    result = [check for one in equations.values() for check in one["checks"] if check["witness"] == witness]
    return {
        unit: None if any(check[unit] is None for check in result) else max(check[unit] for check in result)
        for unit in ("ulps", "bounds")
    }
