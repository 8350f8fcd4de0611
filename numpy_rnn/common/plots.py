"""The pictures. Matplotlib is imported where something is drawn, so that everything else runs without it."""

from pathlib import Path

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.storage import written_whole

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLACK, ORANGE, BLUE, GREEN = "#000000", "#E69F00", "#0072B2", "#009E73"
MOST_FEATURES = 4
MOST_POINTS = 100  # a longer series is drawn as lines
BAND = (10, 50, 90)  # percentiles of an ensemble


def check_can_draw(path, show: bool) -> None:
    """Raise InputError, before a run and not after it, when the picture could not be drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise InputError(
            "matplotlib is not installed, so there can be no picture: install it, or use --no-plot"
        ) from None
    kinds = plt.Figure().canvas.get_supported_filetypes()
    if path is not None and Path(path).suffix.lower().lstrip(".") not in kinds:
        raise InputError(f"--plot {path}: unknown ending; expected one of .{', .'.join(sorted(kinds))}")
    if show and plt.get_backend().lower() == "agg":
        raise InputError("--show: there is no display to open a window on; use --plot FILE instead")


def draw(experiment, results: dict, path=None, show=False) -> None:
    """Actual against predicted points, the free-running continuation, and the loss curve.

    results: a Result for every name of a backend. Written to `path`, shown in a window, or both. An ensemble is drawn
    as its median, with a band from its 10th to its 90th percentile.
    """
    import matplotlib.pyplot as plt

    features = min(experiment.x.shape[-1], MOST_FEATURES)
    figure, panels = plt.subplots(
        features, 2, figsize=(12, 0.8 + 3.6 * features), width_ratios=(2, 1), squeeze=False, layout="constrained"
    )
    for feature, (left, _) in enumerate(panels):
        _draw_series(left, experiment, results, feature)
        if features > 1:
            left.set_ylabel(f"feature {feature + 1}")
    panels[0][0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)
    _draw_losses(panels[0][1], results)
    for unused in panels[1:, 1]:
        unused.axis("off")
    figure.suptitle(f"{' and '.join(results)}: {experiment.name}, one step ahead")
    if path is not None:
        with written_whole(path) as temporary:
            figure.savefig(temporary, dpi=120)
    if show:
        plt.show()
    plt.close(figure)


def _draw_series(axes, experiment, results, feature):
    T = len(experiment.x)
    points = T <= MOST_POINTS
    actual = experiment.x[:, 0, feature]
    axes.plot(
        np.arange(1, T + 1), actual, "o" if points else "-", color=BLACK, label="actual", markersize=5, linewidth=1
    )
    styles = zip(((ORANGE, "s"), (BLUE, "x")), results.items())
    for (color, marker), (name, result) in styles:
        label = ("predicted" if len(results) == 1 else f"predicted by {name}") + _of_ensemble(result.predictions)
        low, middle, high = _band(result.predictions[..., 0, feature])
        times = np.arange(2, T + 2)
        line = marker if points else ("--" if color == ORANGE else ":")
        axes.plot(times, middle, line, color=color, label=label, markersize=6, fillstyle="none", linewidth=1)
        _fill(axes, times, low, high, color)
        if len(result.generated):
            low, middle, high = _band(result.generated[..., 0, feature])
            times = np.arange(T + 1, T + 1 + len(middle))
            label = "free-running" if len(results) == 1 else f"free-running, {name}"
            axes.plot(times, middle, "-" if color == ORANGE else ":", color=color, label=label)
            _fill(axes, times, low, high, color)
    axes.set_xlabel("time (steps)")
    axes.set_ylabel("value")


def _draw_losses(axes, results):
    styles = zip(((ORANGE, "-"), (BLUE, ":")), results.items())
    for (color, line), (name, result) in styles:
        if not len(result.losses):
            continue
        low, middle, high = _band(result.losses)
        epochs = np.arange(1, len(middle) + 1)
        axes.plot(epochs, middle, line, color=color, label=name + _of_ensemble(result.predictions))
        _fill(axes, epochs, low, high, color)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss of the epoch")
    if any((result.losses > 0).any() for result in results.values()):
        axes.set_yscale("log")
        axes.legend(loc="best", frameon=False)


def _band(values):
    """10th percentile, median and 90th percentile over the networks: (T, *E) → three of (T,)."""
    return np.percentile(values.reshape(len(values), -1), BAND, axis=1)


def _of_ensemble(predictions):
    networks = predictions[0, ..., 0, 0].size
    return f" (median of {networks}, 10–90 % band)" if networks > 1 else ""


def _fill(axes, times, low, high, color):
    if (high > low).any():
        axes.fill_between(times, low, high, color=color, alpha=0.2, linewidth=0)
