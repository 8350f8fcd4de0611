"""The plot of `compare`: ratios to the rounding bounds, and losses."""

from itertools import product
from typing import Any

import numpy as np

from numpy_rnn.app.compare_report import ComparedRun, Comparison
from numpy_rnn.app.experiment import steps_of_updates
from numpy_rnn.app.figures import (
    BLACK,
    LINE_COLORS,
    RED,
    add_legend,
    draw_losses,
)
from numpy_rnn.app.output import schedule_name
from numpy_rnn.conformance.case import TENSORS
from numpy_rnn.conformance.runs.judge import Judgement

MOST_POINTS = 50  # of a line; each is the largest ratio of some updates
SMALLEST_RATIO = 1e-2  # that is drawn, as is the largest one
LARGEST_RATIO = 1e12
LINE_STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))


def draw_comparisons(figure: Any, comparisons: list[Comparison]) -> None:
    """Draw what `compare` found on an empty figure: a row for every implementation,
    with the ratio of every update to its rounding bound, and the losses of the runs
    next to them.
    """
    runs = len(comparisons[0].runs)
    figure.set_size_inches(5 + 4.5 * runs, 2 + 3 * len(comparisons))
    panels = figure.subplots(len(comparisons), runs + 1, squeeze=False)
    for row, comparison in zip(panels, comparisons):
        losses = {}
        for axes, compared in zip(row, comparison.runs):
            draw_ratios(axes, compared.judgement)
            draw_verdict(axes, comparison.name, compared)
            losses[schedule_name(compared.run)] = compared.losses
        row[0].set_ylabel("difference / rounding bound\n(log scale)")
        draw_losses(row[-1], losses)
        row[-1].legend(frameon=False)
    add_legend(figure, panels[:, :-1].flat)


def draw_ratios(axes: Any, judgement: Judgement) -> None:
    """Draw the ratio of every update, by tensor, and the line of the bound."""
    axes.set(xlabel="update", yscale="log")
    axes.minorticks_off()  # a log scale has many, which take long to draw
    axes.axhline(1, color=RED, lw=1.5, label="bound")
    first = np.arange(0, judgement.updates, judgement.updates // MOST_POINTS + 1)
    for tensor, (style, color) in zip(TENSORS, product(LINE_STYLES, LINE_COLORS)):
        if tensor in judgement.ratios:
            ratios = np.maximum.reduceat(judgement.ratios[tensor], first)
            drawn = np.clip(ratios, SMALLEST_RATIO, LARGEST_RATIO)
            drawn[ratios == 0] = np.nan  # not drawn
            axes.plot(first + 1, drawn, label=tensor, color=color, ls=style, lw=1)


def draw_verdict(axes: Any, name: str, compared: ComparedRun) -> None:
    """Draw the title of a run, and mark and name its first fault."""
    judgement = compared.judgement
    finding = judgement.first
    verdict = "not judged"
    if judgement.passed:
        verdict = "within the bounds"
    if finding is not None:
        updates = len(steps_of_updates(compared.run))
        update = (finding.epoch - 1) * updates + finding.number
        verdict = (
            f"WRONG {finding.tensor} ({finding.equation}), update {update}\n"
            f"{finding.hint}"
        )
        ratio = min(finding.ratio, LARGEST_RATIO)
        axes.plot(update, ratio, color=RED, marker="o", ls="", label="first fault")
    title = f"{name}, {schedule_name(compared.run)}: {verdict}"
    color = BLACK if judgement.passed else RED
    axes.set_title(title, color=color, fontsize="medium", parse_math=False)
