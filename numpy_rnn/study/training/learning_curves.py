"""Learning curves of many networks at once, by one measure for all variants: the loss of a pass."""

from typing import Any, NamedTuple

import numpy as np

import numpy_rnn
from numpy_rnn.app.configuration import Configuration
from numpy_rnn.common.initial import draw_parameters
from numpy_rnn.common.records import Parameters
from numpy_rnn.elman import forward
from numpy_rnn.loss import half_squared_error
from numpy_rnn.study.setting import DIVERGED_FACTOR, Setting, in_float64, rounded

MAX_POINTS = 60  # at which a curve is known, between its first and its last
BAND = (0.1, 0.5, 0.9)


class LearningCurve(NamedTuple):
    """The training of a set of networks. The loss is Σ_t ℓ_t of one pass over the series with the current weights.

    The loss that `train` reports for an epoch uses the weights of each update, whose number depends on k1, and a mutant
    may report a wrong one. This loss is the same function of the weights for all.
    """

    epochs: list[int]  # 0: as drawn
    losses: np.ndarray  # (epochs, *E), infinite where a network has diverged
    parameters: list[Parameters]  # at these epochs, (*E, ..)


def curve_epochs(epochs: int) -> list[int]:
    """The first, the last, and some in between: close together at first, where most happens."""
    if epochs == 0:
        return [0]
    between = np.geomspace(1, epochs, MAX_POINTS // 2), np.linspace(1, epochs, MAX_POINTS // 2)
    return sorted({0, epochs, *(int(epoch) for part in between for epoch in np.rint(part))})


def draw_networks(setting: Setting, networks: int, bias: bool | None = None, dtype: str | None = None) -> Parameters:
    """Draw networks with successive seeds from that of the configuration, with zero biases where `bias` asks for them.

    The weights of the run may come from a file; these are always drawn.
    """
    params, configuration = setting.experiment.params, setting.configuration
    D, O = params.W_xh.shape[-2], params.W_hy.shape[-1]
    members = draw_parameters(
        D,
        params.W_hh.shape[-1],
        O,
        bias=params.b_h is not None if bias is None else bias,
        dtype=dtype or str(params.W_hh.dtype),
        seed=configuration.seed,
        networks=networks,
    )
    if params.h_0 is None:
        return members
    return members._replace(h_0=np.zeros((networks, *params.h_0.shape), members.W_hh.dtype))


def updates_of(
    rnn: Any, params: Parameters, setting: Setting, configuration: Configuration, yield_every: int | str = 1
):
    """The updates of a run of `rnn`, a package with the functions of numpy_rnn, over the series of the setting."""
    dtype = params.W_hh.dtype
    x, target, h_0 = (array.astype(dtype) for array in (setting.x, setting.target, setting.h_0))
    given = None if params.h_0 is not None else h_0
    return rnn.train(params, x, target, given, **configuration.train_options(), yield_every=yield_every)


def learning_curve(rnn: Any, params: Parameters, setting: Setting, configuration: Configuration) -> LearningCurve:
    """Train, and keep the weights after some of the epochs, however many updates an epoch has."""
    wanted = curve_epochs(configuration.epochs)
    yield_every = "epoch" if rnn is numpy_rnn else 1  # the last window of a wrong epoch may be any
    kept, epoch, latest = {}, 0, params
    with np.errstate(all="ignore"):
        for update in updates_of(rnn, params, setting, configuration, yield_every):
            if update.epoch != epoch and epoch in wanted:
                kept[epoch] = latest
            epoch, latest = update.epoch, update.parameters
        kept[epoch] = latest
    epochs = sorted(kept)
    parameters = [kept[epoch] for epoch in epochs]
    losses = losses_of_a_pass(parameters, setting, configuration)
    return LearningCurve(epochs, np.where(losses > DIVERGED_FACTOR * losses[0], np.inf, losses), parameters)


def losses_of_a_pass(parameters: list[Parameters], setting: Setting, configuration: Configuration) -> np.ndarray:
    """Σ_t ℓ_t (L1) of one pass, in float64: a list of M with E networks each → (M, *E); infinite for NaN."""
    stacked: Parameters = Parameters(*(None if theta[0] is None else np.stack(theta) for theta in zip(*parameters)))
    stacked = in_float64(stacked)
    options: dict[str, Any] = {"nonlinearity": configuration.nonlinearity}
    h_0 = setting.h_0 if stacked.h_0 is None else stacked.h_0
    with np.errstate(all="ignore"):
        y = forward(stacked, setting.x, h_0, **options).y
        losses = half_squared_error(y, setting.target)
    return np.where(np.isfinite(losses), losses, np.inf)


def summary(of: LearningCurve) -> dict:
    """A learning curve as plain values: the median and the band from the 10th to the 90th percentile over all networks.

    A network that diverged has an infinite loss, and is among the worst in every quantile; None is infinite.
    """
    low, median, high = quantiles(of.losses)
    first, last = of.losses[0], of.losses[-1]
    return {
        "epochs": of.epochs,
        "low": rounded(low),
        "median": rounded(median),
        "high": rounded(high),
        "final": rounded(last),
        "final_median": rounded(median)[-1],
        "diverged": int(np.isinf(last).sum()),
        "worse_than_untrained": int((np.isfinite(last) & (last > first)).sum()),
        "networks": len(last),
    }


def quantiles(losses: np.ndarray) -> np.ndarray:
    """10th percentile, median and 90th percentile over the last axis, (3, ...); infinite values are the largest.

    Every quantile is the value of one network, as nothing lies between a number and infinity.
    """
    return np.quantile(losses, BAND, axis=-1, method="inverted_cdf")


LENGTHS = (1, 2, 3, 5, 10)  # and all steps of the series


def lengths(steps: int) -> list[int]:
    """The k of the runs: some short ones, and the whole series."""
    return sorted({k for k in LENGTHS if k < steps} | {steps})


def by_k(setting: Setting) -> dict:
    """For every k, TBPTT(k, k) and TBPTT(1, k) of the same networks, with the run's other options."""
    params = draw_networks(setting, setting.seeds)
    ks = lengths(len(setting.x))

    def train(k1, k2):
        configuration = setting.configuration.changed(k1=k1, k2=k2)
        return {"k1": k1, "k2": k2, "k": k2} | summary(learning_curve(numpy_rnn, params, setting, configuration))

    chunks = [train(k, k) for k in ks]
    sliding = [chunks[0] if k == 1 else train(1, k) for k in ks]
    configuration = setting.configuration
    return {
        "ks": ks,
        "steps": len(setting.x),
        "seeds": setting.seeds,
        "first_seed": configuration.seed,
        "epochs": configuration.epochs,
        "learning_rate": configuration.learning_rate,
        "reduction": configuration.reduction,
        "mean": configuration.reduction == "mean",
        "from_file": configuration.weights is not None,
        "chunks": chunks,
        "sliding": sliding,
        "best_chunks": _best(chunks),
        "best_sliding": _best(sliding),
        "any_diverged": any(run["diverged"] for run in chunks + sliding),
        "diverged": _diverged(chunks, sliding),
    }


def _best(runs):
    """The k with the lowest median final loss, of those whose median network did not diverge, or None."""
    finite = [run for run in runs if run["final_median"] is not None]
    return min(finite, key=lambda run: run["final_median"])["k"] if finite else None


def _diverged(chunks, sliding):
    runs = [(run, "chunks") for run in chunks] + [(run, "sliding window") for run in sliding if run["k"] > 1]
    return [{"kind": kind, "k": run["k"], "diverged": run["diverged"]} for run, kind in runs if run["diverged"]]
