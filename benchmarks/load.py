"""How busy the machine is with anything but the benchmark: measured around every piece, summed over rounds.

A round is disturbed if other processes or other virtual machines take processor time, or if numpy_rnn differs too much
from itself. A disturbed round is repeated, a bounded number of times; what stays disturbed is reported.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any, NamedTuple

from benchmarks.claims import Claim
from benchmarks.estimates import Times, times_of
from benchmarks.plan import Key, in_words
from benchmarks.rows import AGAIN, OURS
from benchmarks.store import CRASHED, merged
from benchmarks.system import cores

STAT = Path("/proc/stat")
START_SECONDS = 0.5  # of the look at the load before the first round
MAX_OTHERS = 0.2  # cores that other processes may take
MAX_STEAL = 0.02  # cores that other virtual machines may take
MAX_SELF_RATIO = 1.1  # of the times of numpy_rnn and numpy_rnn again, median of the cases of a round
MAX_THREAD_EXCESS = 1.1  # busy cores per thread
MAX_LISTED = 2  # disturbed rounds whose reasons are listed
LOAD = "load"  # key in the file of a piece


class Load(NamedTuple):
    """Seconds of an interval: of the clock, and of all processors together."""

    seconds: float = 0.0
    others: float = 0.0  # busy with processes that the benchmark did not start
    steal: float = 0.0  # taken by other virtual machines

    def plus(self, other: Load) -> Load:
        return Load(*(a + b for a, b in zip(self, other)))

    def cores(self) -> tuple[float, float]:
        """Cores that other processes and other virtual machines took, on average."""
        return (self.others / self.seconds, self.steal / self.seconds) if self.seconds else (0.0, 0.0)


class Reading(NamedTuple):
    """Seconds since the start of the machine or process."""

    clock: float
    busy: float
    steal: float
    own: float  # of this process and of the children that have ended


def read_load(stat: Path = STAT) -> Reading:
    """Where the system does not tell, only the clock."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    try:
        fields = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return Reading(perf_counter(), own, 0.0, own)
    user, nice, system, _, _, irq, softirq, steal = (field / os.sysconf("SC_CLK_TCK") for field in fields)
    return Reading(perf_counter(), user + nice + system + irq + softirq, steal, own)


def load_between(before: Reading, after: Reading) -> Load:
    seconds, busy, steal, own = (b - a for a, b in zip(before, after))
    return Load(seconds, max(busy - own, 0.0), steal)


def load_at_start() -> Load:
    before = read_load()
    sleep(START_SECONDS)
    return load_between(before, read_load())


def disturbance(load: Load, times: Times | None = None) -> str | None:
    """What disturbed an interval, or a round with these times; None if nothing did."""
    others, steal = load.cores()
    reasons = []
    if others > MAX_OTHERS:
        reasons.append(f"other processes took {others:.2f} of {cores()} cores")
    if steal > MAX_STEAL:
        reasons.append(f"other virtual machines took {steal:.2f} cores")
    own = self_ratio(times or {})
    if own is not None and not 1 / MAX_SELF_RATIO <= own <= MAX_SELF_RATIO:
        reasons.append(f"{OURS} took {own:.2f} times as long as itself")
    return ", ".join(reasons) or None


def self_ratio(times: Times) -> float | None:
    """The median ratio of numpy_rnn again to numpy_rnn in the times of one round."""
    ratios = []
    for key, values in times.items():
        ours = times.get(key._replace(row=OURS))
        if key.row == AGAIN and ours is not None:
            ratios += [value / ours[n] for n, value in values.items() if n in ours]
    return median(ratios) if ratios else None


def round_disturbance(contents: Sequence[Mapping[str, Any]]) -> str | None:
    """What disturbed a round, from the contents of its pieces."""
    total = Load()
    for content in contents:
        total = total.plus(Load(*content.get(LOAD, ())))
    return disturbance(total, times_of(merged(content for content in contents if CRASHED not in content)))


def thread_claim(suite: Mapping[str, Any]) -> Claim | None:
    """Open if a row takes more processor time than its threads can give, from all rounds; None if nothing was timed.

    The pools of some libraries cannot be asked for their threads, so this is measured.
    """
    excesses = []
    for benchmark in suite["benchmarks"]:
        key = Key.from_text(benchmark["metadata"]["name"])
        measured = [run["metadata"]["busy_cores"] for run in benchmark["runs"] if "busy_cores" in run["metadata"]]
        if measured:
            excesses.append((median(measured) / key.threads, key, median(measured)))
    if not excesses:
        return None
    excess, key, busy = max(excesses)
    if excess > MAX_THREAD_EXCESS:
        return Claim(f"{key.row} keeps {busy:.2f} cores busy with {in_words(key.threads)}, at {key.case}", None)
    return Claim("no row keeps more cores busy than it has threads", True)


def load_claim(start: Load, disturbed: Mapping[int, str], repeated: Iterable[int]) -> Claim:
    """Open if the machine was busy at the start, or in a round that was not repeated successfully."""
    again = sorted({*repeated})
    suffix = f"; repeated rounds: {', '.join(map(str, again))}" if again else ""
    reasons = [f"at the start {reason}"] if (reason := disturbance(start)) else []
    reasons += [f"in round {number} {reason}" for number, reason in sorted(disturbed.items())[:MAX_LISTED]]
    reasons += [f"and in {more} more"] if (more := len(disturbed) - MAX_LISTED) > 0 else []
    if reasons:
        return Claim(f"the machine was not quiet: {'; '.join(reasons)}{suffix}", None)
    return Claim(f"the machine was quiet at the start and in every round{suffix}", True)
