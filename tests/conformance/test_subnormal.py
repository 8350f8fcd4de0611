"""Subnormal numbers that are flushed to zero, or read as zero, exceed no bound."""

import numpy as np
import pytest
from windows import WAYS, exchanged, tiny_window

from numpy_rnn.common.records import DTYPES
from numpy_rnn.conformance.bounds.global_bounds import check_global
from numpy_rnn.conformance.bounds.local_bounds import check_local
from numpy_rnn.conformance.case import with_rows

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


def viewed(value, kind):
    """The case with arrays of this kind."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.view(kind)
    return type(value)(*(viewed(each, kind) for each in value)) if hasattr(value, "_fields") else value


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
        module = exchanged(*WAYS["by scaled numbers"])
        with np.errstate(all="ignore"):
            report = module.window_update(viewed(with_rows(case), arithmetic))
        report = {name: np.asarray(v).view(np.ndarray).astype(dtype) for name, v in report.items()}
        if all(np.isfinite(v).all() for v in report.values()):
            judged += 1
            for check in (check_local, check_global):
                for name, ratio in check(case, report).items():
                    assert (ratio <= 1).all(), f"{seed}: {name} {ratio.max()}, {check.__name__}"
    assert judged > CASES / 2
