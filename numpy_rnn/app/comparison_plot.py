"""The plot of `compare`: ratios to the rounding bounds, and losses."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from numpy_rnn.app.comparison_report import ComparedRun, Comparison
from numpy_rnn.app.plots import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    add_legend,
    draw_losses,
)
from numpy_rnn.app.printing import schedule_name
from numpy_rnn.app.training import updates_per_epoch
from numpy_rnn.conformance.case import TENSORS

MOST_POINTS = 50  # of a line; each is the largest ratio of some updates
FLOOR, CEILING = 1e-2, 1e12  # of the ratios that are drawn
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
LINE_COLORS = (BLUE, GREEN, PURPLE, BLACK, ORANGE)


def draw_comparisons(figure: Any, comparisons: Sequence[Comparison]) -> None:
    """Draw what `compare` found: a row for every implementation, with the ratio of
    every update to its rounding bound, and the losses of the runs next to them.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        An empty figure; its size is set.
    comparisons : sequence of Comparison
        What is drawn.
    """
    runs = len(comparisons[0].runs)
    figure.set_size_inches(5 + 4.5 * runs, 2 + 3 * len(comparisons))
    panels = figure.subplots(len(comparisons), runs + 1, squeeze=False)
    for row, comparison in zip(panels, comparisons):
        losses = {}
        for axes, compared in zip(row, comparison.runs):
            draw_ratios(axes, comparison.name, compared)
            networks = compared.run.params.networks or 1
            by_epoch = compared.losses.reshape(-1, networks)
            losses[schedule_name(compared.run)] = by_epoch
        row[0].set_ylabel("difference / rounding bound\n(log scale)")
        draw_losses(row[-1], losses)
        row[-1].legend(frameon=False)
    add_legend(figure, panels[:, :-1].flat)


def draw_ratios(axes: Any, name: str, compared: ComparedRun) -> None:
    """Draw the ratio of every update, by tensor, and mark and name the first fault."""
    judgement = compared.judgement
    axes.axhline(1, color=RED, lw=1.5, label="bound")
    for tensor, (line, color) in zip(TENSORS, product(LINES, LINE_COLORS)):
        if tensor in judgement.ratios:
            starts = np.arange(
                0, judgement.updates, judgement.updates // MOST_POINTS + 1
            )
            ratios = np.maximum.reduceat(judgement.ratios[tensor], starts)
            shown = np.clip(ratios, FLOOR, CEILING)
            shown[ratios == 0] = np.nan  # not drawn
            axes.plot(starts + 1, shown, label=tensor, color=color, ls=line, lw=1)
    first = judgement.first
    verdict = "not judged"
    if judgement.passed:
        verdict = "within the bounds"
    if first is not None:
        update = (first.epoch - 1) * updates_per_epoch(compared.run) + first.number
        verdict = f"WRONG {first.tensor} ({first.equation}), update {update}"
        verdict += f"\n{first.hint}"
        ratio = min(first.ratio, CEILING)
        axes.plot(update, ratio, color=RED, marker="o", ls="", label="first fault")
    title = f"{name}, {schedule_name(compared.run)}: {verdict}"
    color = BLACK if judgement.passed else RED
    axes.set_title(title, color=color, fontsize="medium", parse_math=False)
    axes.set(xlabel="update", yscale="log")
    axes.minorticks_off()  # a log scale has many, which take long to draw
