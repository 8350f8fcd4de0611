"""Where implementations disagree: the masks, and the loss of the right and the other way."""

import numpy as np

from numpy_rnn.study.figures.loss_figures import LOSS, draw_learning_curve, log_axis
from numpy_rnn.study.figures.style import (
    BLUE,
    CYCLE,
    DEFINITION,
    GREY,
    HEAT,
    VARIANT,
    ZERO,
    is_narrow,
    label_ends,
    wrapped,
)
from numpy_rnn.study.findings import Drawing, Findings

COLUMNS = 3
COLORS = (*CYCLE, GREY, "black", BLUE)
DOTTED = (0, (1, 1.5))
LINES = ("-", DOTTED, "-", "-", "-", "-", "--", "--", "--")  # the second over the first: they may coincide
MASKS = ("one_more", "chunks", "added_up")  # the variants that count components differently


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
