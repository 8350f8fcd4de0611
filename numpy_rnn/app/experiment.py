"""The arrays that a run starts from: series, standardization and initial parameters, prepared from a configuration."""

from typing import Any, NamedTuple

import numpy as np

from numpy_rnn.app import text
from numpy_rnn.app.checkpoint import load_parameters, saved_alphabet
from numpy_rnn.app.configuration import HIDDEN_SIZE, Configuration, option_name
from numpy_rnn.app.series import MIN_ROWS, Series, inputs_and_targets, name_of, read_series, sine
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.files import load_arrays
from numpy_rnn.common.initial import initial_parameters
from numpy_rnn.common.records import Parameters, Run, RunOptions


class Scaling(NamedTuple):
    """The mean and standard deviation of every column of a series."""

    mean: np.ndarray  # (D,) float64
    deviation: np.ndarray  # (D,) float64, above zero

    def standardized(self, series: np.ndarray) -> np.ndarray:
        """Rows (N, D) in units of the series → (N, D) standardized, float64."""
        return (np.asarray(series, np.float64) - self.mean) / self.deviation

    def original(self, values: np.ndarray) -> np.ndarray:
        """The inverse: (..., D) standardized → (..., D) in units of the series, float64."""
        return np.asarray(values, np.float64) * self.deviation + self.mean


def series_scaling(series: np.ndarray) -> Scaling:
    """Mean and standard deviation (divided by N) of every column of a series (N, D), computed in float64.

    Raises InputError on a constant column, and on one whose numbers are too large or too close together for float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused below
        scaling = Scaling(series.mean(axis=0, dtype=np.float64), series.std(axis=0, dtype=np.float64))
    for column, (low, high) in enumerate(zip(series.min(axis=0), series.max(axis=0))):
        if low == high or not (np.isfinite(scaling.mean[column]) and 0 < scaling.deviation[column] < np.inf):
            what = f"column {column + 1} of the series, {low:g} to {high:g}"
            raise InputError(f"{what}, has no standard deviation: leave out the column or --standardize")
    return scaling


class Experiment(NamedTuple):
    """What a run starts from, as NumPy arrays."""

    name: str
    x: np.ndarray  # (T, 1, D); classes of a text (T, 1)
    target: np.ndarray  # the same
    h_0: np.ndarray  # (1, H), zero; if it is learned, the one in params
    params: Parameters
    scaling: Scaling | None = None  # by which x and target were standardized; None: they are not
    held_out: int = 0  # steps at the end that are predicted and not trained on
    rates: tuple[float, ...] = ()  # of a sweep: the first axis of the ensemble
    series: np.ndarray | None = None  # (T+1, D) or more rows, as read; None: unknown
    columns: tuple[str, ...] | None = None  # (D) their names, if any
    alphabet: str | None = None  # of a text: its characters, in the order of their classes

    @property
    def networks(self) -> tuple[int, ...]:
        """The shape E of the ensemble; () for a single network."""
        return self.params.W_hh.shape[:-2]

    def run(self, options: RunOptions) -> Run:
        """The training run with these options, on the steps that are not held out."""
        steps = len(self.x) - self.held_out
        h_0 = None if self.params.h_0 is not None else self.h_0
        return Run(self.params, self.x[:steps], self.target[:steps], h_0, None, options)

    def original(self, values: np.ndarray) -> np.ndarray:
        """Values (..., D) as trained on → in units of the series, float64."""
        return np.asarray(values, np.float64) if self.scaling is None else self.scaling.original(values)

    def rows(self, first: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows first:stop of the T + 1 rows of the series, (N, D), as read, in float64.

        If they are unknown, the rows of the first sequence in units of the series, (N, *E, D).
        """
        if self.series is not None:
            return np.asarray(self.series[: len(self.x) + 1][first:stop], np.float64)
        rows, last = self.x[..., 0, :], self.target[-1:, ..., 0, :]
        rows = np.concatenate([rows, last]) if rows.shape[1:] == last.shape[1:] else rows
        return self.original(rows[first:stop])


def prepare(configuration: Configuration, params: Parameters | None = None, alphabet: str | None = None) -> Experiment:
    """Read or create the series or the text, and the initial weights.

    params, alphabet: those of a resumed run, instead of initial weights and of the characters of the text.

    Raises InputError if the configuration, a file, or their combination cannot be used.
    """
    configuration.check()
    if configuration.text is not None:
        return _prepare_text(configuration, params, alphabet)
    data, held_out = configuration.data, configuration.held_out
    series = Series(sine()) if data is None else read_series(data, configuration.columns)
    trained = len(series.rows) - held_out
    if trained < MIN_ROWS:
        most = len(series.rows) - MIN_ROWS
        raise InputError(f"--held-out is {held_out}: expected {most} at most, so that {MIN_ROWS} rows are trained on")
    params = _initial(configuration, series.rows.shape[1]) if params is None else params
    dtype = params.W_hh.dtype
    with np.errstate(over="ignore"):  # overflow is refused below
        scaling = series_scaling(series.rows[:trained]) if configuration.standardize else None
        x, target = inputs_and_targets(series.rows if scaling is None else scaling.standardized(series.rows), dtype)
    if dtype == np.float32 and not (np.isfinite(x).all() and np.isfinite(target).all()):
        raise InputError(f"data file {data} has values too large for float32: use --dtype float64")
    name = "sine wave" if data is None else name_of(data)
    rest = scaling, held_out, configuration.rates(), series.rows, series.names
    return Experiment(name, x, target, _initial_state(params), params, *rest)


def _prepare_text(configuration: Configuration, params: Parameters | None, alphabet: str | None) -> Experiment:
    """As `prepare`, of a text: each character is a class, and the target is the next one.

    As in min-char-rnn, the last characters, if they are fewer than a chunk of k1, are not trained on.
    """
    path, k1 = configuration.text or "", configuration.k1
    characters = text.read_characters(path)
    if alphabet is None and configuration.weights is not None:
        alphabet = saved_alphabet(load_arrays(configuration.weights, "weights file"))
    alphabet = text.used_characters(characters, path) if alphabet is None else alphabet
    classes = text.character_classes(characters, alphabet, path)
    steps = (len(classes) - 1) // k1 * k1
    if steps == 0:
        raise InputError(
            f"text {path} has {len(classes)} characters: expected more than --k1, {k1}; choose a smaller one"
        )
    if params is None:
        params = _initial(configuration, len(alphabet), "characters of the text", text.DEVIATIONS)
    x, target = classes[:steps, None], classes[1 : steps + 1, None]
    return Experiment(name_of(path), x, target, _initial_state(params), params, alphabet=alphabet)


def _initial_state(params: Parameters) -> np.ndarray:
    return np.zeros((1, params.W_hh.shape[-1]), params.W_hh.dtype) if params.h_0 is None else params.h_0


def _initial(
    configuration: Configuration, features: int, what: str = "columns of the series", deviations: Any = (0.4, 0.3)
) -> Parameters:
    """The initial parameters, drawn or loaded, with one network per rate of a sweep."""
    if configuration.weights is not None:
        params = _loaded(configuration, features, what)
    else:
        params = initial_parameters(
            features,
            configuration.hidden_size or HIDDEN_SIZE,
            features,
            bias=bool(configuration.bias),
            dtype=configuration.dtype or "float32",
            seed=configuration.seed,
            networks=configuration.networks,
            deviations=deviations,
        )
    if rates := configuration.rates():
        params = Parameters(*(None if p is None else np.repeat(p[None], len(rates), axis=0) for p in params))
    if configuration.learn_initial_state and params.h_0 is None:
        *E, H = params.W_hh.shape[:-1]
        params = params._replace(h_0=np.zeros((*E, 1, H), params.W_hh.dtype))
    return params


def _loaded(configuration: Configuration, features: int, what: str) -> Parameters:
    file = f"weights file {configuration.weights}"
    params = load_parameters(configuration.weights or "")
    D, (H, O) = params.W_xh.shape[-2], params.W_hy.shape[-2:]
    if (features, features) != (D, O):
        raise InputError(f"{file} is for {D} inputs and {O} outputs: expected {features} of each, the {what}")
    if configuration.rates() and params.W_hh.ndim > 2:
        raise InputError(f"{file} has an ensemble, and several learning rates are given: expected one of the two")
    has_h_0 = params.h_0 is not None
    for name, found in (
        ("hidden_size", H),
        ("bias", params.b_h is not None),
        ("learn_initial_state", True if has_h_0 else None),  # None: it can be added
    ):
        if found is not None and getattr(configuration, name) not in (None, found):
            raise InputError(f"{file} has {name.replace('_', ' ')} {found}: leave {option_name(name)} out")
    if params.h_0 is not None and params.h_0.shape[-2] != 1:
        raise InputError(f"{file} has an initial state for {params.h_0.shape[-2]} sequences: expected 1")
    with np.errstate(over="ignore"):
        dtype = configuration.dtype or params.W_hh.dtype
        params = Parameters(*(None if theta is None else theta.astype(dtype) for theta in params))
    if not all(np.isfinite(theta).all() for theta in params if theta is not None):
        raise InputError(f"{file} has values too large for float32: use --dtype float64")
    return params
