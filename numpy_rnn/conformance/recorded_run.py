"""Recorded runs: every update of a training run as arrays."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.common.records import NumpyArray, Run, Window
from numpy_rnn.conformance import case as cases
from numpy_rnn.conformance.case import NamedArrays
from numpy_rnn.conformance.definition import DEFINITION, Definition, Recorded
from numpy_rnn.conformance.ports.protocol import PortFault

STEPWISE = (*cases.INTERMEDIATES, "dx")  # one row per step of all windows, concatenated


class RecordedRun(NamedTuple):
    """A run and the arrays of all its updates, by the keys of a trace file."""

    run: Run
    updates: NamedArrays
    of: Definition = DEFINITION  # its schedule
    fault: PortFault | None = None  # which ended it early

    def first(self, count: int) -> "RecordedRun":
        """Return the run of the first updates."""
        updates, rows = NamedArrays(), self.first_rows[count]
        for name, array in self.updates.items():
            updates[name] = array[: rows if name in STEPWISE else count]
        return self._replace(updates=updates)

    @property
    def length(self) -> int:
        """Return the number of updates."""
        return len(self.updates["stop"])

    def finite_updates(self) -> int:
        """Return the number of updates before the first with NaN or infinity."""
        is_finite = np.ones(self.length, bool)
        for name, array in self.updates.items():
            rows = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
            if name in STEPWISE:
                rows = np.logical_and.reduceat(rows, self.first_rows[:-1])
            is_finite &= rows
        return first_false(is_finite)

    @property
    def first_rows(self) -> NumpyArray:
        """Return the first row of every update in arrays with one per step, and their
        number of rows.
        """
        return np.cumsum(np.append(0, self.updates["stop"] - self.updates["start"]))

    def update_index(self, update: Any) -> int:
        """Return the index of an update, by its `epoch` and its `number`."""
        epoch, number = self.updates["epoch"], self.updates["number"]
        return int(np.argmax((epoch == update.epoch) & (number == update.number)))

    def window(self, index: int) -> Window:
        """Return the window of the update with this index."""
        return Window(*(int(self.updates[name][index]) for name in Window._fields))

    @property
    def windows(self) -> list[Window]:
        """Return the windows of an epoch by (T1) and (T2)."""
        return self.of.windows(self.run)


def first_false(are_true: NumpyArray) -> int:
    """Return the first index at which an array is false, or its length."""
    return int(np.argmin(np.append(are_true, False)))


class RunRecorder:
    """Collect the updates of a run."""

    def __init__(self, run: Run):
        self.run, self.columns = run, dict[str, list[Any]]()

    def append_report(self, update: Recorded) -> None:
        """Add one update by its report. Its arrays are kept, not copied."""
        columns: dict[str, Any] = update.window._asdict() | update.report
        columns["epoch"], columns["number"] = update.epoch, update.number
        columns["initial"] = update.initial
        for name, value in columns.items():
            self.columns.setdefault(name, []).append(value)

    def recorded(self, of: Definition = DEFINITION) -> RecordedRun:
        """Return the run of the updates so far. of: the definition of its schedule."""
        return RecordedRun(self.run, stack_columns(self.columns), of)


def record(
    run: Run, updates: Iterable[Recorded], of: Definition = DEFINITION
) -> RecordedRun:
    """Return the run with all of these updates."""
    recorder = RunRecorder(run)
    for each in updates:
        recorder.append_report(each)
    return recorder.recorded(of)


def stack_columns(columns: Mapping[str, list[Any]]) -> NamedArrays:
    """Return the arrays of all updates by name. torch joins its own tensors: each
    conversion is slow.
    """
    arrays = {}
    for name, values in columns.items():
        is_torch = hasattr(values[0], "detach")
        library: Any = sys.modules["torch"] if is_torch else np
        array = (library.concatenate if name in STEPWISE else library.stack)(values)
        arrays[name] = array.detach().numpy() if is_torch else array
    return arrays
