"""Tables of a file of pyperf: `python -m benchmarks.report FILE` writes them into both
pages.

README.md here has all times, README.md of the project has one table. FILE is copied,
without paths.
"""

import json
import sys
from pathlib import Path
from statistics import median

import pyperf

from benchmarks.cases import CASES
from benchmarks.implementations import IMPLEMENTATIONS

ROOT = Path(__file__).parents[1]
OURS, *OTHERS = IMPLEMENTATIONS
RESULTS = ROOT / "benchmarks/results.json"
MAX_LOAD, MAX_SPREAD = (
    1.5,
    0.1,
)  # load average of a minute; distance from the median, relative
BEGIN, END = "<!-- times -->\n", "<!-- end of times -->"
MACHINE = (
    "cpu_model_name",
    "platform",
    "python_version",
    "packages",
    "kernels",
    "commit",
)


def seconds(benchmark: pyperf.Benchmark) -> float:
    """Median of the processes, per update and network."""
    case = CASES[benchmark.get_name().partition(" / ")[0]]
    return median(_processes(benchmark)) / case.updates / (case.networks or 1)


def _processes(benchmark):
    return [median(run.values) for run in benchmark.get_runs() if run.values]


def is_disturbed(benchmark: pyperf.Benchmark) -> bool:
    """True if other programs ran meanwhile, or if processes differ from the median by
    10 %.
    """
    processes = _processes(benchmark)
    spread = max(abs(time / median(processes) - 1) for time in processes)
    loads = [run.get_metadata().get("load_avg_1min", 0) for run in benchmark.get_runs()]
    return max(loads) > MAX_LOAD or spread > MAX_SPREAD


def times_table(suite: pyperf.BenchmarkSuite, others: list[str]) -> str:
    """A row per case, in Markdown: µs of numpy_rnn, and the times of others divided by
    them.
    """
    measured = {benchmark.get_name(): benchmark for benchmark in suite}
    lines = [
        ["time of an update", f"{OURS}, µs", *others],
        [":--", *["--:"] * (len(others) + 1)],
    ]
    for case in CASES:
        if ours := measured.get(f"{case} / {OURS}"):
            cells = [
                f"{float(f'{1e6 * seconds(ours):.3g}'):g}" + "?" * is_disturbed(ours)
            ]
            for name in others:
                other = measured.get(f"{case} / {name}")
                ratio = f"{seconds(other) / seconds(ours):.3g}" if other else ""
                cells.append(ratio + "?" * bool(other and is_disturbed(other)))
            lines.append([case, *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def report(suite: pyperf.BenchmarkSuite) -> str:
    """All times, the machine that they were measured on, and the implementations."""
    lines = [times_table(suite, OTHERS)]
    for name in MACHINE:
        found = {
            str(benchmark.get_metadata().get(name, "unknown")) for benchmark in suite
        }
        lines.append(f"- {name.replace('_', ' ')}: {'; '.join(sorted(found))}")
    loads = [
        run.get_metadata().get("load_avg_1min", 0)
        for b in suite
        for run in b.get_runs()
    ]
    lines.append(f"- load average: {min(loads):.2f} to {max(loads):.2f}")
    lines.append(
        f"- processes per benchmark: {min(len(_processes(b)) for b in suite)}\n"
    )
    lines += [f"- `{name}`: {about}" for name, (_, _, about) in IMPLEMENTATIONS.items()]
    return "\n".join(lines) + "\n"


def pages(suite: pyperf.BenchmarkSuite) -> dict[Path, str]:
    """Both pages with the tables of these times."""
    tables = {
        ROOT / "benchmarks/README.md": report(suite),
        ROOT / "README.md": times_table(suite, ["torch.nn.RNN", "JAX", "bare calls"]),
    }
    return {
        page: _replaced(page.read_text(encoding="utf-8"), new)
        for page, new in tables.items()
    }


def _replaced(page: str, table: str) -> str:
    head, _, rest = page.partition(BEGIN)
    return head + BEGIN + table + END + rest.partition(END)[2]


if __name__ == "__main__":
    (file,) = sys.argv[1:] or [str(RESULTS)]
    for page, text in pages(pyperf.BenchmarkSuite.load(file)).items():
        page.write_text(text, encoding="utf-8")
    times = json.loads(Path(file).read_text(encoding="utf-8"))
    for name in (
        "python_executable",
        "python_config_args",
        "python_cflags",
        "hostname",
    ):
        times["metadata"].pop(name, None)
    RESULTS.write_text(json.dumps(times, indent=0), encoding="utf-8")
