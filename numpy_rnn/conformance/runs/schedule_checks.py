"""The windows of a recorded run by (T1) and (T2), and their initial states by (T3)."""

from collections.abc import Iterator

import numpy as np

from numpy_rnn.common.records import NumpyArray as Array
from numpy_rnn.common.records import Window
from numpy_rnn.conformance.case import NamedArrays
from numpy_rnn.conformance.findings import Finding
from numpy_rnn.conformance.runs.recorded_run import RecordedRun


def schedule_divergences(recorded: RecordedRun, whole: bool) -> Iterator[Finding]:
    """Yield the first window that is not one of TBPTT(k1, k2).

    whole: whether the last windows must not be missing.
    """
    columns = [recorded.updates[name] for name in ("epoch", "number", *Window._fields)]
    reported = np.stack(columns, axis=1)
    rows = list[tuple[int, ...]]()
    for epoch in range(1, recorded.run.options.schedule.epochs + 1):
        for number, window in enumerate(recorded.windows, 1):
            rows.append((epoch, number, *window))
    expected = np.array(rows)
    per_epoch = len(recorded.windows)
    count = min(len(reported), len(expected))
    wrong = np.argwhere(reported[:count] != expected[:count])
    if len(wrong):
        index, column = wrong[0]
        epoch, number, *_ = rows[index]
        if column < 2:  # another epoch or number: a window is missing, or too many
            in_epoch = int((reported[:, 0] == epoch).sum())
            yield Finding(epoch, number, "window", None, (), in_epoch, per_epoch)
        else:
            element = (int(column) - 2,)
            start_or_stop = int(reported[index, column]), int(expected[index, column])
            yield Finding(epoch, number, "window", None, element, *start_or_stop)
    elif len(reported) > count or (whole and len(expected) > count):
        epoch, number = divmod(count, per_epoch)
        in_epoch = int((reported[:, 0] == epoch + 1).sum())
        yield Finding(epoch + 1, number + 1, "window", None, (), in_epoch, per_epoch)


def state_divergences(recorded: RecordedRun) -> Iterator[Finding]:
    """Yield the first window whose initial state is not exactly the latest one of its
    step.

    If the states are not reported, `judge` recomputes them.
    """
    updates = recorded.updates
    reported = updates["initial"]
    expected = np.array(reported)
    expected[updates["start"] == 0] = recorded.run.h_0
    if "h" in updates:
        steps = carried_steps(updates)
        (before,) = np.nonzero(steps)
        rows = recorded.first_rows[before] + steps[before] - 1
        expected[before + 1] = updates["h"][rows]
    wrong = np.argwhere(reported != expected)
    if len(wrong):
        index, *element = wrong[0].tolist()
        yield Finding(
            epoch=int(updates["epoch"][index]),
            number=int(updates["number"][index]),
            tensor="initial",
            step=None,
            element=tuple(element),
            reported=float(reported[index, *element]),
            expected=float(expected[index, *element]),
        )


def carried_steps(updates: NamedArrays) -> Array:
    """Return after which step of a window the next one of its epoch starts, (N,); 0
    where none does.
    """
    start = np.append(updates["start"], -1)
    epoch = np.append(updates["epoch"], -1)
    lengths = updates["stop"] - updates["start"]
    steps = start[1:] - start[:-1]
    follows = (epoch[1:] == epoch[:-1]) & (start[1:] > 0) & (steps > 0)
    return np.where(follows & (steps <= lengths), steps, 0)
