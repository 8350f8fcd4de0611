"""A run in a file: the weights, and everything else that is needed to resume it.

Keys of the .npz: those of a weights file (the names of the Parameters), so it is also a weights file, and

    format                  bytes, "elman-run 2"
    configuration           bytes, JSON: the Configuration
    series                  bytes: a fingerprint of x and target
    epoch, number, window   integers, integers, (3,) integers: the latest update, and its window
    h                       (*E, B, H): the initial state of the next window, or after an epoch the last state
    vW_xh and so on         the velocity, with momentum; the sums of squares, with Adagrad
    epochs                  (rows,) integers: the epochs whose losses are kept, see results.py; the last one is the
                            number of finished epochs
    losses                  (rows, *E) float64: for networks that diverged, NaN from that epoch on
    partial                 (*E) float64: the sum so far of the unfinished epoch, 0 between epochs
    diverged                bytes, JSON: the divergences
    alphabet                bytes: of a text, its characters in UTF-8, in the order of their classes
    smoothed                (*E) float64: of a text, the smoothed loss

The size of the file does not grow beyond some thousand epochs.
"""

import hashlib
import json
import math
import time
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import HIDDEN_SIZE, Configuration, check_kinds
from numpy_rnn.app.divergence import Divergence
from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.format import number_of
from numpy_rnn.app.results import kept_epochs
from numpy_rnn.app.series import decoded, encoded
from numpy_rnn.app.storage import RUN_FORMAT, is_run, load_arrays, parameters_of, save_arrays
from numpy_rnn.common.errors import InputError, shortened, some_of
from numpy_rnn.common.records import DTYPES, Gradients, Parameters, State
from numpy_rnn.common.training import check_resume, check_state
from numpy_rnn.common.windows import Window

BLOCK = 4096  # steps that are read at a time
REST = 10  # minimum pause between two writes, as a multiple of the duration of the first


class Checkpoint(NamedTuple):
    """The state of a run and its configuration, as NumPy arrays."""

    configuration: Configuration
    series: str  # fingerprint
    state: State
    losses: np.ndarray  # (rows, *E)
    partial: np.ndarray  # (*E)
    diverged: tuple[Divergence, ...] = ()
    epochs: tuple[int, ...] = ()  # of the losses
    alphabet: str | None = None  # of a text
    smoothed: np.ndarray | None = None  # (*E), the smoothed loss on a text


def fingerprint(x: np.ndarray, target: np.ndarray) -> str:
    """A hash of the training data, so that a run is not resumed on different data."""
    digest = hashlib.sha256(str((x.shape, str(x.dtype), target.shape)).encode())
    for first in range(0, len(x), BLOCK):
        for series in (x, target):
            digest.update(series[first : first + BLOCK].tobytes())
    return digest.hexdigest()


def save_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write the file completely or not at all. Raises InputError if it cannot be written."""
    configuration, series, state, losses, partial, diverged, epochs, alphabet, smoothed = checkpoint
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
    if alphabet is not None:
        arrays |= {"alphabet": encoded(alphabet), "smoothed": smoothed}
    save_arrays(path, arrays)


def load_checkpoint(path: str) -> Checkpoint:
    """Read what `save_checkpoint` wrote.

    Raises InputError if the file is missing, truncated, of another kind, or would need pickle.
    """
    arrays = load_arrays(path, "run file")
    if not is_run(arrays):
        hint = "; it has only weights: use --weights" if "W_hh" in arrays and "format" not in arrays else ""
        raise InputError(f"run file {path} has no format {RUN_FORMAT!r}: expected a run that --save wrote{hint}")
    if (version := arrays["format"].tobytes()) != RUN_FORMAT.encode():
        raise InputError(
            f"run file {path} has the format {version.decode('ascii', 'replace')!r} of another version: expected"
            f" {RUN_FORMAT!r}; {_new_run(path)}"
        )
    params = parameters_of(arrays, f"run file {path}")
    try:
        checkpoint = _checkpoint_of(arrays, params, path)
        _check(checkpoint)
    except KeyError as error:
        raise InputError(f"run file {path} has no {error.args[0]}: expected a run that --save wrote") from None
    except InputError as error:
        raise InputError(f"run file {path}: {error}") from None
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"run file {path}: {shortened(str(error))}; expected a run that --save wrote") from None
    return checkpoint


def _checkpoint_of(arrays, params, path):
    names = [name for name in Parameters._fields if f"v{name}" in arrays]
    velocity = Gradients(*(arrays.get(f"v{name}") for name in Parameters._fields)) if names else None
    [epoch], [number] = _whole_numbers(arrays, "epoch", ()), _whole_numbers(arrays, "number", ())
    window = _whole_numbers(arrays, "window", (3,))
    losses = arrays["losses"]
    epochs = tuple(_whole_numbers(arrays, "epochs", (len(losses),)))
    configuration = _configuration_of(json.loads(arrays["configuration"].tobytes()), path)
    of_text: tuple[Any, ...] = ()
    if configuration.text is not None:
        of_text = decoded(arrays["alphabet"]), arrays["smoothed"]
    return Checkpoint(
        configuration,
        arrays["series"].tobytes().decode("ascii"),
        State(epoch, number, Window(*window), arrays["h"], params, velocity),
        losses,
        arrays["partial"],
        _divergences_of(json.loads(arrays["diverged"].tobytes())),
        epochs,
        *of_text,
    )


def _whole_numbers(arrays, name, shape):
    values = arrays[name]
    if values.dtype.kind not in "iu" or values.shape != shape or (values < 0).any():
        raise InputError(f"{name} is {values.dtype} of shape {values.shape}: expected whole numbers, shape {shape}")
    return values.ravel().tolist()


def _configuration_of(values, path):
    configuration = Configuration.from_dict(values)
    missing = [field.name for field in fields(Configuration) if field.name not in values]
    if missing:  # as in a file of a version that did not have these options
        raise InputError(
            f"the configuration has no {some_of(missing)}: expected all options of this version; {_new_run(path)}"
        )
    return configuration


def _new_run(path):
    return f"to start a new run from its weights, use --weights {path}"


def _divergences_of(values):
    if not isinstance(values, list):
        raise InputError(f"diverged is {shortened(repr(values), 40)}: expected a list of the networks that diverged")
    divergences = tuple(Divergence(**of_network) for of_network in values)
    for divergence in divergences:
        check_kinds(Divergence, divergence._asdict())
    return divergences


def _check(checkpoint):
    """Raise InputError or TypeError unless the parts are consistent."""
    configuration, _, state, losses, partial, diverged, epochs, alphabet, smoothed = checkpoint
    configuration.check()
    _check_options(configuration, state.parameters)
    check_state(state)
    E = state.parameters.W_hh.shape[:-2]
    if epochs != kept_epochs(epochs[-1] if epochs else 0, math.prod(E)):
        raise InputError(f"epochs are {shortened(str(epochs), 40)}: expected those that a run of so many keeps")
    of_text = () if alphabet is None else (("smoothed", smoothed, E),)
    for name, array, shape in (("losses", losses, (len(losses), *E)), ("partial", partial, E), *of_text):
        if array.dtype != np.float64 or array.shape != shape:
            raise InputError(f"{name} is {array.dtype} of shape {array.shape}: expected float64 of shape {shape}")
    if alphabet is not None and (len(alphabet) != state.parameters.W_hy.shape[-1] or not np.isfinite(smoothed).all()):
        raise InputError(
            f"the alphabet has {len(alphabet)} characters, the weights {state.parameters.W_hy.shape[-1]} outputs, and"
            f" the smoothed loss is {smoothed}: expected equal numbers, and a finite loss"
        )
    rates, networks = configuration.rates(), configuration.networks
    if (rates and E[:1] != (len(rates),)) or networks not in (None, *E[-1:]):
        raise InputError(f"the ensemble has shape {E}: expected {len(rates)} learning rates and {networks} networks")
    good, first = np.ones(math.prod(E), bool), np.full(math.prod(E), np.inf)
    for network, epoch, *_ in diverged:
        if not (0 <= network < math.prod(E) and 1 <= epoch <= state.epoch and good[network]):
            raise InputError(
                f"network {network} diverged in epoch {epoch}: expected one of {math.prod(E)} networks, once, in one of"
                f" {number_of(state.epoch, 'epoch')}"
            )
        good[network], first[network] = False, epoch
    finite = np.isfinite(losses).reshape(len(losses), math.prod(E))
    if (finite != (np.array(epochs)[:, None] < first)).any() or not np.isfinite(partial).ravel()[good].all():
        raise InputError("losses of networks that did not diverge are not finite: expected the sums of their epochs")


def _check_options(configuration, params):
    """Raise InputError unless the parameters agree with the options."""
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
        raise InputError(f"the weights have {params.W_xh.shape[-2]} inputs and {O} outputs: expected equal numbers")


def check_can_resume(checkpoint: Checkpoint, experiment: Experiment) -> None:
    """Raise InputError if the run cannot be resumed on this experiment."""
    configuration, series, state, _, partial, diverged, epochs, *_ = checkpoint
    x = experiment.x
    if series != fingerprint(x, experiment.target):
        raise InputError(
            f"the series is not the one that the run was trained on: expected {experiment.name} unchanged; to"
            " start a new run from its weights, use --weights"
        )
    check_resume(state, x, configuration.k1, configuration.k2)
    done = state.epoch - (state.window.stop < len(x))
    if (epochs[-1] if epochs else 0) != done:
        raise InputError(
            f"the losses are of {number_of(epochs[-1] if epochs else 0, 'epoch')}: expected {done}, the finished ones"
        )
    if diverged and len(diverged) == partial.size:
        raise InputError(
            f"all {len(diverged)} networks have diverged: expected one that has not; start a new run with a smaller"
            " --learning-rate"
        )


def position_of(checkpoint: Checkpoint) -> str:
    """The update after which it was taken, in words."""
    return f"epoch {checkpoint.state.epoch}, update {checkpoint.state.number}"


class Saver:
    """Writes checkpoints of a run to one file, and tells when the next one is due.

    The next one is due `every` seconds after the latest, or REST times the duration of that write if this is longer, so
    that a run does not spend its time writing. With `every` 0 one is always due. A failed write does not end the run:
    `error` is the reason until a write succeeds.
    """

    def __init__(self, path: str, every: float):
        self.path, self.every = path, every
        self.due = time.monotonic() + every
        self.error: InputError | None = None
        self.saved: str | None = None  # the position of the run in the file

    def is_due(self) -> bool:
        """Whether the next checkpoint is due."""
        return time.monotonic() >= self.due

    def __call__(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint."""
        began = time.monotonic()
        try:
            save_checkpoint(self.path, checkpoint)
            self.error, self.saved = None, position_of(checkpoint)
        except InputError as error:
            self.error = error
        now = time.monotonic()
        self.due = now + max(self.every, REST * (now - began) if self.every else 0)
