"""The memory of runs and the cost of the equivalence suite: that they are measured, and what is claimed of them."""

import numpy as np

from benchmarks import costs
from benchmarks.costs import MAPPED, STREAM, Peak, SuiteCost


def test_the_cost_of_the_suite_is_measured(tmp_path):
    cost = costs.suite_cost(checks=2, epochs=1, folder=tmp_path)
    assert cost.updates == 20
    assert min(cost) > 0


def test_the_memory_of_a_run_and_of_an_ensemble_is_measured(tmp_path):
    np.save(tmp_path / "series.npy", np.sin(np.arange(101) / 10).astype(np.float32))
    for kind in (MAPPED, STREAM):
        assert costs.long_run_peak(kind, 100, str(tmp_path / "series.npy")) > 0
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
        "FAIL: judging two traces of 6000 updates takes 6.00 s (target: at most 5)",
        "pass: judging them takes 500 MB at the peak (target: at most 500)",
    ]
    slow = [claim.line()[:4] for claim in costs.suite_claims(SuiteCost(3.5, 4.0, 501.0, 6000))]
    assert slow == ["FAIL", "pass", "FAIL"]
    sizes = {MAPPED: (10.0, 10.5, 11.0), STREAM: (10.0, 10.0, 11.5)}
    peaks = [Peak(kind, n, mb, 0.25) for kind, values in sizes.items() for n, mb in zip((10, 100, 1000), values)]
    assert [claim.line() for claim in costs.memory_claims(peaks)] == [
        "pass: training on a mapped file takes 1.00 MB more for 1000 steps than for 10 (target: at most 1)",
        "FAIL: training on a stream takes 1.50 MB more for 1000 steps than for 10 (target: at most 1)",
    ]
    assert costs.memory_table(peaks)[2] == "| mapped file     |    10 |          10.00 |           0.25 |"
