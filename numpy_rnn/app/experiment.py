"""What a run starts from: a series or a text, and initial weights, which a file may hold.

Keys of the .npz: W_xh and so on, the names of the Parameters; vW_xh and so on, the velocity, or
with Adagrad the sums of squares; `configuration`, a string: JSON of the options; `alphabet`, a
string: of a text, its characters in the order of their classes; `smoothed`: its smoothed loss.
"""

import json
import os
from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.options import Configuration
from numpy_rnn.app.series import MIN_ROWS, character_classes, read_series, read_text, sine
from numpy_rnn.common.checks import check_parameters
from numpy_rnn.common.conversion import tree_map
from numpy_rnn.common.errors import InputError, errors_about, printable, some_of
from numpy_rnn.common.files import load_arrays, save_arrays
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import Gradients, Parameters, Run, RunOptions
from numpy_rnn.parameters import ARRAYS

NAMES = ("W_xh", "W_hh", "W_hy", "b_h", "b_y")
VELOCITY = tuple("v" + name for name in NAMES)
OTHERS = ("configuration", "alphabet", "smoothed")


class Experiment(NamedTuple):
    """What a run starts from, as NumPy arrays."""

    name: str
    x: np.ndarray  # (T, 1, D); classes of a text (T, 1)
    target: np.ndarray  # the same
    h_0: np.ndarray  # (1, H), zero
    params: Parameters[Any]
    velocity: Gradients[Any] | None = None
    series: Any = None  # (T+1, D), as read; None for a text
    columns: tuple[str, ...] | None = None  # (D,) their names, if any
    mean: Any = 0.0  # (D,) of the columns of a standardized series
    deviation: Any = 1.0  # (D,)
    held_out: int = 0  # steps at the end that are predicted and not trained on
    alphabet: str = ""  # of a text: its characters, in the order of their classes
    smoothed: float | None = None  # of a text that is continued: the smoothed loss

    @property
    def networks(self) -> tuple[int, ...]:
        """The shape of the ensemble, (N,); () for a single network."""
        return self.params.W_hh.shape[:-2]

    @property
    def column_names(self) -> list[str]:
        """The names of the columns of the series, from its file or by number."""
        numbered = (f"feature {n + 1}" for n in range(self.x.shape[-1]))
        return [printable(name) for name in self.columns or numbered]

    def run(self, options: RunOptions) -> Run:
        """The training run with these options, on the steps that are not held out."""
        steps = len(self.x) - self.held_out
        data = {"x": self.x[:steps], "target": self.target[:steps], "h_0": self.h_0}
        return Run(params=self.params, options=options, weights=None, **data)  # SHIM

    def original(self, values: np.ndarray) -> np.ndarray:
        """Values (..., D) as trained on, in units of the series, float64."""
        return np.asarray(values, np.float64) * self.deviation + self.mean


def prepare(options: Configuration) -> Experiment:
    """Read or create the series or the text, and the initial weights."""
    saved = None if options.weights is None else load_run(options.weights, options.dtype)
    if options.text is not None:
        return _prepare_text(options, saved)
    data, held_out = options.data, options.held_out
    rows, columns = (sine(), None) if data is None else read_series(data, options.columns)
    trained = len(rows) - held_out
    if trained < MIN_ROWS:
        limit = f"{len(rows) - MIN_ROWS} at most, so that {MIN_ROWS} rows are trained on"
        raise InputError(f"--held-out is {held_out}: expected {limit}")
    h_0, params, velocity = _start(options, saved, rows.shape[1], (0.4, 0.3))
    mean, deviation = 0.0, 1.0
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused below
        if options.standardize:
            mean, deviation = mean_and_deviation(rows[:trained])
        sequence = ((rows - mean) / deviation).astype(h_0.dtype)[:, None]
    if not np.isfinite(sequence).all():
        raise InputError(f"data file {data}: it has values too large for {h_0.dtype}")
    name = "sine wave" if data is None else printable(os.path.basename(data))
    start = sequence[:-1], sequence[1:], h_0, params, velocity
    return Experiment(name, *start, rows, columns, mean, deviation, held_out)


def mean_and_deviation(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (divided by N) of every column of a series (N, D), (D,).

    Raises InputError on a column that has none: it is constant, or its numbers are too large.
    """
    mean, deviation = series.mean(axis=0), series.std(axis=0)
    is_fine = (np.ptp(series, axis=0) > 0) & (deviation > 0) & np.isfinite(mean + deviation)
    if not is_fine.all():
        why = "has no standard deviation: it is constant, or its numbers are too large"
        raise InputError(f"column {int(is_fine.argmin()) + 1} of the series {why}; leave it out")
    return mean, deviation


def _prepare_text(options: Configuration, saved: Any) -> Experiment:
    """The experiment of a text: each character is a class, and the target is the next one.

    As in min-char-rnn, the last characters, if they are fewer than k1, are not trained on.
    """
    path, k1 = options.text, options.k1
    with errors_about(f"text {path}"):
        classes, alphabet = character_classes(read_text(path), saved and saved[3])
        steps = (len(classes) - 1) // k1 * k1
        if steps == 0:
            raise InputError(f"it has {len(classes)} characters: expected more than --k1, {k1}")
    start = _start(options, saved, len(alphabet), (0.01, 0.01))
    x, target = classes[:steps, None], classes[1 : steps + 1, None]
    smoothed, name = saved and saved[4], printable(os.path.basename(path))
    return Experiment(name, x, target, *start, alphabet=alphabet, smoothed=smoothed)


def _start(
    options: Configuration, saved: Any, D: int, deviations: tuple[float, float]
) -> tuple[np.ndarray, Parameters[Any], Gradients[Any] | None]:
    """Initial state, parameters and velocity. deviations: of weights that are drawn."""
    velocity = None
    if saved is None:
        sizes, bias = (D, options.hidden_size or 6, D), bool(options.bias)
        draw = {"seed": options.seed, "bias": bias, "dtype": options.dtype or "float32"}
        draw |= {"networks": options.networks, "deviations": deviations}
        params = initial_parameters(*sizes, **draw)
    else:
        params, kept, configuration, *_ = saved
        found = {"input size": params.W_xh.shape[-2], "output size": params.W_hy.shape[-1]}
        found |= {"hidden_size": params.W_hh.shape[-1], "bias": params.b_h is not None}
        for name, value in found.items():
            expected = getattr(options, name, D)
            if expected not in (None, value):
                what = f"weights file {options.weights}: its {name.replace('_', ' ')} is {value}"
                raise InputError(f"{what}: expected {expected}, as in series and options")
        step = options.run_options().step
        was_adagrad = configuration.get("adagrad", step.adagrad)
        if step.has_velocity and was_adagrad == step.adagrad:  # sums of squares are no velocity
            velocity = kept
    return np.zeros((1, params.W_hh.shape[-1]), params.W_hh.dtype), params, velocity


def save_run(
    path: str,
    params: Parameters[Any],
    velocity: Gradients[Any] | None = None,
    options: Configuration | None = None,
    alphabet: str | None = None,
    smoothed: float | None = None,
) -> None:
    """Write the networks that are finite. Raises InputError if the file cannot be written."""
    arrays = dict(zip(NAMES, params)) | dict(zip(VELOCITY, velocity or ()))
    arrays = {name: array for name, array in arrays.items() if array is not None}
    if networks := params.W_hh.shape[:-2]:
        parts = [np.isfinite(array).reshape(*networks, -1).all(axis=1) for array in arrays.values()]
        arrays = {name: array[np.all(parts, axis=0)] for name, array in arrays.items()}
    others = options and json.dumps(options.to_dict()), alphabet or None, smoothed
    arrays |= {name: value for name, value in zip(OTHERS, others) if value is not None}
    save_arrays(path, arrays)


def load_run(path: str, dtype: str | None = None) -> tuple[Any, Any, dict[str, Any], Any, Any]:
    """Read what `save_run` wrote, or any .npz of weights: parameters, velocity, configuration,
    alphabet and smoothed loss, of which all but the first may be missing.

    dtype: that of the arrays, if given. Raises InputError on other files, and on numbers that are
    not finite.
    """
    found = load_arrays(path, "weights file")
    with errors_about(f"weights file {path}"):
        unknown = set(found) - {*NAMES, *VELOCITY, *OTHERS}
        missing = [name for name in NAMES[:3] if name not in found]
        if unknown or missing:
            what = f"it has {some_of(unknown)}" if unknown else f"it has no {some_of(missing)}"
            raise InputError(f"{what}: expected W_xh, W_hh, W_hy and what else --save writes")
        params, velocity = _checked(Parameters(*map(found.get, NAMES)), dtype), None
        if found.keys() & VELOCITY:
            with errors_about("velocity"):
                velocity = _checked(Gradients(*map(found.get, VELOCITY)), dtype)
                if tree_map(np.shape, velocity) != tree_map(np.shape, params):
                    raise InputError("it has other shapes than the weights")
        try:
            texts = [found[name].item() if name in found else None for name in OTHERS]
            configuration, alphabet, smoothed = dict(json.loads(texts[0] or "{}")), *texts[1:]
            is_fine = smoothed is None or 0 < smoothed < np.inf
            if alphabet is not None:
                is_fine &= list(alphabet) == sorted(set(alphabet))
                is_fine &= len(alphabet) == params.W_hy.shape[-1]
        except (ValueError, TypeError, RecursionError):
            is_fine = False
        if not is_fine:
            raise InputError("its configuration is damaged: expected a file that --save wrote")
    return params, velocity, configuration, alphabet, smoothed


def _checked(record: Any, dtype: str | None) -> Any:
    """Parameters or a velocity in C order. Raises InputError on what no run can have."""
    check_parameters(ARRAYS, record, finite=True)
    with np.errstate(over="ignore"):
        converted = tree_map(lambda theta: np.array(theta, dtype, order="C"), record)
    if not all(np.isfinite(theta).all() for theta in converted if theta is not None):
        raise InputError("it has values too large for float32: use --dtype float64")
    return converted
