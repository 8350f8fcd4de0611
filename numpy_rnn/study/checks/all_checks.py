"""The checks of all equations: those of a window on windows over the whole series, and the others."""

from collections.abc import Callable
from dataclasses import replace

from numpy_rnn.common.records import WindowCase
from numpy_rnn.study.checks.check_others import compare_others
from numpy_rnn.study.checks.check_step import compare_steps
from numpy_rnn.study.checks.check_truncation import check_truncations, truncations
from numpy_rnn.study.checks.comparison import (
    Comparison,
    Witnessed,
    check_equations,
    compare,
    evaluate,
    whole,
)
from numpy_rnn.study.checks.complex_step import (
    MAX_ELEMENTS,
    bounds,
    central_difference,
    differentiated,
)
from numpy_rnn.study.checks.equations import EQUATIONS, WINDOW, by_hand, problems
from numpy_rnn.study.checks.witnesses import autograd, balls, loops, rtrl
from numpy_rnn.study.findings import AFTER, BEFORE, Checks
from numpy_rnn.study.subject import Subject
from numpy_rnn.study.suite_parts import named, window_update

MISTAKE, WRONG = (
    "W_hh used without its transpose",
    "dW_hh",
)  # to show how far a wrong formula is off
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


def measure_checks(subject: Subject) -> Checks:
    """All equations: the largest difference from each witness, and one number as all of them have it."""
    cases, absent, comparisons = problems(subject), dict[str, str](), []
    for where, case in cases.items():
        hand = by_hand(case)
        E, results = bounds(case, hand), evaluate(WITNESSES, case, absent)
        comparisons.append(Comparison(WINDOW, hand, E, results, RUN, is_shown=where == AFTER))
    before, right = cases[BEFORE], comparisons[0]
    wrong = window_update(before, of=named(MISTAKE).definition)[WRONG]
    found = check_equations([*comparisons, *compare_steps(before, absent), *compare_others(before)])
    found |= check_truncations(subject)
    without = subject.start.b_h is None
    if without:
        found |= {id: replace(found[id], where=NO_BIAS) for id in BIASES}
    return Checks(
        equations={id: found[id] for id in EQUATIONS},
        absent=absent,
        places=list(cases),
        truncations=truncations(subject),
        biases_added=without,
        max_elements=MAX_ELEMENTS,
        wrong=compare(MISTAKE, right.hand[WRONG], whole(wrong), right.E[WRONG]),
    )
