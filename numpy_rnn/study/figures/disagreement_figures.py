"""Where implementations disagree and what mistakes do: the masks, the losses, and the verdict on every mistake."""

import numpy as np

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
    wrapped,
)
from numpy_rnn.study.figures.truncation_figures import LOSS, draw_learning_curve, log_axis
from numpy_rnn.study.setting import Drawing, Findings

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
    result = findings["training"]["disagreements"]
    rows = -(-len(result) // COLUMNS)
    panels = figure.subplots(rows, COLUMNS, sharex=True, sharey=True)
    for number, (axes, one) in enumerate(zip(panels.flat, result)):
        draw_learning_curve(axes, one["right"], DEFINITION, band=0.18)
        draw_learning_curve(axes, one["wrong"], VARIANT, band=0.18, linestyle="--")
        axes.set_title(wrapped(f"{number + 1}  {one['name']}", 36), fontsize=9.5)
        axes.text(0.97, 0.95, _note(one), transform=axes.transAxes, ha="right", va="top", fontsize=8.5)
    log_axis(panels.flat[0].yaxis, [one[side] for one in result for side in ("right", "wrong")])
    first = panels.flat[0]
    first.text(0.03, 0.13, "by the definition", color=DEFINITION, transform=first.transAxes, fontsize=9)
    first.text(0.03, 0.03, "the variant", color=VARIANT, transform=first.transAxes, fontsize=9)
    for axes in panels.flat[len(result) :]:
        axes.remove()
    figure.supxlabel("epoch", fontsize=10)
    figure.supylabel(LOSS, fontsize=10)


def _note(one):
    ratio, diverged = one["ratio"]["median"], one["wrong"]["diverged"]
    note = f"final loss × {ratio:.2g}" if ratio is not None else "most diverged"
    return note + (f"\n{diverged} of {one['wrong']['networks']} diverged" if diverged else "")


def draw_disagreement_masks(figure, findings: Findings) -> None:
    """How often an epoch counts every component: the definition, and the ways that count otherwise."""
    from matplotlib import colormaps

    result = {one["key"]: one for one in findings["training"]["disagreements"]}
    first = result[MASKS[0]]
    panels = [(f"definition, {first['run']}", first["right_counts"])]
    panels += [(result[key]["name"], result[key]["counts"]) for key in MASKS]
    counts_colors = colormaps[HEAT + "_r"].with_extremes(bad=ZERO)
    positive_counts = [count for _, counts in panels for count in np.ravel(counts) if count > 0]
    least, most = min(positive_counts), max(positive_counts)
    for axes, (title, counts) in zip(figure.subplots(1, len(panels), sharex=True, sharey=True), panels):
        shown = np.ma.masked_equal(np.array(counts, float), 0)
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
    for one, line, color in zip(findings["training"]["disagreements"], LINES, COLORS):
        of_step = one["steps"]["of_step"]
        if of_step is not None and any(of_step):
            values = np.array([v if v else np.nan for v in of_step], float)
            look = {"linestyle": line, "marker": "o", "markersize": 4, "color": color}
            axes.plot(one["steps"]["epochs"], values, label=one["name"], **look)
            known = np.flatnonzero(np.isfinite(values))[-1]
            ends.append((one["steps"]["epochs"][known], values[known], one["name"], color))
    axes.set_xlabel("epoch whose weights both start from")
    axes.set_ylabel("difference of a step, relative to its length")
    axes.set_ylim(axes.get_ylim())
    if is_narrow(figure):
        figure.legend(loc="outside lower left", fontsize=8.5)
    else:
        label_ends(axes, ends)


def disagreements_caption(findings: Findings) -> str:
    """For the small multiples."""
    result = findings["training"]["disagreements"]
    networks = result[0]["wrong"]["networks"]
    return (
        f"Each variant (dashed) and the definition (solid), from the same {networks} initial weights: median and band"
        " from the 10th to the 90th percentile, and the median over the networks of the final loss divided by that of"
        " the definition. Two curves that lie in each other's bands are hard to tell apart by their losses, and still"
        " belong to two algorithms."
    )


def _ratios(findings: Findings) -> str:
    parts = (
        f"{one['name']}, {one['ratio']['median']:.2g}" if one["ratio"]["median"] else f"{one['name']}, diverged"
        for one in findings["training"]["disagreements"]
    )
    return "Final loss over that of the definition: " + "; ".join(parts) + "."


def masks_caption(findings: Findings) -> str:
    """For the masks."""
    result = {one["key"]: one for one in findings["training"]["disagreements"]}["added_up"]
    most = max(max(row) for row in result["counts"])
    return (
        "How often the component ∂ℓ_t/∂θ_s is counted in an epoch. By the definition, each one in the band is counted"
        " once. One more step widens the band; chunks cut it into triangles; where state gradients add up over the"
        f" windows, a component is counted up to {most:g} times, by the binomial coefficients of the lag t − s."
    )


def steps_caption(findings: Findings) -> str:
    """For the differences along training."""
    return (
        "Difference of the steps of one epoch, when the variant and the definition start from the same weights, which"
        " are taken along training: root mean square over the updates, relative to the length of the steps by the"
        " definition, median over the networks. A disagreement that is small before training need not stay small."
    )


def _steps(findings: Findings) -> str:
    parts = (
        f"{one['name']}: {one['steps']['of_step'][0]:.2g} to {one['steps']['of_step'][-1]:.2g}"
        for one in findings["training"]["disagreements"]
        if one["steps"]["of_step"] and one["steps"]["of_step"][0] and one["steps"]["of_step"][-1]
    )
    return "Relative difference of a step, from the first epoch to the last. " + "; ".join(parts) + "."


DISAGREEMENT_DRAWINGS = (
    Drawing("disagreements", (9, 7.5), draw_disagreements, disagreements_caption, _ratios),
    Drawing("disagreement_masks", (9.5, 2.9), draw_disagreement_masks, masks_caption, masks_caption),
    Drawing("disagreement_steps", (8, 4.2), draw_disagreement_steps, steps_caption, _steps),
)


# -- mistakes --------------------------------------------------------------------------------------------------------


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
