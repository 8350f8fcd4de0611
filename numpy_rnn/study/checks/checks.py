"""Every equation and its witnesses: (F1) to (B10) on windows over the whole series, and the collected findings."""

from collections.abc import Callable
from typing import Any

from numpy_rnn.app.format import to_jsonable
from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.study.checks.check_others import check_others
from numpy_rnn.study.checks.check_step import check_steps
from numpy_rnn.study.checks.check_truncation import check_truncations, truncations
from numpy_rnn.study.checks.complex_step import MAX_ELEMENTS, central_difference, complex_step, differentiated, v_curve
from numpy_rnn.study.checks.equations import WINDOW, Values, by_hand, problems
from numpy_rnn.study.checks.error_bounds import bounds
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
