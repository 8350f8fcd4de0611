"""Where implementations disagree and what mistakes do: the masks, the losses, and the verdict on every mistake."""

import numpy as np

from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import (
    BLUE,
    CYCLE,
    DEFINITION,
    GREEN,
    GREY,
    HEAT,
    PURPLE,
    RED,
    SKY,
    VARIANT,
    ZERO,
    is_narrow,
    label_ends,
    positive,
    wrapped,
)
from numpy_rnn.study.figures.truncation_figures import LOSS, draw_learning_curve, log_axis
from numpy_rnn.study.findings import Disagreement, Findings, Mistake

COLUMNS = 3
COLORS = (*CYCLE, GREY, "black", BLUE)
DOTTED = (0, (1, 1.5))
LINES = ("-", DOTTED, "-", "-", "-", "-", "--", "--", "--")  # the second over the first: they may coincide
MASKS = ("one_more", "chunks", "added_up")  # the variants that count components differently
VERDICTS = {
    "the same": (GREY, "o", "the same loss"),
    "lower loss": (SKY, "v", "a lower loss"),
    "learns": (GREEN, "s", "learns"),
    "learns less": (PURPLE, "D", "learns less"),
    "does not learn": (RED, "X", "does not learn"),
    "diverged": ("#222222", ">", "diverges"),
}
ROW = 0.24  # inches, with its name above the line


def draw_disagreements(figure, findings: Findings) -> None:
    """A panel each: median and band of the loss, by the definition and by the other way."""
    result = findings.training.disagreements
    rows = -(-len(result) // COLUMNS)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True)
    for number, (axes, one) in enumerate(zip(panels.flat, result)):
        draw_learning_curve(axes, one.outcome.right, DEFINITION, band=0.18)
        draw_learning_curve(axes, one.outcome.wrong, VARIANT, band=0.18, linestyle="--")
        axes.set_title(wrapped(f"{number + 1}  {one.name}", 36), fontsize=9.5)
        axes.text(0.97, 0.95, _note(one), transform=axes.transAxes, ha="right", va="top", fontsize=8.5)
    log_axis(panels.flat[0].yaxis, [curve for one in result for curve in (one.outcome.right, one.outcome.wrong)])
    first = panels.flat[0]
    first.text(0.03, 0.13, "by the definition", color=DEFINITION, transform=first.transAxes, fontsize=9)
    first.text(0.03, 0.03, "the variant", color=VARIANT, transform=first.transAxes, fontsize=9)
    for axes in panels.flat[len(result) :]:
        axes.remove()
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel(LOSS, fontsize=10)


def _note(one: Disagreement) -> str:
    ratio, wrong = float(one.outcome.ratio.median), one.outcome.wrong
    note = f"final loss × {ratio:.2g}" if np.isfinite(ratio) else "most diverged"
    return note + (f"\n{wrong.diverged} of {len(wrong.final)} diverged" if wrong.diverged else "")


def draw_disagreement_masks(figure, findings: Findings) -> None:
    """How often an epoch counts every component: the definition, and the ways that count otherwise."""
    from matplotlib import colormaps

    result = {one.key: one for one in findings.training.disagreements}
    first = result[MASKS[0]]
    panels = [(f"definition, {first.run}", first.right_counts)]
    panels += [(result[key].name, result[key].counts) for key in MASKS]
    counts_colors = colormaps[HEAT + "_r"].with_extremes(bad=ZERO)
    positive_counts = [count for _, counts in panels for count in np.ravel(counts) if count > 0]
    least, most = min(positive_counts), max(positive_counts)
    for axes, (title, counts) in zip(figure.subplots(1, len(panels), sharex=True, sharey=True), panels):
        shown = np.ma.masked_equal(counts, 0)
        T = len(counts)
        limits = (0.5, T + 0.5, T + 0.5, 0.5)
        image = axes.imshow(shown, cmap=counts_colors, vmin=least, vmax=most, extent=limits)
        axes.set_title(wrapped(title, 26), fontsize=9.5)
        axes.set_xlabel("step s of the parameters")
        axes.spines[["top", "right"]].set_visible(True)
    figure.axes[0].set_ylabel("step t of the loss")
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.75, pad=0.015)
    bar.set_label("times counted per epoch")


def draw_disagreement_steps(figure, findings: Findings) -> None:
    """The relative difference of a step along training: one curve per variant."""
    axes = figure.subplots()
    axes.set_yscale("log")
    ends = []
    for one, line, color in zip(findings.training.disagreements, LINES, COLORS):
        epochs, differences = one.steps.epochs, one.steps.by_epoch
        if differences is not None and (differences > 0).any():
            look = {"linestyle": line, "marker": "o", "markersize": 4, "color": color}
            axes.plot(epochs, positive(differences), label=one.name, **look)
            known = np.flatnonzero(differences > 0)[-1]
            ends.append((epochs[known], differences[known], one.name, color))
    axes.set_xlabel("epoch whose weights both start from")
    axes.set_ylabel("difference of a step,\nrelative to its length")
    axes.set_ylim(axes.get_ylim())
    if is_narrow(figure):
        figure.legend(loc="outside lower left", fontsize=8.5)
    else:
        label_ends(axes, ends)


# -- mistakes --------------------------------------------------------------------------------------------------------


def comparable(findings: Findings) -> list[Mistake]:
    """The mistakes that show in a run which can be compared, from the lowest final loss to the highest."""
    order = list(VERDICTS)
    mistakes = [mistake for mistake in findings.training.mistakes if mistake.verdict in VERDICTS]
    return sorted(mistakes, key=lambda one: (_ratio(one), order.index(one.verdict)))


def _ratio(mistake: Mistake) -> float:
    """The median ratio of the final losses."""
    return np.inf if mistake.outcome is None else float(mistake.outcome.ratio.median)


def draw_mistakes(figure, findings: Findings) -> None:
    """One row per mistake: its final loss relative to the correct run, coloured by its verdict."""
    from matplotlib.ticker import NullLocator

    mistakes = comparable(findings)
    axes = figure.subplots()
    ratios = np.array([_ratio(one) for one in mistakes])
    edge = 4 * max(ratios[np.isfinite(ratios)], default=1.0)  # the place of what diverged
    places = np.minimum(ratios, edge)
    for verdict, (color, marker, label) in VERDICTS.items():
        rows = np.flatnonzero([one.verdict == verdict for one in mistakes])
        if rows.size:
            look = {"color": color, "markersize": 6, "linestyle": "none", "label": f"{label} ({len(rows)})"}
            axes.plot(places[rows], rows, marker, **look)
    for row, one in enumerate(mistakes):
        axes.plot([1, places[row]], [row, row], color=VERDICTS[one.verdict][0], linewidth=0.9, alpha=0.6)
    axes.axvline(1, color="black", linewidth=0.9)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.8, len(mistakes) - 0.2)
    names = [one.name for one in mistakes]
    if is_narrow(figure):  # above the rows
        figure.set_size_inches(figure.get_size_inches()[0], ROW * len(mistakes) + 1)
        axes.set_yticks([])
        for row, name in enumerate(names):
            place = {"xycoords": ("axes fraction", "data"), "annotation_clip": False}
            white = {"facecolor": "white", "edgecolor": "none", "pad": 0}  # the line at 1 would cross a long name
            axes.annotate(name, (0, row + 0.2), va="bottom", fontsize=8, bbox=white, **place)
    else:
        axes.set_yticks(range(len(mistakes)), names, fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("final loss, divided by that of the correct run (median of the networks)")
    axes.spines["left"].set_visible(False)
    if mistakes:
        axes.legend(loc="lower right")


DISAGREEMENT_DRAWINGS = (
    Drawing("disagreements", (9, 7.5), draw_disagreements),
    Drawing("disagreement_masks", (9.5, 2.9), draw_disagreement_masks),
    Drawing("disagreement_steps", (8, 4.2), draw_disagreement_steps),
    Drawing("mistakes", (8.5, 11), draw_mistakes),
)
