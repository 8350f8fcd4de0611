"""How the time of a step grows: with T, and with B·H². The exponents are of large sizes, where overheads are small."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from benchmarks.cases import Case
from benchmarks.figures import Claim, show
from benchmarks.intervals import LEAST_VALUES, Estimate, estimate
from benchmarks.pieces import GEMMS, OURS, STEP, Key
from benchmarks.results import Times, Wants, slope

LARGE = 1 << 18  # B·H², from which on the products of a step take most of its time


class Growth(NamedTuple):
    """With what a time grows, on a set of cases that otherwise are alike."""

    name: str
    size: Callable[[Case], int]
    alike: Callable[[Case], tuple]


GROWTHS = (
    Growth("T", lambda case: case.T, lambda case: (case.H, case.B, case.D, case.dtype)),
    Growth("B·H²", lambda case: case.B * case.H**2, lambda case: (case.T, case.D, case.dtype)),
)


def exponent(times: Times, row: str, cases: Iterable[Case], growth: Growth) -> Estimate | None:
    """The mean exponent of the sets of alike cases, in every round; None where there are no two sizes or few rounds."""
    sets: dict[tuple, list[Case]] = {}
    for case in cases:
        if case.B * case.H**2 >= LARGE:
            sets.setdefault(growth.alike(case), []).append(case)
    sets = {alike: found for alike, found in sets.items() if len(set(map(growth.size, found))) > 1}
    by_case = {case.name: times.get(Key(STEP, row, case.name), {}) for found in sets.values() for case in found}
    rounds = set.intersection(*(set(found) for found in by_case.values())) if by_case else set()
    if len(rounds) < LEAST_VALUES:
        return None
    means = []
    for n in sorted(rounds):
        slopes = [slope((growth.size(case), by_case[case.name][n]) for case in found) for found in sets.values()]
        means.append(sum(slopes) / len(slopes))
    return estimate(means)


def exponent_claims(times: Times, wants: Wants) -> list[Claim]:
    """Linear: not significantly above 1, or above what the bare GEMMs of the same shapes show, whose caches end too."""
    cases, claims = wants.both(STEP, OURS, GEMMS), []
    for growth in GROWTHS:
        found, bare = (exponent(times, row, cases, growth) for row in (OURS, GEMMS))
        if found is not None and bare is not None:
            text = f"the time of a step grows as {growth.name} to the power of {show(found)}, bare GEMMs {show(bare)}"
            claims.append(Claim(f"{text} (asked: linear)", found.low <= max(1.0, bare.high)))
    return claims
