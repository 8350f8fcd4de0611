"""What a run prints."""

from math import prod

import numpy as np

MOST_ROWS = 40  # of the series; the free-running steps are as many as were asked for
MOST_FEATURES = 3
BAND = (10, 50, 90)  # percentiles of an ensemble


def heading(names, experiment, configuration) -> str:
    """One line that says what is run."""
    *E, H, O = experiment.params.W_hy.shape
    T, B, D = experiment.x.shape
    parts = [
        f"{' and '.join(names)}: {experiment.name}",
        f"T={T} B={B} D={D} H={H} O={O}",
        configuration.nonlinearity,
        "biases" if experiment.params.b_h is not None else "no biases",
        configuration.reduction,
        f"k1={configuration.k1} k2={configuration.k2}",
        f"learning rate {configuration.learning_rate:g}",
        str(experiment.params.W_hh.dtype),
    ]
    if configuration.weights is not None:
        parts.append(f"weights from {configuration.weights}")
    elif E:
        parts.append(f"seeds {configuration.seed} to {configuration.seed + E[0] - 1}")
    else:
        parts.append(f"seed {configuration.seed}")
    return ", ".join(parts)


def is_logged(epoch, log_every, epochs) -> bool:
    """The first epoch, every `log_every`-th, and the last are printed."""
    return epoch in (1, epochs) or epoch % log_every == 0


def loss_heading(E) -> str:
    """The head of the columns that `loss_row` fills; E is the shape of the ensemble."""
    if not E:
        return "epoch          loss"
    return f"epoch   median loss           10 %           90 %   of {prod(E)} networks"


def loss_row(epoch, loss) -> str:
    """The loss of an epoch; of an ensemble its median and the band from the 10th to the 90th percentile.

    Networks whose loss is not finite are left out.
    """
    if loss.ndim == 0:
        return f"{epoch:5d}  {_number(loss, 12)}"
    low, median, high = np.percentile(loss[np.isfinite(loss)], BAND)
    return f"{epoch:5d}  " + "   ".join(_number(value, 12, median) for value in (median, low, high))


def _number(value, width, scale=None):
    """With six decimals, unless the scale of its column, or else its own, makes those too few or too many."""
    scale = abs(value) if scale is None else scale
    return f"{value:{width}.6f}" if scale == 0 or 1e-3 <= scale < 1e6 else f"{value:{width}.5e}"


def band(values, networks):
    """10th percentile, median and 90th percentile over the chosen networks: (N, *E, ...) → three of (N, ...).

    networks: booleans of shape E.
    """
    with np.errstate(invalid="ignore"):
        return np.percentile(values[:, networks], BAND, axis=1)


def divergence(result) -> str | None:
    """How many networks of an ensemble diverged, if any."""
    converged = result.converged()
    if converged.all():
        return None
    return f"{np.sum(~converged)} of {converged.size} networks diverged: they are left out of the medians and bands"


def series_table(experiment, result) -> str:
    """Actual against predicted values by time, and after them the free-running continuation.

    The prediction of a time stands beside the actual value of that time. Of an ensemble, the median prediction. Of a
    long series, the last rows; of many features, the first.
    """
    T, _, D = experiment.x.shape
    features = range(min(D, MOST_FEATURES))
    predictions, generated = (
        band(values, result.converged())[1][:, 0] for values in (result.predictions, result.generated)
    )
    name = "predicted" if result.predictions.ndim == 3 else "median predicted"
    of = [f" {feature + 1}" if D > 1 else "" for feature in features]
    scale = np.abs(experiment.target).max()
    lines = ["  time" + "".join(f"  {'actual' + f:>12}  {name + f:>16}" for f in of)]
    first = max(0, T - MOST_ROWS)
    if first:
        lines.append(f"   ...  ({first} earlier times)")
    for t in range(first, T):
        pairs = ((experiment.target[t, 0, f], predictions[t, f]) for f in features)
        values = (f"  {_number(actual, 12, scale)}  {_number(predicted, 16, scale)}" for actual, predicted in pairs)
        lines.append(f"{t + 2:6d}" + "".join(values))
    for t in range(len(generated)):
        values = (f"  {'free-running':>12}  {_number(generated[t, f], 16, scale)}" for f in features)
        lines.append(f"{T + 2 + t:6d}" + "".join(values))
    return "\n".join(lines)


def comparison_table(results, log_every) -> str:
    """The loss columns of two backends, their difference, and the largest difference of the run.

    Of an ensemble, the medians, and the largest difference of a network.
    """
    (one, other), (a, b) = results.keys(), (result.losses for result in results.values())
    a, b = (losses.reshape(len(losses), prod(losses.shape[1:])) for losses in (a, b))
    difference = np.abs(np.subtract(a, b, where=np.isfinite(a) & np.isfinite(b), out=np.zeros_like(a)))
    difference[np.isfinite(a) != np.isfinite(b)] = np.inf
    of = f"   medians of {a.shape[1]} networks, and the largest difference" if a.shape[1] > 1 else ""
    lines = [f"epoch  {one:>14}  {other:>14}  {'difference':>11}{of}"]
    for epoch in range(1, len(a) + 1):
        if is_logged(epoch, log_every, len(a)):
            medians = (_finite_median(losses[epoch - 1]) for losses in (a, b))
            columns = "  ".join(_number(median, 14) for median in medians)
            lines.append(f"{epoch:5d}  {columns}  {difference[epoch - 1].max():11.1e}")
    if len(a):
        epoch, network = np.unravel_index(difference.argmax(), difference.shape)
        of = f" of network {network + 1}" if a.shape[1] > 1 else ""
        lines.append(
            f"largest difference {difference.max():.1e}, in epoch {epoch + 1}, where the loss{of} is"
            f" {a[epoch, network]:.6g}"
        )
    return "\n".join(lines)


def _finite_median(losses):
    finite = losses[np.isfinite(losses)]
    return np.median(finite) if finite.size else np.nan
