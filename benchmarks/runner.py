"""Runs the pieces: round 0, in which every row must agree, then the rounds that are timed. One process at a time."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks import costs
from benchmarks.claims import time_claims
from benchmarks.estimates import Wants, times_of
from benchmarks.line_profile import Line, Profile
from benchmarks.plan import (
    COLD,
    IMPORT,
    MEMORY,
    PROFILE,
    ROW_TASKS,
    SUITE,
    Choice,
    Key,
    Piece,
    Wanted,
    pieces_of_round,
    wanted,
)
from benchmarks.rows import AGAIN
from benchmarks.store import BROKE, VERDICTS, Store, merged
from benchmarks.summary import Findings
from benchmarks.system import ROOT, keeping_compiled, system_information, worker_environment
from benchmarks.worker import AGREES, FAILS, Verdict
from benchmarks.workloads import MAIN_JOB, Case, point

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


PROFILED = (MAIN_JOB._replace(epochs=30), point(64, 8), point(512, 32))  # in the quick mode the first two
SUITE_EPOCHS = 300  # of the traces that are judged


def find(options, store: Store) -> tuple[Findings, dict[str, Any]]:
    """The findings, and the times as a suite in pyperf's format."""
    groups = wanted(Choice(options.full, options.rows, options.tasks, options.cases, tuple(options.threads)))
    with progress() as advance:
        verdicts = run_rounds(groups, options.rounds, store, advance)
    contents = measured(store)
    times_suite = merged(content for content in contents if BROKE not in content)
    times, wants = times_of(times_suite), wants_of(groups)
    claims = time_claims(times, wants)
    memory_lines: list[str] = []
    with TemporaryDirectory() as folder:
        if SUITE in options.tasks:
            claims += costs.suite_claims(costs.suite_cost(SUITE_EPOCHS, Path(folder)))
        if MEMORY in options.tasks:
            peaks = costs.memory_peaks(options.steps, Path(folder))
            memory_lines = costs.memory_table(peaks)
            claims += [*costs.memory_claims(peaks), costs.ensemble_claim()]
    found = Findings(
        system=system_information(),
        command=options.command,
        rounds=options.rounds,
        times=times,
        compiling={Key.from_text(v.key): v.compile_seconds for v in verdicts if v.compile_seconds is not None},
        wants=wants,
        verdicts=verdicts,
        broken=[content[BROKE] for content in contents if BROKE in content],
        claims=claims,
        memory=memory_lines,
        profiles=profiles(PROFILED if options.full else PROFILED[:2]) if PROFILE in options.tasks else (),
        abouts=abouts(groups),
    )
    return found, times_suite


def wants_of(groups: list[Wanted]) -> Wants:
    keys: set[Key] = set()
    cases: dict[str, Case] = {}
    for group in groups:
        for row, jobs in group.jobs.items():
            keys |= {Key(job.task, row, job.case.name, group.threads) for job in jobs}
            cases |= {job.case.name: job.case for job in jobs if job.task not in (COLD, IMPORT)}
    return Wants(frozenset(keys), cases)


def profiles(cases: Iterable[Case]) -> list[Profile]:
    """Of numpy_rnn, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.line_profile", *(case.to_text() for case in cases)]
    ran = subprocess.run(command, cwd=ROOT, env=worker_environment(1), capture_output=True, text=True, check=True)
    return [Profile(case, seconds, [Line(*line) for line in lines]) for case, seconds, lines in json.loads(ran.stdout)]


def abouts(groups: list[Wanted]) -> dict[str, str]:
    """How the rows are written, in a process of its own, as it imports all of their packages."""
    jobs = [(row, job) for group in groups for row, row_jobs in group.jobs.items() for job in row_jobs]
    rows = sorted({row for row, job in jobs if job.task in ROW_TASKS})
    command = [sys.executable, "-m", "benchmarks.worker", "--describe", *rows]
    ran = subprocess.run(command, cwd=ROOT, env=worker_environment(1), capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@contextmanager
def progress():
    """A function (done, total, name) that shows how far it is. On standard error, by tqdm if it is installed."""
    if not sys.stderr.isatty() or find_spec("tqdm") is None:
        yield lambda done, total, name: None
        return
    from tqdm import tqdm

    bar = tqdm(unit=" pieces", dynamic_ncols=True, leave=False, file=sys.stderr)

    def advance(done, total, name):
        bar.total = total
        bar.set_postfix_str(name, refresh=False)
        bar.update(done - bar.n)

    try:
        yield advance
    finally:
        bar.close()
