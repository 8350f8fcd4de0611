"""Where implementations disagree and what mistakes do: the masks, and the verdict on every mistake."""

import numpy as np

from numpy_rnn.study.figures.render import Drawing
from numpy_rnn.study.figures.style import GREEN, GREY, HEAT, PURPLE, RED, SKY, with_subscripts, wrapped
from numpy_rnn.study.findings import SAME, Findings, Mistake

MASKS = ("one_more", "chunks", "added_up")  # the variants that count components differently
VERDICTS = {
    SAME: (GREY, "o", "the same loss"),
    "lower loss": (SKY, "v", "a lower loss"),
    "learns": (GREEN, "s", "learns"),
    "learns less": (PURPLE, "D", "learns less"),
    "does not learn": (RED, "X", "does not learn"),
    "diverged": ("#222222", ">", "diverges"),
}


def draw_disagreement_masks(figure, findings: Findings) -> None:
    """How often an epoch counts every component: the definition, and the ways that count otherwise."""
    from matplotlib import colormaps

    result = {one.key: one for one in findings.training.disagreements}
    first = result[MASKS[0]]
    panels = [(f"definition, {first.run}", first.right_counts)]
    panels += [(result[key].name, result[key].counts) for key in MASKS]
    counts_colors = colormaps[HEAT + "_r"].with_extremes(bad="none")
    positive_counts = [count for _, counts in panels for count in np.ravel(counts) if count > 0]
    least, most = min(positive_counts), max(positive_counts)
    for axes, (title, counts) in zip(figure.subplots(1, len(panels), sharex=True, sharey=True), panels):
        shown = np.ma.masked_equal(counts, 0)
        T = len(counts)
        limits = (0.5, T + 0.5, T + 0.5, 0.5)
        image = axes.imshow(shown, cmap=counts_colors, vmin=least, vmax=most, extent=limits)
        axes.set_title(wrapped(title, 18), fontsize=9)
        axes.set_xlabel("step s")
        axes.spines[["top", "right"]].set_visible(True)
    figure.axes[0].set_ylabel("step t")
    bar = figure.colorbar(image, ax=figure.axes, shrink=0.75, pad=0.015)
    bar.set_label("times counted per epoch")


# -- mistakes --------------------------------------------------------------------------------------------------------


def comparable(findings: Findings) -> list[Mistake]:
    """The mistakes that show in a run which can be compared, from the lowest final loss to the highest."""
    order = list(VERDICTS)
    mistakes = [mistake for mistake in findings.training.mistakes if mistake.verdict in VERDICTS]
    return sorted(mistakes, key=lambda one: (_ratio(one), order.index(one.verdict)))


def _ratio(mistake: Mistake) -> float:
    """The median ratio of the final losses."""
    return float(mistake.outcomes[0].ratio.median) if mistake.outcomes else np.inf


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
    axes.set_yticks(range(len(mistakes)), [with_subscripts(one.name) for one in mistakes], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("final loss, divided by that of the correct run (median of the networks)")
    axes.spines["left"].set_visible(False)
    if mistakes:
        axes.legend(loc="lower right")


DISAGREEMENT_DRAWINGS = (
    Drawing("disagreement_masks", (7.4, 2.5), draw_disagreement_masks),
    Drawing("mistakes", (7.4, 5.8), draw_mistakes),
)
