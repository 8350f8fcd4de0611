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
"""

import json

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.storage import load_arrays, save_arrays
from numpy_rnn.common.windows import windows

FORMAT = "elman-trace 1"
LARGEST = 4 * 2**30  # bytes


class Recorder:
    """Collects the updates of a run, as NumPy arrays, and writes them as a trace."""

    def __init__(self, experiment, configuration):
        self.updates = []
        self.head = {
            "format": np.bytes_(FORMAT),
            "configuration": np.bytes_(json.dumps(configuration.to_dict())),
            "x": experiment.x,
            "target": experiment.target,
            "h_0": experiment.h_0,
            **_named("initial_", experiment.params),
        }

    def append(self, update) -> None:
        """Take one Update with its activations and deltas."""
        self.updates.append(update)

    def arrays(self) -> dict:
        """The whole trace under the keys above."""
        activations = [update.activations for update in self.updates]
        deltas = [update.deltas for update in self.updates]
        tail = {
            "epoch": np.array([update.epoch for update in self.updates]),
            "number": np.array([update.number for update in self.updates]),
            **dict(zip(("start", "counted_from", "stop"), np.array([update.window for update in self.updates]).T)),
            "entering": np.stack([of.h[0] for of in activations]),
            "a": np.concatenate([of.a for of in activations]),
            "h": np.concatenate([of.h[1:] for of in activations]),
            "y": np.concatenate([of.y for of in activations]),
            "loss": np.stack([update.loss for update in self.updates]),
            **{name: np.concatenate([getattr(of, name) for of in deltas]) for name in ("dy", "dh", "da")},
            **_stacked("d", [update.gradients for update in self.updates]),
            **_stacked("", [update.parameters for update in self.updates]),
        }
        return self.head | tail

    def save(self, path) -> None:
        """Write the trace, whole or not at all. Raises InputError when that is not possible."""
        save_arrays(path, self.arrays())


def check_size(experiment, configuration) -> None:
    """Raise InputError when the trace of this run would be empty, or would not fit in memory."""
    if configuration.epochs == 0:
        raise InputError("a trace of 0 epochs would be empty: expected --epochs 1 or more")
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


def _stacked(prefix, all_params):
    columns = Parameters(*(None if column[0] is None else np.stack(column) for column in zip(*all_params)))
    return _named(prefix, columns)
