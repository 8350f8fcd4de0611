"""How far a run is finite: chaotic runs and large weights overflow."""

import numpy as np

from numpy_rnn.common.records import Run
from numpy_rnn.conformance.case import present
from numpy_rnn.conformance.definition import train, window_update
from numpy_rnn.conformance.recorded_run import RecordedRun, first_false
from numpy_rnn.conformance.update_cases import single_update

MAX_MAGNITUDE = 1e12  # its square is still far from float32's largest number, 3e38


def is_bounded(run: Run) -> bool:
    """Return whether the definition's run stays far within the range of float32."""
    with np.errstate(all="ignore"):
        for recorded in train(run):
            for array in recorded.report.values():
                if not (np.abs(array) < MAX_MAGNITUDE).all():
                    return False
    return True


def finite_part(recorded: RecordedRun) -> RecordedRun:
    """Return the updates before the first that overflows: with NaN or infinity, or a
    gradient whose norm overflows.

    An update is kept whose numbers are not finite, but those of the definition are: it
    is wrong.
    """
    first = min(recorded.finite_updates(), _clippable_updates(recorded))
    if first == recorded.length:
        return recorded
    case, report = single_update(recorded, first)
    with np.errstate(all="ignore"):
        right = window_update(case)
    is_right_finite = all(np.isfinite(right[name]).all() for name in report)
    if is_right_finite and not all(np.isfinite(v).all() for v in report.values()):
        first += 1
    return recorded.first(first)


def _clippable_updates(recorded: RecordedRun) -> int:
    """Return the number of updates before the first with a gradient whose norm
    overflows, if gradients are clipped by their norm.
    """
    run, is_small = recorded.run, np.ones(recorded.length, bool)
    if run.options.step.max_norm is not None:
        largest = float(np.finfo(run.params.W_hh.dtype).max)
        for name, theta in present(run.params).items():
            gradients = recorded.updates["d" + name].reshape(recorded.length, -1)
            limit = (largest / (8 * theta.size)) ** 0.5
            is_small &= (np.abs(gradients) < limit).all(axis=1)
    return first_false(is_small)
