"""The benchmark's cases, plan, runner and store. How long anything takes is not tested."""

import json
import sys
from pathlib import Path
from random import Random
from unittest.mock import Mock

import numpy as np
import pytest
from children import run

from benchmarks import rows, runner, system, workloads
from benchmarks.estimates import times_of
from benchmarks.load import LOAD
from benchmarks.plan import COLD, FULL, IMPORT, Choice, Group, Job, Key, Piece, pieces_of_round, plan_groups, shortened
from benchmarks.runner import agreeing_groups, verdicts_of
from benchmarks.store import DifferentPlan, merged, open_store
from benchmarks.worker import Verdict, judge_piece
from benchmarks.workloads import CHARACTER_MODELS, DEFAULT_EXPERIMENT, ENSEMBLES, NAMED, SLIDING, point

PIECE = Piece(1, rows.OURS, 1, (Job(rows.STEP, point(6, 1)),))


def jobs_of(choice):
    """(row, task, case, threads) of the plan."""
    groups = plan_groups(choice)
    jobs = [(row, job, group.threads) for group in groups for row, jobs in group.jobs.items() for job in jobs]
    return [(row, job.task, job.case, threads) for row, job, threads in jobs]


# -- cases -----------------------------------------------------------------------------------------------------------


def test_the_cases_have_these_sizes():
    sizes = [{case[column] for case in workloads.GRID} for column in (1, 2, 3, 6)]  # H, B, T, dtype
    assert sizes[:2] == [{6, 16, 32, 64, 128, 256, 512, 1024}, {1, 8, 32, 128}]
    assert sizes[2:] == [{20, 50, 100}, {"float32", "float64"}]
    assert [case[1:4] for case in NAMED[1:]] == [(1760, 16, 50), (256, 32, 100)]
    assert [case.k2 for case in SLIDING] == [1, 5, 20]
    assert [case.networks for case in ENSEMBLES] == [1, 10, 100, 1000, 2000, 10_000]
    assert DEFAULT_EXPERIMENT[1:6] == (6, 1, 20, 1, 1)
    assert point(6, 1).arrays()[-1].all()  # h_0: a row that ignores it disagrees


@pytest.mark.parametrize(("case", "dtype"), [*zip(CHARACTER_MODELS, ("float64", "float32"))])
def test_the_character_model_is_that_of_min_char_rnn(case, dtype):
    """Of its random text, each character is followed by one of four."""
    assert case[1:] == (100, 1, 2500, 65, 65, dtype, 1, 25, 1, True)
    assert (case.learning_rate, case.points) == (0.1, 100)
    params, x, target, h_0 = case.arrays()
    assert {array.dtype for array in (*params[:5], h_0)} == {np.dtype(dtype)}
    spreads = [W.std() for W in params[:3]]
    assert spreads == pytest.approx([0.01] * 3, rel=0.05)  # five standard errors, 1/√(2·6500), of the smallest W
    assert not any(array.any() for array in (params.b_h, params.b_y, h_0))
    np.testing.assert_array_equal(x[1:], target[:-1])
    assert max(len({*target[x == c].tolist()}) for c in range(65)) == 4
    assert len({*x[:, 0].tolist()}) > 60
    beginning = workloads.first_updates(case).arrays()[1]
    np.testing.assert_array_equal(beginning, x[: {"float64": 250, "float32": 75}[dtype]])


# -- plan ------------------------------------------------------------------------------------------------------------


def test_a_round_has_every_row_once_and_the_rows_of_a_group_after_one_another():
    groups = [Group(dict.fromkeys("abc", (Job(rows.STEP, point(H, 1)),))) for H in (6, 16, 32)]
    orders = {tuple((p.row, p.jobs[0].case.H) for p in pieces_of_round(1, groups, Random(seed))) for seed in range(20)}
    assert len(orders) > 10
    for order in orders:
        assert len(set(order)) == 9
        assert all(len({H for _, H in order[start : start + 3]}) == 1 for start in (0, 3, 6))


def test_the_plan_has_only_what_the_options_select():
    jobs = jobs_of(Choice(True, rows=(rows.OURS, rows.MODULES), tasks=(rows.STEP,), cases=("H=64 ",), threads=(1, 2)))
    selected = {rows.OURS, rows.MODULES}, {rows.STEP}, {1, 2}
    assert tuple({job[column] for job in jobs} for column in (0, 1, 3)) == selected
    assert all("H=64 " in case.name for _, _, case, _ in jobs)


def test_the_full_mode():
    """All rows start cold; torch.compile has what it can compile in a minute; several threads are for large work."""
    jobs = jobs_of(Choice(True, threads=(1, 2)))
    assert {row for row, task, *_ in jobs if task == COLD} == {*rows.ROWS} - {rows.MIN_CHAR_RNN}
    assert {row for row, task, *_ in jobs if task == IMPORT} == {rows.OURS, "numpy"}
    runs = {case.name for case in (DEFAULT_EXPERIMENT, *SLIDING[1:], *ENSEMBLES[1:])}
    assert {case.name for _, task, case, _ in jobs if task == rows.RUN} == runs
    characters = {(row, case, threads) for row, task, case, threads in jobs if task == rows.CHARACTERS}
    assert characters == {(row, case, 1) for row in rows.CHARACTER_ROWS for case in CHARACTER_MODELS}
    assert {task for row, task, *_ in jobs if row == rows.MIN_CHAR_RNN} == {rows.CHARACTERS}
    assert {task for row, task, *_ in jobs if row == rows.COMPILED} == {rows.STEP, rows.RUN, COLD}
    sparse = {point(H, B) for H in workloads.SIZES_H for B in (1, 32)} | {point(64, 8)}
    steps = {
        rows.COMPILED: {point(H, B) for H in workloads.SIZES_H[::2] for B in (1, 32)},
        rows.REFERENCE: sparse | {NAMED[1]},
        rows.OTHER: sparse | {NAMED[1]},
        rows.HIPS: sparse,
    }
    assert {row: {case for of, task, case, _ in jobs if (of, task) == (row, rows.STEP)} for row in steps} == steps
    threaded = {(row, case.networks) for row, task, case, threads in jobs if (task, threads) == (rows.RUN, 2)}
    in_threads = (rows.OURS, rows.AGAIN, rows.MODULES, rows.JAX)
    assert threaded == {(row, networks) for row in in_threads for networks in (1, 1000, 2000, 10_000)}


def test_the_quick_mode_trains_a_character_model_with_rows_that_start_quickly():
    jobs = [job for job in jobs_of(Choice(False, threads=(1, 2))) if job[1] == rows.CHARACTERS]
    models = {(row, case.dtype, case.points, threads) for row, _, case, threads in jobs}
    quick = (rows.OURS, rows.AGAIN, rows.MODULES, rows.MIN_CHAR_RNN)
    assert models == {(row, "float64", 40, 1) for row in quick}


def test_a_shortened_run_takes_the_same_time_for_every_k2():
    for case, updates, epochs in (
        (DEFAULT_EXPERIMENT, 600, 30),
        (DEFAULT_EXPERIMENT, 10**6, 300),
        (SLIDING[1], 600, 6),
    ):
        assert shortened(case, updates) == case._replace(epochs=epochs)


# -- runner ----------------------------------------------------------------------------------------------------------


def test_only_what_agrees_is_timed():
    jobs = (Job(rows.STEP, point(6, 1)), Job(rows.STEP, point(16, 1)), Job(COLD, DEFAULT_EXPERIMENT))
    group = Group(dict.fromkeys((rows.OURS, rows.AGAIN, rows.MODULES), jobs))
    verdicts = {
        Key(job.task, row, job.case.name).to_text(): Verdict("", outcome, loops=5)
        for row, job, outcome in (
            *((rows.OURS, jobs[0], "agrees"), (rows.OURS, jobs[1], "disagrees"), (rows.OURS, jobs[2], "crashes")),
            *((rows.MODULES, jobs[0], "skipped"), (rows.MODULES, jobs[2], "agrees")),
        )
    }
    (timed,) = agreeing_groups([group], verdicts)
    step, cold = (jobs[0]._replace(loops=5),), (jobs[2]._replace(loops=5),)
    assert timed.jobs == {rows.OURS: step, rows.AGAIN: step, rows.MODULES: cold}


def test_a_worker_gets_its_piece_and_a_cold_start_shares_nothing_compiled_with_other_pieces(monkeypatch, tmp_path):
    """Or the compile time of another piece would be that of a cache."""
    calls = []

    def python(*arguments, threads, environment):
        calls.append((Piece.from_text(arguments[-2]), threads, environment["TMPDIR"], environment[system.CACHE]))
        Path(arguments[-1]).write_text("[]")

    monkeypatch.setattr(runner, "_python", python)
    store = open_store(tmp_path, {})
    more = Job(rows.STEP, point(64, 8))
    cold, warm = (Piece(0, rows.COMPILED, 2, (Job(task, ENSEMBLES[2], 7), more), FULL) for task in (COLD, rows.RUN))
    for piece in (cold, warm):
        assert runner.worker(piece, store) == []
    assert [call[:2] for call in calls] == [(cold, 2), (warm, 2)]
    assert calls[1][2:] == (str(store.cache()),) * 2
    assert not {*calls[0][2:]} & {*calls[1][2:]}


def test_the_time_of_an_import_is_that_of_its_module(tmp_path, monkeypatch, capsys):
    (tmp_path / "takes_a_while.py").write_text("import time\ntime.sleep(0.02)\n")
    monkeypatch.syspath_prepend(tmp_path)
    exec(runner.IMPORT_PROGRAM.format("takes_a_while"), {})
    assert float(capsys.readouterr().out) >= 0.02


def test_a_process_that_crashes_is_a_verdict_on_its_jobs(tmp_path):
    store, piece = open_store(tmp_path, {}), PIECE._replace(round=0, row="no such row")
    runner.run_piece(piece, store)
    (verdict,) = verdicts_of(piece, store)
    assert verdict.outcome == "crashes"
    assert verdict.text.endswith("KeyError: 'no such row'")
    assert store.read(piece)[LOAD][0] > 0


def test_a_row_that_disagrees_or_crashes_is_a_verdict_on_its_job_alone(monkeypatch):
    """A verdict can be written as strict JSON, even if a required output is missing."""

    def step(case):
        if case.T == 4:
            raise ZeroDivisionError("a message")
        return rows.load(rows.OURS).tasks[rows.STEP](case)._replace(**({"result": dict} if case.T == 3 else {}))

    row = rows.Row("a row", "", lambda: None, {rows.STEP: step})
    monkeypatch.setattr(system, "use_threads", lambda threads: "")  # this process keeps its own
    verdicts = judge_piece(Piece(0, "a row", 1, tuple(Job(rows.STEP, point(6, 1, T)) for T in (3, 4, 5))), row)
    assert [(verdict.outcome, verdict.text) for verdict in verdicts[:2]] == [
        ("disagrees", "returns : expected loss, dW_xh, dW_hh, dW_hy, W_xh, W_hh, W_hy"),
        ("crashes", "ZeroDivisionError: a message"),
    ]
    assert verdicts[2].outcome == "agrees"
    assert verdicts[2].loops > 0
    json.dumps(verdicts, allow_nan=False)


def test_a_value_is_measured_after_warming_up(tmp_path):
    """A value of one call after one call; a value of four calls after one call and four."""
    program = f"""
import numpy
from benchmarks import plan, rows, worker
calls = []
row = rows.Row("a row", "", rows.present, {{"step": lambda case: rows.Prepared(lambda: calls.append(case.H), dict)}})
jobs = tuple(plan.Job("step", plan.point(H, 1), loops) for H, loops in ((6, 1), (16, 4)))
worker.measure(plan.Piece(3, "a row", 1, jobs), row, {str(tmp_path / "out.json")!r})
print(calls.count(6), calls.count(16))
"""
    printed = run([sys.executable, "-c", program], check=True, env=system.worker_environment(1)).stdout
    assert printed.splitlines()[-1] == "2 9"
    suite = merged([json.loads((tmp_path / "out.json").read_text())])
    assert {key.row: list(values) for key, values in times_of(suite).items()} == {"a row": [3]}
    for measured in suite["benchmarks"]:
        assert "thread_pools" in measured["metadata"]
        assert measured["runs"][0]["metadata"]["busy_cores"] >= 0


# -- store -----------------------------------------------------------------------------------------------------------


def test_a_store_resumes_the_same_plan_only(tmp_path):
    open_store(tmp_path, {"full": True}).write(PIECE, {"a": 1})
    again = open_store(tmp_path, {"full": True})
    assert again.done(PIECE)
    assert again.done(PIECE._replace(jobs=(PIECE.jobs[0]._replace(loops=9),)))
    for other in ({"round": 2}, {"row": rows.MODULES}, {"threads": 2}, {"jobs": (Job(rows.STEP, point(16, 1)),)}):
        assert not again.done(PIECE._replace(**other)), other
    with pytest.raises(DifferentPlan, match=r"^it contains a run with full = True, not False$"):
        open_store(tmp_path, {"full": False})


def test_an_interrupted_removal_leaves_nothing_to_resume(tmp_path, monkeypatch):
    store = open_store(tmp_path / "pieces", {"full": True})
    store.write(PIECE, {"a": 1})
    monkeypatch.setattr("shutil.rmtree", Mock(side_effect=[None, KeyboardInterrupt]))
    with pytest.raises(KeyboardInterrupt):
        store.clear()
    monkeypatch.undo()
    store = open_store(tmp_path / "pieces", {"full": False})
    assert not store.done(PIECE)
    store.clear()
    assert not list(tmp_path.iterdir())


def test_merged_suites_can_be_read_by_pyperf_and_do_not_identify_the_machine(tmp_path):
    """Of a round, the median of the values counts; of the metadata, what is equal in all rounds."""
    import pyperf

    name = "step | a | b | 2 threads"
    common = {"name": name, "hostname": "secret", "unit": "second", "case": "a case"}
    suites = [
        {
            "benchmarks": [{"runs": [{"values": [float(n), 9.0, n + 1.0]}]}],
            "metadata": common | {"round": n, "cpu_count": 2, "load": n},
            "version": "1.0",
        }
        for n in (1, 2)
    ]
    suite = merged(suites)
    assert "secret" not in json.dumps(suite)
    assert times_of(suite) == {Key(rows.STEP, "a", "b", 2): {1: 2.0, 2: 3.0}}
    assert suite["metadata"] == {"unit": "second", "cpu_count": 2}
    assert suite["benchmarks"][0]["metadata"] == {"name": name, "case": "a case"}
    (tmp_path / "file.json").write_text(json.dumps(suite))
    assert pyperf.BenchmarkSuite.load(str(tmp_path / "file.json")).get_benchmark_names() == [name]
