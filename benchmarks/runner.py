"""Runs the pieces: round 0, in which every row must agree, then the rounds that are timed. One process at a time."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.pieces import AGAIN, COLD, IMPORT, Key, Piece, Wanted, pieces_of_round
from benchmarks.store import BROKE, VERDICTS, Store
from benchmarks.system import ROOT, keeping_compiled, worker_environment
from benchmarks.worker import AGREES, FAILS, Verdict

SEED = 0  # of the order of the pieces
IMPORT_PROGRAM = "from time import perf_counter; start = perf_counter(); import {}; print(perf_counter() - start)"
NUMPY_RNN = "numpy_rnn"

Advance = Callable[[int, int, str], None]  # told after every piece: how many are done, of how many, and which came last


def run_rounds(wanted: Sequence[Wanted], rounds: int, store: Store, advance: Advance) -> list[Verdict]:
    """All pieces that the store does not hold yet. Returns the verdicts of round 0."""
    generator = Random(SEED)
    first = [piece for piece in pieces_of_round(0, wanted, generator) if piece.row != AGAIN]
    total = len(first) * (rounds + 1)  # until the verdicts are known
    for number, piece in enumerate(first, start=1):
        do(piece, store)
        advance(number, total, piece.row)
    verdicts = [verdict for piece in first for verdict in verdicts_of(piece, store)]
    timed = agreeing(wanted, {verdict.key: verdict for verdict in verdicts})
    orders = [pieces_of_round(number, timed, generator) for number in range(1, rounds + 1)]
    total = len(first) + sum(map(len, orders))
    for number, piece in enumerate((piece for order in orders for piece in order), start=len(first) + 1):
        do(piece, store)
        advance(number, total, piece.row)
    return verdicts


def do(piece: Piece, store: Store) -> None:
    """Run the piece unless it has been run. A process that breaks is written down as such."""
    if store.done(piece):
        return
    task = piece.jobs[0].task
    whole = task == IMPORT or (task == COLD and piece.round > 0)  # in round 0 the run of a cold start is judged
    try:
        found = whole_process(piece) if whole else worker(piece, store)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"ended with status {error.returncode}"])[-1]
        store.write(piece, {BROKE: f"{piece.keys[0].to_text()}, round {piece.round}: {last}"})
    else:
        store.write(piece, found if piece.round else {VERDICTS: [] if whole else found})


def worker(piece: Piece, store: Store) -> Any:
    """What the worker writes."""
    file = store.file(piece).with_suffix(".measured")
    file.unlink(missing_ok=True)
    with TemporaryDirectory() as fresh:  # for cold starts: what they compile is to be found by no other piece
        folder = Path(fresh) if piece.jobs[0].task == COLD else store.compiled()
        environment = worker_environment(piece.threads) | keeping_compiled(folder)
        _run([sys.executable, "-m", "benchmarks.worker", piece.to_text(), str(file)], environment)
    content = json.loads(file.read_text())
    file.unlink()
    return content


def whole_process(piece: Piece) -> dict[str, Any]:
    """How long a fresh process takes, in pyperf's format; of an import, without the start of Python itself.

    What is compiled is compiled again: the caches of compilers lie in the folder for temporary files, and it is new.
    """
    environment = worker_environment(piece.threads)
    if piece.jobs[0].task == IMPORT:
        seconds = float(_run([sys.executable, "-c", IMPORT_PROGRAM.format(piece.row)], environment))
    else:
        with TemporaryDirectory() as folder:
            began = perf_counter()
            _run([sys.executable, "-m", "benchmarks.worker", piece.to_text()], environment | {"TMPDIR": folder})
            seconds = perf_counter() - began
    return as_pyperf(piece, seconds)


def _run(command, environment):
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


def as_pyperf(piece: Piece, seconds: float) -> dict[str, Any]:
    """A single value in pyperf's format."""
    metadata = {"name": piece.keys[0].to_text(), "round": piece.round, "loops": 1, "unit": "second"}
    return {"benchmarks": [{"runs": [{"values": [seconds]}]}], "metadata": metadata, "version": "1.0"}


def verdicts_of(piece: Piece, store: Store) -> list[Verdict]:
    """What round 0 found; a process that broke is a verdict on all of its jobs."""
    content = store.read(piece)
    if BROKE in content:
        return [Verdict(key.to_text(), FAILS, content[BROKE]) for key in piece.keys]
    return [Verdict(**verdict) for verdict in content[VERDICTS]]


def agreeing(wanted: Iterable[Wanted], verdicts: Mapping[str, Verdict]) -> list[Wanted]:
    """What is timed: the jobs that agree, with their loops."""
    timed = []
    for group in wanted:
        jobs = {row: _timed(row_jobs, row, group.threads, verdicts) for row, row_jobs in group.jobs.items()}
        timed.append(group._replace(jobs={row: kept for row, kept in jobs.items() if kept}))
    return timed


def _timed(jobs, row, threads, verdicts):
    found = []
    for job in jobs:
        verdict = verdicts.get(Key(job.task, NUMPY_RNN if row == AGAIN else row, job.case.name, threads).to_text())
        if job.task == IMPORT or (verdict is not None and verdict.outcome == AGREES):
            found.append(job._replace(loops=verdict.loops if verdict else 1))
    return tuple(found)


def measured(store: Store) -> list[dict]:
    """What the timed pieces wrote, or why they broke."""
    files = sorted(store.folder.glob("[0-9]*-*.json"))
    return [json.loads(file.read_text()) for file in files if not file.name.startswith("000-")]
