"""The tables, and the pages that they are written into."""

import subprocess
import sys

import pyperf
import pytest

from benchmarks.report import (
    CHECKOUT,
    FLOOR_NAME,
    RESULTS,
    is_disturbed,
    pages,
    regressions,
    report,
    short,
    times_table,
)


def benchmark(name, *processes, load=1.0):
    """Return a benchmark with a process for every list of seconds."""
    metadata = {"name": name, "load_avg_1min": load}
    return pyperf.Benchmark([pyperf.Run(v, metadata=metadata) for v in processes])


def test_table():
    """Times are medians of processes in µs per update, with the ratio to ours."""
    case = "default experiment"
    other = "1,000 networks, each"
    times = [0.06, 0.06], [0.0606, 0.0606], [0.059, 0.09, 0.06]  # of 6,000 updates
    suite = [
        benchmark(f"{case} / numpy_rnn", *times),
        benchmark(f"{case} / JAX", [0.03], [0.03], [0.06]),
        benchmark(f"{other} / numpy_rnn", [0.6]),  # 600 updates of 1,000 networks
    ]
    names = ["numpy_rnn", "torch.nn.RNN", "JAX"]
    table = times_table(pyperf.BenchmarkSuite(suite), names)
    assert table.startswith("| µs per update | numpy_rnn | JAX |\n")  # no empty column
    assert f"\n| {case} | 10 | 5 (0.5×) ? |\n" in table
    assert table.endswith(f"| {other} | 1 |  |\n")


def test_report_lists_what_was_timed():
    suite = [
        benchmark("default experiment / numpy_rnn", [0.06]),
        benchmark("default experiment / JAX", [0.03]),
        benchmark("default experiment / my_rnn.py", [0.03]),
    ]
    text = report(pyperf.BenchmarkSuite(suite), ["numpy_rnn", "JAX", "my_rnn.py"])
    listed = [line.split("`")[1] for line in text.splitlines() if "- `" in line]
    assert listed == ["numpy_rnn", "JAX"]


def test_numbers_have_three_digits():
    numbers = [0.00012345, 0.045211, 95.04, 183.2, 29_312.0]
    assert list(map(short, numbers)) == ["0.000123", "0.0452", "95", "183", "29,300"]


def test_disturbances():
    name = "default experiment / numpy_rnn"
    assert not is_disturbed(benchmark(name, [1.0], [1.09], [0.91]))
    assert is_disturbed(benchmark(name, [1.0], [1.0], [0.89]))
    assert is_disturbed(benchmark(name, [1.0], [1.11], [1.0]))
    assert is_disturbed(benchmark(name, [1.0], [1.0], load=1.6))


def test_pages_are_of_the_results():
    """README.md and benchmarks/README.md have the tables of results.json."""
    for page, text in pages(pyperf.BenchmarkSuite.load(str(RESULTS))).items():
        assert page.read_text(encoding="utf-8") == text, page


OWN = """
from numpy_rnn.reference import train as run

def train(*arrays, **options):
    updates = list(run(*arrays, **options))
    return [update.loss for update in updates], updates[-1].parameters[:3]
"""


# Their import and compilation take seconds, which test_implementations.py pays for.
NUMPY_ALONE = """
import sys
sys.modules["jax"] = None
sys.modules["torch"] = None
from benchmarks.__main__ import main
sys.exit(main())
"""


@pytest.mark.slow
def test_command(tmp_path):
    """A case is timed in fresh processes, and saved in pyperf's format."""
    file = tmp_path / "times.json"
    implementation = tmp_path / "own.py"
    implementation.write_text(OWN)
    options = ["--cases", "1,000 networks", "--implementation", str(implementation)]
    options += ["-p1", "-n1", "-w0", "-l1", "-o", str(file)]
    done = run_python("-c", NUMPY_ALONE, *options)
    assert done.returncode == 0, done.stderr
    heading, _, row = [x for x in done.stdout.splitlines() if x.startswith("| ")]
    assert heading.endswith(f" | {implementation} |")
    assert row.startswith("| 1,000 networks, each |")
    assert row.endswith(("×) |", "×) ? |"))
    assert "case 1 of 1: 1,000 networks, each\n" in done.stderr
    names = {b.get_name() for b in pyperf.BenchmarkSuite.load(str(file))}
    case = "1,000 networks, each"
    timed = ("numpy_rnn", FLOOR_NAME, implementation)
    assert names == {f"{case} / {name}" for name in timed}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cases", "nothing"], "no case is named so"),
        (["--implementation", "nothing.py"], "there is no file nothing.py"),
    ],
)
def test_unusable_options(options, message):
    done = run_python("-m", "benchmarks", *options)
    assert done.returncode == 2
    assert message in done.stderr


def run_python(*options):
    command = [sys.executable, *options]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)


def floor_suite(ours, floor, networks=0.6):
    """Return times of two cases with their floors."""
    return pyperf.BenchmarkSuite(
        [
            benchmark("default experiment / numpy_rnn", [ours]),
            benchmark(f"default experiment / {FLOOR_NAME}", [floor]),
            benchmark("10,000 networks, each / numpy_rnn", [networks]),
            benchmark(f"10,000 networks, each / {FLOOR_NAME}", [0.5]),
            benchmark("character model, float32 / numpy_rnn", [9.0]),
        ]
    )


def test_regression_is_a_ratio_to_the_floor():
    """A machine that is slower in all is no regression; 11 percent more is one."""
    committed = floor_suite(1.05, 1.0)
    assert regressions(floor_suite(10.5, 10.0), committed) == []
    assert regressions(floor_suite(1.14, 1.0), committed) == []
    slower = regressions(floor_suite(1.17, 1.0, networks=0.9), committed)
    assert [line.partition(":")[0] for line in slower] == [
        "REGRESSION default experiment",
        "REGRESSION 10,000 networks, each",
    ]
    assert slower[0].endswith("1.17 times the floor, and 1.05 in results.json")


@pytest.mark.slow
def test_help_begins_with_the_options_of_the_benchmarks():
    """Those of pyperf, which are many, come after them."""
    command = [sys.executable, "-m", "benchmarks", "--help"]
    text = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True).stdout
    assert text.startswith("usage: python -m benchmarks [-h] [--full] [--cases ")
    first = text.index("\n  --full ")
    assert first < text.index("\n  --implementation ") < text.index("\n  --rigorous ")
