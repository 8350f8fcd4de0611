"""The arrays that a run starts from: series, standardization and initial parameters, prepared from a configuration."""

from typing import NamedTuple

import numpy as np

from numpy_rnn.app.configuration import HIDDEN_SIZE, Configuration
from numpy_rnn.app.format import number_of
from numpy_rnn.app.series import (
    Series,
    alphabet_of,
    alphabet_of_weights,
    classes_of,
    inputs_and_targets,
    name_of,
    read_characters,
    read_series,
    sine,
)
from numpy_rnn.app.size import Size, check_size, size_of
from numpy_rnn.app.storage import load_parameters
from numpy_rnn.common.arrays import check_distributions
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import draw_parameters
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.shapes import is_finite

BLOCK = 2**16  # numbers of a series that are read at a time


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


def scaling_of(series: np.ndarray) -> Scaling:
    """Mean and standard deviation (divided by N) of every column of a series (N, D), computed in float64.

    The series is read in blocks, so that it may be larger than the memory.

    Raises InputError on a constant column, and on one whose numbers are too large or too close together for float64.
    Source: Chan, Golub and LeVeque 1983, the corrected two-pass algorithm.
    """
    N = len(series)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow is refused below
        mean = sum(block.sum(axis=0) for block in _blocks(series)) / N
        off, squares = 0, 0
        for block in _blocks(series):
            difference = block - mean
            off, squares = off + difference.sum(axis=0), squares + (difference**2).sum(axis=0)
        deviation = np.sqrt(np.maximum(squares / N - (off / N) ** 2, 0))  # `off` is zero except for rounding
        scaling = Scaling(mean + off / N, deviation)
    low, high = _range(series)
    for column, (least, greatest) in enumerate(zip(low, high), start=1):
        if least == greatest:
            raise InputError(
                f"column {column} of the series is {least:g} in all {N} rows and cannot be standardized: leave out the"
                " column or --standardize"
            )
        if not (np.isfinite(mean[column - 1]) and 0 < deviation[column - 1] < np.inf):
            raise InputError(
                f"column {column} of the series, {least:g} to {greatest:g}, has no standard deviation in float64:"
                " expected numbers of moderate size; rescale the column"
            )
    return scaling


def _blocks(series):
    rows = max(1, BLOCK // series.shape[1])
    return (np.asarray(series[first : first + rows], np.float64) for first in range(0, len(series), rows))


def _range(series):
    ends = [(block.min(axis=0), block.max(axis=0)) for block in _blocks(series)]
    low, high = zip(*ends)
    return np.min(low, axis=0), np.max(high, axis=0)


MIN_ROWS = 3  # that are trained on
TEXT_DEVIATION = 0.01  # of the initial weights of a language model, as in min-char-rnn


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
    weights: np.ndarray | None = None  # (T, 1), of the losses; None: 1 each
    alphabet: str | None = None  # of a text: its characters, in the order of their classes

    def trained(self) -> "Experiment":
        """The experiment without the steps that are held out."""
        steps = len(self.x) - self.held_out
        weights = None if self.weights is None else self.weights[:steps]
        return self._replace(x=self.x[:steps], target=self.target[:steps], weights=weights, held_out=0)

    def rows(self, first: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows first:stop of the T + 1 rows of the series, (N, D), as read, in float64.

        If they are unknown, the rows of the first sequence in units of the series, (N, *E, D): the inputs, and the last
        target if targets are rows as inputs are.
        """
        T = len(self.x)
        if self.series is not None:
            return np.asarray(self.series[: T + 1][first:stop], np.float64)
        rows = self.x[..., 0, :]
        if rows.shape[1:] == (last := self.target[-1:, ..., 0, :]).shape[1:]:
            rows = np.concatenate([rows, last])
        rows = rows[first:stop].astype(np.float64)
        return rows if self.scaling is None else self.scaling.original(rows)


def prepare(
    configuration: Configuration, params: Parameters | None = None, generate: int = 0, alphabet: str | None = None
) -> Experiment:
    """Read or create the series or the text, and the initial weights.

    params: those of a resumed run, instead of initial weights. generate: the number of free-running steps, for the
    check of the memory. alphabet: that of a resumed run on a text.

    Raises InputError if the configuration, a file, or their combination cannot be used.
    """
    configuration.check()
    if configuration.text is not None:
        return _prepare_text(configuration, params, alphabet)
    data = configuration.data
    series, columns = Series(sine()) if data is None else read_series(data, configuration.columns)
    name = "sine wave" if data is None else name_of(data)
    trained = len(series) - configuration.held_out
    if trained < MIN_ROWS:
        raise InputError(
            f"--held-out is {configuration.held_out}, but the series has {len(series)} rows and {MIN_ROWS} are needed"
            f" for training; expected at most {len(series) - MIN_ROWS}"
        )
    check_size(size_of(configuration, series, params, generate), configuration)
    with np.errstate(over="ignore"):  # overflow is refused below
        if params is None:
            params = _initial(configuration, series.shape[1])
            check_size(size_of(configuration, series, params, generate), configuration)
        dtype = params.W_hh.dtype
        scaling = scaling_of(series[:trained]) if configuration.standardize else None
        rows = series if scaling is None else scaling.standardized(series)
        x, target = inputs_and_targets(rows, dtype)
    for what, path, arrays in (("data", configuration.data, (x, target)), ("weights", configuration.weights, params)):
        if not all(is_finite(array) for array in arrays if array is not None):
            raise InputError(f"{what} file {path} has values too large for {dtype}: use --dtype float64")
    if configuration.loss == "cross_entropy":
        _check_distributions(name, target)
    h_0 = np.zeros((1, params.W_hh.shape[-1]), dtype) if params.h_0 is None else params.h_0
    rest = configuration.held_out, configuration.rates(), series, columns
    return Experiment(name, x, target, h_0, params, scaling, *rest)


def _check_distributions(name, rows):
    try:
        check_distributions(name, rows)
    except InputError as error:
        raise InputError(
            f"{error}; --loss cross_entropy needs them, and for the characters of a text there is --text"
        ) from None


def _prepare_text(configuration, params, alphabet):
    """As `prepare`, of a text: each character is a class, and the target is the next one.

    As in min-char-rnn, the last characters, if they are fewer than a chunk of k1, are not trained on.
    """
    text, path = read_characters(configuration.text), configuration.text
    if alphabet is None and configuration.weights is not None:
        alphabet = alphabet_of_weights(configuration.weights)
    alphabet = alphabet_of(text, path) if alphabet is None else alphabet
    classes, V, k1 = classes_of(text, alphabet, path), len(alphabet), configuration.k1
    steps = (len(text) - 1) // k1 * k1
    if steps == 0:
        raise InputError(
            f"text {path} has {number_of(len(text), 'character')}: expected {k1 + 1} or more, a chunk of {k1} and the"
            " character after it; choose a smaller --k1"
        )
    H = configuration.hidden_size or HIDDEN_SIZE
    of_size = Size(steps, V, H, 1, 8 if configuration.dtype == "float64" else 4, copies_of_series=0)
    check_size(of_size, configuration)
    params = _initial(configuration, V, "characters of the text") if params is None else params
    h_0 = np.zeros((1, params.W_hh.shape[-1]), params.W_hh.dtype) if params.h_0 is None else params.h_0
    x, target = classes[:steps, None], classes[1 : steps + 1, None]
    return Experiment(name_of(path), x, target, h_0, params, alphabet=alphabet)


def _initial(configuration, features, what="columns of the series"):
    params = (
        _drawn(configuration, features) if configuration.weights is None else _loaded(configuration, features, what)
    )
    rates = configuration.rates()
    if rates and configuration.weights is not None and params.W_hh.ndim > 2:
        raise InputError(
            f"weights file {configuration.weights} has an ensemble of shape {params.W_hh.shape[:-2]}, but"
            f" {len(rates)} learning rates are given: expected weights of one network, or one learning rate"
        )
    if rates:
        params = Parameters(*(None if p is None else np.repeat(p[None], len(rates), axis=0) for p in params))
    if configuration.learn_initial_state and params.h_0 is None:
        *E, H = params.W_hh.shape[:-1]
        params = params._replace(h_0=np.zeros((*E, 1, H), params.W_hh.dtype))
    return params


def _drawn(configuration, features):
    return draw_parameters(
        features,
        configuration.hidden_size or HIDDEN_SIZE,
        features,
        bias=bool(configuration.bias),
        dtype=configuration.dtype or "float32",
        seed=configuration.seed,
        networks=configuration.networks,
        deviation=None if configuration.text is None else TEXT_DEVIATION,
    )


def _loaded(configuration, features, what):
    hidden_size, bias, dtype = configuration.hidden_size, configuration.bias, configuration.dtype
    params = load_parameters(configuration.weights)
    found = (params.W_xh.shape[-2], params.W_hy.shape[-1])
    if found != (features, features):
        raise InputError(
            f"weights file {configuration.weights} is for {number_of(found[0], 'input')} and"
            f" {number_of(found[1], 'output')}: expected {features} of each, the {what}; use"
            f" weights that were trained on such a {'series' if configuration.text is None else 'text'}"
        )
    if hidden_size not in (None, params.W_hh.shape[-1]):
        raise InputError(
            f"hidden size {hidden_size} does not match weights file {configuration.weights}, which has"
            f" {params.W_hh.shape[-1]} hidden units: leave --hidden-size out"
        )
    if bias not in (None, params.b_h is not None):
        have, option = ("no biases", "--bias") if bias else ("biases", "--no-bias")
        raise InputError(f"weights file {configuration.weights} has {have}: leave {option} out")
    if params.h_0 is not None:
        if configuration.learn_initial_state is False:
            raise InputError(
                f"weights file {configuration.weights} has a learned initial state: leave --no-learn-initial-state out"
            )
        if params.h_0.shape[-2] != 1:
            raise InputError(
                f"weights file {configuration.weights} has an initial state for {params.h_0.shape[-2]} sequences:"
                " expected 1"
            )
    if dtype is None:
        return params
    return Parameters(*(None if theta is None else theta.astype(dtype) for theta in params))
