"""Tables of a file of pyperf: `python -m benchmarks.report FILE` writes them into both
pages.

README.md here has all times, README.md of the project has one table. FILE is copied,
without paths.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import pyperf

from benchmarks.cases import CASES
from benchmarks.implementations import IMPLEMENTATIONS

CHECKOUT = Path(__file__).parents[1]
OUR_NAME = "numpy_rnn"
FLOOR_NAME = "NumPy floor"
MAX_REGRESSION = 0.1  # of a ratio to the floor
RESULTS = CHECKOUT / "benchmarks/results.json"
MAX_LOAD = 1.5  # average of a minute
MAX_SPREAD = 0.1  # of the processes from their median, relative
BEGIN = "<!-- times -->\n"
END = "<!-- end of times -->"
MACHINE = (
    "cpu_model_name",
    "platform",
    "python_version",
    "packages",
    "kernels",
    "commit",
)
PRIVATE = ("python_executable", "python_config_args", "python_cflags", "hostname")


def benchmark_name(case: str, implementation: str) -> str:
    """Return the name that pyperf gives to the times of a case."""
    return f"{case} / {implementation}"


def split_name(name: str) -> tuple[str, str]:
    """Return the case and the implementation of a name of `benchmark_name`."""
    case, _, implementation = name.partition(" / ")
    return case, implementation


def timed_names(suite: pyperf.BenchmarkSuite) -> set[str]:
    """Return the implementations that were timed in a case."""
    names = set()
    for benchmark in suite:
        _, implementation = split_name(benchmark.get_name())
        names.add(implementation)
    return names


def microseconds(benchmark: pyperf.Benchmark) -> float:
    """Return the median of the processes, in µs per update and network."""
    name, _ = split_name(benchmark.get_name())
    case = CASES[name]
    networks = case.networks or 1
    return 1e6 * median(process_times(benchmark)) / case.updates / networks


def process_times(benchmark: pyperf.Benchmark) -> list[float]:
    """Return the median of every process, in seconds."""
    times = []
    for run in benchmark.get_runs():
        if run.values:  # the process of the calibration has none
            times.append(median(run.values))
    return times


def loads(benchmark: pyperf.Benchmark) -> list[float]:
    """Return the load average of a minute at every process."""
    averages = []
    for run in benchmark.get_runs():
        averages.append(run.get_metadata().get("load_avg_1min", 0))
    return averages


def is_disturbed(benchmark: pyperf.Benchmark) -> bool:
    """Return whether other programs ran meanwhile, or processes differ by 10 %."""
    times = process_times(benchmark)
    middle = median(times)
    spread = max(abs(time / middle - 1) for time in times)
    return max(loads(benchmark)) > MAX_LOAD or spread > MAX_SPREAD


def times_table(suite: pyperf.BenchmarkSuite, names: Sequence[str]) -> str:
    """Return a row per case, in Markdown: µs, and in parentheses multiples of ours.

    What was timed in no case has no column.
    """
    measured = {benchmark.get_name(): benchmark for benchmark in suite}
    timed = timed_names(suite)
    columns = [name for name in names if name in timed]
    lines = [["µs per update", *columns], [":--", *["--:"] * len(columns)]]
    for case in CASES:
        ours = measured.get(benchmark_name(case, OUR_NAME))
        if ours is None:
            continue
        line = [case]
        for name in columns:
            benchmark = measured.get(benchmark_name(case, name))
            line.append(cell(benchmark, ours))
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def floor_ratios(suite: pyperf.BenchmarkSuite) -> dict[str, float]:
    """Return the times of numpy_rnn as multiples of those of the floor, by case."""
    measured = {benchmark.get_name(): benchmark for benchmark in suite}
    ratios = {}
    for case in CASES:
        ours = measured.get(benchmark_name(case, OUR_NAME))
        floor = measured.get(benchmark_name(case, FLOOR_NAME))
        if ours and floor:
            ratios[case] = microseconds(ours) / microseconds(floor)
    return ratios


def regressions(
    suite: pyperf.BenchmarkSuite, committed: pyperf.BenchmarkSuite
) -> list[str]:
    """Return a line for each case whose ratio to the floor is more than MAX_REGRESSION
    above the committed one. Ratios of one run are compared, since times are those of a
    machine.
    """
    former = floor_ratios(committed)
    lines = []
    for case, ratio in floor_ratios(suite).items():
        if case in former and ratio > former[case] * (1 + MAX_REGRESSION):
            lines.append(
                f"REGRESSION {case}: {ratio:.2f} times the floor, and"
                f" {former[case]:.2f} in results.json"
            )
    return lines


def cell(benchmark: pyperf.Benchmark | None, ours: pyperf.Benchmark) -> str:
    """Return a time, its ratio to ours, and a question mark if it is disturbed."""
    if benchmark is None:
        return ""
    time = microseconds(benchmark)
    text = short(time)
    if benchmark is not ours:
        text += f" ({short(time / microseconds(ours))}×)"
    if is_disturbed(benchmark):
        text += " ?"
    return text


def short(number: float) -> str:
    """Return a number with three digits, and no exponent."""
    return f"{float(f'{number:.3g}'):,.10g}"


def report(suite: pyperf.BenchmarkSuite, names: Sequence[str]) -> str:
    """Return all times, the machine that they are of, and the implementations that
    were timed.
    """
    lines = [times_table(suite, names)]
    for field in MACHINE:
        values = set()
        for benchmark in suite:
            values.add(str(benchmark.get_metadata().get(field, "unknown")))
        lines.append(f"- {field.replace('_', ' ')}: {'; '.join(sorted(values))}")
    averages = []
    for benchmark in suite:
        averages += loads(benchmark)
    lines.append(f"- load average: {min(averages):.2f} to {max(averages):.2f}")
    processes = min(len(process_times(benchmark)) for benchmark in suite)
    lines.append(f"- processes per benchmark: {processes}\n")
    timed = timed_names(suite)
    for name, implementation in IMPLEMENTATIONS.items():
        if name in timed:
            lines.append(f"- `{name}`: {implementation.description}")
    return "\n".join(lines) + "\n"


def pages(suite: pyperf.BenchmarkSuite) -> dict[Path, str]:
    """Return both pages with the tables of these times."""
    few = [OUR_NAME, "torch.nn.RNN", "JAX"]
    tables = {
        CHECKOUT / "benchmarks/README.md": report(suite, list(IMPLEMENTATIONS)),
        CHECKOUT / "README.md": times_table(suite, few),
    }
    texts = {}
    for page, table in tables.items():
        text = page.read_text(encoding="utf-8")
        head, _, rest = text.partition(BEGIN)
        texts[page] = head + BEGIN + table + END + rest.partition(END)[2]
    return texts


def main() -> None:
    """Write the tables of a file into both pages, and copy it."""
    (file,) = sys.argv[1:] or [str(RESULTS)]
    for page, text in pages(pyperf.BenchmarkSuite.load(file)).items():
        page.write_text(text, encoding="utf-8")
    times = json.loads(Path(file).read_text(encoding="utf-8"))
    for name in PRIVATE:
        times["metadata"].pop(name, None)
    RESULTS.write_text(json.dumps(times, indent=0), encoding="utf-8")


if __name__ == "__main__":
    main()
