"""Lockstep for ports that report no intermediate values: every update held to the oracle, level L2."""

import numpy as np

from numpy_rnn.conformance.bounds.global_bounds import check_global, global_bounds


def excesses(case, report, count, tau):
    """For each of `count` stacked updates and each tensor: (index, tensor, ratio, expected, allowed), by element."""
    for index in range(count):
        one = case._replace(
            params=type(case.params)(*(None if p is None else p[index] for p in case.params)),
            x=case.x[index],
            target=case.target[index],
            h_0=case.h_0[index],
        )
        reported = {name: np.asarray(array[index]) for name, array in report.items()}
        bounds = global_bounds(one, tau)
        for name, ratio in check_global(one, reported, bounds=bounds).items():
            value, E = bounds[name]
            yield index, name, ratio, value.high, E + value.radius
