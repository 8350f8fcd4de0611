"""How much memory a run takes that is long: on a series mapped from a file, and on a stream.

Measured is the resident memory of a fresh process at its peak, as the system keeps it: that misses nothing, while
tracemalloc sees only what Python and NumPy ask for, and slows a run several times. On Linux it is VmHWM and not
ru_maxrss, which begins with what the process held that started this one. The system counts the pages of a mapped file
as resident too, though it takes them back whenever it needs them; so they stand in a column of their own.
"""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.figures import Claim, table, three_digits
from benchmarks.system import ROOT

MAPPED = "mapped file"
KINDS = (MAPPED, "stream")
ASKED = 1  # MB that a hundred times as many steps may take more; a number a step would be 4 MB, a bit of it 1 MB
PARTS = (100, 10, 1)  # runs of that part of the steps
MANY = 100_000  # networks
AT_ONCE = 2  # runs: no time is taken, and memory is each one's own


class Peak(NamedTuple):
    """One run in a process of its own."""

    kind: str
    steps: int
    resident: float  # MB at the peak, without the pages of the file
    file: float  # MB, all of which the run looks at


def memory_peaks(steps: int, folder: Path) -> list[Peak]:
    """Runs of steps / 100, steps / 10 and `steps` steps, of either kind."""
    runs = [(kind, steps // part) for kind in KINDS for part in PARTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        longest_first = sorted(runs, key=lambda run: -run[1])
        peaks = dict(zip(longest_first, pool.map(lambda run: memory_peak(run[0], run[1], folder), longest_first)))
    return [peaks[run] for run in runs]


def memory_peak(kind: str, steps: int, folder: Path) -> Peak:
    file, size = folder / f"{steps}.npy", 0.0
    if kind == MAPPED:
        np.save(file, np.sin(np.arange(steps + 1) / 10).astype(np.float32))
        size = file.stat().st_size / 1e6
    command = [sys.executable, "-m", "benchmarks.long_run", kind, str(steps), str(file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Peak(kind, steps, float(run.stdout) - size, size)


def memory_table(peaks: list[Peak]) -> list[str]:
    cells = [[kind, f"{steps:,}", f"{resident:.2f}", f"{file:.2f}"] for kind, steps, resident, file in peaks]
    return table(["memory of a run", "steps", "MB at the peak", "and of the file"], cells)


def ensemble_claim() -> Claim:
    """MANY networks at once, an epoch of the main job in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.long_run", "ensemble", str(MANY), ""]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        return Claim(f"an ensemble of {MANY:,} networks does not train: {run.stderr.strip()[-200:]}", False)
    return Claim(f"an ensemble of {MANY:,} networks trains, in {three_digits(float(run.stdout))} MB", True)


def memory_claims(peaks: list[Peak]) -> list[Claim]:
    """Of either kind, the longest run against the shortest."""
    claims = []
    for kind in KINDS:
        shortest, *_, longest = (peak for peak in peaks if peak.kind == kind)
        more = longest.resident - shortest.resident
        steps = f"{longest.steps} steps than for {shortest.steps}"
        text = f"training on a {kind} takes {three_digits(more)} MB more for {steps} (asked: {ASKED})"
        claims.append(Claim(text, more <= ASKED))
    return claims
