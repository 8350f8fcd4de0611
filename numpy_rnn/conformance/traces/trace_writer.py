"""A trace of your own training loop, in a few lines; `python -m numpy_rnn compare FILE.npz` judges every update."""

from typing import Any

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.trace import BY_STEP, Recorder
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Parameters, Window
from numpy_rnn.conformance.case import FIELDS, SECOND_BIAS, SHAPES, parameters_of
from numpy_rnn.conformance.truncations import truncation_of, with_truncation


class Trace:
    """Records the updates of a training loop of your own, with copies of all arrays.

    params: the initial parameters by name, W_xh (D, H), W_hh (H, H), W_hy (H, O), and b_h (H), b_y (O) or neither.
    x (T, B, D), target (T, B, O): the whole series. h_0 (B, H): the state at the start of every epoch. All are arrays
    of one dtype, float32 or float64. settings: k1, k2, learning_rate and epochs, and what is not a default of
    nonlinearity, reduction, momentum, dampening, nesterov, weight_decay and max_norm.

    truncation: the name of another truncation than TBPTT(k1, k2), as in `truncations.py`.

    resets: False if the state is carried from one epoch to the next. The trace then is one epoch over the series
    repeated, which is the same if k2 = k1 and T is a multiple of k1.

    Raises InputError on settings that no run has.
    """

    def __init__(
        self, params: dict[str, Any], x, target, h_0, *, resets: bool = True, truncation: str = "", **settings
    ):
        self.T, self.epochs, self.number, self.epoch = len(x), settings.get("epochs", 1), 0, 0
        self.resets = resets
        x, target = (np.array(array) for array in (x, target))
        if not resets:
            if self.T % settings["k1"] or settings["k1"] != settings["k2"]:
                raise InputError("a loop that never resets its state: expected k2 = k1, and T a multiple of k1")
            x, target = (np.concatenate([array] * self.epochs) for array in (x, target))
            settings["epochs"] = 1
        unknown = [name for name in params if name not in FIELDS]
        if unknown:
            raise InputError(f"a parameter is called {unknown[0]!r}: expected {', '.join(Parameters._fields)}")
        initial = parameters_of({name: np.array(theta) for name, theta in params.items()})
        configuration = Configuration(**settings)
        configuration.check()
        self.recorder = Recorder(Experiment("own loop", x, target, np.array(h_0), initial), configuration)
        if truncation:
            self.recorder.head = with_truncation(self.recorder.head, truncation_of(truncation))

    def update(self, epoch: int, window: tuple[int, int, int], state, **values) -> None:
        """Record one update.

        epoch: from 1. window: start, loss_start and stop, for a window of the steps start to stop − 1, from 0, of which
        those from loss_start have a loss. state (B, H): the initial state of the window. values: loss; the gradients
        dW_xh, dW_hh and so on, before clipping; the parameters after the update, W_xh, W_hh and so on; with momentum
        the velocities, vW_xh and so on; and if you have all of them a, h, y, dy, dh and da of the T steps of the
        window: without them it cannot be seen whether the state is carried rightly.

        Raises InputError on an unknown name, and if some of a, h, y, dy, dh and da are missing.
        """
        unknown = [name for name in values if name not in SHAPES | SECOND_BIAS]
        if unknown:
            raise InputError(f"{unknown[0]!r} is not a name of a trace: expected {', '.join(SHAPES)}")
        missing = [name for name in BY_STEP if name not in values]
        if 0 < len(missing) < len(BY_STEP):
            raise InputError(f"{missing[0]} is missing: expected all of {', '.join(BY_STEP)}, or none of them")
        offset = 0 if self.resets else (epoch - 1) * self.T
        epoch = epoch if self.resets else 1
        self.number = self.number + 1 if epoch == self.epoch else 1
        self.epoch = epoch
        copies = {name: np.array(value) for name, value in values.items()}
        place = Window(*(step + offset for step in window))
        self.recorder.append_report(epoch, self.number, place, np.array(state), copies)

    def save(self, path: str) -> None:
        """Write the trace. Raises InputError if no update is recorded, or if it cannot be written."""
        if not self.recorder.updates:
            raise InputError("no update is recorded: expected `update` after every step of the loop")
        self.recorder.save(path)
