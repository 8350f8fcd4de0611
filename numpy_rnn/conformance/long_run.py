"""The long profile: a million updates at random, each held to its bounds.

    python -m numpy_rnn.conformance long --backend torch_rnn --updates 1000000

Runs of several updates in lockstep, so that every update starts from parameters that training made. All are held to
L1; one run in ORACLE_EVERY to the oracle as well, L2.
"""

import sys
import time
from typing import NamedTuple

import numpy as np

from numpy_rnn.conformance.cases import random_run
from numpy_rnn.conformance.traces.drive import is_tame
from numpy_rnn.conformance.traces.judge import CAUSAL_ORDER, EQUATIONS, Divergence, judge

ORACLE_EVERY = 40
LONGEST = 100  # steps of a series


class Tally(NamedTuple):
    """What became of the runs in one dtype."""

    dtype: str
    updates: int
    oracle_updates: int
    local: dict[str, float]  # tensor: the worst ratio at level L1
    oracle: dict[str, float]  # the same at level L2
    wild: int  # runs that diverge in every right port too, and were not judged
    first: Divergence | None
    seed: tuple[int, int] | None  # of the run in which it was


def hold(source, dtype: str, updates: int, seed: int = 0, progress=None) -> Tally:
    """Judge runs of a `comparison.Source` until so many updates are done, or until one exceeds a bound."""
    done = oracle_done = wild = 0
    local: dict[str, float] = {}
    oracle: dict[str, float] = {}
    run = 0
    while done < updates:
        run += 1
        chosen = random_run(np.random.default_rng((seed, run)), dtype, LONGEST, source.lacks, source.has)
        if not is_tame(*chosen):
            wild += 1
            continue
        trace = source.trace(*chosen)
        judgements = [(local, judge(trace, 2 * source.tanh_ulps))]
        done += judgements[0][1].updates
        if run % ORACLE_EVERY == 1:
            judgements.append((oracle, judge(trace, 2 * source.tanh_ulps, by_oracle=True)))
            oracle_done += judgements[1][1].updates
        for worst, judgement in judgements:
            for name, ratio in judgement.worst.items():
                worst[name] = max(worst.get(name, 0.0), ratio)
            if not judgement.passed:
                return Tally(dtype, done, oracle_done, local, oracle, wild, judgement.first, (seed, run))
        if progress is not None:
            progress(done)
    return Tally(dtype, done, oracle_done, local, oracle, wild, None, None)


def markdown(tallies: dict[str, list[Tally]]) -> str:
    """The table of worst ratios: a row a tensor, a column a backend, dtype and level."""
    columns = [(f"{name} {tally.dtype}", tally) for name, of in tallies.items() for tally in of]
    lines = ["| tensor | equation |" + "".join(f" {name}, L1 | L2 |" for name, _ in columns)]
    lines.append("|---|---|" + "---:|---:|" * len(columns))
    for tensor in CAUSAL_ORDER[2:]:
        cells = (f" {tally.local.get(tensor, 0):.3f} | {_known(tally.oracle.get(tensor))} |" for _, tally in columns)
        lines.append(f"| {tensor} | {EQUATIONS[tensor]} |" + "".join(cells))
    counts = (f" {tally.updates:,} | {tally.oracle_updates:,} |" for _, tally in columns)
    lines.append("| updates | |" + "".join(counts))
    return "\n".join(lines)


def _known(ratio):
    return "" if ratio is None else f"{ratio:.3f}"


class Progress:
    """A line on a terminal that says how far a run is; nothing in a pipe."""

    def __init__(self, what: str, total: int):
        self.what, self.total, self.begun, self.shown = what, total, time.monotonic(), 0.0

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self.shown < 0.5:
            return
        self.shown = now
        left = (now - self.begun) * max(self.total - done, 0) / done
        print(
            f"\r{self.what}: {done:,} of {self.total:,} updates, {left:.0f} s left ",
            end="",
            file=sys.stderr,
            flush=True,
        )
