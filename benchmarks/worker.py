"""`python -m benchmarks.worker PIECE OUTPUT`: one fresh process, which measures a piece with pyperf.

Round 0 writes verdicts as JSON: whether the row agrees, and how many calls make a value. Every other round writes what
pyperf measured, in pyperf's format. `python -m benchmarks.worker PIECE` is a cold start: it does one run and exits.
`python -m benchmarks.worker --describe ROW...` prints how these rows are written, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from math import isfinite
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.plan import COLD, Effort, Job, Piece
from benchmarks.rows import FLOORS, RUN, Row, Unsupported, load

if TYPE_CHECKING:
    import pyperf

AGREES, DISAGREES, CRASHES, SKIPPED = "agrees", "disagrees", "crashes", "skipped"


class Verdict(NamedTuple):
    """The outcome of a job in round 0."""

    key: str
    outcome: str  # one of the four
    text: str = ""  # the reason, and the tensor with the largest difference
    share: float | None = None  # of its bound that the largest difference reaches
    loops: int = 0  # calls per value
    compile_seconds: float | None = None  # None if nothing was compiled, or the result was cached


def main(piece_text: str, output: str = "") -> None:
    from benchmarks.system import use_cores

    piece = Piece.from_text(piece_text)
    use_cores(piece.threads)
    row = load(piece.row)
    if not output:
        row.tasks[RUN](piece.jobs[0].case).call()
    elif piece.round == 0:
        Path(output).write_text(json.dumps([verdict._asdict() for verdict in judge_piece(piece, row)]))
    else:
        measure(piece, row, output)


def describe(rows: Iterable[str]) -> dict[str, str]:
    """How each row is written, or why it is absent. Imports the packages of these rows."""
    loaded = {name: load(name) for name in rows}
    return {name: f"absent: {reason}" if (reason := row.absent()) else row.about for name, row in loaded.items()}


def judge_piece(piece: Piece, row: Row) -> list[Verdict]:
    """Checks every job of the piece against the equivalence suite and, if it agrees, calibrates its loops."""
    from benchmarks.system import use_threads

    use_threads(piece.threads)
    runner = pyperf_runner(piece.effort, "--calibrate-loops")
    verdicts = []
    for job, key in zip(piece.jobs, piece.keys, strict=True):
        try:
            verdicts.append(_judge_job(job, key.to_text(), row, runner))
        except Exception as error:  # whatever a row raises, from any package, fails this job and no other
            verdicts.append(Verdict(key.to_text(), CRASHES, f"{type(error).__name__}: {error}"))
    return verdicts


def _judge_job(job: Job, name: str, row: Row, runner: pyperf.Runner) -> Verdict:
    from benchmarks.agreement import judge

    if (reason := row.absent()) is not None:
        return Verdict(name, SKIPPED, reason)
    task = RUN if job.task == COLD else job.task
    if task not in row.tasks:
        return Verdict(name, SKIPPED, f"has no {task}")
    try:
        prepared = row.tasks[task](job.case)
    except Unsupported as reason:
        return Verdict(name, SKIPPED, str(reason))
    text, share = "", None
    if row.name not in FLOORS:  # floors compute no results
        agreement = judge(task, job.case, prepared.result())
        text, share = agreement.text, agreement.share
        if not agreement.holds:
            return Verdict(name, DISAGREES, text, share if isfinite(share) else None)
    metadata = runner.bench_func(name, prepared.call).get_runs()[0].get_metadata()
    return Verdict(name, AGREES, text, share, int(metadata["calibrate_loops"]), prepared.compile_seconds)


def measure(piece: Piece, row: Row, output: str) -> None:
    """Warms up and measures every job; pyperf writes each benchmark to `output` as it ends."""
    from benchmarks.system import use_threads

    runner = pyperf_runner(piece.effort, "--loops", "1", "--output", output)
    for job, key in zip(piece.jobs, piece.keys, strict=True):
        prepared = row.tasks[job.task](job.case)
        metadata = {"round": piece.round, "case": job.case.to_text(), "thread_pools": use_threads(piece.threads)}
        metadata["busy_cores"] = busy_cores(prepared.call)
        runner.args.loops = job.loops
        runner.args.warmups = piece.effort.warmups if job.loops > 1 else 0  # one long call before it warms up enough
        runner.bench_func(key.to_text(), prepared.call, metadata=metadata)


def busy_cores(call: Callable[[], Any]) -> float:
    """Processor seconds per second of a call, of all threads: this includes pools that cannot be queried."""
    start, cpu_start = perf_counter(), process_time()
    call()
    return (process_time() - cpu_start) / (perf_counter() - start)


def pyperf_runner(effort: Effort, *arguments: str) -> pyperf.Runner:
    """pyperf as it runs in its own workers: only this process measures."""
    import pyperf

    runner = pyperf.Runner(values=effort.values, warmups=effort.warmups, min_time=effort.min_seconds)
    runner.parse_args(["--worker", "--quiet", *arguments])
    return runner


if __name__ == "__main__":
    if sys.argv[1] == "--describe":
        print(json.dumps(describe(sys.argv[2:])))
    else:
        main(*sys.argv[1:])
