"""Every equation and its witnesses: those of a window on windows over the whole series, and the findings of all."""

from collections.abc import Callable

from numpy_rnn.common.records import WindowCase
from numpy_rnn.study.checks.check_others import check_others
from numpy_rnn.study.checks.check_step import check_steps
from numpy_rnn.study.checks.check_truncation import check_truncations, truncations
from numpy_rnn.study.checks.complex_step import MAX_ELEMENTS, bounds, central_difference, differentiated
from numpy_rnn.study.checks.equations import EQUATIONS, WINDOW, by_hand, problems
from numpy_rnn.study.checks.witnesses import (
    EquationChecker,
    Witnessed,
    autograd,
    balls,
    compare,
    evaluate,
    loops,
    named,
    rtrl,
    whole,
)
from numpy_rnn.study.findings import Checks, WrongFormula
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.suite_parts import Values, mutant

MISTAKE, WRONG = "W_hh used without its transpose", "B5"  # to show how far a wrong formula is off
FIRST, SHOWN = "before training", "after training"  # the problems of the wrong formula, and of the elements shown
RUN, NO_BIAS = "after training, in this run", "with biases of zero, which this run does not have"
BIASES = ("B7", "B8")

WITNESSES: dict[str, Callable[[WindowCase], dict[str, Witnessed]]] = {
    "plain loops": loops,
    "ball arithmetic": balls,
    "complex step": differentiated,
    "RTRL": rtrl,
    "autograd": autograd,
    "central difference": lambda case: differentiated(case, central_difference),
}


def wrong_formula(case: WindowCase, hand: Values, E: Values) -> WrongFormula:
    """How far a gradient is off, in units of its bound, when a mutant of the conformance suite computes it."""
    _, quantity, name = WINDOW[WRONG]
    off = compare(MISTAKE, hand[name], whole(mutant(MISTAKE).window_update(case)[name]), E[name])
    return WrongFormula(MISTAKE, quantity, off.bounds)


def measure_checks(subject: Subject) -> Checks:
    """All equations: the largest difference from each witness, and one number as all of them have it."""
    checkers = {id: EquationChecker(equation) for id, equation in WINDOW.items()}
    cases, absent = problems(subject), dict[str, str]()
    for where, case in cases.items():
        hand = by_hand(case)
        E, results = bounds(case, hand), evaluate(WITNESSES, case, absent)
        for checker in checkers.values():
            name = checker.equation.name
            checker.add(hand[name], E[name], named(results, name))
            if where == SHOWN:
                checker.show(hand[name], named(results, name))
        if where == FIRST:
            wrong = wrong_formula(case, hand, E)
    without = subject.start.b_h is None
    found = {id: checker.findings(NO_BIAS if without and id in BIASES else RUN) for id, checker in checkers.items()}
    found |= check_truncations(subject) | check_steps(subject, absent) | check_others(subject)
    return Checks(
        equations={id: found[id] for id in EQUATIONS},
        absent=absent,
        places=list(cases),
        truncations=truncations(subject),
        biases_added=without,
        max_elements=MAX_ELEMENTS,
        wrong=wrong,
    )
