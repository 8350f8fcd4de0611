"""The number of a mutant that is measured, such as a factor: one number, or one product
of sizes, in all fits.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.mutants.edits import Mutant
from numpy_rnn.conformance.mutants.fits import Fit, Measured

MANY = 4  # numbers of a fit, that one number does not explain by chance
DOUBLE_RTOL = 1e-6  # of numbers that are equal, measured by reports in float64
SINGLE_RTOL = 1e-3  # in float32
MOST_DIGITS = 6  # of a number in words
FACTORS = "2KBOTH"  # 2, and sizes by which a wrong reduction multiplies
MOST_FACTORS = 4  # of a product
# The powers of the factors in products; the simplest first.
POWERS = sorted(
    (
        powers
        for powers in product((1, -1, 0), repeat=len(FACTORS))
        if 0 < np.abs(powers).sum() <= MOST_FACTORS
    ),
    key=lambda powers: (np.abs(powers).sum(), powers),
)


class CommonNumber(NamedTuple):
    """A number that all fits have in common, in words, and its value for each."""

    text: str
    values: list[float]


def measured_number(
    mutant: Mutant, fits: Sequence[Fit], wrong: set[str]
) -> CommonNumber | None:
    """Return the number with which a mutant comes nearest to the wrong tensors, if it
    is the same in all fits.
    """
    is_single = any(fit.is_single for fit in fits)
    rtol = SINGLE_RTOL if is_single else DOUBLE_RTOL
    measured, count = list[Measured](), 0
    for fit in fits:
        names = sorted(fit.wrong & wrong)
        if not names:
            continue
        number = fit.measure(mutant, names)
        if number is None:
            return None
        count += sum(fit.report[name].size for name in names)
        if number.error < rtol * max(abs(number.value), rtol):
            measured.append(number)
    if not measured or (count < MANY and len(measured) < 2):
        return None  # a number of its own explains any number
    common = None
    if "× {number}" in mutant.name:
        common = common_product(fits, measured, rtol)
    return common or common_constant(fits, measured, rtol)


def common_product(
    fits: Sequence[Fit], measured: Sequence[Measured], rtol: float
) -> CommonNumber | None:
    """Return the simplest product of sizes that all of these are, if there is one."""
    tables = {fit: products(fit) for fit in fits}
    for text in tables[fits[0]]:
        is_one = all(tables[each.fit][text] == 1 for each in measured)
        near = (each.is_near(tables[each.fit][text], rtol) for each in measured)
        if not is_one and all(near):
            return CommonNumber(text, [table[text] for table in tables.values()])
    return None


def common_constant(
    fits: Sequence[Fit], measured: Sequence[Measured], rtol: float
) -> CommonNumber | None:
    """Return the number that all of these are, with the digits that are sure."""
    best = min(measured, key=lambda each: each.error)
    share = 4 * best.error / abs(best.value)  # below half a unit of the last digit
    if best.is_near(1.0, rtol) or not 0 < share < 1:
        return None
    if not all(each.is_near(best.value, rtol) for each in measured):
        return None
    digits = min(MOST_DIGITS, -int(np.log10(share)))
    return CommonNumber(f"{best.value:.{digits}g}", [best.value] * len(fits))


def products(fit: Fit) -> dict[str, float]:
    """Return usual factors, and products of sizes, by their text; the simplest
    first.
    """
    sizes = cases.case_sizes(fit.case) | {"2": 2}
    known = {"-1": -1.0, "1/ln 2": 1 / np.log(2)}
    known["η"] = np.nan if fit.step is None else float(fit.step.learning_rate)
    for powers in POWERS:
        above = [n for n, power in zip(FACTORS, powers) if power == 1]
        below = [n for n, power in zip(FACTORS, powers) if power == -1]
        text = "·".join(above) or "1"
        if len(below) > 1:
            text += f"/({'·'.join(below)})"
        elif below:
            text += f"/{below[0]}"
        known[text] = prod(sizes[n] for n in above) / prod(sizes[n] for n in below)
    for letters in ("KB", "KBO"):  # as of a sample variance
        n = prod(sizes[letter] for letter in letters)
        text = "·".join(letters)
        known[f"{text}/({text} − 1)"] = n / (n - 1) if n > 1 else np.nan
    return known
