"""The figures of a report: the time of a step against H, and the ratio of other rows to numpy_rnn by size."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from benchmarks.estimates import Times
from benchmarks.tasks import CALLS, GEMMS, JAX, MODULES, OTHER, OURS, REFERENCE, STEP, C, Key
from benchmarks.workloads import SIZES_B, SIZES_H, point

STYLES = {  # of every line: colour and dashes; floors are grey
    OURS: ("#0072b2", "-"),
    REFERENCE: ("#56b4e9", "-"),
    OTHER: ("#d55e00", "-"),
    MODULES: ("#e69f00", "-"),
    JAX: ("#009e73", "-"),
    C: ("#999999", "-."),
    CALLS: ("#666666", "--"),
    GEMMS: ("#666666", ":"),
}
CAPTIONS = {
    "time.png": "Time of a gradient and update against H, by batch size, for T = 50 in float32. Grey lines are floors",
    "ratios.png": "Time of torch.nn.RNN (left) and JAX (right) divided by that of numpy_rnn, by H and B, for a gradient"
    " and update with T = 50 in float32",
}


def draw(times: Times, folder: Path) -> dict[str, str]:
    """Draws the figures for which there are times. Returns the captions by file."""
    drawn = {"time.png": draw_times(times), "ratios.png": draw_ratios(times)}
    for file, figure in drawn.items():
        if figure is not None:
            figure.savefig(folder / file, dpi=110)
    return {file: CAPTIONS[file] for file, figure in drawn.items() if figure is not None}


def step_time(times: Times, row: str, H: int, B: int) -> float:
    """Seconds of a step on a point of the grid; NaN without it."""
    time = times.get(Key(STEP, point(H, B).name, row))
    return time.median if time else np.nan


def draw_times(times: Times) -> Figure | None:
    """A panel per batch size, with a line per row; None without times of two sizes."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    panels: Any = figure.subplots(1, len(SIZES_B), sharey=True)
    lines = {}
    for axes, B in zip(panels, SIZES_B):
        for row, (colour, dashes) in STYLES.items():
            seconds = np.array([step_time(times, row, H, B) for H in SIZES_H])
            known = np.isfinite(seconds)
            if known.sum() > 1:
                (lines[row],) = axes.plot(np.array(SIZES_H)[known], seconds[known], dashes, color=colour, marker=".")
        axes.set(xscale="log", yscale="log", title=f"B = {B}", xlabel="hidden units H")
        axes.set_xticks(SIZES_H, map(str, SIZES_H), fontsize=7)
        axes.minorticks_off()
    if not lines:
        return None
    panels[0].set_ylabel("seconds of a gradient and update")
    figure.legend([*lines.values()], [*lines], loc="outside right upper")
    return figure


def draw_ratios(times: Times) -> Figure | None:
    """A map per row, blue where numpy_rnn is faster; None without a ratio."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    panels: Any = figure.subplots(1, 2, sharey=True)
    maps = {
        row: np.array([[step_time(times, row, H, B) / step_time(times, OURS, H, B) for B in SIZES_B] for H in SIZES_H])
        for row in (MODULES, JAX)
    }
    if all(np.isnan(ratios).all() for ratios in maps.values()):
        return None
    colours = matplotlib.colormaps["RdBu"]
    for axes, (row, ratios) in zip(panels, maps.items()):
        image = axes.imshow(np.log2(ratios), cmap=colours, vmin=-3, vmax=3, origin="lower", aspect="auto")
        for (y, x), ratio in np.ndenumerate(ratios):
            if np.isfinite(ratio):
                colour = "white" if abs(np.log2(ratio)) > 2 else "black"
                axes.text(x, y, f"{ratio:.2f}", ha="center", va="center", fontsize=8, color=colour)
        axes.set(title=f"{row} / {OURS}", xlabel="batch size B")
        axes.set_xticks(range(len(SIZES_B)), map(str, SIZES_B))
        axes.set_yticks(range(len(SIZES_H)), map(str, SIZES_H))
    panels[0].set_ylabel("hidden units H")
    bar = figure.colorbar(image, ax=panels, extend="both", ticks=range(-3, 4))
    bar.set_ticklabels([f"{2.0**power:g}" for power in range(-3, 4)])
    return figure
