"""A trace: every update of a run in one .npz, so that two runs can be compared without repeating them.

The keys, for a program in any language that writes a trace. N updates; S = Σ_n T_n, the steps of all windows,
concatenated; *E the axes of an ensemble, none for a single network. Floats all float32 or all float64.

    format                                 bytes, "elman-trace 3"
    configuration                          bytes, JSON: at least k1, k2, learning_rate, epochs, nonlinearity, reduction
    x, target                              (T, B, D), (T, B, O): the series; x may hold classes, integers (T, B) from 0
                                           to D − 1, and so may the target of a cross-entropy, from 0 to O − 1
    weights                                (T, B): the weights of the losses; no such key if they are all 1
    initial_h_0                            (B, H): the state at the start of every epoch; a learned one (*E, B, H)
    initial_W_xh, _W_hh, _W_hy, _b_h, _b_y the initial parameters; no bias keys without biases
    epoch, number                          (N,) integers from 1: the epoch, and the update within it
    start, loss_start, stop                (N,) integers: the window (start, stop], with a loss on (loss_start, stop]
    initial                                (N, *E, B, H)  the initial state of the window
    a, h, dh, da                           (S, *E, B, H)  steps 1 to T_n of every window; h without the initial state
    y, dy                                  (S, *E, B, O)
    dx                                     (S, *E, B, D)
    loss                                   (N, *E)
    dh_0                                   (N, *E, B, H)  ∂L/∂h of the initial state of the window
    dW_xh, dW_hh, dW_hy, db_h, db_y        (N, *E, D, H) and so on: the gradients, before clipping
    vW_xh, vW_hh, vW_hy, vb_h, vb_y, vh_0  (N, *E, D, H) and so on: the velocities after the update, with momentum or
                                           adagrad only; with adagrad the sums of squares
    W_xh, W_hh, W_hy, b_h, b_y             the parameters after the update, in the same shapes
    h_0                                    (N, *E, B, H)  the learned initial state after the update

The configuration may also have momentum, dampening, nesterov, weight_decay, max_norm, max_value, adagrad,
learn_initial_state and loss, "squared_error" or "cross_entropy"; missing values are the defaults of `Configuration`.
The learning rate is a number, or one per network: a nested list that broadcasts to the shape E.

A second bias of the hidden layer, b_hh, has the keys initial_b_hh, db_hh, vb_hh and b_hh, in the shapes of b_h.

A learned initial state, learn_initial_state, needs the keys h_0 and dh_0, and with velocities vh_0; without it h_0
and vh_0 are absent. It is a parameter of the windows with start = 0; the others leave it and its velocity unchanged.

A program that does not compute the intermediate values leaves out all of a, h, y, dy, dh and da. One that does not
compute the gradients of its inputs leaves out dx and dh_0; if it learns the initial state, only dx, and then dh_0 is
ignored in the windows with start > 0.

Older versions can be read too. In version 2 the key initial is `entering`. In version 1 initial_h_0 is also h_0, and
there is no dx, dh_0, velocity or learned state.
"""

import json
from typing import Any

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.storage import load_arrays, save_arrays
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters, Window
from numpy_rnn.common.windows import windows

FORMAT, OLDER_FORMATS = "elman-trace 3", (b"elman-trace 1", b"elman-trace 2")
MAX_BYTES = 4 * 2**30
BY_STEP = ("a", "h", "y", "dy", "dh", "da")
ROWS = (*BY_STEP, "dx")  # one row per step of all windows, concatenated
PLACE = ("epoch", "number", "start", "loss_start", "stop")
PER_UPDATE = (
    *PLACE,
    "initial",
    "loss",
    *(prefix + name for prefix in ("d", "v", "") for name in (*Parameters._fields, "b_hh")),
)


class Recorder:
    """Collects the updates of a run, as NumPy arrays, and writes them as a trace."""

    def __init__(self, experiment: Experiment, configuration: Configuration):
        self.columns: dict[str, list] = {}
        self.head = {
            "format": np.bytes_(FORMAT),
            "configuration": np.bytes_(json.dumps(configuration.to_dict())),
            "x": experiment.x,
            "target": experiment.target,
            "initial_h_0": experiment.h_0,
            **({} if experiment.weights is None else {"weights": experiment.weights}),
            **_named("initial_", experiment.params),
        }

    @property
    def updates(self) -> int:
        """The number of updates so far."""
        return len(self.columns.get("epoch", ()))

    def append(self, update: Any) -> None:
        """Add one Update with its activations and adjoints."""
        _, a, h, y = update.activations
        report = {"a": a, "h": h[1:], "y": y, "loss": update.loss, **update.adjoints._asdict()}
        report |= _named("d", update.gradients) | _named("", update.parameters)
        if update.velocity is not None:
            pairs = zip(update.velocity, update.parameters)  # None is written as zero
            report |= _named(
                "v", Parameters(*(0 * theta if v is None and theta is not None else v for v, theta in pairs))
            )
        self.append_report(update.epoch, update.number, update.window, h[0], report)

    def append_report(
        self, epoch: int, number: int, window: Window, initial: np.ndarray, report: dict[str, Any]
    ) -> None:
        """Add one update as a port reports it, under the names above."""
        place = {"epoch": epoch, "number": number, **window._asdict(), "initial": initial}
        for name, value in (place | report).items():
            self.columns.setdefault(name, []).append(value)

    def arrays(self) -> dict[str, Any]:
        """The whole trace under the keys above."""
        join = {name: np.concatenate if name in ROWS else np.stack for name in self.columns}
        return self.head | {name: join[name](values) for name, values in self.columns.items()}

    def save(self, path: str) -> None:
        """Write the trace, completely or not at all. Raises InputError if it cannot be written."""
        save_arrays(path, self.arrays())


def check_trace_size(experiment: Experiment, configuration: Configuration) -> None:
    """Raise InputError if the trace of this run would be empty, or would not fit in memory."""
    if configuration.epochs == 0:
        raise InputError("0 epochs have no update to record: expected --epochs 1 or more")
    schedule = list(windows(len(experiment.x), configuration.k1, configuration.k2))
    steps = sum(window.steps for window in schedule)
    *E, H, O = experiment.params.W_hy.shape
    B, D = experiment.h_0.shape[-2], experiment.params.W_xh.shape[-2]
    kinds = 3 if configuration.sgd_options().has_velocity else 2  # gradients, velocities, parameters
    numbers = kinds * sum(theta.size for theta in experiment.params if theta is not None)
    of_state = B * H * (2 if experiment.params.h_0 is None else 1)  # initial state and dh_0
    networks = int(np.prod(E))
    per_update = numbers + networks * (of_state + 1)
    per_epoch = per_update * len(schedule) + steps * networks * B * (4 * H + 2 * O + D)
    size = per_epoch * configuration.epochs * experiment.params.W_hh.itemsize
    if size > MAX_BYTES:
        raise InputError(
            f"the trace of this run would take {size / 2**30:.0f} GiB: expected {MAX_BYTES / 2**30:.0f} at most;"
            " choose fewer --epochs"
        )


def load_trace(path: str) -> dict[str, Any]:
    """Read a trace; one of an older version gets the current keys.

    Raises InputError if the file is not a complete, readable trace.
    """
    arrays: dict[str, Any] = load_arrays(path, "trace file")
    found = arrays.get("format", np.bytes_(b"")).tobytes()
    if found in OLDER_FORMATS:
        older = {"entering": "initial"} | ({"h_0": "initial_h_0"} if found == OLDER_FORMATS[0] else {})
        arrays = {older.get(name, name): array for name, array in arrays.items()} | {"format": np.bytes_(FORMAT)}
    elif found != FORMAT.encode():
        raise InputError(f"trace file {path} has no format {FORMAT!r}: expected a trace that --trace wrote")
    return arrays


def _named(prefix, params):
    return {prefix + name: theta for name, theta in params._asdict().items() if theta is not None}
