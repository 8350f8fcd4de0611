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

import operator
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.checks import check_parameters
from numpy_rnn.common.errors import InputError, errors_about, some_of
from numpy_rnn.common.files import Arrays, load_arrays, save_arrays
from numpy_rnn.common.records import Gradients, Parameters, State, Window
from numpy_rnn.parameters import ARRAYS

RUN_FORMAT = "elman-run 3"  # the number is the version
EXPECTED = (
    "expected W_xh, W_hh, W_hy, optionally b_h and b_y, and optionally h_0, as --save writes them"
)


def save_parameters(path: str, params: Parameters) -> None:
    """Write NumPy parameters as .npz under their own names. Raises InputError if the file cannot be written."""
    save_arrays(path, _named(params))


def _named(tensors: Any, prefix: str = "") -> dict[str, Any]:
    """The arrays of a named tuple by name, without those that are None."""
    return {prefix + name: array for name, array in tensors._asdict().items() if array is not None}


def load_parameters(path: str) -> Parameters:
    """Read the parameters in a weights file or a run file. Raises InputError on any that no run can have."""
    arrays = load_arrays(path, "weights file")
    with errors_about(f"weights file {path}"):
        if np.isnan(arrays.get("partial", np.zeros(1))).any():
            raise InputError("it has networks that diverged: expected a run in which none did")
        unknown = [name for name in arrays if name not in Parameters._fields]
        if unknown and "format" not in arrays:  # a run file has other keys besides the weights
            raise InputError(f"it has {some_of(unknown)}: {EXPECTED}")
        return parameters_of(arrays)


def parameters_of(arrays: Arrays) -> Parameters:
    """The parameters among named arrays, in C order. Raises InputError as `load_parameters` does."""
    missing = [name for name in Parameters._fields[:3] if name not in arrays]
    if missing:
        raise InputError(f"it has no {', '.join(missing)}: {EXPECTED}")
    # In C order, as the rounding of products depends on the order, and a file of a resumed run has this one.
    params = Parameters(
        **{name: np.array(arrays[name], order="C") for name in Parameters._fields if name in arrays}
    )
    check_parameters(ARRAYS, params, finite=True)
    return params


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
    import hashlib  # only for a run that is saved or resumed

    digest = hashlib.sha256(str((x.shape, str(x.dtype), target.shape)).encode())
    for series in (x, target):
        digest.update(np.ascontiguousarray(series).data)
    return digest.hexdigest()


def save_checkpoint(path: str, checkpoint: Checkpoint) -> None:
    """Write the file. Raises InputError if it cannot be written."""
    import json  # only for a run that is saved or resumed

    state = checkpoint.state
    arrays = _named(state.parameters) | (
        {} if state.velocity is None else _named(state.velocity, "v")
    )
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


def saved_alphabet(arrays: dict[str, np.ndarray]) -> str | None:
    """The alphabet in a run file; None if it has none. Raises InputError if it is damaged."""
    if "alphabet" not in arrays:
        return None
    alphabet = str(arrays["alphabet"])
    if arrays["alphabet"].dtype.kind != "U" or list(alphabet) != sorted(set(alphabet)):
        raise InputError("the alphabet of a run is damaged: expected a run that --save wrote")
    return alphabet


def load_checkpoint(path: str) -> Checkpoint:
    """Read what `save_checkpoint` wrote. Raises InputError on any other file."""
    import json

    arrays = load_arrays(path, "run file")
    with errors_about(f"run file {path}"):
        if (found := arrays.get("format", np.bytes_(b"")).tobytes()) != RUN_FORMAT.encode():
            format = found.decode("ascii", "replace").strip("\0")
            hint = f"to start a new run from its weights, use --weights {path}"
            raise InputError(f"it has the format {format!r}: expected {RUN_FORMAT!r}; {hint}")
        try:
            return _checkpoint(
                arrays, Configuration.from_dict(json.loads(arrays["configuration"].tobytes()))
            )
        except InputError:
            raise
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            RecursionError,
        ) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{reason}; expected a run that --save wrote") from None


def _checkpoint(arrays: Arrays, configuration: Configuration) -> Checkpoint:
    """The checkpoint in a file. Raises InputError unless its parts agree; `train` checks the options and the state."""
    configuration.check()
    params = parameters_of(arrays)
    epoch, number = (operator.index(arrays[name].item()) for name in ("epoch", "number"))
    velocity = (
        Gradients(*(arrays.get(f"v{name}") for name in Parameters._fields))
        if "vW_hh" in arrays
        else None
    )
    window, h, losses, partial = (arrays[name] for name in ("window", "h", "losses", "partial"))
    state = State(epoch, number, Window(*map(operator.index, window.tolist())), h, params, velocity)
    alphabet = smoothed = None
    E = params.W_hh.shape[:-2]
    if (losses.shape, partial.shape) != ((len(losses), *E), E) or len(losses) not in (
        epoch - 1,
        epoch,
    ):
        raise InputError("its losses and weights do not agree: expected a run that --save wrote")
    if configuration.text is not None:
        alphabet, smoothed = saved_alphabet(arrays), float(arrays["smoothed"])
        if len(alphabet or "") != params.W_hy.shape[-1]:
            raise InputError(
                "its alphabet and weights do not agree: expected a run that --save wrote"
            )
    series = arrays["series"].tobytes().decode("ascii")
    return Checkpoint(configuration, series, state, losses, partial, alphabet, smoothed)
