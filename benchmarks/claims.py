"""What is claimed of the times: each claim with its figure, and whether it holds.

A claim on a ratio, or on a time, holds where its whole interval does, and fails where none of it does; between the two
it is open. It fails too where what it speaks of was wanted and not timed, as where a row disagrees; and it is left out
where the options left out what it speaks of.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from benchmarks.estimates import (
    LEAST_VALUES,
    Estimate,
    Times,
    Wants,
    differences,
    estimate,
    geometric_mean,
    ratio,
    slope,
)
from benchmarks.plan import IMPORT, Key
from benchmarks.rows import CALLS, EVERY, FORWARD, GEMMS, GRADIENT, JAX, MODULES, OTHER, OURS, RUN, STEP, TUTORIAL
from benchmarks.timing_tables import Claim, at_least, at_most, every, show, three_digits
from benchmarks.workloads import MAIN_JOB, MANY_NETWORKS, Case

MAIN = MAIN_JOB.name
TUTORIAL_ASKED = 16  # times faster than the tutorial loop, main job
CALLS_ASKED = 1.2  # times the summed cost of the bare NumPy calls, main job
MEAN_ASKED = 2.5  # times faster than torch.nn.RNN, geometric mean over the grid
LARGE_MEAN_ASKED = 2  # and over its large points
ALL_CORES_ASKED = 0.9  # of torch.nn.RNN's speed, everywhere on the grid
JAX_ASKED = 0.95  # of JAX's speed, at every large point; in the geometric mean, more than all of it
GEMMS_ASKED = 0.93  # of the speed of bare GEMMs, at every large point
LEAST_H, LEAST_B = 256, 32  # of large points
THREADS_ASKED = 1.6  # times faster on all cores, ensembles
IMPORT_ASKED = 30  # ms on top of NumPy


def time_claims(times: Times, wants: Wants) -> list[Claim]:
    thread_counts = sorted({key.threads for key in wants.keys})
    claims: list[Claim | None] = [
        _against_tutorial(times, wants),
        _against_calls(times, wants),
        _every_update(times, wants),
        _ensembles(times, wants),
        *(_ensembles_in_threads(times, wants, threads) for threads in thread_counts if threads > 1),
        *(_everywhere(times, wants, threads) for threads in thread_counts),
        _on_large_points(times, wants, JAX, JAX_ASKED, 1),
        _on_large_points(times, wants, MODULES, 1, LARGE_MEAN_ASKED),
        _share_of_gemms(times, wants),
        *(_public_function(times, wants, task) for task in (FORWARD, GRADIENT)),
        *exponent_claims(times, wants),
        _imports(times, wants),
    ]
    return [claim for claim in claims if claim is not None]


def _against_tutorial(times, wants):
    if not _wanted_on_main_job(wants, TUTORIAL):
        return None
    found = ratio(times, Key(RUN, TUTORIAL, MAIN), Key(RUN, OURS, MAIN))
    if found is None:
        return Claim(f"main job: numpy_rnn was not timed against the tutorial loop (asked: {TUTORIAL_ASKED})", False)
    text = f"main job: numpy_rnn is {show(found)} times faster than the tutorial loop (asked: {TUTORIAL_ASKED})"
    return Claim(text, at_least(found, TUTORIAL_ASKED))


def _against_calls(times, wants):
    if not _wanted_on_main_job(wants, CALLS):
        return None
    found = ratio(times, Key(RUN, OURS, MAIN), Key(RUN, CALLS, MAIN))
    asked = f"(asked: {CALLS_ASKED} at most)"
    if found is None:
        return Claim(f"main job: numpy_rnn was not timed against the bare NumPy calls {asked}", False)
    text = f"main job: numpy_rnn takes {show(found)} times as long as the bare NumPy calls that its equations need"
    return Claim(f"{text} {asked}", at_most(found, CALLS_ASKED))


def _every_update(times, wants):
    """A figure, of which nothing is asked but that it was measured."""
    if not _wanted_on_main_job(wants, EVERY):
        return None
    found = ratio(times, Key(RUN, EVERY, MAIN), Key(RUN, OURS, MAIN))
    if found is None:
        return Claim("main job: numpy_rnn was not timed with its results read after every update", False)
    return Claim(
        f"main job: with its results read after every update, numpy_rnn takes {show(found)} times as long", True
    )


def _wanted_on_main_job(wants, row):
    return MAIN in [case.name for case in wants.both(RUN, OURS, row)]


def _ensembles(times, wants):
    cases = [case for case in wants.both(RUN, OURS, JAX) if case.networks >= MANY_NETWORKS]
    found = {case.name: ratio(times, Key(RUN, JAX, case.name), Key(RUN, OURS, case.name)) for case in cases}
    return _at_every_case(found, 1, "ensembles: numpy_rnn", f"times as fast as {JAX}")


def _ensembles_in_threads(times, wants, threads):
    """Of numpy_rnn against itself in one thread."""
    keys = [Key(RUN, OURS, case.name) for case in wants.cases.values() if case.networks >= MANY_NETWORKS]
    keys = [key for key in keys if {key, key._replace(threads=threads)} <= wants.keys]
    found = {key.case: ratio(times, key, key._replace(threads=threads)) for key in keys}
    return _at_every_case(found, THREADS_ASKED, f"ensembles, {threads} threads: numpy_rnn", "times as fast as in one")


def _at_every_case(found, asked, where, than):
    """Of ratios by case: that the lowest is `asked` or more."""
    if not found:
        return None
    if lost := [name for name, value in found.items() if value is None]:
        return Claim(f"{where} was not timed at {lost[0]} (asked: {asked} {than}, everywhere)", False)
    worst, holds = _worst(found, asked)
    return Claim(f"{where} is at least {show(found[worst])} {than}, at {worst} (asked: {asked})", holds)


def _everywhere(times, wants, threads):
    """A step of numpy_rnn against one of torch.nn.RNN, at every point of the grid."""
    cases = wants.both(STEP, OURS, MODULES, threads)
    if not cases:
        return None
    found = {case.name: _against(times, case, MODULES, threads) for case in cases}
    lost = [name for name, value in found.items() if value is None]
    where = f"gradient and update, {len(cases)} points, {threads} thread{'s' if threads > 1 else ''}: numpy_rnn"
    if lost:
        return Claim(f"{where} was not timed against {MODULES} at {lost[0]} (asked: everywhere)", False)
    asked = 1 if threads == 1 else ALL_CORES_ASKED
    worst, holds = _worst(found, asked)
    least = f"at least {show(found[worst])} times as fast as {MODULES}, at {worst}"
    if threads > 1:
        return Claim(f"{where} is {least} (asked: {asked})", holds)
    mean = geometric_mean(value.median for value in found.values())
    text = f"{where} is {least} (asked: {asked}), geometric mean {three_digits(mean)} (asked: {MEAN_ASKED})"
    return Claim(text, every([holds, mean >= MEAN_ASKED]))


def _worst(found, asked):
    """The name of the lowest estimate among those with the worst verdict on `asked` or more, and that verdict."""
    rank = {False: 0, None: 1, True: 2}
    verdicts = {name: at_least(value, asked) for name, value in found.items()}
    worst = min(found, key=lambda name: (rank[verdicts[name]], found[name].low))
    return worst, verdicts[worst]


def _against(times, case, other, threads=1):
    return ratio(times, Key(STEP, other, case.name, threads), Key(STEP, OURS, case.name, threads))


def _large_points(wants, other):
    return [case for case in wants.both(STEP, OURS, other) if case.H >= LEAST_H and case.B >= LEAST_B]


def _on_large_points(times, wants, other, asked, mean_asked):
    """A step of numpy_rnn against one of another row."""
    found = {case.name: _against(times, case, other) for case in _large_points(wants, other)}
    claim = _at_every_case(
        found, asked, f"from H = {LEAST_H}, B = {LEAST_B} on: numpy_rnn", f"times as fast as {other}"
    )
    if claim is None or None in found.values():
        return claim
    mean = geometric_mean(value.median for value in found.values())
    text = f"{claim.text}, geometric mean {three_digits(mean)} (asked: {mean_asked})"
    return Claim(text, every([claim.holds, mean >= mean_asked]))


def _share_of_gemms(times, wants):
    found = {case.name: _against(times, case, GEMMS) for case in _large_points(wants, GEMMS)}
    where = f"from H = {LEAST_H}, B = {LEAST_B} on: numpy_rnn"
    return _at_every_case(found, GEMMS_ASKED, where, f"times as fast as {GEMMS} in the fastest of all layouts")


def _public_function(times, wants, task):
    cases = wants.both(task, OURS, OTHER)
    found = {case.name: ratio(times, Key(task, OTHER, case.name), Key(task, OURS, case.name)) for case in cases}
    return _at_every_case(found, 1, f"{task} by the public functions: numpy_rnn", f"times as fast as {OTHER}")


def _imports(times, wants):
    ours, numpy = (Key(IMPORT, module, "fresh process") for module in (OURS, "numpy"))
    if ours not in wants.keys:
        return None
    cost = differences(times, ours, numpy)
    if cost is None:
        return Claim(f"import numpy_rnn was not timed (asked: {IMPORT_ASKED} ms)", False)
    text = f"import numpy_rnn costs {show(cost)} ms more than import numpy (asked: {IMPORT_ASKED})"
    return Claim(text, at_most(cost, IMPORT_ASKED))


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
