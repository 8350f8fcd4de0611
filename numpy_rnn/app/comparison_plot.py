"""The plot of `compare`: ratios to the rounding bounds, and losses."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from numpy_rnn.app.plots import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED
from numpy_rnn.app.run import schedule_name, updates_per_epoch
from numpy_rnn.app.tables import MAX_WIDTH
from numpy_rnn.app.verdict import ComparedRun, Comparison
from numpy_rnn.common.records import NumpyArray
from numpy_rnn.common.texts import printable
from numpy_rnn.conformance.case import TENSORS

MANY_EPOCHS = 20  # the largest ratio of each is drawn
FLOOR, CEILING = 1e-2, 1e12  # of the ratios that are drawn
MAX_SOURCES = 4
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
LINE_COLORS = (BLUE, GREEN, PURPLE, BLACK, ORANGE)


def draw_comparisons(figure: Any, comparisons: Sequence[Comparison]) -> None:
    """Draw what `compare` found: a row for every implementation, with the largest ratio
    of every update to its rounding bound, and the losses of the runs next to them.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        An empty figure; its size is set.
    comparisons : sequence of Comparison
        Of these the first four are drawn.
    """
    shown = comparisons[:MAX_SOURCES]
    runs = len(shown[0].runs)
    figure.set_size_inches(5 + 4.5 * runs, 2 + 3 * len(shown))
    top = 100.0
    for comparison in shown:
        top = max([top, *comparison.worst().values()])
    panels = figure.subplots(len(shown), runs + 1, squeeze=False)
    for row, comparison in zip(panels, shown):
        for axes, compared in zip(row, comparison.runs):
            axes.set(
                yscale="log", ylim=(FLOOR, min(10 * top, CEILING)), xlabel="update"
            )
            axes.minorticks_off()  # a log scale has many, which take long to draw
            draw_ratios(axes, printable(comparison.name, MAX_WIDTH), compared)
        row[0].set_ylabel("difference / rounding bound\n(log scale)")
        draw_losses(row[-1], comparison)
    labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(*labels, loc="outside lower center", ncols=8, frameon=False)


def draw_ratios(axes: Any, name: str, compared: ComparedRun) -> None:
    """Draw the largest ratio of every update, by tensor, and mark the first fault."""
    judgement = compared.judgement
    axes.axhline(1, color=RED, lw=1.5, label="bound")
    for tensor, (line, color) in zip(TENSORS, product(LINES, LINE_COLORS)):
        if tensor in judgement.ratios:
            points = summarized(judgement.ratios[tensor], compared)
            axes.plot(*points, label=tensor, color=color, ls=line, lw=1)
    verdict, color = "within the bounds", BLACK
    if not judgement.passed:
        verdict, color = "not judged", RED
    if judgement.first is not None:
        verdict = "WRONG"
        mark_fault(axes, compared)
    title = f"{name}, {schedule_name(compared.run)}: {verdict}"
    axes.set_title(title, color=color, fontsize="medium", parse_math=False)


def summarized(
    ratios: Sequence[float], compared: ComparedRun
) -> tuple[NumpyArray, NumpyArray]:
    """Return updates, from 1, and the largest ratio up to the next of them: the first
    updates of epochs if there are many. NaN, which is not drawn, replaces 0.
    """
    size = updates_per_epoch(compared.run)
    if len(ratios) <= MANY_EPOCHS * size:
        size = 1
    starts = np.arange(0, len(ratios), size)
    largest = np.maximum.reduceat(ratios, starts)
    shown = np.clip(largest, FLOOR, CEILING)
    return starts + 1, np.where(largest == 0, np.nan, shown)


def mark_fault(axes: Any, compared: ComparedRun) -> None:
    """Mark the first fault, and name it."""
    first: Any = compared.judgement.first
    update = (first.epoch - 1) * updates_per_epoch(compared.run) + first.number
    ratio = min(first.ratio, CEILING)
    axes.plot(update, ratio, color=RED, marker="o", ls="", label="first fault")
    axes.annotate(
        f"{first.tensor} ({first.equation}), update {update}\n{compared.hint}",
        (update, ratio),
        (0.98, 0.5),
        textcoords="axes fraction",
        ha="right",
        color=RED,
        arrowprops={"arrowstyle": "->", "color": RED},
        parse_math=False,
    )


def draw_losses(axes: Any, comparison: Comparison) -> None:
    """Draw the loss by epoch of every run; of an ensemble, the median."""
    for color, compared in zip(LINE_COLORS, comparison.runs):
        losses = compared.losses.reshape(len(compared.losses), -1)
        axes.plot(
            range(1, len(losses) + 1),
            np.median(losses, axis=1),
            color=color,
            marker=".",
            label=schedule_name(compared.run),
        )
    axes.set(xlabel="epoch", ylabel="loss of an epoch (log scale)", yscale="log")
    axes.minorticks_off()
    axes.legend(frameon=False)
