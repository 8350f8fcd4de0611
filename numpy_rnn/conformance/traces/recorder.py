"""Recorded runs: every update of a training run, of a package, a port, or a loop of your own."""

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from numpy_rnn.common.checks import check_schedule
from numpy_rnn.common.errors import InputError, one_line
from numpy_rnn.common.files import save_arrays
from numpy_rnn.common.records import NumpyArray, Parameters, Run, Schedule, Window
from numpy_rnn.conformance.case import FIELDS, INTERMEDIATES, SHAPES, parameters_from, present
from numpy_rnn.conformance.traces.trace_file import read_arrays, run_options, trace_arrays

Report = dict[str, NumpyArray]
ROWS = (*INTERMEDIATES, "dx")  # one row per step of all windows, concatenated


class RecordedRun(NamedTuple):
    """A run and the arrays of all its updates; `trace_file` documents their keys and shapes."""

    run: Run
    updates: Report

    def first(self, count: int) -> "RecordedRun":
        """The first updates."""
        rows = int((self.updates["stop"] - self.updates["start"])[:count].sum())
        return self.replace(
            {name: array[: rows if name in ROWS else count] for name, array in self.updates.items()}
        )

    def replace(self, updates: Report) -> "RecordedRun":
        """The same run with other arrays in place of these."""
        return self._replace(updates=self.updates | updates)

    def without(self, *names: str) -> "RecordedRun":
        """The same run without these arrays."""
        return self._replace(
            updates={name: array for name, array in self.updates.items() if name not in names}
        )

    def update_index(self, place: Any) -> int:
        """The index of an update, by its `epoch` and its `number` in the epoch."""
        return int(
            np.argmax(
                (self.updates["epoch"] == place.epoch) & (self.updates["number"] == place.number)
            )
        )


def _joined(name: str, values: list[Any]) -> NumpyArray:
    """The values of all updates as one NumPy array. Tensors are joined by torch, as each conversion takes long."""
    is_torch = hasattr(values[0], "detach")
    library: Any = sys.modules["torch"] if is_torch else np
    joined = (library.concatenate if name in ROWS else library.stack)(values)
    return joined.detach().numpy() if is_torch else joined


class Recorder:
    """Collects the updates of a run."""

    def __init__(self, run: Run):
        self.run, self.columns = run, dict[str, list[Any]]()

    @property
    def updates(self) -> int:
        """The number of updates so far."""
        return len(self.columns.get("epoch", ()))

    def append(self, update: Any) -> None:
        """Add one Update of either package, with its activations and adjoints. Its arrays are kept, not copied."""
        activations, parameters = update.activations, present(update.parameters)
        report = {
            "loss": update.loss,
            "a": activations.a,
            "h": activations.h[1:],
            "y": activations.y,
        }
        report |= update.adjoints._asdict() | parameters
        report |= {"d" + name: array for name, array in present(update.gradients).items()}
        for name, theta in () if update.velocity is None else parameters.items():
            v = getattr(update.velocity, name)
            report["v" + name] = 0 * theta if v is None else v
        self.append_report(update.epoch, update.number, update.window, activations.h[0], report)

    def append_report(
        self, epoch: int, number: int, window: Window, initial: NumpyArray, report: Report
    ) -> None:
        """Add one update as a port reports it."""
        place = {"epoch": epoch, "number": number, **window._asdict(), "initial": initial}
        for name, value in (place | report).items():
            self.columns.setdefault(name, []).append(value)

    def recorded(self) -> RecordedRun:
        """The run with its updates so far."""
        return RecordedRun(
            self.run, {name: _joined(name, values) for name, values in self.columns.items()}
        )

    def save(self, path: str) -> None:
        """Write the trace. Raises InputError if no update is recorded, or if the file cannot be written."""
        if not self.updates:
            raise InputError("no update is recorded: expected one or more, as of --epochs 1")
        save_arrays(path, trace_arrays(*self.recorded()))


def record(run: Run, updates: Iterable[tuple[int, int, Window, NumpyArray, Report]]) -> RecordedRun:
    """The recorded run of these updates: epoch, number, window, initial state and report."""
    recorder = Recorder(run)
    for update in updates:
        recorder.append_report(*update)
    return recorder.recorded()


class Trace(Recorder):
    """Records the updates of a training loop of your own; `python -m numpy_rnn compare FILE.npz` judges each of them.

    params: the initial parameters by name, W_xh (D, H), W_hh (H, H), W_hy (H, O), and b_h (H), b_y (O) or neither.
    x (T, B, D), target (T, B, O): the whole series. h_0 (B, H): the state at the start of every epoch. All arrays are
    copied, in the dtype of W_hh. options: k1, k2, learning_rate and epochs, and, as in `train`, nonlinearity, loss,
    reduction, momentum, dampening, nesterov, weight_decay, adagrad, max_norm and max_value.

    resets: False if the state is carried from one epoch to the next. The trace then is one epoch over the series
    repeated, which is the same if k2 = k1 and T is a multiple of k1.

    Raises InputError on names that no run has, on missing ones, and on numbers that the dtype does not have.
    """

    def __init__(
        self,
        params: dict[str, npt.ArrayLike],
        x: npt.ArrayLike,
        target: npt.ArrayLike,
        h_0: npt.ArrayLike,
        *,
        resets: bool = True,
        **options: Any,
    ):
        for name in (*Parameters._fields[:3], *params):
            if name not in params or name not in FIELDS:
                expected = f"expected {', '.join(FIELDS)}, or some of them"
                raise InputError(f"the parameters are {', '.join(params)}: {expected}")
        self.dtype, self.resets, self.number, self.epoch = (
            np.array(params["W_hh"]).dtype,
            resets,
            0,
            0,
        )
        known = run_options(options)
        x, target, h_0 = self._array("x", x), self._array("target", target), self._array("h_0", h_0)
        (k1, k2, epochs), self.T = check_schedule(known.schedule), len(x)
        if not resets:
            if self.T % k1 or k1 != k2:
                raise InputError(
                    "a loop that never resets its state: expected k2 = k1, and T a multiple of k1"
                )
            x, target = (np.concatenate([array] * epochs) for array in (x, target))
            known = known._replace(schedule=Schedule(k1, k2, 1))
        initial = parameters_from(
            {name: self._array(name, theta) for name, theta in params.items()}
        )
        H, W_xh, W_hy = h_0.shape[-1:], initial.W_xh, initial.W_hy
        for name, theta, size in (
            ("W_xh", W_xh, x.shape[2:] + H),
            ("W_hy", W_hy, H + target.shape[2:]),
        ):
            if len(size) == 2 and theta.shape == size[::-1] != size:
                raise InputError(
                    f"{name} has shape {theta.shape}: expected {size}, rows for inputs; transpose the weights"
                )
        super().__init__(Run(initial, x, target, h_0, None, known))

    def update(
        self,
        epoch: int,
        window: tuple[int, int, int],
        state: npt.ArrayLike,
        **values: npt.ArrayLike,
    ) -> None:
        """Record one update.

        epoch: from 1. window: start, loss_start and stop, for a window of the steps start to stop − 1, from 0, of which
        those from loss_start have a loss. state (B, H): the initial state of the window. values: loss; the gradients
        dW_xh, dW_hh and so on, before clipping; the parameters after the update, W_xh, W_hh and so on; with momentum
        the velocities, vW_xh and so on; and if you have them, h, or all of a, h, y, dy, dh and da, of the T steps of
        the window. Without h, the initial state of the next window is checked less closely.

        Raises InputError on an unknown name, and on numbers that the dtype does not have.
        """
        if unknown := [name for name in values if name not in SHAPES]:
            raise InputError(
                f"{unknown[0]!r} is not a name of a trace: expected {', '.join(SHAPES)}"
            )
        offset, epoch = (0, epoch) if self.resets else ((epoch - 1) * self.T, 1)
        self.number = self.number + 1 if epoch == self.epoch else 1
        self.epoch = epoch
        copies = {name: self._array(name, value) for name, value in values.items()}
        place = Window(*(int(step) + offset for step in window))
        self.append_report(epoch, self.number, place, self._array("the state", state), copies)

    def save(self, path: str) -> None:
        """Write the trace. Raises InputError on updates that are incomplete, and if the file cannot be written."""
        if self.updates:
            read_arrays(trace_arrays(*self.recorded()))
        super().save(path)

    def _array(self, name: str, value: npt.ArrayLike) -> NumpyArray:
        """A copy in the dtype of the trace; classes keep theirs. Raises InputError where that changes an array."""
        try:
            array = np.array(value)
        except (
            TypeError,
            ValueError,
            RuntimeError,
        ) as error:  # of a tensor that requires a gradient, say
            raise InputError(f"{name} is no array: {one_line(str(error))}") from None
        if array.dtype.kind in "iu" and array.ndim:
            return array
        with np.errstate(all="ignore"):
            copy = array.astype(self.dtype) if array.dtype.kind in "fiu" else array
        if array.dtype.kind not in "fiu" or (
            array.ndim and not np.array_equal(copy, array, equal_nan=True)
        ):
            raise InputError(
                f"{name} is {array.dtype}, and W_hh is {self.dtype}: expected one dtype, {self.dtype}"
            )
        return copy
