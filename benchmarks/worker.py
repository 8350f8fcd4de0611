"""`python -m benchmarks.worker PIECE OUTPUT`: one fresh process, which measures a piece by pyperf.

Round 0 writes verdicts as JSON: does the row agree, and how many calls make a value. Any other round writes what pyperf
measured, in pyperf's own format. `python -m benchmarks.worker PIECE` is a cold start: it makes the one run and ends.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

from benchmarks.plan import COLD, Effort, Piece
from benchmarks.rows import FLOORS, RUN, Unsupported, load

AGREES, DISAGREES, FAILS, LEFT_OUT = "agrees", "disagrees", "fails", "left out"


class Verdict(NamedTuple):
    """What became of a job in round 0."""

    key: str
    outcome: str  # one of the four
    text: str = ""  # why, and where a row is furthest
    share: float | None = None  # of the bound that its worst number takes
    loops: int = 0  # calls a value
    compile_seconds: float | None = None  # None, too, where it was found compiled already


def main(piece_text: str, output: str = "") -> None:
    piece = Piece.from_text(piece_text)
    row = load(piece.row)
    if not output:
        row.tasks[RUN](piece.jobs[0].case).call()
    elif piece.round == 0:
        Path(output).write_text(json.dumps([verdict._asdict() for verdict in judged(piece, row)]))
    else:
        measure(piece, row, output)


def descriptions(rows: Iterable[str]) -> dict[str, str]:
    """How each row is written, or why it is absent. Imports the packages of these rows."""
    loaded = {name: load(name) for name in rows}
    return {name: f"absent: {absent}" if (absent := row.absent()) else row.about for name, row in loaded.items()}


def judged(piece: Piece, row) -> list[Verdict]:
    """Every job of the piece held against the equivalence suite and, if it agrees, calibrated."""
    from benchmarks.system import use_threads

    use_threads(piece.threads)
    runner = pyperf_runner(piece.effort, "--calibrate-loops")
    verdicts = []
    for job, key in zip(piece.jobs, piece.keys, strict=True):
        try:
            verdicts.append(_judged(job, key.to_text(), row, runner))
        except Exception as error:  # whatever a row raises, from whatever package, is told of it and of no other
            verdicts.append(Verdict(key.to_text(), FAILS, f"{type(error).__name__}: {error}"))
    return verdicts


def _judged(job, name, row, runner):
    from benchmarks.agreement import judge

    if (reason := row.absent()) is not None:
        return Verdict(name, LEFT_OUT, reason)
    task = RUN if job.task == COLD else job.task
    if task not in row.tasks:
        return Verdict(name, LEFT_OUT, f"has no {task}")
    try:
        prepared = row.tasks[task](job.case)
    except Unsupported as unsuited:
        return Verdict(name, LEFT_OUT, str(unsuited))
    text, share = "", None
    if row.name not in FLOORS:  # which compute nothing that could be judged
        found = judge(task, job.case, prepared.result())
        text, share = found.text, found.share
        if not found.holds:
            return Verdict(name, DISAGREES, text, share)
    metadata = runner.bench_func(name, prepared.call).get_runs()[0].get_metadata()
    return Verdict(name, AGREES, text, share, int(metadata["calibrate_loops"]), prepared.compile_seconds)


def measure(piece: Piece, row, output: str) -> None:
    """Warm up and measure every job; pyperf writes each benchmark to `output` as it ends."""
    from benchmarks.system import use_threads

    runner = pyperf_runner(piece.effort, "--loops", "1", "--output", output)
    for job, key in zip(piece.jobs, piece.keys, strict=True):
        prepared = row.tasks[job.task](job.case)
        metadata = {"round": piece.round, "case": job.case.to_text(), "thread_pools": use_threads(piece.threads)}
        runner.args.loops = job.loops
        metadata["cpu_seconds_a_second"] = busy(prepared.call)
        runner.bench_func(key.to_text(), prepared.call, metadata=metadata)


def busy(call) -> float:
    """Seconds of processor that a call takes a second: of all threads, also of those in pools that cannot be asked."""
    began, cpu = perf_counter(), process_time()
    call()
    return (process_time() - cpu) / (perf_counter() - began)


def pyperf_runner(effort: Effort, *arguments: str):
    """pyperf as it runs in its own workers: this process alone measures."""
    import pyperf

    runner = pyperf.Runner(values=effort.values, warmups=effort.warmups, min_time=effort.least_seconds)
    runner.parse_args(["--worker", "--quiet", *arguments])
    return runner


if __name__ == "__main__":
    if sys.argv[1] == "--describe":
        print(json.dumps(descriptions(sys.argv[2:])))
    else:
        main(*sys.argv[1:])
