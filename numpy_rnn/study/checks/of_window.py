"""(F1) to (B10) beside their witnesses, on windows over the whole series."""

from collections.abc import Callable
from typing import Any

from numpy_rnn.conformance.case import Case
from numpy_rnn.conformance.mutants.catalogue import load, named
from numpy_rnn.study.checks.autograd import autograd
from numpy_rnn.study.checks.balls import balls
from numpy_rnn.study.checks.carried import bounds
from numpy_rnn.study.checks.comparing import Witnessed, compare, whole
from numpy_rnn.study.checks.equations import WINDOW
from numpy_rnn.study.checks.gathering import Check, compared, example, findings_of, finite, said_by
from numpy_rnn.study.checks.loops import loops
from numpy_rnn.study.checks.problem import Values, by_hand, problems
from numpy_rnn.study.checks.rtrl import rtrl
from numpy_rnn.study.checks.stepping import central_difference, complex_step, differentiated
from numpy_rnn.study.checks.v_curve import v_curve
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


def of_window(setting: Setting, absent: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(F1) to (B10), and two things at the start of training: the V-curve, and how far off a mistake is."""
    checks: dict[str, list[Check]] = {id: [] for id in WINDOW}
    examples, more = {}, {}
    for place, problem in enumerate(problems(setting)):
        hand = by_hand(problem.case)
        E, said = bounds(problem.case, hand), said_by(WITNESSES, problem.case, absent)
        for id, equation in WINDOW.items():
            of_tensor = {name: values[equation.name] for name, values in said.items() if equation.name in values}
            checks[id] += compared(problem.where, hand[equation.name], E[equation.name], of_tensor)
            if place == SHOWN:
                examples[id] = example(equation, hand[equation.name], of_tensor)
        if place == 0:
            more["v_curve"] = v_curve(problem.case, hand, said.get("ball arithmetic"))
            more["wrong"] = wrong(problem.case, hand, E)
    return findings_of(WINDOW, checks, examples), more


def wrong(case: Case, hand: Values, E: Values) -> dict[str, Any]:
    """How far a gradient is off, in units of its bound, when one of the equivalence suite's mutants computes it."""
    name = WINDOW[WRONG].name
    off = compare(hand[name], whole(by_hand(case, load(named(MISTAKE)))[name]), E[name])
    return {"mistake": MISTAKE, "quantity": WINDOW[WRONG].quantity, "bounds": finite(off.bounds)}


def _whole(values: Values) -> dict[str, Witnessed]:
    return {name: whole(v) for name, v in values.items()}
