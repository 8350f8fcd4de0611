"""The plot of a run and where it goes. Matplotlib is imported only by functions that draw: all else runs without it."""

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy_rnn.app.experiment import Experiment
from numpy_rnn.app.format import MAX_TITLE, MAX_WIDTH, column_names, drawable
from numpy_rnn.app.plot_panels import add_legend, draw_drift, draw_losses, draw_rates, draw_series, view_of
from numpy_rnn.app.report import join_names
from numpy_rnn.app.results import Result
from numpy_rnn.app.storage import written_whole
from numpy_rnn.common.errors import InputError, shortened

ENDINGS = (".png", ".pdf", ".svg", ".jpg")
WITHOUT_WINDOW = ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
MAX_FEATURES = 4


def has_matplotlib() -> bool:
    """Whether Matplotlib is installed."""
    return find_spec("matplotlib") is not None


def check_matplotlib(what: str) -> None:
    """Raise InputError if Matplotlib cannot be imported; `what` is the advice at the end of the message."""
    try:
        importlib.import_module("matplotlib")
    except (ImportError, ValueError) as error:  # ValueError: MPLBACKEND names no backend
        raise InputError(f"matplotlib cannot be imported ({error}): {what}") from None


def check_can_draw(path: str | None, show: bool) -> None:
    """Raise InputError, before a run, if its plot could not be drawn."""
    check_matplotlib("install it, or use --no-plot")
    if path is not None and Path(path).suffix.lower() not in ENDINGS:
        raise InputError(f"--plot {path}: unknown ending {Path(path).suffix!r}; expected {' or '.join(ENDINGS)}")
    if show:
        import matplotlib.pyplot as plt

        if plt.get_backend().lower() in WITHOUT_WINDOW:
            raise InputError("--show: there is no display for a window; use --plot FILE instead")


def plot_target(arguments: Namespace, name: str, note: bool = True) -> tuple[str | None, bool]:
    """(file or None, whether to open a window), after a check that the plot can be drawn.

    Without matplotlib there is no plot unless one is asked for; `note`: print a note then.
    """
    if arguments.no_plot:
        if arguments.plot is not None or arguments.show:
            raise InputError("--no-plot is given with --plot or --show: expected one or the other; leave one out")
        return None, False
    path = arguments.plot
    if path is None and not arguments.show:
        path = f"{name}.png" if arguments.command == "train" else f"{arguments.command}.png"
        if not has_matplotlib():
            if note:
                note_no_plot(name)
            return None, False
    check_can_draw(path, arguments.show)
    return path, arguments.show


def note_no_plot(name: str) -> None:
    """Say that there is no plot, and why."""
    print(f"{name}: no plot: matplotlib is not installed", file=sys.stderr)


def draw(
    experiment: Experiment,
    results: dict[str, Result],
    path: str | None = None,
    show: bool = False,
    drift: Any = None,
    of_text: Callable[..., Any] | None = None,
) -> None:
    """Draw the plot of `figure`, write it to `path` completely or not at all, and show it in a window.

    of_text: called with the Result and an empty figure, it draws the plot of a run on a text instead.
    """
    if of_text is None:
        plot = figure(experiment, results, window=show, drift=drift)
    else:
        plot = of_text(*results.values(), _empty(show, figsize=(8, 4.5), layout="constrained"))
    if path is not None:
        with written_whole(path) as temporary:
            plot.savefig(temporary, dpi=120, format=Path(path).suffix.lower()[1:])
    if show:
        import matplotlib.pyplot as plt

        plt.show()
        plt.close(plot)


def figure(experiment: Experiment, results: dict[str, Result], window: bool = False, drift: Any = None) -> Any:
    """Actual against predicted points, the free-running continuation, and the loss curve, as a Matplotlib Figure.

    The series is drawn in its own units, also if it was trained standardized; only a part of a long series is drawn.
    The rows that are held out are marked, and the continuation begins there. A sweep has a loss curve per learning
    rate, and predictions by the best one.

    results: a Result per backend, by name. An ensemble is drawn as its median, with a band from its 10th to its 90th
    percentile. window: the figure can be shown by pyplot. drift: (drift, spread) per epoch; a panel shows how far
    unsynchronized runs drift apart.
    """
    results = {shortened(drawable(name), MAX_WIDTH): result for name, result in results.items()}
    features = min(experiment.x.shape[-1], MAX_FEATURES)
    height = 2.2 + 2.6 * max(features, 1 if drift is None else 1.6)
    plot = _empty(window, figsize=(12, height), layout="constrained")
    rate = next(iter(results.values())).best_rate() if experiment.rates else None
    chosen = results if rate is None else {name: result.of_rate(rate) for name, result in results.items()}
    view = view_of(experiment)
    plot.suptitle(_title(experiment, chosen, rate, view), parse_math=False)
    grid = plot.add_gridspec(features, 2, width_ratios=(2, 1 if rate is None else 1.3))  # room for labels
    series = [plot.add_subplot(grid[feature, 0]) for feature in range(features)]
    for feature, axes in enumerate(series):
        draw_series(axes, experiment, chosen, feature, view)
        named = features > 1 or experiment.columns is not None
        label = shortened(column_names(experiment)[feature], MAX_WIDTH) if named else "value (units of the series)"
        axes.set_ylabel(drawable(label), parse_math=False)
    series[-1].set_xlabel("time (steps)")
    add_legend(series[0], ncols=3 if len(results) == 1 else 2)
    if all(len(result.losses) for result in results.values()):
        right = grid[: 2 if drift is None else None, 1].subgridspec(1 if drift is None else 2, 1)
        draw = draw_losses if rate is None else draw_rates
        draw(plot.add_subplot(right[0]), experiment, results)
        if drift is not None:
            draw_drift(plot.add_subplot(right[1]), *drift)
    return plot


def _empty(window, **options):
    if window:
        import matplotlib.pyplot as plt

        return plt.figure(**options)
    import matplotlib.figure

    return matplotlib.figure.Figure(**options)


def _title(experiment, results, rate, view):
    D, networks = experiment.x.shape[-1], next(iter(results.values())).converged()
    title = f"{join_names(list(results))}: {shortened(drawable(experiment.name), MAX_TITLE)}, one step ahead"
    if view.title:
        title += f", {view.title}"
    if D > MAX_FEATURES:
        title += f", the first {MAX_FEATURES} of {D} features"
    if rate is not None:
        rates = experiment.rates
        title += f"\nlearning rate {rates[rate]:g}, the one of {len(rates)} with the lowest final loss"
    if networks.size > 1:
        title += f"\nmedians of {networks.sum()} networks, bands from their 10th to their 90th percentile"
    return title
