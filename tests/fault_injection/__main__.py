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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import forks

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
AREAS = ("core", "app", "conformance", "study", "benchmarks")
LIMIT = 900  # seconds for the tests of one fault; a fault that makes them run for ever is killed then


@dataclass(frozen=True)
class Fault:
    """A textual change: what is wrong after it, where, and which tests are run first."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()  # files or tests to run before the whole area, as they are expected to fail
    survives: str = ""  # why no test fails: "equivalent: ..." or a reason why a test is not worth its cost

    def problem(self, root: Path) -> str | None:
        path = root / self.file
        count = path.read_text().count(self.old) if path.is_file() else 0
        return None if count == 1 else f"{self.file} has its text {count} times, not once: {self.name}"


class CannotRun(Exception):
    """The tests tell nothing about faults."""


@dataclass(frozen=True)
class Result:
    """What the tests said of a fault: the first test that failed, or "" where all passed."""

    name: str
    file: str
    killed_by: str
    seconds: float
    reason: str  # of a survivor

    @property
    def equivalent(self) -> bool:
        return self.reason.startswith("equivalent")


def faults(area: str) -> list[Fault]:
    entries = tomllib.loads((HERE / f"{area}.toml").read_text()).get("fault", [])
    return [Fault(**{**entry, "tests": tuple(entry.get("tests", ()))}) for entry in entries]


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


def judge(fault: Fault, area: str, checkout: Path) -> Result:
    """Plant `fault` in `checkout`, run its own tests and then its area's, and restore the file."""
    path, start = checkout / fault.file, time.perf_counter()
    original = path.read_text()
    path.write_text(original.replace(fault.old, fault.new))
    try:
        killed_by = first_failure(checkout, list(fault.tests)) if fault.tests else ""
        killed_by = killed_by or first_failure(checkout, [f"tests/{area}"])
    finally:
        path.write_text(original)
    return Result(fault.name, fault.file, killed_by, time.perf_counter() - start, "" if killed_by else fault.survives)


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

        def one(fault: Fault) -> Result:
            checkout = free.get()
            try:
                result = judge(fault, area, checkout)
            finally:
                free.put(checkout)
            verdict = f"killed by {result.killed_by}" if result.killed_by else "SURVIVED " + result.reason
            print(f"{area}  {result.seconds:6.1f} s  {fault.name}: {verdict}", flush=True)
            return result

        return list(pool.map(one, chosen))


def write_results(area: str, results: list[Result]) -> None:
    with open(HERE / f"{area}.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["fault", "file", "killed by", "seconds", "reason"])
        writer.writerows([r.name, r.file, r.killed_by, f"{r.seconds:.1f}", r.reason] for r in results)


def read_results(area: str) -> list[Result]:
    path = HERE / f"{area}.csv"
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return [Result(row[0], row[1], row[2], float(row[3]), row[4]) for row in list(csv.reader(file))[1:]]


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
        lists += [f"| {r.name} | {r.file} | {test(r)} | {r.seconds:.0f} |" for r in rows]
    lines = [*summary, "\n## Survivors\n", *(survivors or ["None."]), "\n## Every fault", *lists]
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def test(result: Result) -> str:
    return result.killed_by.removeprefix("tests/").replace("|", "\\|") or f"none: {result.reason}"


def write_readme() -> None:
    """Replace everything after the marker of README.md by the tables of the stored results."""
    marker = "<!-- The rest is written by: python tests/fault_injection --write -->\n"
    readme = HERE / "README.md"
    results = {area: rows for area in AREAS if (rows := read_results(area))}
    readme.write_text(readme.read_text().split(marker)[0] + marker + "\n" + tables(results))


def parser() -> argparse.ArgumentParser:
    parsed = argparse.ArgumentParser(
        prog="python tests/fault_injection", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parsed.add_argument("areas", nargs="*", metavar="AREA", help=f"of {', '.join(AREAS)}; default: all")
    parsed.add_argument("--fault", metavar="TEXT", help="only faults whose name or file contains TEXT")
    parsed.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="faults at the same time")
    parsed.add_argument("--write", action="store_true", help="store the results and write README.md from them")
    return parsed


def main() -> int:
    options = parser().parse_args()
    areas = options.areas or list(AREAS)
    if unknown := [area for area in areas if area not in AREAS]:
        print(f"error: there is no area {unknown[0]!r}; the areas are {', '.join(AREAS)}", file=sys.stderr)
        return 2
    if options.write and options.fault:
        print("error: --write stores the results of all faults of an area; leave out --fault", file=sys.stderr)
        return 2
    text = options.fault or ""
    chosen = {area: [fault for fault in faults(area) if text in fault.name or text in fault.file] for area in areas}
    if problems := [p for area in areas for fault in chosen[area] if (p := fault.problem(ROOT))]:
        print("\n".join(f"error: {problem}" for problem in problems), file=sys.stderr)
        return 2
    forks.start()
    alive = 0
    for area in areas:
        try:
            results = judge_all(area, chosen[area], options.jobs)
        except CannotRun as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        killed = sum(bool(r.killed_by) for r in results)
        equivalent = sum(r.equivalent for r in results)
        print(f"{area}: {len(results)} faults, {killed} killed, {equivalent} equivalent", flush=True)
        alive += sum(not r.killed_by and not r.reason for r in results)
        if options.write:
            write_results(area, results)
            write_readme()
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
