"""Everything that is measured, in order: the rounds of the rows, then memory, the suite's cost and the profile."""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import memory, suite
from benchmarks.cases import MAIN_JOB, Case, point
from benchmarks.claims import time_claims
from benchmarks.pieces import COLD, IMPORT, Key, Wanted
from benchmarks.plan import MEMORY, PROFILE, ROW_TASKS, SUITE, Choice, wanted
from benchmarks.profile import Line, Profile
from benchmarks.progress import progress
from benchmarks.report import Findings
from benchmarks.results import Wants, times_of
from benchmarks.runner import measured, run_rounds
from benchmarks.store import BROKE, Store, merged
from benchmarks.system import ROOT, system_information, worker_environment

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
            claims += suite.claims(suite.suite_cost(SUITE_EPOCHS, Path(folder)))
        if MEMORY in options.tasks:
            peaks = memory.memory_peaks(options.steps, Path(folder))
            memory_lines = memory.memory_table(peaks)
            claims += [*memory.memory_claims(peaks), memory.ensemble_claim()]
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
    command = [sys.executable, "-m", "benchmarks.profile", *(case.to_text() for case in cases)]
    ran = subprocess.run(command, cwd=ROOT, env=worker_environment(1), capture_output=True, text=True, check=True)
    return [Profile(case, seconds, [Line(*line) for line in lines]) for case, seconds, lines in json.loads(ran.stdout)]


def abouts(groups: list[Wanted]) -> dict[str, str]:
    """How the rows are written, in a process of its own, as it imports all of their packages."""
    jobs = [(row, job) for group in groups for row, row_jobs in group.jobs.items() for job in row_jobs]
    rows = sorted({row for row, job in jobs if job.task in ROW_TASKS})
    command = [sys.executable, "-m", "benchmarks.listing", *rows]
    ran = subprocess.run(command, cwd=ROOT, env=worker_environment(1), capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)
