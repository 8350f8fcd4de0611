"""What a run prints."""

import numpy as np

MOST_ROWS = 40
MOST_FEATURES = 3


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


def loss_heading(networks) -> str:
    """The head of the column that `loss_row` fills."""
    if not networks:
        return "epoch          loss"
    return f"epoch   median loss           10 %           90 %   of {networks} networks"


def loss_row(epoch, loss) -> str:
    """The loss of an epoch; of an ensemble its median and the band from the 10th to the 90th percentile."""
    if loss.ndim == 0:
        return f"{epoch:5d}  {loss:12.6f}"
    low, median, high = np.percentile(loss, (10, 50, 90))
    return f"{epoch:5d}  {median:12.6f}   {low:12.6f}   {high:12.6f}"


def series_table(experiment, result) -> str:
    """Actual against predicted values by time, and after them the free-running continuation.

    The prediction of a time stands beside the actual value of that time. Of an ensemble, the median prediction. Of a
    long series, the last rows; of many features, the first.
    """
    T, _, D = experiment.x.shape
    features = range(min(D, MOST_FEATURES))
    middle = tuple(range(1, result.predictions.ndim - 2))
    predictions = np.median(result.predictions, axis=middle)[:, 0]
    generated = np.median(result.generated, axis=middle)[:, 0]
    name = "predicted" if not middle else "median predicted"
    of = [f" {feature + 1}" if D > 1 else "" for feature in features]
    lines = ["  time" + "".join(f"  {'actual' + f:>12}  {name + f:>16}" for f in of)]
    first = max(0, T - MOST_ROWS)
    if first:
        lines.append(f"   ...  ({first} earlier times)")
    for t in range(first, T):
        pairs = ((experiment.target[t, 0, f], predictions[t, f]) for f in features)
        lines.append(f"{t + 2:6d}" + "".join(f"  {actual:12.6f}  {predicted:16.6f}" for actual, predicted in pairs))
    for t in range(1, min(len(generated), MOST_ROWS)):
        values = (f"  {'free-running':>12}  {generated[t, f]:16.6f}" for f in features)
        lines.append(f"{T + 1 + t:6d}" + "".join(values))
    return "\n".join(lines)


def comparison_table(results, log_every) -> str:
    """The loss columns of two backends, their difference, and the largest difference of the run."""
    (one, other), (a, b) = results.keys(), (result.losses for result in results.values())
    difference = np.abs(a - b)
    lines = [f"epoch  {one:>14}  {other:>14}  {'difference':>11}"]
    for epoch in range(1, len(a) + 1):
        if is_logged(epoch, log_every, len(a)):
            row = (np.median(a[epoch - 1]), np.median(b[epoch - 1]), difference[epoch - 1].max())
            lines.append(f"{epoch:5d}  {row[0]:14.6f}  {row[1]:14.6f}  {row[2]:11.1e}")
    if len(a):
        epoch = int(np.argmax(difference.reshape(len(a), -1).max(axis=1)))
        lines.append(
            f"largest difference {difference.max():.1e}, in epoch {epoch + 1}, where the loss is {np.max(a[epoch]):.6g}"
        )
    return "\n".join(lines)
