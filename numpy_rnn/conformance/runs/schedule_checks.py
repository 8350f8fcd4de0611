"""The windows of a recorded run by (T1) and (T2), and their initial states by (T3)."""

from collections.abc import Iterator

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.records import Window
from numpy_rnn.conformance.case import NamedArrays
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.runs.recorded_run import RecordedRun


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Finding]:
    """Yield the first window that is not one of TBPTT(k1, k2)."""
    columns = [recorded.updates[name] for name in ("epoch", "number", *Window._fields)]
    rows, expected = np.stack(columns, axis=1), []
    for epoch in range(1, recorded.run.options.schedule.epochs + 1):
        for number, window in enumerate(recorded.windows, 1):
            expected.append((epoch, number, *window))
    count = min(len(rows), len(expected))
    right = np.array(expected)
    wrong = np.argwhere(rows[:count] != right[:count])
    if len(wrong):
        index, column = wrong[0]
        epoch, number, *_ = expected[index]
        element: tuple[int, ...] = (int(column) - 2,)
        numbers = int(rows[index, column]), int(right[index, column])
        if column < 2:  # another epoch or number: a window is missing, or too many
            element = ()
            numbers = int((rows[:, 0] == epoch).sum()), len(recorded.windows)
        yield Finding(epoch, number, "window", None, element, *numbers)
    elif len(rows) > count or (whole and len(expected) > count):
        per_epoch = len(recorded.windows)
        epoch, number = divmod(count, per_epoch)
        numbers = int((rows[:, 0] == epoch + 1).sum()), per_epoch
        yield Finding(epoch + 1, number + 1, "window", None, (), *numbers)


def state_divergences(recorded: RecordedRun) -> Iterator[Finding]:
    """Yield the first window whose initial state is not exactly the latest one of its
    step.

    If the states are not reported, `judge` recomputes them.
    """
    updates = recorded.updates
    found, right = updates["initial"], np.array(updates["initial"])
    right[updates["start"] == 0] = recorded.run.h_0
    if "h" in updates:
        steps = carried_steps(updates)
        (before,) = np.nonzero(steps)
        rows = recorded.first_rows[before] + steps[before] - 1
        right[before + 1] = updates["h"][rows]
    wrong = np.argwhere(found != right)
    if len(wrong):
        index, *element = wrong[0].tolist()
        entry = int(updates["epoch"][index]), int(updates["number"][index])
        numbers = float(found[index, *element]), float(right[index, *element])
        yield Finding(*entry, "initial", None, tuple(element), *numbers)


def carried_steps(updates: NamedArrays) -> Array:
    """Return after which step of a window the next one of its epoch starts, (N,); 0
    where none does.
    """
    start, stop, epoch = (
        np.append(updates[name], -1) for name in ("start", "stop", "epoch")
    )
    steps = start[1:] - start[:-1]
    follows = (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0)
    return np.where(follows & (steps <= (stop - start)[:-1]), steps, 0)
