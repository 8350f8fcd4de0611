"""Measures everything: round 0, in which every row must agree, the timed rounds, then memory, suite and profile.

One process runs at a time.
"""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.claims import time_claims
from benchmarks.costs import cost_claims
from benchmarks.estimates import Requested, times_of
from benchmarks.line_profile import Line, Profile
from benchmarks.load import LOAD, load_at_start, load_between, load_claim, read_load, round_disturbance, thread_claim
from benchmarks.machine import Machine, kernel_claims
from benchmarks.plan import COLD, IMPORT, PROFILE, ROW_TASKS, Group, Key, Piece, pieces_of_round, plan_groups
from benchmarks.rows import AGAIN, OURS
from benchmarks.store import CRASHED, VERDICTS, Store, merged
from benchmarks.summary import Findings
from benchmarks.system import ROOT, cache_environment, worker_environment
from benchmarks.worker import AGREES, CRASHES, Verdict
from benchmarks.workloads import DEFAULT_EXPERIMENT, Case, point
from numpy_rnn.app.terminal import progress

SEED = 0  # of the order of the pieces
IMPORT_PROGRAM = "from time import perf_counter; start = perf_counter(); import {}; print(perf_counter() - start)"
PROFILED = (DEFAULT_EXPERIMENT._replace(epochs=30), point(64, 8), point(512, 32))  # in the quick mode the first two

Advance = Callable[[int, int, str], None]  # is called after every piece: how many are done, of how many, and its row


def measure_all(options: Namespace, store: Store, machine: Machine) -> tuple[Findings, dict[str, Any]]:
    """The findings, and the times as a suite in pyperf's format."""
    groups, tasks = plan_groups(options.choice), options.choice.tasks
    start = load_at_start()
    with progress("benchmarks", None, "pieces") as bar:

        def advance(done, total, row):
            bar.advance(1, lambda: {"row": row}, total)

        verdicts, disturbed = run_rounds(groups, options.rounds, store, advance, options.repeats)
    contents = store.measured()
    suite = merged(content for content in contents if CRASHED not in content)
    times, requested = times_of(suite), requested_of(groups)
    with TemporaryDirectory() as folder:
        claims, memory = cost_claims(tasks, options.steps, Path(folder))
    findings = Findings(
        machine=machine,
        start=start,
        pools=sorted({benchmark["metadata"].get("thread_pools", "") for benchmark in suite["benchmarks"]} - {""}),
        command=options.command,
        rounds=options.rounds,
        times=times,
        compiling={Key.from_text(v.key): v.compile_seconds for v in verdicts if v.compile_seconds is not None},
        requested=requested,
        verdicts=verdicts,
        crashes=[content[CRASHED] for content in contents if CRASHED in content],
        claims=[
            *kernel_claims(machine),
            *([threads] if (threads := thread_claim(suite)) else []),
            load_claim(start, disturbed, store.discarded()),
            *time_claims(times, requested),
            *claims,
        ],
        memory=memory,
        profiles=profiles(PROFILED if options.full else PROFILED[:2]) if PROFILE in tasks else (),
        descriptions=descriptions(groups),
    )
    return findings, suite


def requested_of(groups: Sequence[Group]) -> Requested:
    keys: set[Key] = set()
    cases: dict[str, Case] = {}
    for group in groups:
        for row, jobs in group.jobs.items():
            keys |= {Key(job.task, row, job.case.name, group.threads) for job in jobs}
            cases |= {job.case.name: job.case for job in jobs if job.task not in (COLD, IMPORT)}
    return Requested(frozenset(keys), cases)


def profiles(cases: Iterable[Case]) -> list[Profile]:
    """Profiles of numpy_rnn, from a fresh process."""
    printed = _python("-m", "benchmarks.line_profile", *(case.to_text() for case in cases))
    return [Profile(case, seconds, [Line(*line) for line in lines]) for case, seconds, lines in json.loads(printed)]


def descriptions(groups: Sequence[Group]) -> dict[str, str]:
    """How the rows are written, from a process of its own, as it imports all their packages."""
    jobs = [(row, job) for group in groups for row, row_jobs in group.jobs.items() for job in row_jobs]
    rows = sorted({row for row, job in jobs if job.task in ROW_TASKS})
    return json.loads(_python("-m", "benchmarks.worker", "--describe", *rows)) if rows else {}


# -- rounds ----------------------------------------------------------------------------------------------------------


def run_rounds(
    groups: Sequence[Group], rounds: int, store: Store, advance: Advance, repeats: int = 0
) -> tuple[list[Verdict], dict[int, str]]:
    """Runs all pieces that the store does not contain yet.

    Returns the verdicts of round 0, and what disturbed rounds that are kept: after `repeats` discarded rounds, a
    disturbed round is kept.
    """
    generator = Random(SEED)
    first = [piece for piece in pieces_of_round(0, groups, generator) if piece.row != AGAIN]
    total, done = len(first) * (rounds + 1), 0  # an estimate until the verdicts are known
    for piece in first:
        run_piece(piece, store)
        advance(done := done + 1, total, piece.row)
    verdicts = [verdict for piece in first for verdict in verdicts_of(piece, store)]
    timed = agreeing_groups(groups, {verdict.key: verdict for verdict in verdicts})
    orders = [pieces_of_round(number, timed, generator) for number in range(1, rounds + 1)]
    total, disturbed = len(first) + sum(map(len, orders)), {}
    for number, order in enumerate(orders, start=1):
        while True:
            for piece in order:
                run_piece(piece, store)
                advance(done := done + 1, total, piece.row)
            if (reason := round_disturbance([store.read(piece) for piece in order])) is None:
                break
            if len(store.discarded()) >= repeats:
                disturbed[number] = reason
                break
            store.discard(number, order)
            total += len(order)
    return verdicts, disturbed


def run_piece(piece: Piece, store: Store) -> None:
    """Runs the piece unless the store contains it, and records the load. If its process crashes, that is recorded."""
    if store.done(piece):
        return
    task = piece.jobs[0].task
    whole = task == IMPORT or (task == COLD and piece.round > 0)  # round 0 checks the run of a cold start
    before = read_load()
    content: Any
    try:
        content = whole_process(piece) if whole else worker(piece, store)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit status {error.returncode}"])[-1]
        content = {CRASHED: f"{piece.keys[0].to_text()}, round {piece.round}: {last}"}
    else:
        content = content if piece.round else {VERDICTS: [] if whole else content}
    store.write(piece, content | {LOAD: load_between(before, read_load())})


def worker(piece: Piece, store: Store) -> Any:
    """What a worker writes for this piece."""
    file = store.file(piece).with_suffix(".measured")
    file.unlink(missing_ok=True)
    with TemporaryDirectory() as fresh:  # for cold starts: no other piece may use what they compile
        folder = Path(fresh) if piece.jobs[0].task == COLD else store.cache()
        environment = cache_environment(folder)
        _python("-m", "benchmarks.worker", piece.to_text(), str(file), threads=piece.threads, environment=environment)
    content = json.loads(file.read_text())
    file.unlink()
    return content


def whole_process(piece: Piece) -> dict[str, Any]:
    """The time of a fresh process in pyperf's format; of an import, without the start of Python.

    A cold start compiles everything: compilers keep their caches in the folder for temporary files, which is new.
    """
    if piece.jobs[0].task == IMPORT:
        seconds = float(_python("-c", IMPORT_PROGRAM.format(piece.row), threads=piece.threads))
    else:
        with TemporaryDirectory() as folder:
            environment, start = {"TMPDIR": folder}, perf_counter()
            _python("-m", "benchmarks.worker", piece.to_text(), threads=piece.threads, environment=environment)
            seconds = perf_counter() - start
    metadata = {"name": piece.keys[0].to_text(), "round": piece.round, "loops": 1, "unit": "second"}
    return {"benchmarks": [{"runs": [{"values": [seconds]}]}], "metadata": metadata, "version": "1.0"}


def _python(*arguments: str, threads: int = 1, environment: Mapping[str, str] | None = None) -> str:
    """What a fresh Python process prints."""
    whole = worker_environment(threads) | dict(environment or {})
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=whole, capture_output=True, text=True, check=True).stdout


def verdicts_of(piece: Piece, store: Store) -> list[Verdict]:
    """The verdicts of a piece of round 0; if its process crashed, all its jobs did."""
    content = store.read(piece)
    if CRASHED in content:
        return [Verdict(key.to_text(), CRASHES, content[CRASHED]) for key in piece.keys]
    return [Verdict(**verdict) for verdict in content[VERDICTS]]


def agreeing_groups(groups: Iterable[Group], verdicts: Mapping[str, Verdict]) -> list[Group]:
    """What is timed: the jobs that agree, with their loops."""
    timed = []
    for group in groups:
        jobs = {row: _agreeing_jobs(of_row, row, group.threads, verdicts) for row, of_row in group.jobs.items()}
        timed.append(group._replace(jobs={row: kept for row, kept in jobs.items() if kept}))
    return timed


def _agreeing_jobs(jobs, row, threads, verdicts):
    kept = []
    for job in jobs:
        verdict = verdicts.get(Key(job.task, OURS if row == AGAIN else row, job.case.name, threads).to_text())
        if job.task == IMPORT or (verdict is not None and verdict.outcome == AGREES):
            kept.append(job._replace(loops=verdict.loops if verdict else 1))
    return tuple(kept)
