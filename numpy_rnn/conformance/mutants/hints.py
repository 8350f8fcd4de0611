"""Hints: what a wrong port looks like. A hint is a mutant or an edit of the definition
whose number is measured, not a verdict.

It gives all wrong numbers of several cases: of the gradients, or where they are right,
of the step. A forward mutant gives those of the forward pass, as the gradients may be
those of autograd. Where right tensors would be wrong too, the hint says which ones are:
", in db_h alone".
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from numpy_rnn.common.records import Step
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import NamedArrays, WindowCase
from numpy_rnn.conformance.mutants.edits import FORWARD_EQUATIONS, Mutant, rounded
from numpy_rnn.conformance.mutants.families import (
    DIGITS,
    FEW_STEPS,
    Family,
    step_mistakes,
    window_mistakes,
)
from numpy_rnn.conformance.mutants.fits import (
    Fit,
    Hypothesis,
    Measured,
    falling_numbers,
    same_number,
    same_product,
    subject,
)
from numpy_rnn.conformance.ports.abilities import stated_by
from numpy_rnn.conformance.ports.port import Port, call_port
from numpy_rnn.conformance.ports.protocol import PortFault
from numpy_rnn.conformance.random_cases import PLAIN, CaseSpec, without_unsupported

MANY = 4  # numbers of a fit, that one number does not explain by chance
FEWEST_DIGITS = 8  # numbers whose digits are looked at
BEFORE = {"loss", "a", "h", "y"}  # the backward pass
HINT_SIZES = (
    {"T": 11, "B": 3, "D": 2, "H": 4, "O": 5, "K": 7},
    {"T": 7, "B": 2, "D": 3, "H": 5, "O": 4, "K": 4},
)
STATEFUL = (
    "another answer to the same case: noise, or gradients or states kept from "
    "call to call"
)


def hint_specs(port: Port, spec: CaseSpec) -> Iterator[CaseSpec]:
    """Yield specs like this one, of several steps: after another update; the first;
    large numbers.

    The second has other options of the step, and clips every tensor; the third clips
    nothing.
    """
    stated = stated_by(port)
    dtype = "float64" if "float64" in port.dtypes else spec.dtype
    for number, usual in enumerate((*HINT_SIZES, HINT_SIZES[0])):
        sizes: dict[str, Any] = dict(usual)
        if number == 0:
            sizes["T"] = max(spec.T, sizes["T"])
        own = stated.sizes[number % len(stated.sizes)] if stated.sizes else {}
        sizes |= own
        if "K" not in own:
            sizes["K"] = sizes["T"] if spec.K == spec.T else min(7, sizes["T"])
        changed = spec._replace(
            **PLAIN,
            **sizes,
            velocity=number != 1,
            gain=3.0 if number == 2 else 1.0,
            step=_hint_step(spec.step, number),
            dtype=dtype,
            seed=spec.seed + number,
        )
        yield without_unsupported(changed, stated)


def _hint_step(step: Step | None, number: int) -> Step | None:
    """Return the step of one of the specs for hints."""
    if step is None:
        return None
    step = step._replace(learning_rate=step.learning_rate or 0.1)
    factors: dict[str, float] = {}
    if number == 1:
        factors = dict.fromkeys(Step._fields, 0.6) | {"max_norm": 1e-3}
    if number == 2:
        factors = {"max_norm": 1e3, "max_value": 1e3}
    for name, factor in factors.items():
        value = getattr(step, name)
        if value and value is not True:
            step = step._replace(**{name: factor * value})
    return step


def hint_for_port(port: Port, spec: CaseSpec | None, case: WindowCase) -> str:
    """Return the hint for a port that is wrong on this case, of this spec; "" if
    nothing fits.
    """
    others = [] if spec is None else list(hint_specs(port, spec))
    fits = list[Fit]()
    for each in (*(other.case() for other in others), case):
        try:
            report, again = call_port(port, each), call_port(port, each)
        except PortFault:
            return ""
        for given in (report, again):
            if cases.format_errors(each, given, False):
                return ""
        for name, array in report.items():
            if not np.allclose(array, again[name], 1e-3, 1e-3):
                return STATEFUL
        fits.append(Fit(each, report))
    *usual, own = fits
    wrong = [fit for fit in usual if fit.wrong] or [own]
    return explanation([*wrong, *(fit for fit in usual if not fit.wrong)])


def explanation(fits: Sequence[Fit]) -> str:
    """Return the hint for these reports, of one port or one run; "" if nothing fits."""
    wrong = wrong_names(fits)
    if not wrong:
        return ""
    sizes = dict[str, int]()
    for fit in fits:
        for letter, size in cases.case_sizes(fit.case).items():
            sizes[letter] = max(size, sizes.get(letter, 1))
    is_step = not any(fit.wrong & fit.flow for fit in fits)
    if is_step:
        known = step_mistakes()
        has_none = not any(fit.case.velocity for fit in fits)
        is_alike = has_none and fits[0].step.has_velocity
    else:
        known = window_mistakes(sizes, bool(wrong & BEFORE))
        is_alike = sizes["T"] < FEW_STEPS  # where many mistakes are alike
    mistakes = (mistake_of(each, is_step) for each in known)
    return first_of(fits, mistakes, is_alike) or digits_of(fits)


def wrong_names(fits: Sequence[Fit]) -> set[str]:
    """Return the wrong tensors of a window; where there are none, those of its step."""
    every = set[str]().union(*(fit.wrong for fit in fits))
    return every & fits[0].flow or every


def mistake_of(each: Mutant | Family, is_step: bool = False) -> Hypothesis:
    """Return a mistake of a window, or of a step from the reported gradients."""
    made = each.equations

    def values(fit: Fit, number: float) -> NamedArrays:
        """Return the tensors of a case under the mistake."""
        equations = made(number) if callable(made) else made
        return fit.step_of(equations) if is_step else fit.window_of(equations)

    keys = (made(1.0) if callable(made) else made).keys()
    is_forward = keys <= FORWARD_EQUATIONS
    if isinstance(each, Mutant):
        return Hypothesis(each.name, values, is_forward=is_forward)
    return Hypothesis(each.plain, values, each.at, each.words, each.start, is_forward)


def first_of(
    fits: Sequence[Fit], mistakes: Iterable[Hypothesis], only: bool = False
) -> str:
    """Return the words of the first mistake that explains all of these; only: if none
    of other words does.
    """
    texts, partly = set[str](), ""
    with np.errstate(all="ignore"):  # a wrong gradient may well overflow
        for mistake in mistakes:
            text, others = words_of(mistake, fits)
            if text and others:
                partly = partly or text + others
            elif text:
                texts.add(text)
            if len(texts) > only:
                break
    if not texts and not only:
        return partly
    return texts.pop() if len(texts) == 1 else ""


def words_of(mistake: Hypothesis, fits: Sequence[Fit]) -> tuple[str, str]:
    """Return the words of a mistake, if it explains all of these fits, or ""; and where
    tensors are right that it would change, those that are wrong.
    """
    wrong, names = wrong_names(fits), {*fits[0].report}
    if mistake.is_forward:
        names &= BEFORE
    wrong &= names
    if not wrong:
        return "", ""
    numbers, text, words = [mistake.at] * len(fits), "", mistake.plain
    try:
        is_found = words and mistake.explains(fits, numbers, wrong)
        if mistake.words and not is_found:
            text, numbers = solved(mistake, fits, wrong)
            words = mistake.words
            is_found = text and mistake.explains(fits, numbers, wrong)
        if not is_found:
            return "", ""
        followers = set[str]()
        for fit, number in zip(fits, numbers):
            values = mistake.values(fit, number)
            followers |= {n for n in names & values.keys() if fit.is_off(n, values)}
    except (LookupError, ValueError, AttributeError, TypeError):
        return "", ""  # it does not apply to these cases
    own, others = subject(fits, wrong), ""
    if "{names}" not in words and followers - wrong:
        others = f", in {own} alone"
    return words.replace("{number}", text).replace("{names}", own), others


def solved(
    mistake: Hypothesis, fits: Sequence[Fit], wrong: set[str]
) -> tuple[str, list[float]]:
    """Return the number of a mistake in words, and for each fit; "" if none fits."""
    rtol = max(1e-6 if fit.eps < 1e-12 else 1e-3 for fit in fits)
    measured, count = list[Measured](), 0
    found = "", list[float]()
    for fit in fits:
        names = sorted(fit.wrong & wrong)
        if not names:
            continue
        start = mistake.start(fit) if callable(mistake.start) else mistake.start
        number = fit.solve(mistake.values, start, names)
        if number is None:
            return "", []
        count += sum(fit.report[name].size for name in names)
        if number[1] < rtol * max(abs(number[0]), rtol):
            measured.append(Measured(fit, *number))
            found = agreed(mistake, fits, measured, rtol)
        if len(measured) > 1 and not found[0] and count < MANY * len(measured):
            return found  # few numbers, which have nothing in common
    if not measured or (count < MANY and len(measured) < 2):
        return "", []  # a number of its own explains any number
    if not found[0] and "× {number}" in mistake.words and count >= MANY * len(measured):
        return falling_numbers(fits, measured, rtol)
    return found


def agreed(
    mistake: Hypothesis, fits: Sequence[Fit], measured: Sequence[Measured], rtol: float
) -> tuple[str, list[float]]:
    """Return the number, or the product of sizes, that all numbers are, in words."""
    if "× {number}" in mistake.words:
        product = same_product(fits, measured, rtol)
        if product[0]:
            return product
    return same_number(fits, measured, rtol)


def digits_of(fits: Sequence[Fit]) -> str:
    """Return the dtype of which the wrong numbers are, if it has fewer digits than that
    of the port.
    """
    wrong = wrong_names(fits)
    numbers = [fit.report[name].ravel() for fit in fits for name in wrong]
    every = np.concatenate([np.zeros(0), *numbers])
    every = every[every != 0]
    for bits, dtype in DIGITS.items():
        is_less = bits < -np.log2(fits[0].eps) and len(every) >= FEWEST_DIGITS
        if is_less and np.array_equal(rounded(bits, every), every):
            return f"{subject(fits, wrong)} with the digits of {dtype}"
    return ""
