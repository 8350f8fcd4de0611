"""The pictures. Matplotlib is imported where something is drawn, so that everything else runs without it."""

import importlib
from pathlib import Path

import numpy as np

from numpy_rnn.common.errors import InputError
from numpy_rnn.common.report import band
from numpy_rnn.common.storage import written_whole

# Okabe and Ito's colours, which the colour-blind can tell apart; and beside the colour, marker and line differ too.
ACTUAL = "#000000"
STYLES = (("#E69F00", "s", "-"), ("#0072B2", "x", ":"))  # of the first backend and of the second
ENDINGS = (".png", ".pdf", ".svg", ".jpg")
WITHOUT_WINDOW = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
MOST_FEATURES = 4
MOST_POINTS = 100  # a longer series is drawn as lines


def check_can_draw(path, show: bool) -> None:
    """Raise InputError, before a run and not after it, when the picture could not be drawn."""
    try:
        importlib.import_module("matplotlib")
    except (ImportError, ValueError) as error:  # ValueError: MPLBACKEND names no backend
        raise InputError(f"matplotlib cannot be imported ({error}): install it, or use --no-plot") from None
    if path is not None and Path(path).suffix.lower() not in ENDINGS:
        raise InputError(f"--plot {path}: unknown ending {Path(path).suffix!r}; expected {' or '.join(ENDINGS)}")
    if show:
        import matplotlib.pyplot as plt

        if plt.get_backend().lower() in WITHOUT_WINDOW:
            raise InputError("--show: there is no display to open a window on; use --plot FILE instead")


def draw(experiment, results: dict, path=None, show=False, drift=None) -> None:
    """Draw the picture of `figure`, write it to `path`, whole or not at all, and show it in a window."""
    picture = figure(experiment, results, window=show, drift=drift)
    if path is not None:
        with written_whole(path) as temporary:
            picture.savefig(temporary, dpi=120, format=Path(path).suffix.lower()[1:])
    if show:
        import matplotlib.pyplot as plt

        plt.show()
        plt.close(picture)


def figure(experiment, results: dict, window=False, drift=None):
    """Actual against predicted points, the free-running continuation, and the loss curve, as a Matplotlib Figure.

    results: a Result for every name of a backend, two at most. An ensemble is drawn as its median, with a band from its
    10th to its 90th percentile. With `window`, the figure is one that pyplot can show. With `drift`, (drift, spread) by
    epoch, a panel shows how far the two part on their own.
    """
    features = min(experiment.x.shape[-1], MOST_FEATURES)
    height = 2.2 + 2.6 * max(features, 1 if drift is None else 1.6)
    picture = _empty(window, figsize=(12, height), layout="constrained")
    picture.suptitle(_title(experiment, results))
    grid = picture.add_gridspec(features, 2, width_ratios=(2, 1))
    series = [picture.add_subplot(grid[feature, 0]) for feature in range(features)]
    for feature, axes in enumerate(series):
        _draw_series(axes, experiment, results, feature)
        axes.set_ylabel(f"feature {feature + 1}" if features > 1 else "value (units of the series)")
    series[-1].set_xlabel("time (steps)")
    series[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3 if len(results) == 1 else 2, frameon=False)
    if all(len(result.losses) for result in results.values()):
        right = grid[: 2 if drift is None else None, 1].subgridspec(1 if drift is None else 2, 1)
        _draw_losses(picture.add_subplot(right[0]), results)
        if drift is not None:
            _draw_drift(picture.add_subplot(right[1]), *drift)
    return picture


def _empty(window, **options):
    if window:
        import matplotlib.pyplot as plt

        return plt.figure(**options)
    import matplotlib.figure

    return matplotlib.figure.Figure(**options)


def _title(experiment, results):
    D, converged = experiment.x.shape[-1], next(iter(results.values())).converged()
    title = f"{' and '.join(results)}: {experiment.name}, one step ahead"
    if D > MOST_FEATURES:
        title += f", the first {MOST_FEATURES} of {D} features"
    if converged.size > 1:
        title += f"\nmedians of {converged.sum()} networks, bands from their 10th to their 90th percentile"
    return title


def _draw_series(axes, experiment, results, feature):
    T = len(experiment.x)
    points = T <= MOST_POINTS
    actual = experiment.x[:, 0, feature]
    axes.plot(
        np.arange(1, T + 1), actual, "o" if points else "-", color=ACTUAL, label="actual", markersize=5, linewidth=1
    )
    for (color, marker, line), (name, result) in zip(STYLES, results.items()):
        networks, by = result.converged(), "" if len(results) == 1 else f", {name}"
        bands = band(result.predictions[..., 0, feature], networks)
        style = {"linestyle": "", "marker": marker} if points else {"linestyle": "--" if line == "-" else line}
        _draw_band(axes, np.arange(2, T + 2), bands, color, label="predicted" + by, fillstyle="none", **style)
        if len(result.generated):
            after = np.concatenate([result.predictions[-1:], result.generated])[..., 0, feature]
            times = np.arange(T + 1, T + 1 + len(after))
            _draw_band(axes, times, band(after, networks), color, label="free-running" + by, linestyle=line)


def _draw_losses(axes, results):
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    limits = []
    for (color, _, line), (name, result) in zip(STYLES, results.items()):
        epochs = np.arange(1, len(result.losses) + 1)
        marker = "." if len(epochs) == 1 else ""  # one point has no line
        low, _, high = bands = band(result.losses, result.converged())
        _draw_band(axes, epochs, bands, color, label=name, linestyle=line, marker=marker)
        limits += [low.min(), high.max()]
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss of an epoch\n(half squared error)")
    axes.set_xlim(0, len(epochs) + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
    if max(limits) > 4 * min(limits) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    if len(results) > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)


def _draw_drift(axes, drift, spread):
    epochs = np.arange(1, len(drift) + 1)
    axes.semilogy(epochs, spread, color="#999999", linestyle="--", label="runs that start an ulp apart")
    axes.semilogy(epochs, np.where(drift > 0, drift, np.nan), color=ACTUAL, label="these two")
    axes.set_xlabel("epoch")
    axes.set_ylabel("largest difference\nof the losses so far")
    axes.set_xlim(0, len(epochs) + 1)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)


def _draw_band(axes, times, bands, color, **style):
    low, middle, high = bands
    axes.plot(times, middle, color=color, **style)
    if (high > low).any():
        axes.fill_between(times, low, high, color=color, alpha=0.2, linewidth=0)
