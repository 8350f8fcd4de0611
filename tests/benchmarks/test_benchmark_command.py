"""`python -m benchmarks` as it is used."""

import sys

import pyperf
import pytest
from children import ROOT, environment, run

from benchmarks import machine
from benchmarks.plan import plan
from benchmarks.tasks import RUN, STEP, C, Key
from benchmarks.workloads import DEFAULT_EXPERIMENT, SLIDING, point

pytestmark = pytest.mark.slow
DEFAULT = DEFAULT_EXPERIMENT.name


def benchmarks(*options, **more):
    return run([sys.executable, "-m", "benchmarks", *options], cwd=ROOT, env=environment(**more))


def test_list_has_the_selected_benchmarks():
    assert benchmarks("--list").stdout.splitlines() == [key.to_text() for key in plan(False)]
    done = benchmarks("--full", "--list", "--rows", C, "JAX", "--tasks", RUN, "--cases", "k2=5", "default")
    assert done.stdout.splitlines() == [
        Key(RUN, case, row).to_text() for case in (DEFAULT, SLIDING[0].name) for row in ("JAX", C)
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rows", "fast"], "argument --rows: invalid choice: 'fast'"),
        (["--tasks", "sing"], "argument --tasks: invalid choice: 'sing'"),
        (["--threads", "0"], "argument --threads: '0' given: expected a whole number, 1 or more"),
        (["--cases", "nothing"], "nothing is selected: expected rows, tasks and cases of --list"),
    ],
)
def test_invalid_option_is_status_2(options, message):
    done = benchmarks(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]


def test_times_are_reported_saved_and_continued(tmp_path):
    """One process and one value each; with --append, what the file contains is not timed again."""
    file = tmp_path / "times.json"
    options = "-p", "1", "-n", "1", "--append", str(file), "--tasks", RUN, "--rows", "numpy_rnn", "bare calls"
    done = benchmarks(*options, "--cases", "k2=5")
    assert done.returncode == 0, done.stderr
    name = Key(RUN, SLIDING[0].name, "numpy_rnn").to_text()
    assert done.stdout.startswith(f"[1/1] {name}: ")
    assert "| numpy_rnn     |" in done.stdout.partition("## Sliding windows")[2]
    (benchmark,) = pyperf.BenchmarkSuite.load(str(file))
    (timed,) = benchmark.get_runs()
    metadata = timed.get_metadata()
    assert (benchmark.get_name(), metadata["threads"]) == (name, 1)
    assert "openblas" in metadata["kernels"] or metadata["kernels"] == "unknown"
    done = benchmarks(*options, "--cases", "k2=5", "default")
    assert done.stdout.startswith(f"[1/2] {Key(RUN, DEFAULT, 'numpy_rnn').to_text()}: ")
    assert "| default experiment: numpy_rnn / bare calls" in done.stdout
    suite = pyperf.BenchmarkSuite.load(str(file))
    assert len(suite) == 3
    assert suite.get_benchmark(name).get_runs()[0].values == timed.values


def test_row_that_fails_is_not_timed(tmp_path):
    (tmp_path / "cc").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    options = "--full", "-p", "1", "-n", "1", "--tasks", STEP, "--cases", point(6, 1).name
    done = benchmarks(*options, "--rows", C, "min-char-rnn", "bare calls", PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 1
    name = Key(STEP, point(6, 1).name, C).to_text()
    assert done.stdout.splitlines()[-1].startswith(f"{name}: not timed, crashes: CalledProcessError: ")
    assert done.stdout.startswith("[1/1] " + name.replace(C, "bare calls"))


def test_whole_processes_are_timed():
    done = benchmarks("-p", "1", "-w", "0", "--full", "--rows", "numpy_rnn", "--tasks", "cold start", "import")
    assert done.returncode == 0, done.stderr
    assert "## Cold start" in done.stdout
    assert "| numpy_rnn |" in done.stdout.partition("## Imports")[2]


def test_other_number_of_threads_is_an_error(monkeypatch):
    pool = {"internal_api": "openblas", "version": "1", "architecture": "Haswell", "num_threads": 1}
    monkeypatch.setattr(machine, "threadpool_info", lambda: [pool])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert machine.kernels(1) == "openblas 1 Haswell"
    with pytest.raises(RuntimeError, match=r"\{'openblas 1 Haswell': 1\} threads: expected 2"):
        machine.kernels(2)
