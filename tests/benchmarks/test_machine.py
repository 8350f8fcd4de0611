"""What a run records of its machine: kernels, what forces them, and the load."""

import os
import platform
import sys
from unittest.mock import Mock

import pytest
from children import run
from threadpoolctl import threadpool_info

from benchmarks import __main__ as command
from benchmarks import load, machine
from benchmarks.load import LOAD, MAX_OTHERS, MAX_SELF_RATIO, MAX_STEAL, Load, Reading
from benchmarks.machine import AVX, AVX2, AVX512, SSE, Kernel, forcing_variables, kernel_claims, level_of
from benchmarks.plan import STEP, Group, Job, Key
from benchmarks.rows import AGAIN, OURS
from benchmarks.runner import run_rounds
from benchmarks.store import CRASHED, open_store
from benchmarks.system import use_threads, worker_environment
from benchmarks.worker import Verdict
from benchmarks.workloads import point

NAME = point(6, 1).name


# -- kernels ---------------------------------------------------------------------------------------------------------


def test_the_machine_names_the_kernels_of_this_process_and_of_the_workers(monkeypatch):
    """Both have the same environment; torch is asked with a variable that forces its kernels everywhere."""
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    inspected = machine.inspect()
    kernels = {kernel.library: kernel for kernel in inspected.kernels}
    for pool in threadpool_info():
        if pool["internal_api"] == "openblas" and "numpy" in pool["filepath"]:
            found = kernels["OpenBLAS of NumPy"]
            assert (found.version, found.kernel) == (pool["version"], f"{pool['architecture']} kernels")
    if "torch" in kernels:
        assert kernels["torch"].level == SSE
        assert "CPU capability DEFAULT" in kernels["torch"].kernel
    numpy = inspected.packages["numpy"]
    assert dict(inspected.rows())["Packages"].startswith(f"numpy {numpy}, ")
    assert (kernels["NumPy"].version, inspected.python) == (numpy, platform.python_version())
    assert dict(inspected.forcing) == forcing_variables(os.environ)
    assert machine.Machine.from_json(inspected._asdict()) == inspected


def test_variables_that_force_kernels():
    """Not those of threads, which the benchmark sets itself for every library; NPROC is read by XLA."""
    names = (
        "OPENBLAS_CORETYPE OPENBLAS_L2_SIZE NPY_DISABLE_CPU_FEATURES ATEN_CPU_CAPABILITY MKL_CBWR ONEDNN_MAX_CPU_ISA"
    )
    forcing = dict.fromkeys(names.split(), "a value")
    others = {"PATH": "/bin", "OPENBLAS_VERBOSE": "2"}
    threads = {name: value for name, value in worker_environment(7).items() if value == "7"}
    assert threads.keys() >= {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"}
    for number, eigen in ((1, "false"), (7, "true")):
        flags = f"--xla_cpu_multi_thread_eigen={eigen} intra_op_parallelism_threads={number}"
        assert worker_environment(number)["XLA_FLAGS"] == flags
    assert forcing_variables(forcing | others | threads) == forcing


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot restrict a process to cores")
def test_a_worker_has_as_many_cores_as_threads_before_it_loads_a_row():
    program = """
import os, sys
from benchmarks import worker
from benchmarks.plan import Piece
def load(name):
    sys.exit(f"{len(os.sched_getaffinity(0))} {'numpy' in sys.modules}")
worker.load = load
worker.main(Piece(1, "a row", 1, ()).to_text(), "no file")
"""
    assert run([sys.executable, "-c", program]).stderr == "1 False\n"


@pytest.mark.parametrize("own", [False, True], ids=["forced", "own"])
def test_own_kernels_remove_the_variables_that_force_others_from_every_process(own, monkeypatch, tmp_path):
    """And only they: they are what is recorded, once as forcing, once as removed."""
    forced = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512", "MKL_CBWR": "AVX2"}
    monkeypatch.setattr(os, "environ", {"PATH": os.environ["PATH"], **forced})
    seen: list[dict[str, str]] = []

    def see(*arguments):
        seen.append(forcing_variables(worker_environment(1)))
        return []

    def stop(options, store, inspected):
        see()
        assert (inspected.forcing, inspected.removed) == (({}, forced) if own else (forced, {}))
        return 7

    monkeypatch.setattr(machine, "_kernels_of", see)
    monkeypatch.setattr(command, "benchmark", stop)
    monkeypatch.chdir(tmp_path)
    assert command.main([*(["--own-kernels"] if own else []), "--rows", OURS, "--output", "."]) == 7
    assert len(seen) > 1
    assert all(variables == ({} if own else forced) for variables in seen)


def test_the_thread_pools_of_a_worker_are_checked_and_named(monkeypatch):
    names = ("user_api", "internal_api", "version", "architecture", "num_threads")
    monkeypatch.setattr("threadpoolctl.threadpool_limits", lambda threads: None)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for pools, text in (
        ([], "none known"),
        ([("openmp", "openmp", None, None, 2), ("blas", "mkl", "3", None, 2)], "mkl 3: 2, openmp: 2"),
        ([("blas", "openblas", "1.2", "Haswell", 2)], "openblas 1.2 Haswell kernels: 2"),
    ):
        found = Mock(return_value=[dict(zip(names, pool)) for pool in pools])
        monkeypatch.setattr("threadpoolctl.threadpool_info", found)
        assert use_threads(2) == text
    with pytest.raises(RuntimeError, match=r"other numbers of threads than 4: openblas 1\.2 Haswell kernels: 2$"):
        use_threads(4)


def test_levels_of_processors():
    flags = ["sse", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"]
    assert [level_of(flags[:count]) for count in (0, 1, 2, 3, 4, 7, 8)] == [None, SSE, AVX, AVX, AVX2, AVX2, AVX512]


@pytest.mark.parametrize(
    ("processor", "kernel", "below"),
    [
        *((AVX512, "Haswell", True), (AVX512, "SkylakeX", False), (AVX512, "ArmV99", False)),
        *((AVX2, "Haswell", False), (AVX2, "Prescott", True)),
    ],
)
def test_a_library_below_the_processor_is_an_open_claim(processor, kernel, below):
    level = machine.KERNEL_LEVELS.get(kernel.lower())
    kernels = [Kernel("NumPy", "2", "SIMD", processor), Kernel("OpenBLAS", "1", f"{kernel} kernels", level)]
    inspected = machine.Machine("", 1, processor, [], {}, "", "", "", {}, "", kernels, {"A": "B"})
    line = f"pass: every library that can be asked runs kernels for {processor}, as the processor"
    if below:
        line = f"open: OpenBLAS runs {kernel} kernels on a processor with {processor}; try --own-kernels"
    assert [claim.line() for claim in kernel_claims(inspected)] == [line]
    assert kernel_claims(inspected._replace(level=None)) == []
    unforced = inspected._replace(forcing={}, removed={"A": "B"})
    assert all("try" not in claim.text for claim in kernel_claims(unforced))


# -- load ------------------------------------------------------------------------------------------------------------


def test_the_load_is_what_others_take(tmp_path):
    """In hundredths of a second: user 300, nice 20, system 100, idle, iowait, irq 10, softirq 20, steal 50."""
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu  300 20 100 9999 9999 10 20 50 0 0\ncpu0 1 1 1\n")
    reading = load.read_load(tmp_path / "stat")
    assert (reading.busy, reading.steal) == (450 / ticks, 50 / ticks)
    assert load.load_between(Reading(10, 5, 1, 2), Reading(20, 14, 3, 8)) == Load(10, 3, 2)
    assert Load(10, 3, 2).cores() == (0.3, 0.2)
    unknown = [load.read_load(tmp_path / "no file") for _ in range(2)]
    assert load.load_between(*unknown)[1:] == (0, 0)


def test_what_disturbs_a_round():
    assert load.disturbance(Load(10, 9.9 * MAX_OTHERS, 9.9 * MAX_STEAL)) is None
    assert "other processes took 1.00 of" in load.disturbance(Load(10, 10, 0))
    assert "other virtual machines took 0.50 cores" in load.disturbance(Load(10, 0, 5))
    for seconds, words in ((1.01 * MAX_SELF_RATIO, "1.11"), (2.0, "2.00"), (0.5, "0.50"), (1.05, None)):
        round_ = [
            {
                "benchmarks": [{"runs": [{"values": [value]}]}],
                "metadata": {"name": Key(STEP, row, NAME).to_text(), "round": 1},
                "version": "",
            }
            for row, value in ((OURS, 1.0), (AGAIN, seconds))
        ]
        reason = words and f"numpy_rnn took {words} times as long as itself"
        assert load.round_disturbance(round_) == reason
    busy = [round_[0] | {LOAD: [1, 1, 0]}, {CRASHED: "why", LOAD: [3, 1, 0]}]
    assert load.round_disturbance(busy).startswith("other processes took 0.50 of")


@pytest.mark.parametrize(("repeats", "runs", "disturbed"), [(0, 6, [2, 3]), (1, 7, [3]), (2, 8, []), (9, 8, [])])
def test_a_disturbed_round_is_repeated_a_bounded_number_of_times(repeats, runs, disturbed, tmp_path, monkeypatch):
    """The first measurements of rounds 2 and 3 are disturbed. A run that is interrupted resumes with the same count."""
    measured = []

    def run_piece(piece, store):
        if piece.round and not store.done(piece):
            measured.append(piece.round)
            busy = piece.round in (2, 3) and measured.count(piece.round) == 1
            store.write(piece, {LOAD: Load(1.0, float(busy)), "benchmarks": [], "version": "1.0"})

    verdict = Verdict(Key(STEP, OURS, NAME).to_text(), "agrees", loops=1)
    monkeypatch.setattr("benchmarks.runner.run_piece", run_piece)
    monkeypatch.setattr("benchmarks.runner.verdicts_of", lambda piece, store: [verdict])
    groups, progress = [Group({OURS: (Job(STEP, point(6, 1)),)})], []
    store = open_store(tmp_path, {})
    for _ in range(2):  # the second time, everything is there
        _, kept = run_rounds(groups, 6, store, lambda done, total, name: progress.append((done, total)), repeats)
        assert len(measured) == runs
        assert list(kept) == disturbed
        assert progress[-1][0] == progress[-1][1]
    assert store.discarded() == [n for n in (2, 3) if n not in disturbed]
    claim = load.load_claim(Load(1.0), kept, store.discarded())
    assert claim.holds is (None if disturbed else True)
    assert ("repeated rounds: 2, 3" in claim.text) == (not disturbed)


def test_a_row_that_keeps_more_cores_busy_than_its_threads_is_an_open_claim():
    def benchmark(row, threads, *busy):
        runs = [{"values": [1.0], "metadata": {"round": n, "busy_cores": value}} for n, value in enumerate(busy)]
        return {"metadata": {"name": Key(STEP, row, NAME, threads).to_text()}, "runs": runs}

    quiet = [benchmark("a", 1, 0.9, 1.0, 2.0), benchmark("b", 2, 1.9, 2.0, 2.1)]
    assert load.thread_claim({"benchmarks": quiet}).line() == "pass: no row keeps more cores busy than it has threads"
    claim = load.thread_claim({"benchmarks": [*quiet, benchmark("c", 1, 1.0, 1.9, 1.9)]})
    assert claim.line() == f"open: c keeps 1.90 cores busy with 1 thread, at {NAME}"
    assert load.thread_claim({"benchmarks": []}) is None


def test_a_load_at_the_start_or_in_a_round_leaves_the_claim_open():
    assert load.load_claim(Load(1.0), {}, []).line() == "pass: the machine was quiet at the start and in every round"
    line = load.load_claim(Load(1.0, 0.5), {4: "a reason"}, []).line()
    assert line.startswith("open: the machine was not quiet: at the start other processes took 0.50 of ")
    assert line.endswith("cores; in round 4 a reason")
    line = load.load_claim(Load(1.0), dict.fromkeys((5, 4, 3, 2), "a reason"), [1]).line()
    assert line.endswith("quiet: in round 2 a reason; in round 3 a reason; and in 2 more; repeated rounds: 1")
