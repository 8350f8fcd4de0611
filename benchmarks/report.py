"""The report of a run, in Markdown: `python -m benchmarks.report FILE` prints that of a file of pyperf.

With `--output FOLDER`, it is written to README.md there, and the times to results.json, without what pyperf records of
every process; with `--readme FILE`, the summary replaces the one in this file.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from math import floor, log10
from pathlib import Path
from statistics import median

import pyperf

from benchmarks.estimates import MAX_INTERVAL, MAX_LOAD, Estimate, Times, times_of
from benchmarks.rows import ROWS
from benchmarks.tasks import (
    CALLS,
    CHARACTERS,
    COLD,
    FORWARD,
    GRADIENT,
    IMPORT,
    JAX,
    MODULES,
    OURS,
    RUN,
    STEP,
    Key,
)
from benchmarks.workloads import (
    CASES,
    CHARACTER_MODELS,
    DEFAULT_EXPERIMENT,
    ENSEMBLES,
    HUGE,
    SLIDING,
    Case,
    point,
)

NUMBER = re.compile(r"-?\d[\d.,]*\??( \[[^]]*\])?")
KEPT = (
    "cpu_model_name",
    "cpu_count",
    "platform",
    "python_version",
    "packages",
    "kernels",
    "threads",
    "commit",
)
KEPT_OF_RUN = (
    "name",
    "unit",
    "loops",
    "load_avg_1min",
    "load_of_others",
    "compile_seconds",
)  # of every process

READING = """\
A time is the median of several processes, with the fastest and the slowest process in brackets: an interval that
contains the true median with more than 95 % confidence if there are six. Ratios are those of medians, with an
interval that follows from those of the two times. A row is timed on a case only if half of the digits of its results,
at least, are those of the reference in float64. `bare calls` are the fewest NumPy calls that the equations need, and
`bare GEMMs` the matrix products alone, each in the fastest of all layouts: a lower bound on the time of training that
consists of them. `bare calls` compute all losses. They leave out checks, the setup of memory, and the copies that an
Update holds, which a program for one case could leave out too; and the copies of transposed weights and of inputs into
place, which it could not. `forward` of numpy_rnn returns new arrays, whose memory the system clears in every call if
they are large; with glibc, MALLOC_TRIM_THRESHOLD_=100000000 and MALLOC_MMAP_THRESHOLD_=33554432 in the environment of
a process keep it."""
DISTURBED = f"""\
A question mark is at times that were disturbed: other programs used more than {MAX_LOAD} CPUs, or the interval is wider
than ±{100 * MAX_INTERVAL:g} %."""

SUMMARY = (
    (RUN, DEFAULT_EXPERIMENT, "the default experiment"),
    (RUN, SLIDING[0], "a sliding window of 5 steps"),
    (RUN, ENSEMBLES[2], "1000 networks at once, for each"),
    (CHARACTERS, CHARACTER_MODELS[1], "a character model, H = 100"),
    (STEP, point(64, 8), "H = 64, B = 8, T = 50"),
    (STEP, point(256, 32), "H = 256, B = 32, T = 50"),
)

SUMMARY_HEAD = "time of an update", f"{OURS}, µs", MODULES, JAX, CALLS

Table = list[str]  # lines of Markdown; empty if there is nothing to show


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.report", description="Print the report of a benchmark run."
    )
    parser.add_argument("file", help="times in pyperf's format")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="write README.md and results.json here"
    )
    parser.add_argument(
        "--readme", type=Path, metavar="FILE", help="replace the summary in this file"
    )
    options = parser.parse_args(arguments)
    try:
        suite = pyperf.BenchmarkSuite.load(options.file)
    except (OSError, ValueError, KeyError) as error:
        parser.error(
            f"cannot read {options.file!r}: {error}; expected a file of python -m benchmarks --output"
        )
    if options.output is None:
        print(report(suite), end="")
        return
    suite = shortened(suite)
    (options.output / "README.md").write_text(report(suite), encoding="utf-8")
    results = options.output / "results.json"
    suite.dump(str(results), replace=True)
    if options.readme is not None:
        options.readme.write_text(
            with_summary(options.readme.read_text("utf-8"), suite), encoding="utf-8"
        )
    results.write_text(
        results.read_text().replace('{"metadata":', '\n{"metadata":')
    )  # a line for each benchmark


def shortened(suite: pyperf.BenchmarkSuite) -> pyperf.BenchmarkSuite:
    """The same times, to four digits, without most of what pyperf records of every process."""
    benchmarks = []
    for benchmark in suite:
        runs = []
        for run in benchmark.get_runs():
            metadata = {
                name: value
                for name, value in run.get_metadata().items()
                if name in KEPT + KEPT_OF_RUN
            }
            values = [float(f"{value:.3e}") for value in run.values]
            runs.append(pyperf.Run(values, metadata=metadata, collect_metadata=False))
        benchmarks.append(pyperf.Benchmark(runs))
    return pyperf.BenchmarkSuite(benchmarks)


# -- tables ----------------------------------------------------------------------------------------------------------


def show(value: Estimate) -> str:
    return f"{number(value)} [{three_digits(value.low)}, {three_digits(value.high)}]"


def number(value: Estimate) -> str:
    """The median, with a question mark if it is disturbed."""
    return three_digits(value.median) + "?" * value.is_disturbed


def three_digits(value: float) -> str:
    """At least three significant digits, without an exponent."""
    rounded = float(f"{value:.2e}")  # or 0.9999 would be 1.000
    decimals = 2 - floor(log10(abs(rounded))) if rounded else 2
    return f"{value:.{max(decimals, 0)}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A Markdown table with aligned columns: numbers to the right, text to the left. Empty without rows."""
    if not rows:
        return []
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    left = [not any(map(NUMBER.fullmatch, column[1:])) for column in columns]
    formats = [f"{{:{'<' if is_left else '>'}{width}}}" for width, is_left in zip(widths, left)]
    rule = ["-" * (width + 1) + ("-" if is_left else ":") for width, is_left in zip(widths, left)]
    lines = [
        f"| {' | '.join(form.format(cell) for form, cell in zip(formats, line))} |"
        for line in (head, *rows)
    ]
    return [lines[0], f"|{'|'.join(rule)}|", *lines[1:]]


def machine_lines(suite: pyperf.BenchmarkSuite) -> list[str]:
    """What the run was measured on; where processes differ, all values are listed."""
    processes = [run.get_metadata() for benchmark in suite for run in benchmark.get_runs()]
    found = {
        name: {str(metadata[name]) for metadata in processes if name in metadata} for name in KEPT
    }
    value = {name: "; ".join(sorted(values)) or "unknown" for name, values in found.items()}
    loads = [metadata["load_avg_1min"] for metadata in processes if "load_avg_1min" in metadata]
    counts = sorted({len(benchmark.get_runs()) for benchmark in suite})
    return [
        f"- CPU: {value['cpu_model_name']}, {value['cpu_count']} cores",
        f"- System: {value['platform']}, Python {value['python_version']}",
        f"- Packages: {value['packages']}",
        f"- Kernels: {value['kernels']}",
        f"- Threads: {value['threads']}",
        *([f"- Load average of 1 minute: {min(loads):.2f} to {max(loads):.2f}"] if loads else []),
        f"- Processes of a benchmark: {', '.join(map(str, counts))}",
        f"- Commit: {value['commit']}",
    ]


def summary(times: Times) -> str:
    """The part of the project's README: six cases, and how far they are from the floor."""
    lines, of_floor = [], []
    for task, case, name in SUMMARY:
        ours = times.get(Key(task, case.name, OURS))
        if ours:
            count = case.networks * (1 if task == STEP else case.updates)
            others = [times.get(Key(task, case.name, row)) for row in (MODULES, JAX, CALLS)]
            ratios = [number(other.over(ours)) if other else "" for other in others]
            lines.append([name, number(ours.times(1e6 / count)), *ratios])
            of_floor += [ours.over(floor) for floor in others[2:] if floor]
    near = (
        f"`{CALLS}` are the fewest NumPy calls possible, a floor: `{OURS}` takes {number(min(of_floor))} to"
        f" {number(max(of_floor))} times as long.\n[benchmarks/README.md](benchmarks/README.md) has all times and"
        f" the machine.\n{DISTURBED}"
    )
    return "\n".join([*table(SUMMARY_HEAD, lines), "", near])


def with_summary(text: str, suite: pyperf.BenchmarkSuite) -> str:
    """The text with this summary in place of its own."""
    old = re.compile(
        rf"^\| {SUMMARY_HEAD[0]}.*?{re.escape(DISTURBED.splitlines()[-1])}",
        re.MULTILINE | re.DOTALL,
    )
    return old.sub(lambda _: summary(times_of(suite)), text)


def ranked_table(times: Times, task: str, case: Case, compiling: dict[Key, float]) -> Table:
    """The rows of a case, the fastest first."""
    rows = sorted(
        (time, key) for key, time in times.items() if (key.task, key.case) == (task, case.name)
    )
    ours = times.get(Key(task, case.name, OURS))
    lines = [
        [
            key.row,
            show(time.times(1e6 / case.updates)),
            show(time.over(ours)) if ours and key.row != OURS else "",
            f"{compiling[key]:.1f}" if key in compiling else "",
        ]
        for time, key in rows
    ]
    return table([case.name, "µs per update", f"row / {OURS}", "seconds to compile"], lines)


def runs_table(times: Times, head: str, cases: Iterable[Case]) -> Table:
    """Nanoseconds per update and network of every row and case."""
    columns = [case for case in cases if any(key[:2] == (RUN, case.name) for key in times)]
    lines = []
    for row in ROWS:
        found = [times.get(Key(RUN, case.name, row)) for case in columns]
        if any(found):
            units = [case.updates * case.networks for case in columns]
            lines.append(
                [row, *(number(t.times(1e9 / n)) if t else "" for t, n in zip(found, units))]
            )
    return table([head, *(case.name for case in columns)], lines)


def windows_table(times: Times, task: str) -> Table:
    """Milliseconds of numpy_rnn on every case, and the times of the other rows divided by these."""
    timed = {key.row for key in times if key.task == task}
    rows = [row for row in ROWS if row in timed and row != OURS]
    lines = []
    for case in CASES:
        ours = times.get(Key(task, case, OURS))
        if ours:
            others = [times.get(Key(task, case, row)) for row in rows]
            ratios = [number(other.over(ours)) if other else "" for other in others]
            lines.append([case, show(ours.times(1e3)), *ratios])
    return table([task, f"{OURS}, ms", *(f"{row} / {OURS}" for row in rows)], lines)


def process_table(times: Times, task: str) -> Table:
    rows = sorted((time, key.row) for key, time in times.items() if key.task == task)
    return table([task, "ms of the process"], [[row, show(time.times(1e3))] for time, row in rows])


def compile_seconds(suite: pyperf.BenchmarkSuite) -> dict[Key, float]:
    """The median seconds that compiling took, of the rows that compile."""
    seconds = {}
    for benchmark in suite:
        found = [run.get_metadata().get("compile_seconds") for run in benchmark.get_runs()]
        if None not in found:
            seconds[Key.from_text(benchmark.get_name())] = median(found)
    return seconds


def report(suite: pyperf.BenchmarkSuite) -> str:
    """All tables, and what the times were measured on."""
    times = times_of(suite)
    compiling = compile_seconds(suite)
    sections: list[tuple[str, Table]] = [
        ("The default experiment", ranked_table(times, RUN, DEFAULT_EXPERIMENT, compiling)),
        ("Sliding windows", runs_table(times, "ns per update", [DEFAULT_EXPERIMENT, *SLIDING])),
        ("Ensembles", runs_table(times, "ns per update and network", [*ENSEMBLES, HUGE])),
        ("Character models", _characters(times, compiling)),
        ("Forward", windows_table(times, FORWARD)),
        ("Gradient", windows_table(times, GRADIENT)),
        ("Gradient and update", windows_table(times, STEP)),
        ("Cold start: the default experiment in a fresh process", process_table(times, COLD)),
        ("Imports", process_table(times, IMPORT)),
        (
            "The rows",
            [f"- {row}: {ROWS[row].about}" for row in ROWS if any(key.row == row for key in times)],
        ),
    ]
    intro = (
        "`python -m benchmarks --full --undisturbed --output FILE` measures these times, and more. `python -m"
        " benchmarks.report FILE --output benchmarks --readme README.md` writes this page and the table of README.md."
        " It needs the extras `torch`, `benchmark` and `rows`; rows whose packages are missing are left out."
    )
    disturbed = (
        f"- Disturbed times: {sum(time.is_disturbed for time in times.values())} of {len(times)}"
    )
    head = ["# Speed", "", intro, "", *machine_lines(suite), disturbed, "", READING, DISTURBED]
    for title, lines in sections:
        if lines:
            head += ["", f"## {title}", "", *lines]
    return "\n".join(head) + "\n"


def _characters(times, compiling):
    """What the models are, and a table for each dtype."""
    lines: Table = []
    for model in CHARACTER_MODELS:
        if ranked := ranked_table(times, CHARACTERS, model, compiling):
            lines += ["", *ranked]
    return [CHARACTER_MODELS[0].about, *lines] if lines else []


if __name__ == "__main__":
    main(sys.argv[1:])
