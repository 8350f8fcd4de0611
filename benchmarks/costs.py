"""How long the equivalence suite takes: its checks of single windows, and its judgement of whole traces."""

import math
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

import numpy_rnn as rnn
from benchmarks.system import ROOT
from benchmarks.timing_tables import Claim, table, three_digits
from numpy_rnn.app.series import inputs_and_targets, load_series, sine

CHECKS = 1000
CHECKS_ASKED = 3  # seconds
TRACES_ASKED = 5  # seconds
MEMORY_ASKED = 500  # MB


class Cost(NamedTuple):
    checks: float  # seconds for CHECKS checks at level L1, without the port's own time
    traces: float  # seconds to read and judge two traces of the main job, and to compare their losses
    memory: float  # MB at the peak of that
    updates: int  # of each trace


def suite_cost(epochs: int, folder) -> Cost:
    """Measured once: windows of T ≤ 6 steps and up to 8 hidden units; two traces in files, as `compare` reads them."""
    seconds, memory, updates = trace_cost(epochs, folder)
    return Cost(check_seconds(), seconds, memory, updates)


def check_seconds() -> float:
    """Only the checks are timed: the form of the report, and all its stages."""
    from numpy_rnn.conformance.bounds.local_bounds import check_local
    from numpy_rnn.conformance.case import form_faults

    spent = 0.0
    for case, report in _windows(CHECKS):
        began = time.perf_counter()
        faults, ratios = form_faults(case, report, intermediates=True), check_local(case, report)
        spent += time.perf_counter() - began
        if faults or not all((ratio <= 1).all() for ratio in ratios.values()):
            raise AssertionError("numpy_rnn exceeds a bound: nothing to time")
    return spent


def trace_cost(epochs: int, folder) -> tuple[float, float, int]:
    """Seconds, peak of allocated MB, and updates a trace."""
    from numpy_rnn.conformance.comparison.comparing import epoch_losses
    from numpy_rnn.conformance.traces.judge import judge
    from numpy_rnn.conformance.traces.trace_form import read_trace

    files = [_write_trace(folder / f"{number}.npz", epochs) for number in (1, 2)]

    def compare():
        traces = [read_trace(file) for file in files]
        judgements = [judge(trace) for trace in traces]
        losses = [epoch_losses(trace, "sum") for trace in traces]
        np.abs(losses[0] - losses[1]).max()
        return judgements

    began = time.perf_counter()
    judgements = compare()
    seconds = time.perf_counter() - began
    tracemalloc.start()
    compare()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if not all(judgement.passed for judgement in judgements):
        raise AssertionError("numpy_rnn exceeds a bound: nothing to time")
    return seconds, peak / 1e6, judgements[0].updates


def suite_claims(cost: Cost) -> list[Claim]:
    checks, traces, memory, updates = cost
    return [
        Claim(
            f"{CHECKS} checks of level L1 take {three_digits(checks)} s (asked: {CHECKS_ASKED})", checks <= CHECKS_ASKED
        ),
        Claim(
            f"judging two traces of {updates} updates takes {three_digits(traces)} s (asked: {TRACES_ASKED})",
            traces <= TRACES_ASKED,
        ),
        Claim(f"and {three_digits(memory)} MB at its peak (asked: {MEMORY_ASKED})", memory <= MEMORY_ASKED),
    ]


def _windows(count):
    import numpy_rnn
    from numpy_rnn.conformance.cases import random_recipe
    from numpy_rnn.conformance.ports.backends import PackagePort

    port, generator = PackagePort(numpy_rnn), np.random.default_rng(0)
    while count:
        recipe = random_recipe(generator)
        if recipe.T > 6:
            continue
        case = recipe.case()
        arrays = case.params._asdict(), case.x, case.target, case.h_0
        yield case, port.window_update(*arrays, learning_rate=case.learning_rate, **case.options)
        count -= 1


def _write_trace(path, epochs):
    import numpy_rnn
    from numpy_rnn.app.configuration import Configuration
    from numpy_rnn.app.experiment import prepare
    from numpy_rnn.conformance.traces.drive import trace_of

    configuration = Configuration(epochs=epochs)
    np.savez(path, **trace_of(numpy_rnn, prepare(configuration), configuration))
    return path


MAPPED = "mapped file"
KINDS = (MAPPED, "stream")
GROWTH_ASKED = 1  # MB that a hundred times as many steps may take more; a number a step would be 4 MB, a bit of it 1 MB
PARTS = (100, 10, 1)  # runs of that part of the steps
NETWORKS = 100_000  # networks
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
    command = [sys.executable, "-m", "benchmarks.costs", kind, str(steps), str(file)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return Peak(kind, steps, float(run.stdout) - size, size)


def memory_table(peaks: list[Peak]) -> list[str]:
    cells = [[kind, f"{steps:,}", f"{resident:.2f}", f"{file:.2f}"] for kind, steps, resident, file in peaks]
    return table(["memory of a run", "steps", "MB at the peak", "and of the file"], cells)


def ensemble_claim() -> Claim:
    """NETWORKS networks at once, an epoch of the main job in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.costs", "ensemble", str(NETWORKS), ""]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        return Claim(f"an ensemble of {NETWORKS:,} networks does not train: {run.stderr.strip()[-200:]}", False)
    return Claim(f"an ensemble of {NETWORKS:,} networks trains, in {three_digits(float(run.stdout))} MB", True)


def memory_claims(peaks: list[Peak]) -> list[Claim]:
    """Of either kind, the longest run against the shortest."""
    claims = []
    for kind in KINDS:
        shortest, *_, longest = (peak for peak in peaks if peak.kind == kind)
        more = longest.resident - shortest.resident
        steps = f"{longest.steps} steps than for {shortest.steps}"
        text = f"training on a {kind} takes {three_digits(more)} MB more for {steps} (asked: {GROWTH_ASKED})"
        claims.append(Claim(text, more <= GROWTH_ASKED))
    return claims


STREAM, ENSEMBLE = "stream", "ensemble"
OPTIONS = {"k1": 5, "k2": 20, "learning_rate": 0.01}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def run_and_print_peak(kind: str, steps: str, file: str) -> None:
    params, h_0 = rnn.initial_parameters(), np.zeros((1, 6), np.float32)
    if kind == ENSEMBLE:
        print(ensemble_peak(int(steps), h_0))
        return
    set_back()
    if kind == STREAM:
        updates = rnn.train_stream(params, sine_steps(int(steps)), h_0, **OPTIONS)
    else:
        x, target = inputs_and_targets(load_series(file), np.float32)
        updates = rnn.train(params, x, target, h_0, **OPTIONS, epochs=1)
    for update in updates:
        loss = update.loss
    if not np.isfinite(loss) or update.window.stop != int(steps):
        raise AssertionError("the run is not the one that was asked for: nothing to measure")
    print(peak())


def ensemble_peak(networks: int, h_0) -> float:
    """MB of an epoch of the main job, of this many networks at once."""
    generator = np.random.default_rng(0)
    weights = (generator.normal(0, 0.4, (networks, *shape)).astype(np.float32) for shape in ((1, 6), (6, 6), (6, 1)))
    params = rnn.Parameters(*weights)
    x, target = inputs_and_targets(sine(), np.float32)
    set_back()
    for update in rnn.train(params, x, target, h_0, k1=1, k2=1, learning_rate=0.1, epochs=1):
        loss = update.loss
    if loss.shape != (networks,) or not np.isfinite(loss).all():
        raise AssertionError("the run is not the one that was asked for: nothing to measure")
    return peak()


def sine_steps(steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A sine wave a step at a time, each target the next input; nothing of it is kept here."""
    following = np.zeros((1, 1), np.float32)
    for t in range(1, steps + 1):
        x_t, following = following, np.full((1, 1), math.sin(t / 10), np.float32)
        yield x_t, following


def set_back() -> bool:
    """Begin to look for the peak now, so that imports cannot hide what training takes; whether the system allows it."""
    with suppress(OSError):
        CLEAR.write_text("5")  # proc(5)
        return True
    return False


def peak() -> float:
    """MB."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


if __name__ == "__main__":
    run_and_print_peak(*sys.argv[1:])
