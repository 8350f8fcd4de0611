"""What is claimed of made-up times, and when a claim fails or is open."""

import pytest

from benchmarks.claims import GROWTHS as T_AND_SIZE
from benchmarks.claims import at_least, at_most, every, exponent, time_claims
from benchmarks.estimates import Estimate, Requested
from benchmarks.plan import COLD, IMPORT, Choice, Key, plan_groups
from benchmarks.rows import (
    AGAIN,
    CALLS,
    CHARACTERS,
    EVERY,
    FORWARD,
    GEMMS,
    GRADIENT,
    JAX,
    MIN_CHAR_RNN,
    MODULES,
    OTHER,
    OURS,
    RUN,
    STEP,
    TUTORIAL,
    C,
)
from benchmarks.runner import requested_of
from benchmarks.workloads import point

WINDOW_SECONDS = {OURS: 1.0, AGAIN: 1.0, MODULES: 3.0, OTHER: 1.5, JAX: 1.1, GEMMS: 0.95, CALLS: 0.95}
RUN_SECONDS = {OURS: 12e-6, AGAIN: 12e-6, TUTORIAL: 200e-6, CALLS: 11e-6, MODULES: 1e-4, EVERY: 2e-5}  # per point
NETWORK_SECONDS = {OURS: 30e-9, AGAIN: 30e-9, JAX: 34e-9}
COLD_SECONDS = {OURS: 0.1, C: 0.2} | dict.fromkeys((TUTORIAL, MODULES, OTHER, JAX, EVERY), 1.0)
CHARACTER_SECONDS = {OURS: 3e-4, AGAIN: 3e-4, MIN_CHAR_RNN: 1.5e-3, MODULES: 1.2e-3}  # per update
IMPORT_SECONDS = {OURS: 0.065, "numpy": 0.05}


def full_times(threads=(1, 2), **changes):
    """Times of the full mode for which every claim holds, multiplied by the changes of "task row threads"."""
    requested = requested_of(plan_groups(Choice(True, threads=threads)))
    times = {}
    for key in requested.keys:
        case = requested.cases.get(key.case)
        if key.task in (FORWARD, GRADIENT, STEP) and key.row in WINDOW_SECONDS:
            value = WINDOW_SECONDS[key.row] * (case.T * case.B * case.H**2 + 1000)  # an overhead
        elif key.task == RUN and case.networks > 1 and key.row in NETWORK_SECONDS:
            value = NETWORK_SECONDS[key.row] * case.points * case.networks / (1.7 if key.threads > 1 else 1)
        elif key.task == RUN and case.networks == 1 and key.row in RUN_SECONDS:
            value = RUN_SECONDS[key.row] * case.points
        elif key.task == CHARACTERS and key.row in CHARACTER_SECONDS:
            value = CHARACTER_SECONDS[key.row] * case.points
        elif key.task == COLD:
            value = COLD_SECONDS.get(key.row, 5.0)
        elif key.task == IMPORT:
            value = IMPORT_SECONDS[key.row]
        else:
            continue
        times[key] = dict.fromkeys(range(1, 7), value * changes.get(f"{key.task} {key.row} {key.threads}", 1.0))
    return times, requested


def test_all_claims_hold():
    claims = time_claims(*full_times())
    assert len(claims) == 20
    assert [claim.line() for claim in claims if claim.holds is not True] == []


@pytest.mark.parametrize(
    ("change", "factor", "words"),
    [
        (f"{RUN} {TUTORIAL} 1", 0.95, "15.8 [15.8, 15.8] times as fast as the tutorial loop (target: 16)"),
        (f"{RUN} {CALLS} 1", 0.9, "1.21 [1.21, 1.21] times as long as the bare NumPy calls"),
        (f"{CHARACTERS} {MIN_CHAR_RNN} 1", 0.79, "characters: numpy_rnn is at least 3.95 [3.95, 3.95] times as fast"),
        (f"{CHARACTERS} {MODULES} 1", 0.74, "at character model, float64 (target: 3)"),
        (f"{RUN} {JAX} 1", 0.88, "ensembles: numpy_rnn is at least 0.997"),
        (f"{RUN} {OURS} 2", 1.1, "ensembles, 2 threads: numpy_rnn is at least 1.55"),
        (f"{STEP} {MODULES} 1", 0.83, "47 points, 1 thread: numpy_rnn is at least 2.49 [2.49, 2.49] times as fast as"),
        (f"{STEP} {MODULES} 2", 0.29, "47 points, 2 threads: numpy_rnn is at least 0.870"),
        (
            f"{STEP} {JAX} 1",
            0.9,
            "H=256 B=32 T=50 float32 (target: 0.95), geometric mean 0.990 [0.990, 0.990] (target: 1)",
        ),
        (f"{STEP} {GEMMS} 1", 0.96, "at least 0.912 [0.912, 0.912] times as fast as bare GEMMs"),
        (
            f"{STEP} {CALLS} 1",
            1.06,
            "bare calls are a floor: numpy_rnn takes at least 0.993 [0.993, 0.993] times as long",
        ),
        (f"{FORWARD} {OTHER} 1", 0.66, "forward by the public functions: numpy_rnn is at least 0.990"),
        (f"{GRADIENT} {OTHER} 1", 0.66, "gradient by the public functions: numpy_rnn is at least 0.990"),
        (
            f"{COLD} {C} 1",
            0.49,
            "0.980 [0.980, 0.980] times as fast as every other row, at C loop",
        ),
        (f"{IMPORT} {OURS} 1", 1.25, "import numpy_rnn takes 31.2 [31.2, 31.2] ms more than import numpy"),
    ],
)
def test_a_claim_that_does_not_hold_fails(change, factor, words):
    (claim,) = [claim for claim in time_claims(*full_times(**{change: factor})) if claim.holds is False]
    assert words in claim.text
    assert claim.line().startswith("FAIL: ")


@pytest.mark.parametrize(
    ("interval", "least", "most"),
    [((2, 2, 3), True, False), ((1, 1, 2), True, None), ((1, 0, 2), None, None), ((0, 0, 1), None, True)],
)
def test_a_claim_is_open_if_its_interval_contains_the_target(interval, least, most):
    assert (at_least(Estimate(*interval), 1), at_most(Estimate(*interval), 1)) == (least, most)
    assert [every(v) for v in ([True, True], [True, None], [None, False, True])] == [True, None, False]


def test_noise_leaves_a_claim_open():
    times, requested = full_times()
    slow = {
        key: {n: value * (0.9 if key.row == TUTORIAL and n == 3 else 1) for n, value in values.items()}
        for key, values in times.items()
    }
    (claim,) = [claim for claim in time_claims(slow, requested) if claim.holds is not True]
    text = "open: default experiment: numpy_rnn is 16.7 [15.0, 16.7] times as fast as the tutorial loop (target: 16)"
    assert claim.line() == text


def test_a_floor_may_be_slower_by_the_noise():
    times, requested = full_times(**{f"{STEP} {CALLS} 1": 1.06, f"{STEP} {AGAIN} 1": 0.99})
    assert [claim.line() for claim in time_claims(times, requested) if claim.holds is not True] == []


def test_the_case_that_a_claim_names_is_the_worst():
    """The lowest ratio of 47, and the mean of all in every round: 3·300^(-1/47), and 3·600^(-1/47) in the first."""
    times, requested = full_times()
    key = Key(STEP, MODULES, point(32, 8).name)
    times[key] = {n: value / (600 if n == 1 else 300) for n, value in times[key].items()}
    (claim,) = [claim for claim in time_claims(times, requested) if "points, 1 thread" in claim.text]
    assert f"at {point(32, 8).name} (target: 1), geometric mean 2.66 [2.62, 2.66] (target: 2.5)" in claim.text
    assert "is at least 0.0100 [0.00500, 0.0100]" in claim.text
    assert claim.holds is False


@pytest.mark.parametrize("row", [OURS, EVERY, OTHER, MODULES, TUTORIAL, JAX, MIN_CHAR_RNN, CALLS])
def test_a_claim_whose_row_was_not_timed_fails(row):
    times, requested = full_times()
    claims = time_claims({key: value for key, value in times.items() if key.row != row}, requested)
    assert any("not timed" in claim.text and claim.holds is False for claim in claims)


def test_growth_that_is_not_linear_fails():
    times, requested = full_times()
    grown = {
        key: {n: value * (requested.cases[key.case].T if key[:2] == (STEP, OURS) else 1) for n, value in values.items()}
        for key, values in times.items()
    }
    assert any("grows as T" in claim.text and claim.holds is False for claim in time_claims(grown, requested))
    cases = requested.both(STEP, OURS, GEMMS)
    by_T, by_size = (exponent(times, OURS, cases, growth) for growth in T_AND_SIZE)
    bent = 1e-2  # by the overhead of 1000, which is less than a hundredth of each of these windows
    assert (by_T.median, by_size.median) == pytest.approx((1, 1), abs=bent)
    assert exponent(grown, OURS, cases, T_AND_SIZE[0]).median == pytest.approx(2, abs=bent)


def test_claims_are_made_only_of_what_the_options_select():
    times, requested = full_times()
    keys = frozenset(key for key in requested.keys if key.row in (OURS, MODULES) and key.task == STEP)
    claims = time_claims(times, Requested(keys, requested.cases))
    assert len(claims) == 3  # on the grid with 1 and 2 threads, and on its large points
    assert all(MODULES in claim.text for claim in claims)
