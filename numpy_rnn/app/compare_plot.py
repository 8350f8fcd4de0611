"""The plot of `compare`: the largest ratio of each tensor to its bound, and losses."""

import textwrap
from itertools import cycle
from typing import Any

from numpy_rnn.app.compare_report import (
    Comparison,
    equations_of,
    largest_ratio,
    shown_tensors,
    told_finding,
)
from numpy_rnn.app.figures import (
    BLACK,
    BLUE,
    GREEN,
    LINE_COLORS,
    ORANGE,
    PURPLE,
    RED,
    draw_band,
)
from numpy_rnn.app.output import schedule_name
from numpy_rnn.common.texts import join_names

WIDTH = 8.0  # inches: 800 pixels, as a README shows it
BAR = 0.24  # inches of height for a tensor, or for a bar where that is more
THINNEST_BAR = 0.1
SMALLEST_RATIO = 1e-3  # that is drawn, as is the largest one
LARGEST_RATIO = 1e12
BAR_COLORS = (BLUE, ORANGE, GREEN, PURPLE)  # by implementation; RED is for faults
LINE_STYLES = ("-", "--", ":", "-.")  # of losses, by implementation
TITLE_WIDTH = 88  # characters of a line


def draw_comparisons(figure: Any, comparisons: list[Comparison]) -> None:
    """Draw what `compare` found on an empty figure: a bar for every tensor of every
    implementation, the largest ratio to its rounding bound, and the losses beside them.
    """
    tensors = shown_tensors(comparisons)
    height = max(BAR, THINNEST_BAR * len(comparisons)) * len(tensors)
    figure.set_size_inches(WIDTH, max(3.6, 1.3 + height))
    ratios, losses = figure.subplots(1, 2, width_ratios=(1.25, 1))
    draw_ratios(ratios, comparisons, tensors)
    draw_losses_of_runs(losses, comparisons)
    title, is_right = title_of(comparisons)
    figure.suptitle(
        textwrap.fill(title, TITLE_WIDTH),
        color=BLACK if is_right else RED,
        fontsize="medium",
        parse_math=False,
    )


def draw_ratios(axes: Any, comparisons: list[Comparison], tensors: list[str]) -> None:
    """Draw a bar for each tensor and implementation, and the line of the bound; the
    first wrong one in another colour, with its ratio.
    """
    axes.set(xscale="log", xlabel="largest difference / rounding bound (log scale)")
    thickness = 0.8 / len(comparisons)
    drawn = [1.0]
    for number, (comparison, color) in enumerate(zip(comparisons, cycle(BAR_COLORS))):
        finding = told_finding(comparison)
        label = comparison.name
        for row, tensor in enumerate(tensors):
            ratio = largest_ratio(tensor, comparison)
            if ratio is None:
                continue
            width = min(max(ratio, SMALLEST_RATIO), LARGEST_RATIO)
            drawn.append(width)
            y = row + (number + 0.5) * thickness - 0.4
            is_first = finding is not None and finding.tensor == tensor
            shade = RED if is_first else color
            axes.barh(y, width, thickness * 0.9, color=shade, label=label)
            label = "_"  # one entry of the legend for each implementation
            if is_first:
                axes.annotate(
                    f"first wrong: {ratio:.0e}" if ratio < LARGEST_RATIO else "wrong",
                    (width, y),
                    xytext=(3, 0),
                    textcoords="offset points",
                    va="center",
                    color=RED,
                    fontsize="small",
                    annotation_clip=False,
                )
    axes.axvline(1, color=BLACK, lw=1.2)
    most = max(drawn)
    axes.set_xlim(SMALLEST_RATIO, 3 if most <= 1 else most**1.45)
    names = [f"{tensor}  ({equations_of(tensor, comparisons)})" for tensor in tensors]
    axes.set_yticks(range(len(tensors)), names, fontsize="small")
    axes.set_ylim(len(tensors) - 0.4, -1.4)
    axes.annotate(
        "bound",
        (1, -0.95),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize="small",
    )
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    if len(comparisons) > 1:
        axes.legend(
            frameon=False,
            loc="upper center",
            bbox_to_anchor=(0.4, -0.16 * 4 / max(4, axes.figure.get_figheight())),
            ncols=2,
            fontsize="small",
        )


def draw_losses_of_runs(axes: Any, comparisons: list[Comparison]) -> None:
    """Draw the losses of the runs of all implementations, by epoch."""
    axes.set(xlabel="epoch", ylabel="loss of an epoch (log scale)", yscale="log")
    for comparison, style in zip(comparisons, cycle(LINE_STYLES)):
        for compared, color in zip(comparison.runs, cycle(LINE_COLORS)):
            name = f"windows of {compared.run.options.schedule.k2}"
            if comparison.subject.computed.loop:
                name = schedule_name(compared.run)
            if len(comparisons) > 1:
                name = f"{comparison.name}, {name}"
            if len(compared.losses):
                draw_band(
                    axes, 1, compared.losses, color=color, ls=style, lw=1.3, label=name
                )
    if axes.lines:
        axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def title_of(comparisons: list[Comparison]) -> tuple[str, bool]:
    """Return the title of the figure, and whether all implementations are right."""
    for comparison in comparisons:
        finding = told_finding(comparison)
        if finding is not None:
            title = f"{comparison.name}: WRONG {finding.tensor} ({finding.equation})"
            if finding.hint:
                title += f": {finding.hint}"
            return title, False
    names = join_names([comparison.name for comparison in comparisons])
    for comparison in comparisons:
        if not all(judgement.passed for judgement in comparison.judgements):
            return f"{comparison.name}: not judged", False
    return f"{names}: within the rounding bounds", True
