"""Windows whose numbers reach below the normal range, and arithmetic that flushes subnormal numbers to zero."""

import numpy as np
from window_port import random_window

from numpy_rnn import Parameters


def tiny_window(seed, dtype):
    """A random window whose every tensor is scaled by itself: to tiny numbers, or to weights of up to 1e4."""
    random = np.random.default_rng(seed)
    case = random_window(seed, dtype)
    smallest = float(np.finfo(dtype).smallest_normal)
    tiny = (1e-3 * smallest, smallest, 1e3 * smallest, smallest**0.5)

    def scaled(array, *scales):
        return array if array is None else (array * random.choice(scales)).astype(dtype)

    params = Parameters(*(scaled(theta, 1e-2, 1.0, 1e4, *tiny[:2]) for theta in case.params[:5]))
    x, target, h_0 = (scaled(array, 1.0, *tiny) for array in case[1:4])
    if case.params.h_0 is not None:
        params = params._replace(h_0=h_0)
    velocity = case.velocity and Parameters(*(scaled(v, 1.0, *tiny) for v in case.velocity))
    return case._replace(params=params, x=x, target=target, h_0=h_0, velocity=velocity)


class Flushing(np.ndarray):
    """An array whose operations read subnormal numbers as zero, and flush subnormal results to zero, as told."""

    reads_zero = flushes = True

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        kind = type(self)
        arrays = [v if isinstance(v, int | float) else np.asarray(v) for v in inputs]
        if self.reads_zero:
            arrays = [_without_subnormals(v) for v in arrays]
        if ufunc is np.matmul:
            result = _product(*arrays, self.flushes)
        else:
            result = getattr(ufunc, method)(*arrays, **options)
        if self.flushes:
            result = _without_subnormals(result)
        return np.asarray(result).view(kind) if result.dtype.kind == "f" else result


class ReadsZero(Flushing):
    flushes = False


class FlushesResults(Flushing):
    reads_zero = False


def _without_subnormals(v):
    return (
        v
        if not hasattr(v, "dtype") or v.dtype.kind != "f"
        else np.where(np.abs(v) < np.finfo(v.dtype).smallest_normal, v.dtype.type(0), v)
    )


def _product(A, B, flushes):
    """A B, term by term: every product and every partial sum may be flushed."""
    flushed = _without_subnormals if flushes else np.asarray
    total = np.zeros((A.shape[0], B.shape[1]), A.dtype)
    for n in range(A.shape[1]):
        total = flushed(total + flushed(A[:, n : n + 1] * B[n]))
    return total
