"""What every known mistake does to training: the final loss."""

import numpy as np

from numpy_rnn.study.figures.style import GREEN, GREY, PURPLE, RED, SKY, is_narrow
from numpy_rnn.study.findings import Drawing, Findings

VERDICTS = {
    "the same": (GREY, "o", "the same loss"),
    "lower loss": (SKY, "v", "a lower loss"),
    "learns": (GREEN, "s", "learns"),
    "learns less": (PURPLE, "D", "learns less"),
    "does not learn": (RED, "X", "does not learn"),
    "diverged": ("#222222", ">", "diverges"),
}
ROW = 0.24  # inches, with its name above the line


def comparable(findings: Findings) -> list[dict]:
    """The mistakes that show in a run which can be compared, from the lowest final loss to the highest."""
    mistakes = [mistake for mistake in findings["training"]["mistakes"] if mistake["verdict"] in VERDICTS]
    order = list(VERDICTS)
    return sorted(mistakes, key=lambda one: (_ratio(one, np.inf), order.index(one["verdict"])))


def _ratio(mistake, diverged):
    """The median ratio of the final losses; `diverged` where it is infinite."""
    ratio = mistake["ratio"]["median"]
    return diverged if ratio is None else ratio


def draw_mistakes(figure, findings: Findings) -> None:
    """One row per mistake: its final loss relative to the correct run, coloured by its verdict."""
    from matplotlib.ticker import NullLocator

    mistakes = comparable(findings)
    axes = figure.subplots()
    finite = [ratio for one in mistakes if (ratio := _ratio(one, None))]
    edge = max(finite, default=1.0) * 4
    for verdict, (color, marker, label) in VERDICTS.items():
        of_it = [(_ratio(one, edge), row) for row, one in enumerate(mistakes) if one["verdict"] == verdict]
        if of_it:
            axes.plot(
                *zip(*of_it), marker, color=color, markersize=6, linestyle="none", label=f"{label} ({len(of_it)})"
            )
    for row, one in enumerate(mistakes):
        axes.plot([1, _ratio(one, edge)], [row, row], color=VERDICTS[one["verdict"]][0], linewidth=0.9, alpha=0.6)
    axes.axvline(1, color="black", linewidth=0.9)
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(-0.8, len(mistakes) - 0.2)
    names = [one["name"] for one in mistakes]
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


def mistakes_caption(findings: Findings) -> str:
    """For the dots."""
    training = findings["training"]
    counts, limits = training["counts"], training["limits"]
    return (
        f"The final loss with each of {len(comparable(findings))} mistakes, relative to the correct run (line at 1)."
        f" {counts['learns']} of them end at no more than {limits['learns']:g} times the correct loss,"
        f" {counts['same']} of these within a percent of it: the loss does not reveal them."
    )


def _outcomes(findings: Findings) -> str:
    names: dict[str, list[str]] = {}
    for one in comparable(findings):
        names.setdefault(one["verdict"], []).append(one["name"])
    if not names:
        return "An empty panel: without training there is nothing to compare."
    return "Verdicts. " + " ".join(f"{verdict}: {'; '.join(of_it)}." for verdict, of_it in names.items())


MISTAKE_DRAWINGS = (Drawing("mistakes", (8.5, 11), draw_mistakes, mistakes_caption, _outcomes),)
