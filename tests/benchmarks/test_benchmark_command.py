"""`python -m benchmarks` as it is used."""

import os
import sys
from types import SimpleNamespace

import pyperf
import pytest
from children import run, with_benchmarks

from benchmarks import __main__, machine
from benchmarks.rows import prepare
from benchmarks.tasks import COLD, IMPORT, JAX, OURS, RUN, Key, plan
from benchmarks.workloads import DEFAULT_EXPERIMENT, SLIDING
from numpy_rnn.common.errors import exit_status

DEFAULT = DEFAULT_EXPERIMENT.name


@pytest.fixture
def main(monkeypatch, capsys):
    """The program in this process: its status, and what it printed."""
    monkeypatch.setattr(os, "environ", dict(os.environ))

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
        monkeypatch.setattr(pyperf.Runner, "_created", set())
        try:
            status = exit_status("python -m benchmarks", __main__.main)
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return call


def test_list_has_the_selected_benchmarks(main):
    assert main("--list")[1].splitlines() == [key.to_text() for key in plan(False)]
    words = ["--full", "--list", "--tasks", "run", "--cases", "k2=5", "default", "--rows"]
    assert main(*words, OURS, JAX)[1].splitlines() == [
        Key(RUN, case, row).to_text() for case in (DEFAULT, SLIDING[0].name) for row in (OURS, JAX)
    ]

    words = " ".join(main("--help")[1].split())
    for option in (
        "--rows ROW [ROW ...] only",
        "--tasks TASK [TASK ...] only",
        "--cases PART [PART ...] only",
    ):
        assert option in words
    assert "--threads N threads of BLAS, torch and XLA (default 1)" in words


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--rows fast", "argument --rows: invalid choice: 'fast'"),
        ("--tasks sing", "argument --tasks: invalid choice: 'sing'"),
        ("--threads 0", "argument --threads: '0' given: expected a whole number, 1 or more"),
        ("--cases nothing", "nothing is selected: expected rows, tasks and cases of --list"),
    ],
)
def test_invalid_option_is_status_2(main, option, message):
    status, output, error = main(*option.split())
    assert (status, output) == (2, "")
    assert message in error.splitlines()[-1]


def test_rows_that_are_not_timed_have_their_reasons(main, monkeypatch):
    """A wrong or crashed row is status 1, and one that is not supported is not; nothing is timed without a row."""
    monkeypatch.setattr(__main__, "measure", lambda *_: pytest.fail("timed"))
    for reason, expected in (
        ("crashes: exit status 1", 1),
        ("disagrees: y", 1),
        ("jax is not installed", 0),
    ):
        monkeypatch.setattr(
            __main__, "check", lambda keys, reason=reason: {keys[0].to_text(): {"reason": reason}}
        )
        name = Key(RUN, SLIDING[0].name, "numpy_rnn").to_text()
        assert main("--cases", "k2=5") == (expected, f"{name}: not timed, {reason}\n", "")
    monkeypatch.undo()
    monkeypatch.setattr(sys, "executable", "false")
    assert __main__.check([Key(RUN, DEFAULT, JAX)]) == {
        f"run / {DEFAULT} / JAX": {"reason": "crashes: exit status 1"}
    }


def runs(seconds):
    """A benchmark with a process of each of these times."""
    metadata = {"name": Key(RUN, DEFAULT, OURS).to_text(), "unit": "second"}
    return pyperf.Benchmark(
        [pyperf.Run([value], metadata=metadata, collect_metadata=False) for value in seconds]
    )


@pytest.mark.parametrize(
    ("is_quiet", "measured"),
    [
        ([True, True], [(1.0, 2.0), (1.0, 1.0)]),  # until it is not disturbed
        ([True] * 3, [(1.0, 2.0)] * 3),
        ([False], [(1.0, 2.0)]),  # it would be disturbed again
        ([], [(1.0, 2.0)]),  # without --undisturbed
    ],
)
def test_disturbed_times_are_measured_again(main, monkeypatch, tmp_path, is_quiet, measured):
    """The file and the report have only the last one; --full has more processes and more of their times."""
    name, waits, left = Key(RUN, DEFAULT, OURS).to_text(), iter(is_quiet), [*map(runs, measured)]
    monkeypatch.setattr(__main__, "check", lambda keys: {name: {"loops": 1}})
    monkeypatch.setattr(__main__, "wait_for", lambda most: next(waits))
    counts, is_full = list[tuple[int, int]](), len(is_quiet) == 2
    monkeypatch.setattr(
        "pyperf._manager.Manager.create_bench",
        lambda manager: counts.append((manager.args.processes, manager.args.values)) or left.pop(0),
    )
    monkeypatch.setattr(machine.Load, "of_others", lambda self: 0.123)
    words = [*["--undisturbed"] * bool(is_quiet), *["--full"] * is_full]
    status, output, error = main("--output", str(tmp_path / "times.json"), *words)
    assert (status, error, left, [*waits]) == (0, "", [], [])
    assert {*counts} == {(6, 3) if is_full else (3, 1)}
    assert output.count("disturbed: measured again") == len(measured) - 1
    assert f"Disturbed times: {int(measured[-1] == (1.0, 2.0))} of 1" in output
    (kept,) = pyperf.BenchmarkSuite.load(str(tmp_path / "times.json"))
    assert (kept.get_values(), kept.get_metadata()["load_of_others"]) == (measured[-1], 0.12)


def test_load_is_that_of_other_programs(monkeypatch):
    """Of 2 CPUs, 75 % were busy for 10 seconds: 15, 8 of which were this process and its children."""
    times = iter([os.times_result((1, 1, 1, 1, 100)), os.times_result((4, 2, 4, 2, 110))])
    monkeypatch.setattr(machine.os, "times", lambda: next(times))
    monkeypatch.setattr(machine.psutil, "cpu_percent", lambda: 75.0)
    monkeypatch.setattr(machine.psutil, "cpu_count", lambda: 2)
    assert machine.Load().of_others() == pytest.approx(0.7)


def test_waiting_ends_and_says_what_for(monkeypatch, capsys):
    monkeypatch.setattr(machine.Load, "of_others", lambda self: next(used))
    used = iter([0.9, 0.31, 0.3])
    assert machine.wait_for(0.3, seconds=0)
    used = iter([0.5, 0.5, 0.1])
    assert not machine.wait_for(0.3, seconds=0, trials=2)
    lines = [
        f"other programs use {load} CPUs: waits for 0.3 or less"
        for load in ("0.90", "0.31", "0.50", "0.50")
    ]
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.slow
def test_times_are_reported_saved_and_continued(tmp_path):
    """With --append, what the file contains is not timed again. Whole processes are timed too."""
    file, folder = str(tmp_path / "times.json"), with_benchmarks(tmp_path)
    runs([1.0]).dump(file)
    words = (
        "-m",
        "benchmarks",
        "--full",
        "-p",
        "1",
        "-n",
        "1",
        "-w",
        "0",
        "--append",
        file,
        "--rows",
        "numpy_rnn",
    )
    words = *words, "--tasks", RUN, COLD, IMPORT, "--cases", "k2=5", "default"
    done = run([sys.executable, *words], cwd=folder)
    assert done.returncode == 0, done.stderr
    name = Key(RUN, SLIDING[0].name, "numpy_rnn").to_text()
    assert done.stdout.startswith(f"[1/3] {name}: ")
    assert "| numpy_rnn     |" in done.stdout.partition("## Sliding windows")[2]
    assert "| numpy_rnn |" in done.stdout.partition("## Cold start")[2].partition("## Imports")[2]
    suite = pyperf.BenchmarkSuite.load(file)
    assert len(suite) == 4
    assert suite.get_benchmark(Key(RUN, DEFAULT, OURS).to_text()).get_runs()[0].values == (1.0,)
    metadata = suite.get_benchmark(name).get_metadata()
    assert metadata["threads"] == 1
    assert "openblas" in metadata["kernels"] or metadata["kernels"] == "unknown"


def test_a_process_has_its_threads_and_records_what_it_ran_on(monkeypatch):
    assert machine.thread_environment(2) == {
        "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "VECLIB_MAXIMUM_THREADS": "2",
        "NPROC": "2", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads=2",
    }  # fmt: skip
    assert (
        "eigen=false intra_op_parallelism_threads=1" in machine.thread_environment(1)["XLA_FLAGS"]
    )
    cores: list = []
    monkeypatch.setattr(
        machine.os, "sched_getaffinity", lambda process: {3, 0, 1, 2}, raising=False
    )
    monkeypatch.setattr(
        machine.os, "sched_setaffinity", lambda *given: cores.append(given), raising=False
    )
    machine.use_cores(2)
    assert cores == [(0, [2, 3])]
    monkeypatch.setattr(machine, "kernels", lambda threads: f"kernels of {threads}")
    monkeypatch.setattr(machine, "find_spec", lambda package: package != "jax")
    monkeypatch.setattr(machine, "version", lambda package: f"{len(package)}.0")
    recorded = {"threads": 2, "kernels": "kernels of 2", "packages": "numpy 5.0, torch 5.0"}
    for status, commit in (("", "abc"), (" M file", "abc with changes"), (None, "unknown")):
        said = {
            ("rev-parse", "--short", "HEAD"): "abc",
            ("status", "--porcelain", "--untracked-files=no"): status,
        }
        monkeypatch.setattr(machine, "_git", lambda *words, said=said: said[words])
        if status is None:
            monkeypatch.setattr(machine, "_git", lambda *words: os.stat("missing"))
        assert machine.metadata(2) == recorded | {"commit": commit}


def test_a_worker_measures_its_benchmark(monkeypatch):
    """One call, or a whole process; of a row that compiles, how long that took."""
    made, threads = list[tuple](), list[int]()
    monkeypatch.setattr(__main__, "use_cores", threads.append)
    monkeypatch.setattr(__main__, "metadata", lambda threads: {"threads": threads})
    prepared = prepare(OURS, RUN, SLIDING[0])
    monkeypatch.setattr(
        __main__, "prepare", lambda row, *_: prepared._replace(compile_seconds={JAX: 1.5}.get(row))
    )
    keys = [
        Key(RUN, SLIDING[0].name, OURS),
        Key(RUN, SLIDING[0].name, JAX),
        Key(COLD, DEFAULT, OURS),
    ]
    keys.append(Key(IMPORT, DEFAULT, OURS))
    for key, compiled in zip(keys, ({}, {"compile_seconds": 1.5}, {}, {})):
        runner = SimpleNamespace(metadata={}, bench_func=lambda *call: made.append(call))
        runner.bench_command = runner.bench_func
        __main__.work(runner, SimpleNamespace(benchmark=key.to_text(), threads=3))
        assert runner.metadata == {"threads": 3} | compiled
    assert [name for name, _ in made] == [key.to_text() for key in keys]
    assert [work for _, work in made[:2]] == [prepared.call] * 2
    for _, (python, option, code) in made[2:]:
        assert (python, option) == (sys.executable, "-c")
        exec(code, {})
    assert [code for _, (*_, code) in made[3:]] == ["import numpy_rnn; dir(numpy_rnn)"]
    assert threads == [3] * 4
    command = ["python", "--worker", "--worker-task=2", "-p", "1"]
    __main__._pass_benchmark(command, SimpleNamespace(benchmark="a / b / c", threads=3))
    assert command == [
        "python",
        "--worker",
        "-p",
        "1",
        "--benchmark",
        "a / b / c",
        "--threads",
        "3",
    ]


def test_other_number_of_threads_is_an_error(monkeypatch):
    pool = {"internal_api": "openblas", "version": "1", "architecture": "Haswell", "num_threads": 1}
    monkeypatch.setattr(machine, "threadpool_info", lambda: [pool])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert machine.kernels(1) == "openblas 1 Haswell"
    with pytest.raises(RuntimeError, match=r"\{'openblas 1 Haswell': 1\} threads: expected 2"):
        machine.kernels(2)
