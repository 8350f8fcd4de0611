"""The tables, and the pages that they are written into."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pyperf
import pytest

from benchmarks.report import RESULTS, ROOT, is_disturbed, pages, times_table


def benchmark(name, *processes, load=1.0):
    """A benchmark with a process for every list of seconds."""
    metadata = {"name": name, "load_avg_1min": load}
    return pyperf.Benchmark([pyperf.Run(v, metadata=metadata) for v in processes])


def test_table():
    """Times are medians of processes per update, and of other
    implementations, ratios.
    """
    case = "default experiment"  # 6,000 updates
    suite = pyperf.BenchmarkSuite(
        [
            benchmark(
                f"{case} / numpy_rnn",
                [0.06, 0.06],
                [0.0606, 0.0606],
                [0.059, 0.09, 0.06],
            ),
            benchmark(f"{case} / JAX", [0.03], [0.03], [0.06]),
        ]
    )
    *_, line = times_table(suite, ["torch.nn.RNN", "JAX"]).splitlines()
    assert line == "| default experiment | 10 |  | 0.5? |"


def test_networks_are_counted():
    case = "1,000 networks, each"  # 600 updates of 1,000 networks
    suite = pyperf.BenchmarkSuite([benchmark(f"{case} / numpy_rnn", [0.6])])
    assert times_table(suite, []).splitlines()[-1] == f"| {case} | 1 |"


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


@pytest.mark.slow
def test_command(tmp_path):
    """A case is timed in fresh processes, and saved in pyperf's format."""
    file = tmp_path / "times.json"
    options = ["--cases", "1,000 networks", "-p1", "-n1", "-w0", "-l1", "-o", str(file)]
    done = run(*options)
    assert done.returncode == 0, done.stderr
    assert "| 1,000 networks, each |" in done.stdout
    names = {json.loads(file.read_text())["benchmarks"][0]["metadata"]["name"]}
    names |= {b.get_name() for b in pyperf.BenchmarkSuite.load(str(file))}
    expected = {"numpy_rnn", "bare calls"} | ({"JAX"} if find_spec("jax") else set())
    assert names == {f"1,000 networks, each / {name}" for name in expected}


@pytest.mark.slow
def test_unknown_case():
    done = run("--cases", "nothing")
    assert done.returncode == 2
    assert "no case is named so" in done.stderr


def run(*options):
    command = [sys.executable, "-m", "benchmarks", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
