"""Standardised units: every column of a series moved to mean 0 and divided by its standard deviation."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError

LOOKED_AT = 2**16  # numbers of a series at a time


class Scaling(NamedTuple):
    """The units of a series, by column."""

    mean: np.ndarray  # (D,) float64
    deviation: np.ndarray  # (D,) float64, above zero

    def standardized(self, series) -> np.ndarray:
        """Rows (N, D) in the units of the series → (N, D) in standardised units, float64."""
        return (np.asarray(series, np.float64) - self.mean) / self.deviation

    def original(self, values) -> np.ndarray:
        """The way back: (..., D) in standardised units → (..., D) in the units of the series, float64."""
        return np.asarray(values, np.float64) * self.deviation + self.mean


def scaling_of(series) -> Scaling:
    """Mean and standard deviation (divided by N) of every column of a series (N, D), computed in float64.

    The series is looked at in blocks, so that it may be larger than the memory.

    Raises InputError on a column that never changes, or whose numbers are too large or too near each other for float64.
    Source: Chan, Golub and LeVeque 1983, the corrected two-pass algorithm.
    """
    N = len(series)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused here
        mean = sum(block.sum(axis=0) for block in _blocks(series)) / N
        off, squares = 0, 0
        for block in _blocks(series):
            difference = block - mean
            off, squares = off + difference.sum(axis=0), squares + (difference**2).sum(axis=0)
        deviation = np.sqrt(np.maximum(squares / N - (off / N) ** 2, 0))  # `off` is zero but for rounding
        scaling = Scaling(mean + off / N, deviation)
    low, high = _range(series)
    for column, (least, greatest) in enumerate(zip(low, high), start=1):
        if least == greatest:
            raise InputError(
                f"column {column} of the series is {least:g} in all {N} rows: expected numbers that change, to be"
                " standardised; leave that column out, or the series as it is"
            )
        if not (np.isfinite(mean[column - 1]) and 0 < deviation[column - 1] < np.inf):
            raise InputError(
                f"column {column} of the series, {least:g} to {greatest:g}, has no standard deviation in float64:"
                " expected numbers of moderate size; scale it yourself"
            )
    return scaling


def _blocks(series):
    rows = max(1, LOOKED_AT // series.shape[1])
    return (np.asarray(series[first : first + rows], np.float64) for first in range(0, len(series), rows))


def _range(series):
    ends = [(block.min(axis=0), block.max(axis=0)) for block in _blocks(series)]
    low, high = zip(*ends)
    return np.min(low, axis=0), np.max(high, axis=0)
