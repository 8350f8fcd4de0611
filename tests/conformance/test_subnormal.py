"""Subnormal numbers that are flushed to zero, or read as zero, exceed no bound."""

import numpy as np
import pytest
from step_port import scaled_by_power_of_two
from tiny import tiny_window
from window_port import port

from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local

CASES = 30


def flushed(v):
    if getattr(v, "dtype", np.dtype(int)).kind != "f":
        return v
    return np.where(np.abs(v) < np.finfo(v.dtype).smallest_normal, v.dtype.type(0), v)


class Flushing(np.ndarray):
    """An array whose operations read subnormal numbers as zero, and flush subnormal results to zero, as told."""

    reads_zero = flushes = True

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        result_of = flushed if self.flushes else np.asarray
        arrays = [v if isinstance(v, int | float) else np.asarray(v) for v in inputs]
        arrays = [flushed(v) for v in arrays] if self.reads_zero else arrays
        if ufunc is np.matmul:  # term by term: every product and every partial sum may be flushed
            A, B = arrays
            result = np.zeros((A.shape[0], B.shape[1]), A.dtype)
            for n in range(A.shape[1]):
                result = result_of(result + result_of(A[:, n : n + 1] * B[n]))
        else:
            result = result_of(getattr(ufunc, method)(*arrays, **options))
        return result.view(type(self)) if result.dtype.kind == "f" else result


class ReadsZero(Flushing):
    flushes = False


class FlushesResults(Flushing):
    reads_zero = False


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
