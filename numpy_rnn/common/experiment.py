"""One run from its configuration: the arrays it starts from, and what came out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from numpy_rnn.common.configuration import Configuration
from numpy_rnn.common.data import inputs_and_targets, load_series, sine
from numpy_rnn.common.errors import InputError
from numpy_rnn.common.initial import draw_parameters
from numpy_rnn.common.records import Parameters
from numpy_rnn.common.storage import load_parameters

LARGEST = 8 * 2**30  # bytes: the weights, and the activations of one pass over the series


class Experiment(NamedTuple):
    """What every backend starts from, as NumPy arrays."""

    name: str
    x: np.ndarray  # (T, 1, D)
    target: np.ndarray  # (T, 1, D)
    h_0: np.ndarray  # (1, H), zero
    params: Parameters


class Result(NamedTuple):
    """What one backend made of it, as NumPy arrays; E is the shape of the ensemble, () for a single network."""

    losses: np.ndarray  # (epochs, *E)
    params: Parameters
    predictions: np.ndarray  # (T, *E, 1, D)  one step ahead, with the final weights, from a zero state
    generated: np.ndarray  # (G, *E, 1, D)  what follows the last prediction, each fed back as the next input

    def converged(self) -> np.ndarray:
        """Shape E: True for the networks whose losses and predictions are all finite."""
        return np.isfinite(self.losses).all(axis=0) & np.isfinite(self.predictions).all(axis=(0, -2, -1))


def prepare(configuration: Configuration) -> Experiment:
    """Read or make the series and the initial weights.

    Raises InputError on a configuration, a file or a combination of the two that cannot be run.
    """
    configuration.check()
    series = sine() if configuration.data is None else load_series(configuration.data)
    name = "sine wave" if configuration.data is None else Path(configuration.data).name
    _check_size(configuration, *series.shape)
    with np.errstate(over="ignore"):  # what overflows is refused here
        params = _initial(configuration, series.shape[1])
        dtype, hidden_size = params.W_hh.dtype, params.W_hh.shape[-1]
        x, target = inputs_and_targets(series, dtype)
    for what, path, arrays in (("data", configuration.data, (x, target)), ("weights", configuration.weights, params)):
        if not all(np.isfinite(array).all() for array in arrays if array is not None):
            raise InputError(f"{what} file {path} has values too large for {dtype}: use --dtype float64")
    return Experiment(name, x, target, np.zeros((1, hidden_size), dtype), params)


def _check_size(configuration, rows, features):
    """Refuse, before any memory is taken, what would not fit."""
    H, networks = configuration.hidden_size or 6, configuration.networks or 1
    size = 4 * networks * (H * (H + 2 * features) + rows * (3 * H + 2 * features))
    if size > LARGEST:
        raise InputError(
            f"hidden size {H}, {networks} networks and {rows} rows take {size / 2**30:.0f} GiB: expected"
            f" {LARGEST / 2**30:.0f} at most; choose fewer"
        )


def _initial(configuration, features):
    hidden_size, bias, dtype = configuration.hidden_size, configuration.bias, configuration.dtype
    if configuration.weights is None:
        return draw_parameters(
            features,
            hidden_size or 6,
            features,
            bias=bool(bias),
            dtype=dtype or "float32",
            seed=configuration.seed,
            networks=configuration.networks,
        )
    params = load_parameters(configuration.weights)
    found = (params.W_xh.shape[-2], params.W_hy.shape[-1])
    if found != (features, features):
        raise InputError(
            f"weights file {configuration.weights} is for {found[0]} inputs and {found[1]} outputs: expected"
            f" {features} of each, the features of the series; choose weights that --save wrote for such a series"
        )
    if hidden_size not in (None, params.W_hh.shape[-1]):
        raise InputError(
            f"hidden size {hidden_size} does not fit weights file {configuration.weights}, which has"
            f" {params.W_hh.shape[-1]} hidden units: leave the option out"
        )
    if bias not in (None, params.b_h is not None):
        have, option = ("no biases", "--bias") if bias else ("biases", "--no-bias")
        raise InputError(f"weights file {configuration.weights} has {have}: leave {option} out")
    if dtype is None:
        return params
    return Parameters(*(None if theta is None else theta.astype(dtype) for theta in params))


def run(rnn, experiment: Experiment, configuration: Configuration, generate=0, on_epoch=None, on_update=None) -> Result:
    """Train with the backend `rnn`, then predict one step ahead and generate.

    on_epoch(epoch, loss) is called after every epoch with its loss, shape E; on_update(update) after every update, with
    the update's arrays as NumPy arrays, activations and deltas among them.

    Raises InputError when the run diverges: when no network is left whose loss and predictions are finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what diverges is reported in our own words
        losses, params = _train(rnn, experiment, configuration, on_epoch, on_update)
        E = experiment.params.W_hh.shape[:-2]
        y, generated = predict(rnn, params, experiment.x, experiment.h_0, generate, configuration.nonlinearity)
    result = Result(np.array(losses, np.float64).reshape(-1, *E), rnn.to_numpy(params), y, generated)
    if not result.converged().any():
        raise _diverged(configuration, f"the predictions after epoch {configuration.epochs} are not finite")
    return result


def _train(rnn, experiment, configuration, on_epoch, on_update):
    x, target, h_0, params = map(rnn.from_numpy, experiment[1:])
    losses: list[np.ndarray] = []
    updates = rnn.train(params, x, target, h_0, **configuration.train_options(), record=on_update is not None)
    for update in updates:
        if update.number == 1:
            losses.append(np.zeros(()))
        loss = np.asarray(rnn.to_numpy(update.loss), np.float64)
        weight = update.window.counted / len(x) if configuration.reduction == "mean" else 1
        losses[-1] = losses[-1] + loss * weight
        params = update.parameters
        if on_update is not None:
            on_update(rnn.to_numpy(update))
        if update.window.stop == len(x):
            if not np.isfinite(losses[-1]).any():
                raise _diverged(configuration, f"the loss of epoch {update.epoch} is {losses[-1].flat[0]}")
            if on_epoch is not None:
                on_epoch(update.epoch, losses[-1])
    return losses, params


def _diverged(configuration, what):
    return InputError(
        f"the run diverged: {what}; expected finite numbers; choose a --learning-rate smaller than"
        f" {configuration.learning_rate:g}, or scale the series to values of order one"
    )


def predict(rnn, params, x, h_0, generate, nonlinearity):
    """One-step-ahead predictions over x, and `generate` values that follow the last of them.

    x, h_0: NumPy arrays; params: of the backend. For the values that follow, every prediction is fed back as the next
    input.
    """
    predictions, state = _forward(rnn, params, x, h_0, nonlinearity)
    generated = [predictions[-1:]]
    for _ in range(generate):
        y, state = _forward(rnn, params, generated[-1], state, nonlinearity)
        generated.append(y)
    return predictions, np.concatenate(generated)[1:]


def _forward(rnn, params, x, h_0, nonlinearity):
    activations = rnn.forward(params, *map(rnn.from_numpy, (x, h_0)), nonlinearity=nonlinearity)
    return rnn.to_numpy(activations.y), rnn.to_numpy(activations.h[-1])
