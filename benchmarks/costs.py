"""Measured once: the memory of long runs, and the time and memory of the equivalence suite.

Memory is the peak of the resident memory of a fresh process, as the system records it: that includes everything, while
tracemalloc sees only what Python and NumPy allocate and slows a run several times. On Linux it is VmHWM and not
ru_maxrss, which starts with the memory of the parent process. Pages of a mapped file count as resident although the
system can reclaim them at any time, so they have a column of their own.

`python -m benchmarks.costs KIND NUMBER PATH` is such a process: it prints MB, or the cost of the suite as JSON.
"""

import json
import math
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import numpy_rnn as rnn
from benchmarks.claims import Claim
from benchmarks.system import ROOT, worker_environment
from benchmarks.timing_tables import Table, table, three_digits
from numpy_rnn.app.series import inputs_and_targets, load_series, sine

SUITE, MAPPED, STREAM, ENSEMBLE = "suite", "mapped file", "stream", "ensemble"
CHECKS, MAX_CHECK_STEPS = 1000, 6
CHECKS_TARGET = 3  # seconds
TRACES_TARGET = 5  # seconds
TRACES_MEMORY_TARGET = 500  # MB
TRACE_EPOCHS = 300
GROWTH_TARGET = 1  # MB more for 100 times as many steps; one number per step would be 4 MB
STEP_DIVISORS = (100, 10, 1)
NETWORKS = 100_000
PARALLEL_RUNS = 2  # memory belongs to each process, and nothing is timed
OPTIONS: dict[str, Any] = {"k1": 5, "k2": 20, "learning_rate": 0.01}
STATUS, CLEAR_PEAK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak(NamedTuple):
    """The memory of one run in a process of its own."""

    kind: str
    steps: int
    resident: float  # MB at the peak, without the pages of the file
    file: float  # MB; the run reads all of them


class SuiteCost(NamedTuple):
    checks: float  # seconds for CHECKS checks at level L1, without the time of the implementation under test
    traces: float  # seconds to read and judge two traces of the default experiment, and to compare their losses
    memory: float  # MB at the peak of that
    updates: int  # of each trace


def cost_claims(tasks: Sequence[str], steps: int, folder: Path) -> tuple[list[Claim], Table]:
    """The claims of the tasks "suite" and "memory", and the table of memory. folder: for temporary files."""
    claims: list[Claim] = []
    lines: Table = []
    if "suite" in tasks:
        claims += suite_claims(SuiteCost(*json.loads(_run(SUITE, CHECKS, folder))))
    if "memory" in tasks:
        peaks = memory_peaks(steps, folder)
        lines = memory_table(peaks)
        claims += [*memory_claims(peaks), ensemble_claim()]
    return claims, lines


def _run(kind: str, number: int, path: Path) -> str:
    command = [sys.executable, "-m", "benchmarks.costs", kind, str(number), str(path)]
    environment = worker_environment(1)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def main(kind: str, number: str, path: str) -> None:
    if kind == SUITE:
        print(json.dumps(suite_cost(int(number), TRACE_EPOCHS, Path(path))))
    elif kind == ENSEMBLE:
        print(ensemble_peak(int(number)))
    else:
        print(long_run_peak(kind, int(number), path))


# -- memory ----------------------------------------------------------------------------------------------------------


def memory_peaks(steps: int, folder: Path) -> list[Peak]:
    """Runs of steps / 100, steps / 10 and `steps` steps, on a mapped file and on a stream."""
    runs = [(kind, steps // divisor) for kind in (MAPPED, STREAM) for divisor in STEP_DIVISORS]
    longest_first = sorted(runs, key=lambda run: -run[1])
    with ThreadPoolExecutor(PARALLEL_RUNS) as pool:
        peaks = dict(zip(longest_first, pool.map(lambda run: _memory_peak(run[0], run[1], folder), longest_first)))
    return [peaks[run] for run in runs]


def _memory_peak(kind, steps, folder):
    file, size = folder / f"{steps}.npy", 0.0
    if kind == MAPPED:
        np.save(file, np.sin(np.arange(steps + 1) / 10).astype(np.float32))
        size = file.stat().st_size / 1e6
    return Peak(kind, steps, float(_run(kind, steps, file)) - size, size)


def memory_table(peaks: Sequence[Peak]) -> Table:
    cells = [[kind, f"{steps:,}", f"{resident:.2f}", f"{file:.2f}"] for kind, steps, resident, file in peaks]
    return table(["memory of a run", "steps", "MB at the peak", "MB of the file"], cells)


def memory_claims(peaks: Sequence[Peak]) -> list[Claim]:
    """For each kind, the longest run compared with the shortest."""
    claims = []
    for kind in (MAPPED, STREAM):
        shortest, *_, longest = (peak for peak in peaks if peak.kind == kind)
        more = longest.resident - shortest.resident
        steps = f"{longest.steps} steps than for {shortest.steps}"
        target = f"(target: at most {GROWTH_TARGET})"
        text = f"training on a {kind} takes {three_digits(more)} MB more for {steps} {target}"
        claims.append(Claim(text, more <= GROWTH_TARGET))
    return claims


def ensemble_claim() -> Claim:
    try:
        peak = float(_run(ENSEMBLE, NETWORKS, Path()))
    except subprocess.CalledProcessError as error:
        return Claim(f"an ensemble of {NETWORKS:,} networks does not train: {error.stderr.strip()[-200:]}", False)
    return Claim(f"an ensemble of {NETWORKS:,} networks trains, in {three_digits(peak)} MB", True)


def long_run_peak(kind: str, steps: int, file: str) -> float:
    """MB at the peak of a run on a file, or on a stream."""
    params, h_0 = rnn.initial_parameters(), np.zeros((1, 6), np.float32)
    clear_peak()
    updates: Iterator[Any]
    if kind == STREAM:
        updates = rnn.train_stream(params, sine_steps(steps), h_0, **OPTIONS)
    else:
        x, target = inputs_and_targets(load_series(file), np.float32)
        updates = rnn.train(params, x, target, h_0, **OPTIONS, epochs=1)
    for update in updates:
        loss = update.loss
    if not np.isfinite(loss) or update.window.stop != steps:
        raise AssertionError(f"the run ended at step {update.window.stop} with loss {loss}: expected {steps} steps")
    return read_peak()


def ensemble_peak(networks: int) -> float:
    """MB at the peak of an epoch of the default experiment, for this many networks at once."""
    generator = np.random.default_rng(0)
    weights = (generator.normal(0, 0.4, (networks, *shape)).astype(np.float32) for shape in ((1, 6), (6, 6), (6, 1)))
    params, h_0 = rnn.Parameters(*weights), np.zeros((1, 6), np.float32)
    x, target = inputs_and_targets(sine(), np.float32)
    clear_peak()
    for update in rnn.train(params, x, target, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1):
        loss = update.loss
    if loss.shape != (networks,) or not np.isfinite(loss).all():
        raise AssertionError(f"losses of shape {loss.shape}, or not finite: expected {networks} finite losses")
    return read_peak()


def sine_steps(steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A sine wave, one step at a time; each target is the next input, and nothing is stored."""
    following = np.zeros((1, 1), np.float32)
    for t in range(1, steps + 1):
        x_t, following = following, np.full((1, 1), math.sin(t / 10), np.float32)
        yield x_t, following


def clear_peak() -> bool:
    """Resets the recorded peak, so that imports do not hide what training takes. Returns whether the system can."""
    with suppress(OSError):
        CLEAR_PEAK.write_text("5")  # proc(5)
        return True
    return False


def read_peak() -> float:
    """The peak of this process in MB."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


# -- the equivalence suite -------------------------------------------------------------------------------------------


def suite_cost(checks: int, epochs: int, folder: Path) -> SuiteCost:
    """Checks of windows of few steps and up to 8 units, and two traces in files, as `compare` reads them."""
    return SuiteCost(check_seconds(checks), *trace_cost(epochs, folder))


def suite_claims(cost: SuiteCost) -> list[Claim]:
    checks, traces, memory = map(three_digits, cost[:3])
    return [
        Claim(
            f"{CHECKS} checks of level L1 take {checks} s (target: at most {CHECKS_TARGET})",
            cost.checks <= CHECKS_TARGET,
        ),
        Claim(
            f"checking two traces of {cost.updates} updates takes {traces} s (target: at most {TRACES_TARGET})",
            cost.traces <= TRACES_TARGET,
        ),
        Claim(
            f"checking them takes {memory} MB at the peak (target: at most {TRACES_MEMORY_TARGET})",
            cost.memory <= TRACES_MEMORY_TARGET,
        ),
    ]


def check_seconds(count: int) -> float:
    """Only the checks are timed: the form of the report, and all its stages."""
    from numpy_rnn.conformance.bounds.local_bounds import check_local
    from numpy_rnn.conformance.case import format_errors

    spent = 0.0
    for case, report in _windows(count):
        start = time.perf_counter()
        faults, ratios = format_errors(case, report, intermediates=True), check_local(case, report)
        spent += time.perf_counter() - start
        if faults or not all((ratio <= 1).all() for ratio in ratios.values()):
            raise AssertionError("numpy_rnn exceeds a bound: expected every check to pass")
    return spent


def trace_cost(epochs: int, folder: Path) -> tuple[float, float, int]:
    """Seconds, peak of allocated MB, and updates per trace."""
    from numpy_rnn.conformance.comparison import epoch_losses
    from numpy_rnn.conformance.traces.judge import judge
    from numpy_rnn.conformance.traces.trace_format import read_trace

    files = [_write_trace(folder / f"{number}.npz", epochs) for number in (1, 2)]

    def compare():
        traces = [read_trace(file) for file in files]
        judgements = [judge(trace) for trace in traces]
        losses = [epoch_losses(trace, "sum") for trace in traces]
        np.abs(losses[0] - losses[1]).max()
        return judgements

    start = time.perf_counter()
    judgements = compare()
    seconds = time.perf_counter() - start
    tracemalloc.start()
    compare()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if not all(judgement.passed for judgement in judgements):
        raise AssertionError("numpy_rnn exceeds a bound: expected every trace to pass")
    return seconds, peak / 1e6, judgements[0].updates


def _windows(count):
    from numpy_rnn.conformance.ports.backends import PackagePort
    from numpy_rnn.conformance.recipes import random_recipe

    port, generator = PackagePort(rnn), np.random.default_rng(0)
    while count:
        recipe = random_recipe(generator)
        if recipe.T > MAX_CHECK_STEPS:
            continue
        case = recipe.case()
        arrays = case.params._asdict(), case.x, case.target, case.h_0
        yield case, port.window_update(*arrays, learning_rate=case.learning_rate, **case.options)
        count -= 1


def _write_trace(path, epochs):
    from numpy_rnn.app.configuration import Configuration
    from numpy_rnn.app.experiment import prepare
    from numpy_rnn.conformance.traces.drive import trace_of

    configuration = Configuration(epochs=epochs)
    np.savez(path, **trace_of(rnn, prepare(configuration), configuration))
    return path


if __name__ == "__main__":
    main(*sys.argv[1:])
