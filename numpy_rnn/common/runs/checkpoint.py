"""A run in a file: the weights, and all else that its rest depends on.

Keys of the .npz: those of a weights file (the names of the Parameters), so that it is one too, and

    format                  bytes, "elman-run 1"
    configuration           bytes, JSON: the Configuration
    series                  bytes: a fingerprint of x and target
    epoch, number, window   integers, integers, (3,) integers: the latest update, and its window
    h                       (steps+1, *E, B, H): the states of that window
    vW_xh and so on         the velocity, if there is one
    losses                  (epochs done, *E) float64
    partial                 (*E) float64: the sum so far of the epoch that is not done, 0 between epochs
    diverged                bytes, JSON: what is known of networks that diverged
"""

import hashlib
import json
import math
import time
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files.storage import RUN_FORMAT, is_run, load_arrays, parameters_of, save_arrays
from numpy_rnn.common.records import Gradients, Parameters, State
from numpy_rnn.common.runs.configuration import Configuration
from numpy_rnn.common.runs.divergence import Divergence
from numpy_rnn.common.training import check_resume, check_state
from numpy_rnn.common.windows import Window

BLOCK = 4096  # steps that are read at a time


class Checkpoint(NamedTuple):
    """Where a run stands, and what it is; all arrays are NumPy's."""

    configuration: Configuration
    series: str  # fingerprint
    state: State
    losses: np.ndarray  # (epochs done, *E)
    partial: np.ndarray  # (*E)
    diverged: tuple[Divergence, ...] = ()


def fingerprint(x, target) -> str:
    """Of what a run is trained on, so that it is not resumed on something else."""
    digest = hashlib.sha256(str((x.shape, str(x.dtype), target.shape)).encode())
    for first in range(0, len(x), BLOCK):
        for series in (x, target):
            digest.update(series[first : first + BLOCK].tobytes())
    return digest.hexdigest()


def save_checkpoint(path, checkpoint: Checkpoint) -> None:
    """Write it whole or not at all. Raises InputError when that is not possible."""
    configuration, series, state, losses, partial, diverged = checkpoint
    arrays = {name: theta for name, theta in state.parameters._asdict().items() if theta is not None}
    velocity = {} if state.velocity is None else state.velocity._asdict()
    arrays |= {f"v{name}": v for name, v in velocity.items() if v is not None}
    arrays |= {
        "format": np.bytes_(RUN_FORMAT),
        "configuration": np.bytes_(json.dumps(configuration.to_dict())),
        "series": np.bytes_(series),
        "epoch": np.array(state.epoch),
        "number": np.array(state.number),
        "window": np.array(state.window),
        "h": state.h,
        "losses": losses,
        "partial": partial,
        "diverged": np.bytes_(json.dumps([divergence._asdict() for divergence in diverged])),
    }
    save_arrays(path, arrays)


def load_checkpoint(path) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises InputError when the file is missing, truncated, of another kind, or would need pickle.
    """
    arrays = load_arrays(path, "run file")
    if not is_run(arrays):
        hint = "; it holds weights only: use --weights" if "W_hh" in arrays and "format" not in arrays else ""
        raise InputError(f"run file {path} does not say format {RUN_FORMAT!r}: expected a run that --save wrote{hint}")
    params = parameters_of(arrays, f"run file {path}")
    try:
        checkpoint = _checkpoint_of(arrays, params)
        _check(checkpoint)
    except KeyError as error:
        raise InputError(f"run file {path} has no {error.args[0]}: expected a run that --save wrote") from None
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"run file {path}: {error}; expected a run that --save wrote") from None
    return checkpoint


def _checkpoint_of(arrays, params):
    names = [name for name in Parameters._fields if f"v{name}" in arrays]
    velocity = Gradients(*(arrays.get(f"v{name}") for name in Parameters._fields)) if names else None
    epoch, number, *window = _whole_numbers(arrays)
    return Checkpoint(
        Configuration.from_dict(json.loads(arrays["configuration"].tobytes())),
        arrays["series"].tobytes().decode("ascii"),
        State(epoch, number, Window(*window), arrays["h"], params, velocity),
        arrays["losses"],
        arrays["partial"],
        tuple(Divergence(**values) for values in json.loads(arrays["diverged"].tobytes())),
    )


def _whole_numbers(arrays):
    for name, shape in (("epoch", ()), ("number", ()), ("window", (3,))):
        values = arrays[name]
        if values.dtype.kind not in "iu" or values.shape != shape or (values < 0).any():
            raise InputError(f"{name} is {values.dtype} of shape {values.shape}: expected whole numbers, shape {shape}")
        yield from values.ravel().tolist()


def _check(checkpoint):
    """Raise InputError, or TypeError, unless the parts are of one run."""
    configuration, _, state, losses, partial, diverged = checkpoint
    configuration.check()
    check_state(state)
    E = state.parameters.W_hh.shape[:-2]
    for name, array, shape in (("losses", losses, (len(losses), *E)), ("partial", partial, E)):
        if array.dtype != np.float64 or array.shape != shape:
            raise InputError(f"{name} is {array.dtype} of shape {array.shape}: expected float64 of shape {shape}")
    rates, networks = configuration.rates(), configuration.networks
    if (rates and E[:1] != (len(rates),)) or networks not in (None, *E[-1:]):
        raise InputError(f"the ensemble has shape {E}: expected {len(rates)} learning rates and {networks} networks")
    for divergence in diverged:
        if not (isinstance(divergence.network, int) and 0 <= divergence.network < math.prod(E)):
            raise InputError(f"network {divergence.network!r} is said to have diverged: there are {math.prod(E)}")


def check_goes_on(checkpoint: Checkpoint, experiment) -> None:
    """Raise InputError when the run cannot go on from there, trained on this experiment."""
    configuration, series, state, losses, partial, diverged = checkpoint
    x = experiment.x
    if series != fingerprint(x, experiment.target):
        raise InputError(
            f"the series is not the one that the run was trained on so far: expected {experiment.name} as it was;"
            " start anew, with --weights for the weights alone"
        )
    check_resume(state, x, configuration.k1, configuration.k2)
    done = state.epoch - (state.window.stop < len(x))
    if len(losses) != done:
        raise InputError(f"losses are those of {len(losses)} epochs: expected {done}, those that are done")
    if diverged and len(diverged) == partial.size:
        raise InputError(
            f"all {len(diverged)} networks have diverged: expected one that is left to go on with; start anew, with"
            " --weights or without, and a smaller --learning-rate"
        )


class Saver:
    """Writes checkpoints of a run to one file, and tells when the next one is due.

    A write that fails does not end the run: `error` holds why, until one succeeds.
    """

    def __init__(self, path, every: float):
        self.path, self.every = path, every
        self.due = time.monotonic() + every
        self.error: InputError | None = None
        self.saved = False

    def is_time(self) -> bool:
        """Whether `every` seconds have gone by since the last one."""
        return time.monotonic() >= self.due

    def __call__(self, checkpoint: Checkpoint) -> None:
        """Write it."""
        try:
            save_checkpoint(self.path, checkpoint)
            self.error, self.saved = None, True
        except InputError as error:
            self.error = error
        self.due = time.monotonic() + self.every
