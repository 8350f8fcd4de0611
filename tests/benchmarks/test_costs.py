"""What is measured once: the memory of runs, the cost of the equivalence suite, and the profile by line."""

from itertools import chain, count

import numpy as np
import pytest

from benchmarks import costs, line_profile
from benchmarks.costs import MAPPED, STREAM, Peak, SuiteCost
from benchmarks.line_profile import Line, LineTimer, Profile, by_equation, equation_of, own_lines
from benchmarks.rows import Prepared
from benchmarks.workloads import DEFAULT_EXPERIMENT


def test_costs_are_measured(tmp_path):
    cost = costs.suite_cost(checks=2, epochs=1, folder=tmp_path)
    assert cost.updates == 20
    assert min(cost) > 0
    np.save(tmp_path / "series.npy", np.sin(np.arange(101) / 10).astype(np.float32))
    assert min(costs.long_run_peak(kind, 100, str(tmp_path / "series.npy")) for kind in (MAPPED, STREAM)) > 0
    assert costs.ensemble_peak(3) > 0


def test_the_pages_of_a_mapped_file_are_no_memory_of_the_run(monkeypatch, tmp_path):
    """Each process tells 12 MB; the series has a number of four bytes more than steps, and NumPy's head of 128."""
    monkeypatch.setattr(costs, "_run", lambda kind, steps, file: "12.0")
    for kind, steps, resident, file in costs.memory_peaks(10**5, tmp_path):
        size = (4 * (steps + 1) + 128) / 1e6 if kind == MAPPED else 0.0
        assert (resident, file) == (12 - size, size), (kind, steps)


def test_claims_and_table_of_the_costs():
    assert [claim.line() for claim in costs.suite_claims(SuiteCost(2.5, 6.0, 500.0, 6000))] == [
        "pass: 1000 checks of level L1 take 2.50 s (target: at most 3)",
        "FAIL: checking two traces of 6000 updates takes 6.00 s (target: at most 5)",
        "pass: checking them takes 500 MB at the peak (target: at most 500)",
    ]
    assert [claim.holds for claim in costs.suite_claims(SuiteCost(3.5, 4.0, 501.0, 6000))] == [False, True, False]
    sizes = {MAPPED: (10.0, 10.5, 11.0), STREAM: (10.0, 10.0, 11.5)}
    peaks = [Peak(kind, n, mb, 0.25) for kind, values in sizes.items() for n, mb in zip((10, 100, 1000), values)]
    assert [claim.line() for claim in costs.memory_claims(peaks)] == [
        "pass: training on a mapped file takes 1.00 MB more for 1000 steps than for 10 (target: at most 1)",
        "FAIL: training on a stream takes 1.50 MB more for 1000 steps than for 10 (target: at most 1)",
    ]
    assert costs.memory_table(peaks)[2] == "| mapped file     |    10 |          10.00 |           0.25 |"


# -- profile ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def set_clock(monkeypatch):
    """Replace the clock: each look at it takes the next of some ticks."""

    def replace(ticks):
        monkeypatch.setattr(line_profile, "perf_counter", lambda: float(next(ticks)))
        monkeypatch.setattr(LineTimer.__init__, "__defaults__", (line_profile.perf_counter,))

    return replace


def test_the_time_of_the_trace_function_is_subtracted(tmp_path, set_clock):
    """Where each look at the clock takes 1, and the loop without the trace function 5000, the rest is the trace's."""
    file = tmp_path / "a.py"
    file.write_text("first  # (F2)\nsecond\n")
    timer = LineTimer(str(tmp_path))
    timer.seconds |= {(str(file), 1): 1.0, (str(file), 2): 4.0}
    timer.events |= {(str(file), 1): 4, (str(file), 2): 4}
    lines = own_lines(timer, 0.125, 2, tmp_path)
    assert lines == [Line("a.py", 2, "second", "", 1.75), Line("a.py", 1, "first  # (F2)", "F2", 0.25)]
    assert by_equation(Profile("a case", 1.0, lines)) == {"F2": 0.25, "no equation": 1.75}
    set_clock(chain((0, 5000), range(10**6, 2 * 10**6)))
    assert line_profile.seconds_per_event() == pytest.approx(1 - 5000 / (2 * line_profile.EMPTY_LINES), rel=1e-3)


def test_a_profile_has_the_time_of_each_line_per_point_and_its_equations(tmp_path, set_clock, monkeypatch):
    """Each look at the clock takes 1, so that a line takes 1 for each time that it runs."""
    program = "def f():\n    x = 1\n    for i in range(3):\n        x += i  # (B2), (B4), from B6\n    return x\n"
    (tmp_path / "a.py").write_text(program)
    space: dict = {}
    exec(compile(program, str(tmp_path / "a.py"), "exec"), space)
    set_clock(count())
    monkeypatch.setattr(line_profile, "seconds_per_event", lambda: 0.0)
    case = DEFAULT_EXPERIMENT._replace(epochs=5)  # 100 points
    profile = line_profile.profile(case, lambda case: Prepared(space["f"], dict), tmp_path)
    assert (profile.case, profile.seconds) == (case.name, 1 / 100)
    runs = {line.number: (round(line.seconds * 100), line.equation) for line in profile.lines}  # of one call
    assert [runs[number] for number in (2, 3, 4)] == [(1, ""), (4, ""), (3, "B2, B4")]
    assert equation_of("f(B2)  # no id") == equation_of('f("(B2)")') == ""
