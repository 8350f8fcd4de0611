"""Lockstep for ports that report no intermediate values: every update held to the oracle, level L2."""

from collections.abc import Iterator

import numpy as np

from numpy_rnn.common.records import Parameters
from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds


def excesses(case, report, tau) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """(tensor, ratio, expected, allowed) of stacked updates, in arrays with the axes of updates and networks first.

    The oracle takes one network at a time.
    """
    axes = case.params.W_hh.shape[:-2]
    columns: dict[str, list] = {}
    for index in np.ndindex(axes):
        reported = {name: np.asarray(array[index]) for name, array in report.items()}
        one = _at(case, index)
        bounds = global_bounds(one, tau)
        for name, ratio in check_global(one, reported, bounds=bounds).items():
            value, E = bounds[name]
            columns.setdefault(name, []).append((ratio, value.high, E + value.radius))
    for name, rows in columns.items():
        ratio, expected, allowed = (np.stack(column).reshape(*axes, *column[0].shape) for column in zip(*rows))
        yield name, ratio, expected, allowed


def _at(case, index):
    """One update of one network."""

    def of(array):
        """Its part of an array whose axes of the ensemble may have size 1, one for all networks."""
        return array[tuple(min(i, size - 1) for i, size in zip(index, array.shape))]

    def each(params):
        return None if params is None else Parameters(*(None if p is None else of(p) for p in params))

    rate = np.asarray(case.learning_rate)
    return case._replace(
        params=each(case.params),
        velocity=each(case.velocity),
        x=of(case.x),
        target=of(case.target),
        h_0=of(case.h_0),
        learning_rate=float(of(rate) if rate.ndim else rate),
    )
