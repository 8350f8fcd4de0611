"""The benchmark: plan, store, statistics, verdicts. How long anything takes is not tested."""

import json
import re
import sys
from pathlib import Path
from random import Random
from unittest.mock import Mock

import pytest
from children import run

from benchmarks import system
from benchmarks.__main__ import benchmark, main
from benchmarks.charts import spread
from benchmarks.claims import time_claims
from benchmarks.cli import parse_options
from benchmarks.estimates import (
    Estimate,
    estimate,
    is_tie,
    median_interval,
    noise_floor,
    paired_differences,
    paired_ratios,
    slope,
    times_of,
)
from benchmarks.line_profile import equation_of
from benchmarks.plan import COLD, IMPORT, Choice, Job, Key, Piece, Wanted, pieces_of_round, shortened, wanted
from benchmarks.rows import (
    AGAIN,
    CALLS,
    COMPILED,
    EVERY,
    FORWARD,
    GEMMS,
    GRADIENT,
    JAX,
    MODULES,
    OTHER,
    OURS,
    RUN,
    STEP,
    TUTORIAL,
)
from benchmarks.runner import agreeing, wants_of, worker
from benchmarks.store import OtherPlan, merged, open_store
from benchmarks.summary import Findings
from benchmarks.timing_tables import Claim, at_least, at_most, every, windows_table
from benchmarks.worker import Verdict
from benchmarks.workloads import MAIN_JOB, SLIDING, point

ROOT = Path(__file__).parents[2]

# -- statistics -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "k"), [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18), (100, 40)]
)
def test_median_interval_is_the_one_of_the_tables(n, k):
    """Conover, Practical Nonparametric Statistics: the sign test's 95 % limits are the k-th value from either end."""
    values = list(range(1, n + 1))
    Random(0).shuffle(values)
    assert median_interval(values) == (k, n + 1 - k)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_median_interval_needs_six_values(n):
    with pytest.raises(ValueError, match=f"^{n} values: expected more for an interval of 95% confidence$"):
        median_interval(range(n))


def test_median_interval_of_less_confidence_is_narrower():
    assert median_interval(range(1, 16), confidence=0.5) == (6, 10)
    assert median_interval(range(1, 4), confidence=0.75) == (1, 3)


def test_estimate():
    assert estimate([5, 1, 2, 9, 3, 4]) == Estimate(median=3.5, low=1, high=9)


def test_what_slows_a_whole_round_cancels_in_paired_ratios():
    assert paired_ratios([10, 40, 20], [1, 4, 2]) == [10, 10, 10]
    assert paired_differences([10, 40], [1, 4]) == [9, 36]


@pytest.mark.parametrize("paired", [paired_ratios, paired_differences])
def test_rounds_without_a_partner_are_refused(paired):
    with pytest.raises(ValueError, match="shorter"):
        paired([1, 2], [1])


def test_slope_is_the_exponent():
    """Three logarithms of either kind, differences, products, sums: no more than 16 roundings of numbers < 2⁴."""
    points = [(x, 3 * x**1.5) for x in (2.0, 4.0, 8.0)]
    assert abs(slope(points) - 1.5) <= 16 * 2**4 * 2**-53
    assert abs(slope([(x, y * x**1e-12) for x, y in points]) - 1.5) > 16 * 2**4 * 2**-53


def test_a_ratio_within_the_noise_is_a_tie():
    assert is_tie(Estimate(1.05, 1.01, 1.08), (0.97, 1.06))
    assert is_tie(Estimate(1.2, 0.99, 1.3), None)
    assert not is_tie(Estimate(1.2, 1.1, 1.3), (0.97, 1.06))


# -- plan, pieces and store -----------------------------------------------------------------------------------------


def test_a_round_does_every_row_once_and_the_rows_of_a_group_one_soon_after_the_other():
    groups = [Wanted(dict.fromkeys("abc", (Job(STEP, point(H, 1)),))) for H in (6, 16, 32)]
    orders = {tuple((p.row, p.jobs[0].case.H) for p in pieces_of_round(1, groups, Random(seed))) for seed in range(20)}
    assert len(orders) > 10
    for order in orders:
        assert len(set(order)) == 9
        assert all(len({H for _, H in order[start : start + 3]}) == 1 for start in (0, 3, 6))


def test_pieces_and_keys_are_read_as_they_were_written():
    piece = Piece(3, OURS, 2, (Job(RUN, MAIN_JOB, 7), Job(STEP, point(64, 8))))
    assert Piece.from_text(piece.to_text()) == piece
    for key in piece.keys:
        assert Key.from_text(key.to_text()) == key


def test_options_leave_out_what_they_do_not_name():
    groups = wanted(Choice(True, rows=(OURS, MODULES), tasks=(STEP,), cases=("H=64 ",), threads=(1, 2)))
    jobs = [(row, job, group.threads) for group in groups for row, given in group.jobs.items() for job in given]
    assert {row for row, *_ in jobs} == {OURS, MODULES}
    assert {job.task for _, job, _ in jobs} == {STEP}
    assert {threads for *_, threads in jobs} == {1, 2}
    assert all("H=64 " in job.case.name for _, job, _ in jobs)


def test_a_cold_start_is_judged_by_itself():
    group = Wanted(dict.fromkeys((OURS, MODULES), (Job(COLD, MAIN_JOB),)))
    verdicts = {
        Key(COLD, row, MAIN_JOB.name).to_text(): Verdict("", outcome)
        for row, outcome in ((OURS, "agrees"), (MODULES, "disagrees"))
    }
    (timed,) = agreeing([group], verdicts)
    assert list(timed.jobs) == [OURS]


def test_a_cold_start_that_is_judged_leaves_nothing_compiled_to_others(monkeypatch, tmp_path):
    """Or the seconds that another piece takes to compile would be those of a cache."""
    found = {}

    def ran(command, environment):
        piece = Piece.from_text(command[-2])
        found[piece.jobs[0].task] = environment["TMPDIR"], environment[system.COMPILED]
        Path(command[-1]).write_text("[]")

    monkeypatch.setattr("benchmarks.runner._run", ran)
    store = open_store(tmp_path, {})
    for task in (COLD, RUN):
        worker(Piece(0, COMPILED, 1, (Job(task, MAIN_JOB),)), store)
    assert found[RUN] == (str(store.compiled()),) * 2
    assert not {*found[COLD]} & {*found[RUN]}


@pytest.mark.parametrize(
    ("holds", "broken", "status"),
    [([True, None], [], 0), ([True, False], [], 1), ([True], ["a process broke"], 1)],
    ids=["open", "failed", "broken"],
)
def test_the_status_is_1_for_what_fails_and_not_for_what_is_open(holds, broken, status, monkeypatch, capsys):
    times, wants = canned()
    claims = [Claim("a claim", held) for held in holds]
    found = Findings({}, "command", 6, times, {}, wants, verdicts=[], broken=broken, claims=claims)
    monkeypatch.setattr("benchmarks.runner.find", lambda options, store: (found, {}))
    assert benchmark(parse_options([]), None) == status
    assert "- open: a claim\n" in capsys.readouterr().out or None not in holds


def test_torch_compile_has_what_it_can_compile_in_a_minute():
    groups = wanted(Choice(True))
    jobs = [job for group in groups for job in group.jobs.get(COMPILED, ())]
    assert {(job.case.T, job.case.B, job.case.dtype) for job in jobs if job.task == STEP} == {
        (50, B, "float32") for B in (1, 32)
    }
    assert {job.case.H for job in jobs if job.task == STEP} == {6, 16, 32, 64, 128, 256, 512, 1024}
    assert {job.task for job in jobs} == {STEP, RUN, COLD}


@pytest.mark.parametrize(
    ("case", "updates", "epochs"), [(MAIN_JOB, 600, 30), (MAIN_JOB, 10**6, 300), (SLIDING[1], 600, 6)]
)
def test_a_shorter_run_takes_as_long_whatever_k2(case, updates, epochs):
    assert shortened(case, updates) == case._replace(epochs=epochs)


def test_what_disagrees_is_not_timed():
    group = Wanted(dict.fromkeys((OURS, AGAIN, MODULES), (Job(STEP, point(6, 1)), Job(STEP, point(16, 1)))))
    verdicts = {
        Key(STEP, row, f"H={H} B=1 T=50 float32").to_text(): Verdict("", outcome, loops=5)
        for row, H, outcome in ((OURS, 6, "agrees"), (OURS, 16, "disagrees"), (MODULES, 6, "left out"))
    }
    (timed,) = agreeing([group], verdicts)
    assert timed.jobs == {row: (Job(STEP, point(6, 1), 5),) for row in (OURS, AGAIN)}


def test_a_store_goes_on_with_the_same_plan_only(tmp_path):
    piece = Piece(1, OURS, 1, (Job(STEP, point(6, 1)),))
    open_store(tmp_path, {"full": True}).write(piece, {"a": 1})
    again = open_store(tmp_path, {"full": True})
    assert again.done(piece)
    assert again.done(piece._replace(jobs=(piece.jobs[0]._replace(loops=9),)))
    assert not again.done(piece._replace(round=2))
    with pytest.raises(OtherPlan, match="full = True, and now it is False"):
        open_store(tmp_path, {"full": False})


def test_no_run_goes_on_from_what_a_broken_end_left(tmp_path, monkeypatch):
    piece, folder = Piece(1, OURS, 1, (Job(STEP, point(6, 1)),)), tmp_path / "pieces"
    store = open_store(folder, {"full": True})
    store.write(piece, {"a": 1})
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", Mock(side_effect=[None, KeyboardInterrupt]))
        with pytest.raises(KeyboardInterrupt):
            store.clear()
    store = open_store(folder, {"full": False})
    assert not store.done(piece)
    store.clear()
    assert not list(tmp_path.iterdir())


def test_merged_is_what_pyperf_reads_and_names_no_machine(tmp_path):
    import pyperf

    suites = [
        {
            "benchmarks": [{"runs": [{"values": [float(n), 9.0, n + 1.0]}]}],
            "metadata": {
                "name": "step | a | b | 1 thread",
                "round": n,
                "hostname": "secret",
                "unit": "second",
                "case": "a case",
                "cpu_count": 2,
                "load": n,
            },
            "version": "1.0",
        }
        for n in (1, 2)
    ]
    found = merged(suites)
    assert "secret" not in json.dumps(found)
    assert times_of(found) == {Key(STEP, "a", "b"): {1: 2.0, 2: 3.0}}
    assert found["metadata"] == {"unit": "second", "cpu_count": 2}  # what differs is not said of all
    assert found["benchmarks"][0]["metadata"] == {"name": "step | a | b | 1 thread", "case": "a case"}
    (tmp_path / "file.json").write_text(json.dumps(found))
    assert pyperf.BenchmarkSuite.load(str(tmp_path / "file.json")).get_benchmark_names() == ["step | a | b | 1 thread"]


# -- claims ---------------------------------------------------------------------------------------------------------

WINDOW_SECONDS = {OURS: 1.0, AGAIN: 1.0, MODULES: 3.0, OTHER: 1.5, JAX: 1.1, GEMMS: 0.95, CALLS: 0.95}
RUN_SECONDS = {OURS: 12e-6, AGAIN: 12e-6, TUTORIAL: 200e-6, CALLS: 11e-6, MODULES: 1e-4, EVERY: 2e-5}  # a point
NETWORK_SECONDS = {OURS: 30e-9, AGAIN: 30e-9, JAX: 34e-9}
IMPORT_SECONDS = {OURS: 0.065, "numpy": 0.05}


def canned(threads=(1, 2), **changes):
    """Times of a full plan in which every claim holds, but for changes of (task, row)."""
    wants = wants_of(wanted(Choice(True, threads=threads)))
    times = {}
    for key in wants.keys:
        case = wants.cases.get(key.case)
        if key.task in (FORWARD, GRADIENT, STEP) and key.row in WINDOW_SECONDS:
            value = WINDOW_SECONDS[key.row] * (case.T * case.B * case.H**2 + 1000)  # an overhead
        elif key.task == RUN and case.networks > 1 and key.row in NETWORK_SECONDS:
            value = NETWORK_SECONDS[key.row] * case.points * case.networks / (1.7 if key.threads > 1 else 1)
        elif key.task == RUN and case.networks == 1 and key.row in RUN_SECONDS:
            value = RUN_SECONDS[key.row] * case.points
        elif key.task == IMPORT:
            value = IMPORT_SECONDS[key.row]
        else:
            continue
        times[key] = dict.fromkeys(range(1, 7), value * changes.get(f"{key.task} {key.row} {key.threads}", 1.0))
    return times, wants


def test_all_claims_hold():
    claims = time_claims(*canned())
    assert len(claims) == 15
    assert [claim.line() for claim in claims if claim.holds is not True] == []


@pytest.mark.parametrize(
    ("change", "factor", "words"),
    [
        (f"{RUN} {TUTORIAL} 1", 0.95, "times faster than the tutorial loop"),
        (f"{RUN} {CALLS} 1", 0.9, "the bare NumPy calls"),
        (f"{RUN} {JAX} 1", 0.88, "ensembles: numpy_rnn is at least 0.997"),
        (f"{RUN} {OURS} 2", 1.1, "ensembles, 2 threads: numpy_rnn is at least 1.55"),
        (f"{STEP} {MODULES} 1", 0.83, "geometric mean 2.49"),
        (f"{STEP} {MODULES} 2", 0.29, "2 threads"),
        (
            f"{STEP} {JAX} 1",
            0.9,
            "times as fast as JAX, at H=256 B=32 T=50 float32 (asked: 0.95), geometric mean 0.990",
        ),
        (f"{STEP} {GEMMS} 1", 0.97, "times as fast as bare GEMMs"),
        (f"{FORWARD} {OTHER} 1", 0.66, "forward by the public functions: numpy_rnn is at least 0.990"),
        (f"{GRADIENT} {OTHER} 1", 0.66, "gradient by the public functions: numpy_rnn is at least 0.990"),
        (f"{IMPORT} {OURS} 1", 1.25, "import numpy_rnn costs 31.2"),
    ],
)
def test_a_claim_that_does_not_hold_fails(change, factor, words):
    (claim,) = [claim for claim in time_claims(*canned(**{change: factor})) if claim.holds is False]
    assert words in claim.text
    assert claim.line().startswith("FAIL: ")


@pytest.mark.parametrize(
    ("interval", "least", "most"),
    [((2, 2, 3), True, False), ((1, 1, 2), True, None), ((1, 0, 2), None, None), ((0, 0, 1), None, True)],
)
def test_a_claim_is_open_where_its_interval_holds_what_is_asked(interval, least, most):
    assert (at_least(Estimate(*interval), 1), at_most(Estimate(*interval), 1)) == (least, most)


def test_a_claim_on_every_case_fails_with_one_and_is_open_with_one():
    assert [every(v) for v in ([True, True], [True, None], [None, False, True])] == [True, None, False]


def test_noise_leaves_a_claim_open():
    times, wants = canned()
    slow = {key: {n: value * (0.9 if key.row == TUTORIAL and n == 3 else 1) for n, value in found.items()}
            for key, found in times.items()}  # fmt: skip
    (claim,) = [claim for claim in time_claims(slow, wants) if claim.holds is not True]
    assert claim.line().startswith("open: main job: numpy_rnn is 16.7 [15.0, 16.7] times faster than the tutorial loop")


@pytest.mark.parametrize("row", [OURS, EVERY, OTHER, MODULES, TUTORIAL, JAX, CALLS, GEMMS])
def test_a_row_that_was_wanted_and_not_timed_fails(row):
    times, wants = canned()
    claims = time_claims({key: value for key, value in times.items() if key.row != row}, wants)
    assert any("was not timed" in claim.text and claim.holds is False for claim in claims)


def test_growth_that_is_not_linear_fails():
    times, wants = canned()
    grown = {
        key: {n: value * (wants.cases[key.case].T if key[:2] == (STEP, OURS) else 1) for n, value in found.items()}
        for key, found in times.items()
    }
    assert any("grows as T" in claim.text and claim.holds is False for claim in time_claims(grown, wants))


def test_the_noise_floor_is_of_the_row_beside_itself():
    times, _ = canned(**{f"{STEP} {AGAIN} 1": 1.25})
    assert noise_floor(times, AGAIN, OURS) == (1.0, 1.25)


def test_a_table_has_what_other_rows_take_and_what_they_take_to_compile():
    case, key = point(6, 1), Key(STEP, OURS, point(6, 1).name)
    seconds = {OURS: 1e-3, AGAIN: 1e-3, MODULES: 3e-3, COMPILED: 5e-4}
    times = {key._replace(row=row): dict.fromkeys(range(6), value) for row, value in seconds.items()}
    head, _, line = windows_table(times, [case], STEP, 1, {key._replace(row=COMPILED): 12.34})
    cells = dict(zip(*([cell.strip() for cell in text.strip("|").split("|")] for text in (head, line)), strict=True))
    assert cells == {
        "step": case.name,
        "numpy_rnn, ms": "1.00 [1.00, 1.00]",
        "torch.nn.RNN / it": "3.00",
        "torch.compile / it": "0.500",
        "s to compile: torch.compile": "12.3",
    }


@pytest.mark.parametrize(
    ("line", "equations"),
    [
        ("dot(z, W, a)  # (F1)", "F1"),
        ("dot(z_T, da, dW)  # (B4), (B5), (B7)", "B4, B5, B7"),
        ("dot(dy, W_hy_T, dh)  # (B2), from the outputs", "B2"),
        ("f(B2)  # no id", ""),
    ],
)
def test_a_line_of_a_profile_belongs_to_the_equations_of_its_comment(line, equations):
    assert equation_of(line) == equations


def test_the_system_says_which_kernels_of_blas_are_used():
    from threadpoolctl import threadpool_info

    said = system.system_information()["BLAS of NumPy"]
    kernels = [pool["architecture"] for pool in threadpool_info() if "architecture" in pool]
    assert all(f"{kernel} kernel" in said for kernel in kernels)
    assert said


def test_more_threads_are_for_ensembles_that_are_large():
    groups = wanted(Choice(True, rows=(OURS,), threads=(2,)))
    runs = [job.case for group in groups for job in group.jobs[OURS] if job.task == RUN]
    assert [case.networks for case in runs] == [1, 1000, 2000, 10_000]


def test_names_at_the_ends_of_lines_do_not_overlap():
    assert spread([0.0, 1.0, 50.0], 10) == [-4.5, 5.5, 50.0]


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "5"], "--rounds: '5' given: expected a whole number, 6 or more"),
        (["--steps", "9999"], "--steps: '9999' given: expected a whole number, 10000 or more"),
        (["--threads", "-1"], "--threads: '-1' given: expected a whole number, 1 or more"),
        (["--rows", "fast"], "--rows.*fast"),
        (["--tasks", "sing"], "--tasks.*sing"),
        (["--output", "no/such/directory"], "--output: cannot write to 'no/such/directory': expected a"),
        (["--output", "README.md"], "--output: cannot write to 'README.md': expected a folder"),
        (["--quick"], "--quick"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line_and_status_2(options, message, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as exit_:
        main(options)
    out, err = capsys.readouterr()
    assert exit_.value.code == 2
    assert out == ""
    assert re.match(f"python -m benchmarks: .*{message}", err), err
    assert err.count("\n") == 1


@pytest.mark.parametrize("options", [["--cases", "no such case"], ["--rows", "torch.compile"]], ids=str)
def test_options_that_leave_nothing_are_refused(options, capsys):
    assert main(options) == 2
    assert capsys.readouterr().err.startswith(
        "python -m benchmarks: these options leave nothing to measure: expected rows"
    )


@pytest.mark.parametrize("options", [["--output", "."], ["--output=."], []], ids=str)
def test_the_report_has_the_command_without_the_folder(options):
    assert parse_options(["--full", *options, "--rounds", "7"]).command == "python -m benchmarks --full --rounds 7"
    assert parse_options(options).command == "python -m benchmarks"


def test_the_modes():
    quick, full = parse_options([]), parse_options(["--full"])
    assert (quick.rounds, quick.steps, quick.threads, quick.output) == (6, 100_000, [1], None)
    assert (full.rounds, full.steps, full.output) == (9, 1_000_000, Path("benchmark-results"))


@pytest.mark.slow
def test_numpy_is_not_imported_before_the_threads_are_set():
    program = "import benchmarks.__main__, sys; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    run([sys.executable, "-c", program], check=True)
