"""Subnormal numbers that are flushed to zero, or read as zero, exceed no bound."""

import numpy as np
import pytest
from step_port import scaled_by_power_of_two
from tiny import FlushesResults, Flushing, ReadsZero, tiny_window
from window_port import port

from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local

CASES = 30


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arithmetic", [Flushing, ReadsZero, FlushesResults])
def test_flushed_subnormals_are_within_every_bound(arithmetic, dtype):
    judged = 0
    for seed in range(CASES):
        case = tiny_window(seed, dtype)
        with np.errstate(all="ignore"):
            report = port(case, widen=lambda v: np.asarray(v).view(arithmetic), norm=scaled_by_power_of_two)
        report = {name: np.asarray(v).view(np.ndarray) for name, v in report.items()}
        if all(np.isfinite(v).all() for v in report.values()):
            judged += 1
            for check in (check_local, check_global):
                for name, ratio in check(case, report).items():
                    assert (ratio <= 1).all(), f"{seed}: {name} {ratio.max()}, {check.__name__}"
    assert judged > CASES / 2
