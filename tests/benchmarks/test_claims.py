"""Estimates by hand-computed values: medians, intervals, paired ratios, noise; and what is claimed of made-up times."""

from random import Random

import numpy as np
import pytest

from benchmarks import estimates, rows
from benchmarks.claims import GROWTHS, at_least, at_most, every, exponent, time_claims
from benchmarks.estimates import Estimate, Requested, is_tie, mean_ratio, median_interval, noise_floor, ratio
from benchmarks.plan import Choice, Key, plan_groups
from benchmarks.rows import AGAIN, GEMMS, MODULES, OURS, STEP, TUTORIAL
from benchmarks.runner import requested_of
from benchmarks.timing_tables import three_digits
from benchmarks.workloads import point

# -- estimates -------------------------------------------------------------------------------------------------------


def test_median_interval_is_the_one_of_the_tables():
    """Conover, Practical Nonparametric Statistics: the sign test's 95 % limits are the k-th value from either end."""
    limits = {6: 1, 8: 1, 9: 2, 10: 2, 12: 3, 15: 4, 20: 6, 25: 8, 50: 18, 100: 40}
    for n, k in limits.items():
        assert median_interval(Random(0).sample(range(1, n + 1), n)) == (k, n + 1 - k), n
    assert median_interval(range(1, 16), confidence=0.5) == (6, 10)
    assert median_interval(range(1, 4), confidence=0.75) == (1, 3)
    assert estimates.estimate([5, 1, 2, 9, 3, 4]) == Estimate(median=3.5, low=1, high=9)
    for n in (1, 2, 5):
        with pytest.raises(ValueError, match=f"^{n} values: expected more for an interval of 95% confidence$"):
            median_interval(range(n))


def test_pairs_are_of_the_same_round():
    """Rounds 1 and 8 have no partner; six are left."""
    a, b, c = (Key(STEP, row, "x") for row in "abc")
    times = {a: {n: 2.0 * n for n in range(1, 8)}, b: {n: 1.0 * n for n in reversed(range(2, 9))}}
    times[c] = {n: 8.0 * n for n in range(1, 9)}
    assert ratio(times, a, b) == (2, 2, 2)
    assert estimates.difference(times, a, b) == (4500, 2000, 7000)
    np.testing.assert_allclose(mean_ratio(times, [(a, b), (c, b)]), (4, 4, 4), rtol=8 * np.finfo(float).eps)  # log, exp
    del times[b][3]
    assert ratio(times, a, b) is None
    assert estimates.difference(times, a, b) is None


def test_the_noise_floor_is_of_95_percent_of_the_cases():
    """Of 80 cases, two are outside at either end. A ratio within the noise is a tie."""
    times = {}
    for n in range(80):
        times[Key(STEP, OURS, str(n))] = dict.fromkeys(range(6), 1.0)
        times[Key(STEP, AGAIN, str(n))] = dict.fromkeys(range(6), 1 + n / 128)
    assert noise_floor(times, AGAIN, OURS) == (1 + 2 / 128, 1 + 77 / 128)
    assert noise_floor({}, AGAIN, OURS) is None
    assert is_tie(Estimate(1.05, 1.01, 1.08), (0.97, 1.06))
    assert is_tie(Estimate(1.2, 0.99, 1.3), None)
    assert not is_tie(Estimate(1.2, 1.1, 1.3), (0.97, 1.06))


def test_numbers_have_three_digits():
    numbers = {0.0: "0.00", 0.01234: "0.0123", 0.99999: "1.00", 12.345: "12.3", 12345.6: "12346", -0.5: "-0.500"}
    assert {value: three_digits(value) for value in numbers} == numbers


# -- claims ----------------------------------------------------------------------------------------------------------

WINDOWS = {OURS: 1.0, AGAIN: 1.0, MODULES: 3.0, "torch_rnn": 1.5, "JAX": 1.1, GEMMS: 0.95, "bare calls": 0.95}
POINTS = {OURS: 12e-6, AGAIN: 12e-6, TUTORIAL: 2e-4, "bare calls": 11e-6, MODULES: 1e-4, rows.EVERY: 2e-5}
NETWORKS = {OURS: 30e-9, AGAIN: 30e-9, "JAX": 34e-9}  # per point and network
UPDATES = {OURS: 3e-4, AGAIN: 3e-4, "min-char-rnn": 1.5e-3, MODULES: 1.2e-3}
STARTS = dict.fromkeys(rows.ROWS, 1.0) | {OURS: 0.1, "C loop": 0.2}
IMPORTS = {OURS: 0.065, "numpy": 0.05}


def full_times(**changes):
    """Times of the full mode for which every claim holds, multiplied by the changes of "task row threads"."""
    requested = requested_of(plan_groups(Choice(True, threads=(1, 2))))
    times = {}
    for key in requested.keys:
        case = requested.cases.get(key.case)
        if key.task in (rows.FORWARD, rows.GRADIENT, STEP):
            seconds, units = WINDOWS, case.T * case.B * case.H**2 + 1000  # an overhead
        elif key.task == rows.RUN and case.networks > 1:
            seconds, units = NETWORKS, case.points * case.networks / (1.7 if key.threads > 1 else 1)
        elif key.task == rows.RUN:
            seconds, units = POINTS, case.points
        elif key.task == rows.CHARACTERS:
            seconds, units = UPDATES, case.points
        else:
            seconds, units = STARTS if key.task == "cold start" else IMPORTS, 1
        if key.row in seconds:
            value = seconds[key.row] * units * changes.get(f"{key.task} {key.row} {key.threads}", 1.0)
            times[key] = dict.fromkeys(range(1, 7), value)
    return times, requested


@pytest.mark.parametrize("changes", [{}, {"step bare calls 1": 1.06, "step numpy_rnn again 1": 0.99}])
def test_all_claims_hold(changes):
    """Also if numpy_rnn is faster than a floor, by less than the noise."""
    claims = time_claims(*full_times(**changes))
    assert len(claims) == 20
    assert [claim.line() for claim in claims if claim.holds is not True] == []


@pytest.mark.parametrize(
    ("change", "factor", "words"),
    [
        ("run tutorial loop 1", 0.95, "15.8 [15.8, 15.8] times as fast as the tutorial loop (target: 16)"),
        ("run bare calls 1", 0.9, "1.21 [1.21, 1.21] times as long as the bare NumPy calls"),
        ("characters min-char-rnn 1", 0.79, "characters: numpy_rnn is at least 3.95 [3.95, 3.95] times as fast"),
        ("characters torch.nn.RNN 1", 0.74, "at character model, float64 (target: 3)"),
        ("run JAX 1", 0.88, "ensembles: numpy_rnn is at least 0.997"),
        ("run numpy_rnn 2", 1.1, "ensembles, 2 threads: numpy_rnn is at least 1.55"),
        ("step torch.nn.RNN 1", 0.83, "47 points, 1 thread: numpy_rnn is at least 2.49 [2.49, 2.49] times as fast as"),
        ("step torch.nn.RNN 2", 0.29, "47 points, 2 threads: numpy_rnn is at least 0.870"),
        ("step JAX 1", 0.9, "T=50 float32 (target: 0.95), geometric mean 0.990 [0.990, 0.990] (target: 1)"),
        ("step bare GEMMs 1", 0.96, "at least 0.912 [0.912, 0.912] times as fast as bare GEMMs"),
        ("step bare calls 1", 1.06, "a floor: numpy_rnn takes at least 0.993 [0.993, 0.993] times as long"),
        ("forward torch_rnn 1", 0.66, "forward by the public functions: numpy_rnn is at least 0.990"),
        ("gradient torch_rnn 1", 0.66, "gradient by the public functions: numpy_rnn is at least 0.990"),
        ("cold start C loop 1", 0.49, "0.980 [0.980, 0.980] times as fast as every other row, at C loop"),
        ("import numpy_rnn 1", 1.25, "import numpy_rnn takes 31.2 [31.2, 31.2] ms more than import numpy"),
    ],
)
def test_a_claim_that_does_not_hold_fails_and_is_open_if_it_holds_in_all_rounds_but_one(change, factor, words):
    """The claim on a floor passes then: it fails only if no part of its interval passes."""
    failing, requested = full_times(**{change: factor})
    (claim,) = [claim for claim in time_claims(failing, requested) if claim.holds is False]
    assert words in claim.text
    assert claim.line().startswith("FAIL: ")
    times = {key: values | {3: failing[key][3]} for key, values in full_times()[0].items()}
    not_held = [claim.line()[:4] for claim in time_claims(times, requested) if claim.holds is not True]
    assert not_held == ([] if "floor" in words else ["open"])


@pytest.mark.parametrize(
    ("interval", "least", "most"),
    [((2, 2, 3), True, False), ((1, 1, 2), True, None), ((1, 0, 2), None, None), ((0, 0, 1), None, True)],
)
def test_a_claim_is_open_if_its_interval_contains_the_target(interval, least, most):
    assert (at_least(Estimate(*interval), 1), at_most(Estimate(*interval), 1)) == (least, most)
    assert [every(v) for v in ([True, True], [True, None], [None, False, True])] == [True, None, False]


def test_the_case_that_a_claim_names_is_the_worst():
    """The lowest ratio of 47, and the mean of all in every round: 3·300^(-1/47), and 3·600^(-1/47) in the first."""
    times, requested = full_times()
    key = Key(STEP, MODULES, point(32, 8).name)
    times[key] = {n: value / (600 if n == 1 else 300) for n, value in times[key].items()}
    (claim,) = [claim for claim in time_claims(times, requested) if "points, 1 thread" in claim.text]
    assert f"at {point(32, 8).name} (target: 1), geometric mean 2.66 [2.62, 2.66] (target: 2.5)" in claim.text
    assert "is at least 0.0100 [0.00500, 0.0100]" in claim.text
    assert claim.holds is False


@pytest.mark.parametrize("row", [OURS, MODULES, TUTORIAL, rows.EVERY, "torch_rnn", "JAX", "min-char-rnn", "bare calls"])
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
    cases, bent = requested.both(STEP, OURS, GEMMS), 1e-2  # by the overhead of 1000: below a hundredth of each window
    by_T, by_size = (exponent(times, OURS, cases, growth).median for growth in GROWTHS)
    assert (by_T, by_size) == pytest.approx((1, 1), abs=bent)
    assert exponent(grown, OURS, cases, GROWTHS[0]).median == pytest.approx(2, abs=bent)
    assert estimates.slope([(x, 3 * x**1.5) for x in (2.0, 4.0, 8.0)]) == pytest.approx(1.5, rel=1e-14)


def test_claims_are_made_only_of_what_the_options_select():
    times, requested = full_times()
    keys = frozenset(key for key in requested.keys if key.row in (OURS, MODULES) and key.task == STEP)
    claims = time_claims(times, Requested(keys, requested.cases))
    assert len(claims) == 3  # on the grid with 1 and 2 threads, and on its large points
    assert all(MODULES in claim.text for claim in claims)
