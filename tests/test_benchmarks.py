"""The benchmark: what rows are held against, the arithmetic, the verdicts. How long anything takes is not tested."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks import timing
from benchmarks.__main__ import main
from benchmarks.intervals import Estimate, estimate, median_interval, paired_differences, paired_ratios
from benchmarks.options import parse_options

ROOT = Path(__file__).parents[1]
EPOCHS = 20
needs_torch = pytest.mark.needs_torch
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
seeds = pytest.mark.parametrize("seed", [0, 1, 2])


# -- agreement ------------------------------------------------------------------------------------------------------


@cache
def reference(dtype, seed):
    """A case, the tutorial program's losses on it, and how far rounding may move them."""
    from benchmarks.agreement import rounding_bound
    from benchmarks.rows import sine_case, tutorial_row

    case = sine_case(dtype, EPOCHS, seed)
    losses = tutorial_row(case)
    return case, losses, rounding_bound(case, losses, np.random.default_rng(seed))


def held(losses, dtype, seed):
    from benchmarks.agreement import agreement

    return agreement(losses, *reference(dtype, seed)[1:])


def row(name, case):
    from benchmarks.rows import ROWS

    return ROWS[name](case)


@needs_torch
@dtypes
@seeds
@pytest.mark.parametrize("name", ["numpy_rnn", "torch_rnn"])
def test_the_loss_curve_is_the_tutorial_programs_to_rounding(name, dtype, seed):
    found = held(row(name, reference(dtype, seed)[0]), dtype, seed)
    assert found.holds, found


@needs_torch
@dtypes
@seeds
def test_the_bound_is_of_the_size_of_rounding(dtype, seed):
    """A bound that is far above it would let anything pass; training amplifies it here by less than a hundred."""
    _, losses, bound = reference(dtype, seed)
    assert (bound > 0).all()
    assert (bound < 100 * np.finfo(dtype).eps * max(losses)).all()


@needs_torch
@dtypes
@seeds
@pytest.mark.parametrize("factor", [1.01, 0.99, 1.0001])
def test_another_learning_rate_disagrees(factor, dtype, seed):
    case = reference(dtype, seed)[0]
    assert not held(row("numpy_rnn", case._replace(learning_rate=factor * case.learning_rate)), dtype, seed).holds


@needs_torch
@dtypes
def test_a_loss_that_is_not_halved_disagrees(dtype):
    assert not held([2 * loss for loss in reference(dtype, 0)[1]], dtype, 0).holds


@needs_torch
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_disagrees(wrong):
    losses = list(reference("float32", 0)[1])
    losses[7] = wrong
    found = held(losses, "float32", 0)
    assert not found.holds
    assert found.epoch == 8


@needs_torch
@pytest.mark.parametrize("count", [0, 1, EPOCHS - 1, EPOCHS + 1])
def test_a_curve_of_another_length_disagrees(count):
    """Even where NumPy would broadcast it."""
    losses = (reference("float32", 0)[1] * 2)[:count]
    assert not held(losses, "float32", 0).holds


@needs_torch
def test_agreement_finds_the_worst_epoch():
    from benchmarks.agreement import agreement

    found = agreement([1.0, 2.0, 3.5], [1.0, 2.5, 3.0], np.array([1.0, 0.5, 2.0]))
    assert found == (2, 0.5, 1.0)
    assert found.holds
    assert not agreement([1.0], [2.0], np.array([0.99])).holds


@needs_torch
@dtypes
def test_moved_weights_are_ulps_away(dtype):
    from benchmarks.agreement import moved

    weights = reference(dtype, 0)[0].weights[:3]
    before = [W.copy() for W in weights]
    steps = [(new - W) / np.spacing(np.abs(W)) for W, new in zip(weights, moved(weights, 1, np.random.default_rng(0)))]
    assert {-1, 1} >= set(np.concatenate([step.ravel() for step in steps]))
    assert all(new.dtype == dtype for new in moved(weights, 20, np.random.default_rng(0)))
    np.testing.assert_equal(weights, before)


@needs_torch
@dtypes
def test_the_tutorial_program_goes_on_from_the_weights_it_returns(dtype):
    from benchmarks import tutorial

    case, losses, _ = reference(dtype, 0)
    given = [W.copy() for W in case.weights[:3]]
    whole, trained = tutorial.train(*case.weights[:3], case.series, EPOCHS)
    first, weights = tutorial.train(*case.weights[:3], case.series, EPOCHS - 1)
    last, weights = tutorial.train(*weights, case.series, 1)
    assert whole == losses == first + last
    np.testing.assert_array_equal(np.concatenate(weights, axis=None), np.concatenate(trained, axis=None), strict=True)
    np.testing.assert_equal(list(case.weights[:3]), given)


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


def test_every_round_measures_everything_once_in_random_order():
    order = []

    def measurement(name):
        return lambda: order.append(name) or float(len(order))

    seconds = timing.interleaved({name: measurement(name) for name in "abc"}, 50, Random(0))
    rounds = [tuple(order[start : start + 3]) for start in range(0, 150, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len(set(rounds)) == 6
    assert all(seconds[name] == [i + 1.0 for i, who in enumerate(order) if who == name] for name in "abc")


def test_stopwatch_is_the_mean_of_calls_that_fill_the_least_time(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(timing, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0.5)

    def work(seconds):
        clock[0] += seconds

    assert timing.stopwatch(work, 0.25)() == 0.25
    assert clock[0] == 100.5
    assert timing.stopwatch(work, 2.0)() == 2.0
    assert clock[0] == 102.5


# -- verdicts and output --------------------------------------------------------------------------------------------

SECONDS = {"numpy_rnn": 1.0, "torch_rnn": 30.0, "tutorial": 12.0, "numpy": 0.050, "import numpy_rnn": 0.065}
MEGABYTES = {10_000: 40.0, 100_000: 41.0, 1_000_000: 40.25}  # by steps
QUICK = ["--epochs", "2", "--rounds", "6"]


@pytest.fixture
def canned(monkeypatch):
    """Rows and imports take the seconds of the returned dict, and long runs its megabytes by steps; `timed` lists the
    names of rows as they are timed.
    """
    from benchmarks import memory
    from benchmarks.rows import ROWS
    from benchmarks.system import THREAD_VARIABLES

    seconds = {**SECONDS, **MEGABYTES, "timed": []}

    def stopwatch(function, case):
        name = next(name for name, row in ROWS.items() if row is function)
        return lambda: seconds["timed"].append(name) or seconds[name]

    def import_seconds(modules, rounds, generator):
        return {"numpy": [seconds["numpy"]] * rounds, "numpy_rnn": [seconds["import numpy_rnn"]] * rounds}

    monkeypatch.setattr(timing, "stopwatch", stopwatch)
    monkeypatch.setattr(timing, "import_seconds", import_seconds)
    monkeypatch.setattr(memory, "memory_peak", lambda kind, steps, _: memory.Peak(kind, steps, seconds[steps], 0.0))
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    return seconds


@needs_torch
def test_all_claims_hold(canned, capsys):
    assert main(QUICK) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        "pass: training on a mapped file takes 0.250 MB more for 1000000 steps than for 10000 (asked: 1)",
        "pass: training on a stream takes 0.250 MB more for 1000000 steps than for 10000 (asked: 1)",
    ]
    assert [line[:5] for line in lines[-5:-2]] == ["pass:"] * 3  # what the suite costs
    assert lines[-7:-5] == [
        "pass: numpy_rnn is 12.0 [12.0, 12.0] times faster than the tutorial loop (asked: 10)",
        "pass: import numpy_rnn costs 15.0 [15.0, 15.0] ms more than import numpy (asked: 30)",
    ]
    assert "noise floor: numpy_rnn / itself 1.00 [1.00, 1.00], single rounds 1.00 to 1.00" in lines
    assert canned["timed"].count("numpy_rnn") == 2 * 6  # A/A
    assert canned["timed"].count("torch_rnn") == canned["timed"].count("tutorial") == 6


@needs_torch
@pytest.mark.parametrize(
    ("name", "seconds", "claim"),
    [
        ("tutorial", 9.99, "FAIL: numpy_rnn is 9.99 [9.99, 9.99] times faster"),
        ("import numpy_rnn", 0.081, "FAIL: import numpy_rnn costs 31.0 [31.0, 31.0] ms"),
        (1_000_000, 41.01, "FAIL: training on a mapped file takes 1.01 MB more for 1000000 steps than for 10000"),
        (10_000, 39.24, "FAIL: training on a stream takes 1.01 MB more for 1000000 steps than for 10000"),
    ],
)
def test_a_claim_that_does_not_hold_fails(canned, capsys, name, seconds, claim):
    canned[name] = seconds
    assert main(QUICK) == 1
    assert claim in capsys.readouterr().out


@needs_torch
@pytest.mark.parametrize("name", ["numpy_rnn", "torch_rnn"])
def test_a_row_that_disagrees_is_not_timed(canned, capsys, monkeypatch, name):
    from benchmarks.rows import ROWS

    right = ROWS[name]
    monkeypatch.setitem(ROWS, name, lambda case: right(case._replace(learning_rate=0.101)))
    assert main(QUICK) == 1
    assert f"\n{name} DISAGREES and is not timed: furthest at epoch " in capsys.readouterr().out
    assert name not in canned["timed"]
    assert "tutorial" in canned["timed"]


@needs_torch
def test_without_its_row_the_claim_of_speed_fails(canned, capsys, monkeypatch):
    from benchmarks.rows import ROWS

    monkeypatch.setitem(ROWS, "numpy_rnn", lambda case: [np.nan] * case.epochs)
    assert main(QUICK) == 1
    assert "FAIL: numpy_rnn was not timed against the tutorial loop (asked: 10)" in capsys.readouterr().out


@needs_torch
def test_a_real_run_writes_every_measurement(monkeypatch, tmp_path, capsys):
    from benchmarks.system import THREAD_VARIABLES

    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setattr(timing, "LEAST_SECONDS", 1e-9)
    file = tmp_path / "results.json"
    short = ["--epochs", "1", "--rounds", "6", "--steps", "10000"]
    status = main([*short, "--dtype", "float64", "--json", str(file)])
    results = json.loads(file.read_text())
    assert status == (0 if all(claim["holds"] for claim in results["claims"]) else 1)
    assert results["options"] == {"rounds": 6, "epochs": 1, "dtype": "float64", "threads": 1, "steps": 10000}
    assert results["points"] == 20
    assert set(results["run_seconds"]) == {"numpy_rnn", "torch_rnn", "tutorial", "numpy_rnn again"}
    assert set(results["import_seconds"]) == {"numpy", "numpy_rnn"}
    for seconds in [*results["run_seconds"].values(), *results["import_seconds"].values()]:
        assert len(seconds) == 6
        assert min(seconds) > 0
    peaks = results["memory"]
    kinds = [("mapped file", steps) for steps in (100, 1000, 10000)] + [
        ("stream", steps) for steps in (100, 1000, 10000)
    ]
    assert [(peak["kind"], peak["steps"]) for peak in peaks] == kinds
    assert [peak["file"] for peak in peaks] == [(128 + 4 * (steps + 1)) / 1e6 for _, steps in kinds[:3]] + [0] * 3
    assert all(peak["resident"] > 1 for peak in peaks)
    assert set(results["system"]) == {"CPU", "Python", "NumPy", "torch", "commit"}
    assert all(agreement["share"] <= 1 for agreement in results["agreements"].values())
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


@needs_torch
def test_json_has_no_number_that_is_not_finite(tmp_path):
    from benchmarks.report import write_json

    write_json(tmp_path / "file", {"a": [1.5, float("inf")], "b": Estimate(1.0, float("nan"), 2.0)})
    assert json.loads((tmp_path / "file").read_text()) == {"a": [1.5, None], "b": {"median": 1, "low": None, "high": 2}}


@needs_torch
@pytest.mark.parametrize(
    ("value", "shown"),
    [(12.345, "12.3"), (0.0123456, "0.0123"), (1234.5, "1234"), (0.0, "0.00"), (-2.281, "-2.28"), (1, "1.00")],
)
def test_three_digits(value, shown):
    from benchmarks.report import three_digits

    assert three_digits(value) == shown


@needs_torch
def test_threads_are_limited_and_given_back():
    import torch

    from benchmarks.system import limited_threads

    before = torch.get_num_threads()
    with limited_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rounds", "5"], "argument --rounds: '5' given: expected a whole number, 6 or more"),
        (["--rounds", "many"], "argument --rounds: 'many' given: expected a whole number, 6 or more"),
        (["--epochs", "0"], "argument --epochs: '0' given: expected a whole number, 1 or more"),
        (["--epochs", "1.5"], "argument --epochs: '1.5' given: expected a whole number, 1 or more"),
        (["--steps", "9999"], "argument --steps: '9999' given: expected a whole number, 10000 or more"),
        (["--threads", "-1"], "argument --threads: '-1' given: expected a whole number, 1 or more"),
        (["--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
        (["--json", "no/such/directory/file"], "argument --json: cannot write 'no/such/directory/file': expected a"),
        (["--json", "."], "argument --json: cannot write '.': expected a"),
        (["--json"], "argument --json: expected one argument"),
        (["--quick"], "unrecognized arguments: --quick"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line_and_status_2(options, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(options)
    out, err = capsys.readouterr()
    assert exit_.value.code == 2
    assert out == ""
    assert err.startswith(f"python -m benchmarks: {message}")
    assert err.count("\n") == 1
    assert err.endswith("\n")


def test_without_torch_it_says_so(monkeypatch, capsys):
    from benchmarks.system import THREAD_VARIABLES

    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "python -m benchmarks: torch is not installed: it runs the tutorial program; install it\n"


def test_the_options_and_what_they_are_without_being_given():
    options = {"rounds": 15, "epochs": 300, "dtype": "float32", "threads": 1, "steps": 1_000_000, "json": None}
    assert vars(parse_options([])) == options


def test_help_names_every_option_and_the_exit_status():
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stderr == ""
    options = ("--rounds", "--epochs", "--dtype", "--threads", "--steps", "--json")
    assert all(option in shown.stdout for option in options)
    assert "Exit status: 0 if" in shown.stdout


def test_numpy_is_not_imported_before_the_threads_are_set():
    """Without threadpoolctl, BLAS reads the number of its threads from the environment while NumPy is imported."""
    program = "import benchmarks.__main__, sys; sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


@needs_torch
def test_the_cost_of_the_suite_is_measured_and_held_to_what_is_asked(tmp_path):
    from benchmarks import suite

    cost = suite.suite_cost(3, tmp_path)
    assert cost.updates == 60
    assert min(cost) > 0
    assert all(claim.holds for claim in suite.claims(suite.Cost(3.0, 5.0, 500.0, 6000)))
    too_much = suite.claims(suite.Cost(3.1, 5.1, 501.0, 6000))
    assert not any(claim.holds for claim in too_much)
    assert [claim.text.split("(")[1] for claim in too_much] == ["asked: 3)", "asked: 5)", "asked: 500)"]


@needs_torch
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process set back its peak")
def test_the_memory_of_a_process_is_its_own_and_what_it_holds_shows():
    """A list of a million numbers, 8 MB of pointers alone, is seen; and nothing of what this process holds, nor of what
    was held before the measurement.
    """
    program = """
import benchmarks.long_run as run
passing = b"x" * 50_000_000
del passing
assert run.set_back()
before = run.peak()
kept = [float(number) for number in range(1_000_000 if {holds} else 1)]
print(before, run.peak())
"""
    before, after = {}, {}
    held_here = np.ones(20_000_000)  # 160 MB, that a process begun by this one does not have
    for holds in (False, True):
        command = [sys.executable, "-c", program.format(holds=holds)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        before[holds], after[holds] = map(float, run.stdout.split())
    assert held_here.nbytes / 1e6 > after[False] > 1
    assert after[False] - before[False] < 1
    assert after[True] - before[True] > 8


@needs_torch
def test_the_memory_table():
    from benchmarks.memory import Peak, memory_table

    lines = memory_table([Peak("mapped file", 10_000, 36.754, 0.0402), Peak("stream", 1_000_000, 37.1, 0.0)])
    assert lines[0].split() == ["memory", "steps", "MB", "at", "the", "peak", "and", "of", "the", "file"]
    assert [line.split() for line in lines[1:]] == [
        ["mapped", "file", "10000", "36.75", "0.04"],
        ["stream", "1000000", "37.10", "0.00"],
    ]
    assert len({len(line) for line in lines}) == 1


def test_the_stream_of_the_long_run_is_the_mapped_series():
    from benchmarks.long_run import sine_steps

    x, target = map(np.array, zip(*sine_steps(50)))
    series = np.sin(np.arange(51) / 10).astype(np.float32).reshape(-1, 1, 1)
    assert abs(x - series[:-1]).max() <= 2**-24  # two sines, each rounded to float32
    assert abs(target - series[1:]).max() <= 2**-24
