"""A run in a file: the weights, and everything else that is needed to resume it.

Keys of the .npz: those of a weights file (the names of the Parameters), so it is also a weights file, and

    format                  bytes, "elman-run 3"
    configuration           bytes, JSON: the Configuration
    series                  bytes: a fingerprint of x and target
    epoch, number, window   integers, integers, (3,) integers: the latest update, and its window
    h                       (*E, B, H): the initial state of the next window, or after an epoch the last state
    vW_xh and so on         the velocity, with momentum; the sums of squares, with Adagrad
    losses                  (epochs, *E) float64: of the finished epochs; NaN from where a network has diverged
    partial                 (*E) float64: the sum so far of the unfinished epoch; NaN for networks that have diverged
    alphabet                a string: of a text, its characters in the order of their classes
    smoothed                float64: of a text, the smoothed loss
"""

import hashlib
import json
import operator
import time
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.app.storage import RUN_FORMAT, Arrays, load_arrays, parameters_of, save_arrays
from numpy_rnn.app.text import saved_alphabet
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.records import Gradients, Parameters, State, Window

SAVE_EVERY = 30.0  # seconds
REST = 10  # minimum pause between two writes, as a multiple of the duration of the first


class Checkpoint(NamedTuple):
    """The state of a run and its configuration, as NumPy arrays."""

    configuration: Configuration
    series: str  # fingerprint
    state: State
    losses: np.ndarray  # (epochs, *E)
    partial: np.ndarray  # (*E)
    alphabet: str | None = None  # of a text
    smoothed: float | None = None  # the smoothed loss on a text

    @property
    def position(self) -> str:
        """The update after which it was taken, in words."""
        return f"epoch {self.state.epoch}, update {self.state.number}"


def fingerprint(x: np.ndarray, target: np.ndarray) -> str:
    """A hash of the training data, so that a run is not resumed on different data."""
    digest = hashlib.sha256(str((x.shape, str(x.dtype), target.shape)).encode())
    for series in (x, target):
        digest.update(np.ascontiguousarray(series).data)
    return digest.hexdigest()


def save_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write the file. Raises InputError if it cannot be written."""
    state = checkpoint.state
    arrays: dict[str, Any] = {name: theta for name, theta in state.parameters._asdict().items() if theta is not None}
    velocity = {} if state.velocity is None else state.velocity._asdict()
    arrays |= {f"v{name}": v for name, v in velocity.items() if v is not None}
    arrays |= {
        "format": np.bytes_(RUN_FORMAT),
        "configuration": np.bytes_(json.dumps(checkpoint.configuration.to_dict())),
        "series": np.bytes_(checkpoint.series),
        "epoch": state.epoch,
        "number": state.number,
        "window": state.window,
        "h": state.h,
        "losses": checkpoint.losses,
        "partial": checkpoint.partial,
    }
    if checkpoint.alphabet is not None:
        arrays |= {"alphabet": np.array(checkpoint.alphabet), "smoothed": checkpoint.smoothed}
    save_arrays(path, arrays)


def load_checkpoint(path: str) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises InputError if the file is missing, truncated, of another kind or version, or would need pickle.
    """
    arrays = load_arrays(path, "run file")
    if (found := arrays.get("format", np.bytes_(b"")).tobytes()) != RUN_FORMAT.encode():
        format = found.decode("ascii", "replace").strip("\0")
        hint = f"to start a new run from its weights, use --weights {path}"
        raise InputError(f"run file {path} has the format {format!r}: expected {RUN_FORMAT!r}; {hint}")
    params = parameters_of(arrays, f"run file {path}")
    try:
        return _checkpoint(arrays, params)
    except KeyError as error:
        raise InputError(f"run file {path} has no {error.args[0]}: expected a run that --save wrote") from None
    except (InputError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"run file {path}: {error}; expected a run that --save wrote") from None


def _checkpoint(arrays: Arrays, params: Parameters) -> Checkpoint:
    """The checkpoint in a file. Raises InputError unless its parts agree; `train` checks the state."""
    configuration = Configuration.from_dict(json.loads(arrays["configuration"].tobytes()))
    configuration.check()
    epoch, number = (operator.index(arrays[name].item()) for name in ("epoch", "number"))
    velocity = Gradients(*(arrays.get(f"v{name}") for name in Parameters._fields)) if "vW_hh" in arrays else None
    window, h, losses, partial = (arrays[name] for name in ("window", "h", "losses", "partial"))
    state = State(epoch, number, Window(*map(operator.index, window.tolist())), h, params, velocity)
    alphabet = smoothed = None
    if configuration.text is not None:
        alphabet, smoothed = saved_alphabet(arrays), float(arrays["smoothed"])
    E, networks, rates = params.W_hh.shape[:-2], configuration.networks, configuration.rates()
    if not (
        losses.dtype == partial.dtype == np.float64
        and (losses.shape, partial.shape) == ((len(losses), *E), E)
        and len(losses) in (epoch - 1, epoch)
        and not np.isinf(partial).any()
        and not np.isnan(partial).all()
        and networks in (None, *E[-1:])
        and (not rates or E[:1] == (len(rates),))
        and (
            configuration.text is None or (len(alphabet or "") == params.W_hy.shape[-1] and np.isfinite(smoothed or 0))
        )
    ):
        raise InputError("its losses, weights and options do not agree")
    series = arrays["series"].tobytes().decode("ascii")
    return Checkpoint(configuration, series, state, losses, partial, alphabet, smoothed)


class Saver:
    """Writes checkpoints of a run to one file, and tells when the next one is due.

    It is due after SAVE_EVERY seconds, or REST times the duration of the latest write if this is longer. A failed write
    does not end the run: `error` is the reason until a write succeeds.
    """

    def __init__(self, path: str):
        self.path = path
        self.due = time.monotonic() + SAVE_EVERY
        self.error: InputError | None = None
        self.saved: str | None = None  # the position of the run in the file

    def is_due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.monotonic() >= self.due

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint."""
        began = time.monotonic()
        try:
            save_checkpoint(self.path, checkpoint)
            self.error, self.saved = None, checkpoint.position
        except InputError as error:
            self.error = error
        now = time.monotonic()
        self.due = now + max(SAVE_EVERY, REST * (now - began))
