"""The plot of `compare`: ratios to the rounding bounds, and losses."""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np

from numpy_rnn.app.plots import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    write_figure,
)
from numpy_rnn.app.run import schedule_name, updates_per_epoch
from numpy_rnn.app.tables import MAX_WIDTH
from numpy_rnn.app.verdict import ComparedRun, Comparison
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import printable
from numpy_rnn.conformance.case import FIELDS, TENSORS
from numpy_rnn.conformance.findings import Finding

MAX_POINTS = 150  # of a line: the largest ratio of as many updates as a point has
MANY_EPOCHS = 20
FLOOR, CEILING = 1e-2, 1e12  # of the ratios that are drawn
MAX_SOURCES = 4
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))  # tensors of one colour
# A colour for each stage of an update.
COLORS = {
    BLUE: ("a", "h", "y"),
    BLACK: ("loss", "initial"),
    ORANGE: ("dy", "dh", "da", "dx", "dh_0"),
    GREEN: tuple("d" + name for name in FIELDS),
    PURPLE: FIELDS,
}


def draw(path: str, comparisons: Sequence[Comparison]) -> None:
    """Write the plot."""
    write_figure(path, lambda figure: draw_comparisons(figure, comparisons))


def draw_comparisons(figure: Any, comparisons: Sequence[Comparison]) -> None:
    """Draw a row for every implementation, with the ratios of its runs, and the losses
    of all runs beside them, on an empty figure.
    """
    shown = comparisons[:MAX_SOURCES]
    runs = len(shown[0].runs)
    figure.set_size_inches(5 + 4.5 * runs, 2 + 3 * len(shown))
    grid = figure.add_gridspec(len(shown), runs + 1)
    top = 10 * max([10.0, *(largest_ratio(each) for each in shown)])
    for row, comparison in enumerate(shown):
        for column, compared in enumerate(comparison.runs):
            axes = figure.add_subplot(grid[row, column])
            axes.set(yscale="log", ylim=(FLOOR, top))
            draw_ratios(axes, comparison, compared)
            if column == 0:
                axes.set_ylabel("difference / rounding bound\n(log scale)")
            if row == len(shown) - 1:
                axes.set_xlabel("update")
    draw_losses(figure.add_subplot(grid[:, runs]), shown)
    handles = {}
    for axes in figure.axes[:-1]:
        for handle, label in zip(*axes.get_legend_handles_labels()):
            handles[label] = handle
    order = [name for name in ("bound", *TENSORS, "first fault") if name in handles]
    figure.legend(
        [handles[name] for name in order],
        order,
        loc="outside lower center",
        ncols=8,
        frameon=False,
    )


def draw_ratios(axes: Any, comparison: Comparison, compared: ComparedRun) -> None:
    """Draw the largest ratio of every update, by tensor, and mark the first fault."""
    judgement = compared.judgement
    name = printable(comparison.name, MAX_WIDTH)
    title, color = f"{name}, {schedule_name(compared.run)}: within the bounds", BLACK
    per_epoch = updates_per_epoch(compared.run)
    axes.axhline(1, color=RED, lw=1.5, label="bound")
    for color_of_stage, tensors in COLORS.items():
        for tensor, line in zip(tensors, LINES):
            if tensor in judgement.ratios:
                points = summarized(np.array(judgement.ratios[tensor]), per_epoch)
                style = {"color": color_of_stage, "ls": line, "lw": 1}
                axes.plot(*points, label=tensor, **style)
    if judgement.first is not None:
        title, color = title.replace("within the bounds", "WRONG"), RED
        mark_fault(axes, compared, judgement.first)
    elif not judgement.passed:
        title = title.replace("within the bounds", "not judged")
    axes.set_title(title, color=color, fontsize="medium", parse_math=False)


def largest_ratio(comparison: Comparison) -> float:
    """Return the largest ratio of an implementation that can be drawn."""
    found = [max(each.judgement.worst.values()) for each in comparison.runs]
    return min(max(found), CEILING)


def summarized(ratios: NumpyArray, per_epoch: int) -> tuple[NumpyArray, NumpyArray]:
    """Return updates, from 1, and the largest ratio up to the next of them.

    Each is of whole epochs if there are many. NaN, which is not drawn, replaces 0.
    """
    size = math.ceil(len(ratios) / MAX_POINTS)
    if len(ratios) > max(MAX_POINTS, MANY_EPOCHS * per_epoch):
        size = math.ceil(size / per_epoch) * per_epoch
    starts = np.arange(0, len(ratios), max(size, 1))
    largest = np.maximum.reduceat(ratios, starts) if len(ratios) else ratios
    shown = np.clip(largest, FLOOR, CEILING)
    return starts + 1, np.where(largest == 0, np.nan, shown)


def mark_fault(axes: Any, compared: ComparedRun, first: Finding) -> None:
    """Mark the first fault, and name it."""
    update = (first.epoch - 1) * updates_per_epoch(compared.run) + first.number
    ratio = float(np.clip(first.ratio, FLOOR, CEILING))
    axes.plot(update, ratio, color=RED, marker="o", ls="", label="first fault")
    words = f"{first.tensor} ({first.equation}), update {update}"
    if compared.hint:
        words += f":\n{compared.hint}"
    axes.annotate(
        words,
        (update, ratio),
        (0.98, 0.9),
        textcoords="axes fraction",
        ha="right",
        color=RED,
        arrowprops={"arrowstyle": "->", "color": RED},
        parse_math=False,
    )


def draw_losses(axes: Any, comparisons: Sequence[Comparison]) -> None:
    """Draw the loss by epoch of every run; of an ensemble, the median."""
    colors = (ORANGE, BLUE, GREEN, PURPLE)
    for line, compared in zip(cycle(LINES), comparisons[0].runs):
        label = schedule_name(compared.run)
        axes.plot([], [], color=BLACK, ls=line, label=label)
    for color, comparison in zip(colors, comparisons):
        name = printable(comparison.name, MAX_WIDTH)
        axes.plot([], [], color=color, lw=3, label=name)
        for line, compared in zip(cycle(LINES), comparison.runs):
            losses = compared.losses.reshape(len(compared.losses), -1)
            marker = "." if len(losses) == 1 else ""  # a line needs two points
            axes.plot(
                range(1, len(losses) + 1),
                np.median(losses, axis=1),
                color=color,
                ls=line,
                marker=marker,
                alpha=0.8,
            )
    axes.set(xlabel="epoch", ylabel="loss of an epoch (log scale)", yscale="log")
    axes.legend(frameon=False)
