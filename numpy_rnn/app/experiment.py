"""The arrays that a run starts from: series, standardization and initial parameters, prepared from a configuration."""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app.checkpoint import load_parameters, saved_alphabet
from numpy_rnn.app.configuration import HIDDEN_SIZE, Configuration, option_name
from numpy_rnn.app.series import (
    MIN_ROWS,
    Series,
    character_classes,
    name_of,
    read_series,
    read_text,
    sine,
    used_characters,
)
from numpy_rnn.common.errors import InputError, errors_about, printable, some_of
from numpy_rnn.common.files import load_arrays
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import Parameters, Run, RunOptions

TEXT_DEVIATIONS = 0.01, 0.01  # of the initial weights for a text, as in min-char-rnn


def mean_and_deviation(series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (divided by N) of every column of a series (N, D), (D,) in float64.

    Raises InputError on a column that has none: it is constant, or its numbers are too large or too close together.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused below
        mean, deviation = (
            series.mean(axis=0, dtype=np.float64),
            series.std(axis=0, dtype=np.float64),
        )
    for column, (low, high) in enumerate(zip(series.min(axis=0), series.max(axis=0))):
        if low == high or not (np.isfinite(mean[column]) and 0 < deviation[column] < np.inf):
            what = f"column {column + 1} of the series, {low:g} to {high:g}"
            raise InputError(
                f"{what}, has no standard deviation: leave out the column or --standardize"
            )
    return mean, deviation


class Experiment(NamedTuple):
    """What a run starts from, as NumPy arrays."""

    name: str
    x: np.ndarray  # (T, 1, D); classes of a text (T, 1)
    target: np.ndarray  # the same
    h_0: np.ndarray  # (1, H), zero; if it is learned, the one in params
    params: Parameters
    series: np.ndarray | None = None  # (T+1, D) or more rows, as read; None for a text
    mean: Any = 0.0  # (D,) of the columns of a standardized series
    deviation: Any = 1.0  # (D,)
    held_out: int = 0  # steps at the end that are predicted and not trained on
    columns: tuple[str, ...] | None = None  # (D) their names, if any
    alphabet: str | None = None  # of a text: its characters, in the order of their classes

    @property
    def networks(self) -> tuple[int, ...]:
        """The shape E of the ensemble; () for a single network."""
        return self.params.W_hh.shape[:-2]

    @property
    def column_names(self) -> list[str]:
        """The names of the columns of the series, from its file or by number: "feature 1"."""
        numbered = (f"feature {n + 1}" for n in range(self.x.shape[-1]))
        return [printable(name) for name in self.columns or numbered]

    @property
    def described(self) -> str:
        """The name of the series, and those of its columns if its file has a header."""
        if self.columns is None:
            return self.name
        return f"{self.name} ({'column' if len(self.columns) == 1 else 'columns'} {some_of(self.column_names)})"

    def run(self, options: RunOptions) -> Run:
        """The training run with these options, on the steps that are not held out."""
        steps = len(self.x) - self.held_out
        h_0 = None if self.params.h_0 is not None else self.h_0
        return Run(self.params, self.x[:steps], self.target[:steps], h_0, None, options)

    def original(self, values: np.ndarray) -> np.ndarray:
        """Values (..., D) as trained on → in units of the series, float64."""
        return np.asarray(values, np.float64) * self.deviation + self.mean

    def rows(self, first: int = 0) -> np.ndarray:
        """The T + 1 rows of the series from row `first` on, (N, D), as read, in float64."""
        return np.asarray(np.asarray(self.series)[first : len(self.x) + 1], np.float64)


def prepare(
    configuration: Configuration, params: Parameters | None = None, alphabet: str | None = None
) -> Experiment:
    """Read or create the series or the text, and the initial weights.

    params, alphabet: those of a resumed run, instead of initial weights and of the characters of the text.
    """
    configuration.check()
    if configuration.text is not None:
        return _prepare_text(configuration, params, alphabet)
    data, held_out = configuration.data, configuration.held_out
    series = Series(sine()) if data is None else read_series(data, configuration.columns)
    trained = len(series.rows) - held_out
    if trained < MIN_ROWS:
        most = len(series.rows) - MIN_ROWS
        raise InputError(
            f"--held-out is {held_out}: expected {most} at most, so that {MIN_ROWS} rows are trained on"
        )
    params = _initial(configuration, series.rows.shape[1]) if params is None else params
    dtype = params.W_hh.dtype
    with np.errstate(over="ignore"):  # overflow is refused below
        rows, mean, deviation = series.rows, np.zeros(()), np.ones(())
        if configuration.standardize:
            mean, deviation = mean_and_deviation(rows[:trained])
            rows = (np.asarray(rows, np.float64) - mean) / deviation
        sequence = np.asarray(rows, dtype)[:, None]  # a mapped file of this dtype stays on the disk
    x, target = sequence[:-1], sequence[1:]
    if dtype == np.float32 and not np.isfinite(sequence).all():
        raise InputError(
            f"data file {data}: it has values too large for float32: use --dtype float64"
        )
    name = "sine wave" if data is None else name_of(data)
    rest = series.rows, mean, deviation, held_out, series.names
    return Experiment(name, x, target, _initial_state(params), params, *rest)


def _prepare_text(
    configuration: Configuration, params: Parameters | None, alphabet: str | None
) -> Experiment:
    """`prepare` for a text: each character is a class, and the target is the next one.

    As in min-char-rnn, the last characters, if they are fewer than a chunk of k1, are not trained on.
    """
    path, k1 = configuration.text or "", configuration.k1
    if alphabet is None and configuration.weights is not None:
        alphabet = saved_alphabet(load_arrays(configuration.weights, "weights file"))
    with errors_about(f"text {path}"):
        characters = read_text(path)
        alphabet = used_characters(characters) if alphabet is None else alphabet
        classes = character_classes(characters, alphabet)
        steps = (len(classes) - 1) // k1 * k1
        if steps == 0:
            raise InputError(
                f"it has {len(classes)} characters; expected more than --k1, {k1}: choose less"
            )
    if params is None:
        params = _initial(configuration, len(alphabet), "characters of the text", TEXT_DEVIATIONS)
    x, target = classes[:steps, None], classes[1 : steps + 1, None]
    return Experiment(name_of(path), x, target, _initial_state(params), params, alphabet=alphabet)


def _initial_state(params: Parameters) -> np.ndarray:
    return (
        np.zeros((1, params.W_hh.shape[-1]), params.W_hh.dtype)
        if params.h_0 is None
        else params.h_0
    )


def _initial(
    configuration: Configuration,
    features: int,
    what: str = "columns of the series",
    deviations: Any = (0.4, 0.3),
) -> Parameters:
    """The initial parameters, drawn or loaded."""
    if configuration.weights is not None:
        params = load_parameters(configuration.weights)
        with errors_about(f"weights file {configuration.weights}"):
            params = _fitting(params, configuration, features, what)
    else:
        H, dtype = configuration.hidden_size or HIDDEN_SIZE, configuration.dtype or "float32"
        sizes, bias, seed = (features, H, features), bool(configuration.bias), configuration.seed
        options: Any = {
            "bias": bias,
            "dtype": dtype,
            "networks": configuration.networks,
            "deviations": deviations,
        }
        params = initial_parameters(*sizes, seed=seed, **options)
    if configuration.learn_initial_state and params.h_0 is None:
        *E, H = params.W_hh.shape[:-1]
        params = params._replace(h_0=np.zeros((*E, 1, H), params.W_hh.dtype))
    return params


def _fitting(
    params: Parameters, configuration: Configuration, features: int, what: str
) -> Parameters:
    """The parameters of a weights file in the dtype of the run. Raises InputError if they do not fit the run."""
    D, (H, O) = params.W_xh.shape[-2], params.W_hy.shape[-2:]
    if (features, features) != (D, O):
        raise InputError(
            f"it is for {D} inputs and {O} outputs: expected {features} of each, the {what}"
        )
    if params.h_0 is not None and params.h_0.shape[-2] != 1:
        raise InputError(
            f"it has an initial state for {params.h_0.shape[-2]} sequences: expected 1"
        )
    found: dict[str, Any] = {"hidden_size": H, "bias": params.b_h is not None}
    if params.h_0 is not None:  # otherwise it can be added
        found["learn_initial_state"] = True
    for name, value in found.items():
        if getattr(configuration, name) not in (None, value):
            raise InputError(
                f"it has {name.replace('_', ' ')} {value}: leave {option_name(name)} out"
            )
    with np.errstate(over="ignore"):
        dtype = configuration.dtype or params.W_hh.dtype
        params = Parameters(*(None if theta is None else theta.astype(dtype) for theta in params))
    if not all(np.isfinite(theta).all() for theta in params if theta is not None):
        raise InputError("it has values too large for float32: use --dtype float64")
    return params
