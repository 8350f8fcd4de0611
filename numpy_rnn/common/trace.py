"""A trace: every update of a run in one .npz, so that two runs can be compared without running them again.

Keys, for a program in any language that wants to write one. N updates; S = Σ_n T_n, the steps of all windows one after
the other; *E the axes of an ensemble, none for a single network. Floats all float32 or all float64.

    format                                 bytes, "elman-trace 1"
    configuration                          bytes, JSON: at least k1, k2, learning_rate, epochs, nonlinearity, reduction
    x, target, h_0                         (T, B, D), (T, B, O), (B, H): what the run started from
    initial_W_xh, _W_hh, _W_hy, _b_h, _b_y the initial parameters; no bias keys where there are no biases
    epoch, number                          (N,) integers from 1: the epoch, and the update within it
    start, counted_from, stop              (N,) integers: the window (start, stop], counted from (counted_from, stop]
    entering                               (N, *E, B, H)  the state that entered the window
    a, h, dh, da                           (S, *E, B, H)  steps 1 to T_n of every window; h without the entering state
    y, dy                                  (S, *E, B, O)
    loss                                   (N, *E)
    dW_xh, dW_hh, dW_hy, db_h, db_y        (N, *E, D, H) and so on: the gradients
    W_xh, W_hh, W_hy, b_h, b_y             the parameters after the update, in the same shapes

A program that does not know its intermediate values leaves out a, h, y, dy, dh and da, all of them.
"""

import json

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.storage import load_arrays, save_arrays
from numpy_rnn.common.windows import windows

FORMAT = "elman-trace 1"
LARGEST = 4 * 2**30  # bytes
BY_STEP = ("a", "h", "y", "dy", "dh", "da")
PLACE = ("epoch", "number", "start", "counted_from", "stop")
PER_UPDATE = (*PLACE, "entering", "loss", *(prefix + name for prefix in ("d", "") for name in Parameters._fields))


class Recorder:
    """Collects the updates of a run, as NumPy arrays, and writes them as a trace."""

    def __init__(self, experiment, configuration):
        self.columns: dict[str, list] = {}
        self.head = {
            "format": np.bytes_(FORMAT),
            "configuration": np.bytes_(json.dumps(configuration.to_dict())),
            "x": experiment.x,
            "target": experiment.target,
            "h_0": experiment.h_0,
            **_named("initial_", experiment.params),
        }

    @property
    def updates(self) -> int:
        """How many there are so far."""
        return len(self.columns.get("epoch", ()))

    def append(self, update) -> None:
        """Take one Update with its activations and deltas."""
        _, a, h, y = update.activations
        report = {"a": a, "h": h[1:], "y": y, "loss": update.loss, **update.deltas._asdict()}
        report |= _named("d", update.gradients) | _named("", update.parameters)
        self.append_report(update.epoch, update.number, update.window, h[0], report)

    def append_report(self, epoch, number, window, entering, report) -> None:
        """Take one update as a port reported it, under the names above."""
        place = {"epoch": epoch, "number": number, **window._asdict(), "entering": entering}
        for name, value in (place | report).items():
            self.columns.setdefault(name, []).append(value)

    def arrays(self) -> dict:
        """The whole trace under the keys above."""
        join = {name: np.concatenate if name in BY_STEP else np.stack for name in self.columns}
        return self.head | {name: join[name](values) for name, values in self.columns.items()}

    def save(self, path) -> None:
        """Write the trace, whole or not at all. Raises InputError when that is not possible."""
        save_arrays(path, self.arrays())


def check_size(experiment, configuration) -> None:
    """Raise InputError when the trace of this run would be empty, or would not fit in memory."""
    if configuration.epochs == 0:
        raise InputError("0 epochs make no update to record: expected --epochs 1 or more")
    schedule = list(windows(len(experiment.x), configuration.k1, configuration.k2))
    steps = sum(window.steps for window in schedule)
    *E, H, O = experiment.params.W_hy.shape
    numbers = sum(theta.size for theta in experiment.params if theta is not None)
    networks = int(np.prod(E))
    per_epoch = 2 * numbers * len(schedule) + steps * networks * (4 * H + 2 * O)
    size = per_epoch * configuration.epochs * experiment.x.itemsize
    if size > LARGEST:
        raise InputError(
            f"the trace of this run would take {size / 2**30:.0f} GiB: expected {LARGEST / 2**30:.0f} at most;"
            " choose fewer --epochs"
        )


def load_trace(path) -> dict:
    """Read a trace. Raises InputError when it is not a whole, readable file of this format."""
    arrays = load_arrays(path, "trace file")
    if arrays.get("format", np.bytes_(b"")).tobytes() != FORMAT.encode():
        raise InputError(f"trace file {path} does not say format {FORMAT!r}: expected a trace that --trace wrote")
    return arrays


def _named(prefix, params):
    return {prefix + name: theta for name, theta in params._asdict().items() if theta is not None}
