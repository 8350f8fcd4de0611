"""The claims about the times: each with its number, and whether it passes.

A claim on a ratio or a time passes if its whole interval does, fails if no part of it does, and is open otherwise. It
fails, too, if a time that it needs was to be measured and is missing, for example because a row disagrees. A claim is
omitted if the options do not select what it is about.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from benchmarks.estimates import (
    MIN_VALUES,
    Estimate,
    Requested,
    Times,
    difference,
    estimate,
    is_tie,
    mean_ratio,
    noise_floor,
    ratio,
    slope,
)
from benchmarks.plan import COLD, IMPORT, Key, in_words
from benchmarks.rows import (
    AGAIN,
    CALLS,
    CHARACTERS,
    EVERY,
    FLOORS,
    FORWARD,
    GEMMS,
    GRADIENT,
    JAX,
    MIN_CHAR_RNN,
    MODULES,
    OTHER,
    OURS,
    RUN,
    STEP,
    TUTORIAL,
)
from benchmarks.timing_tables import show
from benchmarks.workloads import DEFAULT_EXPERIMENT, MIN_THREADED_NETWORKS, Case

DEFAULT = DEFAULT_EXPERIMENT.name
TUTORIAL_TARGET = 16  # times as fast as the tutorial loop on the default experiment
CALLS_TARGET = 1.2  # times the cost of the bare NumPy calls on the default experiment
MEAN_TARGET = 2.5  # times as fast as torch.nn.RNN, geometric mean over the grid
LARGE_MEAN_TARGET = 2  # the same over the large points
ALL_CORES_TARGET = 0.9  # of torch.nn.RNN's speed, everywhere on the grid
JAX_TARGET, JAX_MEAN_TARGET = 0.95, 1  # of JAX's speed, at every large point and in the geometric mean
GEMMS_TARGET = 0.93  # of the speed of bare GEMMs, at every large point
MIN_LARGE_H, MIN_LARGE_B = 256, 32  # of large points
THREADS_TARGET = 1.6  # times as fast on all cores, ensembles
CHARACTER_TARGETS = {MIN_CHAR_RNN: 4, MODULES: 3}  # times as many updates per second of a character model
IMPORT_TARGET = 30  # ms more than NumPy
MIN_GROWTH_SIZE = 1 << 18  # B·H² from which on products take most of a step's time
AT_LARGE_POINTS = f"from H = {MIN_LARGE_H}, B = {MIN_LARGE_B} on: {OURS}"


class Claim(NamedTuple):
    """A sentence with its number, and whether it holds; None if that is open."""

    text: str
    holds: bool | None

    def line(self) -> str:
        return f"{ {True: 'pass', False: 'FAIL', None: 'open'}[self.holds] }: {self.text}"


def at_least(value: Estimate, target: float) -> bool | None:
    """True if the whole interval is `target` or more, None if a part of it is."""
    return True if value.low >= target else None if value.high >= target else False


def at_most(value: Estimate, target: float) -> bool | None:
    """True if the whole interval is `target` or less, None if a part of it is."""
    return True if value.high <= target else None if value.low <= target else False


def every(verdicts: Iterable[bool | None]) -> bool | None:
    """False if any is, otherwise None if any is."""
    known = list(verdicts)
    return False if False in known else None if None in known else True


def time_claims(times: Times, requested: Requested) -> list[Claim]:
    thread_counts = sorted({key.threads for key in requested.keys})
    claims: list[Claim | None] = [
        _against_tutorial(times, requested),
        _against_calls(times, requested),
        _every_update(times, requested),
        *(_characters(times, requested, row, target) for row, target in CHARACTER_TARGETS.items()),
        _ensembles(times, requested),
        *(_ensembles_in_threads(times, requested, threads) for threads in thread_counts if threads > 1),
        *(_on_the_grid(times, requested, threads) for threads in thread_counts),
        _on_large_points(times, requested, JAX, JAX_TARGET, JAX_MEAN_TARGET),
        _on_large_points(times, requested, MODULES, 1, LARGE_MEAN_TARGET),
        _share_of_gemms(times, requested),
        *(_public_function(times, requested, task) for task in (FORWARD, GRADIENT)),
        *(_floor(times, requested, floor) for floor in FLOORS),
        *(_growth(times, requested, growth) for growth in GROWTHS),
        _cold_start(times, requested),
        _import(times, requested),
    ]
    return [claim for claim in claims if claim is not None]


# -- the default experiment ------------------------------------------------------------------------------------------


def _against_tutorial(times, requested):
    target = f"(target: {TUTORIAL_TARGET})"
    return _on_default(
        requested,
        TUTORIAL,
        ratio(times, Key(RUN, TUTORIAL, DEFAULT), Key(RUN, OURS, DEFAULT)),
        lambda value: at_least(value, TUTORIAL_TARGET),
        lambda value: f"{OURS} is {value} times as fast as the {TUTORIAL} {target}",
    )


def _against_calls(times, requested):
    target = f"(target: at most {CALLS_TARGET})"
    return _on_default(
        requested,
        CALLS,
        ratio(times, Key(RUN, OURS, DEFAULT), Key(RUN, CALLS, DEFAULT)),
        lambda value: at_most(value, CALLS_TARGET),
        lambda value: f"{OURS} takes {value} times as long as the bare NumPy calls of its equations {target}",
    )


def _every_update(times, requested):
    """A number without a target: the claim is that it was measured."""
    return _on_default(
        requested,
        EVERY,
        ratio(times, Key(RUN, EVERY, DEFAULT), Key(RUN, OURS, DEFAULT)),
        lambda value: True,
        lambda value: f"{OURS} takes {value} times as long if its results are read after every update",
    )


def _on_default(requested, row, value, verdict, sentence):
    if DEFAULT not in [case.name for case in requested.both(RUN, OURS, row)]:
        return None
    if value is None:
        return Claim(f"{DEFAULT}: {row} and {OURS} were not timed together", False)
    return Claim(f"{DEFAULT}: {sentence(show(value))}", verdict(value))


# -- ratios on many cases --------------------------------------------------------------------------------------------

Pairs = Mapping[str, tuple[Key, Key]]  # by case: the key of another row, and that of numpy_rnn


def _characters(times, requested, row, target):
    pairs = _pairs(CHARACTERS, row, requested.both(CHARACTERS, OURS, row))
    return _at_every_case(times, pairs, target, f"training on characters: {OURS}", row)


def _ensembles(times, requested):
    cases = [case for case in requested.both(RUN, OURS, JAX) if case.networks >= MIN_THREADED_NETWORKS]
    return _at_every_case(times, _pairs(RUN, JAX, cases), 1, f"ensembles: {OURS}", JAX)


def _ensembles_in_threads(times, requested, threads):
    keys = [Key(RUN, OURS, case.name) for case in requested.cases.values() if case.networks >= MIN_THREADED_NETWORKS]
    pairs = {key.case: (key, key._replace(threads=threads)) for key in keys}
    pairs = {name: pair for name, pair in pairs.items() if {*pair} <= requested.keys}
    return _at_every_case(times, pairs, THREADS_TARGET, f"ensembles, {threads} threads: {OURS}", "with one thread")


def _on_the_grid(times, requested, threads):
    cases = requested.both(STEP, OURS, MODULES, threads)
    where = f"gradient and update, {len(cases)} points, {in_words(threads)}: {OURS}"
    target, mean_target = (1, MEAN_TARGET) if threads == 1 else (ALL_CORES_TARGET, None)
    return _at_every_case(times, _pairs(STEP, MODULES, cases, threads), target, where, MODULES, mean_target)


def _on_large_points(times, requested, row, target, mean_target):
    pairs = _pairs(STEP, row, _large_points(requested, row))
    return _at_every_case(times, pairs, target, AT_LARGE_POINTS, row, mean_target)


def _share_of_gemms(times, requested):
    pairs = _pairs(STEP, GEMMS, _large_points(requested, GEMMS))
    return _at_every_case(times, pairs, GEMMS_TARGET, AT_LARGE_POINTS, f"{GEMMS} in the fastest of all layouts")


def _public_function(times, requested, task):
    pairs = _pairs(task, OTHER, requested.both(task, OURS, OTHER))
    return _at_every_case(times, pairs, 1, f"{task} by the public functions: {OURS}", OTHER)


def _cold_start(times, requested):
    ours = Key(COLD, OURS, DEFAULT)
    others = sorted(key for key in requested.keys if key.task == COLD and key.row != OURS)
    pairs = {key.row: (key, ours) for key in others if ours in requested.keys}
    return _at_every_case(times, pairs, 1, f"cold start of the {DEFAULT}: {OURS}", "every other row")


def _floor(times, requested, floor):
    """That numpy_rnn is nowhere faster, except by what the noise explains: then a floor is one."""
    cases = [(task, case) for task in (STEP, RUN) for case in requested.both(task, OURS, floor)]
    values = {
        f"{task}, {case.name}": ratio(times, Key(task, OURS, case.name), Key(task, floor, case.name))
        for task, case in cases
    }
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    noise = noise_floor(times, AGAIN, OURS)
    below = {name: value for name, value in known.items() if value.high < 1 and not is_tie(value, noise)}
    name, value = min((below or known).items(), key=lambda item: item[1].high)
    text = f"{floor} are a floor: {OURS} takes at least {show(value)} times as long, at {name} (target: 1, or a tie)"
    return Claim(text, not below)


def _large_points(requested, row):
    return [case for case in requested.both(STEP, OURS, row) if case.H >= MIN_LARGE_H and case.B >= MIN_LARGE_B]


def _pairs(task: str, row: str, cases: Iterable[Case], threads: int = 1) -> Pairs:
    return {case.name: (Key(task, row, case.name, threads), Key(task, OURS, case.name, threads)) for case in cases}


def _at_every_case(
    times: Times, pairs: Pairs, target: float, where: str, other: str, mean_target: float | None = None
) -> Claim | None:
    """The claim that numpy_rnn is `target` times as fast or more in every case, and `mean_target` times on average."""
    if not pairs:
        return None
    ratios: dict[str, Estimate] = {}
    for name, pair in pairs.items():
        value = ratio(times, *pair)
        if value is None:
            return Claim(f"{where} was not timed against {other} at {name} (target: {target})", False)
        ratios[name] = value
    rank = {False: 0, None: 1, True: 2}
    verdicts = {name: at_least(value, target) for name, value in ratios.items()}
    worst = min(ratios, key=lambda name: (rank[verdicts[name]], ratios[name].low))
    text = f"{where} is at least {show(ratios[worst])} times as fast as {other}, at {worst} (target: {target})"
    if mean_target is None:
        return Claim(text, verdicts[worst])
    mean = mean_ratio(times, pairs.values())
    if mean is None:
        return Claim(f"{text}, geometric mean not known, as no {MIN_VALUES} rounds have all cases", False)
    text += f", geometric mean {show(mean)} (target: {mean_target})"
    return Claim(text, every([verdicts[worst], at_least(mean, mean_target)]))


# -- growth and imports ----------------------------------------------------------------------------------------------


class Growth(NamedTuple):
    """A size that a time grows with, and what is equal in the cases that are compared."""

    name: str
    size: Callable[[Case], int]
    equal: Callable[[Case], tuple]


GROWTHS = (
    Growth("T", lambda case: case.T, lambda case: (case.H, case.B, case.D, case.dtype)),
    Growth("B·H²", lambda case: case.B * case.H**2, lambda case: (case.T, case.D, case.dtype)),
)


def _growth(times, requested, growth):
    """Linear: not significantly above 1, or above the growth of the bare GEMMs, whose data outgrow the same caches."""
    cases = requested.both(STEP, OURS, GEMMS)
    ours, bare = (exponent(times, row, cases, growth) for row in (OURS, GEMMS))
    if ours is None or bare is None:
        return None
    text = f"the time of a step grows as {growth.name} to the power of {show(ours)}, {GEMMS} {show(bare)}"
    return Claim(f"{text} (target: linear)", ours.low <= max(1.0, bare.high))


def exponent(times: Times, row: str, cases: Iterable[Case], growth: Growth) -> Estimate | None:
    """The mean exponent of the sets of comparable cases; None without two sizes or with too few rounds.

    Only large cases, where overheads are small, and the mean of each round.
    """
    sets: dict[tuple, list[Case]] = {}
    for case in cases:
        if case.B * case.H**2 >= MIN_GROWTH_SIZE:
            sets.setdefault(growth.equal(case), []).append(case)
    groups = [group for group in sets.values() if len(set(map(growth.size, group))) > 1]
    by_case: dict[str, Mapping[int, float]]
    by_case = {case.name: times.get(Key(STEP, row, case.name), {}) for group in groups for case in group}
    rounds = set.intersection(*map(set, by_case.values())) if by_case else set()
    if len(rounds) < MIN_VALUES:
        return None
    means = []
    for n in sorted(rounds):
        slopes = [slope((growth.size(case), by_case[case.name][n]) for case in group) for group in groups]
        means.append(sum(slopes) / len(slopes))
    return estimate(means)


def _import(times, requested):
    ours, numpy = (Key(IMPORT, module, "fresh process") for module in (OURS, "numpy"))
    if ours not in requested.keys:
        return None
    cost = difference(times, ours, numpy)
    target = f"(target: at most {IMPORT_TARGET})"
    if cost is None:
        return Claim(f"import {OURS} was not timed {target}", False)
    return Claim(f"import {OURS} takes {show(cost)} ms more than import numpy {target}", at_most(cost, IMPORT_TARGET))
