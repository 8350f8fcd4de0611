"""Traces: every update of a training run, as arrays in memory or in one .npz file.

The keys of a file, for a program in any language. N updates; S = Σ_n T_n, the steps of
all windows, concatenated; *E is the axis of an ensemble, if there is one. Floats are
all float32 or all float64.

    format                     bytes, "elman-trace 3"
    configuration              bytes, JSON: the arguments of `train` by name; at least
                               k1, k2, learning_rate and epochs
    x, target                  (T, B, D), (T, B, O): the series; classes: integers (T,B)
    initial_h_0                (B, H): the state at the start of every epoch
    initial_W_xh, _W_hh, ..    the initial parameters; no bias keys without biases
    epoch, number              (N,) integers from 1: the epoch, the update within it
    start, loss_start, stop    (N,) integers: (start, stop], loss on (loss_start, stop]
    initial                    (N, *E, B, H): the initial state of the window
    a, h, dh, da               (S, *E, B, H): all steps; h without the initial state
    y, dy; dx                  (S, *E, B, O); (S, *E, B, D)
    loss; dh_0                 (N, *E); (N, *E, B, H)
    dW_xh, .., db_h, db_y      (N, *E, D, H), ..: the gradients, before clipping
    vW_xh, .., vb_h, vb_y      the same of the velocities after the update, or Adagrad's
                               sums of squares, if the options have any
    W_xh, .., b_h, b_y         the same of the parameters after the update

What a program does not compute it leaves out: all of a, h, y, dy, dh and da, or all but
h; dx and dh_0; all velocities. Without h, the initial state of a window is compared
with one that is recomputed; without velocities, the parameters with those that the
velocities of the recorded gradients give.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from numpy_rnn.common.array_kinds import NUMPY_KIND
from numpy_rnn.common.checks import checked_run_arguments
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.records import (
    NumpyArray,
    Run,
    RunOptions,
    Window,
)
from numpy_rnn.conformance.case import (
    FIELDS,
    INPUT_GRADIENTS,
    INTERMEDIATES,
    SHAPES,
    VELOCITY_AXES,
    NamedArrays,
    case_sizes,
    output_names,
    parameters_from,
    present,
)
from numpy_rnn.conformance.definition import RecordedUpdate
from numpy_rnn.conformance.ports.protocol import array_error
from numpy_rnn.conformance.runs.recorded_run import (
    STEPWISE,
    RecordedRun,
    RunRecorder,
    with_velocities,
)

__all__ = ["Trace", "load_trace"]

FORMAT = "elman-trace 3"
NamedInputs = dict[str, Any]
UPDATE_COLUMNS = ("epoch", "number", *Window._fields)
INITIAL = tuple(f"initial_{name}" for name in ("h_0", *FIELDS[:3]))


class Trace(RunRecorder):
    """Record the updates of a training loop of one's own, for `numpy_rnn compare`.

    Parameters
    ----------
    params : dict of array_like, or Parameters
        The initial parameters by name: W_xh (D, H), W_hh (H, H), W_hy (H, O), and if
        there are biases b_h (H) and b_y (O). All arrays are copied, and those of
        floats are rounded to the dtype of W_hh; integers are classes.
    x : array_like, shape (T, B, D), or (T, B) of classes
        The inputs of the whole series.
    target : array_like, shape (T, B, O), or (T, B) of classes
        The targets of the whole series.
    h_0 : array_like, shape (B, H)
        The state at the start of every epoch.
    **options
        Those of `train`: k1, k2, learning_rate and epochs, which are needed, and those
        of the objective and of the step.

    Raises
    ------
    InputError
        On an unknown or a missing name, and on arrays that do not fit.

    Examples
    --------
    A loop over chunks of five steps, with the functions of numpy_rnn in the place of
    your own. The calls of the trace are one before the loop, one after each update, and
    one after the loop, trace.save("loop.npz"), for `numpy-rnn compare loop.npz`.

    >>> import numpy as np
    >>> import numpy_rnn as rnn
    >>> from numpy_rnn.conformance.trace import Trace
    >>> series = np.sin(np.arange(21.0)).reshape(21, 1, 1)
    >>> x, target, h_0 = series[:-1], series[1:], np.zeros((1, 6))
    >>> p = rnn.initial_parameters(dtype="float64")
    >>> trace = Trace(p, x, target, h_0, k1=5, k2=5, learning_rate=0.1, epochs=2)
    >>> for epoch in (1, 2):
    ...     state = h_0
    ...     for start in range(0, 20, 5):
    ...         steps = slice(start, start + 5)
    ...         window = rnn.forward(p, x[steps], state)
    ...         loss = rnn.half_squared_error(window.y, target[steps])
    ...         d = rnn.bptt(p, window, target[steps])
    ...         p = rnn.sgd(p, d, 0.1)
    ...         places = (start, start, start + 5)
    ...         trace.update(
    ...             epoch, places, state, loss=loss, gradients=d, parameters=p
    ...         )
    ...         state = window.h[-1]
    >>> trace.recorded().length
    8
    """

    def __init__(
        self,
        params: Any,
        x: ArrayLike,
        target: ArrayLike,
        h_0: ArrayLike,
        **options: Any,
    ):
        params = named_arrays(params)
        for name in (*FIELDS[:3], *params):
            if name not in params or name not in FIELDS:
                expected = f"expected {', '.join(FIELDS)}, or some of them"
                raise InputError(f"the parameters are {', '.join(params)}: {expected}")
        self.dtype, self.position = detached(params["W_hh"]).dtype, (0, 0)
        arrays = {"initial_" + name: theta for name, theta in params.items()}
        arrays |= {"x": x, "target": target, "initial_h_0": h_0}
        copies = {name: self._array(value) for name, value in arrays.items()}
        super().__init__(_run(copies, options))

    def update(
        self,
        epoch: int,
        window: Sequence[int],
        state: ArrayLike,
        *,
        gradients: Any = None,
        parameters: Any = None,
        **values: ArrayLike,
    ) -> None:
        """Record one update.

        Parameters
        ----------
        epoch : int
            The epoch, from 1.
        window : tuple of int
            start, loss_start and stop: the window has the steps start to stop − 1, from
            0, of which those from loss_start have a loss.
        state : array_like, shape (B, H)
            The initial state of the window.
        gradients, parameters : dict, optional
            The gradients of the window before clipping, and the parameters after the
            update, by the names of the parameters.
        **values : array_like
            The other arrays of an update by the keys of a file, without N: at least the
            loss.

        Raises
        ------
        InputError
            On an unknown name.
        """
        values |= {"d" + name: g for name, g in named_arrays(gradients).items()}
        values |= named_arrays(parameters)
        for name in values:
            if name not in SHAPES:
                expected = f"expected {', '.join(SHAPES)}"
                raise InputError(f"{name!r} is not a name of a trace: {expected}")
        self.position = epoch, self.position[1] + 1 if epoch == self.position[0] else 1
        copies = {name: self._array(value) for name, value in values.items()}
        initial = self._array(state)
        self.append_report(
            RecordedUpdate(*self.position, Window(*map(int, window)), initial, copies)
        )

    def save(self, path: str) -> None:
        """Write the file.

        Updates after the first with a number that is not finite are left out, and
        `compare` names that number.

        Parameters
        ----------
        path : str
            The file, which ends in .npz.

        Raises
        ------
        InputError
            On incomplete updates, or if the file cannot be written.
        """
        if not self.columns:
            raise InputError("no update is recorded: expected one or more")
        recorded = self.recorded()
        finite = recorded.finite_updates()
        arrays = trace_arrays(recorded.upto(min(finite + 1, recorded.length)))
        read_arrays(arrays)
        save_arrays(path, arrays)

    def _array(self, value: ArrayLike) -> NumpyArray:
        """Return a copy, rounded to the dtype of the trace; classes as they are."""
        array = np.array(detached(value))
        if array.dtype.kind in "iu" and array.ndim:
            return array
        with np.errstate(all="ignore"):
            return array.astype(self.dtype)


def detached(value: Any) -> NumpyArray:
    """Return the value as an array, also a tensor of torch that has a gradient."""
    return np.asarray(value.detach() if hasattr(value, "detach") else value)


def named_arrays(values: Any) -> NamedInputs:
    """Return arrays by name, of a dict or of Parameters."""
    if values is None:
        return {}
    if hasattr(values, "_asdict"):
        return present(values)
    return dict(values)


def trace_arrays(recorded: RecordedRun) -> NamedArrays:
    """Return the arrays of a trace file."""
    run = recorded.run
    options = dict[str, Any]()
    for name, value in run.options.keywords().items():
        options[name] = value
        if not isinstance(value, str | None):
            options[name] = np.asarray(value).tolist()
    arrays: NamedArrays = {
        "format": np.bytes_(FORMAT),  # type: ignore[dict-item]
        "configuration": np.bytes_(json.dumps(options)),  # type: ignore[dict-item]
        "x": run.x,
        "target": run.target,
        "initial_h_0": run.h_0,
    }
    for name, theta in present(run.params).items():
        arrays["initial_" + name] = theta
    return arrays | recorded.updates


def load_trace(path: str) -> RecordedRun:
    """Return the run of a trace file. Raises InputError unless it is complete and
    readable.
    """
    arrays = load_arrays(path, "trace file")
    try:
        return read_arrays(arrays)
    except InputError as error:
        message = f"trace file {path}: {error}; conformance/trace.py documents the keys"
        raise InputError(message) from None


def read_arrays(arrays: NamedArrays) -> RecordedRun:
    """Return the run of a trace. Raises InputError with the first error."""
    if arrays.get("format", np.bytes_(b"")).tobytes() != FORMAT.encode():
        raise InputError(
            f"it has no format {FORMAT!r}: expected a file that Trace.save wrote"
        )
    for name in ("configuration", "x", "target", *INITIAL, *UPDATE_COLUMNS):
        if name not in arrays:
            raise InputError(f"{name} is missing")
    try:
        options = dict(json.loads(arrays["configuration"].tobytes().rstrip(b"\0")))
        if isinstance(rates := options.get("learning_rate"), list):
            options["learning_rate"] = np.array(rates, np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError):
        expected = "a JSON object of options, with numbers for learning rates"
        raise InputError(f"configuration is not {expected}") from None
    run = _run(arrays, options)
    known = (*UPDATE_COLUMNS, "initial", *SHAPES)
    updates = {name: arrays[name] for name in known if name in arrays}
    N = arrays["epoch"].size
    for name in UPDATE_COLUMNS:
        column = updates[name]
        if column.dtype.kind not in "iu" or column.shape != (N,) or N == 0:
            raise InputError(f"{name} is no array of integers, one per update")
        updates[name] = column.astype(np.int64)
    start, loss_start, stop = (updates[name] for name in Window._fields)
    is_ordered = (start <= loss_start) & (loss_start < stop)
    is_window = is_ordered & (start >= 0) & (stop <= len(run.x))
    if not is_window.all():
        raise InputError(
            "a window is wrong: expected 0 ≤ start ≤ loss_start < stop ≤ T"
        )
    _check_updates(run, updates)
    return with_velocities(RecordedRun(run, updates))


def _run(arrays: NamedArrays, options: dict[str, Any]) -> Run:
    """Return the run with these options, by their names. Raises InputError if it cannot
    be repeated.
    """
    try:
        run_options = RunOptions.from_keywords(**options)
    except TypeError as error:
        raise InputError(f"expected the options of train: {error}") from None
    run = Run(
        params=parameters_from(arrays, "initial_"),
        x=_series(arrays["x"]),
        target=_series(arrays["target"]),
        h_0=arrays["initial_h_0"],
        options=run_options,
    )
    try:
        checked = checked_run_arguments(NUMPY_KIND, run)
    except InputError as error:
        raise InputError(f"its run cannot be repeated: {error}") from None
    if checked.options.schedule.epochs == 0:
        raise InputError("epochs is 0: expected 1 or more, as a trace has updates")
    return checked


def _series(array: NumpyArray) -> NumpyArray:
    """Return a series of numbers, or of classes as integers of 64 bits."""
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _check_updates(run: Run, updates: NamedArrays) -> None:
    """Raise InputError unless every required array is present, in its format, and no
    other.
    """
    shapes = _update_shapes(run, updates)
    for name, shape in shapes.items():
        if name not in updates:
            raise InputError(f"{name} is missing")
        array = updates[name]
        last = 1
        if name in STEPWISE:
            last = int(updates["stop"][-1] - updates["start"][-1])
        if array.shape == shape:  # numbers of the last update may be infinite or NaN
            array = array[:-last]
            shape = array.shape
        if error := array_error(name, array, shape, run.params.W_hh.dtype):
            raise InputError(error)
    if unknown := updates.keys() - {*shapes, *UPDATE_COLUMNS}:
        raise InputError(
            f"{min(unknown)} is present, but the configuration excludes it"
        )


def _update_shapes(run: Run, updates: NamedArrays) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays that these updates must have, by name."""
    networks = run.params.W_hh.shape[:-2]
    sizes = case_sizes(run)
    count = len(updates["start"])
    steps = int((updates["stop"] - updates["start"]).sum())
    names = output_names(run.params, run.options.step)
    if not updates.keys() & VELOCITY_AXES.keys():
        names -= VELOCITY_AXES.keys()
    if updates.keys() & {*INTERMEDIATES} - {"h"}:
        names.update(INTERMEDIATES)
    names |= updates.keys() & {"h", *INPUT_GRADIENTS}
    shapes = {"initial": (count, *networks, sizes["B"], sizes["H"])}
    for name, axes in SHAPES.items():
        if name in names:
            shape = [sizes[letter] for letter in axes if letter != "T"]
            rows = steps if name in STEPWISE else count
            shapes[name] = (rows, *networks, *shape)
    return shapes
