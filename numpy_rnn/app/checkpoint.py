"""A run in a file: the weights, and all else that its rest depends on.

Keys of the .npz: those of a weights file (the names of the Parameters), so that it is one too, and

    format                  bytes, "elman-run 2"
    configuration           bytes, JSON: the Configuration
    series                  bytes: a fingerprint of x and target
    epoch, number, window   integers, integers, (3,) integers: the latest update, and its window
    h                       (*E, B, H): the initial state of the next window, or after an epoch the last state
    vW_xh and so on         the velocity, if there is one
    epochs                  (rows,) integers: the epochs whose losses are kept, see results.py; the last one is the
                            number of epochs done. Without this key, all epochs are kept.
    losses                  (rows, *E) float64: of networks that diverged, NaN from that epoch on
    partial                 (*E) float64: the sum so far of the epoch that is not done, 0 between epochs
    diverged                bytes, JSON: what is known of networks that diverged

The size of the file does not grow with the number of epochs, once they are thousands.
"""

import hashlib
import json
import math
import time
from dataclasses import fields
from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import HIDDEN_SIZE, Configuration, check_kinds
from numpy_rnn.app.divergence import Divergence
from numpy_rnn.app.results import kept_epochs
from numpy_rnn.app.storage import RUN_FORMAT, is_run, load_arrays, parameters_of, save_arrays
from numpy_rnn.common.errors import InputError, shortened
from numpy_rnn.common.records import DTYPES, Gradients, Parameters, State
from numpy_rnn.common.training import check_resume, check_state
from numpy_rnn.common.windows import Window

BLOCK = 4096  # steps that are read at a time
REST = 10  # times as long as the latest write took is between it and the next one, at least


class Checkpoint(NamedTuple):
    """Where a run stands, and what it is; all arrays are NumPy's."""

    configuration: Configuration
    series: str  # fingerprint
    state: State
    losses: np.ndarray  # (rows, *E)
    partial: np.ndarray  # (*E)
    diverged: tuple[Divergence, ...] = ()
    epochs: tuple[int, ...] = ()  # those of the losses


def fingerprint(x, target) -> str:
    """Of what a run is trained on, so that it is not resumed on something else."""
    digest = hashlib.sha256(str((x.shape, str(x.dtype), target.shape)).encode())
    for first in range(0, len(x), BLOCK):
        for series in (x, target):
            digest.update(series[first : first + BLOCK].tobytes())
    return digest.hexdigest()


def save_checkpoint(path, checkpoint: Checkpoint) -> None:
    """Write it whole or not at all. Raises InputError when that is not possible."""
    configuration, series, state, losses, partial, diverged, epochs = checkpoint
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
        "epochs": np.array(epochs, np.int64),
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
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"run file {path}: {shortened(str(error))}; expected a run that --save wrote") from None
    return checkpoint


def _checkpoint_of(arrays, params):
    names = [name for name in Parameters._fields if f"v{name}" in arrays]
    velocity = Gradients(*(arrays.get(f"v{name}") for name in Parameters._fields)) if names else None
    [epoch], [number] = _whole_numbers(arrays, "epoch", ()), _whole_numbers(arrays, "number", ())
    window = _whole_numbers(arrays, "window", (3,))
    losses = arrays["losses"]
    if "epochs" in arrays:
        epochs = tuple(_whole_numbers(arrays, "epochs", (len(losses),)))
    else:
        epochs = kept_epochs(len(losses), max(1, losses[:1].size))
        losses = losses[[kept - 1 for kept in epochs]]
    return Checkpoint(
        _configuration_of(json.loads(arrays["configuration"].tobytes())),
        arrays["series"].tobytes().decode("ascii"),
        State(epoch, number, Window(*window), arrays["h"], params, velocity),
        losses,
        arrays["partial"],
        _divergences_of(json.loads(arrays["diverged"].tobytes())),
        epochs,
    )


def _whole_numbers(arrays, name, shape):
    values = arrays[name]
    if values.dtype.kind not in "iu" or values.shape != shape or (values < 0).any():
        raise InputError(f"{name} is {values.dtype} of shape {values.shape}: expected whole numbers, shape {shape}")
    return values.ravel().tolist()


def _configuration_of(values):
    configuration = Configuration.from_dict(values)
    missing = [field.name for field in fields(Configuration) if field.name not in values]
    if missing:
        raise InputError(f"the configuration has no {', '.join(missing)}: expected all options of the run")
    return configuration


def _divergences_of(values):
    if not isinstance(values, list):
        raise InputError(f"diverged is {shortened(repr(values), 40)}: expected a list of the networks that diverged")
    divergences = tuple(Divergence(**of_network) for of_network in values)
    for divergence in divergences:
        check_kinds(Divergence, divergence._asdict())
    return divergences


def _check(checkpoint):
    """Raise InputError, or TypeError, unless the parts are of one run."""
    configuration, _, state, losses, partial, diverged, epochs = checkpoint
    configuration.check()
    _check_options(configuration, state.parameters)
    check_state(state)
    E = state.parameters.W_hh.shape[:-2]
    if epochs != kept_epochs(epochs[-1] if epochs else 0, math.prod(E)):
        raise InputError(f"epochs are {shortened(str(epochs), 40)}: expected those that are kept of so many")
    for name, array, shape in (("losses", losses, (len(losses), *E)), ("partial", partial, E)):
        if array.dtype != np.float64 or array.shape != shape:
            raise InputError(f"{name} is {array.dtype} of shape {array.shape}: expected float64 of shape {shape}")
    rates, networks = configuration.rates(), configuration.networks
    if (rates and E[:1] != (len(rates),)) or networks not in (None, *E[-1:]):
        raise InputError(f"the ensemble has shape {E}: expected {len(rates)} learning rates and {networks} networks")
    good, first = np.ones(math.prod(E), bool), np.full(math.prod(E), np.inf)
    for network, epoch, *_ in diverged:
        if not (0 <= network < math.prod(E) and 1 <= epoch <= state.epoch and good[network]):
            raise InputError(
                f"network {network} is said to have diverged in epoch {epoch}: there are {math.prod(E)} networks and"
                f" {state.epoch} epochs, and a network diverges once"
            )
        good[network], first[network] = False, epoch
    finite = np.isfinite(losses).reshape(len(losses), math.prod(E))
    if (finite != (np.array(epochs)[:, None] < first)).any() or not np.isfinite(partial).ravel()[good].all():
        raise InputError("losses of networks that did not diverge are not finite: expected the sums of their epochs")


def _check_options(configuration, params):
    """Raise InputError unless the parameters are those of the options."""
    H, O = params.W_hy.shape[-2:]
    found = {
        "hidden_size": H,
        "bias": params.b_h is not None,
        "dtype": str(params.W_hh.dtype),
        "learn_initial_state": params.h_0 is not None,
    }
    drawn = {"hidden_size": HIDDEN_SIZE, "bias": False, "dtype": DTYPES[0], "learn_initial_state": False}
    for name, value in found.items():
        option = getattr(configuration, name)
        expected = drawn[name] if option is None and configuration.weights is None else option
        if expected not in (None, value):
            raise InputError(
                f"{name} is {expected} in the configuration, and {value} in the weights: expected the same"
            )
    if params.W_xh.shape[-2] != O:
        raise InputError(f"the weights have {params.W_xh.shape[-2]} inputs and {O} outputs: expected as many of both")


def check_goes_on(checkpoint: Checkpoint, experiment) -> None:
    """Raise InputError when the run cannot go on from there, trained on this experiment."""
    configuration, series, state, _, partial, diverged, epochs = checkpoint
    x = experiment.x
    if series != fingerprint(x, experiment.target):
        raise InputError(
            f"the series is not the one that the run was trained on so far: expected {experiment.name} as it was;"
            " start anew, with --weights for the weights alone"
        )
    check_resume(state, x, configuration.k1, configuration.k2)
    done = state.epoch - (state.window.stop < len(x))
    if (epochs[-1] if epochs else 0) != done:
        raise InputError(
            f"losses are those of {epochs[-1] if epochs else 0} epochs: expected {done}, all that are done"
        )
    if diverged and len(diverged) == partial.size:
        raise InputError(
            f"all {len(diverged)} networks have diverged: expected one that is left to go on with; start anew, with"
            " --weights or without, and a smaller --learning-rate"
        )


def place_of(checkpoint: Checkpoint) -> str:
    """After which update it was taken, in words."""
    return f"epoch {checkpoint.state.epoch}, update {checkpoint.state.number}"


class Saver:
    """Writes checkpoints of a run to one file, and tells when the next one is due.

    The next one is due `every` seconds after the latest, or REST times as long as that took to write, if that is more,
    so that a run does not spend its time writing. With `every` 0 it is always due. A write that fails does not end the
    run: `error` holds why, until one succeeds.
    """

    def __init__(self, path, every: float):
        self.path, self.every = path, every
        self.due = time.monotonic() + every
        self.error: InputError | None = None
        self.saved: str | None = None  # after which update the run is in the file

    def is_time(self) -> bool:
        """Whether the next one is due."""
        return time.monotonic() >= self.due

    def __call__(self, checkpoint: Checkpoint) -> None:
        """Write it."""
        began = time.monotonic()
        try:
            save_checkpoint(self.path, checkpoint)
            self.error, self.saved = None, place_of(checkpoint)
        except InputError as error:
            self.error = error
        now = time.monotonic()
        self.due = now + max(self.every, REST * (now - began) if self.every else 0)
