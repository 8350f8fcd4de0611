"""Plant one fault at a time in a copy of the checkout, run the tests of its area, and tell which test fails.

    python tests/fault_injection                     every area: a table of what the tests catch
    python tests/fault_injection core study          these areas
    python tests/fault_injection core --fault tanh   the faults of core whose name or file contains "tanh"
    python tests/fault_injection --write             store the results, and write README.md from them

A fault is a textual change of one file: `old`, which occurs there once, becomes `new`. The faults of an area are in
AREA.toml, the results of the last run of all of them in AREA.csv. The exit status is 1 when a fault survives that has
no reason in AREA.toml, and 2 when a fault does not fit the code or its tests fail without it.
"""

import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

import forks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AREAS = ("core", "app", "conformance", "study", "benchmarks")
LIMIT = 900  # seconds for the tests of one fault; a fault that makes them run for ever is killed then


class Fault(NamedTuple):
    """A textual change: what is wrong after it, where, and which tests are run first."""

    name: str
    file: str
    old: str
    new: str
    tests: Sequence[str] = ()  # files or tests to run before the whole area, as they are expected to fail
    survives: str = ""  # why no test fails: "equivalent: ..." or a reason why a test is not worth its cost


class Result(NamedTuple):
    """What the tests said of a fault: the first test that failed, or "" where all passed."""

    name: str
    file: str
    killed_by: str
    seconds: str
    reason: str  # of a survivor

    @property
    def equivalent(self) -> bool:
        return self.reason.startswith("equivalent")


class CannotRun(Exception):
    """The tests tell nothing about faults."""


def faults(area: str, text: str) -> list[Fault]:
    """The faults of an area whose name or file contains `text`. Raises CannotRun unless all fit."""
    entries = tomllib.loads((HERE / f"{area}.toml").read_text()).get("fault", [])
    chosen = [fault for fault in (Fault(**entry) for entry in entries) if text in fault.name or text in fault.file]
    problems = []
    for fault in chosen:
        path = ROOT / fault.file
        if (count := path.read_text().count(fault.old) if path.is_file() else 0) != 1:
            problems.append(f"{fault.file} has its text {count} times, not once: {fault.name}")
    if problems:
        raise CannotRun("\n".join(problems))
    return chosen


def copy_checkout(target: Path) -> None:
    """Copy the files that git knows or would add, as they are in the working tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def first_failure(checkout: Path, tests: list[str]) -> str:
    """The first test that fails in `checkout`, or what ended the run otherwise; "" if all tests pass."""
    status, printed = forks.run(checkout, tests, LIMIT)
    if status == 0:
        return ""
    if found := re.search(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", printed, re.MULTILINE):
        return found[1]
    if status is not None and status > 0:
        raise CannotRun(f"pytest cannot run {' '.join(tests)}:\n{printed}")
    return "no end" if status is None else f"a crash, status {status}"


def judge_all(area: str, chosen: list[Fault], jobs: int) -> list[Result]:
    """The results of `chosen`, in their order, each printed as it is known; `jobs` copies work at the same time."""
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(jobs) as pool:
        free: Queue[Path] = Queue()
        for n in range(jobs):
            copy_checkout(Path(scratch, str(n)))
            free.put(Path(scratch, str(n)))

        named = sorted({test for fault in chosen for test in fault.tests})
        if failed := first_failure(Path(scratch, "0"), named) if named else "":
            raise CannotRun(f"{failed} fails without a fault, so what it kills means nothing")

        def judge(fault: Fault) -> Result:
            """Plant it in a copy, run its own tests and then its area's, and restore the file."""
            checkout, start = free.get(), time.perf_counter()
            path = checkout / fault.file
            original = path.read_text()
            path.write_text(original.replace(fault.old, fault.new))
            try:
                killed_by = first_failure(checkout, [*fault.tests]) if fault.tests else ""
                killed_by = killed_by or first_failure(checkout, [f"tests/{area}"])
            finally:
                path.write_text(original)
                free.put(checkout)
            seconds, reason = f"{time.perf_counter() - start:.1f}", "" if killed_by else fault.survives
            verdict = f"killed by {killed_by}" if killed_by else "SURVIVED " + reason
            print(f"{area}  {seconds:>6} s  {fault.name}: {verdict}", flush=True)
            return Result(fault.name, fault.file, killed_by, seconds, reason)

        return list(pool.map(judge, chosen))


def write_results(area: str, results: list[Result]) -> None:
    with open(HERE / f"{area}.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("fault", "file", "killed by", "seconds", "reason"), *results])


def read_results(area: str) -> list[Result]:
    with open(HERE / f"{area}.csv", newline="") as file:
        return [Result(*row) for row in list(csv.reader(file))[1:]]


def tables(results: dict[str, list[Result]]) -> str:
    """The summary of every area, the survivors with their reasons, and every fault with the test that kills it."""
    summary = ["| area | faults | killed | equivalent | survive | killed of the others |", "|---|---|---|---|---|---|"]
    survivors, lists = [], []
    for area, rows in results.items():
        killed, equivalent = sum(bool(r.killed_by) for r in rows), sum(r.equivalent for r in rows)
        share = 100 * killed / max(len(rows) - equivalent, 1)
        alive = len(rows) - killed - equivalent
        summary.append(f"| {area} | {len(rows)} | {killed} | {equivalent} | {alive} | {share:.1f} % |")
        survivors += [f"- {r.file}: {r.name}. {r.reason or 'No reason yet.'}" for r in rows if not r.killed_by]
        lists += [f"\n### {area}\n", "| fault | file | killed by | seconds |", "|---|---|---|---|"]
        lists += [f"| {r.name} | {r.file} | {test(r)} | {float(r.seconds):.0f} |" for r in rows]
    lines = [*summary, "\n## Survivors\n", *(survivors or ["None."]), "\n## Every fault", *lists]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def test(result: Result) -> str:
    return result.killed_by.removeprefix("tests/").replace("|", "\\|") or f"none: {result.reason}"


def write_readme() -> None:
    """Replace everything after the marker of README.md by the tables of the stored results."""
    marker = "<!-- The rest is written by: python tests/fault_injection --write -->\n"
    prose, _, _ = (HERE / "README.md").read_text().partition(marker)
    (HERE / "README.md").write_text(f"{prose}{marker}\n{tables({area: read_results(area) for area in AREAS})}")


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="python tests/fault_injection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parsed.add_argument("areas", nargs="*", metavar="AREA", help=f"{', '.join(AREAS)}; default: all")
    parsed.add_argument("--fault", metavar="TEXT", default="", help="only faults whose name or file contains TEXT")
    parsed.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="faults at the same time")
    parsed.add_argument("--write", action="store_true", help="store the results and write README.md from them")
    return parsed


def run(areas: Sequence[str], text: str, jobs: int, write: bool) -> bool:
    """Whether a fault survives that has no reason. Raises CannotRun."""
    if unknown := [area for area in areas if area not in AREAS]:
        raise CannotRun(f"there is no area {unknown[0]!r}; the areas are {', '.join(AREAS)}")
    chosen = {area: faults(area, text) for area in areas}
    forks.start()
    alive = 0
    for area in areas:
        results = judge_all(area, chosen[area], jobs)
        killed, equivalent = sum(bool(r.killed_by) for r in results), sum(r.equivalent for r in results)
        print(f"{area}: {len(results)} faults, {killed} killed, {equivalent} equivalent", flush=True)
        alive += sum(not r.killed_by and not r.reason for r in results)
        if write:
            write_results(area, results)
            write_readme()
    return alive > 0


def main() -> int:
    options = parser().parse_args()
    try:
        if options.write and options.fault:
            raise CannotRun("--write stores the results of all faults of an area; leave out --fault")
        return run(options.areas or AREAS, options.fault, options.jobs, options.write)
    except CannotRun as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
